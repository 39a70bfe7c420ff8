"""An archive whose hashes have a key: nobody without it adds to them, by mistake or otherwise."""

from __future__ import annotations

import sqlite3

import pytest
from support import tampering

from governor.journal.archive import ArchiveKeyError
from governor.journal.archive_sql import SqlArchive
from governor.journal.audit.verify import verify

ENTRIES = tampering.lives()[0][1]


@pytest.fixture
def opened(tmp_path, monkeypatch):
    """Opens the same archive with a key, '' for none."""
    archives = []

    def at(key: str) -> SqlArchive:
        monkeypatch.setenv("GOVERNOR_AUDIT_KEY", key)
        archives.append(SqlArchive(f"sqlite:///{tmp_path}/archive.db", tampering.ORGANIZATION))
        return archives[-1]

    yield at
    for one in archives:
        one.close()


@pytest.mark.parametrize(("first", "then"), [("", "a key"), ("a key", ""), ("a key", "another")])
def test_hashes_of_another_key_are_never_added_to_a_chain(opened, first, then):
    """A key that came later, was forgotten, or is another: refused, and the archive still verifies."""
    opened(first).append("e", ENTRIES[:10])
    other = opened(then)
    with pytest.raises(ArchiveKeyError, match=r"GOVERNOR_AUDIT_KEY.*begun with.*new archive"):
        other.append("e", ENTRIES[10:], ENTRIES[9].seq)
    with pytest.raises(ArchiveKeyError):
        other.append("next life", ENTRIES)
    assert other.append("e", ENTRIES[:10]) == 0  # nothing new: nothing to refuse
    again = opened(first)
    assert again.append("e", ENTRIES[10:], ENTRIES[9].seq) == len(ENTRIES) - 10
    assert verify(again, tampering.ORGANIZATION, (), lambda *_: None).faults == []


def test_one_changed_record_does_not_stop_an_archive(opened, tmp_path):
    """It is the audit that names it; the records behind it are archived."""
    opened("a key").append("e", ENTRIES[:10])
    with sqlite3.connect(f"{tmp_path}/archive.db") as connection:
        connection.execute("UPDATE governor_journal SET at_ms = at_ms + 1 WHERE seq = ?", [ENTRIES[9].seq])
    kept = opened("a key")
    assert kept.append("e", ENTRIES[10:], ENTRIES[9].seq) == len(ENTRIES) - 10
    found = verify(kept, tampering.ORGANIZATION, (), lambda *_: None)
    assert ENTRIES[9].seq in {one.seq for one in found.faults}
