"""`governor report chargeback`: who bears what of a month; every sum is exact."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.journal.reports.figures import percent
from governor.journal.reports.page import Column, Fact, Table
from governor.journal.reports.tables import cost_chart, grouped, plural, summed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from governor.journal.reports.asked import Asked
    from governor.journal.reports.figures import Figures
    from governor.journal.reports.page import Page, Section, Value
    from governor.journal.reports.queries import Source
    from governor.journal.reports.spans import Span
    from governor.journal.reports.tables import Groups

UNATTRIBUTED = "(unattributed)"
"""Whose it is where no record says it."""

_BY = ("department", "feature", "user")
_BORNE = (
    Column("cost_nanos", "Cost", "usd"),
    Column("share_percent", "Share", "percent"),
    Column("calls", "Calls", "count"),
    Column("input_tokens", "Input", "tokens"),
    Column("cache_write_tokens", "Cache write", "tokens"),
    Column("cache_read_tokens", "Cache read", "tokens"),
    Column("output_tokens", "Output", "tokens"),
)


def chargeback(source: Source, asked: Asked, span: Span, tags: Sequence[str] = ()) -> Page:
    """What each department, feature and user cost, and each value of some tags; with what nobody bears.

    Args:
        source: The calls.
        asked: Who asks.
        span: The month, or any other time; a call counts when it began.
        tags: Names of tags.
    """
    found = source.figures(span.start_ms, span.end_ms, _BY, latency=False)
    total = summed(found.values())
    nobodys = summed(one for key, one in found.items() if not key[0])
    left = plural(nobodys.calls, "call") + " without a department" if nobodys.calls else "no call"
    note = (
        f"{plural(total.open, 'call is', 'calls are')} still open and cost nothing yet" if total.open else ""
    )
    by_department = grouped(found, (0,))
    sections: list[Section] = [
        Fact("cost_nanos", "Spent", total.cost_nanos, "usd", note),
        Fact("unattributed_nanos", "Unattributed", nobodys.cost_nanos, "usd", left),
        _table("departments", "By department", ("department",), by_department, total),
        _table(
            "features", "By department and feature", ("department", "feature"), grouped(found, (0, 1)), total
        ),
        _table("users", "By department and user", ("department", "user"), grouped(found, (0, 2)), total),
    ]
    for name in tags:
        by_tag = source.by_tag(span, name)
        sections.append(_tag_table(name, by_tag))
    costs = {key[0] or UNATTRIBUTED: one.cost_nanos for key, one in by_department.items()}
    if len(costs) > 1:
        sections.append(cost_chart("department_costs", "Cost by department", costs))
    return asked.page("chargeback", "Who bears what", f"{span}{asked.only}", tuple(sections))


def _table(key: str, title: str, names: Sequence[str], found: Groups, total: Figures) -> Table:
    rows = [(*_named(key_of), *_borne(one, total)) for key_of, one in sorted(found.items(), key=_order)]
    columns = (*(Column(name, name.capitalize()) for name in names), *_BORNE)
    last = ("Total", *[None] * (len(names) - 1), *_borne(total, total))
    return Table(key, title, columns, tuple(rows), total=last)


def _order(one: tuple[tuple[str, ...], Figures]) -> tuple[object, ...]:
    """Departments by name, what nobody bears last; within them, the dearest first."""
    key, figures = one
    return (not key[0], key[0], -figures.cost_nanos, key)


def _named(key: Iterable[str]) -> tuple[str, ...]:
    return tuple(one or UNATTRIBUTED for one in key)


def _borne(one: Figures, total: Figures) -> tuple[Value, ...]:
    """A row of `_BORNE`."""
    return (
        one.cost_nanos,
        percent(one.cost_nanos, total.cost_nanos),
        one.calls,
        one.input_tokens,
        one.cache_write_tokens,
        one.cache_read_tokens,
        one.output_tokens,
    )


def _tag_table(name: str, found: dict[tuple[str, str], tuple[int, int, int]]) -> Table:
    """By department and the value of a tag."""
    columns = (
        Column("department", "Department"),
        Column("tag", f"Tag {name}"),
        Column("calls", "Calls", "count"),
        Column("tokens", "Tokens", "tokens"),
        Column("cost_nanos", "Cost", "usd"),
        Column("share_percent", "Share", "percent"),
    )
    ordered = sorted(found.items(), key=lambda one: (not one[0][0], one[0][0], -one[1][2], one[0][1]))
    whole = [sum(numbers[at] for _, numbers in ordered) for at in range(3)]
    rows = [(*_named(key), *numbers, percent(numbers[2], whole[2])) for key, numbers in ordered]
    total = ("Total", None, *whole, percent(whole[2], whole[2]))
    return Table(f"tag_{name}", f"By department and tag {name}", columns, tuple(rows), total=total)
