"""A smaller answer before a refusal; and what only watches alters, delays and refuses nothing."""

from __future__ import annotations

import pytest
from support.governed import HAIKU, HELLO, OPUS, SONNET
from support.pauses import pauses
from support.routed import BANDS, BUDGET, CHOOSE, DOLLAR, LIMIT, USD, journalled, prompt, row, team
from support.stages import on_sqlite

from governor import BudgetContended, BudgetExceeded
from governor.testing import RateLimits, overloaded

SHRINK = {"shrink": {"min_tokens": 256}}
TOKEN = 500
"""Nano-dollars of one output token of haiku."""

LEFT = [
    row("shrink-to-half", 1_000_000, 4000),
    row("shrink-a-little", 1_990_000, 4000),
    row("shrink-to-little-more-than-the-least", 140_000, 4000),
]


@pytest.mark.parametrize(("left", "asked"), LEFT)
@on_sqlite
def test_a_refusal_becomes_a_smaller_answer(stage, left, asked):
    """The largest `max_tokens` that the budget can bear is sent; the receipt says what was changed."""
    caller = stage.governor(team(routing=SHRINK))
    stage.spend(USD, LIMIT - left, LIMIT)
    assert caller.decide(model="haiku", max_tokens=asked).max_tokens < asked
    message = caller.call(model="haiku", max_tokens=asked)
    receipt, sent = message.receipt, stage.sent()[-1]["max_tokens"]
    journalled(stage, message)
    assert 256 <= sent < asked
    assert receipt.ceiling.nanos <= left < receipt.ceiling.nanos + 2 * TOKEN
    assert receipt.decision.changes == (f"max_tokens {asked:,} → {sent:,}: what its budgets can still bear",)
    assert [entry.outcome for entry in stage.journal("reserve")][1:] == ["held"]


def test_every_store_shrinks_alike(stage):
    """On Redis as on SQLite, blocking or async; from any line, to the cheapest."""
    caller = stage.governor(team(routing=SHRINK))
    stage.spend(USD, LIMIT - 1_000_000, LIMIT)
    message = caller.call(model="opus", max_tokens=4000)
    journalled(stage, message)
    assert (message.model, message.receipt.decision.downgraded) == (HAIKU, True)
    assert 1900 < stage.sent()[-1]["max_tokens"] < 2000


REFUSED = [
    row("shrink-below-the-least", SHRINK, 100_000, {}, 1),
    row("shrink-nothing-left", SHRINK, 100, {}, 0),
    row("shrink-not-in-the-policy", {}, 1_000_000, {}, 1),
    row(
        "shrink-below-the-thinking",
        {**SHRINK, "lines": {"haiku": "claude-haiku-4-5"}, "tiers": {}},
        7_500_000,
        {"thinking": {"type": "enabled", "budget_tokens": 2000}},
        1,
    ),
]


@pytest.mark.parametrize(("routing", "left", "request_", "affordable"), REFUSED)
@on_sqlite
def test_what_is_too_small_is_refused(stage, routing, left, request_, affordable):
    """Nothing is sent or held, one refusal is journalled; the error names the largest that would pass."""
    caller = stage.governor(team(routing=routing))
    stage.spend(USD, LIMIT - left, LIMIT)
    with pytest.raises(BudgetExceeded) as raised:
        caller.call(model="haiku", max_tokens=4000, **request_)
    assert (stage.sent(), stage.holds()) == ([], ())
    assert [entry.outcome for entry in stage.journal("reserve")][1:] == ["exhausted"]
    most = raised.value.affordable_max_tokens
    assert (most is not None) == bool(affordable)
    if most is not None:
        assert caller.decide(model="haiku", max_tokens=most, messages=HELLO).outcome == "held"
        assert caller.decide(model="haiku", max_tokens=most + 2).max_tokens <= most + 2


@on_sqlite
def test_many_at_once_spend_what_there_is_and_no_more(stage):
    """Under concurrency the budget is exact: none is overdrawn, and what is refused no longer fits."""
    stage.api.replies(output_tokens=100_000)
    left = 5_000_000
    caller = stage.governor(team(routing={**SHRINK, "when_contended": {"max_wait": 0}}))
    stage.spend(USD, LIMIT - left, LIMIT)
    calls = [caller.start(model="haiku", max_tokens=4000) for _ in range(20)]
    ended = [call.exception() for call in calls]
    assert {type(error) for error in ended} <= {type(None), BudgetExceeded, BudgetContended}
    assert stage.holds() == ()
    spent = stage.posted(USD) - (LIMIT - left)
    assert spent == stage.api.billed_nanos <= left
    assert sum(error is None for error in ended) >= 2


SPENT = row("shadow-spent", {}, 100, {"model": "opus"}, OPUS)
WATCHED = [
    SPENT,
    row("shadow-floors", {"floors": {"sonnet": 50, "opus": 200}}, 99, {"model": "opus"}, OPUS),
    row("shadow-shrink", SHRINK, 100, {"model": "haiku", "max_tokens": 4000}, HAIKU),
    row("shadow-defer", {"defer": {"when": "budget > 80%"}}, 95, {"model": "opus", "deferrable": True}, OPUS),
    row("shadow-context", {}, 0, {"model": "haiku", "messages": prompt(60_000), "tier": "economy"}, HAIKU),
    row("shadow-thinking", {}, 100, {"model": "opus", "thinking": {"type": "adaptive"}}, OPUS),
    row("shadow-cached", {"cached_answers": {"max_age": 600}}, 100, {"model": "sonnet"}, SONNET),
    row("shadow-complexity", {"complexity": BANDS}, 0, {"model": "opus"}, OPUS),
    row("shadow-choose", {"choose": CHOOSE}, 95, {"model": "opus"}, OPUS),
    row("shadow-choose-auto", {"choose": CHOOSE}, 95, {"model": "auto"}, OPUS),
]


@pytest.mark.parametrize(("routing", "spent", "request_", "model"), WATCHED)
@on_sqlite
def test_what_only_watches_alters_nothing(stage, routing, spent, request_, model):
    """In shadow a request goes as it is, whatever is spent: same model, same body, no wait, no refusal."""
    mine = {"per": "user", "usd": "0.001", "window": "life"}
    caller = stage.governor(team(BUDGET, mine, routing=routing, mode="shadow"))
    waited = pauses(caller)
    stage.spend(USD, spent * LIMIT // 100, LIMIT)
    for _ in range(2):
        message = caller.call(**request_)
        sent = stage.sent()[-1]
        assert (sent["model"], message.receipt.cached, message.receipt.decision.changes) == (model, False, ())
        plain = {"max_tokens": 100, "messages": HELLO, **request_, "model": model}
        assert message.receipt.decision.outcome == "held"
        asked = {name: value for name, value in plain.items() if name not in ("tier", "deferrable")}
        assert {name: value for name, value in sent.items() if name != "stream"} == asked
    assert (waited, len(stage.sent()), stage.holds()) == ([], 2, ())


@on_sqlite
def test_what_only_watches_delays_nothing(stage):
    """Neither a used-up rate limit nor an open breaker keeps a request of a shadow policy from its model."""
    limits = RateLimits(requests=10, enforce=False)
    stage.meet(rate_limits=limits)
    caller = stage.governor(
        team(routing={"tiers": {"standard": {"prefer": "sonnet", "retries": 0}}}, mode="shadow")
    )
    waited = pauses(caller)
    for _ in range(12):
        assert caller.call(model="sonnet").model == SONNET
    stage.api.inject(*[overloaded()] * 6)
    for _ in range(6):
        assert caller.start(model="opus").exception() is not None
    assert caller.call(model="opus").model == OPUS
    assert waited == []
    assert DOLLAR > stage.posted(USD) > 0
