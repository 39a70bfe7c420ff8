"""The verbs of administrators and readers on SQLite: grant, set, freeze, unfreeze, lists, journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.budgets import unit_of
from governor.errors import ReservationConflict
from governor.ledger import commands as c
from governor.ledger import detail, lifecycle
from governor.ledger.glance import Glance, Glanced
from governor.ledger.sqlite_board import board
from governor.ledger.sqlite_holds import load_rows, read_all, refs, write_journal

if TYPE_CHECKING:
    import sqlite3

    from governor.ledger.sqlite_holds import Verb


def grant(db: sqlite3.Connection, command: c.Grant, now_ms: int) -> c.Administered:
    """Add to a limit; see `Grant`."""
    if _is_new(db, command, now_ms):
        add(db, command, now_ms)
    if not command.window:
        return c.Administered(now_ms, command.amount)
    total = db.execute(
        "SELECT amount FROM granted WHERE identity = ? AND window = ?", (command.identity, command.window)
    ).fetchone()[0]
    return c.Administered(now_ms, total)


def add(db: sqlite3.Connection, command: c.Grant, now_ms: int) -> None:
    """Add what is granted to the limit, whether or not it was granted before."""
    if not command.window:
        _end_changes(db, command.identity, now_ms, alone=False)
        _change(db, command, added=True, amount=command.amount)
    else:
        db.execute(
            "INSERT INTO granted VALUES (?, ?, ?)"
            " ON CONFLICT DO UPDATE SET amount = amount + excluded.amount",
            (command.identity, command.window, command.amount),
        )


def set_limit(db: sqlite3.Connection, command: c.SetLimit, now_ms: int) -> c.Administered:
    """Override a limit, or end the override; see `SetLimit`."""
    if _is_new(db, command, now_ms):
        alone = command.limit is None or not (command.from_ms or command.until_ms)
        _end_changes(db, command.identity, now_ms, alone=alone)
        if command.limit is not None:
            _change(db, command, added=False, amount=command.limit)
    return c.Administered(now_ms)


def freeze(db: sqlite3.Connection, command: c.Freeze, now_ms: int) -> c.Administered:
    """Freeze a budget; see `Freeze`."""
    if _is_new(db, command, now_ms):
        db.execute(
            "INSERT OR REPLACE INTO freeze VALUES (?, ?, ?)",
            (command.identity, command.why, command.until_ms),
        )
    return c.Administered(now_ms)


def unfreeze(db: sqlite3.Connection, command: c.Unfreeze, now_ms: int) -> c.Administered:
    """End a freeze; see `Unfreeze`."""
    if _is_new(db, command, now_ms):
        db.execute("DELETE FROM freeze WHERE identity = ?", (command.identity,))
    return c.Administered(now_ms)


def read_changes(db: sqlite3.Connection, command: c.ReadChanges, now_ms: int) -> c.Changes:
    """What was changed of a limit; see `ReadChanges`."""
    granted = db.execute(
        "SELECT amount FROM granted WHERE identity = ? AND window = ?", (command.identity, command.window)
    ).fetchone()
    rows = db.execute(
        "SELECT added, amount, from_ms, until_ms FROM limit_change"
        " WHERE identity = ? AND (until_ms = 0 OR ? < until_ms) ORDER BY seq",
        (command.identity, now_ms),
    ).fetchall()
    limits = tuple(c.LimitChange(bool(added), *rest) for added, *rest in rows)
    freeze = db.execute(
        "SELECT until_ms FROM freeze WHERE identity = ? AND (until_ms = 0 OR ? < until_ms)",
        (command.identity, now_ms),
    ).fetchone()
    return c.Changes(granted[0] if granted else 0, limits, now_ms, freeze[0] if freeze else None)


def find_grant(db: sqlite3.Connection, command: c.FindGrant, _: int) -> c.Grant | None:
    """One grant; see `FindGrant`."""
    known = db.execute("SELECT payload FROM operation WHERE id = ?", (command.id,)).fetchone()
    return detail.read_grant(command.id, known and known[0])


def list_changed(db: sqlite3.Connection, _: c.ListChanged, now_ms: int) -> tuple[tuple[str, str], ...]:
    """Every changed budget; see `ListChanged`."""
    rows = db.execute(
        "SELECT identity, '' FROM limit_change WHERE until_ms = 0 OR ?1 < until_ms"
        " UNION SELECT identity, '' FROM freeze WHERE until_ms = 0 OR ?1 < until_ms"
        " UNION SELECT identity, window FROM granted WHERE amount <> 0 ORDER BY 1, 2",
        (now_ms,),
    )
    return tuple(rows.fetchall())


def list_balances(db: sqlite3.Connection, command: c.ListBalances, now_ms: int) -> tuple[c.KnownBalance, ...]:
    """Every known balance; see `ListBalances`."""
    rows = db.execute(
        "SELECT identity, window, end_ms, file_limit, bucket_ms FROM balance"
        " WHERE instr(identity, ?) AND (? OR end_ms = 0 OR end_ms > ?) ORDER BY identity, window",
        (command.contains, command.past, now_ms),
    ).fetchall()
    kept = [c.BudgetRow(i, w, 0, end, unit_of(i), limit, bucket_ms=b) for i, w, end, limit, b in rows]
    return tuple(
        c.KnownBalance(row.identity, row.window, row.end_ms, balance)
        for row, balance in zip(kept, read_all(db, kept, now_ms), strict=True)
    )


def list_holds(db: sqlite3.Connection, command: c.ListHolds, _: int) -> tuple[c.OpenHold, ...]:
    """Every open hold; see `ListHolds`."""
    rows = db.execute(
        "SELECT id, expires_ms, rows FROM hold WHERE state = 'open' AND substr(id, 1, ?) = ?"
        " ORDER BY expires_ms, id",
        (len(command.prefix), command.prefix),
    )
    return tuple(
        c.OpenHold(identifier, expires_ms, refs(text)) for identifier, expires_ms, text in rows.fetchall()
    )


def glance(db: sqlite3.Connection, command: Glance, now_ms: int) -> Glanced:
    """What is under way; see `Glance`."""
    (count,) = db.execute("SELECT count(*) FROM hold WHERE state = 'open'").fetchone()
    rows = db.execute(
        "SELECT id, expires_ms, rows FROM hold WHERE state = 'open' ORDER BY expires_ms, id LIMIT ?",
        (command.limit,),
    ).fetchall()
    holds = tuple(c.OpenHold(name, expires_ms, refs(text)) for name, expires_ms, text in rows)
    return Glanced(count, holds, board(db, now_ms), now_ms)


def find_holds(db: sqlite3.Connection, command: c.FindHolds, _: int) -> tuple[c.FoundHold | None, ...]:
    """Holds by their ids; see `FindHolds`."""
    return tuple(_found(db, identifier) for identifier in command.ids)


def _found(db: sqlite3.Connection, identifier: str) -> c.FoundHold | None:
    row = db.execute(
        "SELECT state, candidate, rows, payload FROM hold WHERE id = ?", (identifier,)
    ).fetchone()
    if row is None:
        return None
    state, candidate, rows_text, payload = row
    kept = () if state in lifecycle.ENDED else load_rows(rows_text)
    rows = tuple((one.budget, one.amount) for one in kept)
    return c.FoundHold(identifier, state, candidate, rows, c.note_of(payload))


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
    c.ReadChanges: read_changes,
    c.FindGrant: find_grant,
    c.ListChanged: list_changed,
    c.ListBalances: list_balances,
    c.ListHolds: list_holds,
    c.FindHolds: find_holds,
    Glance: glance,
    c.ReadJournal: read_journal,
}


def _change(db: sqlite3.Connection, command: c.Grant | c.SetLimit, *, added: bool, amount: int) -> None:
    db.execute(
        "INSERT INTO limit_change (identity, added, amount, from_ms, until_ms) VALUES (?, ?, ?, ?, ?)",
        (command.identity, added, amount, command.from_ms, command.until_ms),
    )


def _end_changes(db: sqlite3.Connection, identity: str, now_ms: int, *, alone: bool) -> None:
    """Changes of a limit that are over go; and with *alone* every limit that was set."""
    db.execute(
        "DELETE FROM limit_change"
        " WHERE identity = ?1 AND ((?2 AND NOT added) OR (until_ms > 0 AND until_ms <= ?3))",
        (identity, alone, now_ms),
    )


def _is_new(db: sqlite3.Connection, command: c.Change, now_ms: int) -> bool:
    """Whether a change has not been carried out yet, and its record."""
    new = is_new(db, command.id, detail.operation(command))
    if new:
        kind, said = detail.VERBS[type(command)], detail.write_change(command)
        write_journal(db, kind, command.id, now_ms, command.identity, said, command.record)
    return new


def is_new(db: sqlite3.Connection, identifier: str, payload: str) -> bool:
    """Whether an administrator's operation has not been carried out yet; from now on it counts as such.

    Raises:
        ReservationConflict: Its id came with another payload.
    """
    known = db.execute("SELECT payload FROM operation WHERE id = ?", (identifier,)).fetchone()
    if known is None:
        db.execute("INSERT INTO operation VALUES (?, ?)", (identifier, payload))
        return True
    if known[0] != payload:
        raise ReservationConflict(f"operation id {identifier!r} was used before with another payload")
    return False
