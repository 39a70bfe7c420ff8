"""How long to wait: for money that is only held, and before sending again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenacity import RetryCallState, Retrying
from tenacity.wait import wait_random_exponential

from governor.ledger.admission import Verdict, cap, judge, judge_candidate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.ledger.commands import Ask, Refused
    from governor.story.effects import Ended
    from governor.story.matrix import Matrix

LONGEST_RETRY_AFTER_S = 60.0
"""A longer `retry-after` is not waited for: the caller is told instead."""

_BACKOFF = wait_random_exponential(multiplier=1, min=1, max=30)
"""Without a `retry-after`: from 1 s, growing to 30 s, at random so that callers spread."""


def wait_s(table: Matrix, refused: Refused, left_s: float) -> float | None:
    """How long to wait before asking again, in seconds; `None` if waiting *left_s* would not help.

    It helps where every budget that refuses a candidate is only held by others (then 0: look again soon), or
    is a short window that reopens in time.
    """
    waits = (_candidate_wait_s(table, refused, asks) for asks in table.asks)
    return min((wait for wait in waits if wait is not None and wait <= max(left_s, 0.0)), default=None)


def reopens_s(table: Matrix, refused: Refused, index: int) -> float | None:
    """Seconds until the window of budget *index* ends; `None` if it never does."""
    end_ms = table.rows[index].end_ms
    return (end_ms - refused.now_ms) / 1000 if end_ms else None


def _candidate_wait_s(table: Matrix, refused: Refused, asks: Sequence[Ask | None]) -> float | None:
    longest = 0.0
    for index in judge_candidate(asks, refused.balances).blocking:
        ask, balance = asks[index], refused.balances[index]
        if ask is None or judge(ask, balance) is Verdict.CONTENDED:
            continue
        reopens = reopens_s(table, refused, index)
        if balance.frozen is not None or reopens is None or ask.amount > cap(balance.limit, ask):
            return None
        longest = max(longest, reopens)
    return longest


def retry_pause_s(ended: Ended, attempts: int) -> float | None:
    """Seconds to wait before sending again after *attempts*; `None` if the API asks for too long a wait."""
    if ended.retry_after_s is not None:
        return ended.retry_after_s if ended.retry_after_s <= LONGEST_RETRY_AFTER_S else None
    state = RetryCallState(Retrying(), fn=None, args=(), kwargs={})
    state.attempt_number = attempts
    return float(_BACKOFF(state))
