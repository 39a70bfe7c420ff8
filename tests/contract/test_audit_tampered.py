"""An archive that somebody touched: wherever it was, it is found, and the right record is named."""

from __future__ import annotations

import os
import random
import shutil
from typing import TYPE_CHECKING

import pytest
from support import tampering

from governor.journal.archive import open_archive
from governor.journal.audit.verify import verify

if TYPE_CHECKING:
    from pathlib import Path

    from governor.journal.audit.faults import Fault, Found, Head

DEEP = os.environ.get("GOVERNOR_TEST_PROFILE") == "deep"
EDITS = 1000 if DEEP else 60
PARTS = 10
"""So many tests share them, each with seeds of its own."""


def look(where: str, noted: tuple[Head, ...] = ()) -> Found:
    """Verify an archive."""
    archive = open_archive(where, tampering.ORGANIZATION)
    try:
        return verify(archive, tampering.ORGANIZATION, noted, lambda *_: None)
    finally:
        archive.close()


def names(fault: Fault, epoch: str, seq: str) -> bool:
    """Whether a fault names a record, a chain's head, a line, or the row of an id."""
    if epoch == "line":
        return fault.seq == f"line {seq}" or f"(line {seq})" in fault.text
    if not epoch:
        return fault.kind in ("call", "result") and fault.id.partition(" ")[0] == seq
    return fault.epoch == epoch and seq in (fault.seq, "")


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> Path:
    """An archive in SQLite as it was written."""
    path = tmp_path_factory.mktemp("audit") / "archive.db"
    tampering.make(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    """The same in JSON lines."""
    path = tmp_path_factory.mktemp("audit") / "journal.jsonl"
    tampering.make(str(path))
    return path


def test_untouched_archives_are_as_they_were_written(database, file):
    """Two lives, outcomes, findings, both kinds of archive: nothing amiss, and one head for both kinds."""
    kept, lines = look(f"sqlite:///{database}"), look(str(file))
    assert kept.faults == lines.faults == []
    assert kept.heads == lines.heads
    assert [head.epoch for head in kept.heads] == ["first", "second"]
    assert kept.records == lines.records == sum(len(entries) for _, entries in tampering.lives())
    assert kept.calls == 50
    assert kept.results == 7  # the second life tells them again
    assert look(f"sqlite:///{database}", tuple(kept.heads)).amiss == 0


@pytest.mark.parametrize("part", range(PARTS))
def test_every_edit_of_a_database_is_caught_and_named(database, tmp_path, part):
    """Any column of any row of four tables, rows gone, put in, swapped, cut off at the end."""
    for seed in range(part, EDITS, PARTS):
        path = tmp_path / "archive.db"
        shutil.copy(database, path)
        edit = tampering.touch_database(path, random.Random(seed))
        found = look(f"sqlite:///{path}")
        told = [(fault.kind, fault.where, fault.text) for fault in found.faults]
        for epoch, seq in edit.touched:
            assert any(names(fault, epoch, seq) for fault in found.faults), (seed, edit, told)


@pytest.mark.parametrize("part", range(PARTS))
def test_every_edit_of_a_file_is_caught_and_named(file, tmp_path, part):
    """Any byte, members rewritten, lines gone, twice, swapped, forged, without their hash, cut off."""
    heads = tuple(look(str(file)).heads)
    for seed in range(part, EDITS, PARTS):
        path = tmp_path / "journal.jsonl"
        shutil.copy(file, path)
        edit = tampering.touch_file(path, random.Random(seed))
        found = look(str(path), heads)
        told = [(fault.kind, fault.where, fault.text) for fault in found.faults]
        assert any(names(fault, *one) for one in edit.touched for fault in found.faults), (seed, edit, told)
