"""The archive in a private PostgreSQL, where its programs are installed; only in the deep profile."""

from __future__ import annotations

import threading

import pytest

from governor.journal.archive import open_archive
from governor.ledger import commands as c

pytestmark = pytest.mark.deep
ENTRIES = [
    c.JournalEntry(f"17952624300{n:02}-{n}", "freeze", f"f{n}", n, "b", "0 é", "{}") for n in range(60)
]


@pytest.fixture
def postgres(postgres_server) -> str:
    """The URL of a new database."""
    return postgres_server.database()


def test_archivers_at_once_leave_each_record_once_and_in_order(postgres, org):
    """Four of them, with overlapping batches, into a table that none of them finds."""

    def work() -> None:
        own = open_archive(postgres, org)
        barrier.wait()
        for size in range(5, 61, 5):
            own.append("e", ENTRIES[:size])
        own.close()

    barrier = threading.Barrier(4)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    archive = open_archive(postgres, org)
    assert [one.entry for one in archive.read()] == ENTRIES
    assert (archive.last().seq, archive.count()) == (ENTRIES[-1].seq, 60)
    newest_first = [entry.seq for entry in reversed(ENTRIES[9:])]
    assert [link.seq for link in archive.back_to("e", ENTRIES[9].seq)] == newest_first
    archive.close()
