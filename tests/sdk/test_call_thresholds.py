"""Thresholds of one budget, one scope or one file; of every unit; paced; and parts kept for some."""

from __future__ import annotations

import pytest
from support.governed import HAIKU, LADDER, NOON_MS, OPUS, SONNET, department
from support.stages import blocking, on_sqlite, once

from governor import BudgetContended, BudgetExceeded
from governor.budgets import span_of, unit_of, window_at
from governor.ledger import commands as c

DAY_MS = 86_400_000
LIMIT = 1_000_000_000


def spend(stage, identity, percent, limit=LIMIT):
    """Post *percent* of a budget in its window of now, as another process would."""
    window = window_at(span_of(identity), "UTC", stage.clock())
    row = c.BudgetRow(identity, window.id, window.start_ms, window.end_ms, unit_of(identity), limit)
    command = c.Settle(f"spent-{percent}-{identity}", (c.Posting(row, limit * percent // 100),))
    stage.ledger.execute(command)


def served(stage, caller, **request):
    """The model that serves an opus call."""
    return caller.call(model="opus", **request).model


@on_sqlite
def test_a_budgets_own_thresholds_go_before_its_scopes_and_those_before_the_files(stage):
    """The nearest set of steps is a budget's only one."""
    budgets = [
        {"per": "department", "usd": 1, "window": "life"},
        {"per": "user", "usd": 1, "window": "life"},
        {"per": "feature", "usd": 1, "window": "life", "thresholds": {"30%": {"downgrade": "haiku"}}},
    ]
    steps = {**LADDER, "user": {"50%": {"downgrade": "sonnet"}}, "feature": {"90%": "warn"}}
    caller = stage.governor(department(*budgets, thresholds=steps))
    spend(stage, "department=team/usd/life", 60)
    assert served(stage, caller) == OPUS
    spend(stage, "department=team/user=u/usd/life", 60)
    assert served(stage, caller) == SONNET
    spend(stage, "department=team/feature=f/usd/life", 31)
    assert served(stage, caller, feature="f") == HAIKU


@on_sqlite
@pytest.mark.parametrize(("unit", "limit"), [("tokens", 100_000), ("requests", 100)])
def test_a_budget_of_any_unit_has_thresholds(stage, unit, limit):
    """Tokens and requests downgrade and warn at their own steps; the file's are of dollars only."""
    budget = {"per": "department", unit: limit, "window": "day"}
    own = {**budget, "thresholds": {"50%": ["warn", {"downgrade": "haiku"}]}}
    caller = stage.governor(department(own, thresholds={"10%": {"downgrade": "sonnet"}}))
    identity = f"department=team/{unit}/day"
    spend(stage, identity, 49, limit)
    assert served(stage, caller, max_tokens=10) == OPUS
    spend(stage, identity, 2, limit)
    assert served(stage, caller, max_tokens=10) == HAIKU
    assert [(event.identity, event.percent, event.warns) for event in stage.events] == [(identity, 50, True)]


@blocking
def test_calls_in_flight_have_thresholds_too(stage):
    """Of four calls at once the last two are haiku's: a step of `concurrent` judges what is in flight."""
    budget = {"per": "department", "concurrent": 4, "thresholds": {"50%": {"downgrade": "haiku"}}}
    caller = stage.governor(department(budget))
    models = []
    for name in ("a", "b"):
        models.append(caller.decide(model="opus").model)
        stage.hold("department=team/concurrent/life", 1, 4, name=name)
    models.append(caller.decide(model="opus").model)
    with pytest.raises(BudgetContended):
        caller.call(model="opus", pin=True)
    assert models == [OPUS, OPUS, HAIKU]


@on_sqlite
def test_the_organisations_thresholds_are_a_floor_under_every_usd_budget(stage):
    """A department that gives more room gets the organisation's marks; one that gives less keeps its own."""
    budgets = [{"per": "department", "usd": 1, "window": "life"}, {"per": "user", "usd": 1, "window": "life"}]
    steps = {"95%": {"downgrade": "haiku"}, "user": {"20%": {"downgrade": "haiku"}}}
    caller = stage.governor(department(*budgets, thresholds=steps), shared={"thresholds": LADDER})
    spend(stage, "department=team/usd/life", 79)
    assert served(stage, caller) == OPUS
    spend(stage, "department=team/usd/life", 6)
    assert served(stage, caller) == SONNET
    spend(stage, "department=team/user=u/usd/life", 21)
    assert served(stage, caller) == HAIKU


@once
def test_no_step_down_refuses_a_department_without_the_lower_line(stage):
    """The organisation's step to haiku leaves a department of sonnet and opus its sonnet, to the limit."""
    lines = {"sonnet": SONNET, "opus": OPUS}
    team = department({"per": "department", "usd": 1, "window": "life"}, routing={"lines": lines})
    caller = stage.governor(team, shared={"thresholds": LADDER})
    spend(stage, "department=team/usd/life", 95)
    assert served(stage, caller) == SONNET


MONTH = {"per": "department", "usd": 1, "window": "month", "pace": "even"}
USD_MONTH = "department=team/usd/month"


@on_sqlite
@pytest.mark.parametrize(
    ("day", "percent", "model"),
    [(5, 79, OPUS), (5, 80, SONNET), (24, 80, SONNET), (26, 80, OPUS), (28, 89, OPUS), (28, 91, HAIKU)],
)
def test_a_paced_budget_downgrades_ahead_of_an_even_pace_only(stage, day, percent, model):
    """80 % once 25 of 30 days are gone is even and stays on opus; after four days it is not."""
    stage.clock = type(stage.clock)(NOON_MS - 20 * DAY_MS - DAY_MS // 2 + day * DAY_MS)
    caller = stage.governor(department(MONTH, thresholds=LADDER))
    spend(stage, USD_MONTH, percent)
    assert served(stage, caller, max_tokens=10) == model


@on_sqlite
def test_a_pace_never_refuses_and_never_lifts_a_block(stage):
    """However far ahead, the cheapest line serves to the limit; however far behind, a block blocks."""
    steps = {**LADDER, "98%": "block"}
    del steps["100%"]
    caller = stage.governor(department(MONTH, thresholds=steps))
    spend(stage, USD_MONTH, 97)
    assert served(stage, caller, max_tokens=10) == HAIKU
    stage.clock.forward(10 * 86_400)  # the 30th, 97 % of the month gone
    assert served(stage, caller, max_tokens=10) == OPUS
    spend(stage, USD_MONTH, 1)
    with pytest.raises(BudgetExceeded):
        caller.call(model="opus")


@on_sqlite
def test_a_pace_never_lifts_the_organisations_floor(stage):
    """A department that paces its budget lifts its own steps; the organisation's hold at their share."""
    team = department(MONTH, thresholds={"50%": {"downgrade": "sonnet"}})
    stage.clock.forward(8 * 86_400)  # the 28th, over 90 % of the month gone
    caller = stage.governor(team, shared={"thresholds": {"70%": {"downgrade": "haiku"}}})
    spend(stage, USD_MONTH, 60)
    assert served(stage, caller, max_tokens=10) == OPUS
    spend(stage, USD_MONTH, 11)
    assert served(stage, caller, max_tokens=10) == HAIKU


@once
def test_a_paced_budget_keeps_the_cheapest_line_under_a_floor(stage):
    """The organisation's step to haiku still leaves a paced department of sonnet and opus its sonnet."""
    lines = {"sonnet": SONNET, "opus": OPUS}
    team = department(MONTH, thresholds={"50%": {"downgrade": "sonnet"}}, routing={"lines": lines})
    caller = stage.governor(team, shared={"thresholds": {"70%": {"downgrade": "haiku"}}})
    spend(stage, USD_MONTH, 80)
    assert served(stage, caller, max_tokens=10) == SONNET


@on_sqlite
def test_a_paced_budget_warns_ahead_of_an_even_pace_only(stage):
    """A step that even spending has passed is told when the spend gets ahead of the pace, and once."""
    caller = stage.governor(department(MONTH, thresholds={"20%": "warn"}))
    spend(stage, USD_MONTH, 60)  # by noon of the 20th 65 % would be even
    caller.call()
    assert stage.events == []
    spend(stage, USD_MONTH, 6)
    caller.call()
    caller.call()
    assert [event.percent for event in stage.events] == [20]


KEPT = {"per": "department", "usd": 1, "window": "life", "keep": "10%", "for": ["production", "urgent"]}


@on_sqlite
def test_the_last_part_is_kept_for_those_it_is_named_for(stage):
    """A named feature or priority spends to the limit; everybody else stops where the kept part begins."""
    caller = stage.governor(department(KEPT))
    spend(stage, "department=team/usd/life", 91)
    with pytest.raises(BudgetExceeded, match="the last 10 % of it are kept for production, urgent"):
        caller.call(feature="other")
    assert caller.call(feature="production").receipt.settled
    assert caller.call(feature="other", priority="urgent").receipt.settled
    with pytest.raises(BudgetExceeded):
        caller.call(priority="idle")


@blocking
def test_what_is_only_held_does_not_eat_the_kept_part(stage):
    """Others' holds stop before it too: they are contended there, and production is not."""
    caller = stage.governor(department(KEPT))
    stage.hold("department=team/usd/life", LIMIT * 899_999 // 1_000_000, LIMIT)
    with pytest.raises(BudgetContended):
        caller.call()
    assert caller.call(feature="production").receipt.settled


@once
def test_a_priority_is_in_the_journal(stage):
    """Both records of a call carry the priority it gave, and none where it gave none."""
    caller = stage.governor(department(KEPT))
    caller.call(priority="urgent", request_id="r1")
    caller.call(request_id="r2")
    assert ['"priority":"urgent"' in entry.record for entry in stage.journal(identifier="r1")] == [True, True]
    assert ['"priority"' in entry.record for entry in stage.journal(identifier="r2")] == [False, False]
