"""The small values that commands and answers are made of.

Amounts are integers in the budget's own unit: nano-dollars for `usd`, else a count. Instants are Unix
milliseconds by the ledger's clock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Generic, TypeVar

from governor.budgets import ROLLING_BUCKETS, Unit

FULL_MARK_BP = 10_000
"""A mark in basis points that lets a candidate fill a budget to its limit."""

DUE_PER_REPLY = 10
"""How many expired holds one reply may name, so that reaping is bounded work."""

CLOSED_HOLD_KEPT_MS = 7 * 24 * 3600 * 1000
"""How long a closed hold is remembered, so that a repeated command is recognised; an expired one: longer."""

BATCH = "batch."
"""How the ids of a batch's holds begin."""

BATCH_HOLD_KEPT_MS = 30 * 24 * 3600 * 1000
"""How long a closed hold of a batch is remembered: results may be read, and settled again, for 29 days
(documentation of Message Batches)."""

BALANCE_KEPT_MS = 35 * 24 * 3600 * 1000
"""How long a balance is kept after its window, or after its last use where it is nothing by then."""

EXPIRED_HOLD_KEPT_MS = BALANCE_KEPT_MS
"""How long an expired hold is remembered, so that its settle, come late, still replaces the charge."""

RUN_KEPT_MS = 90 * 24 * 3600 * 1000
"""How long the balance of a run's whole life is kept after its last use."""

R = TypeVar("R")

_ID = re.compile(r"[A-Za-z0-9._:@+-]{1,128}")


class Command(Generic[R]):
    """Something a ledger can be asked; `R` is what it answers."""

    __slots__ = ()


def check_id(identifier: str) -> str:
    """Return *identifier* if a ledger can keep it.

    Raises:
        ValueError: It is empty, longer than 128 characters, or has one outside `A-Za-z0-9._:@+-`.
    """
    if not _ID.fullmatch(identifier):
        raise ValueError(f"{identifier!r} is no request id: use 1 to 128 of A-Z a-z 0-9 . _ : @ + -")
    return identifier


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """One budget a request touches, in the window it is asked for.

    Attributes:
        identity: `governor.budgets.balance_identity(…)`.
        window: The window's id.
        start_ms: First millisecond of the window.
        end_ms: First millisecond after it; 0 where it never ends.
        unit: What the budget counts.
        limit: The limit from the policy file.
        steps: Thresholds to report when posted crosses them, in basis points of the limit.
        bucket_ms: The length of a rolling window's buckets; 0 for every other one.
        pace_bp: What an even pace would have spent by now, in basis points of the limit: a step below it is
            reported only where posted is above it too. 0 where nobody paces it.
    """

    identity: str
    window: str
    start_ms: int
    end_ms: int
    unit: Unit
    limit: int
    steps: tuple[int, ...] = ()
    bucket_ms: int = 0
    pace_bp: int = 0

    @property
    def kept_ms(self) -> int:
        """How long after its last use the balance may be forgotten; 0: never, or by the end of its window.

        A rolling one is nothing once its buckets have passed, one of `concurrent` whenever nothing is held.
        """
        if self.bucket_ms:
            return (ROLLING_BUCKETS + 1) * self.bucket_ms + BALANCE_KEPT_MS
        if self.end_ms:
            return 0
        if self.unit is Unit.CONCURRENT:
            return BALANCE_KEPT_MS
        return RUN_KEPT_MS if "/run=" in f"/{self.identity}" else 0


@dataclass(frozen=True, slots=True)
class Ask:
    """What one candidate needs of one budget.

    Attributes:
        amount: To hold.
        mark_bp: How full the budget may be, after this is posted, in basis points of the limit.
        floor: How much of the limit must be left over.
        comes_back: Whether what others hold of this budget may come back, so that waiting for it helps. Held
            requests do not: a release keeps them.
        share_bp: How full the budget may be with what is held, in basis points of the limit: below 10000
            where the rest is kept for others.
        enforced: Whether the budget may refuse; else it only counts.
    """

    amount: int
    mark_bp: int = FULL_MARK_BP
    floor: int = 0
    comes_back: bool = True
    share_bp: int = FULL_MARK_BP
    enforced: bool = True


@dataclass(frozen=True, slots=True)
class Balance:
    """A reading of one balance.

    Attributes:
        posted: Spent.
        held: Promised to open holds.
        limit: In force now: the file's or the override's, plus grants.
        frozen: Why it is frozen; `None` where it is not.
        frees_ms: When spend first leaves a rolling window, Unix milliseconds; 0 where it does not, or nothing
            was spent.
    """

    posted: int
    held: int
    limit: int
    frozen: str | None = None
    frees_ms: int = 0

    @property
    def available(self) -> int:
        """What is neither spent nor promised; below 0 after an overrun."""
        return self.limit - self.posted - self.held


@dataclass(frozen=True, slots=True)
class DueHold:
    """A hold whose time to live is over, with all that `Expire` needs to name its keys."""

    id: str
    balances: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Crossing:
    """A threshold that posted crossed, reported once per balance and step.

    Attributes:
        identity: The balance's identity.
        window: Its window's id.
        step_bp: The threshold in basis points.
        posted: Spent, after the posting that crossed.
        limit: The limit then in force.
    """

    identity: str
    window: str
    step_bp: int
    posted: int
    limit: int


@dataclass(frozen=True, slots=True)
class Posting:
    """What the end of a hold posts to one budget."""

    budget: BudgetRow
    amount: int
