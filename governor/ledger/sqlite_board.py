"""The notice board on SQLite; see `governor.ledger.board`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from governor.ledger import commands as c
from governor.ledger.board import NOTICE_CHARS, others

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

_LINES = "SELECT rowid, CAST(process AS BLOB), at_ms, CAST(text AS BLOB) FROM board"
"""As bytes, since what is no UTF-8 would fail the whole command."""


def carrying(
    verb: Callable[[sqlite3.Connection, Any, int], Any],
) -> Callable[[sqlite3.Connection, Any, int], Any]:
    """*verb* with the board in its answer, and the notice on the board, where its command has one."""

    def carried(db: sqlite3.Connection, command: Any, now_ms: int) -> Any:
        answer = verb(db, command, now_ms)
        if command.notice is None or isinstance(answer, c.WindowMoved | c.Reordered):
            return answer
        return replace(answer, board=_post(db, command.notice, now_ms))

    return carried


def _post(db: sqlite3.Connection, notice: c.Notice, now_ms: int) -> tuple[c.Posted, ...]:
    """Put a notice on the board, take off what is over; the notices of others."""
    lines = {row[0]: _read(*row[1:]) for row in db.execute(_LINES)}
    told = others([line for line in lines.values() if line is not None], notice.process, now_ms)
    gone = [(row,) for row, line in lines.items() if line not in told]
    db.executemany("DELETE FROM board WHERE rowid = ?", gone)
    if notice.text:
        db.execute(
            "INSERT OR REPLACE INTO board (process, at_ms, text) VALUES (?, ?, ?)",
            (notice.process, now_ms, notice.text),
        )
    return told


def board(db: sqlite3.Connection, now_ms: int) -> tuple[c.Posted, ...]:
    """Every notice that is still told, the newest first."""
    lines = (_read(*row[1:]) for row in db.execute(_LINES))
    return others([line for line in lines if line is not None], "", now_ms)


def _read(process: Any, at_ms: Any, text: Any) -> c.Posted | None:
    """One row; `None` if it is no notice: others may write anything, and no command may fail on it."""
    try:
        line = c.Posted(str(process, "utf-8"), at_ms, str(text, "utf-8"))
    except (TypeError, UnicodeDecodeError):
        return None
    return line if type(at_ms) is int and len(line.text) <= NOTICE_CHARS else None
