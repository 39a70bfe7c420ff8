"""The archive as a file of JSON lines: one object per record, each field as the ledger wrote it.

`after` is the place (`seq`) of the record before it in the ledger, so that a missing line is seen.

A batch is appended under a lock of the file and synced. A last line that was cut off, because an archiver
died while it wrote, is removed before the next batch; its record is still in the ledger and comes again.
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from governor.journal.archive import Archived, ArchiveError, Position, newer
from governor.ledger.commands import JournalEntry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

BLOCK = 1 << 16
FIELDS = ("seq", "kind", "id", "at_ms", "outcome", "detail", "record")


class LinesArchive:
    """An archive in one file.

    Args:
        path: The file; made by the first append. Its folder must exist.
        organization: Whose journal; a file that begins with another one's is refused.
    """

    def __init__(self, path: Path, organization: str) -> None:
        self._path = path
        self._organization = organization

    def append(self, epoch: str, entries: Sequence[JournalEntry], after: str | None = None) -> int:
        """See `Archive.append`."""
        with self._open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # let go with the file
            _cut_torn_line(file)
            new = newer(epoch, entries, after, self._last(file, epoch, None))
            file.seek(0, os.SEEK_END)
            fresh = file.tell() == 0
            file.write(b"".join(self._line(one) for one in new))
            file.flush()
            os.fsync(file.fileno())
        if fresh:
            _sync_folder(self._path.parent)
        return len(new)

    def last(self, epoch: str | None = None, before_ms: int | None = None) -> Position | None:
        """See `Archive.last`."""
        if not self._path.exists():
            return None
        with self._open("rb") as file:
            return self._last(file, epoch, before_ms)

    def read(self) -> Iterator[Archived]:
        """See `Archive.read`."""
        with self._open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.endswith(b"\n"):
                    row = self._parse(line, f"line {number}")
                    entry = JournalEntry(*(row[name] for name in FIELDS))
                    yield Archived(row["epoch"], entry, row["after"])

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

    def _last(self, file: IO[bytes], epoch: str | None, before_ms: int | None) -> Position | None:
        for line in _backwards(file):
            row = self._parse(line, f"the line {line[:40]!r}…")
            if epoch in (None, row["epoch"]) and (before_ms is None or row["at_ms"] < before_ms):
                return Position(row["epoch"], row["seq"], row["at_ms"], row["kind"], row["id"])
        return None

    def _line(self, one: Archived) -> bytes:
        row = {"organization": self._organization, "epoch": one.epoch, "after": one.after}
        row |= {name: getattr(one.entry, name) for name in FIELDS}
        return json.dumps(row, separators=(",", ":")).encode() + b"\n"

    def _parse(self, line: bytes, where: str) -> dict[str, Any]:
        try:
            row: dict[str, Any] = json.loads(line)
            owner = row["organization"]
            if not {"epoch", "after", *FIELDS} <= row.keys():
                raise KeyError  # noqa: TRY301 - said below, like the others
        except (ValueError, KeyError, TypeError):
            raise ArchiveError(
                f"{self._path}: {where} is no record of a journal: use another file, or repair it"
            ) from None
        if owner != self._organization:
            raise ArchiveError(
                f"{self._path} is the archive of organization {owner!r}, the policies are "
                f"{self._organization!r}'s: use another file"
            )
        return row


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


def _backwards(file: IO[bytes]) -> Iterator[bytes]:
    """The file's whole lines, the last one first."""
    at = file.seek(0, os.SEEK_END)
    rest, torn = b"", True
    while at:
        size = min(BLOCK, at)
        at -= size
        file.seek(at)
        rest, *lines = (file.read(size) + rest).split(b"\n")
        if lines and torn:
            lines.pop()  # what follows the last line's end: nothing, or a line that is torn
            torn = False
        yield from reversed(lines)
    if rest and not torn:
        yield rest


def _sync_folder(folder: Path) -> None:
    """So that a power cut does not lose the name of a new file."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
