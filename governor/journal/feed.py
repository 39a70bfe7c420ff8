"""The calls of a journal, read in a second process: from an archive, or from a ledger that is in use.

Parsing records costs as much as replaying them, so the two go side by side. Where no process can be started,
records are read in this one. A full pipe makes the reader wait: what is read ahead is bounded.
"""

from __future__ import annotations

import gc
import pickle
import signal
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from typing import TYPE_CHECKING, NamedTuple

from governor.errors import GovernorError, LedgerUnavailable
from governor.journal.archive import ArchiveError, open_archive
from governor.journal.calls import Reader
from governor.journal.gaps import Chain
from governor.ledger import commands as c
from governor.ledger.opening import open_ledger, redact
from governor.ledger.recovery import MeasureJournal, ReadSince

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

    from governor.journal.calls import Event
    from governor.ledger.commands import JournalEntry

    _Entries = Generator[JournalEntry, None, None]

BATCH = 500
"""How many records go from one process to the other at once: some 200 kB."""

_LEDGERS = ("redis", "rediss", "unix", "valkey")


class Batch(NamedTuple):
    """Some records of a journal, in its order.

    Attributes:
        events: What they tell.
        total: How many there are in all, or a guess at it.
        gaps: How many gaps the archive was found to have so far.
    """

    events: list[Event]
    total: int
    gaps: int


@dataclass(frozen=True, slots=True)
class Journal:
    """Where a journal is read from.

    Attributes:
        where: A path, `file:///path` or a database's URL for an archive; or a ledger's URL.
        organization: Whose.
        is_ledger: Whether it is a ledger, and no archive.
    """

    where: str
    organization: str
    is_ledger: bool

    @property
    def name(self) -> str:
        """Where it is, without a password."""
        return redact(self.where) if "://" in self.where else self.where

    def batches(self) -> Generator[Batch, None, None]:
        """Every record, oldest first, read in this process.

        Raises:
            ArchiveError: The archive cannot be read, or has what is no record.
            LedgerUnavailable: The ledger cannot be read.
        """
        reader, chain = Reader(), Chain()
        total, entries = self._ledger_entries() if self.is_ledger else self._archive_entries(chain)
        with closing(entries):
            while some := [reader.read(entry) for entry in islice(entries, BATCH)]:
                yield Batch(some, total, len(chain.gaps))

    def entries(self) -> tuple[int, Generator[JournalEntry, None, None]]:
        """How many records there are, or a guess at it, and the records, oldest first.

        Raises:
            ArchiveError: The archive cannot be read; while the records are taken, too.
            LedgerUnavailable: The ledger cannot be read.
        """
        return self._ledger_entries() if self.is_ledger else self._archive_entries(Chain())

    def _archive_entries(self, chain: Chain) -> tuple[int, _Entries]:
        kept = open_archive(self.where, self.organization)
        total = kept.count()

        def entries() -> _Entries:
            with closing(kept):
                for one in kept.read():
                    chain.link(one)
                    yield one.entry

        return total, entries()

    def _ledger_entries(self) -> tuple[int, _Entries]:
        ledger = open_ledger(self.where, self.organization)
        if not ledger.execute(c.Inspect()).created:
            ledger.close()
            raise LedgerUnavailable(f"{self.name} holds no ledger of the organization {self.organization!r}")
        total = ledger.execute(MeasureJournal()).records

        def entries() -> _Entries:
            with closing(ledger):
                page = ledger.execute(ReadSince())
                while page.entries:
                    yield from page.entries
                    page = ledger.execute(ReadSince(page.entries[-1].seq))

        return total, entries()


def find_journal(where: str, organization: str) -> Journal:
    """The journal at *where*: an archive's, or a ledger's.

    A SQLite database may be either; it is an archive if it has an archive's records.

    Raises:
        ArchiveError: It names no archive, or one that needs the extra `archive`.
        LedgerUnavailable: It is a ledger's URL that cannot be used.
    """
    scheme = where.partition("://")[0].partition("+")[0] if "://" in where else ""
    if scheme == "sqlite":
        return Journal(where, organization, is_ledger=not _is_archive(where, organization))
    return Journal(where, organization, is_ledger=scheme in _LEDGERS)


def _is_archive(where: str, organization: str) -> bool:
    try:
        with closing(open_archive(where, organization)) as kept:
            return kept.count() > 0
    except ArchiveError:  # without the extra `archive` there are none in databases
        return False


@contextmanager
def reading(journal: Journal, *, alone: bool = False) -> Iterator[Iterator[Batch]]:
    """Read a journal's records in a process of their own.

    Args:
        journal: Which.
        alone: Read them in this process.

    Yields:
        The records, oldest first, to be read once; as `Journal.batches` raises.
    """
    started = None if alone else _start(journal)
    if started is None:
        with closing(journal.batches()) as batches:
            yield batches
        return
    process, ours = started
    try:
        yield _received(ours)
    finally:
        ours.close()  # a reader that is not done hears of it with its next batch
        process.join()


def _start(journal: Journal) -> tuple[SpawnProcess, Connection] | None:
    context = get_context("spawn")  # threads and connections of this process are not for the other one
    try:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_read, args=(journal, theirs), name="governor-journal", daemon=True)
        process.start()
    except (OSError, RuntimeError):
        return None
    theirs.close()
    return process, ours


def _read(journal: Journal, to: Connection) -> None:
    """The second process: an empty message is the end, a text is an error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first one says what is interrupted
    gc.disable()  # nothing here is in a circle, and there is much of it
    try:
        try:
            for batch in journal.batches():
                to.send_bytes(pickle.dumps(batch, pickle.HIGHEST_PROTOCOL))
            to.send_bytes(b"")
        except GovernorError as error:
            told = (isinstance(error, LedgerUnavailable), str(error))
            to.send_bytes(pickle.dumps(told, pickle.HIGHEST_PROTOCOL))
    except (BrokenPipeError, ConnectionError):
        return  # nobody listens any more


def _received(ours: Connection) -> Iterator[Batch]:
    while True:
        try:
            message = ours.recv_bytes()
        except EOFError:
            raise ArchiveError("the process that read the journal ended too early: run it again") from None
        if not message:
            return
        told = pickle.loads(message)  # noqa: S301 - from a process of our own
        if not isinstance(told, Batch):
            unavailable, text = told
            raise LedgerUnavailable(text) if unavailable else ArchiveError(text)
        yield told
