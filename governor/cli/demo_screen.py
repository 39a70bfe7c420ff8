"""What `governor demo` shows: bars that fill, a log of what happened, and a table at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from governor.cli.demo_story import TEAMS, dollars
from governor.money import Money
from governor.routing import LINES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console, RenderableType

    from governor.cli.demo_story import Event, Tally
    from governor.story.decision import BudgetView

MARKS = (80, 90, 100)
LOG_LINES = 10
_NAME, _FIGURES = 13, 32
"""Columns left and right of a bar."""

_COLOURS = {"warned": "yellow", "downgraded": "cyan", "blocked": "red"}
_FULL, _HELD, _EMPTY, _MARK = "█", "▒", " ", "│"


def frame(
    seconds: float,
    bars: Sequence[tuple[str, str, BudgetView]],
    events: Sequence[Event],
    width: int,
    *,
    last: bool,
) -> RenderableType:
    """One picture of the live screen.

    Args:
        seconds: Since the start.
        bars: Of each budget its label, what stands behind its bar, and its numbers.
        events: Everything that happened so far.
        width: Columns of the terminal.
        last: Whether no picture follows, so that no room need be kept for events to come.
    """
    room = max(width - _NAME - _FIGURES, 20)
    head = Text.assemble((" Three teams spend their month", "bold"), (f"   {seconds:4.1f} s", "dim"))
    rows = [head, Text(), _ruler(room), *(_bar(*bar, room) for bar in bars), Text()]
    log = [event_line(event) for event in events[-LOG_LINES:]]
    return Group(*rows, *log, *(Text() for _ in range(0 if last else LOG_LINES - len(log))))


def event_line(event: Event) -> Text:
    """One line of the log."""
    return Text.assemble(
        (f" {event.at_s:4.1f}s  ", "dim"),
        f"{event.team:<12}",
        (f"{event.kind:<11}", _COLOURS[event.kind]),
        event.text,
        no_wrap=True,
        overflow="ellipsis",
    )


def _ruler(room: int) -> Text:
    """Where 80, 90 and 100 % are."""
    cells = [" "] * (_NAME + room + 6)
    for percent in MARKS:
        label = f"{percent}"
        start = _NAME + room * percent // 100 - len(label)
        cells[start : start + len(label)] = label
    return Text("".join(cells).rstrip() + " %", style="dim")


def _bar(label: str, behind: str, view: BudgetView, room: int) -> Text:
    posted = min(view.posted * room // view.limit, room)
    held = min((view.posted + view.held) * room // view.limit, room)
    colour = _colour(view)
    marks = {room * percent // 100 - 1 for percent in MARKS}
    text = Text(f" {label:<{_NAME - 1}}", no_wrap=True)
    for cell in range(room):
        if cell < posted:
            text.append(_FULL, colour)
        elif cell < held:
            text.append(_HELD, colour)
        else:
            text.append(_MARK if cell in marks else _EMPTY, "dim")
    percent = view.posted * 100 // view.limit
    text.append(f" {percent:>3} %", colour)
    text.append(f"  {dollars(view.posted)} of {Money(view.limit)}")
    text.append(f"  {behind}", "bold")
    return text


def _colour(view: BudgetView) -> str:
    percent = view.posted * 100 // view.limit
    return "red" if percent >= 90 else "yellow" if percent >= 80 else "green"


def summary(tallies: Mapping[str, Tally], budgets: Mapping[str, BudgetView]) -> Table:
    """The table at the end."""
    served = [line for line in reversed(LINES) if any(tally.lines[line] for tally in tallies.values())]
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column(" team")
    for title in ("calls", *served, "warned", "downgraded", "blocked", "spent", "limit"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, tally in tallies.items():
        view = budgets[name]
        table.add_row(
            f" {name}",
            str(tally.calls),
            *(_count(tally.lines[line]) for line in served),
            _count(tally.warned, "yellow"),
            _count(tally.downgraded, "cyan"),
            _count(tally.blocked, "red"),
            dollars(view.posted),
            str(Money(view.limit)),
        )
    return table


def _count(number: int, colour: str = "") -> Text:
    return Text(str(number), style=colour) if number else Text("-", style="dim")


def plain(console: Console, events: Iterable[Event]) -> None:
    """Print events as they happen, where no terminal redraws."""
    for event in events:
        console.print(event_line(event), soft_wrap=True)


def labels() -> tuple[tuple[str, str], ...]:
    """The budgets with a bar: label and identity, in order."""
    rows: list[tuple[str, str]] = []
    for team in TEAMS:
        rows.append((team.name, f"department={team.name}/usd/month"))
        if team.run is not None:
            rows.append(("└ bot's run", f"department={team.name}/run={team.run}/usd/life"))
    return tuple(rows)
