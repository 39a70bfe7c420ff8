"""A refusal names the budget that keeps a call out longest, and promises nothing that is not so."""

from __future__ import annotations

import pytest
from support.between import between
from support.governed import HAIKU, SONNET, Clock, department, until
from support.stages import on_sqlite

from governor import BudgetContended, BudgetExceeded
from governor.budgets import Unit
from governor.ledger import commands as c
from governor.testing import Reply

ROOMY = {"per": "department", "usd": "100", "window": "life"}
OLD_HAIKU = "claude-haiku-4-5"
ONLY_SONNET = {"routing": {"lines": {"sonnet": SONNET}}}
SMALL = "0.0015"
"""Enough for one Sonnet call of 100 tokens, and not for two."""


def refusal(caller, **request):
    """The error of a call that a budget refuses."""
    with pytest.raises(BudgetExceeded) as refused:
        caller.call(**request)
    return refused.value


@pytest.mark.parametrize("order", [1, -1], ids=["day first", "month first"])
def test_of_several_spent_budgets_the_last_to_reopen_is_named(stage, order):
    """A day that reopens at midnight is no news where the month is spent too."""
    budgets = [
        {"per": "user", "usd": SMALL, "window": "day"},
        {"per": "department", "usd": SMALL, "window": "month"},
    ]
    caller = stage.governor(department(*budgets[::order], **ONLY_SONNET))
    caller.call()
    error = refusal(caller)
    assert error.budget.identity == "department=team/usd/month"
    assert error.resets_at.isoformat() == "2026-12-01T00:00:00+00:00"
    assert "it resets at 2026-12-01 00:00 UTC" in str(error)


@on_sqlite
def test_a_spent_budget_without_an_end_is_named_first(stage):
    """What never reopens keeps a call out longest: it is named, and no reset is promised."""
    budgets = [{"per": "run", "usd": SMALL}, {"per": "department", "usd": SMALL, "window": "month"}]
    caller = stage.governor(department(*budgets, **ONLY_SONNET))
    caller.call(run="r")
    error = refusal(caller, run="r")
    assert (error.budget.identity, error.resets_at) == ("department=team/run=r/usd/life", None)
    assert "resets" not in str(error)


@on_sqlite
def test_a_frozen_budget_promises_no_reset(stage):
    """A budget that is frozen does not reopen with its window."""
    caller = stage.governor(department({"per": "department", "usd": 1, "window": "day"}, **ONLY_SONNET))
    stage.ledger.execute(c.Freeze("f", "department=team/usd/day", "audit"))
    error = refusal(caller)
    assert (error.decision.outcome, error.resets_at) == ("frozen", None)
    assert "resets" not in str(error)


@on_sqlite
def test_a_request_larger_than_the_whole_limit_promises_no_reset(stage):
    """What needs more than a whole day has does not fit tomorrow either; a smaller one is named."""
    caller = stage.governor(department({"per": "department", "usd": SMALL, "window": "day"}, **ONLY_SONNET))
    error = refusal(caller, max_tokens=1000)
    assert error.resets_at is None
    assert "resets" not in str(error)
    assert 0 < error.affordable_max_tokens < 1000
    assert caller.call(max_tokens=error.affordable_max_tokens).receipt.settled


@on_sqlite
def test_a_request_above_its_lines_own_mark_promises_no_reset(stage):
    """A line that may never fill the budget far enough for this request is not told to come back."""
    day = {"per": "department", "usd": SMALL, "window": "day"}
    caller = stage.governor(department(day, thresholds={"50%": {"downgrade": "haiku"}}))
    assert refusal(caller, model="sonnet", pin=True).resets_at is None


@on_sqlite
def test_what_is_affordable_is_found_across_tokenizers(stage):
    """With candidates that count differently, the largest `max_tokens` is the last one's, and it passes."""
    lines = {"haiku": OLD_HAIKU, "sonnet": SONNET}
    team = department({"per": "department", "usd": "0.001", "window": "life"}, routing={"lines": lines})
    caller = stage.governor(team)
    error = refusal(caller, max_tokens=1000)
    assert [view.model for view in error.decision.candidates] == [SONNET, OLD_HAIKU]
    affordable = error.affordable_max_tokens
    assert f"max_tokens={affordable} would pass" in str(error)
    assert refusal(caller, max_tokens=affordable + 1).affordable_max_tokens == affordable
    assert caller.call(max_tokens=affordable).receipt.model == OLD_HAIKU


@on_sqlite
def test_what_is_affordable_is_never_more_than_the_model_can(stage):
    """However much money there is, a model is not said to pass with more output than it has."""
    team = department({"per": "department", "usd": "0.5", "window": "life"})
    error = refusal(stage.governor(team), model=OLD_HAIKU, pin=True, max_tokens=200_000)
    assert error.affordable_max_tokens == 64_000


@pytest.mark.parametrize("window", ["day", "life"])
def test_held_requests_are_exceeded_and_not_contended(stage, window):
    """A request in flight stays counted however it ends, so the next is told at once that there is none."""
    own = {"per": "user", "requests": 1, "window": window}
    team = department(ROOMY, own, routing={"when_contended": {"max_wait": 60}})
    caller = stage.governor(team)
    stage.api.replies(Reply(delay_ms=500))
    first = caller.start()
    until(stage.sent)
    error = refusal(caller)
    assert (error.budget.posted, error.budget.held, error.decision.waited_s) == (0, 1, 0)
    assert (error.resets_at is None) == (window == "life")
    assert first.result().receipt.settled


@on_sqlite
def test_held_requests_of_a_minute_are_waited_for_until_it_is_over(stage):
    """The next minute has new requests: within `max_wait` that is worth waiting for."""
    stage.clock = Clock(1_795_176_059_300)
    own = {"per": "user", "requests": 1, "window": "minute"}
    caller = stage.governor(department(ROOMY, own, routing={"when_contended": {"max_wait": 30}}))
    said = between(caller)
    row = c.BudgetRow("department=team/user=u/requests/minute", "2026-11-20T12:00Z", 0, 0, Unit.REQUESTS, 1)
    stage.ledger.execute(c.Reserve("another", (row,), ((c.Ask(1, comes_back=False),),), 600_000))
    waiting = caller.start(request_id="next-minute")
    until(lambda: said.told(c.Refused))
    assert said.told(c.Refused)[0].reason == "exhausted"
    stage.clock.forward(1)
    assert waiting.result().receipt.decision.waited_s > 0


@on_sqlite
def test_held_money_beside_held_requests_is_not_contended(stage):
    """Money would come back, the request would not: the refusal names the requests."""
    own = {"per": "user", "requests": 1, "window": "life"}
    caller = stage.governor(department({**ROOMY, "usd": SMALL}, own, **ONLY_SONNET))
    stage.hold("department=team/user=u/requests/life", 1, 1, name="a-request")
    stage.hold("department=team/usd/life", 1_000_000, 1_500_000)
    assert refusal(caller).budget.identity == "department=team/user=u/requests/life"
    with pytest.raises(BudgetContended):
        caller.call(user="another")


@on_sqlite
def test_a_model_that_was_not_asked_is_recommended_only_with_all_its_budgets_known(stage):
    """A cheaper model is named where every budget it would touch was looked at, and not where one was not."""
    lines = {"routing": {"lines": {"sonnet": SONNET, "haiku": HAIKU}}}
    tight = {"per": "department", "usd": "0.001", "window": "life"}
    caller = stage.governor(department(tight, **lines))
    assert refusal(caller, model="sonnet", pin=True).cheapest_model == HAIKU
    own = {"per": "model", "usd": "100", "window": "life"}
    caller = stage.governor(department(tight, own, **lines))
    assert refusal(caller, model="sonnet", pin=True).cheapest_model is None
