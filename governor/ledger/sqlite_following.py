"""Archives that follow, on SQLite; see `governor.ledger.following`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.errors import LedgerUnavailable
from governor.ledger import following as f

if TYPE_CHECKING:
    import sqlite3

    from governor.ledger import commands as c
    from governor.ledger.sqlite_holds import Verb


def follow(db: sqlite3.Connection, command: f.Follow, _: int) -> None:
    """Note where an archive is; see `Follow`."""
    (epoch,) = db.execute("SELECT value FROM meta WHERE name = 'epoch'").fetchone()
    if epoch != command.epoch:
        raise LedgerUnavailable(
            f"the ledger has epoch {epoch}, its archive follows {command.epoch}: it was made anew meanwhile"
        )
    seq = int(command.last.seq) if command.last is not None else 0
    db.execute("INSERT OR REPLACE INTO follower VALUES (?, ?)", (command.name, seq))


def unfollow(db: sqlite3.Connection, command: f.Unfollow, _: int) -> bool:
    """Forget an archive; see `Unfollow`."""
    return db.execute("DELETE FROM follower WHERE name = ?", (command.name,)).rowcount > 0


def followers(db: sqlite3.Connection, _: f.ListFollowers, __: int) -> tuple[f.Follower, ...]:
    """Who follows; see `ListFollowers`."""
    rows = db.execute(
        "SELECT name, seq, (SELECT count(*) FROM journal j WHERE j.seq > f.seq),"
        " (SELECT at_ms FROM journal j WHERE j.seq > f.seq ORDER BY j.seq LIMIT 1)"
        " FROM follower f ORDER BY name"
    ).fetchall()
    return tuple(f.Follower(name, str(seq) if seq else None, lag, oldest) for name, seq, lag, oldest in rows)


def await_records(db: sqlite3.Connection, command: f.AwaitRecords, _: int) -> bool:
    """Whether there is more, at once; see `AwaitRecords`."""
    more = "SELECT 1 FROM journal WHERE seq > ? LIMIT 1"
    return db.execute(more, (int(command.after or 0),)).fetchone() is not None


VERBS: dict[type[c.Command[Any]], Verb] = {
    f.Follow: follow,
    f.Unfollow: unfollow,
    f.ListFollowers: followers,
    f.AwaitRecords: await_records,
}
