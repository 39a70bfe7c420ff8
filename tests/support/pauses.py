"""Calls of a real governor whose pauses take no time: a test sees how long each would have been."""

from __future__ import annotations

import heapq
import math
import threading
from typing import TYPE_CHECKING, Any

from governor.story.effects import Sleep
from support.governed import until

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from support.governed import Caller

A_LITTLE_S = 0.001
"""A sleep is never shorter than was asked for, and the clock counts whole milliseconds."""


def pauses(caller: Caller, meanwhile: Callable[[float], Any] = lambda _: None) -> list[float]:
    """The seconds of each pause of *caller* from now on; *meanwhile* is called with them, and may raise.

    The stage's clock moves on by as much as would have been slept: who waits for a turn waits until then.
    """
    governor, clock, seen = caller.governor, caller.clock, []
    perform = governor._perform

    def passed(seconds: float) -> Any:
        seen.append(seconds)
        if clock is not None:
            clock.forward(seconds + A_LITTLE_S)
        return meanwhile(seconds)

    def blocking(effect: Any, run: Any) -> Any:
        return passed(effect.seconds) if isinstance(effect, Sleep) else perform(effect, run)

    async def on_a_loop(effect: Any, run: Any) -> Any:
        return passed(effect.seconds) if isinstance(effect, Sleep) else await perform(effect, run)

    governor._perform = on_a_loop if hasattr(caller, "_loop") else blocking
    return seen


class Sleepers:
    """Calls of a blocking governor in threads that sleep in virtual time, and wake one after the other.

    Only one call runs at a time, so that the order of things is that of the stage's clock alone.
    """

    def __init__(self, caller: Caller) -> None:
        self._clock, self._lock = caller.clock, threading.Lock()
        self._asleep: list[tuple[int, int, threading.Event]] = []
        self._slept = 0
        perform = caller.governor._perform

        def blocking(effect: Any, run: Any) -> Any:
            return self._sleep(effect.seconds) if isinstance(effect, Sleep) else perform(effect, run)

        caller.governor._perform = blocking

    def settle(self, calls: Sequence[Future[Any]]) -> None:
        """Wait until each of *calls* is asleep or done."""
        until(lambda: len(self._asleep) == sum(not call.done() for call in calls))

    def run(self, calls: Sequence[Future[Any]]) -> None:
        """Let time pass until all of *calls* are done."""
        self.settle(calls)
        while self._asleep:
            with self._lock:
                wakes_ms, _, awake = heapq.heappop(self._asleep)
            self._clock.forward(max(0, wakes_ms - self._clock()) / 1000)
            awake.set()
            self.settle(calls)

    def _sleep(self, seconds: float) -> None:
        awake = threading.Event()
        with self._lock:
            self._slept += 1
            heapq.heappush(self._asleep, (self._clock() + math.ceil(seconds * 1000), self._slept, awake))
        assert awake.wait(20)
