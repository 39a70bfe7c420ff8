"""Policies that change while a process runs: its files, and what is pushed to the ledger."""

from __future__ import annotations

import json
import logging
import os

import pytest
from support.governed import LINES, department
from support.stages import on_redis, on_sqlite, once

from governor import PolicyError, PolicyViolation
from governor.clients import in_force
from governor.journal.records import administration
from governor.ledger import commands as c
from governor.ledger.keys import Keys
from governor.policy import load
from governor.policy.load import read_texts
from governor.testing import Reply

LOOK_S = in_force.LOOK_EVERY_S


def team(usd, **more):
    """A department with one budget for life."""
    return department({"per": "department", "usd": usd, "window": "life"}, **more)


def looked(stage, caller, seconds=LOOK_S):
    """Let time pass, call, and wait for the look that the call started."""
    stage.clock.forward(seconds)
    caller.call()
    caller.governor._in_force.join()


def push(stage, usd, base, *, name="", **more):
    """Push the team's policy with another budget, and return its hash; the process's files stay."""
    kept = read_texts(stage.policies)
    stage.write(team(usd, **more))
    pushed, policies = read_texts(stage.policies), load(stage.policies)
    for file, text in kept.items():
        (stage.policies / file).write_text(text, encoding="utf-8")
    record = administration("ada", "a test")
    command = c.PushPolicies(name or f"p{base}", base, pushed, policies.hash, record)
    assert isinstance(stage.ledger.execute(command), c.PolicyVersion)
    return policies.hash


def withdraw(stage, base):
    """Let everybody's own files be in force again."""
    assert isinstance(stage.ledger.execute(c.PushPolicies(f"w{base}", base, {})), c.PolicyVersion)


def errors(caplog):
    """What was logged as an error."""
    return [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]


# Files.


def test_changed_files_are_in_force_within_seconds(stage):
    """A call older than the last look by two seconds starts another; the calls after that go by the new."""
    caller = stage.governor(team("1"))
    old = caller.call().receipt.decision.policy_hash
    stage.write(team("2"))
    looked(stage, caller, LOOK_S - 0.5)
    assert caller.call().receipt.decision.policy_hash == old
    looked(stage, caller, 0.5)
    new = load(stage.policies).hash
    decision = caller.call(request_id="new").receipt.decision
    assert decision.policy_hash == new == caller.governor.policies.hash != old
    assert decision.budgets[0].limit == 2 * 10**9
    records = [json.loads(entry.record)["policy"] for entry in stage.journal(identifier="new")]
    assert records == [new, new]


def test_a_request_goes_by_one_version(stage):
    """What changes while the API has a request concerns the next one, in every record."""
    caller = stage.governor(team("1"))
    old = caller.governor.policies.hash

    def change(_):
        stage.write(team("2"))
        caller.governor._in_force.reload()
        return Reply()

    stage.api.replies(change)
    caller.call(request_id="between")
    assert caller.governor.policies.hash != old
    assert [json.loads(entry.record)["policy"] for entry in stage.journal(identifier="between")] == [old, old]


@on_sqlite
def test_a_call_after_long_silence_waits_for_the_look(stage, monkeypatch):
    """It is decided by the files as they are, not by those of the last call."""
    monkeypatch.setattr(in_force, "WAIT_S", 60.0)
    caller = stage.governor(team("1"))
    caller.call()
    stage.write(team("2"))
    stage.clock.forward(in_force.STALE_AFTER_S)
    assert caller.call().receipt.decision.policy_hash == load(stage.policies).hash


@on_sqlite
@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda stage: (stage.policies / "team.yaml").write_text("{", "utf-8"), ["team.yaml:1:2: "]),
        (
            lambda stage: stage.write(team("1", budget=3, teem=4)),
            ["unknown key 'budget'", "unknown key 'teem'"],
        ),
        (
            lambda stage: stage.write(team("1", routing={"lines": {**LINES, "fable": "claude-fable-99"}})),
            ["model 'claude-fable-99' has no price"],
        ),
        (lambda stage: stage.policies.rename(stage.folder / "away"), ["no such file or folder"]),
        (
            lambda stage: stage.write(team("1"), shared={"organization": "another"}),
            ["these are the policies of 'another'"],
        ),
    ],
    ids=["no YAML", "two unknown keys", "unpriced", "gone", "another organization"],
)
def test_broken_files_never_replace_good_ones(stage, caplog, spoil, told):
    """Every problem is logged, once however often is looked; right again, the files are taken over."""
    caller = stage.governor(team("1"))
    old = caller.call().receipt.decision.policy_hash
    spoil(stage)
    for _ in range(3):
        looked(stage, caller)
    assert caller.call().receipt.decision.policy_hash == old
    (message,) = errors(caplog)
    assert message.startswith("The policy files are not taken over; the old policies stay:\n")
    assert [text for text in told if text not in message] == []
    stage.write(team("2"))
    looked(stage, caller)
    assert caller.governor.policies.hash == load(stage.policies).hash != old
    assert len(errors(caplog)) == 1


@on_sqlite
def test_each_change_for_the_worse_is_told(stage, caplog):
    """Files that are broken anew are an error of their own."""
    caller = stage.governor(team("1"))
    for text in ("{", "[{"):
        (stage.policies / "team.yaml").write_text(text, "utf-8")
        looked(stage, caller)
    looked(stage, caller)
    assert len(errors(caplog)) == 2


def reload(caller):
    """`reload_policies` of either governor."""
    return caller.governor._in_force.reload()


@on_sqlite
def test_looking_can_be_switched_off(stage):
    """With `reload=False` nothing changes by itself, and on demand it does."""
    caller = stage.governor(team("1"), reload=False)
    old = caller.call().receipt.decision.policy_hash
    stage.write(team("2"))
    looked(stage, caller, 3600)
    assert caller.governor.policies.hash == old
    assert reload(caller).hash == caller.governor.policies.hash == load(stage.policies).hash != old


@once
def test_reloading_waits_and_raises(stage, caplog):
    """`reload_policies` gives what is in force then, raises what is wrong however often, and logs nothing."""
    governor = stage.governor(team("1")).governor
    stage.write(team("2"))
    assert governor.reload_policies().hash == load(stage.policies).hash == governor.policies.hash
    good = governor.policies.hash
    stage.write(team("2", teem=4))
    for _ in range(2):
        with pytest.raises(PolicyError, match="unknown key 'teem'"):
            governor.reload_policies()
    assert governor.policies.hash == good
    assert errors(caplog) == []


@on_sqlite
def test_reloading_from_the_callers_side(stage):
    """The async governor's is awaited."""
    caller = stage.governor(team("1"))
    stage.write(team("2"))
    told = caller.governor.reload_policies()
    policies = caller.on_loop(told).result() if stage.is_async else told
    assert policies.hash == load(stage.policies).hash


# What was pushed.


def test_what_was_pushed_is_in_force_from_the_first_call(stage):
    """In place of the process's own files; what is pushed later, and a withdrawal, within seconds."""
    caller = stage.governor(team("1"))
    files, first = caller.governor.policies.hash, push(stage, "3", 0)
    decision = caller.call(request_id="first").receipt.decision
    assert (decision.policy_hash, decision.budgets[0].limit) == (first, 3 * 10**9)
    assert decision.budgets[0].source.startswith(f"ledger:{stage.org}@1/team.yaml")
    assert json.loads(stage.journal("reserve", "first")[0].record)["policy"] == first
    second = push(stage, "4", 1)
    looked(stage, caller)
    assert caller.call().receipt.decision.policy_hash == second != first
    withdraw(stage, 2)
    looked(stage, caller)
    assert caller.call().receipt.decision.policy_hash == files


def test_files_that_change_under_a_pushed_version_wait_for_its_end(stage):
    """While something is pushed nobody looks at them; withdrawn, they are in force as they are then."""
    caller = stage.governor(team("1"))
    pushed = push(stage, "3", 0)
    looked(stage, caller)
    stage.write(team("2"))
    looked(stage, caller)
    assert caller.governor.policies.hash == pushed
    withdraw(stage, 1)
    looked(stage, caller)
    assert caller.governor.policies.hash == load(stage.policies).hash


@on_sqlite
def test_the_first_of_many_calls_at_once_knows_what_was_pushed(stage):
    """None of a crowd is decided before it is known, and each by the same version."""
    caller = stage.governor(team("1"))
    pushed = push(stage, "3", 0)
    calls = [caller.start() for _ in range(20)]
    assert {call.result().receipt.decision.policy_hash for call in calls} == {pushed}


@on_sqlite
def test_a_decision_knows_what_was_pushed_too(stage):
    """`decide` looks first, as `call` does."""
    caller = stage.governor(team("1"))
    pushed = push(stage, "3", 0)
    assert caller.decide().policy_hash == pushed


@on_sqlite
@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"team.yaml": "version: 9\ndepartment: team\n"}, "team.yaml:1:10: "),
        ({"../team.yaml": "version: 1\n"}, "'../team.yaml' is no name of a policy file"),
        ({"organization.yaml": "version: 1\norganization: another\n"}, "these are the policies of 'another'"),
    ],
    ids=["a newer language", "a name that leads out", "another organization"],
)
def test_a_version_that_cannot_be_read_never_replaces_a_good_one(stage, caplog, files, told):
    """It is logged once, and the old stays: the version before, or in a new process its files."""
    caller = stage.governor(team("1"))
    own, good = caller.governor.policies.hash, push(stage, "3", 0)
    caller.call()
    stage.ledger.execute(c.PushPolicies("bad", 1, files, "bad"))
    for _ in range(3):
        looked(stage, caller)
    assert caller.call().receipt.decision.policy_hash == good
    (message,) = errors(caplog)
    assert message.startswith("The policies pushed to the ledger are not taken over; the old ones stay:\n")
    assert told in message
    assert stage.governor().call().receipt.decision.policy_hash == own
    better = push(stage, "4", 2)
    looked(stage, caller)
    assert caller.governor.policies.hash == better


@on_sqlite
def test_an_unpriced_version_is_not_taken_over(stage, caplog):
    """A model without a price in this process's table keeps the old ones in force."""
    caller = stage.governor(team("1"))
    own = caller.call().receipt.decision.policy_hash
    push(stage, "3", 0, routing={"lines": {**LINES, "fable": "claude-fable-99"}})
    looked(stage, caller)
    assert caller.call().receipt.decision.policy_hash == own
    assert f"ledger:{stage.org}@1/team.yaml" in errors(caplog)[0]


def test_without_files_only_what_was_pushed_counts(stage):
    """`ledger:NAME` refuses every call until something is pushed, and after a withdrawal."""
    stage.write(team("1"))
    caller = _without_files(stage, f"ledger:{stage.org}")
    for _ in range(2):
        with pytest.raises(PolicyViolation, match=f"none were pushed to the ledger of '{stage.org}'"):
            caller.call()
    assert stage.sent() == []
    pushed = push(stage, "3", 0)
    reload(caller)
    assert caller.call().receipt.decision.policy_hash == pushed
    withdraw(stage, 1)
    reload(caller)
    with pytest.raises(PolicyViolation, match="governor policy push PATH"):
        caller.call()


def _without_files(stage, source):
    class Bare(type(stage)):
        policies = source

    bare = Bare(stage.api, stage.folder, stage.url, stage.org, stage.is_async, stage.clock)
    caller = bare.governor()
    stage._open.append(caller)
    return caller


@once
def test_without_files_a_version_that_cannot_be_read_is_said(stage):
    """The refusal names what is wrong with it."""
    caller = _without_files(stage, f"ledger:{stage.org}")
    stage.ledger.execute(c.PushPolicies("bad", 0, {"team.yaml": "version: 9\ndepartment: team\n"}, "bad"))
    with pytest.raises(PolicyViolation, match=r"this release cannot read those that were pushed:\n.*@1/team"):
        caller.call()


@once
def test_a_source_needs_a_name(stage):
    """`ledger:` alone, or a name that no organisation can have, is a `PolicyError` at load."""
    for source in ("ledger:", "ledger:A/b"):
        with pytest.raises(PolicyError, match="ledger:"):
            _without_files(stage, source)


@on_redis
def test_a_ledger_that_lost_what_was_pushed_changes_nothing(stage, caplog, request):
    """No withdrawal leaves no trace: running processes stay with what they have, and say so once."""
    caller = stage.governor(team("1"))
    pushed = push(stage, "3", 0)
    caller.call()
    with request.getfixturevalue("redis_server").client() as client:
        client.delete(Keys(stage.org).policies)
    for _ in range(3):
        looked(stage, caller)
    assert caller.call().receipt.decision.policy_hash == pushed
    (message,) = errors(caplog)
    assert "has lost the policies that were pushed to it: version 1 stays in force" in message
    again = push(stage, "4", 0, name="again")
    looked(stage, caller)
    assert caller.call().receipt.decision.policy_hash == again


class Recorder:
    """A ledger that notes what it is asked."""

    def __init__(self, ledger):
        self.ledger, self.asked = ledger, []

    def execute(self, command):
        self.asked.append(type(command).__name__)
        return self.ledger.execute(command)

    def close(self):
        self.ledger.close()


@once
def test_later_calls_cost_no_round_trip(stage):
    """The first call asks for the newest version and nothing more; a later one at most in passing."""
    caller = stage.governor(team("1"))
    recorder = Recorder(caller.governor.ledger)
    caller.governor._in_force._pushed._ledger = recorder
    for _ in range(5):
        caller.call()
    assert recorder.asked == ["ReadPolicyHead"]
    looked(stage, caller)
    for _ in range(5):
        caller.call()
    assert recorder.asked == ["ReadPolicyHead"] * 2


@once
def test_a_closed_governor_looks_no_more(stage):
    """After `close` neither a call's look nor a thread opens the ledger again."""
    caller = stage.governor(team("1"))
    recorder = Recorder(caller.governor.ledger)
    caller.governor._in_force._pushed._ledger = recorder
    caller.call()
    caller.governor.close()
    stage.clock.forward(LOOK_S)
    caller.call()
    assert recorder.asked == ["ReadPolicyHead"]


@once
def test_touched_files_that_say_the_same_change_nothing(stage, caplog):
    """Written anew with the same meaning, they have the same hash, and no error is said."""
    caller = stage.governor(team("1"))
    old = caller.governor.policies.hash
    caller.call()
    os.utime(stage.policies / "team.yaml", ns=(1, 1))
    looked(stage, caller)
    assert (caller.governor.policies.hash, errors(caplog)) == (old, [])
