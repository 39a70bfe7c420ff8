"""The policies that were pushed, on SQLite. Their table is made by the first push, in older files too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.errors import ReservationConflict
from governor.ledger import policies as p
from governor.ledger.sqlite_holds import write_journal

if TYPE_CHECKING:
    import sqlite3

    from governor.ledger.sqlite_holds import Verb
    from governor.ledger.values import Command

_TABLE = """
CREATE TABLE IF NOT EXISTS policy (
    version INTEGER PRIMARY KEY,
    id      TEXT    NOT NULL UNIQUE,
    payload TEXT    NOT NULL,
    at_ms   INTEGER NOT NULL,
    what    TEXT    NOT NULL,
    hash    TEXT    NOT NULL,
    of      INTEGER NOT NULL,
    record  TEXT    NOT NULL,
    files   TEXT
)
"""
_ABOUT = "SELECT version, id, at_ms, what, hash, of, record FROM policy"


def push(db: sqlite3.Connection, command: p.PushPolicies, now_ms: int) -> p.PolicyVersion | p.Overtaken:
    """Make a new version; see `PushPolicies`."""
    db.execute(_TABLE)
    known = db.execute("SELECT version, payload FROM policy WHERE id = ?", (command.id,)).fetchone()
    if known is not None and known[1] != command.payload():
        raise ReservationConflict(f"operation id {command.id!r} was used before with another payload")
    if known is not None:
        return _version(db, known[0])
    (newest,) = db.execute("SELECT coalesce(max(version), 0) FROM policy").fetchone()
    if newest != command.base:
        return p.Overtaken(_version(db, newest) if newest else None)
    made = p.PolicyVersion(
        newest + 1, command.id, now_ms, command.what, command.hash, command.of, command.record
    )
    db.execute(
        "INSERT INTO policy VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            made.version,
            made.id,
            command.payload(),
            now_ms,
            made.what,
            made.hash,
            made.of,
            made.record,
            command.text(),
        ),
    )
    db.execute("UPDATE policy SET files = NULL WHERE version = ?", (made.version - p.KEPT_TEXTS,))
    said = f"version={made.version} {command.detail()}"
    write_journal(db, "policy", command.id, now_ms, command.what, said, command.record)
    return made


def read_head(db: sqlite3.Connection, _: p.ReadPolicyHead, __: int) -> p.PolicyHead | None:
    """The newest version; see `ReadPolicyHead`."""
    if not _has_table(db):
        return None
    row = db.execute("SELECT version, id FROM policy ORDER BY version DESC LIMIT 1").fetchone()
    return p.PolicyHead(*row) if row else None


def read(db: sqlite3.Connection, command: p.ReadPolicies, now_ms: int) -> p.PushedPolicies | None:
    """One version; see `ReadPolicies`."""
    head = read_head(db, p.ReadPolicyHead(), now_ms)
    if head is None:
        return None
    version = head.version if command.version is None else command.version
    row = db.execute("SELECT files FROM policy WHERE version = ?", (version,)).fetchone()
    return p.PushedPolicies(_version(db, version), p.read_files(row[0])) if row else None


def list_versions(
    db: sqlite3.Connection, command: p.ListPolicyVersions, _: int
) -> tuple[p.PolicyVersion, ...]:
    """The newest versions; see `ListPolicyVersions`."""
    if not _has_table(db):
        return ()
    rows = db.execute(f"{_ABOUT} ORDER BY version DESC LIMIT ?", (command.limit,))
    return tuple(p.PolicyVersion(*row) for row in rows.fetchall())


def _has_table(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = 'policy'").fetchone() is not None


def _version(db: sqlite3.Connection, version: int) -> p.PolicyVersion:
    return p.PolicyVersion(*db.execute(f"{_ABOUT} WHERE version = ?", (version,)).fetchone())


VERBS: dict[type[Command[Any]], Verb] = {
    p.PushPolicies: push,
    p.ReadPolicyHead: read_head,
    p.ReadPolicies: read,
    p.ListPolicyVersions: list_versions,
}
