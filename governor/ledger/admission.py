"""The admission rule: which candidate can every budget bear? Pure; `lua/reserve.lua` says it again.

A budget bears a candidate if `posted + amount ≤ the candidate's mark` and `posted + held + amount ≤ its share
of the limit`: thresholds judge money spent, the limit judges money spent or promised. The share is the whole
limit but where a part is kept for others. A budget that is not enforced bears everything.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.ledger.commands import Ask, Balance

REARM_BP = 500
"""A threshold is reported again only after posted fell this far below it (5 points)."""


class Verdict(enum.IntEnum):
    """What one budget, or all of them, say to one candidate; the gravest wins."""

    FITS = 0
    CONTENDED = 1
    EXHAUSTED = 2
    FROZEN = 3


@dataclass(frozen=True, slots=True)
class CandidateVerdict:
    """What the budgets say to one candidate, and the index of the one that binds (`None` if it fits)."""

    verdict: Verdict
    binding: int | None
    blocking: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The first candidate that fits (its index, or `None`), and the verdict on each that was tried."""

    chosen: int | None
    verdicts: tuple[CandidateVerdict, ...]

    @property
    def reason(self) -> str:
        """`fits`, or the mildest reason for which a candidate was refused: `contended` before `exhausted`."""
        return min(verdict.verdict for verdict in self.verdicts).name.lower()


def mark(limit: int, bp: int) -> int:
    """*bp* basis points of *limit*, rounded down, in steps that stay exact in a Lua number below 2**53."""
    return limit // 10_000 * bp + limit % 10_000 * bp // 10_000


def cap(limit: int, ask: Ask) -> int:
    """How much may be posted after *ask*: its mark, never into its floor, nor beyond its share."""
    return min(mark(limit, ask.mark_bp), limit - ask.floor, mark(limit, ask.share_bp))


def judge(ask: Ask, balance: Balance) -> Verdict:
    """What one budget says to one candidate."""
    if not ask.enforced:
        return Verdict.FITS
    if balance.frozen is not None:
        return Verdict.FROZEN
    if balance.posted + ask.amount > cap(balance.limit, ask):
        return Verdict.EXHAUSTED
    if balance.posted + balance.held + ask.amount > mark(balance.limit, ask.share_bp):
        return Verdict.CONTENDED if ask.comes_back else Verdict.EXHAUSTED
    return Verdict.FITS


def judge_candidate(asks: Sequence[Ask | None], balances: Sequence[Balance]) -> CandidateVerdict:
    """What all the budgets together say to one candidate."""
    verdicts = [Verdict.FITS if ask is None else judge(ask, b) for ask, b in zip(asks, balances, strict=True)]
    worst = max(verdicts, default=Verdict.FITS)
    if worst is Verdict.FITS:
        return CandidateVerdict(worst, None)
    blocking = tuple(index for index, verdict in enumerate(verdicts) if verdict is not Verdict.FITS)
    return CandidateVerdict(worst, verdicts.index(worst), blocking)


def decide(candidates: Sequence[Sequence[Ask | None]], balances: Sequence[Balance]) -> Decision:
    """Take the first candidate that every budget can bear; if there is none, refuse."""
    verdicts: list[CandidateVerdict] = []
    for index, asks in enumerate(candidates):
        verdicts.append(judge_candidate(asks, balances))
        if verdicts[-1].verdict is Verdict.FITS:
            return Decision(index, tuple(verdicts))
    return Decision(None, tuple(verdicts))


def crossings(
    crossed: frozenset[int], before: int, posted: int, limit: int, steps: Sequence[int], pace_bp: int = 0
) -> tuple[frozenset[int], list[int]]:
    """Which thresholds *posted* has newly crossed.

    Args:
        crossed: Steps (basis points) already reported and not re-armed.
        before: Spent, before the posting: it may have fallen since the last one, in a rolling window.
        posted: Spent, after the posting.
        limit: In force now.
        steps: The budget's thresholds in basis points.
        pace_bp: What an even pace would have spent, in basis points: no step is new below it.

    Returns:
        The steps reported so far, and those to report now, ascending.
    """
    lowest = min(before, posted)
    kept = {step for step in crossed if lowest >= mark(limit, max(step - REARM_BP, 0))}
    fired = [step for step in sorted(steps) if step not in kept and posted >= mark(limit, max(step, pace_bp))]
    return frozenset(kept.union(fired)), fired
