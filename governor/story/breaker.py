"""Whether a ledger that was away is asked again now, so that not every call waits out a time-out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

AGAIN_S = (1.0, 30.0)
"""How long an absent ledger is left alone, at least and at most; between them, ten times what asking took."""

LONGEST_TURN_S = 60.0
"""Whoever was given the turn and has not said by then what came of it is thought to have given up."""


class Breaker:
    """What one process knows of its ledger's absence.

    Args:
        monotonic: Seconds by a clock that never goes back.

    Attributes:
        why: What the ledger, or the way to it, said last.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._now = monotonic
        self._again_s: float | None = None
        self._turn_s: float | None = None
        self.why = ""

    @property
    def is_away(self) -> bool:
        """Whether the ledger did not answer when it was last asked."""
        return self._again_s is not None

    def turn(self) -> bool:
        """Whether the caller may ask the ledger now: everybody while it answers, else one at a time."""
        if self._again_s is None:
            return True
        now = self._now()
        if now < self._again_s:
            return False
        self._turn_s, self._again_s = now, now + LONGEST_TURN_S
        return True

    def away(self, why: object) -> None:
        """It did not answer: leave it alone for a while."""
        now, began_s = self._now(), self._turn_s
        took_s = 0.0 if began_s is None else now - began_s
        shortest, longest = AGAIN_S
        self._again_s, self._turn_s, self.why = now + min(max(shortest, 10 * took_s), longest), None, str(why)

    def there(self) -> None:
        """It answered."""
        self._again_s = self._turn_s = None
