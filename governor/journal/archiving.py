"""Copies the journal into its archive, and trims what is safely there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.errors import LedgerUnavailable
from governor.journal.archive import ArchiveError, DamagedArchiveError
from governor.journal.gaps import BEGINNING
from governor.ledger.recovery import Mark, MeasureJournal, ReadSince, TrimJournal, place

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.journal.archive import Archive, Position
    from governor.ledger import Ledger
    from governor.ledger.recovery import JournalSize

REPAIR = (
    "nothing was trimmed, and the ledger still has what the archive has from there on: keep a copy of the "
    "archive, take that out of it, and archive again"
)


@dataclass(frozen=True, slots=True)
class Copied:
    """What was copied.

    Attributes:
        epoch: The ledger's.
        records: How many.
        last: Where the archive is now.
        gap: Whether the ledger had been trimmed beyond the archive's last record: some are missing in it.
    """

    epoch: str
    records: int
    last: Position | None
    gap: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """What an archive was given at once, or, before the first of it, where it is.

    Attributes:
        epoch: The ledger's.
        last: Where the archive is now; `None`: it has nothing of this ledger.
        before: Where it was before the batch, '' for before the first record; `None`: unknown, since another
            archiver was at work too.
        count: How many records there are from *before* to *last*.
    """

    epoch: str
    last: Position | None
    before: str | None = None
    count: int = 0


def copy_new(
    ledger: Ledger,
    archive: Archive,
    tell: Callable[[int, int], None],
    behind: Callable[[Batch], bool] = lambda _: True,
) -> Copied:
    """Append what the archive has not, up to the newest record of this moment.

    Args:
        ledger: Whose journal.
        archive: Where to.
        tell: Is told, after each batch, how many records were copied, and of how many at most.
        behind: Is called before the first batch and after each, and answers whether to go on.

    Raises:
        LedgerUnavailable: The ledger cannot be read.
        ArchiveError: The archive cannot be read or written, or is another ledger's; or the ledger went back
            in time.
    """
    size = ledger.execute(MeasureJournal())
    copied, gap = 0, False
    last = archive.last(size.epoch)
    _refuse_another_ledger_s(archive, size, last)
    _refuse_one_that_went_back(ledger, last)
    if last is None and size.first is not None and size.first.kind != BEGINNING:
        raise ArchiveError(
            "the ledger was trimmed behind another archive, and this one would begin in the middle: archive "
            "to that one again, or copy it here first; nothing was copied"
        )
    batch = Batch(size.epoch, last)
    while (
        behind(batch) and size.last is not None and (last is None or place(last.seq) < place(size.last.seq))
    ):
        page = ledger.execute(ReadSince(None if last is None else last.seq))
        if page.epoch != size.epoch or not page.entries:
            return copy_new(ledger, archive, tell, behind)  # the ledger was made anew meanwhile
        gap = gap or (last is not None and page.after is None)
        added = archive.append(page.epoch, page.entries, page.after)
        copied += added
        before = "" if last is None else last.seq
        last = archive.last(page.epoch)  # what it has, not what it was sent: somebody else may archive too
        alone = added == len(page.entries) and last is not None and last.seq == page.entries[-1].seq
        batch = Batch(page.epoch, last, before if alone and not gap else None, added)
        tell(copied, size.records)
    if not copied:
        archive.append(size.epoch, ())  # a place that cannot be written is said now, not when it matters
    return Copied(size.epoch, copied, last, gap)


def trim(ledger: Ledger, archive: Archive, epoch: str, before_ms: int, tell: Callable[[int], None]) -> int:
    """Remove from the ledger's journal what is in the archive and older than *before_ms*.

    Args:
        ledger: Whose journal; one of another epoch is left alone.
        archive: It is asked anew, for every record from its newest one to the ledger's oldest.
        epoch: The ledger's, as it was copied.
        before_ms: Unix milliseconds by the ledger's clock.
        tell: Is told, after each batch, how many are gone.

    Returns:
        How many records went. The archive's last one stays, to be compared the next time.

    Raises:
        LedgerUnavailable: The ledger cannot be reached, or was made anew.
        ArchiveError: The archive cannot be read, or misses a record that the ledger has, and nothing was
            removed; or the ledger went back in time.
    """
    last = archive.last(epoch)
    _refuse_one_that_went_back(ledger, last)
    size = ledger.execute(MeasureJournal())
    if last is None or size.first is None:
        return 0
    if size.epoch != epoch:
        raise LedgerUnavailable("the ledger was made anew, and nothing was trimmed: archive it again")
    newest, gone = _newest_to_go(archive, epoch, size.first.seq, before_ms), 0
    while newest is not None:
        removed = ledger.execute(TrimJournal(epoch, newest, last.mark))
        if not removed:
            break
        gone += removed
        tell(gone)
    return gone


def _newest_to_go(archive: Archive, epoch: str, first: str, before_ms: int) -> str | None:
    """The newest record older than *before_ms*, once all from the newest one back to *first* are seen."""
    newest, behind = None, None
    try:
        for link in archive.back_to(epoch, first):
            if behind is not None and behind.after != link.seq:
                break
            behind = link
            if newest is None and link.at_ms < before_ms:
                newest = link.seq
    except DamagedArchiveError as error:
        raise ArchiveError(f"{error}; {REPAIR}") from error
    if behind is not None and behind.seq != first:
        raise ArchiveError(f"the archive misses the record before {epoch}/{behind.seq}; {REPAIR}")
    return newest


def _refuse_another_ledger_s(archive: Archive, size: JournalSize, last: Position | None) -> None:
    """One archive may have the lives of a ledger that followed each other, never of two at once."""
    newest = archive.last()
    if newest is None or newest.epoch == size.epoch or size.first is None:
        return
    if last is not None or size.first.at_ms < newest.at_ms:
        raise ArchiveError(
            f"the archive has records of another ledger of this organization (epoch {newest.epoch}), which "
            f"lived at the same time as this one (epoch {size.epoch}): a rebuild would add both up, and "
            "nothing was copied. Archive each to a place of its own; if the other one is out of use, take "
            "its records out of a copy of this archive and go on with that"
        )


def _refuse_one_that_went_back(ledger: Ledger, last: Position | None) -> None:
    """A backup put back, or a replica that lagged: its records may stand at places that the archive has."""
    if last is None:
        return
    size = ledger.execute(MeasureJournal(last.seq))
    if size.epoch == last.epoch and size.known is not None and Mark.of(size.known) != last.mark:
        raise ArchiveError(
            f"the ledger went back in time: the archive ends with {last.kind} {last.id} at {last.seq}, "
            f"the ledger has {size.known.kind} {size.known.id} at {size.known.seq}; nothing was copied or "
            "trimmed. Archive to a new place, or rebuild the ledger from this archive"
        )
