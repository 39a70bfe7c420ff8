"""The first call of a process while its ledger is away: which policies is it decided by?"""

from __future__ import annotations

import logging

import pytest
from support.governed import department
from support.outages import come_back, team

from governor import PolicyViolation
from governor.errors import LedgerDown
from governor.ledger import commands as c
from governor.ledger import open_ledger
from governor.policy import load
from governor.policy.load import read_texts


@pytest.fixture
def stage(outage):
    """A stage on a Redis that the test may kill."""
    return outage


def pushed(stage):
    """Push a stricter policy than that of the files; returns its hash."""
    stage.write(department({"per": "department", "usd": "0.5", "window": "life"}))
    strict = load(stage.policies).hash
    ledger = open_ledger(stage.url, stage.org, create=True)
    ledger.execute(c.PushPolicies("p", 0, read_texts(stage.policies), strict))
    ledger.close()
    return strict


def new_process(stage, if_down):
    """A governor that has not made a call."""
    return stage.governor(team(if_down), spool=stage.folder / "spool")


def test_files_that_need_the_ledger_wait_for_it(stage):
    """With `refuse` no call is decided by files that may be out of date, before or just after an outage."""
    strict, caller = pushed(stage), new_process(stage, "refuse")
    stage.redis.kill()
    for _ in range(3):
        with pytest.raises(LedgerDown, match="cannot be reached"):
            caller.call()
    assert stage.sent() == []
    come_back(stage)
    assert caller.call().receipt.decision.policy_hash == strict


def test_files_that_do_not_need_it_are_used_meanwhile(stage, caplog):
    """With `allow` a call goes by the files, which is said; once the ledger is back, by what was pushed."""
    strict, caller = pushed(stage), new_process(stage, "allow")
    files = load(stage.policies).hash
    stage.redis.kill()
    receipts = [caller.call().receipt for _ in range(3)]
    assert {(one.decision.outcome, one.decision.policy_hash) for one in receipts} == {("allowed", files)}
    said = [one for one in caplog.records if "does not say which policies were pushed" in one.getMessage()]
    assert [one.levelno for one in said] == [logging.WARNING]
    come_back(stage)
    decision = caller.call().receipt.decision
    assert (decision.outcome, decision.policy_hash) == ("held", strict)


def test_what_the_files_forbid_is_said_without_the_ledger(stage):
    """A request of nobody they know is a violation, as ever."""
    pushed(stage)
    caller = new_process(stage, "refuse")
    stage.redis.kill()
    with pytest.raises(PolicyViolation, match="nowhere"):
        caller.call(department="nowhere")


def test_a_running_process_goes_on_by_what_it_knows(stage, caplog):
    """An outage later on changes no policy, and is said once by the looks."""
    strict, caller = pushed(stage), new_process(stage, "refuse")
    assert caller.call().receipt.decision.policy_hash == strict
    stage.redis.kill()
    for _ in range(3):
        stage.clock.forward(60)
        with pytest.raises(LedgerDown):
            caller.call()
        caller.governor._in_force.join()
    assert caller.governor.policies.hash == strict
    said = [one for one in caplog.records if "does not say which policies were pushed" in one.getMessage()]
    assert [one.levelno for one in said] == [logging.WARNING]
    come_back(stage)
    assert caller.call().receipt.decision.policy_hash == strict


def test_a_user_who_may_not_read_them_is_told_and_goes_by_its_files(stage, caplog):
    """Rights of before there was anything to push are enough for calls and for files that change.

    The missing one is said once, as an error.
    """
    pushed(stage)
    prefix = f"gov:2:{{{stage.org}}}:"
    with stage.redis.client() as client:
        rights = [f"~{prefix}{name}" for name in ("meta", "admin", "b:*", "h:*", "expiry", "journal")]
        rights += [f"~gov:1:{{{stage.org}}}:meta", "+@all", f"(+evalsha +eval ~{prefix}*)"]
        client.execute_command("ACL", "SETUSER", stage.org, "reset", "on", ">secret", *rights)
    url = stage.url.replace("://", f"://{stage.org}:secret@")
    caller = stage.governor(team("refuse"), ledger=url, create_ledger=False, spool=stage.folder / "spool")
    for _ in range(3):
        assert caller.call().receipt.decision.policy_hash == load(stage.policies).hash
    stage.write(team("refuse", usd="3"))
    stage.clock.forward(60)
    caller.call()
    caller.governor._in_force.join()
    assert caller.governor.policies.hash == load(stage.policies).hash
    (message,) = [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
    assert f"has no right to `read policy head` on {prefix}policies" in message
