"""Which holds there are, and what a hold says to whoever ends it without having opened it.

An item of a batch is ended by whoever reads its result, another process maybe, weeks after it was held. So
its hold bears a note, kept beside it for as long as the hold is remembered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.ledger.values import Command

if TYPE_CHECKING:
    from governor.ledger.values import BudgetRow


@dataclass(frozen=True, slots=True)
class OpenHold:
    """A hold not yet ended."""

    id: str
    expires_ms: int
    balances: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ListHolds(Command[tuple[OpenHold, ...]]):
    """Every open hold whose id begins with *prefix*, the first to expire first."""

    prefix: str = ""


@dataclass(frozen=True, slots=True)
class FoundHold:
    """A hold, open or remembered.

    Attributes:
        id: Its id.
        state: `open`, or how it has ended.
        candidate: The index of the candidate that was held.
        rows: What it holds, or held, of which budgets (identity, window, end, limit and steps; no start), in
            order; empty once it was settled or released.
        note: What its reserve noted.
    """

    id: str
    state: str
    candidate: int
    rows: tuple[tuple[BudgetRow, int], ...]
    note: str


@dataclass(frozen=True, slots=True)
class FindHolds(Command["tuple[FoundHold | None, ...]"]):
    """The holds of these ids, in order; `None` for one that the ledger does not know (any more)."""

    ids: tuple[str, ...]
