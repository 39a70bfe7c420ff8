"""Journals for tests of the archive: many calls from a few real ones, and what is expected of them."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from governor.journal.archive import Archived
from governor.journal.chain import link, split
from governor.journal.fold import Fold
from governor.journal.projection import read_calls, to_row
from governor.journal.tables import heads
from governor.journal.tables import journal as table
from governor.ledger import commands as c
from governor.ledger.keys import Keys
from governor.ledger.recovery import ReadSince

if TYPE_CHECKING:
    from collections.abc import Iterator

    from redis import Redis

    from governor.journal.archive_sql import SqlArchive
    from governor.ledger import Ledger

ROOT = Path(__file__).parents[2]
_FIELDS = ("kind", "id", "at_ms", "outcome", "detail", "record")


@cache
def sample(calls: int = 40) -> tuple[c.JournalEntry, ...]:
    """The records of a few calls under the shipped policies, as a ledger writes them."""
    from benchmarks.journals import Firm, shipped_crowd
    from governor.policy import load
    from governor.pricing import PriceTable

    firm = Firm(load(ROOT / "policies"), PriceTable.load(None), shipped_crowd(5))
    rows = [json.loads(line) for line in firm.lines(calls)][1:]
    return tuple(c.JournalEntry(row["seq"], *(row[name] for name in _FIELDS)) for row in rows)


def many(records: int) -> Iterator[c.JournalEntry]:
    """So many records: the sample again and again, each time of other calls."""
    turn, count = 0, 0
    while True:
        for one in sample():
            if count == records:
                return
            count += 1
            yield c.JournalEntry(
                str(count),
                one.kind,
                f"{one.id}.{turn}",
                one.at_ms + turn,
                one.outcome,
                one.detail,
                one.record,
            )
        turn += 1


def write_redis(client: Redis, organization: str, entries: Iterator[c.JournalEntry]) -> int:
    """Append records to a ledger's stream as its scripts do; how many."""
    key, count = Keys(organization).journal, 0
    pipe = client.pipeline(transaction=False)
    for count, one in enumerate(entries, 1):
        told = (one.kind, one.id, one.at_ms, one.outcome, one.detail, one.record)
        names = ("kind", "id", "at", "outcome", "detail", "record")
        pipe.xadd(key, dict(zip(names, told, strict=True)))
        if count % 1000 == 0:
            pipe.execute()
    pipe.execute()
    return count


def journal_of(ledger: Ledger) -> list[Archived]:
    """What a ledger keeps, in an archive's form."""
    found: list[Archived] = []
    after = None
    while (page := ledger.execute(ReadSince(after, 10_000))).entries:
        for entry in page.entries:
            found.append(Archived(page.epoch, entry, after))
            after = entry.seq
    return found


def assert_archived(archive: SqlArchive, expected: list[Archived]) -> None:
    """The archive has exactly these: in order, as they were, chained, and told of as a fold of them tells."""
    assert archive.count() == len(expected)
    assert all(one == other for one, other in zip(archive.read(), expected, strict=True))
    fold = Fold()
    fold.take(one.entry for one in expected)
    told = {(one["id"], one["turn"]): one for one in (to_row("", call) for call in fold.rows())}
    with archive.engine.connect() as connection:
        kept = [to_row("", call) for call in read_calls(connection, archive.organization)]
        assert {(one["id"], one["turn"]): one for one in kept} == told
        before = ""
        mine = table.select().where(table.c.organization == archive.organization)
        rows = connection.execute(mine.order_by(table.c.epoch, table.c.place, table.c.place_minor))
        for row, one in zip(rows, expected, strict=True):
            parts = split(one.entry.record)
            entry = replace(one.entry, record=parts.record)
            before = link(before, archive.organization, one.epoch, entry, one.after, parts.findings_hash)
            assert row.hash == before
        head = connection.execute(heads.select().where(heads.c.organization == archive.organization)).one()
        assert (head.seq, head.hash, head.records) == (expected[-1].entry.seq, before, len(expected))
