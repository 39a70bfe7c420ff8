"""Where the journal's records go before they are trimmed: a file of JSON lines, or a table of a database.

An archive is only ever appended to, in the journal's order, and each record once, however often and by
however many archivers at once it is offered.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit

from governor.errors import GovernorError
from governor.ledger.recovery import Mark, place

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from governor.journal.archive_rows import Link
    from governor.ledger.commands import JournalEntry


class ArchiveError(GovernorError):
    """An archive cannot be read or written; the message says why and what to do."""


class ArchiveDownError(ArchiveError):
    """An archive cannot be used for now: its server is away, its disk is full, another one has it locked."""


class ArchiveReadOnlyError(ArchiveError):
    """An archive may be read, and not be written by this user."""


class ArchiveStandbyError(ArchiveReadOnlyError, ArchiveDownError):
    """An archive can be read, and not be written for now: a standby server, a file that is read-only."""


class ArchiveKeyError(ArchiveError):
    """An archive's hashes were made with another key, or without one: nothing may be added to them here."""


class DamagedArchiveError(ArchiveError):
    """An archive has what is no record of a journal; the message says where, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where an archive is: a record's epoch, its place in that journal, when it was written, what it is."""

    epoch: str
    seq: str
    at_ms: int
    kind: str = ""
    id: str = ""

    @property
    def mark(self) -> Mark:
        """What tells this record from another one at its place."""
        return Mark(self.seq, self.kind, self.id, self.at_ms)

    def __str__(self) -> str:
        """As a rebuild remembers what it was made from: `epoch/place`."""
        return f"{self.epoch}/{self.seq}"


class Archived(NamedTuple):
    """A record as the archive has it, with the epoch of its ledger and the place of the record before it."""

    epoch: str
    entry: JournalEntry
    after: str | None


class Archive(Protocol):
    """The archived journal of one organisation."""

    def append(self, epoch: str, entries: Sequence[JournalEntry], after: str | None = None) -> int:
        """Add those of *entries* that it has not; without any, only make sure that it can be written.

        Args:
            epoch: The ledger's whose they are.
            entries: In order, without gaps.
            after: The place of the record before the first of them; `None` where the ledger has none.

        Returns:
            How many were added. They are on the disk when this returns.

        Raises:
            ArchiveError: It cannot be written.
        """
        raise NotImplementedError

    def last(self, epoch: str | None = None) -> Position | None:
        """The newest record; of *epoch* only, where that is given.

        Raises:
            ArchiveError: It cannot be read, or the record is none.
        """
        raise NotImplementedError

    def back_to(self, epoch: str, seq: str) -> Iterator[Link]:
        """The records of *epoch*, the newest first, and none before the place *seq*.

        What is before that place is not read: it costs what is behind it.

        Raises:
            ArchiveError: It cannot be read.
            DamagedArchiveError: It holds what is no record.
        """
        raise NotImplementedError

    def read(self) -> Iterator[Archived]:
        """Every record, oldest first.

        Raises:
            ArchiveError: It cannot be read.
            DamagedArchiveError: It holds what is no record.
        """
        raise NotImplementedError

    def count(self) -> int:
        """How many records there are, or a guess at it, for a progress bar."""
        raise NotImplementedError

    def close(self) -> None:
        """Let go of files and connections."""


def open_archive(where: str, organization: str) -> Archive:
    """The archive at *where*; nothing is opened before its first use.

    Args:
        where: A path or `file:///path` for JSON lines, or a URL of SQLAlchemy's.
        organization: Whose journal.

    Raises:
        ArchiveError: It names no archive, or one that needs the extra `archive`.
    """
    scheme = where.partition("://")[0] if "://" in where else ""
    if scheme.startswith(("redis", "unix", "valkey")):
        raise ArchiveError(f"{scheme}:// is no archive: use a path, file:///path or a database's URL")
    if scheme not in ("", "file"):
        from governor.journal.archive_sql import SqlArchive  # noqa: PLC0415 - needs an extra

        return SqlArchive(where, organization)
    from governor.journal.archive_lines import LinesArchive  # noqa: PLC0415 - only the kind in use is imported

    parts = urlsplit(where if scheme else "")
    path = unquote(parts.path) if scheme else where
    if not path or parts.netloc:
        raise ArchiveError(
            f"{where!r} names no file: write /var/lib/journal.jsonl or file:///var/lib/journal.jsonl"
        )
    return LinesArchive(Path(path), organization)


def audit_key() -> bytes:
    """The key of the chain's hashes, from `GOVERNOR_AUDIT_KEY`; empty: they are made without one."""
    return os.environ.get("GOVERNOR_AUDIT_KEY", "").encode()


def newer(
    epoch: str, entries: Sequence[JournalEntry], after: str | None, last: Position | None
) -> list[Archived]:
    """Those of *entries* that come after *last*, of the same epoch; the other arguments as of `append`."""
    befores = (after, *(entry.seq for entry in entries))
    return [
        Archived(epoch, entry, before)
        for entry, before in zip(entries, befores, strict=False)
        if last is None or place(entry.seq) > place(last.seq)
    ]
