"""The rate that an API bears, learned from its 429s alone, and the pauses after them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

PAUSE_S = (1.0, 2.0)
"""After a 429 that does not say how long to wait (B6); drawn."""

LONGEST_PAUSE_S = 60.0
"""No `retry-after` is honoured for longer."""

FORGOTTEN_S = 30.0
FORGOTTEN_REQUESTS = 50
"""After so long without a 429 the pace is free again, if nobody waits or so many requests left since."""

HASTE_REQUESTS = 40
HASTE_S = 4.0
"""After so many requests, or seconds' worth, without a 429 the pace grows twice as fast, and so on."""

QUIET_S = 6.0
"""After so many seconds without one it does too, after twice as many five times: a pace far too low, of a
time with few requests say, is left within half a minute."""

FASTEST = 0.5

GROWTH_PER_S = 0.16
"""So much faster the pace gets within a second without 429s, while requests wait for it."""

BACK_UP_PER_S = 0.7
"""So much faster instead below half of the pace at which the last 429s began: it about doubles."""

REFUSED_SHARE = 0.04
"""The share of 429s at which the pace neither rises nor falls: enough to see that nothing is left unused."""

STEEPEST = 0.5
EASED = 0.7
SLOWEST_PER_S = 0.2

NEARLY_ALL = 0.8
KEPT = 1.3
SEVERAL = 0.3
MEMORY = 12
"""About so many of the last requests say whether the API refuses nearly everything now."""


class Pace:
    """Times are seconds by a clock that never goes back.

    Multiplicative in both directions, and a step per event, so that it needs no window: each request that had
    to wait makes the pace a little faster, each 429 makes it slower by `(1 - p) / p` such steps, and so it
    settles where a share *p* of the requests is refused. When at least half of the last requests were
    refused, nothing is sent for a second or two; then a single request tries.

    Args:
        rng: Draws the pauses.

    Attributes:
        per_s: Requests per second that this process may send; `None`: as many as it likes.
        limited_s: When the last 429 was heard, here or elsewhere.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.per_s: float | None = None
        self.limited_s = -math.inf
        self._refused, self._since, self._met_per_s = 0.0, 0, 0.0
        self._refusal_s = 0.05
        self._learned_s = self._pause_until_s = -math.inf
        self._trying = False
        self._try_s: float | None = None

    def hold_s(self, now_s: float) -> float:
        """For how many seconds nobody may leave; 0.0: one may."""
        if now_s < self._pause_until_s:
            return self._pause_until_s - now_s
        if not self._trying or self._try_s is None:
            return 0.0
        left = self._try_s + min(2.0, max(0.1, 4 * self._refusal_s)) - now_s
        if left <= 0:
            self._resume()  # refusals come quickly: who hears none has been let through
        return max(0.0, left)

    def trying(self) -> bool:
        """Whether only a single request may leave now, to see how it fares."""
        return self._trying

    def departed(self, now_s: float, *, waited: bool, sent_per_s: float, tilt: float) -> None:
        """A request leaves.

        Args:
            now_s: Now.
            waited: Whether it had to wait; only then does the pace matter to it.
            sent_per_s: At which rate this process sent lately: a pace that it does not keep does not grow.
            tilt: How much faster than usual the pace grows: above 1 below this process's fair part.
        """
        self._refused *= 1 - 1 / MEMORY
        self._since += 1
        if self._trying and self._try_s is None:
            self._try_s = now_s
        if self.per_s is None or self._trying:
            return
        if now_s - self.limited_s > FORGOTTEN_S and (not waited or self._since > FORGOTTEN_REQUESTS):
            self.free()
        elif waited and self.per_s < KEPT * sent_per_s + 1:
            self.per_s *= 1 + min(FASTEST, self._step(self.per_s) * tilt * self._haste(now_s))

    def let_through(self, now_s: float, latency_s: float) -> None:
        """An answer that is not a 429."""
        if self._trying and self._try_s is not None and now_s - latency_s >= self._try_s - 0.002:
            self._resume()

    def limited(
        self, now_s: float, latency_s: float, retry_after_s: float | None, sent_per_s: float, floor: float
    ) -> None:
        """A 429.

        Args:
            now_s: Now.
            latency_s: How long it took.
            retry_after_s: How long it said to wait, in seconds.
            sent_per_s: At which rate this process sent lately: where the pace begins.
            floor: Requests per second below which the pace does not fall.
        """
        self._refusal_s += (min(max(latency_s, 0.0), 2.0) - self._refusal_s) / 8
        self.warned(now_s, sent_per_s)
        old = self.per_s is None or now_s - latency_s < self._learned_s
        if retry_after_s is not None and retry_after_s > 0:
            self.pause(now_s, retry_after_s)
        if old or self.per_s is None:
            return  # it left before the pace was known, or before the pause that it would have caused
        if self._refused < SEVERAL:
            self._met_per_s = self.per_s
        self._refused, self._since = min(1.0, self._refused + 1 / MEMORY), 0
        self._slow(1 - min(STEEPEST, _calm_step(self.per_s) * (1 - REFUSED_SHARE) / REFUSED_SHARE), floor)
        if retry_after_s is not None:
            self._slow(EASED, floor)
        if self._refused >= NEARLY_ALL or (self._trying and self._try_s is not None):
            self._slow(0.5, floor)
            if now_s >= self._pause_until_s:
                self.pause(now_s, self._rng.uniform(*PAUSE_S))

    def warned(self, now_s: float, sent_per_s: float) -> None:
        """Somebody heard a 429: from now on the pace is watched."""
        self.limited_s = max(self.limited_s, now_s)
        if self.per_s is None:
            self.per_s, self._learned_s = max(SLOWEST_PER_S, sent_per_s), now_s

    def pause(self, now_s: float, for_s: float) -> None:
        """Nobody leaves for *for_s* seconds, at most `LONGEST_PAUSE_S`; then one tries."""
        if not math.isfinite(for_s):
            return
        self._learned_s = now_s
        self._pause_until_s = max(self._pause_until_s, now_s + min(for_s, LONGEST_PAUSE_S))
        self._trying, self._try_s = True, None

    def paused_for_s(self, now_s: float) -> float:
        """What is left of the pause, in seconds."""
        return max(0.0, self._pause_until_s - now_s)

    def free(self) -> None:
        """Forget what was learned: there is room again."""
        self.per_s, self._refused, self._met_per_s = None, 0.0, 0.0
        self._trying, self._try_s, self._pause_until_s = False, None, -math.inf

    def _haste(self, now_s: float) -> float:
        """How much faster than usual the pace grows, the longer no 429 was heard."""
        requests = self._since / max(HASTE_REQUESTS, HASTE_S * (self.per_s or 0.0))
        return 1 + requests + ((now_s - self.limited_s) / QUIET_S) ** 2

    def _step(self, per_s: float) -> float:
        if per_s < self._met_per_s / 2:
            return min(FASTEST, BACK_UP_PER_S / per_s)
        return _calm_step(per_s)

    def _resume(self) -> None:
        self._trying, self._try_s, self._refused = False, None, 0.25

    def _slow(self, factor: float, floor: float) -> None:
        if self.per_s is not None:
            self.per_s = max(SLOWEST_PER_S, min(floor, self.per_s), self.per_s * factor)


def _calm_step(per_s: float) -> float:
    return GROWTH_PER_S / max(8.0, per_s)
