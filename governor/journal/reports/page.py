"""A report as data: sections of tables and charts; terminal, JSON, CSV and HTML each show them their way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Unit = Literal["text", "usd", "count", "tokens", "percent", "ms", "time", "ratio", "change"]
"""What a value is: `usd` an `int` of nano-dollars; `percent` a `float` from 0 to 100; `ms` milliseconds;
`time` Unix milliseconds; `ratio` a plain `float`; `change` a `float`, by how many percent something grew;
`None` in any column: there is nothing to say."""

Value = str | int | float | None


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        key: Its name in JSON and CSV: the field's term, units last (`cost_nanos`, `p95_ms`).
        title: Its heading for people.
        unit: What its values are.
    """

    key: str
    title: str
    unit: Unit = "text"


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        key: Its name in JSON; of a CSV, its file's.
        title: Its heading.
        columns: From left to right.
        rows: Each as long as *columns*.
        note: A sentence below it, or ''.
        total: A last row that sums the others, or `None`.
    """

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    note: str = ""
    total: tuple[Value, ...] | None = None


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or one colour of bars; *low* and *high* are the edges of a range around it, or empty."""

    title: str
    values: tuple[float | int | None, ...]
    low: tuple[float | int | None, ...] = ()
    high: tuple[float | int | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart.

    Attributes:
        key: Its name in JSON.
        title: Its heading.
        kind: `line` over time, or `bar` by name.
        labels: Of the x axis; of a `line`, ISO dates or times.
        series: Each with as many values as there are labels.
        unit: What its values are.
        limit: A line across it (a budget's limit), or `None`.
    """

    key: str
    title: str
    kind: Literal["line", "bar"]
    labels: tuple[str, ...]
    series: tuple[Series, ...]
    unit: Unit = "usd"
    limit: int | float | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """An answer in one line: a question, its figure, and what that is compared with."""

    key: str
    title: str
    value: Value
    unit: Unit = "text"
    note: str = ""


Section = Table | Chart | Fact


@dataclass(frozen=True, slots=True)
class Page:
    """A report.

    Attributes:
        key: Its command's name: `today`.
        title: Its heading.
        organization: Whose.
        asked_ms: When it was made, Unix milliseconds by the ledger's clock.
        span: What time it is about, for people: `2026-11-21, Europe/Berlin`.
        sections: From top to bottom.
        zone: The IANA time zone that instants are shown in.
    """

    key: str
    title: str
    organization: str
    asked_ms: int
    span: str
    sections: tuple[Section, ...] = field(default=())
    zone: str = "UTC"
