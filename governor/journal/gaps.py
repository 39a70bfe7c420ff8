"""Looks whether an archive's records follow one another as they did in the ledgers that wrote them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from governor.journal.archive import ArchiveError, Position
from governor.ledger.recovery import place

if TYPE_CHECKING:
    from governor.journal.archive import Archived

BEGINNING = "create"
"""The kind of record with which every ledger's journal begins, a rebuilt one's too."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Records that a ledger wrote and its archive has not.

    Attributes:
        last: The last record before them; `None` where a ledger's first ones are missing.
        next: The first one after them.
    """

    last: Position | None
    next: Position


@dataclass(slots=True)
class _Life:
    """One ledger's records in the archive: when the first was written, and where the last is."""

    first_ms: int
    last: Position


class Chain:
    """What of the ledgers' journals is missing among the records it was shown.

    Attributes:
        gaps: In the order they were found.
    """

    def __init__(self) -> None:
        self.gaps: list[Gap] = []
        self._lives: dict[str, _Life] = {}

    def link(self, one: Archived) -> None:
        """Take in the next record.

        Raises:
            ArchiveError: It is not after the last one of its ledger.
        """
        entry = one.entry
        here = Position(one.epoch, entry.seq, entry.at_ms)
        life = self._lives.get(one.epoch)
        if life is None:
            if one.after is not None or entry.kind != BEGINNING:
                self.gaps.append(Gap(None, here))
            self._lives[one.epoch] = _Life(entry.at_ms, here)
            return
        if place(entry.seq) <= place(life.last.seq):
            raise ArchiveError(
                f"the archive has {here} behind {life.last}: put each record there once, in their order"
            )
        if one.after != life.last.seq:
            self.gaps.append(Gap(life.last, here))
        life.last = here
        if entry.kind == "rebuild" and not self._has_source(entry.detail):
            self.gaps.append(Gap(None, here))

    def at_once(self) -> list[tuple[str, str]]:
        """Pairs of epochs of which the second began before the first one's last record: two ledgers."""
        lives = sorted(self._lives.values(), key=lambda life: life.first_ms)
        return [(a.last.epoch, b.last.epoch) for a, b in pairwise(lives) if b.first_ms < a.last.at_ms]

    def _has_source(self, rebuilt: str) -> bool:
        """Whether the records are here from which a ledger was rebuilt; *rebuilt*: `from=epoch/place …`."""
        epoch, _, seq = rebuilt.partition(" ")[0].removeprefix("from=").rpartition("/")
        life = self._lives.get(epoch)
        try:
            return life is not None and place(life.last.seq) >= place(seq)
        except ValueError:  # it names no place
            return False
