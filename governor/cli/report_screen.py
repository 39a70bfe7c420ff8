"""A report in a terminal: tables and small charts, at any width, in the terminal's own colours."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.padding import Padding
from rich.text import Text

from governor.cli.output import console
from governor.cli.typed import harmless
from governor.journal.reports.page import Chart, Fact, Table
from governor.journal.reports.showing import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from governor.journal.reports.page import Column, Page, Section, Series, Value

GAP = "  "
HEIGHT = 4
"""Rows of a chart over time."""

WIDEST = 4
"""Columns of one bar of it."""

NARROW_GAP = " "
LEAST_NAME = 10
"""A name is not made narrower than this, nor so that two look alike; rather a table is parted."""

BLOCKS, ASCII_BLOCKS = " ▁▂▃▄▅▆▇█", " ......###"
BAR, ASCII_BAR = "█", "#"


def print_page(page: Page, most: int) -> None:
    """Print a report.

    Args:
        page: The report.
        most: How many rows of a table are shown; 0: all.
    """
    out = console()
    screen = _Screen(out, page.zone, most)
    out.print(f"{page.title} · {page.organization}", style="bold", soft_wrap=True)
    out.print(page.span, soft_wrap=True)
    facts = [one for one in page.sections if isinstance(one, Fact)]
    screen.facts(facts)
    for section in page.sections:
        screen.section(section)


class _Screen:
    """Prints sections to a console."""

    def __init__(self, out: Console, zone: str, most: int) -> None:
        self._out, self._zone, self._most = out, zone, most
        self._plain = not (out.encoding or "").lower().startswith("utf")

    def facts(self, facts: Sequence[Fact]) -> None:
        """Print answers: a question, its figure, and what that is compared with."""
        if not facts:
            return
        self._out.print()
        values = [self._show(one.value, one.unit) for one in facts]
        titles, widest = max(cell_len(one.title) for one in facts), max(map(cell_len, values))
        for one, value in zip(facts, values, strict=True):
            self._indented(padded(one.title, titles) + GAP + padded(value, widest), one.note)

    def _indented(self, head: str, note: str) -> None:
        """The figure and its note on one line, or the note below it."""
        if cell_len(head + GAP + note) <= self._out.width or not self._out.is_terminal:
            self._out.print(Text.assemble((head, "bold"), GAP + harmless(note)), soft_wrap=True)
            return
        self._out.print(head, style="bold", soft_wrap=True)
        self._wrapped(note)

    def _wrapped(self, note: str) -> None:
        self._out.print(Padding(harmless(note), (0, 0, 0, len(GAP))))

    def section(self, section: Section) -> None:
        """Print a table or a chart."""
        if isinstance(section, Table):
            self._table(section)
        elif isinstance(section, Chart):
            self._out.print()
            self._out.print(section.title, style="bold", soft_wrap=True)
            for line in self._bars(section) if section.kind == "bar" else self._columns(section):
                self._out.print(line, no_wrap=True, crop=False, soft_wrap=True)

    def _table(self, table: Table) -> None:
        self._out.print()
        self._out.print(table.title, style="bold", soft_wrap=True)
        shown = table.rows[: self._most] if self._most else table.rows
        if shown:
            self._grid(table, shown)
        hidden = len(table.rows) - len(shown)
        if hidden:
            self._out.print(f"... and {hidden:,} more (--top 0 shows all)", soft_wrap=True)
        if table.note:
            self._wrapped(table.note)

    def _grid(self, table: Table, rows: Sequence[Sequence[Value]]) -> None:
        cells = [self._cells(table.columns, row) for row in rows]
        last = [] if table.total is None else [self._cells(table.columns, table.total)]
        titles = [column.title for column in table.columns]
        right = [column.unit != "text" for column in table.columns]
        width = self._out.width if self._out.is_terminal else 10_000
        for part in parts(titles, [*cells, *last], right, width):
            for number, row in enumerate(part):
                bold = number == 0 or (bool(last) and number == len(part) - 1)
                self._out.print(row, style="bold" if bold else None, soft_wrap=True)

    def _cells(self, columns: Sequence[Column], row: Sequence[Value]) -> list[str]:
        return [self._show(value, column.unit) for column, value in zip(columns, row, strict=True)]

    def _show(self, value: Value, unit: str) -> str:
        told = show(value, unit, self._zone)  # type: ignore[arg-type]
        return harmless(told) if isinstance(value, str) else told  # even what was refused has a name

    def _bars(self, chart: Chart) -> Iterator[str]:
        """A bar for each name, as long as its value."""
        (series,) = chart.series
        shown = [self._show(value, chart.unit) for value in series.values]
        names = min(max(map(cell_len, chart.labels), default=0), max(self._width // 3, LEAST_NAME))
        figures = max(map(len, shown), default=0)
        room = max(min(self._width, 100) - names - figures - 2 * len(GAP), 1)
        top = max((value or 0 for value in series.values), default=0) or 1
        for name, value, figure in zip(map(self._name, chart.labels), series.values, shown, strict=True):
            bar = (ASCII_BAR if self._plain else BAR) * round(room * (value or 0) / top)
            yield f"{padded(short(name, names), names)}{GAP}{figure:>{figures}}{GAP}{bar}".rstrip()

    def _name(self, label: str) -> str:
        return self._show(label, "text")

    def _columns(self, chart: Chart) -> Iterator[str]:
        """A column for each label, for each series below the other, on one scale."""
        top = max((value for one in chart.series for value in (*one.values, *one.high) if value), default=0)
        top = max(top, chart.limit or 0)
        if not top:
            yield GAP + "nothing"
            return
        wide = max(1, min(WIDEST, (self._width - len(GAP)) // max(len(chart.labels), 1)))
        for one in chart.series:
            known = [value for value in one.values if value is not None]
            highest = self._show(max(known, default=None), chart.unit)
            yield GAP + shorter(
                f"{one.title}, at most {highest}{self._limit(chart, one)}", self._width - len(GAP)
            )
            yield from (GAP + line for line in self._drawn(one, top, wide))
            yield GAP + axis(chart.labels, wide)

    def _limit(self, chart: Chart, one: Series) -> str:
        told = "" if chart.limit is None else f" of {self._show(chart.limit, chart.unit)}"
        known = [(low, high) for low, high in zip(one.low, one.high, strict=True) if high is not None]
        if known:
            low, high = (self._show(edge, chart.unit) for edge in known[-1])
            told += f"; between {low} and {high}"
        return told

    def _drawn(self, one: Series, top: float, wide: int) -> Iterator[str]:
        blocks = ASCII_BLOCKS if self._plain else BLOCKS
        heights = [round(8 * HEIGHT * (value or 0) / top) for value in one.values]
        heights = [max(tall, 1) if value else tall for tall, value in zip(heights, one.values, strict=True)]
        highest = -(-max(heights, default=0) // 8) or 1
        for row in range(highest - 1, -1, -1):
            filled = (blocks[max(0, min(8, height - 8 * row))] for height in heights)
            yield "".join(block * max(wide - 1, 1) + (" " if wide > 1 else "") for block in filled).rstrip()

    @property
    def _width(self) -> int:
        return self._out.width


def axis(labels: Sequence[str], wide: int) -> str:
    """The labels that have room below their columns."""
    line = ""
    for place, label in enumerate(labels):
        at = place * wide
        if not line or at >= len(line) + 2:
            line = line.ljust(at) + label
    room = wide * len(labels)
    return line if len(line) <= max(room, len(labels[0])) else line[: line.rstrip().rfind(" ")].rstrip()


def parts(
    titles: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[bool], width: int
) -> Iterator[list[str]]:
    """A table's lines. One that is too wide is drawn together; if that is too little, it is parted.

    Args:
        titles: The columns'.
        rows: Their cells; the first of a row begins every part of it.
        right: Which columns are aligned to the right.
        width: Columns of the terminal.
    """
    every = [list(titles), *map(list, rows)]
    gap = GAP
    if _widths(every, gap)[1] > width:
        room = width - (_widths(every, gap)[1] - _widths(every, gap)[0][0])
        gap = GAP if _narrowed(every, room) else NARROW_GAP
        room = width - (_widths(every, gap)[1] - _widths(every, gap)[0][0])
        names = _narrowed(every, max(room, LEAST_NAME)) or _narrowed(every, width // 2)
        every = [
            [name, *row[1:]] for name, row in zip(names or [row[0] for row in every], every, strict=True)
        ]
    widths, _ = _widths(every, gap)
    for at, until in pairwise(_cuts(widths, width, len(gap))):
        columns = [0, *range(max(at, 1), until)]
        yield [_line([(row[c], widths[c], right[c]) for c in columns], gap) for row in every]


def _widths(rows: Sequence[Sequence[str]], gap: str) -> tuple[list[int], int]:
    """How wide columns are, and all of them together."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    return widths, sum(widths) + len(gap) * (len(widths) - 1)


def _narrowed(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """The first column in a width, if its cells can still be told apart there; else nothing."""
    names = [row[0] for row in rows]
    if width < LEAST_NAME:
        return []
    for cut in (short, shorter):
        told = [cut(name, width) for name in names]
        if len(set(told)) == len(set(names)):
            return told
    return []


def _cuts(widths: Sequence[int], width: int, gap: int) -> list[int]:
    """Where the parts of a table begin, and where the last one ends."""
    cuts, used = [0], widths[0]
    for at in range(1, len(widths)):
        used += gap + widths[at]
        if used > width and at > max(cuts[-1], 1):
            cuts.append(at)
            used = widths[0] + gap + widths[at]
    return [*cuts, len(widths)]


def _line(cells: Sequence[tuple[str, int, bool]], gap: str) -> str:
    told = (padded(cell, width, right=to_right) for cell, width, to_right in cells)
    return gap.join(told).rstrip()


def padded(text: str, width: int, *, right: bool = False) -> str:
    """A text and spaces, in the width that terminals show it in."""
    room = " " * (width - cell_len(text))
    return room + text if right else text + room


def short(text: str, width: int) -> str:
    """A text cut to a width, its end kept too: ids differ there."""
    ahead, behind = (width - 1) // 2, width - 1 - (width - 1) // 2
    if cell_len(text) <= width:
        return text
    while cell_len(f"{text[:ahead]}~{text[len(text) - behind :]}") > width and ahead + behind:
        ahead, behind = (ahead - 1, behind) if ahead >= behind else (ahead, behind - 1)
    return f"{text[:ahead]}~{text[len(text) - behind :]}"


def shorter(text: str, width: int) -> str:
    """A text cut to a width at its end: addresses differ before that."""
    kept = len(text)
    while cell_len(text[:kept]) > width - (kept < len(text)):
        kept -= 1
    return text if kept == len(text) else f"{text[:kept]}~"
