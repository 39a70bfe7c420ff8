"""What `if_ledger_is_down` means on a real Redis that is killed and comes back: refuse, allow, lease."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.governed import until
from support.lines import NOT_TOLD_WHILE_AWAY, listening, of_the_journal
from support.outages import CEILING, ORG, USD, come_back, ends, left, open_up, team

from governor import BudgetExceeded, LedgerUnavailable
from governor.errors import LedgerDown
from governor.ledger import commands as c
from governor.testing import Reply, status_error

WORKER = Path(__file__).with_name("outage_worker.py")


@pytest.fixture
def stage(outage):
    """A stage on a Redis that the test may kill."""
    return outage


def heard(line):
    """A line without what the ledger is not told, or knows otherwise, of a call that went without it."""
    return {name: value for name, value in line.items() if name not in NOT_TOLD_WHILE_AWAY}


def test_refuse_sends_nothing(stage):
    """With `refuse`, an outage costs nothing: no call is sent and nothing is written down."""
    caller = open_up(stage, "refuse")
    stage.redis.kill()
    for _ in range(3):
        with pytest.raises(LedgerDown, match="cannot be reached"):
            caller.call()
    assert len(stage.sent()) == 1
    come_back(stage)
    assert caller.call().receipt.settled
    assert stage.posted() == stage.api.billed_nanos
    assert left(stage) == []


def test_allow_lets_all_through_and_tells_it_later(stage):
    """With `allow`, every call is answered; once the ledger is back it has every nano-dollar, once."""
    caller = open_up(stage, "allow")
    stage.redis.kill()
    with listening() as lines:
        receipts = [caller.call(request_id=f"away-{number}").receipt for number in range(5)]
    assert [(one["id"], one["admitted"]) for one in lines] == [(f"away-{n}", "allowed") for n in range(5)]
    for receipt in receipts:
        assert (receipt.settled, receipt.decision.outcome) == (False, "allowed")
        assert (receipt.decision.budgets, receipt.decision.candidates[0].verdict) == ((), "allowed")
    assert left(stage) == [(True, 5)]
    come_back(stage)
    assert caller.call().receipt.settled
    assert stage.posted() == stage.posted(ORG) == stage.api.billed_nanos
    assert stage.holds() == ()
    assert left(stage) == [(True, 0)]
    told = [entry for entry in ends(stage) if entry.id.startswith("away-")]
    assert [entry.id for entry in told] == [f"away-{number}" for number in range(5)]
    assert [json.loads(entry.record)["admitted"] for entry in told] == ["allowed"] * 5
    assert all("unknown=1" in entry.detail for entry in told)
    told_later = [one for one in of_the_journal(stage) if one["id"].startswith("away-")]
    assert [heard(one) for one in told_later] == [heard(one) for one in lines]
    caller.close()
    stage._open.remove(caller)
    assert left(stage) == []


def test_allow_tells_what_crossed(stage):
    """A threshold that calls crossed while the ledger was away is reported when it hears of them."""
    thresholds = {"50%": "warn", "100%": "block"}
    caller = open_up(stage, "allow", usd="0.01", thresholds=thresholds)
    stage.redis.kill()
    while stage.api.billed_nanos < 5_000_000:
        caller.call()
    assert stage.events == []
    come_back(stage)
    with pytest.raises(BudgetExceeded):
        caller.call(model="opus", pin=True, max_tokens=1000)
    assert [(event.identity, event.percent) for event in stage.events] == [(USD, 50)]


def test_allow_keeps_to_the_limits_of_a_request(stage):
    """Whatever the balances may be, `limits` still refuse, and a feature's lines still hold."""
    caller = open_up(stage, "allow", limits={"max_tokens": 50, "cost_per_request": 0.001})
    stage.redis.kill()
    assert caller.call(max_tokens=4000).receipt.decision.max_tokens == 50
    served = caller.call(model="opus", max_tokens=50).receipt
    assert served.ceiling.nanos <= 1_000_000
    assert served.model != "claude-opus-5-5"


def test_a_call_that_the_api_refuses_is_told_as_given_back(stage):
    """A call without a hold that was never served posts no money, and is told as released."""
    caller = open_up(stage, "allow", {"per": "user", "requests": 50, "window": "life"})
    stage.redis.kill()
    stage.api.inject(status_error(400))
    with pytest.raises(Exception, match="400"):
        caller.call(request_id="refused")
    come_back(stage)
    assert caller.call().receipt.settled
    assert stage.posted() == stage.api.billed_nanos
    assert stage.posted("department=team/user=u/requests/life") == 3
    (entry,) = stage.journal(identifier="refused")
    assert entry.outcome == "released"


def test_a_store_that_was_emptied_is_no_outage(stage):
    """A Redis that comes back without its data refuses, whatever the policy says, and nothing is sent."""
    caller = open_up(stage, "allow")
    stage.redis.kill()
    caller.call()
    come_back(stage)
    with stage.redis.client() as client:
        client.flushall()
    for _ in range(2):
        with pytest.raises(LedgerUnavailable, match="emptied or never created") as refused:
            caller.call()
        assert not isinstance(refused.value, LedgerDown)
    assert len(stage.sent()) == 2
    assert left(stage) == [(True, 1)]


def test_a_full_redis_is_an_outage(stage):
    """A Redis without room takes no holds: calls go through, and it still hears how they ended."""
    caller = open_up(stage, "allow")
    assert stage.posted() == stage.api.billed_nanos
    with stage.redis.client() as client:
        client.config_set("maxmemory", 1)
    try:
        assert caller.call(request_id="first").receipt.decision.outcome == "allowed"
        stage.clock.forward(60)
        assert caller.call().receipt.decision.outcome == "allowed"
        assert [entry.outcome for entry in stage.journal(identifier="first")] == ["settled"]
    finally:
        with stage.redis.client() as client:
            client.config_set("maxmemory", 0)
    stage.clock.forward(60)
    assert caller.call().receipt.decision.outcome == "held"
    assert stage.posted() == stage.api.billed_nanos


def test_a_call_whose_id_is_taken_is_posted_all_the_same(stage):
    """Without the ledger nobody is told that an id is taken: each cost is posted, under an id of its own."""
    caller = open_up(stage, "allow")
    caller.call(request_id="mine")
    stage.redis.kill()
    caller.call(request_id="mine")
    caller.call(request_id="mine")
    come_back(stage)
    caller.call()
    assert stage.posted() == stage.api.billed_nanos
    assert sum(entry.id.startswith("mine") for entry in ends(stage)) == 3


def test_a_hold_whose_reply_was_lost_is_settled(stage):
    """A hold that was opened without the caller's knowing is ended by what the call cost, once."""
    caller = open_up(stage, "allow")
    row = stage.row(USD, 1_000_000_000)
    shared = stage.row(ORG, 2_000_000_000)
    ask = c.Ask(CEILING)
    stage.ledger.execute(c.Reserve("ghost", (shared, row), ((ask, ask),), 60_000, call="another"))
    stage.redis.kill()
    caller.call(request_id="ghost")
    come_back(stage)
    caller.call()
    assert stage.posted() == stage.api.billed_nanos
    assert stage.holds() == ()


def test_what_a_call_in_flight_costs_when_the_ledger_goes_away(stage):
    """A call that was held before, and ends while the ledger is away, is written down too."""
    caller = open_up(stage, "allow")
    stage.api.next(Reply(delay_ms=50))
    call = caller.start()
    until(lambda: len(stage.sent()) == 2)
    stage.redis.kill()
    receipt = call.result().receipt
    assert (receipt.settled, receipt.decision.outcome) == (False, "held")
    assert left(stage) == [(True, 1)]
    come_back(stage)
    caller.call()
    assert stage.posted() == stage.api.billed_nanos
    assert stage.holds() == ()


def test_a_spool_that_cannot_be_written_refuses(stage):
    """What cannot be written down is not sent: the error names the ledger and the file."""
    caller = open_up(stage, "allow")
    (stage.folder / "spool").mkdir(exist_ok=True)
    (stage.folder / "spool" / stage.org).write_text("a file where a folder should be")
    stage.redis.kill()
    with pytest.raises(LedgerDown, match=r"cannot be reached.*could not be written down, so it was not sent"):
        caller.call()
    assert len(stage.sent()) == 1


def test_a_decision_without_the_ledger(stage):
    """`decide` says what a call would meet now, with no budgets, and takes nothing."""
    caller = open_up(stage, "allow")
    stage.redis.kill()
    decision = caller.decide()
    assert (decision.outcome, decision.budgets) == ("allowed", ())
    assert "the ledger is away" in decision.reason
    assert left(stage) == []


def worker(stage, calls):
    """A process of its own that makes so many calls whenever it is told to."""
    command = [sys.executable, str(WORKER), str(stage.policies), stage.url, stage.api.url]
    command += [str(stage.folder / "spool"), str(calls), "async" if stage.is_async else "sync"]
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "NO_PROXY": "*"},
    )


def say(process, word):
    """Let a worker go on, and wait for what it says."""
    process.stdin.write(f"{word}\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


@pytest.mark.parametrize("if_down", ["allow", "lease"])
def test_a_process_killed_during_an_outage_is_heard_through_the_next(stage, if_down):
    """What a process that died by SIGKILL had written down is told by the next one: calls and lease, once.

    A call that it had begun is charged its ceiling, like a hold that expires.
    """
    stage.clock = None
    stage.write(team(if_down))
    stage.ledger.execute(c.Create("made"))
    process = worker(stage, 3)
    assert say(process, "call") == "held held held"
    stage.redis.kill()
    how = {"allow": "allowed", "lease": "leased"}[if_down]
    assert say(process, "call") == f"{how} {how} {how}"
    billed = stage.api.billed_nanos
    stage.api.next(Reply(delay_ms=5_000))
    process.stdin.write("call\n")
    process.stdin.flush()
    until(lambda: len(stage.sent()) == 7)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.communicate()
    assert left(stage) == [(False, 4 + (if_down == "lease"))]
    stage.redis.start()
    caller = stage.governor(None, spool=stage.folder / "spool")
    receipt = caller.call().receipt
    assert receipt.settled
    assert stage.posted() == billed + CEILING + receipt.cost.nanos
    caller.close()
    stage._open.remove(caller)
    assert stage.holds() == ()
    assert left(stage) == []
