"""One look at a ledger as plain text: for pipes, logs, and terminals that draw no screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from governor.cli import top_cells as cells
from governor.cli import top_picture as pictures
from governor.cli.output import stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

    from governor.cli.top_cells import Column, Row
    from governor.cli.top_picture import Picture

    _MakeRow = Callable[[Any, Sequence[Column], Picture, cells.Ink], Row]

MOST = 20
"""Rows of each table; `--json` has them all."""

GAP = "  "
WIDTHS = (72, 160)


def show(picture: Picture, out: Console) -> None:
    """Print a picture."""
    width = min(WIDTHS[1], max(WIDTHS[0], out.width))
    out.print(f"{picture.organization}  {picture.where}  {stamp(picture.now_ms)[:19]} UTC", soft_wrap=True)
    out.print("   ".join(cells.headline(picture)), soft_wrap=True)
    for name, found, columns, row, nothing in _tables(picture, width):
        out.print()
        if not found:
            out.print(f"{name}: {nothing}", soft_wrap=True)
            continue
        more = f" (the first {MOST} of {len(found):,})" if len(found) > MOST else ""
        out.print(name + more, style="bold", soft_wrap=True)
        rows = [[text.plain for text in row(one, columns, picture, cells.PLAIN)[1]] for one in found[:MOST]]
        for texts in ([column.title for column in columns], *rows):
            out.print(_line(texts, columns), soft_wrap=True)


def _tables(picture: Picture, width: int) -> Iterator[tuple[str, list[Any], list[Column], _MakeRow, str]]:
    """Each table: its name, its rows in order, its columns, how a row is made, what is said without one."""
    budgets = sorted(picture.budgets, key=pictures.BUDGET_SORTS["fullest"])
    yield "Budgets, the fullest first", budgets, cells.budget_columns(width), cells.budget_row, "none yet"
    flights = sorted(picture.flights, key=pictures.FLIGHT_SORTS["oldest"])
    more = picture.open - len(flights)
    name = f"Calls in flight, and {more:,} more" if more > 0 else "Calls in flight"
    yield name, flights, cells.flight_columns(width), cells.flight_row, "none"
    models, none = list(picture.models), "none called in the last minute"
    yield "Models", models, cells.model_columns(width), cells.model_row, none
    last = cells.span(picture.span_s)
    for by in ("user", "run"):
        found = [one for one in picture.spenders(by) if one.name or by != "run"]
        nothing = f"none in the last {last}"
        columns = cells.spender_columns(width)
        yield f"Who spends, per {by}, last {last}", found, columns, cells.spender_row, nothing
    yield "Alerts", list(picture.alerts), cells.alert_columns(width), cells.alert_row, "none is open"


def _line(texts: Sequence[str], columns: Sequence[Column]) -> str:
    padded = []
    for text, column in zip(texts, columns, strict=True):
        gap = " " * max(0, column.width - cell_len(text))
        padded.append(gap + text if column.side == "right" else text + gap)
    return GAP.join(padded).rstrip()
