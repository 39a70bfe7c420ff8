"""`governor report forecast`: where each usd budget will stand when its window ends, and when it runs out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate
from typing import TYPE_CHECKING
from urllib.parse import unquote

from governor.budgets import Period, Unit
from governor.journal.reports.figures import percent
from governor.journal.reports.forecasting import (
    DAYS_BACK,
    HORIZON_DAYS,
    Pattern,
    Reach,
    RunsOut,
    pattern_of,
    reaches,
    runs_out,
)
from governor.journal.reports.page import Chart, Column, Series, Table
from governor.journal.reports.spans import Span, days_span, local_date
from governor.journal.reports.tables import plural
from governor.journal.reports.today import concerns

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import date

    from governor.journal.reports.asked import Asked
    from governor.journal.reports.page import Page, Value
    from governor.journal.reports.queries import Source
    from governor.story.decision import BudgetView

CHARTS = 3
"""So many budgets are drawn: those that will be fullest."""

_PERIODS = (Period.WEEK, Period.MONTH, Period.LIFE)
_COLUMNS = (
    Column("budget", "Budget"),
    Column("posted_nanos", "Spent", "usd"),
    Column("limit_nanos", "Limit", "usd"),
    Column("expected_nanos", "At its end", "usd"),
    Column("low_nanos", "Low", "usd"),
    Column("high_nanos", "High", "usd"),
    Column("expected_percent", "Of limit", "percent"),
    Column("runs_out", "Runs out"),
    Column("runs_out_early", "Earliest"),
    Column("runs_out_late", "Latest"),
    Column("window", "Window"),
    Column("days_known", "Days", "count"),
)
_NOTE = (
    "Low and high: the end is between them in four of five cases. Earliest and latest likewise; without a "
    "latest day it may well last. A budget for life has no end: it is said when it runs out, within a year."
)


@dataclass(frozen=True, slots=True)
class Outlook:
    """Where a budget is going.

    Attributes:
        budget: As the ledger has it now.
        spent: What its calls cost, by date.
        pattern: How that goes.
        found: What more will have been spent, day by day to the window's end.
        out: When it runs out.
    """

    budget: BudgetView
    spent: Mapping[date, int]
    pattern: Pattern
    found: list[Reach]
    out: RunsOut

    @property
    def ends(self) -> bool:
        """Whether its window does."""
        return self.budget.period is not Period.LIFE

    @property
    def expected(self) -> int:
        """What will be posted at the end, nano-dollars."""
        return self.budget.posted + self.found[-1].rest


def forecast(source: Source, asked: Asked, budgets: Iterable[BudgetView]) -> Page:
    """The usd budgets of weeks, months and for life, the fullest first.

    Args:
        source: The calls; what they cost day by day is what the future is guessed from.
        asked: Who asks.
        budgets: As the ledger has them: what is spent, and the limits in force.
    """
    usd = [one for one in budgets if one.unit is Unit.USD and concerns(one, asked.only)]
    mine = [one for one in usd if one.period in _PERIODS and "run" not in _dimensions(one)]
    outlooks = sorted(_outlooks(source, asked, mine), key=_order)
    rows = [_row(one) for one in outlooks]
    left_out = len(usd) - len(mine)
    note = _NOTE if rows else "No policy has a budget in usd for a week, a month or life."
    if left_out:
        note += f" Left out: {plural(left_out, 'budget')} of runs, or for a day or less, or rolling."
    table = Table("budgets", "Budgets", _COLUMNS, tuple(rows), note)
    drawn = [one for one in outlooks if one.ends and one.spent][:CHARTS]
    charts = [_chart(f"forecast_{place}", one) for place, one in enumerate(drawn, 1)]
    today = local_date(asked.now_ms, asked.zone)
    return asked.page(
        "forecast", "Where budgets are going", f"{today}, {asked.zone}{asked.only}", (table, *charts)
    )


def _outlooks(source: Source, asked: Asked, budgets: Sequence[BudgetView]) -> Iterable[Outlook]:
    today = local_date(asked.now_ms, asked.zone)
    start = min(today.replace(day=1), today - timedelta(days=DAYS_BACK))
    span = days_span(start, today, asked.zone)
    day = days_span(today, today, asked.zone)
    gone = (asked.now_ms - day.start_ms) / (day.end_ms - day.start_ms)
    history = _History(source, span)
    for one in budgets:
        spent = history.of(one)
        pattern = pattern_of(spent, today, gone)
        found = list(reaches(pattern, today, gone, _last_day(one, asked, today)))
        yield Outlook(one, spent, pattern, found, runs_out(found, one.limit - one.posted))


class _History:
    """What budgets' calls cost day by day; each kind of budget is asked for once."""

    def __init__(self, source: Source, span: Span) -> None:
        self._source, self._span = source, span
        self._known: dict[tuple[str, ...], dict[tuple[str, ...], dict[date, int]]] = {}

    def of(self, budget: BudgetView) -> Mapping[date, int]:
        """What the calls that touch a budget cost, by date."""
        scope = _dimensions(budget)
        names = tuple(scope)
        if names not in self._known:
            self._known[names] = self._source.by_day(self._span, names)
        return self._known[names].get(tuple(scope.values()), {})


def _dimensions(budget: BudgetView) -> dict[str, str]:
    """The dimensions in a budget's identity that columns of calls tell, and their values."""
    parts = (part.partition("=") for part in budget.identity.split("/")[:-2])
    return {name: unquote(value) for name, given, value in parts if given}


def _last_day(budget: BudgetView, asked: Asked, today: date) -> date:
    """The last date of a budget's window, in the report's time zone."""
    if budget.resets_at is None:
        return today + timedelta(days=HORIZON_DAYS)
    return max(local_date(int(budget.resets_at.timestamp()) * 1000 - 1, asked.zone), today)


def _order(one: Outlook) -> tuple[object, ...]:
    """Those that run out first; then the fullest."""
    never = one.out.day is None
    fullness = one.expected / one.budget.limit if one.budget.limit and one.ends else 0.0
    return (never, one.out.day or 0, -fullness, one.budget.identity)


def _row(one: Outlook) -> tuple[Value, ...]:
    budget, end, out = one.budget, one.found[-1], one.out
    at_end: tuple[Value, ...] = (None,) * 4
    if one.ends:
        at_end = (
            one.expected,
            budget.posted + end.low,
            budget.posted + end.high,
            percent(one.expected, budget.limit),
        )
    days = tuple(None if day is None else day.isoformat() for day in (out.day, out.early, out.late))
    return (
        budget.identity,
        budget.posted,
        budget.limit,
        *at_end,
        *days,
        budget.window,
        one.pattern.days,
    )


def _chart(key: str, one: Outlook) -> Chart:
    """A window's spend so far, and how it will go on."""
    today, end = one.found[0].day, one.found[-1].day
    start = _first_day(one.budget, end)
    gone = [start + timedelta(days=n) for n in range((today - start).days)]
    by_then = list(accumulate(one.spent.get(day, 0) for day in gone))
    posted, ahead = one.budget.posted, one.found
    labels = (*(day.isoformat() for day in gone), *(reach.day.isoformat() for reach in ahead))
    nothing, later = (None,) * len(gone), (None,) * (len(ahead) - 1)
    series = (
        Series("spent", (*by_then, posted, *later)),
        Series(
            "expected",
            (*nothing, *(posted + reach.rest for reach in ahead)),
            (*nothing, *(posted + reach.low for reach in ahead)),
            (*nothing, *(posted + reach.high for reach in ahead)),
        ),
    )
    return Chart(key, one.budget.identity, "line", labels, series, limit=one.budget.limit)


def _first_day(budget: BudgetView, end: date) -> date:
    """The first date of a budget's window of a week or a month, by its last."""
    return end - timedelta(days=6) if budget.period is Period.WEEK else end.replace(day=1)
