"""A report as programs read it: one JSON document, or CSV. Pure."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from governor.journal.reports.page import Chart, Fact, Table
from governor.money import NANOS_PER_DOLLAR

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from governor.journal.reports.page import Column, Page, Value

_RISKY = ("=", "+", "-", "@", "\t", "\r")
"""What spreadsheets take for the beginning of a formula."""

NANOS, DOLLARS = "_nanos", "_usd"


def as_json(page: Page) -> dict[str, Any]:
    """A report as JSON: amounts are integers of nano-dollars, percentages 0 to 100, latencies milliseconds.

    `facts`, `tables` and `charts` are by key; a table's rows are objects by the keys of its columns.
    """
    return {
        "report": page.key,
        "organization": page.organization,
        "asked_ms": page.asked_ms,
        "span": page.span,
        "timezone": page.zone,
        "facts": {one.key: _fact(one) for one in page.sections if isinstance(one, Fact)},
        "tables": {one.key: _table(one) for one in page.sections if isinstance(one, Table)},
        "charts": {one.key: _chart(one) for one in page.sections if isinstance(one, Chart)},
    }


def _fact(fact: Fact) -> dict[str, Any]:
    return {"title": fact.title, "value": fact.value, "unit": fact.unit, "note": fact.note}


def _table(table: Table) -> dict[str, Any]:
    keys = [column.key for column in table.columns]
    total = None if table.total is None else dict(zip(keys, table.total, strict=True))
    rows = [dict(zip(keys, row, strict=True)) for row in table.rows]
    return {"title": table.title, "rows": rows, "total": total, "note": table.note}


def _chart(chart: Chart) -> dict[str, Any]:
    series = [
        {"title": one.title, "values": one.values, "low": one.low, "high": one.high} for one in chart.series
    ]
    told = {"title": chart.title, "unit": chart.unit, "limit": chart.limit}
    return {**told, "labels": chart.labels, "series": series}


def as_csv(table: Table) -> str:
    """A table as CSV (RFC 4180), its total left out: whoever sums a column has it.

    An amount stands twice, exactly: `cost_nanos`, an integer, and `cost_usd`, dollars with nine decimals. A
    text that a spreadsheet would run as a formula has an apostrophe before it.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([name for column in table.columns for name in _names(column)])
    for row in table.rows:
        writer.writerow(list(_cells(table.columns, row)))
    return out.getvalue()


def _names(column: Column) -> tuple[str, ...]:
    if column.unit == "usd":
        return (column.key, column.key.removesuffix(NANOS) + DOLLARS)
    return (column.key,)


def _cells(columns: Sequence[Column], row: Sequence[Value]) -> Iterator[Value]:
    for column, value in zip(columns, row, strict=True):
        if isinstance(value, str):
            yield f"'{value}" if value.startswith(_RISKY) else value
        elif column.unit == "usd":
            yield value
            yield None if value is None else exact_dollars(int(value))
        else:
            yield value


def exact_dollars(nanos: int) -> str:
    """An amount with nine decimals and no sign of the currency, as accountants' programs read it."""
    whole, rest = divmod(abs(nanos), NANOS_PER_DOLLAR)
    return f"{'-' if nanos < 0 else ''}{whole}.{rest:09d}"
