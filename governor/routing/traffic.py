"""What each model's API can still take, and who may send to it next."""

from __future__ import annotations

import math
import random
from contextlib import nullcontext
from typing import TYPE_CHECKING

from governor.routing.lane import Lane
from governor.routing.load import Heard, Load
from governor.routing.notices import TOLD_S, Board, Word, write
from governor.routing.pace import PAUSE_S
from governor.routing.turns import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

__all__ = ["Heard", "Load", "Traffic", "Turn"]

MOST_MODELS = 256
"""Models that are kept in mind; the one least recently used makes room for another."""

TOLD_AGAIN_S = 0.2
OTHERS_AGAIN_S = 0.25
BACK_S = 2.0
"""A clock that goes back by less stands still until it has caught up; by more, it was set."""


class Traffic:
    """What one process knows of all models: it is told what happens, and says what follows.

    Pure: it neither waits nor sends. Several threads may use it where *lock* makes a real lock.

    Args:
        process: This process's name among those that exchange notices.
        clock: Unix milliseconds by the ledger's clock. It may jump: back, and time stands still or goes on
            from where it was; ahead, and what was to be waited for is over.
        rng: Draws pauses, and for how long breakers stay open.
        lock: Makes the lock; none is needed where one thread drives.
    """

    def __init__(
        self,
        process: str,
        clock: Callable[[], int],
        rng: random.Random | None = None,
        lock: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.process = process
        self._clock, self._rng = clock, rng or random.Random()  # noqa: S311 - jitter, not a secret
        self._make_lock = lock
        self._lock = lock()
        self._board = Board(process)
        self._lanes: dict[str, Lane] = {}
        self._looked_s: dict[str, float] = {}
        self._base_ms, self._last_s = clock(), 0.0
        self._news = self._urgent = False
        self._told_s = -math.inf

    def renew(self, process: str) -> None:
        """Begin anew under another name, as a forked child does: its parent's lock may be held for ever."""
        self.process, self._lock, self._board = process, self._make_lock(), Board(process)
        self._lanes.clear()
        self._looked_s.clear()

    # What happens

    def departing(self, model: str) -> None:
        """A request is sent now; a `Turn` that says 0.0 has recorded that itself."""
        with self._lock:
            now_s = self._now_s()
            self._lane(model, now_s).departed(now_s)
            self._news = True

    def ended(self, model: str, heard: Heard) -> None:
        """A request ended: it is no longer in flight, and *heard* is what came of it."""
        with self._lock:
            now_s = self._now_s()
            self._urgent |= self._lane(model, now_s).ended(now_s, self._clock(), heard)
            self._news = True

    # What others say

    def notice(self) -> str | None:
        """A line for the other processes, shorter than 1,500 characters.

        Returns:
            `None` if nothing happened since the last one, or that was less than 200 ms ago; a breaker that
            opened or closed and a first 429 are told at once.
        """
        with self._lock:
            now_s = self._now_s()
            if not self._urgent and (not self._news or now_s - self._told_s < TOLD_AGAIN_S):
                return None
            self._news = self._urgent = False
            self._told_s = now_s
            lanes = [(n, lane) for n, lane in self._lanes.items() if now_s - lane.touched_s <= TOLD_S]
            lanes.sort(key=lambda one: one[1].touched_s, reverse=True)
            return write((name, _word(lane, now_s)) for name, lane in lanes)

    def learn(self, lines: Iterable[tuple[str, int, str]], now_ms: int) -> None:
        """Take in what other processes said.

        Args:
            lines: Process, Unix milliseconds by the ledger's clock when it was said, text. Malformed, old
                and known ones, and those of this process, are ignored.
            now_ms: Unix milliseconds by the same clock, now.
        """
        with self._lock:
            now_s = self._now_s()
            for line in lines:
                for model, word, age_s, changed in self._board.learn(line, now_ms, now_s):
                    lane = self._heard_of(model, now_s)
                    if lane is not None:
                        _take(lane, word, now_s, age_s, changed=changed)

    # What follows

    def load_bp(self, models: Iterable[str]) -> int:
        """The load of the fullest of *models*, basis points (0 to 10,000); 0 if there are none."""
        return max((self.view(model).load_bp for model in models), default=0)

    def view(self, model: str) -> Load:
        """How loaded *model* is."""
        with self._lock:
            now_s = self._now_s()
            return self._lane(model, now_s).view(now_s) if model in self._lanes else Load()

    def available(self, model: str, open_bp: int = 9000) -> str:
        """Whether *model* should be chosen.

        Args:
            model: Its id.
            open_bp: The used share of a rate limit from which it should not, basis points (B7); it should
                again below 8,000.

        Returns:
            '' if it should; else why not, in words.
        """
        with self._lock:
            now_s = self._now_s()
            return self._lane(model, now_s).unavailable(now_s, open_bp) if model in self._lanes else ""

    # Turns

    def queue(self, model: str, user: str, throttle_bp: int = 8000) -> Turn:
        """A ticket for one request.

        Args:
            model: Where it will be sent.
            user: Whose it is: users take turns.
            throttle_bp: The used share of a limit up to which it need not wait, basis points (B7).
        """
        with self._lock:
            lane = self._lane(model, self._now_s())

        def ask(turn: Turn) -> float:
            with self._lock:
                now_s = self._now_s()
                self._look(model, lane, now_s)
                self._news = True
                return lane.ask(turn, now_s)

        def leave(turn: Turn) -> None:
            with self._lock:
                lane.leave(turn)

        return Turn(user, throttle_bp, ask, leave)

    # How

    def _now_s(self) -> float:
        """Seconds that never go back, by a clock that may."""
        now_ms = self._clock()
        now_s = (now_ms - self._base_ms) / 1000
        if now_s < self._last_s - BACK_S:
            self._base_ms, now_s = now_ms - int(self._last_s * 1000), self._last_s
        self._last_s = max(self._last_s, now_s)
        return self._last_s

    def _lane(self, model: str, now_s: float) -> Lane:
        lane = self._lanes.get(model)
        if lane is None:
            if len(self._lanes) >= MOST_MODELS:
                lanes = self._lanes
                oldest = min(lanes, key=lambda name: (not lanes[name].idle(now_s), lanes[name].touched_s))
                del self._lanes[oldest]
                self._looked_s.pop(oldest, None)
            lane = self._lanes[model] = Lane(self._rng)
        lane.touched_s = now_s
        self._look(model, lane, now_s)
        return lane

    def _heard_of(self, model: str, now_s: float) -> Lane | None:
        """The lane of a model of which another process speaks; for that, no other lane makes room."""
        lane = self._lanes.get(model)
        if lane is None:
            return self._lane(model, now_s) if len(self._lanes) < MOST_MODELS else None
        lane.touched_s = now_s
        self._looked_s.pop(model, None)  # so that whoever asks next looks again
        return lane

    def _look(self, model: str, lane: Lane, now_s: float) -> None:
        """What the others said of it, as it is now."""
        if now_s - self._looked_s.get(model, -math.inf) >= OTHERS_AGAIN_S:
            lane.others = self._board.others(model, now_s)
            if self._lanes.get(model) is lane:
                self._looked_s[model] = now_s


def _word(lane: Lane, now_s: float) -> Word:
    answers, pushed = lane.answers.pushed_back(now_s)
    state, at_s, serial = lane.breaker.own
    newest_s, ago_s = lane.buckets.newest_s(), now_s - lane.pace.limited_s
    pause_s = lane.pace.paused_for_s(now_s)
    return Word(
        lane.answers.in_flight(now_s),
        answers,
        pushed,
        round(lane.answers.sent_per_s(now_s) * 60),
        lane.waiting,
        round(lane.answers.latency_s * 1000),
        limited_ms=int(ago_s * 1000) if ago_s <= TOLD_S else None,
        pause_ms=int(pause_s * 1000) if pause_s > PAUSE_S[1] else 0,
        limits=lane.buckets.levels() if newest_s is not None else None,
        limits_ms=int((now_s - newest_s) * 1000) if newest_s is not None else 0,
        breaker=(state, int((now_s - at_s) * 1000), serial) if now_s - at_s <= TOLD_S else None,
    )


def _take(lane: Lane, word: Word, now_s: float, age_s: float, *, changed: bool) -> None:
    """What another process said of this model *age_s* seconds ago."""
    if word.limits is not None:
        left_s = now_s - age_s - word.limits_ms / 1000
        lane.told(word.limits, now_s, left_s=left_s, said_s=now_s - age_s)
    if word.breaker is not None and changed:
        state, ago_ms, _ = word.breaker
        lane.breaker.learn(state, now_s - age_s - ago_ms / 1000, now_s)
    if word.limited_ms is not None and word.limited_ms / 1000 + age_s < PAUSE_S[1]:
        lane.pace.warned(now_s, lane.answers.sent_per_s(now_s))
    pause_s = word.pause_ms / 1000 - age_s
    if pause_s > lane.pace.paused_for_s(now_s) + 0.5:
        lane.pace.warned(now_s, lane.answers.sent_per_s(now_s))
        lane.pace.pause(now_s, pause_s)
