"""A report as one HTML file that can be mailed, without network or script; needs the extra `report`."""

from __future__ import annotations

import unicodedata
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

try:
    import jinja2
    from markupsafe import Markup

    from governor.journal.reports.plots import WHOLE, plot
except ImportError as error:
    raise ImportError(
        f"a report as HTML needs jinja2 and matplotlib ({error}): pip install 'claude-governor[report]'"
    ) from None

from governor.journal.reports.page import Chart, Fact, Table
from governor.journal.reports.showing import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.journal.reports.page import Column, Page, Section, Value

ROWS = 600
"""How many rows of tables a page has in all, so that it can be mailed; a table says what it lacks."""

FEWEST_ROWS = 25
"""So many each table may have."""

LONG = 18
"""A fact's value with more characters is set smaller."""

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
"""What the page may load: nothing."""

_ODD = ("Cc", "Cs", "Zl", "Zp")


def render(page: Page) -> str:
    """The page as a whole HTML document.

    Charts are drawn twice, for wide screens and for narrow ones; each with a table of its values.

    Args:
        page: The report. Names in it may be anything: they are shown as they are, and do nothing.
    """
    tables = sum(isinstance(one, Table) for one in page.sections)
    most = max(FEWEST_ROWS, ROWS // max(1, tables))
    parts = [_part(one, number, page.zone, most) for number, one in enumerate(page.sections)]
    return _template().render(
        page=page,
        policy=POLICY,
        asked=show(page.asked_ms, "time", page.zone),
        facts=[part for part in parts if part["kind"] == "fact"],
        parts=[part for part in parts if part["kind"] != "fact"],
    )


@cache
def _template() -> jinja2.Template:
    around = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    around.filters["line"] = line
    return around.from_string(files("governor.journal.reports").joinpath("page.html.j2").read_text("utf-8"))


def line(text: str) -> str:
    """Text as one line: control characters and halves of characters, which no page may have, are replaced."""
    return "".join("\ufffd" if unicodedata.category(char) in _ODD else char for char in text)


def _part(section: Section, number: int, zone: str, most: int) -> dict[str, Any]:
    if isinstance(section, Fact):
        shown = show(section.value, section.unit, zone)
        return {
            "kind": "fact",
            "title": section.title,
            "value": shown,
            "long": len(shown) > LONG,
            "note": section.note,
        }
    if isinstance(section, Chart):
        return _chart(section, number, zone, most)
    return _table(section, number, zone, most)


def _chart(chart: Chart, number: int, zone: str, most: int) -> dict[str, Any]:
    known = any(value is not None for one in chart.series for value in one.values)
    plots = {size: Markup(plot(chart, f"c{number}{size[0]}", size)) for size in ("wide", "narrow")}  # noqa: S704 - matplotlib escapes what it is given
    rows = [
        [label, *(_shown(_at(one.values, place), chart, zone) for one in chart.series)]
        for place, label in enumerate(chart.labels[:most])
    ]
    return {
        "kind": "chart",
        "id": f"s{number}",
        "title": chart.title,
        "says": _says(chart, zone),
        "plots": plots if known else None,
        "columns": ["", *(one.title for one in chart.series)],
        "rows": rows,
        "note": _left_out(len(chart.labels) - most),
    }


def _says(chart: Chart, zone: str) -> str:
    """A chart in one sentence, for whoever does not see it."""
    told = []
    for one in chart.series:
        known = [value for value in one.values if value is not None]
        if known:
            low, high = _shown(min(known), chart, zone), _shown(max(known), chart, zone)
            told.append(f"{one.title}: {low} to {high}")
    if chart.limit is not None:
        told.append(f"limit: {_shown(chart.limit, chart, zone)}")
    kind = "Line chart" if chart.kind == "line" else "Bar chart"
    return f"{kind}, {'; '.join(told)}." if told else f"{kind} without values."


def _shown(value: float | None, chart: Chart, zone: str) -> str:
    """A chart's value for people; of what is counted whole, a fraction (an expected value) is rounded."""
    whole = chart.unit in WHOLE and value is not None
    return show(round(value) if whole and value is not None else value, chart.unit, zone)


def _at(values: Sequence[Any], place: int) -> Any:
    return values[place] if place < len(values) else None


def _table(table: Table, number: int, zone: str, most: int) -> dict[str, Any]:
    more = _left_out(len(table.rows) - most)
    return {
        "kind": "table",
        "id": f"s{number}",
        "title": table.title,
        "columns": [{"title": one.title, "side": _side(one)} for one in table.columns],
        "rows": [_cells(row, table.columns, zone) for row in table.rows[:most]],
        "total": None if table.total is None else _cells(table.total, table.columns, zone),
        "notes": [note for note in (table.note, more) if note],
    }


def _left_out(many: int) -> str:
    return (
        f"{many:,} more are left out here: the CSV and the JSON of this report have all." if many > 0 else ""
    )


def _cells(row: Sequence[Value], columns: Sequence[Column], zone: str) -> list[str]:
    return [show(value, column.unit, zone) for value, column in zip(row, columns, strict=True)]


def _side(column: Column) -> str:
    return "text" if column.unit == "text" else "number"
