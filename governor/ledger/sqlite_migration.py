"""From the layout before to this one, on SQLite: one transaction."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

OLDEST = 1

_STEPS = (
    "ALTER TABLE balance ADD COLUMN bucket_ms INTEGER NOT NULL DEFAULT 0",
    (
        "INSERT INTO limit_change (identity, added, amount, from_ms, until_ms)"
        " SELECT identity, 0, amount, 0, until_ms FROM limit_override"
    ),
    "DROP TABLE limit_override",
)


def migrate(db: sqlite3.Connection, tables: str, schema: int) -> None:
    """Bring an open transaction's file of layout 1 to *schema*.

    Args:
        db: The file, inside a transaction.
        tables: The statements that make this release's tables where they are missing.
        schema: This release's layout.
    """
    for statement in tables.split(";"):
        db.execute(statement)
    for statement in _STEPS:
        db.execute(statement)
    for identifier, rows in db.execute("SELECT id, rows FROM hold").fetchall():
        db.execute("UPDATE hold SET rows = ? WHERE id = ?", (_with_buckets(rows), identifier))
    db.execute("UPDATE meta SET value = ? WHERE name = 'schema'", (str(schema),))


def _with_buckets(rows: str) -> str:
    """The rows of a hold with the length of the buckets, and the bucket: no window rolled in layout 1."""
    return json.dumps([[*budget, 0, amount, charge, 0] for *budget, amount, charge in json.loads(rows)])
