"""What several reports show alike. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.journal.reports.figures import Figures
from governor.journal.reports.page import Chart, Column, Series, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from governor.journal.reports.page import Value

Groups = dict[tuple[str, ...], Figures]

TITLES = {"department": "Department", "feature": "Feature", "user": "User", "model": "Model"}
PLURALS = {"department": "departments", "feature": "features", "user": "users", "model": "models"}

RATES = (
    Column("calls", "Calls", "count"),
    Column("cost_nanos", "Cost", "usd"),
    Column("cost_per_call_nanos", "Each", "usd"),
    Column("error_percent", "Errors", "percent"),
    Column("p50_ms", "p50", "ms"),
    Column("p95_ms", "p95", "ms"),
    Column("cache_percent", "Cached", "percent"),
    Column("stop_percent", "Cut off", "percent"),
    Column("blocked", "Blocked", "count"),
)
"""The five views, beside what they are of."""


def grouped(found: Groups, places: Sequence[int]) -> Groups:
    """Groups told apart by some of their keys' places only."""
    merged: Groups = {}
    for key, figures in found.items():
        merged.setdefault(tuple(key[at] for at in places), Figures()).add(figures)
    return merged


def summed(found: Iterable[Figures]) -> Figures:
    """All of them together."""
    total = Figures()
    for one in found:
        total.add(one)
    return total


def rates(figures: Figures) -> tuple[Value, ...]:
    """A row of `RATES`."""
    p50, p95 = figures.percentiles()
    return (
        figures.calls,
        figures.cost_nanos,
        figures.cost_per_call_nanos,
        figures.error_percent,
        p50,
        p95,
        figures.cache_percent,
        figures.stop_percent,
        figures.blocked,
    )


def rates_table(key: str, title: str, name: str, found: Groups) -> Table:
    """The five views of groups with one key each, the dearest first."""
    rows = [(key_of[0], *rates(figures)) for key_of, figures in dearest(found)]
    return Table(key, title, (Column(name, TITLES[name]), *RATES), tuple(rows))


def dearest(found: Groups) -> list[tuple[tuple[str, ...], Figures]]:
    """The groups, those that cost most first, then those with most calls, then by name."""
    return sorted(found.items(), key=lambda one: (-one[1].cost_nanos, -one[1].calls, one[0]))


def cost_chart(key: str, title: str, found: Mapping[str, int], most: int = 10) -> Chart:
    """What each of some names cost, the dearest first."""
    first = sorted(found.items(), key=lambda one: (-one[1], one[0]))[:most]
    labels = tuple(name or "(none)" for name, _ in first)
    return Chart(key, title, "bar", labels, (Series("cost", tuple(nanos for _, nanos in first)),))


def plural(count: int, one: str, many: str = "") -> str:
    """For example `1 call`, `2 calls`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def padded(values: Sequence[int | None], length: int) -> tuple[int | None, ...]:
    """The values, and nothing for hours that their day has not: one in spring has 23."""
    return (*values, *([None] * (length - len(values))))
