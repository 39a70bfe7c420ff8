"""The archive as a file of JSON lines: one object per record, each field as the ledger wrote it.

`after` is the place (`seq`) of the record before it in the ledger, so that a missing line is seen; `hash` is
its link of the chain (`governor.journal.chain`). Lines of an older release have none: their chain begins with
the first line after them.

A batch is appended under a lock of the file and synced. A last line that was cut off, because an archiver
died while it wrote, is removed before the next batch; its record is still in the ledger and comes again.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, TYPE_CHECKING

from pydantic import ValidationError

from governor.journal.archive import ArchiveError, DamagedArchiveError, audit_key, newer
from governor.journal.archive_rows import Row, fault
from governor.journal.chain import link, split
from governor.ledger.recovery import place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from governor.journal.archive import Archived, Position
    from governor.journal.archive_rows import Link
    from governor.ledger.commands import JournalEntry

BLOCK = 1 << 16
FIELDS = ("seq", "kind", "id", "at_ms", "outcome", "detail", "record")


class Line(Row):
    """A record as a line has it; `hash` is `None` of one that an older release wrote."""

    hash: str | None = None


class LinesArchive:
    """An archive in one file.

    Args:
        path: The file; made by the first append. Its folder must exist.
        organization: Whose journal; a file that begins with another one's is refused.
    """

    def __init__(self, path: Path, organization: str) -> None:
        self._path = path
        self._organization = organization
        self._key = audit_key()

    def append(self, epoch: str, entries: Sequence[JournalEntry], after: str | None = None) -> int:
        """See `Archive.append`."""
        with self._open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # let go with the file
            _cut_torn_line(file)
            last = next(self._back(file, epoch), None)
            new = newer(epoch, entries, after, None if last is None else last.position)
            file.seek(0, os.SEEK_END)
            fresh = file.tell() == 0
            file.write(b"".join(self._lines(new, "" if last is None else last.hash or "")))
            file.flush()
            os.fsync(file.fileno())
        if fresh:
            _sync_folder(self._path.parent)
        return len(new)

    def last(self, epoch: str | None = None) -> Position | None:
        """See `Archive.last`."""
        if not self._path.exists():
            return None
        with self._open("rb") as file:
            return self._last(file, epoch)

    def back_to(self, epoch: str, seq: str) -> Iterator[Link]:
        """See `Archive.back_to`."""
        end = place(seq)
        with self._open("rb") as file:
            for row in self._back(file, epoch):
                here = place(row.seq)
                if here >= end:
                    yield row
                if here <= end:
                    return

    def read(self) -> Iterator[Archived]:
        """See `Archive.read`."""
        with self._open("rb") as file:
            start = 0
            for line in file:
                if line.endswith(b"\n"):
                    yield self._parse(line, file, start).archived
                start += len(line)

    def read_lines(self) -> Iterator[tuple[int, bytes, Line | None]]:
        """Every line with its number, as it is, and as it was read; `None`: it is no record of this journal.

        Raises:
            ArchiveError: The file cannot be read.
        """
        with self._open("rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    row = Line.model_validate_json(line) if line.endswith(b"\n") else None
                except ValidationError:
                    row = None
                if row is not None and row.organization != self._organization:
                    row = None
                yield number, line, row

    def count(self) -> int:
        """As many as there would be if all were as long as the first thousand."""
        if not self._path.exists():
            return 0
        with self._open("rb") as file:
            sample = [len(line) for line, _ in zip(file, range(1000), strict=False)]
        return self._path.stat().st_size * len(sample) // sum(sample) if sample else 0

    def close(self) -> None:
        """Nothing stays open."""

    @contextmanager
    def _open(self, mode: str) -> Iterator[IO[bytes]]:
        try:
            with self._path.open(mode) as file:
                yield file
        except OSError as error:
            raise ArchiveError(
                f"the archive {self._path} cannot be used: {error.strerror}; check the path, its folder, its "
                "permissions and the disk"
            ) from error

    def _last(self, file: IO[bytes], epoch: str | None) -> Position | None:
        row = next(self._back(file, epoch), None)
        return None if row is None else row.position

    def _back(self, file: IO[bytes], epoch: str | None) -> Iterator[Line]:
        """The records, of *epoch* where that is given, the newest first."""
        for start, line in _backwards(file):
            row = self._parse(line, file, start)
            if epoch in (None, row.epoch):
                yield row

    def _lines(self, new: list[Archived], before: str) -> Iterator[bytes]:
        """New lines, each with its hash; *before* is that of the line before them."""
        for one in new:
            parts = split(one.entry.record)
            bare = replace(one.entry, record=parts.record)
            before = link(
                before, self._organization, one.epoch, bare, one.after, parts.findings_hash, self._key
            )
            yield write_line(self._organization, one, before)

    def _parse(self, line: bytes, file: IO[bytes], start: int) -> Line:
        """The record of the line that begins at byte *start*."""
        try:
            row = Line.model_validate_json(line)
        except ValidationError as error:
            raise DamagedArchiveError(
                f"{self._path}: line {_number(file, start)} is no record of a journal ({fault(error)}): use "
                "another file, or repair it"
            ) from None
        if row.organization != self._organization:
            raise ArchiveError(
                f"{self._path} is the archive of organization {row.organization!r}, the policies are "
                f"{self._organization!r}'s: use another file"
            )
        return row


def write_line(organization: str, one: Archived, digest: str | None) -> bytes:
    """A record's line, to the byte."""
    row = {"organization": organization, "epoch": one.epoch, "after": one.after}
    row |= {name: getattr(one.entry, name) for name in FIELDS}
    row |= {} if digest is None else {"hash": digest}
    return json.dumps(row, separators=(",", ":")).encode() + b"\n"


def _number(file: IO[bytes], start: int) -> int:
    """Which line it is that begins at byte *start*, from 1 on."""
    file.seek(0)
    number = 1
    while left := start - file.tell():
        number += file.read(min(BLOCK, left)).count(b"\n")
    return number


def _cut_torn_line(file: IO[bytes]) -> None:
    """Cut the file back to its last line's end."""
    end = file.seek(0, os.SEEK_END)
    at, found = end, -1
    while at and found < 0:
        at = max(0, at - BLOCK)
        file.seek(at)
        found = file.read(min(BLOCK, end - at)).rfind(b"\n")
    kept = at + found + 1
    if kept < end:
        file.truncate(kept)


def _backwards(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """The file's whole lines and where each begins, the last one first."""
    at = file.seek(0, os.SEEK_END)
    rest, torn = b"", True
    while at:
        size = min(BLOCK, at)
        at -= size
        file.seek(at)
        block = file.read(size) + rest
        start = at + len(block) + 1
        rest, *lines = block.split(b"\n")
        for line in reversed(lines):
            start -= len(line) + 1
            if not torn:
                yield start, line
            torn = False  # what follows the last line's end is nothing, or a line that is torn
    if rest and not torn:
        yield 0, rest


def _sync_folder(folder: Path) -> None:
    """So that a power cut does not lose the name of a new file."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
