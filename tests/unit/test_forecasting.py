"""Forecasts against made-up histories, whose ends are known: what docs/reports.md says of errors holds."""

from __future__ import annotations

import math
import random
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.told_calls import Journal

from governor.budgets import Unit
from governor.journal.reports.forecast import forecast
from governor.journal.reports.forecasting import Reach, pattern_of, reaches, runs_out
from governor.journal.reports.written import as_json
from governor.story.decision import BudgetView

DOLLAR = 10**9
WEEK = (1.1, 1.2, 1.15, 1.1, 0.95, 0.3, 0.2)
"""Monday to Sunday, as an office spends."""

FIRST, LAST = date(2026, 11, 1), date(2026, 11, 30)
HISTORIES = 200


def history(kind: str, draw: random.Random, start: date, days: int, known: int) -> dict[date, int]:
    """Daily spend of a kind; of a `step`, 60 % more from nine days before the last known day on."""
    base, level, found = draw.uniform(20, 500) * DOLLAR, 1.0, {}
    for number in range(days):
        day = start + timedelta(days=number)
        spread = 0.8 if kind == "noisy" else 0.25
        noise = draw.lognormvariate(-0.5 * spread**2, spread)
        if kind == "growing":
            level = 1.01**number
        elif kind == "step":
            level = 1.6 if number >= known - 9 else 1.0
        elif kind == "wandering":
            level *= math.exp(draw.gauss(0, 0.03))
        elif kind == "sparse" and draw.random() < 0.6:
            noise = 0.0
        found[day] = int(base * WEEK[day.weekday()] * level * noise)
    return found


def judged(kind: str, known: int) -> tuple[float, float]:
    """The median error of a month's total, in percent, and in how many of a hundred the range held it."""
    draw, errors, held = random.Random(f"{kind}{known}"), [], 0
    for _ in range(HISTORIES):
        today = FIRST + timedelta(days=draw.choice((7, 11, 15, 19, 23)))
        spent = history(kind, draw, today - timedelta(days=known), known + 31, known)
        gone = draw.random()
        past = {day: nanos for day, nanos in spent.items() if day < today}
        past[today] = int(gone * spent[today])
        *_, end = reaches(pattern_of(past, today, gone), today, gone, LAST)
        rest = sum(nanos for day, nanos in spent.items() if today <= day <= LAST) - past[today]
        before = sum(nanos for day, nanos in past.items() if day >= FIRST)
        errors.append(100 * abs(end.rest - rest) / (rest + before))
        held += end.low <= rest <= end.high
    return sorted(errors)[HISTORIES // 2], 100 * held / HISTORIES


@pytest.mark.parametrize(
    ("kind", "known", "most", "least"),
    [
        ("steady", 56, 5, 85),
        ("steady", 20, 5, 85),
        ("steady", 8, 8, 80),
        ("wandering", 56, 7, 75),
        ("growing", 56, 10, 65),
        ("step", 56, 10, 65),
        ("noisy", 56, 14, 65),
        ("sparse", 56, 20, 60),
    ],
)
def test_a_months_total_is_missed_by_no_more_than_the_docs_say(kind, known, most, least):
    """The median error in percent of the total, and how often of a hundred the range has the truth."""
    error, held = judged(kind, known)
    assert error <= most
    assert held >= least


def test_weekends_are_not_taken_for_weekdays():
    """After eight weeks without a cent on weekends, hardly any is expected on the next one."""
    today = date(2026, 11, 20)  # a Friday
    days = [today - timedelta(days=age) for age in range(1, 57)]
    spent = {day: 100 * DOLLAR if day.weekday() < 5 else 0 for day in days}
    found = list(reaches(pattern_of(spent, today, 0.0), today, 0.0, date(2026, 11, 23)))
    friday, saturday, sunday, monday = (one.rest / DOLLAR for one in found)
    assert friday == pytest.approx(100, rel=0.06)
    assert saturday - friday < 10
    assert sunday - saturday < 10
    assert monday - sunday == pytest.approx(100, rel=0.06)


def test_what_is_gone_of_today_is_not_expected_again():
    """At six in the evening a quarter of the day is left, and of its spend."""
    today = date(2026, 11, 20)
    spent = {today - timedelta(days=age): 100 * DOLLAR for age in range(1, 57)}
    (only,) = reaches(pattern_of(spent, today, 0.75), today, 0.75, today)
    assert only.rest == pytest.approx(25 * DOLLAR)


def test_without_a_whole_day_the_rate_of_today_goes_on():
    """And without any call nothing is expected."""
    today = date(2026, 11, 20)
    found = list(reaches(pattern_of({today: 6 * DOLLAR}, today, 0.5), today, 0.5, today + timedelta(days=1)))
    assert [one.rest for one in found] == [6 * DOLLAR, 18 * DOLLAR]
    assert found[-1].low < found[-1].rest < found[-1].high
    assert {one.high for one in reaches(pattern_of({}, today, 0.5), today, 0.5, LAST)} == {0}


@given(
    st.dictionaries(st.dates(date(2026, 9, 20), date(2026, 11, 20)), st.integers(0, 10**14), max_size=60),
    st.floats(0, 1),
)
def test_a_forecast_only_grows_and_stays_in_its_range(spent, gone):
    """Whatever the past was: day by day no less, low to high, and nothing below nothing."""
    today = date(2026, 11, 20)
    found = list(reaches(pattern_of(spent, today, gone), today, gone, LAST))
    assert [one.day for one in found] == [today + timedelta(days=n) for n in range(11)]
    assert all(0 <= one.low <= one.rest <= one.high for one in found)
    rests = [one.rest for one in found]
    assert rests == sorted(rests)


def test_a_budget_runs_out_on_the_day_on_which_nothing_is_left():
    """Earlier by the high edge, later by the low one; never where there is enough."""
    days = [date(2026, 11, 20) + timedelta(days=n) for n in range(3)]
    found = [Reach(day, 10 * n, 5 * n, 20 * n) for n, day in enumerate(days, 1)]
    out = runs_out(found, 20)
    assert (out.day, out.early, out.late) == (days[1], days[0], None)
    assert runs_out(found, 61) == runs_out(found, 100)
    assert runs_out(found, 61).early is None
    assert runs_out(found, 0).day == days[0]


def budget(identity: str, limit: int, posted: int, resets: datetime | None) -> BudgetView:
    """A budget as the ledger has it."""
    return BudgetView(identity, "2026-11", Unit.USD, limit, posted, 0, resets)


def test_budgets_are_forecast_from_the_calls_that_touch_them():
    """Each by its own dimensions; one without calls stands still, one for life runs out within a year."""
    journal, noon = Journal(), datetime(2026, 11, 20, 12, tzinfo=UTC)
    for age in range(1, 57):
        at_ms = int((noon - timedelta(days=age)).timestamp() * 1000)
        journal.call(at_ms, cost=100 * DOLLAR, department="legal", user="ada@example.com")
        journal.call(at_ms, cost=10 * DOLLAR, department="support", tags={"project": "a b"})
    month = datetime(2026, 12, 1, tzinfo=UTC)
    budgets = [
        budget("org/usd/month", 10_000 * DOLLAR, 2_090 * DOLLAR, month),
        budget("department=legal/usd/month", 2_150 * DOLLAR, 1_900 * DOLLAR, month),
        budget("department=legal/user=ada@example.com/usd/life", 6_000 * DOLLAR, 5_600 * DOLLAR, None),
        budget("tag.project=a%20b/usd/month", 400 * DOLLAR, 190 * DOLLAR, month),
        budget("feature=triage/usd/month", 100 * DOLLAR, 0, month),
        budget("run=pr-1/usd/life", 20 * DOLLAR, 0, None),
        budget("org/usd/day", 400 * DOLLAR, 55 * DOLLAR, noon + timedelta(hours=12)),
    ]
    source, asked = journal.ask(int(noon.timestamp() * 1000))
    page = as_json(forecast(source, asked, budgets))
    table = page["tables"]["budgets"]
    told = {row["budget"]: row for row in table["rows"]}
    assert len(told) == 5
    assert "Left out: 2 budgets" in table["note"]
    org = told["org/usd/month"]
    assert org["expected_nanos"] == pytest.approx((2_090 + 10.5 * 110) * DOLLAR, rel=1e-9)
    assert org["low_nanos"] < org["expected_nanos"] < org["high_nanos"]
    assert (org["runs_out"], org["days_known"]) == (None, 56)
    legal = told["department=legal/usd/month"]
    assert legal["runs_out"] == "2026-11-22"
    life = told["department=legal/user=ada@example.com/usd/life"]
    assert (life["runs_out"], life["expected_nanos"]) == ("2026-11-24", None)
    assert told["tag.project=a%20b/usd/month"]["expected_nanos"] == pytest.approx(295 * DOLLAR, rel=1e-9)
    still = told["feature=triage/usd/month"]
    assert (still["expected_nanos"], still["high_nanos"], still["days_known"]) == (0, 0, 0)
    drawn = page["charts"]["forecast_1"]
    assert (drawn["title"], drawn["limit"]) == ("department=legal/usd/month", 2_150 * DOLLAR)
    assert drawn["labels"][0] == "2026-11-01"
    assert drawn["labels"][-1] == "2026-11-30"
    assert drawn["series"][0]["values"][18] == 1_900 * DOLLAR
