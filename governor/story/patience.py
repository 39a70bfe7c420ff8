"""How long to wait: for money that is only held, and before sending again."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from tenacity import RetryCallState, Retrying
from tenacity.wait import wait_random, wait_random_exponential

from governor.ledger.admission import Verdict, cap, judge, judge_candidate
from governor.story.matrix import reopens_ms

if TYPE_CHECKING:
    from tenacity.wait import wait_base

    from governor.clock import LedgerClock
    from governor.ledger.commands import Refused
    from governor.story.effects import Ended
    from governor.story.matrix import Matrix

LONGEST_RETRY_AFTER_S = 60.0
"""A longer `retry-after` is not waited for: the caller is told instead."""

_BACKOFF = wait_random_exponential(multiplier=2, min=1, max=30)
"""Without a `retry-after`: at first 1 to 2 s, growing to 30 s, at random so that callers spread."""

_OVERLOADED = wait_random(min=30, max=60)
"""An overloaded model is come back to after 30 to 60 s, unless the API names a time."""


class Deadline:
    """When a whole call must be over, by this host's clock.

    Args:
        clock: Tells the time.
        began_ms: When the call began, as `LedgerClock.local_ms` says.
        seconds: How long it may take; `None`: as long as it takes.
    """

    def __init__(self, clock: LedgerClock, began_ms: int, seconds: float | None) -> None:
        self._clock = clock
        self._seconds = seconds
        self._ends_ms = began_ms + (seconds or 0.0) * 1000

    def left_s(self) -> float:
        """Seconds left, at least 0; infinite without a deadline."""
        if self._seconds is None:
            return math.inf
        return max(0.0, (self._ends_ms - self._clock.local_ms()) / 1000)

    def over(self) -> TimeoutError | None:
        """The error to give a call up with, once it is over."""
        if self.left_s() > 0:
            return None
        return TimeoutError(f"the call took longer than the policy's deadline of {self._seconds:g} s")

    def told(self, ended: Ended) -> Ended:
        """How a call ended; where the deadline cut its silence short, that is what is raised."""
        late = self.over()
        unanswered = ended.kind in {"silent", "cut"} and not ended.status
        if late is None or not unanswered or not isinstance(ended.error, Exception):
            return ended
        late.__cause__ = ended.error
        return replace(ended, error=late)


def wait_s(table: Matrix, refused: Refused, left_s: float) -> float | None:
    """How long to wait before asking again, in seconds; `None` if waiting *left_s* would not help.

    It helps where every budget that refuses a candidate is only held by others (then 0: look again soon), or
    is a short window that reopens in time.
    """
    waits = (_candidate_wait_s(table, refused, index) for index in range(len(table.asks)))
    return min((wait for wait in waits if wait is not None and wait <= max(left_s, 0.0)), default=None)


def verdict(table: Matrix, refused: Refused, index: int, budget: int) -> Verdict:
    """What *budget* says to candidate *index*."""
    ask = table.asks[index][budget]
    return Verdict.FITS if ask is None else judge(ask, refused.balances[budget])


def opens_s(table: Matrix, refused: Refused, index: int, budget: int) -> float | None:
    """Seconds until *budget* may bear candidate *index*; `None` if it never will by itself.

    0 where it is only held; where it is spent, the end of its window, or when spend first leaves a rolling
    one, unless the candidate needs more than the whole of it; never where it is frozen or has no end.
    """
    ask, balance = table.asks[index][budget], refused.balances[budget]
    reopens = reopens_ms(table.rows[budget], balance)
    said = verdict(table, refused, index, budget)
    if ask is None or said in (Verdict.FITS, Verdict.CONTENDED):
        return 0.0
    if said is Verdict.FROZEN or not reopens or ask.amount > cap(balance.limit, ask):
        return None
    return (reopens - refused.now_ms) / 1000


def _candidate_wait_s(table: Matrix, refused: Refused, index: int) -> float | None:
    blocking = judge_candidate(table.asks[index], refused.balances).blocking
    waits = [opens_s(table, refused, index, budget) for budget in blocking]
    return None if None in waits else max((wait or 0.0 for wait in waits), default=0.0)


def retry_pause_s(ended: Ended, attempts: int) -> float | None:
    """Seconds to wait before sending again after *attempts*; `None` if the API asks for too long a wait."""
    if ended.retry_after_s is not None:
        return ended.retry_after_s if ended.retry_after_s <= LONGEST_RETRY_AFTER_S else None
    return come_back_s() if ended.overloaded else _drawn_s(_BACKOFF, attempts)


def come_back_s() -> float:
    """Seconds to wait before coming back to a model that was overloaded."""
    return _drawn_s(_OVERLOADED, 1)


def _drawn_s(strategy: wait_base, attempts: int) -> float:
    state = RetryCallState(Retrying(), fn=None, args=(), kwargs={})
    state.attempt_number = attempts
    return float(strategy(state))
