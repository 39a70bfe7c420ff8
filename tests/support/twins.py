"""Two ledgers that are told the same and must answer the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.errors import ReservationConflict
from governor.ledger import commands as c

if TYPE_CHECKING:
    from collections.abc import Iterable

    from governor.ledger import Ledger


class Twins:
    """One ledger made of two.

    Attributes:
        other: The second of them.
    """

    def __init__(self, one: Ledger, other: Ledger) -> None:
        self.other = other
        self._both = one, other

    def look(self, command: c.Command[Any]) -> None:
        """As `MemoryLedger.look`."""

    def execute(self, command: c.Command[Any]) -> Any:
        """Carry out *command* on both; the answer of the first."""
        answer, other = (answer_of(ledger, command) for ledger in self._both)
        same = _plain(answer) == _plain(other) if isinstance(command, c.ReadJournal) else answer == other
        assert same, f"{command}: {answer}, the other ledger says {other}"
        if answer is ReservationConflict:
            raise ReservationConflict(f"{command} is in conflict with an earlier one")
        return answer

    def close(self) -> None:
        """Close both."""
        for ledger in self._both:
            ledger.close()


def answer_of(ledger: Ledger, command: c.Command[Any]) -> Any:
    """What a ledger answers; `ReservationConflict` where it raises that."""
    try:
        return ledger.execute(command)
    except ReservationConflict:
        return ReservationConflict


def _plain(entries: Iterable[c.JournalEntry]) -> list[tuple[Any, ...]]:
    """The journal without what is the store's own: places in it, and its creation."""
    return [(e.kind, e.id, e.at_ms, e.outcome, e.detail, e.record) for e in entries if e.kind != "create"]
