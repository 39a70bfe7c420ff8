"""How the commands speak: tables for people, JSON for programs, one clear message for an error."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from governor.errors import (
    BudgetContended,
    BudgetExceeded,
    GovernorError,
    LedgerUnavailable,
    PolicyError,
    PolicyViolation,
    UnknownModel,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from governor.story.decision import BudgetView

FAILURE, USAGE, INVALID_POLICY, REFUSED = 1, 2, 3, 4
"""The exit codes beside 0."""

_CODES: tuple[tuple[type[GovernorError], int], ...] = (
    (PolicyError, INVALID_POLICY),
    (BudgetExceeded, REFUSED),
    (BudgetContended, REFUSED),
    (PolicyViolation, REFUSED),
    (UnknownModel, REFUSED),
)
_GAP = "  "


class Failure(GovernorError):  # noqa: N818 - it is not the caller's program that erred
    """A command cannot do what it was asked; the message says why and what to do.

    Attributes:
        code: The exit code.
    """

    def __init__(self, message: str, *, code: int = FAILURE) -> None:
        super().__init__(message)
        self.code = code


def usage(message: str) -> Failure:
    """The failure for an argument that cannot be meant."""
    return Failure(message, code=USAGE)


def exit_code(error: GovernorError) -> int:
    """The exit code that *error* ends the command with."""
    if isinstance(error, Failure):
        return error.code
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILURE)


def report(error: GovernorError, *, as_json: bool) -> None:
    """Say *error* on stderr, and as an `{"error": …}` object on stdout if JSON was asked for."""
    lines = str(error)
    typer.echo(lines if isinstance(error, PolicyError) else f"error: {lines}", err=True)
    if as_json:
        report_json(error)


def report_json(error: GovernorError) -> None:
    """Say *error* as an `{"error": …}` object on stdout."""
    told: dict[str, Any] = {
        "type": _kind(error),
        "message": str(error),
        "exit_code": exit_code(error),
    }
    if isinstance(error, PolicyError):
        told["problems"] = [problem_json(problem) for problem in error.problems]
    print_json({"error": told})


def _kind(error: GovernorError) -> str:
    """The public name of an error."""
    if exit_code(error) == USAGE:
        return "UsageError"
    return LedgerUnavailable.__name__ if isinstance(error, LedgerUnavailable) else type(error).__name__


def print_json(data: object) -> None:
    """Print *data* as JSON: instants as ISO 8601 in UTC, amounts as integers."""
    text = json.dumps(data, indent=2, default=_jsonable, ensure_ascii=not _is_utf8(sys.stdout))
    typer.echo(text.encode(errors="backslashreplace").decode())  # half a character, as JSON escapes it


def speak_as_the_terminal_can() -> None:
    """Have what a stream cannot encode (a name, a bar, on Windows-1252) stand in it escaped."""
    for stream in (sys.stdout, sys.stderr):
        if not _is_utf8(stream) and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _is_utf8(stream: Any) -> bool:
    return str(getattr(stream, "encoding", None) or "utf-8").lower().replace("-", "") == "utf8"


def problem_json(problem: Any) -> dict[str, Any]:
    """A `Problem` or a `Notice` as JSON."""
    names = ("file", "line", "column", "path", "message", "text", "hint")
    return {name: getattr(problem, name) for name in names if hasattr(problem, name)}


def budget_json(view: BudgetView) -> dict[str, Any]:
    """One budget as JSON: amounts in the budget's unit, nano-dollars for `usd`."""
    return {
        "identity": view.identity,
        "window": view.window,
        "unit": view.unit.value,
        "limit": view.limit,
        "posted": view.posted,
        "held": view.held,
        "available": view.available,
        "percent": percent(view),
        "resets_at": view.resets_at,
        "frozen": view.frozen,
        "source": view.source or None,
    }


def percent(view: BudgetView) -> int:
    """How much of the limit is spent, in whole percent, rounded down; 100 where the limit is nothing."""
    return view.posted * 100 // view.limit if view.limit else 100


def when(moment: datetime | None) -> str:
    """An instant as the tables show it, in UTC to the minute: `2026-12-01 00:00`; `never` for `None`."""
    return "never" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


def resets(view: BudgetView) -> str:
    """When a budget resets, as tables show it; of a rolling one, when spend first leaves it.

    For example `2026-12-01 00:00`, `never`, `frees 2026-11-28 09:45`, or `rolls` with nothing spent.
    """
    if view.resets == "resets":
        return when(view.resets_at)
    return f"frees {when(view.resets_at)}" if view.resets_at else "rolls"


def stamp(unix_ms: int) -> str:
    """An instant of the journal, in UTC to the millisecond: `2026-11-21 02:46:03.120`."""
    moment = datetime.fromtimestamp(unix_ms // 1000, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{unix_ms % 1000:03d}"


def console() -> Console:
    """Where people read: stdout, coloured only on a terminal, no word highlighted by guess."""
    from rich.console import Console  # noqa: PLC0415 - a command that prints JSON need not pay for it

    return Console(highlight=False, emoji=False, markup=False)


def print_rows(titles: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
    """Print a table whose first column may be long: where it does not fit, it stands on a line of its own.

    Piped into another program, every row is one line whatever its length.

    Args:
        titles: The columns' titles.
        rows: Their cells.
        left: How many columns, from the left, are aligned to the left; the others are numbers.
    """
    from rich.cells import cell_len  # noqa: PLC0415 - as in `console`

    widths = [max(map(cell_len, column)) for column in zip(titles, *rows, strict=True)]
    out = console()
    fits = not out.is_terminal or sum(widths) + len(_GAP) * (len(widths) - 1) <= out.width
    if fits:
        for row in (titles, *rows):
            _line(out, _aligned(row, widths, left), head=row is titles)
        return
    _line(out, titles[0], head=True)
    _line(out, _GAP + _aligned(titles[1:], widths[1:], left - 1), head=True)
    for row in rows:
        _line(out, row[0])
        _line(out, _GAP + _aligned(row[1:], widths[1:], left - 1))


def _aligned(row: Sequence[str], widths: Sequence[int], left: int) -> str:
    from rich.cells import cell_len  # noqa: PLC0415 - as in `console`

    cells = ((cell, " " * (width - cell_len(cell))) for cell, width in zip(row, widths, strict=True))
    return _GAP.join(
        cell + room if index < left else room + cell for index, (cell, room) in enumerate(cells)
    ).rstrip()


def _line(out: Console, text: str, *, head: bool = False) -> None:
    out.print(text, style="bold" if head else None, soft_wrap=True)


def confirm(question: str, *, yes: bool) -> None:
    """Ask on stderr, unless the answer is given already.

    Args:
        question: What is about to be done.
        yes: Whether that was answered by `--yes`.

    Raises:
        Failure: The answer is no, or nobody is at a terminal to give one.
    """
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise usage(f"{question} Nobody can answer here, for stdin is no terminal: add --yes")
    if not typer.confirm(question, err=True):
        raise Failure("the answer was no: nothing was changed")


def note(text: str) -> None:
    """Say something beside the answer, on stderr, where it is in no program's way."""
    if sys.stdout is not None:
        sys.stdout.flush()
    typer.echo(text, err=True)


def _jsonable(value: object) -> object:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return str(value)
