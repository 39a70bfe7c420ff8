"""Entering records on SQLite; see `governor.ledger.entering`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.errors import ReservationConflict
from governor.ledger.entering import ENTERED_KEPT_MS, Enter
from governor.ledger.sqlite_holds import write_journal

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from governor.ledger import commands as c
    from governor.ledger.entering import Entered
    from governor.ledger.sqlite_holds import Verb


def enter(db: sqlite3.Connection, command: Enter, now_ms: int) -> bool:
    """Write a record, once by its id; see `Enter`."""
    db.execute("DELETE FROM entered WHERE at_ms <= ?", (now_ms - ENTERED_KEPT_MS,))
    known = db.execute("SELECT payload FROM entered WHERE id = ?", (command.id,)).fetchone()
    if known is not None:
        if known[0] != command.payload():
            raise ReservationConflict(f"the id {command.id!r} was used before for another {command.kind}")
        return False
    db.execute("INSERT INTO entered VALUES (?, ?, ?)", (command.id, command.payload(), now_ms))
    write_journal(db, command.kind, command.id, now_ms, command.outcome, "", command.record)
    return True


def restore_entered(db: sqlite3.Connection, known: Iterable[Entered]) -> None:
    """Know these by their ids; see `Restore`."""
    rows = [(one.id, one.payload, one.at_ms) for one in known]
    db.executemany("INSERT OR REPLACE INTO entered VALUES (?, ?, ?)", rows)


VERBS: dict[type[c.Command[Any]], Verb] = {Enter: enter}
