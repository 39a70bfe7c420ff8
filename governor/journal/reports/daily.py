"""`governor report daily`: a day beside the day before it and the same weekday of the week before."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from governor.journal.reports.figures import Figures, change_percent
from governor.journal.reports.page import Chart, Column, Fact, Series, Table
from governor.journal.reports.queries import DIMENSIONS
from governor.journal.reports.showing import dollars, growth, show
from governor.journal.reports.spans import day_span, hours_of, local_date
from governor.journal.reports.tables import PLURALS, RATES, TITLES, dearest, grouped, padded, rates, summed

if TYPE_CHECKING:
    from datetime import date

    from governor.journal.reports.asked import Asked
    from governor.journal.reports.page import Page, Section, Value
    from governor.journal.reports.queries import Source
    from governor.journal.reports.tables import Groups

ORDER = ("department", "feature", "user", "model")


def daily(source: Source, asked: Asked, day: date) -> Page:
    """A day's summary; of a day that is not over, what there is so far.

    Args:
        source: The calls.
        asked: Who asks.
        day: Which date of the policy's time zone.
    """
    days = (day, day - timedelta(days=1), day - timedelta(days=7))
    spans = [day_span(one, asked.zone) for one in days]
    found = [source.figures(one.start_ms, one.end_ms, DIMENSIONS) for one in spans]
    totals = [summed(groups.values()) for groups in found]
    so_far = " so far" if day >= local_date(asked.now_ms, asked.zone) else ""
    sections: list[Section] = [*_facts(totals, day), _days_table(days, totals)]
    sections.append(_chart(source, asked, day))
    sections += [_groups_table(name, found[0], found[1]) for name in ORDER if found[0] or found[1]]
    title = f"{day:%A}, {day}{so_far}, {asked.zone}{asked.only}"
    return asked.page("daily", "The day", title, tuple(sections))


def _facts(totals: list[Figures], day: date) -> list[Fact]:
    mine, before, week = totals
    against = (
        f"{growth(change_percent(mine.cost_nanos, before.cost_nanos))} on the day before "
        f"({dollars(before.cost_nanos)}), {growth(change_percent(mine.cost_nanos, week.cost_nanos))} on the "
        f"{day:%A} before ({dollars(week.cost_nanos)})"
    )
    blocked = f"{mine.blocked:,} refused by budget or policy, {mine.swapped:,} downgraded or made smaller"
    errors = f"{mine.failed:,} of {mine.ended:,} calls that went to the API; the day before {_errors(before)}"
    pushed = f"429s: {mine.pushed_429:,}, 529s: {mine.pushed_529:,}"
    return [
        Fact("cost_nanos", "Spent", mine.cost_nanos, "usd", against),
        Fact("calls", "Calls", mine.calls, "count", blocked),
        Fact("error_percent", "Errors", mine.error_percent, "percent", f"{errors}; {pushed}"),
    ]


def _errors(figures: Figures) -> str:
    return show(figures.error_percent, "percent")


def _days_table(days: tuple[date, ...], totals: list[Figures]) -> Table:
    rows = [(f"{day:%a} {day}", *rates(one)) for day, one in zip(days, totals, strict=True)]
    return Table("days", "The day and those it is compared with", (Column("day", "Day"), *RATES), tuple(rows))


def _chart(source: Source, asked: Asked, day: date) -> Chart:
    mine, before = day_span(day, asked.zone), day_span(day - timedelta(days=1), asked.zone)
    labels = max(hours_of(mine), hours_of(before), key=len)
    series = [
        Series(title, padded(source.by_hour(span, span.end_ms), len(labels)))
        for title, span in ((f"{day}", mine), ("the day before", before))
    ]
    return Chart("spend_by_hour", "Spend by hour", "line", labels, tuple(series))


def _groups_table(name: str, found: Groups, before: Groups) -> Table:
    """What each department (feature, …) cost, and what the day before."""
    place = (DIMENSIONS.index(name),)
    mine, other = grouped(found, place), grouped(before, place)
    for key in other:
        mine.setdefault(key, Figures())
    rows: list[tuple[Value, ...]] = []
    for key, one in dearest(mine):
        was = other.get(key, Figures()).cost_nanos
        rows.append((*key, one.calls, one.cost_nanos, was, change_percent(one.cost_nanos, was)))
    columns = (
        Column(name, TITLES[name]),
        Column("calls", "Calls", "count"),
        Column("cost_nanos", "Cost", "usd"),
        Column("before_nanos", "Day before", "usd"),
        Column("change_percent", "Change", "change"),
    )
    return Table(PLURALS[name], f"By {name}", columns, tuple(rows))
