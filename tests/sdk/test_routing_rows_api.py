"""Row B6 of the requirements: what the API says is waited for, moved on from, or raised at once."""

from __future__ import annotations

import json

import anthropic
import pytest
from support.governed import HAIKU, OPUS, SONNET
from support.pauses import pauses
from support.routed import LIMIT, USD, journalled, row, team
from support.stages import blocking, on_sqlite

from governor import BudgetExceeded
from governor.testing import (
    Reply,
    cut_mid_stream,
    error_mid_stream,
    overloaded,
    rate_limited,
    spend_limit_reached,
    status_error,
)

BACK_IN_5 = status_error(529, retry_after=5)
LADDER = [OPUS, SONNET, HAIKU]
RETRIES = {"tiers": {"standard": {"prefer": "sonnet", "timeout": 5, "retries": 3}}}
USAGE_LIMIT = "You have reached your specified API usage limits. You will regain access on 2026-12-01."
TEXT = Reply(text="It is what it is. " * 20)
BILLED = error_mid_stream(reply=TEXT)

WAITS = [
    row("B6-429-retry-after", [rate_limited(9)], [OPUS, OPUS], [(9, 9)]),
    row("B6-429-without", [rate_limited(None)], [OPUS, OPUS], [(1, 2)]),
    row("B6-500", [status_error(500)], [OPUS, OPUS], [(1, 2)]),
    row("B6-529", [overloaded()], [OPUS, SONNET], []),
    row("B6-529-twice", [overloaded()] * 2, LADDER, []),
    row("B6-529-everywhere", [overloaded()] * 3, [*LADDER, OPUS], [(30, 60)]),
    row("B6-529-names-a-time", [*[overloaded()] * 2, BACK_IN_5], [*LADDER, OPUS], [(5, 5)]),
    row("B6-529-then-429", [overloaded(), rate_limited(9)], [OPUS, SONNET, SONNET], [(9, 9)]),
    row("B6-429-then-529", [rate_limited(9), overloaded()], [OPUS, OPUS, SONNET], [(9, 9)]),
]


@pytest.mark.parametrize(("faults", "models", "within"), WAITS)
@on_sqlite
def test_429_and_529_are_told_apart(stage, faults, models, within):
    """A 429 waits, for as long as it says or 1 to 2 s at first; a 529 falls over at once, or 30 to 60 s."""
    stage.api.inject(*faults)
    caller = stage.governor(team(routing=RETRIES))
    waited = pauses(caller)
    message = caller.call(model="opus")
    journalled(stage, message)
    assert [body["model"] for body in stage.sent()] == models
    pairs = zip([seconds for seconds in waited if seconds >= 1], within, strict=True)
    assert all(low <= seconds <= high for seconds, (low, high) in pairs)
    assert message.receipt.attempts == len(faults) + 1
    assert message.receipt.decision.downgraded == (models[-1] != OPUS)
    assert stage.posted(USD) == message.receipt.cost.nanos == stage.api.billed_nanos


RAISED = [
    row("B6-spend-cap", spend_limit_reached(), 429),
    row("B6-contract-spend-cap", spend_limit_reached("contract_spend_limit_reached"), 429),
    row("B6-ramp-limit", status_error(429, error_code="ramp_limit_exceeded", retry_after=1), 429),
    row("B6-usage-limit", status_error(400, message=USAGE_LIMIT), 400),
    row("B6-400", status_error(400, retry_after=1), 400),
    row("B6-401", status_error(401, retry_after=1), 401),
    row("B6-403", status_error(403, retry_after=1), 403),
    row("B6-404", status_error(404, retry_after=1), 404),
    row("B6-422", status_error(422, retry_after=1), 422),
]


@pytest.mark.parametrize(("fault", "status"), RAISED)
@on_sqlite
def test_what_is_never_retried(stage, fault, status):
    """It is sent once and raised as the SDK's own error, though there is an earlier answer to give."""
    caller = stage.governor(team(routing={**RETRIES, "cached_answers": {"max_age": 600}}))
    waited = pauses(caller)
    cost = caller.call(model="opus").receipt.cost.nanos
    stage.api.inject(fault)
    with pytest.raises(anthropic.APIStatusError) as raised:
        caller.call(model="opus")
    assert (raised.value.status_code, waited) == (status, [])
    assert [body["model"] for body in stage.sent()] == [OPUS, OPUS]
    assert (stage.holds(), stage.posted(USD)) == ((), cost)


CACHED = {**RETRIES, "cached_answers": {"max_age": 600}}
FAILS = [
    row("B6-cached-529", [overloaded()] * 4, 0),
    row("B6-cached-429-too-long", [rate_limited(61)], 0),
    row("B6-cached-429-again-and-again", [rate_limited(None)] * 4, 0),
    row("B6-cached-500", [status_error(500)] * 4, 0),
    row("B6-cached-mid-stream-overload", [BILLED], 1),
    row("B6-cached-cut", [cut_mid_stream(5, reply=TEXT)], 1),
]


@pytest.mark.parametrize(("faults", "costs"), FAILS)
@on_sqlite
def test_an_earlier_answer_stands_in_for_a_call_that_fails(stage, faults, costs):
    """Where the policy allows it, the same request gets the same answer; the receipt says so and why."""
    caller = stage.governor(team(routing=CACHED))
    pauses(caller)
    first = caller.call(model="opus", max_tokens=1000, request_id="first")
    stage.clock.forward(100)
    spent = stage.posted(USD)
    stage.api.inject(*faults)
    again = caller.call(model="opus", max_tokens=1000, request_id="second")
    receipt = again.receipt
    assert again.content == first.content
    assert (receipt.cached, receipt.decision.outcome, receipt.model) == (True, "cached", OPUS)
    assert receipt.decision.reason.startswith("an earlier answer to the same request, 1")
    assert (receipt.request_id, receipt.attempts) == ("second", len(faults))
    assert bool(receipt.cost.nanos) == bool(costs)
    assert stage.posted(USD) == spent + receipt.cost.nanos
    assert stage.holds() == ()


def test_an_earlier_answer_stands_in_for_a_call_that_is_refused(stage):
    """It costs nothing, nothing is sent, and the journal says how old the answer was."""
    caller = stage.governor(team(routing=CACHED))
    first = caller.call(request_id="first")
    stage.spend(USD, LIMIT - stage.posted(USD), LIMIT)
    again = caller.call(request_id="second")
    receipt, decision = again.receipt, again.receipt.decision
    assert again.content == first.content
    assert (receipt.cached, receipt.cost.nanos, receipt.attempts, dict(receipt.usage)) == (True, 0, 0, {})
    assert (decision.outcome, decision.model) == ("cached", SONNET)
    assert "an earlier answer to the same request, 0 s old, for " in decision.reason
    assert (len(stage.sent()), stage.holds(), stage.posted(USD)) == (1, (), LIMIT)
    last = stage.journal("reserve")[-1]
    assert (last.id, last.outcome, json.loads(last.record)["cached_answer_ms"]) == ("second", "exhausted", 0)


OTHERS = [
    row("B6-other-feature", {"feature": "chat"}, 0),
    row("B6-other-prompt", {"messages": [{"role": "user", "content": "Hello, Claude!"}]}, 0),
    row("B6-other-system", {"system": "Be brief."}, 0),
    row("B6-other-max-tokens", {"max_tokens": 101}, 0),
    row("B6-other-model", {"model": "haiku"}, 0),
    row("B6-pinned", {"model": "sonnet", "pin": True}, 0),
    row("B6-too-old", {}, 601),
]


@pytest.mark.parametrize(("other", "after_s"), OTHERS)
@on_sqlite
def test_no_other_request_gets_an_earlier_answer(stage, other, after_s):
    """Another feature, prompt, model or bound, or one that is too old: the refusal is raised."""
    caller = stage.governor(team(routing=CACHED, features={"chat": {}, "sort": {}}))
    caller.call(feature="sort")
    stage.clock.forward(after_s)
    stage.spend(USD, LIMIT - stage.posted(USD), LIMIT)
    with pytest.raises(BudgetExceeded):
        caller.call(**{"feature": "sort", **other})
    assert len(stage.sent()) == 1


@on_sqlite
def test_no_other_department_gets_an_earlier_answer(stage):
    """Nor does a process that never had it; another user of the same department does."""
    stage.write(team(routing=CACHED))
    file = (stage.policies / "team.yaml").read_text()
    (stage.policies / "legal.yaml").write_text(file.replace('"team"', '"legal"'))
    caller, other = stage.governor(), stage.governor()
    caller.call()
    stage.spend(USD, LIMIT - stage.posted(USD), LIMIT)
    stage.spend("department=legal/usd/life", LIMIT, LIMIT, name="yet-another")
    with pytest.raises(BudgetExceeded):
        caller.call(department="legal")
    with pytest.raises(BudgetExceeded):
        other.call()
    assert caller.call(user="v").receipt.cached


@on_sqlite
def test_an_earlier_answer_is_the_callers_to_change(stage):
    """Each gets a copy: what one does to it no other sees."""
    caller = stage.governor(team(routing=CACHED))
    first = caller.call()
    text = first.content[0].text
    first.content[0].text = "changed at the source"
    stage.spend(USD, LIMIT - stage.posted(USD), LIMIT)
    second = caller.call()
    assert second.content[0].text == text
    second.content.clear()
    assert caller.call().content[0].text == text


@on_sqlite
def test_without_the_policys_word_there_is_no_earlier_answer(stage):
    """The refusal is raised, and so is it where the policy only watches what would be given."""
    caller = stage.governor(team(routing=RETRIES))
    caller.call()
    stage.spend(USD, LIMIT - stage.posted(USD), LIMIT)
    with pytest.raises(BudgetExceeded):
        caller.call()


class GivenUp(BaseException):
    """As Ctrl-C."""


@blocking
def test_who_gives_up_is_not_answered_from_before(stage):
    """Ctrl-C while a failed call waits goes on to the caller, whatever is kept."""
    caller = stage.governor(team(routing=CACHED))
    caller.call()

    def give_up(_seconds):
        raise GivenUp

    pauses(caller, give_up)
    stage.api.inject(rate_limited(9))
    with pytest.raises(GivenUp):
        caller.call()
    assert stage.holds() == ()
