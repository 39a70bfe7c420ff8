"""What an archive and a rebuild ask of a ledger: its journal in order, its trimming, a state to start from.

A rebuild is three commands: `BeginRestore`, any number of `Restore`, `FinishRestore`. Between the first and
the last the store refuses every other command. Each may be repeated, so that an interrupted rebuild goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.budgets import unit_of
from governor.ledger.commands import BudgetRequest, BudgetRow, Command, JournalEntry, LimitChange

if TYPE_CHECKING:
    from governor.ledger.entering import Entered
    from governor.ledger.orders import Order

REBUILDING = 0
"""The schema number of a store that is being rebuilt: no release works on it."""

PAGE = 1000
"""How many records of the journal are read at once."""


def place(seq: str) -> tuple[int, int]:
    """A record's place in its journal, in order: `1795262430000-7` of Redis, `42` of SQLite."""
    major, _, minor = seq.partition("-")
    return int(major), int(minor or 0)


@dataclass(frozen=True, slots=True)
class Page:
    """Some records in order, oldest first.

    Attributes:
        epoch: Of the ledger whose they are.
        entries: The records.
        after: The place of the record before the first of them; `None` where the store has none there.
    """

    epoch: str
    entries: tuple[JournalEntry, ...]
    after: str | None = None


@dataclass(frozen=True, slots=True)
class ReadSince(Command[Page]):
    """The first *limit* records after the one at *after*; from the oldest where it is `None`."""

    after: str | None = None
    limit: int = PAGE

    def page(self, epoch: str, entries: tuple[JournalEntry, ...]) -> Page:
        """The answer from the first *limit* + 1 records that are not before *after*."""
        if entries and entries[0].seq == self.after:
            return Page(epoch, entries[1:], self.after)
        return Page(epoch, entries[: self.limit])


@dataclass(frozen=True, slots=True)
class Mark:
    """What tells an archive's last record from another one at the same place."""

    seq: str
    kind: str
    id: str
    at_ms: int

    @classmethod
    def of(cls, entry: JournalEntry) -> Mark:
        """That of a record."""
        return cls(entry.seq, entry.kind, entry.id, entry.at_ms)


@dataclass(frozen=True, slots=True)
class JournalSize:
    """What of the journal the store keeps: the epoch, how many records, the oldest and the newest.

    *known* is the newest that is not after the place that was asked for.
    """

    epoch: str
    records: int
    first: JournalEntry | None
    last: JournalEntry | None
    known: JournalEntry | None = None


@dataclass(frozen=True, slots=True)
class MeasureJournal(Command[JournalSize]):
    """How much of the journal the store keeps, and its newest record that is not after *at*."""

    at: str | None = None


@dataclass(frozen=True, slots=True)
class TrimJournal(Command[int]):
    """Remove the oldest records, none after *up_to*, about *limit* at most; answers how many went.

    Send it until it answers 0. A ledger of another *epoch* than the archived one is left alone, and so is
    one that went back in time: whose newest record not after *last*, the archive's last, is another one.
    That one stays, so that it can be compared the next time.
    """

    epoch: str
    up_to: str
    last: Mark
    limit: int = 10 * PAGE


@dataclass(frozen=True, slots=True)
class Begun:
    """A rebuild has `begun`, goes on (`resumed`), or is `done` already; the *epoch* it gives."""

    state: str
    epoch: str


@dataclass(frozen=True, slots=True)
class BeginRestore(Command[Begun]):
    """Make an empty or unused store one that is being rebuilt.

    Attributes:
        epoch: The rebuilt ledger's.
        source: What it is rebuilt from; a repetition with another one is refused.
    """

    epoch: str
    source: str


@dataclass(frozen=True, slots=True)
class RestoredBalance:
    """A balance as the archive leaves it; nothing of it is held.

    Attributes:
        identity: As in `BudgetRow`, like *window*, *end_ms* and *limit*.
        window: The window's id.
        end_ms: First millisecond after it; 0: none.
        limit: The file's, of the last time it was asked for.
        posted: Spent.
        crossed: Steps reported and not re-armed, in basis points, ascending.
        bucket_ms: The length of a rolling window's buckets; 0 for every other one.
        buckets: Of a rolling window: each bucket's number (Unix milliseconds by its length) and what it has.
    """

    identity: str
    window: str
    end_ms: int
    limit: int
    posted: int
    crossed: tuple[int, ...] = ()
    bucket_ms: int = 0
    buckets: tuple[tuple[int, int], ...] = ()

    @property
    def row(self) -> BudgetRow:
        """The budget, as a request would ask for it."""
        unit = unit_of(self.identity)
        return BudgetRow(self.identity, self.window, 0, self.end_ms, unit, self.limit, (), self.bucket_ms)


@dataclass(frozen=True, slots=True)
class RestoredHold:
    """A hold that has ended, as it is remembered.

    Attributes:
        id: The request's.
        state: `expired`, `settled`, `released` or `settled_late`.
        rows: Each budget it touches, what was held of it, what its expiry charged, and the number of the
            bucket that it was opened in (0 where the window does not roll).
        closing: The digest of the command that ended it; empty for an expired one.
        detail: What the journal says of its end.
        closed_ms: When that was.
        note: What it says to whoever ends it late, of its first candidate.
    """

    id: str
    state: str
    rows: tuple[tuple[BudgetRow, int, int, int], ...]
    closing: str
    detail: str
    closed_ms: int
    note: str = ""

    @property
    def payload(self) -> str:
        """Where a store keeps the note: behind the digest of its reserve, which nobody has any more."""
        return f"- {self.note}" if self.note else ""


@dataclass(frozen=True, slots=True)
class RestoredChanges:
    """What administrators had changed.

    Attributes:
        limits: Identity, and every change of its limit that is not of one window, in order.
        grants: Identity, window, the total granted in it.
        freezes: Identity, reason, until when (0: until unfrozen).
        operations: Id and payload of every change, so that a repetition changes nothing.
        orders: Standing orders; with none, none are touched.
        requests: Grants that were asked for, open or answered.
    """

    limits: tuple[tuple[str, tuple[LimitChange, ...]], ...] = ()
    grants: tuple[tuple[str, str, int], ...] = ()
    freezes: tuple[tuple[str, str, int], ...] = ()
    operations: tuple[tuple[str, str], ...] = ()
    requests: tuple[BudgetRequest, ...] = ()
    orders: tuple[Order, ...] = ()


@dataclass(frozen=True, slots=True)
class Restore(Command[None]):
    """Put these in place of what the store being rebuilt has of them."""

    source: str
    balances: tuple[RestoredBalance, ...] = ()
    holds: tuple[RestoredHold, ...] = ()
    changes: RestoredChanges = RestoredChanges()
    entered: tuple[Entered, ...] = ()


@dataclass(frozen=True, slots=True)
class FinishRestore(Command[None]):
    """Make the rebuilt store a ledger, and journal that; *detail* and *record* as in `JournalEntry`."""

    source: str
    detail: str
    record: str
