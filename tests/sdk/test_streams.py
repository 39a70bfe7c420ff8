"""`gov.stream()`: the SDK's stream, held before it begins, settled whatever ends it, and its live meter."""

from __future__ import annotations

import json

import anthropic
import pytest
from support.governed import HAIKU, HELLO, LADDER, SONNET, department
from support.pauses import pauses
from support.stages import on_sqlite
from support.streamed import read

from governor import BudgetExceeded, PolicyViolation
from governor.ledger import commands as c
from governor.testing import (
    Reply,
    clean_end_without_stop,
    cut_before_head,
    cut_mid_stream,
    error_mid_stream,
    hang_before_head,
    overloaded,
    rate_limited,
    spend_limit_reached,
    stall_mid_stream,
)

LIFE = {"per": "department", "usd": 10, "window": "life"}
IN_FLIGHT = {"per": "department", "concurrent": 5}
RUN = {"per": "run", "usd": 1, "window": "life"}
TEAM = department(LIFE, IN_FLIGHT, RUN)
SLOW = Reply(text="word " * 400, event_delay_ms=20)
BROKEN = {
    "cut mid-stream": cut_mid_stream(),
    "error in the stream": error_mid_stream(),
    "clean end without the last event": clean_end_without_stop(),
}


def settled(stage):
    """Check that nothing is held any more; returns what was charged."""
    assert stage.api.wait_idle()
    assert not stage.holds()
    assert all(not balance.held for balance in stage.balances().values())
    return stage.posted()


@pytest.mark.parametrize("model", ["haiku", "sonnet"])
def test_a_stream_gives_the_sdks_events_and_costs_what_the_api_bills(stage, model):
    """Every event in its order, the whole text, and a receipt at the end whose cost is the bill."""
    caller = stage.governor(TEAM)
    stage.api.replies(Reply(text="Good morning to all of you", output_tokens=9))
    found = read(caller, model=model)
    assert found.error is None
    assert found.text == "Good morning to all of you"
    assert found.events[0] == "message_start"
    assert found.events[-1] == "message_stop"
    receipt = found.stream.receipt
    assert found.message.receipt is receipt
    assert found.message.content[0].text == found.text
    assert receipt.cost.nanos == settled(stage) == stage.api.billed_nanos
    assert not receipt.uncertain
    assert receipt.decision.reason == f"{found.message.model}: asked for"
    assert stage.last_ending()["stop_reason"] == "end_turn"


@on_sqlite
def test_the_events_are_those_of_the_sdks_own_stream(stage):
    """Without the governor, the same answer gives the same events with the same content."""
    caller = stage.governor(TEAM)
    stage.api.replies(Reply(text="The same words for both of them", output_tokens=12))
    with stage.api.client().messages.stream(model=HAIKU, max_tokens=100, messages=HELLO) as bare:
        expected = [(event.type, getattr(event, "text", None)) for event in bare]
    seen = []
    read(caller, model="haiku", at=lambda found: seen.append(found.events[-1]))
    assert seen == [kind for kind, _ in expected]


@on_sqlite
def test_the_live_meter_grows_to_what_is_charged(stage):
    """Its cost starts above nothing, never falls, is at most the ceiling, and ends as the receipt's."""
    caller = stage.governor(TEAM)
    found = read(caller, model="sonnet", messages=HELLO, max_tokens=600)
    during = found.costs[:-1]
    assert during == sorted(during)
    assert 0 < during[0] <= found.stream.meter.ceiling.nanos
    assert found.stream.meter.cost == found.stream.receipt.cost
    assert found.stream.meter.output_tokens == found.message.usage.output_tokens
    assert found.stream.meter.elapsed_ms >= 0


@on_sqlite
@pytest.mark.parametrize("name", BROKEN)
def test_a_stream_that_breaks_is_charged_by_rule_at_most_its_hold(stage, name):
    """It is marked uncertain, with a receipt, and costs at least what the API bills for what it sent."""
    caller = stage.governor(TEAM)
    stage.api.inject(BROKEN[name])
    found = read(caller, model="sonnet")
    assert (found.error is None) == (name == "clean end without the last event")
    receipt = found.stream.receipt
    assert receipt.uncertain
    assert stage.api.billed_nanos <= receipt.cost.nanos == settled(stage)
    assert receipt.cost <= receipt.ceiling
    assert receipt.legs[-1].ended == "cut"


@on_sqlite
def test_a_stream_that_is_left_is_charged_for_what_came(stage):
    """Its caller breaks off after a few events: less than the hold, more than nothing, and uncertain."""
    caller = stage.governor(TEAM)
    stage.api.replies(SLOW)
    found = read(caller, model="sonnet", max_tokens=1000, leave_after=6)
    assert found.error is None
    charged = settled(stage)
    receipt = found.stream.receipt
    assert stage.api.billed_nanos <= charged == receipt.cost.nanos < receipt.ceiling.nanos
    assert receipt.uncertain
    assert stage.last_ending()["error"] == "LeftEarly"


@on_sqlite
def test_an_error_of_the_reader_reaches_it_and_the_stream_is_settled(stage):
    """What the code inside raises goes to its caller; what came of the answer is charged."""
    caller = stage.governor(TEAM)
    stage.api.replies(SLOW)

    def breaks(found):
        if len(found.events) == 4:
            raise ZeroDivisionError

    found = read(caller, model="sonnet", max_tokens=1000, at=breaks)
    assert isinstance(found.error, ZeroDivisionError)
    assert 0 < settled(stage) == found.stream.receipt.cost.nanos
    assert found.stream.receipt.uncertain


@on_sqlite
def test_silence_before_and_in_an_answer_ends_it(stage):
    """The tier's time-out measures silence; nothing that may have been billed is sent again."""
    caller = stage.governor(department(LIFE, timeout=0.3))
    for fault in (hang_before_head(billed=True), stall_mid_stream()):
        before = len(stage.sent())
        stage.api.inject(fault)
        found = read(caller, model="sonnet")
        assert isinstance(
            found.error, (anthropic.APITimeoutError, anthropic.APIConnectionError, OSError)
        ) or (type(found.error).__name__ == "ReadTimeout")
        assert len(stage.sent()) == before + 1
    assert stage.api.billed_nanos <= settled(stage)


@on_sqlite
def test_the_flow_moves_on_and_retries_until_an_answer_begins(stage):
    """A 529 goes to the next model, a 429 is waited out; the receipt has every leg."""
    caller = stage.governor(TEAM)
    pauses(caller)
    stage.api.inject(rate_limited(0.01))
    found = read(caller, model="sonnet", pin=True)
    assert found.message.model == SONNET
    assert found.stream.receipt.attempts == 2
    stage.api.inject(overloaded())
    found = read(caller, model="sonnet")
    assert found.message.model == HAIKU
    assert found.stream.receipt.decision.downgraded
    assert [leg.status for leg in found.stream.receipt.legs] == [529, 200]
    assert settled(stage) == stage.api.billed_nanos


@on_sqlite
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (spend_limit_reached(), anthropic.RateLimitError),
        (cut_before_head(billed=True), anthropic.APIConnectionError),
    ],
)
def test_what_no_retry_helps_is_raised_once(stage, fault, error):
    """A spend cap is free and sent once; a lost answer is charged whole and not sent again."""
    caller = stage.governor(TEAM)
    stage.api.inject(fault)
    found = read(caller, model="sonnet")
    assert isinstance(found.error, error)
    assert len(stage.sent()) == 1
    assert settled(stage) >= stage.api.billed_nanos


def test_a_refusal_is_raised_where_the_stream_would_begin(stage):
    """No request leaves, and the refusal is the one that `call()` raises."""
    caller = stage.governor(department({"per": "department", "usd": "0.000001", "window": "life"}))
    found = read(caller, model="sonnet")
    assert isinstance(found.error, BudgetExceeded)
    assert not stage.sent()
    assert not stage.holds()
    assert not any(balance.posted for balance in stage.balances().values())


@on_sqlite
def test_a_mark_changes_the_model_that_streams(stage):
    """At 80 % of the budget, sonnet answers in place of opus, and the receipt says so."""
    caller = stage.governor(department(LIFE, thresholds=LADDER))
    stage.spend("department=team/usd/life", 8_100_000_000, 10_000_000_000)
    found = read(caller, model="opus")
    assert found.message.model == SONNET
    assert found.stream.receipt.decision.downgraded
    assert stage.sent()[-1]["model"] == SONNET


@on_sqlite
def test_malformed_arguments_are_refused_before_anything_is_sent(stage):
    """As of `call()`: what the policy decides, or what has no price, cannot be given."""
    caller = stage.governor(TEAM)
    for wrong in ({"timeout": 3}, {"messages": "hello"}, {"model": 7}, {"max_tokens": -1}, {"stream": True}):
        found = read(caller, **wrong)
        assert isinstance(found.error, PolicyViolation), wrong
    assert not stage.api.requests


@on_sqlite
def test_a_stream_may_leave_max_tokens_to_its_feature(stage):
    """What is sent, and held for, is the feature's `max_tokens`."""
    caller = stage.governor(department(LIFE, features={"classify": {"max_tokens": 7}}))
    found = read(caller, model="haiku", feature="classify", max_tokens=None)
    assert stage.sent()[-1]["max_tokens"] == 7
    assert found.message.usage.output_tokens == 7


@on_sqlite
def test_stop_when_spent_ends_a_stream_of_a_run_that_is_frozen(stage):
    """In good order: no error, the text so far, a receipt; `stopped` and the journal say why."""
    caller = stage.governor(TEAM)
    stage.api.replies(SLOW)

    def freezes(found):
        if len(found.events) == 3:
            stage.ledger.execute(c.Freeze("op-1", "department=team/run=r-1/usd/life", "looping"))

    found = read(caller, model="sonnet", run="r-1", max_tokens=1000, stop_when_spent=True, at=freezes)
    assert found.error is None
    assert 0 < len(found.text) < len("word " * 400)
    assert found.stream.stopped == "department=team/run=r-1/usd/life is frozen: looping"
    assert found.message.stop_reason is None
    assert found.message.receipt.uncertain
    assert stage.api.billed_nanos <= settled(stage) < found.stream.meter.ceiling.nanos
    assert stage.last_ending()["error"] == "MoneySpent"


@on_sqlite
def test_without_stop_when_spent_the_stream_goes_on(stage):
    """A run that is frozen refuses its next call; the one under way ends by itself."""
    caller = stage.governor(TEAM)
    stage.api.replies(Reply(text="word " * 30, event_delay_ms=5))

    def freezes(found):
        if len(found.events) == 3:
            stage.ledger.execute(c.Freeze("op-1", "department=team/run=r-1/usd/life", "looping"))

    found = read(caller, model="sonnet", run="r-1", at=freezes)
    assert found.message.stop_reason == "end_turn"
    assert found.stream.stopped == ""
    assert settled(stage) == stage.api.billed_nanos


@on_sqlite
def test_the_journal_explains_a_stream_as_it_explains_a_call(stage):
    """Its reserve and settle records are of the request's own id."""
    caller = stage.governor(TEAM)
    read(caller, model="sonnet", request_id="stream-1")
    kinds = [entry.kind for entry in stage.journal(identifier="stream-1")]
    assert kinds == ["reserve", "settle"]
    record = json.loads(stage.journal("settle", "stream-1")[0].record)
    assert record["cost_nanos"] == stage.api.billed_nanos
