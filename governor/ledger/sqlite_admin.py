"""The verbs of administrators and readers on SQLite: grant, set, freeze, unfreeze, lists, journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.errors import ReservationConflict
from governor.ledger import commands as c
from governor.ledger import detail
from governor.ledger.sqlite_holds import freeze_in_force, limit_in_force, refs, write_journal

if TYPE_CHECKING:
    import sqlite3

    from governor.ledger.sqlite_holds import Verb


def grant(db: sqlite3.Connection, command: c.Grant, now_ms: int) -> c.Administered:
    """Add to a limit; see `Grant`."""
    if _is_new(db, command.id, f"grant {command.identity} {command.window} {command.amount}"):
        db.execute(
            "INSERT INTO granted VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET amount = amount + excluded.amount",
            (command.identity, command.window, command.amount),
        )
        text = detail.write_grant(command.amount, command.window)
        write_journal(db, "grant", command.id, now_ms, command.identity, text, command.record)
    total = db.execute(
        "SELECT amount FROM granted WHERE identity = ? AND window = ?", (command.identity, command.window)
    ).fetchone()[0]
    return c.Administered(now_ms, total)


def set_limit(db: sqlite3.Connection, command: c.SetLimit, now_ms: int) -> c.Administered:
    """Override a limit, or end the override; see `SetLimit`."""
    limit = "" if command.limit is None else str(command.limit)
    if _is_new(db, command.id, f"set {command.identity} {limit} {command.until_ms}"):
        db.execute("DELETE FROM limit_override WHERE identity = ?", (command.identity,))
        if command.limit is not None:
            db.execute(
                "INSERT INTO limit_override VALUES (?, ?, ?)",
                (command.identity, command.limit, command.until_ms),
            )
        text = detail.write_limit(command.limit, command.until_ms)
        write_journal(db, "set", command.id, now_ms, command.identity, text, command.record)
    return c.Administered(now_ms)


def freeze(db: sqlite3.Connection, command: c.Freeze, now_ms: int) -> c.Administered:
    """Freeze a budget; see `Freeze`."""
    if _is_new(db, command.id, f"freeze {command.identity} {command.why} {command.until_ms}"):
        db.execute(
            "INSERT OR REPLACE INTO freeze VALUES (?, ?, ?)",
            (command.identity, command.why, command.until_ms),
        )
        text = detail.write_freeze(command.why, command.until_ms)
        write_journal(db, "freeze", command.id, now_ms, command.identity, text, command.record)
    return c.Administered(now_ms)


def unfreeze(db: sqlite3.Connection, command: c.Unfreeze, now_ms: int) -> c.Administered:
    """End a freeze; see `Unfreeze`."""
    if _is_new(db, command.id, f"unfreeze {command.identity}"):
        db.execute("DELETE FROM freeze WHERE identity = ?", (command.identity,))
        write_journal(db, "unfreeze", command.id, now_ms, command.identity, "", command.record)
    return c.Administered(now_ms)


def list_balances(db: sqlite3.Connection, command: c.ListBalances, now_ms: int) -> tuple[c.KnownBalance, ...]:
    """Every known balance; see `ListBalances`."""
    rows = db.execute(
        "SELECT identity, window, end_ms, file_limit, posted, held FROM balance"
        " WHERE instr(identity, ?) AND (? OR end_ms = 0 OR end_ms > ?) ORDER BY identity, window",
        (command.contains, command.past, now_ms),
    ).fetchall()
    return tuple(
        c.KnownBalance(
            identity,
            window,
            end_ms,
            c.Balance(
                posted,
                held,
                limit_in_force(db, identity, window, file_limit, now_ms),
                freeze_in_force(db, identity, now_ms),
            ),
        )
        for identity, window, end_ms, file_limit, posted, held in rows
    )


def list_holds(db: sqlite3.Connection, _: c.ListHolds, __: int) -> tuple[c.OpenHold, ...]:
    """Every open hold; see `ListHolds`."""
    rows = db.execute("SELECT id, expires_ms, rows FROM hold WHERE state = 'open' ORDER BY expires_ms, id")
    return tuple(
        c.OpenHold(identifier, expires_ms, refs(text)) for identifier, expires_ms, text in rows.fetchall()
    )


def read_journal(db: sqlite3.Connection, command: c.ReadJournal, _: int) -> tuple[c.JournalEntry, ...]:
    """The newest records; see `ReadJournal`."""
    rows = db.execute(
        "SELECT seq, kind, id, at_ms, outcome, detail, record FROM journal"
        " WHERE ?1 IS NULL OR id = ?1 ORDER BY seq DESC LIMIT ?2",
        (command.id, command.limit),
    ).fetchall()
    return tuple(c.JournalEntry(str(seq), *fields) for seq, *fields in reversed(rows))


VERBS: dict[type[c.Command[Any]], Verb] = {
    c.Grant: grant,
    c.SetLimit: set_limit,
    c.Freeze: freeze,
    c.Unfreeze: unfreeze,
    c.ListBalances: list_balances,
    c.ListHolds: list_holds,
    c.ReadJournal: read_journal,
}


def _is_new(db: sqlite3.Connection, identifier: str, payload: str) -> bool:
    """Whether an operation has not been carried out yet; a changed payload is a conflict."""
    known = db.execute("SELECT payload FROM operation WHERE id = ?", (identifier,)).fetchone()
    if known is None:
        db.execute("INSERT INTO operation VALUES (?, ?)", (identifier, payload))
        return True
    if known[0] != payload:
        raise ReservationConflict(f"operation id {identifier!r} was used before with another payload")
    return False
