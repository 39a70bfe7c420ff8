"""The audit of an archive in a private PostgreSQL: as on SQLite; only in the deep profile."""

from __future__ import annotations

import random

import pytest
import sqlalchemy as sa
from support import tampering

from governor.journal.archive import open_archive
from governor.journal.audit.verify import verify
from governor.journal.tables import calls, heads, journal

pytestmark = pytest.mark.deep
EDITS = 60


def look(url):
    """Verify the archive."""
    archive = open_archive(url, tampering.ORGANIZATION)
    try:
        return verify(archive, tampering.ORGANIZATION, (), lambda *_: None)
    finally:
        archive.close()


def test_an_archive_in_postgres_is_verified_and_its_edits_are_named(postgres_server):
    """Untouched it is as it was written; records, calls and heads that are edited are named."""
    postgres = postgres_server.database()
    tampering.make(postgres)
    found = look(postgres)
    assert found.faults == []
    assert (found.calls, found.results) == (50, 7)
    archive = open_archive(postgres, tampering.ORGANIZATION)
    for seed in range(EDITS):
        draw = random.Random(seed)
        table = draw.choice((journal, calls, heads))
        column = draw.choice([one for one in table.c if isinstance(one.type, sa.Text | sa.BigInteger)])
        names = [one.name for one in table.primary_key]
        with archive.engine.begin() as connection:
            rows = connection.execute(sa.select(table).order_by(*table.primary_key)).all()
            row = draw.choice(rows)
            value = getattr(row, column.name)
            other = (value or 0) + 10**6 if isinstance(column.type, sa.BigInteger) else f"{value or ''}x"
            here = [table.c[name] == getattr(row, name) for name in names]
            connection.execute(sa.update(table).where(*here).values({column: other}))
        faults = look(postgres).faults
        named = {fault.id.partition(" ")[0] for fault in faults} | {fault.seq for fault in faults}
        named |= {fault.epoch for fault in faults}
        touched = {getattr(row, name) for name in ("seq", "id", "epoch") if hasattr(row, name)}
        assert named & touched, (seed, table.name, column.name, faults)
        with archive.engine.begin() as connection:
            there = [
                table.c[name] == (other if name == column.name else getattr(row, name)) for name in names
            ]
            connection.execute(sa.update(table).where(*there).values({column: value}))
    assert look(postgres).faults == []
    archive.close()
