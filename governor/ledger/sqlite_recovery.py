"""The verbs of the journal's archive and of a rebuild on SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.errors import LedgerUnavailable
from governor.ledger import commands as c
from governor.ledger import lifecycle
from governor.ledger import recovery as r
from governor.ledger.orders import rebuilt_version
from governor.ledger.sqlite_entering import restore_entered
from governor.ledger.sqlite_holds import Row, dump_rows, write_journal
from governor.ledger.sqlite_orders import restore_orders
from governor.ledger.sqlite_requests import restore_requests

if TYPE_CHECKING:
    import sqlite3

    from governor.ledger.sqlite_holds import Verb

_BEYOND = 2**62
_COLUMNS = "seq, kind, id, at_ms, outcome, detail, record"


def refuse_unfinished(db: sqlite3.Connection, command: c.Command[Any]) -> None:
    """Let nothing but the rebuild itself work on a store that is being rebuilt.

    Raises:
        LedgerUnavailable: It is being rebuilt, and *command* is no part of that.
    """
    unfinished = db.execute("SELECT 1 FROM meta WHERE name = 'rebuilding'").fetchone()
    if unfinished and not isinstance(command, r.BeginRestore | r.Restore | r.FinishRestore):
        raise LedgerUnavailable(
            "the ledger is being rebuilt: wait until `governor ledger rebuild` has ended, or run it again"
        )


def read_since(db: sqlite3.Connection, command: r.ReadSince, _: int) -> r.Page:
    """The journal in order; see `ReadSince`."""
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM journal WHERE seq >= ? ORDER BY seq LIMIT ?",  # noqa: S608 - constant names
        (int(command.after or 0), command.limit + 1),
    ).fetchall()
    return command.page(_epoch(db), tuple(_entry(row) for row in rows))


def measure(db: sqlite3.Connection, command: r.MeasureJournal, _: int) -> r.JournalSize:
    """How much there is; see `MeasureJournal`."""
    count, first, last = db.execute("SELECT count(*), min(seq), max(seq) FROM journal").fetchone()
    return r.JournalSize(_epoch(db), count, _find(db, first), _find(db, last), _known(db, command.at))


def trim(db: sqlite3.Connection, command: r.TrimJournal, _: int) -> int:
    """Remove the oldest records; see `TrimJournal`."""
    epoch = _epoch(db)
    if epoch != command.epoch:
        raise LedgerUnavailable(
            f"the ledger has epoch {epoch}, its archive's is {command.epoch}: it was made anew meanwhile, "
            "and nothing was trimmed; archive it again"
        )
    known = _known(db, command.last.seq)
    if known is not None and r.Mark.of(known) != command.last:
        raise LedgerUnavailable(
            f"the ledger has no record {command.last.seq} as its archive has it: it went back in time, and "
            "nothing was trimmed; archive it to a new place"
        )
    return db.execute(
        "DELETE FROM journal WHERE seq IN (SELECT seq FROM journal WHERE seq <= ? ORDER BY seq LIMIT ?)",
        (min(int(command.up_to), int(command.last.seq) - 1, _kept_for_followers(db) - 1), command.limit),
    ).rowcount


def begin(db: sqlite3.Connection, command: r.BeginRestore, _: int) -> r.Begun:
    """Begin a rebuild, or go on with it; see `BeginRestore`."""
    meta = _meta(db)
    if meta.get("source") == command.source:
        return r.Begun("resumed" if "rebuilding" in meta else "done", meta["epoch"])
    if "rebuilding" in meta:
        raise LedgerUnavailable(
            "a rebuild from another archive, or another state of it, was begun in this file and not ended: "
            "end that one, or remove the file first"
        )
    if not _is_unused(db):
        raise LedgerUnavailable("the ledger is in use: a rebuild needs a new file, or an unused one")
    db.execute("DELETE FROM journal")
    facts = {"rebuilding": "1", "source": command.source, "epoch": command.epoch}
    db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(facts.items()))
    return r.Begun("begun", command.epoch)


def restore(db: sqlite3.Connection, command: r.Restore, now_ms: int) -> None:
    """Put back what the archive has; see `Restore`."""
    _require(db, command.source, rebuilding=True)
    db.executemany(
        "INSERT OR REPLACE INTO balance (identity, window, end_ms, file_limit, posted, crossed, bucket_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            (b.identity, b.window, b.end_ms, b.limit, b.posted, ",".join(map(str, b.crossed)), b.bucket_ms)
            for b in command.balances
        ],
    )
    db.executemany(
        "INSERT OR REPLACE INTO bucket VALUES (?, ?, ?)",
        [(b.identity, slot, amount) for b in command.balances for slot, amount in b.buckets],
    )
    db.executemany(
        "INSERT OR REPLACE INTO hold"
        " (id, state, payload, close_payload, candidate, expires_ms, closed_ms, rows, closing)"
        " VALUES (?, ?, ?, ?, 0, 0, ?, ?, ?)",
        [
            (
                hold.id,
                hold.state,
                hold.payload,
                hold.closing,
                hold.closed_ms,
                dump_rows(Row(*row) for row in hold.rows),
                hold.detail,
            )
            for hold in command.holds
            if hold.closed_ms + lifecycle.remembered_ms(hold.state, hold.id) > now_ms
        ],
    )
    changes = command.changes
    for identity, made in changes.limits:
        db.execute("DELETE FROM limit_change WHERE identity = ?", (identity,))
        db.executemany(
            "INSERT INTO limit_change (identity, added, amount, from_ms, until_ms) VALUES (?, ?, ?, ?, ?)",
            [(identity, x.added, x.amount, x.from_ms, x.until_ms) for x in made],
        )
    db.executemany("INSERT OR REPLACE INTO granted VALUES (?, ?, ?)", changes.grants)
    db.executemany("INSERT OR REPLACE INTO freeze VALUES (?, ?, ?)", changes.freezes)
    db.executemany("INSERT OR REPLACE INTO operation VALUES (?, ?)", changes.operations)
    restore_requests(db, changes.requests)
    if changes.orders:
        restore_orders(db, changes.orders, rebuilt_version(command.source))
    restore_entered(db, command.entered)


def finish(db: sqlite3.Connection, command: r.FinishRestore, now_ms: int) -> None:
    """Make it a ledger; see `FinishRestore`."""
    _require(db, command.source, rebuilding=False)
    if "rebuilding" not in _meta(db):
        return
    db.execute("DELETE FROM meta WHERE name = 'rebuilding'")
    db.execute("UPDATE meta SET value = ? WHERE name = 'created_ms'", (str(now_ms),))
    epoch = _epoch(db)
    write_journal(db, "create", epoch, now_ms, "created", "", "{}")
    write_journal(db, "rebuild", epoch, now_ms, "rebuilt", command.detail, command.record)


VERBS: dict[type[c.Command[Any]], Verb] = {
    r.ReadSince: read_since,
    r.MeasureJournal: measure,
    r.TrimJournal: trim,
    r.BeginRestore: begin,
    r.Restore: restore,
    r.FinishRestore: finish,
}


def _is_unused(db: sqlite3.Connection) -> bool:
    """Whether nothing ever happened here but its creation."""
    for table in ("balance", "hold", "operation", "request", "entered"):
        if db.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone():  # noqa: S608 - constant names
            return False
    return db.execute("SELECT kind FROM journal LIMIT 2").fetchall() == [("create",)]


def _require(db: sqlite3.Connection, source: str, *, rebuilding: bool) -> None:
    meta = _meta(db)
    if meta.get("source") != source or (rebuilding and "rebuilding" not in meta):
        raise LedgerUnavailable(
            "the file is not being rebuilt from this archive any more: run `governor ledger rebuild` again"
        )


def _meta(db: sqlite3.Connection) -> dict[str, str]:
    return dict(db.execute("SELECT name, value FROM meta").fetchall())


def _epoch(db: sqlite3.Connection) -> str:
    return _meta(db)["epoch"]


def _kept_for_followers(db: sqlite3.Connection) -> int:
    """The last record that the archive has which lags most; without any, one beyond all."""
    (seq,) = db.execute("SELECT min(seq) FROM follower").fetchone()
    return _BEYOND if seq is None else int(seq)


def _find(db: sqlite3.Connection, seq: int | None) -> c.JournalEntry | None:
    row = db.execute(f"SELECT {_COLUMNS} FROM journal WHERE seq = ?", (seq,)).fetchone()  # noqa: S608 - constant names
    return row and _entry(row)


def _known(db: sqlite3.Connection, at: str | None) -> c.JournalEntry | None:
    """The newest record that is not after *at*."""
    (seq,) = db.execute("SELECT max(seq) FROM journal WHERE seq <= ?", (int(at or 0),)).fetchone()
    return _find(db, seq)


def _entry(row: tuple[Any, ...]) -> c.JournalEntry:
    return c.JournalEntry(str(row[0]), *row[1:])
