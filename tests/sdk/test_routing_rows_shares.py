"""Rows B4 and B5 of the requirements: the tier by budget and load, and the line by what a call is worth."""

from __future__ import annotations

import anthropic
import pytest
from support.between import between
from support.governed import HAIKU, LINES, OPUS, SONNET
from support.routed import (
    BANDS,
    BUDGET,
    BUSY,
    CHOOSE,
    DOLLAR,
    IDLE,
    LIMIT,
    MINUTE,
    TIERS,
    USD,
    USER_USD,
    journalled,
    loaded,
    row,
    team,
)
from support.stages import on_sqlite

from governor.ledger import commands as c
from governor.testing import overloaded

NO_RETRIES = {name: {**terms, "retries": 0} for name, terms in TIERS.items()}
SHARES = [
    row("B4-nothing-spent", 0, 0, "premium", IDLE),
    row("B4-49", 49, 0, "premium", IDLE),
    row("B4-50", 50, 0, "standard", "else"),
    row("B4-51", 51, 0, "standard", "else"),
    row("B4-90", 90, 0, "standard", "else"),
    row("B4-91", 91, 0, "economy", BUSY),
    row("B4-load-29", 0, 29, "premium", IDLE),
    row("B4-load-just-below-30", 0, 29.8, "premium", IDLE),
    row("B4-load-just-above-30", 0, 30.2, "standard", "else"),
    row("B4-load-just-below-85", 0, 84.8, "standard", "else"),
    row("B4-load-just-above-85", 0, 85.2, "economy", BUSY),
    row("B4-load-86", 0, 86, "economy", BUSY),
    row("B4-49-load-31", 49, 31, "standard", "else"),
    row("B4-51-load-29", 51, 29, "standard", "else"),
    row("B4-91-load-86", 91, 86, "economy", BUSY),
]


@pytest.mark.parametrize(("spent", "load", "tier", "why"), SHARES)
@on_sqlite
def test_budget_and_load_choose_the_tier(stage, spent, load, tier, why):
    """Above 90 % spent or 85 % load economy serves, below 50 % and 30 % premium, else standard."""
    stage.meet(rate_limits=MINUTE)
    caller = stage.governor(team(routing={"choose": CHOOSE}))
    if spent:
        stage.spend(USD, spent * LIMIT // 100, LIMIT)
    if load:
        loaded(stage, caller, load)
    message = caller.call()
    record = journalled(stage, message)
    assert (record["tier"], record["tier_why"]) == (tier, why)
    assert stage.sent()[-1]["model"] == LINES[TIERS[tier]["prefer"]]
    assert abs(record["load"] - load * 100) <= 10
    assert abs(record["budget"][0] - spent * 100) <= 1


PUSHED_BACK = [
    row("B4-load-exactly-30", 3, 7, "standard"),
    row("B4-load-28", 2, 5, "premium"),
]


@pytest.mark.parametrize(("refused", "served", "tier"), PUSHED_BACK)
@on_sqlite
def test_how_often_the_api_pushes_back_is_load(stage, refused, served, tier):
    """The share of 429 and 529 among the answers of the last minute counts, if it is the highest."""
    caller = stage.governor(team(routing={"choose": CHOOSE, "tiers": NO_RETRIES}))
    stage.api.inject(*[overloaded()] * refused)
    for _ in range(refused):
        with pytest.raises(anthropic.InternalServerError):
            caller.call(model="sonnet", pin=True)
    for _ in range(served):
        caller.call(model="sonnet", pin=True)
    record = journalled(stage, caller.call())
    assert (record["load"], record["tier"]) == (refused * 10_000 // (refused + served), tier)


@on_sqlite
def test_the_budget_is_read_once_and_then_known_for_a_minute(stage):
    """The first call asks the ledger what is spent; what it hears then is good for a minute, not longer."""
    caller = stage.governor(team(routing={"choose": CHOOSE}))
    told = between(caller)
    assert journalled(stage, caller.call())["budget"] == [0, 0]
    stage.spend(USD, 95 * LIMIT // 100, LIMIT)
    stage.clock.forward(60)
    known = journalled(stage, caller.call())
    assert (known["budget"], known["tier"]) == ([0, 60_000], "premium")
    assert len(told.told(c.Readings)) == 1
    heard = journalled(stage, caller.call())
    assert (heard["budget"], heard["tier"]) == ([9500, 0], "economy")
    stage.spend(USD, LIMIT // 100, LIMIT, name="yet-another")
    stage.clock.forward(60.001)
    assert journalled(stage, caller.call())["budget"] == [9600, 0]
    assert len(told.told(c.Readings)) == 2


@on_sqlite
def test_the_fullest_usd_budget_counts(stage):
    """Of all that the request touches; not what only watches, nor tokens."""
    mine = {"per": "user", "usd": 1, "window": "life"}
    watched = {"per": "feature", "usd": 1, "window": "life", "mode": "shadow"}
    tokens = {"per": "department", "tokens": 1000, "window": "month"}
    caller = stage.governor(team(BUDGET, mine, watched, tokens, routing={"choose": CHOOSE}))
    stage.spend(USER_USD, 6 * DOLLAR // 10, DOLLAR)
    stage.spend("department=team/feature=x/usd/life", DOLLAR, DOLLAR, name="yet-another")
    record = journalled(stage, caller.call(feature="x"))
    assert (record["budget"], record["tier"]) == ([6000, 0], "standard")


QUALITY = {"haiku": 60, "sonnet": 85, "opus": 95}
WORTH = [
    row("B5-dear", 1, OPUS, "worth it: $1.00 "),
    row("B5-middling", "0.015", SONNET, "worth it: $0.015 "),
    row("B5-cheap", "0.002", HAIKU, "worth it: $0.002 "),
    row("B5-worth-nothing", "0.00001", HAIKU, "none returns 10, the most does $0.00001 "),
]


@pytest.mark.parametrize(("value", "model", "why"), WORTH)
@on_sqlite
def test_a_call_gets_the_best_line_that_its_value_pays_for(stage, value, model, why):
    """The best line whose value times quality is ten times its cost, whatever the tier and complexity."""
    routing = {"value": {"quality": QUALITY, "at_least": 10}, "complexity": BANDS}
    features = {"lead": {"value": value}, "chat": {}}
    caller = stage.governor(team(routing=routing, features=features), scorer=lambda _body, _who: 5)
    message = caller.call(feature="lead")
    record = journalled(stage, message)
    assert (stage.sent()[-1]["model"], record["preferred"]) == (model, model)
    assert message.receipt.decision.reason.startswith(f"{model}: {why}")
    assert journalled(stage, caller.call(feature="chat"))["preferred"] == SONNET
    assert journalled(stage, caller.call(feature="lead", model="opus"))["preferred"] == OPUS


@on_sqlite
def test_what_calls_really_cost_decides_their_worth(stage):
    """The first call is judged by its ceiling; once it is known that answers are short, by what they cost."""
    stage.api.replies(output_tokens=1)
    routing = {"value": {"quality": QUALITY, "at_least": 10}}
    caller = stage.governor(team(routing=routing, features={"lead": {"value": "0.1"}}))
    first = caller.call(feature="lead", max_tokens=4000)
    assert journalled(stage, first)["preferred"] == HAIKU
    for line in ("sonnet", "opus"):
        caller.call(feature="lead", model=line, max_tokens=4000)
    assert journalled(stage, caller.call(feature="lead", max_tokens=4000))["preferred"] == OPUS
