"""Records that say what no column takes: kept whole, and no record behind them has to wait."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from support import tampering

from governor.journal.archive_sql import SqlArchive
from governor.journal.audit.export import export
from governor.journal.audit.verify import verify
from governor.journal.projection import read_calls
from governor.ledger import commands as c

ODD_CALL = {
    "asked": ["not a text"],
    "stop_reason": "end\0turn",
    "api_request_id": 7,
    "error": "x" * 5000,
    "status": 10**25,
    "latency_ms": "fast",
    "leg": 2**40,
    "window": -(10**30),
    "limit_bp": 1.5,
    "findings": {"classification": "a\0b", "pii": ["\0"]},
}
ODD_RESULT = {"value": "1" * 100, "unit": "u" * 100, "run": ["r"], "call": "\0", "user": "z" * 999}


@pytest.fixture(params=["sqlite", "postgres"])
def archive(request, tmp_path):
    """An archive that is not there yet."""
    where = f"sqlite:///{tmp_path}/archive.db"
    if request.param == "postgres":
        where = request.getfixturevalue("postgres_server").database()
    opened = SqlArchive(where, tampering.ORGANIZATION)
    yield opened
    opened.close()


def odd(entry: c.JournalEntry) -> c.JournalEntry:
    """The same record, saying nonsense."""
    if entry.kind == "outcome":
        return replace(entry, outcome="won " * 100, record=json.dumps(json.loads(entry.record) | ODD_RESULT))
    if not entry.record.startswith("{"):
        return entry
    return replace(entry, record=json.dumps(json.loads(entry.record) | ODD_CALL, separators=(",", ":")))


def test_a_record_that_says_nonsense_is_kept_whole_and_holds_nothing_up(archive):
    """NUL, numbers beyond 64 bits, wrong types, endless texts; in small batches: rows are read back."""
    plain = tampering.lives()[0][1]
    entries = [odd(one) if n % 2 else one for n, one in enumerate(plain)]
    for at in range(0, len(entries), 7):
        archive.append("e", entries[at : at + 7], entries[at - 1].seq if at else None)
    assert [one.entry for one in archive.read()] == entries
    found = verify(archive, tampering.ORGANIZATION, (), lambda *_: None)
    assert (found.faults, found.calls, found.results) == ([], 25, 7)
    with archive.reading() as connection:
        calls = list(read_calls(connection, tampering.ORGANIZATION))
    assert sum(one.cost_nanos for one in calls) > 0
    assert "end\ufffdturn" in {one.stop_reason for one in calls}
    assert all(one.status < 600 for one in calls)
    assert len(list(export(archive, [], lambda *_: None))) == 25


def test_a_long_name_of_an_outcome_does_not_stop_the_archive(archive):
    """`governor.outcome` takes 256 characters, the column half of them."""
    said = c.JournalEntry("1", "outcome", "o1", 5, "n" * 256, "", '{"v":1,"value":"1","unit":"usd"}')
    assert archive.append("e", [said]) == 1
    assert verify(archive, tampering.ORGANIZATION, (), lambda *_: None).faults == []
