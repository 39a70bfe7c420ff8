"""What reports say, against sums over the journal's records and figures worked out by hand."""

from __future__ import annotations

import csv
import io
import math
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.told_calls import Journal

from governor.journal.reports.chargeback import UNATTRIBUTED, chargeback
from governor.journal.reports.daily import daily
from governor.journal.reports.figures import Figures, nearest_rank
from governor.journal.reports.outcomes import outcomes
from governor.journal.reports.showing import dollars, show
from governor.journal.reports.spans import day_span, days_span, hours_of, month_span, offsets
from governor.journal.reports.today import today
from governor.journal.reports.views import views
from governor.journal.reports.written import as_csv, as_json, exact_dollars

if TYPE_CHECKING:
    from governor.journal.reports.page import Page

BERLIN = "Europe/Berlin"
HOUR_MS = 3_600_000
DOLLAR = 10**9


def at(text: str) -> int:
    """Unix milliseconds of an instant, UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def rows(page: Page, key: str) -> list[dict[str, Any]]:
    """A table's rows, by their columns' keys."""
    return as_json(page)["tables"][key]["rows"]


def by(page: Page, key: str, column: str, name: str) -> dict[str, Any]:
    """One column of a table by another."""
    return {row[name]: row[column] for row in rows(page, key)}


def fact(page: Page, key: str) -> Any:
    """A fact's value."""
    return as_json(page)["facts"][key]["value"]


NAMES = st.sampled_from(["", "legal", "support", "=cmd()", "Ä b", "x" * 40])
CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "at_ms": st.integers(at("2026-10-30T00:00"), at("2026-12-02T00:00")),
            "cost": st.integers(1, 10**13),
            "ended": st.sampled_from(
                ["answered", "answered", "answered", "refused", "cut", "silent", "expired", "open", "blocked"]
            ),
            "took_ms": st.integers(0, 10**6),
            "department": NAMES,
            "user": NAMES,
            "feature": NAMES,
            "model": st.sampled_from(["claude-opus-5-5", "claude-haiku-5-5"]),
        }
    ),
    max_size=40,
)


@given(CALLS)
def test_every_sum_of_money_equals_the_sum_over_the_records(calls):
    """By each dimension, in each report, to the nano-dollar, dated by when calls began in the zone."""
    journal = Journal()
    for call in calls:
        journal.call(**call)
    source, asked = journal.ask(at("2026-11-21T11:00"), BERLIN)
    month = month_span(date(2026, 11, 1), BERLIN)
    borne = chargeback(source, asked, month)
    shown = views(source, asked, month)
    whole = journal.spent(month.start_ms, month.end_ms)[()]
    assert fact(borne, "cost_nanos") == whole
    assert rows(shown, "all")[0]["cost_nanos"] == whole
    for name in ("feature", "user", "department", "model"):
        expected = {key[0]: nanos for key, nanos in journal.spent(month.start_ms, month.end_ms, name).items()}
        table = {"feature": "features", "user": "users", "department": "departments", "model": "models"}[name]
        told = by(shown, table, "cost_nanos", name) if whole else {}
        assert {key: nanos for key, nanos in told.items() if nanos} == expected
    by_both = journal.spent(month.start_ms, month.end_ms, "department", "user")
    told_both = {(row["department"], row["user"]): row["cost_nanos"] for row in rows(borne, "users")}
    named = {tuple(part or UNATTRIBUTED for part in key): nanos for key, nanos in by_both.items()}
    assert {key: nanos for key, nanos in told_both.items() if nanos} == named
    for key in ("departments", "features", "users"):
        total = as_json(borne)["tables"][key]["total"]
        assert sum(row["cost_nanos"] for row in rows(borne, key)) == total["cost_nanos"] == whole
    for day in (date(2026, 11, 20), date(2026, 11, 21)):
        span = day_span(day, BERLIN)
        spent = journal.spent(span.start_ms, span.end_ms)[()]
        assert fact(daily(source, asked, day), "cost_nanos") == spent
        assert sum(source.by_hour(span, span.end_ms)) == spent
        assert source.by_day(month).get((), {}).get(day, 0) == spent
    now = journal.spent(day_span(date(2026, 11, 21), BERLIN).start_ms, asked.now_ms + 1)[()]
    assert fact(today(source, asked, ()), "spend_nanos") == now


@given(CALLS)
def test_calls_are_counted_by_what_became_of_them(calls):
    """All calls are answered, failed, blocked or open; rates are of those that ended."""
    journal = Journal()
    for call in calls:
        journal.call(**call)
    source, _ = journal.ask(0)
    found = source.total(0, 2**53)
    ends = [call["ended"] for call in calls]
    failed = sum(ends.count(one) for one in ("refused", "cut", "silent", "expired"))
    assert (found.calls, found.answered, found.failed) == (len(calls), ends.count("answered"), failed)
    assert (found.blocked, found.open) == (ends.count("blocked"), ends.count("open"))
    if found.ended:
        assert found.error_percent == 100 * failed / (failed + ends.count("answered"))


@given(st.lists(st.integers(0, 600_000), min_size=1, max_size=300))
def test_percentiles_are_those_of_answered_calls_exactly(latencies):
    """As a sort of all of them has them; what was not answered is not among them."""
    journal = Journal()
    for number, latency in enumerate(latencies):
        journal.call(number, took_ms=latency, user=f"u{number % 3}")
        journal.call(number, took_ms=10**7, ended="cut")
    source, _ = journal.ask(0)
    ordered = sorted(latencies)
    expected = tuple(ordered[math.ceil(len(ordered) * rank / 100) - 1] for rank in (50, 95))
    assert source.total(0, 2**53).percentiles() == expected
    merged = Figures()
    for one in source.figures(0, 2**53, ("user",)).values():
        merged.add(one)
    assert merged.percentiles() == expected


def test_percentiles_of_nothing_are_nothing():
    """No latency is made up."""
    assert nearest_rank([], 95) is None
    assert Figures().percentiles() == (None, None)


def test_rates_are_as_their_definitions_say():
    """Errors of ended calls, cache reads of prompts, stops of answers, cost of ended calls."""
    journal = Journal()
    usage = {"input_tokens": 100, "output_tokens": 50, "cache_creation_input_tokens": 200}
    usage |= {"cache_read_input_tokens": 700}
    for number in range(6):
        stop = "max_tokens" if number < 2 else "end_turn"
        journal.call(number, usage=usage, stop_reason=stop, cost=3 * DOLLAR, feature="draft")
    journal.call(7, ended="refused", feature="draft", pushed=[429, 429, 529])
    journal.call(8, ended="cut", cost=DOLLAR, feature="draft")
    journal.call(9, ended="blocked", feature="draft")
    journal.call(10, ended="open", feature="draft")
    source, asked = journal.ask(0)
    (row,) = rows(views(source, asked, days_span(date(1970, 1, 1), date(1970, 1, 2), "UTC")), "features")
    assert row["calls"] == 10
    assert row["error_percent"] == 25.0
    assert row["cache_percent"] == 70.0
    assert row["stop_percent"] == pytest.approx(100 / 3)
    assert row["cost_nanos"] == 19 * DOLLAR
    assert row["cost_per_call_nanos"] == 19 * DOLLAR // 8
    assert row["blocked"] == 1
    found = source.total(0, 100)
    assert (found.pushed_429, found.pushed_529) == (2, 1)


def test_an_empty_archive_is_no_error():
    """Every report says that there is nothing, without dividing by it."""
    source, asked = Journal().ask(at("2026-11-21T11:00"), BERLIN)
    month = month_span(date(2026, 11, 1), BERLIN)
    morning = today(source, asked, ())
    assert fact(morning, "spend_nanos") == 0
    assert fact(morning, "p95_ms") is None
    assert fact(morning, "top_user") is None
    assert rows(views(source, asked, month), "all")[0]["error_percent"] is None
    assert fact(daily(source, asked, date(2026, 11, 20)), "error_percent") is None
    assert rows(chargeback(source, asked, month), "departments") == []
    assert "governor.outcome" in as_json(outcomes(source, asked, month, {}))["tables"]["outcomes"]["note"]


def test_nobody_is_no_top_user():
    """Calls without a user (or retention has removed it) cost most: somebody is named, they stand last."""
    journal = Journal()
    now = at("2026-11-21T13:30")
    journal.call(now - 10_000, cost=9 * DOLLAR, user="")
    journal.call(now - 9_000, cost=DOLLAR, user="ada", department="legal")
    journal.call(now - 8_000, cost=2 * DOLLAR, user="ada", department="support")
    journal.call(now - 7_000, cost=2 * DOLLAR, user="bob", department="support")
    page = today(*journal.ask(now, BERLIN), ())
    assert fact(page, "top_user") == "ada"
    assert "$3.00 today, 21 % of all, 2 calls" in as_json(page)["facts"]["top_user"]["note"]
    assert [row["user"] for row in rows(page, "top_users")] == ["ada", "bob", "ada", ""]
    unnamed = Journal()
    unnamed.call(now - 10_000, cost=DOLLAR, user="")
    page = today(*unnamed.ask(now, BERLIN), ())
    assert fact(page, "top_user") is None
    assert "says whose" in as_json(page)["facts"]["top_user"]["note"]


def test_today_answers_the_four_questions():
    """Spend against yesterday by this hour, the slowest calls now, 429s of 24 hours, and who spends."""
    journal = Journal()
    now = at("2026-11-21T13:30")  # 14:30 in Berlin
    journal.call(at("2026-11-20T08:00"), cost=2 * DOLLAR, user="ada", pushed=[429])
    journal.call(at("2026-11-20T20:00"), cost=5 * DOLLAR, user="ada", pushed=[429, 529])
    journal.call(at("2026-11-20T22:59"), cost=DOLLAR, user="ada")  # still yesterday in Berlin
    journal.call(at("2026-11-20T23:00"), cost=3 * DOLLAR, user="bob", took_ms=90_000)
    journal.call(now - 10_000, cost=DOLLAR, user="ada", took_ms=4_000, feature="slow")
    journal.call(now - 9_000, cost=DOLLAR // 2, user="ada", took_ms=1_000, feature="quick")
    source, asked = journal.ask(now, BERLIN)
    page = today(source, asked, ())
    told = as_json(page)
    assert fact(page, "spend_nanos") == 4 * DOLLAR + DOLLAR // 2
    assert "yesterday $2.00 by this time (+125 %), $8.00 in all" in told["facts"]["spend_nanos"]["note"]
    assert fact(page, "p95_ms") == 4_000
    assert "slow" in told["facts"]["p95_ms"]["note"]
    assert fact(page, "pushed_429") == 1
    assert "529s (overloaded): 1" in told["facts"]["pushed_429"]["note"]
    assert fact(page, "top_user") == "bob"
    assert [row["user"] for row in rows(page, "top_users")] == ["bob", "ada"]
    hours = dict(
        zip(
            told["charts"]["spend_by_hour"]["labels"],
            told["charts"]["spend_by_hour"]["series"][0]["values"],
            strict=True,
        )
    )
    assert (hours["00:00"], hours["13:00"], hours["14:00"], hours["15:00"]) == (
        3 * DOLLAR,
        0,
        3 * DOLLAR // 2,
        None,
    )


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-11-21", 24)])
def test_days_of_a_clock_change_have_their_hours(day, hours):
    """23 in spring, 25 in autumn; money of every one of them is that day's, and no other's."""
    span = day_span(date.fromisoformat(day), BERLIN)
    assert (span.end_ms - span.start_ms) // HOUR_MS == hours == len(hours_of(span))
    journal = Journal()
    for number in range(-1, hours + 1):
        journal.call(span.start_ms + number * HOUR_MS, cost=DOLLAR)
    source, asked = journal.ask(span.end_ms + HOUR_MS, BERLIN)
    assert fact(daily(source, asked, date.fromisoformat(day)), "cost_nanos") == hours * DOLLAR
    year = days_span(date(2026, 1, 1), date(2026, 12, 31), BERLIN)
    assert source.by_day(year)[()][date.fromisoformat(day)] == hours * DOLLAR
    assert len(source.by_hour(span, span.end_ms)) == hours
    assert today(source, asked, ()).sections


@given(
    st.sampled_from([BERLIN, "UTC", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]), st.data()
)
def test_a_date_in_sql_is_the_calendars(zone, data):
    """Whatever the zone does to its clocks in between."""
    year = days_span(date(2026, 1, 1), date(2026, 12, 31), zone)
    moments = data.draw(st.lists(st.integers(year.start_ms, year.end_ms - 1), min_size=1, max_size=20))
    journal = Journal()
    for moment in moments:
        journal.call(moment, cost=1)
    source, _ = journal.ask(0)
    expected: dict[date, int] = {}
    for moment in moments:
        near = datetime.fromtimestamp(moment / 1000, UTC).date()
        days = (near + timedelta(days=ahead) for ahead in (-1, 0, 1))
        spans = {day: day_span(day, zone) for day in days}
        (day,) = [day for day, span in spans.items() if span.start_ms <= moment < span.end_ms]
        expected[day] = expected.get(day, 0) + 1
    assert source.by_day(year)[()] == expected
    assert offsets(zone, year.start_ms, year.end_ms)[-1].until_ms == year.end_ms


def test_a_call_over_the_months_end_is_the_months_in_which_it_began():
    """And it is charged once, however late it ended."""
    journal = Journal()
    journal.call(at("2026-11-30T22:59:59"), after_ms=10 * HOUR_MS, cost=DOLLAR, department="legal")
    journal.call(at("2026-11-30T23:00:00"), cost=3 * DOLLAR, department="legal")
    source, asked = journal.ask(at("2026-12-05T00:00"), BERLIN)
    spent = [
        fact(chargeback(source, asked, month_span(date(2026, month, 1), BERLIN)), "cost_nanos")
        for month in (11, 12)
    ]
    assert spent == [DOLLAR, 3 * DOLLAR]


def test_what_nobody_bears_is_shown():
    """Calls without a department are rows of their own, and a figure."""
    journal = Journal()
    journal.call(0, cost=DOLLAR, department="legal", tags={"project": "atlas"})
    journal.call(1, cost=2 * DOLLAR, tags={"project": "atlas"})
    journal.call(2, cost=4 * DOLLAR, department="legal")
    source, asked = journal.ask(10)
    page = chargeback(source, asked, days_span(date(1970, 1, 1), date(1970, 1, 1), "UTC"), ("project",))
    assert by(page, "departments", "cost_nanos", "department") == {
        "legal": 5 * DOLLAR,
        UNATTRIBUTED: 2 * DOLLAR,
    }
    assert fact(page, "unattributed_nanos") == 2 * DOLLAR
    told = {(row["department"], row["tag"]): row["cost_nanos"] for row in rows(page, "tag_project")}
    assert told == {
        ("legal", "atlas"): DOLLAR,
        ("legal", UNATTRIBUTED): 4 * DOLLAR,
        (UNATTRIBUTED, "atlas"): 2 * DOLLAR,
    }


def test_a_report_of_some_calls_is_of_them_alone():
    """A department's, a feature's, a user's."""
    journal = Journal()
    journal.call(0, cost=DOLLAR, department="legal", user="ada", feature="a")
    journal.call(1, cost=2 * DOLLAR, department="legal", user="bob", feature="b")
    journal.call(2, cost=4 * DOLLAR, department="support", user="ada", feature="a")
    day = days_span(date(1970, 1, 1), date(1970, 1, 1), "UTC")
    for only, expected in (
        ({"department": "legal"}, 3),
        ({"user": "ada"}, 5),
        ({"feature": "b"}, 2),
        ({"department": "support", "user": "bob"}, 0),
    ):
        source, asked = journal.ask(10, **only)
        assert rows(views(source, asked, day), "all")[0]["cost_nanos"] == expected * DOLLAR


def test_cost_per_outcome_value_and_return():
    """Costs of runs and calls, each once for a name; results that nothing is known of are untied."""
    journal = Journal()
    day_ms = 24 * HOUR_MS
    journal.call(0, cost=5 * DOLLAR, run="t-1", department="support")
    journal.call(1, cost=7 * DOLLAR, run="t-1", department="support")
    journal.call(2, cost=6 * DOLLAR, run="t-2", department="support")
    journal.call(3, cost=100 * DOLLAR, run="t-2", department="legal")  # another's run of the same name
    one = journal.call(4, cost=2 * DOLLAR, department="sales")
    for run in ("t-1", "t-1", "t-2", "t-9"):
        said = {"run": run, "department": "support", "value": "20", "unit": "usd"}
        journal.result(day_ms, "ticket_resolved", **said)
    journal.result(day_ms, "lead", call=one, value="0.123456789", unit="usd")
    journal.result(day_ms, "quality", run="t-1", value="0.5", unit="score")
    journal.result(day_ms, "quality", run="t-1", value="1", unit="score")
    journal.result(day_ms, "empty", value="no number")
    source, asked = journal.ask(2 * day_ms)
    targets = {"ticket_resolved": 6 * DOLLAR, "lead": DOLLAR, "draft": DOLLAR}
    page = outcomes(source, asked, days_span(date(1970, 1, 2), date(1970, 1, 2), "UTC"), targets)
    told = {row["outcome"]: row for row in rows(page, "outcomes")}
    ticket = told["ticket_resolved"]
    assert (ticket["count"], ticket["untied"], ticket["cost_nanos"]) == (4, 1, 18 * DOLLAR)
    assert (ticket["cost_each_nanos"], ticket["verdict"], ticket["value_nanos"]) == (
        6 * DOLLAR,
        "within",
        80 * DOLLAR,
    )
    assert ticket["roi_percent"] == pytest.approx(100 * (60 - 18) / 18)
    assert (told["lead"]["value_nanos"], told["lead"]["verdict"]) == (123_456_789, "above")
    assert (told["quality"]["mean"], told["quality"]["roi_percent"]) == (0.75, None)
    assert (told["empty"]["count"], told["empty"]["untied"], told["empty"]["cost_nanos"]) == (1, 1, None)
    assert (told["draft"]["count"], told["draft"]["verdict"]) == (0, None)


@given(st.lists(st.tuples(NAMES, st.integers(0, 10**18)), min_size=1, unique_by=lambda pair: pair[0]))
def test_csv_has_every_amount_exactly_and_no_formula(pairs):
    """Read back by a reader of CSV, the amounts are those of the table, in nano-dollars and in dollars."""
    journal = Journal()
    for name, nanos in pairs:
        journal.call(0, cost=nanos, department=name)
    source, asked = journal.ask(10)
    page = chargeback(source, asked, days_span(date(1970, 1, 1), date(1970, 1, 1), "UTC"))
    table = next(one for one in page.sections if one.key == "departments")
    read = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert sorted(int(row["cost_nanos"]) for row in read) == sorted(nanos for _, nanos in pairs)
    assert all(row["cost_usd"] == exact_dollars(int(row["cost_nanos"])) for row in read)
    assert not any(row["department"].startswith(("=", "+", "-", "@")) for row in read)
    assert {row["department"].removeprefix("'") for row in read} == {
        name or UNATTRIBUTED for name, _ in pairs
    }


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (1_234_567_890_123, "usd", "$1,234.57"),
        (12_300_000, "usd", "$0.0123"),
        (1_000, "usd", "$0.000001"),
        (0, "usd", "$0.00"),
        (-2_500_000_000, "usd", "-$2.50"),
        (None, "usd", "-"),
        ("", "text", "(none)"),
        (999, "ms", "999 ms"),
        (61_000, "ms", "1 m 01 s"),
        (12.34, "percent", "12.3 %"),
        (-0.2, "change", "as before"),
        (12.6, "change", "+13 %"),
        (1234, "count", "1,234"),
        (0, "time", "1970-01-01 01:00"),
    ],
)
def test_values_are_shown_so(value, unit, shown):
    """Rounded for people; small amounts are never shown as nothing."""
    assert show(value, unit, BERLIN) == shown


def test_rounding_goes_up_to_the_next_dollar_sign():
    """$0.99999 is a dollar to four places, and is written as one."""
    assert dollars(999_999_999) == "$1.0000"
