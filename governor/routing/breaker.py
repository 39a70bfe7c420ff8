"""The breaker of one model: opened by repeated overload, closed by a probe whose answer begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.routing.load import Ring

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from governor.routing.load import Heard

SPAN_S = 30.0
"""How far back answers are looked at."""

IN_A_ROW = 5
MANY = 20
"""It opens when the last five answers and more were all overloads, or half of at least twenty; and never when
more than half of the last 30 s were not. So one overload in ten, at random, opens it once in days, if ever.
Overloads are answered at once and good answers take long: what flies meanwhile is counted as good."""

OPEN_S = (30.0, 60.0)
"""How long it stays open (B6); drawn, so that processes do not probe together."""

_BEGUN = 200
"""An answer that began was let in, though its reader gave up or the line broke before its end."""

LOST_PROBE_S = 60.0
"""A probe that nobody heard of for so long is thought to be lost, and another may leave."""


class Breaker:
    """Times are seconds by a clock that never goes back.

    Args:
        rng: Draws how long it stays open.

    Attributes:
        why: What opened it, in words; '' while it is closed.
        event: How it last changed and when: `open` or `closed`, and the moment; here or elsewhere.
        own: How often it changed here; others tell one change from the next by it.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._heard, self._overloaded = Ring(1.0, int(SPAN_S)), Ring(1.0, int(SPAN_S))
        self._row, self._row_left_s = 0, 0.0
        self._until_s: float | None = None
        self._probe_s: float | None = None
        self.why = ""
        self.event: tuple[str, float] = ("closed", float("-inf"))
        self.own: tuple[str, float, int] = ("closed", float("-inf"), 0)

    def state(self, now_s: float) -> str:
        """`closed`, `open` or `half open`."""
        if self._until_s is None:
            return "closed"
        return "open" if now_s < self._until_s else "half open"

    def opens_in_s(self, now_s: float) -> float:
        """Seconds until a probe may leave; 0.0 if one may leave now, or none is needed."""
        return 0.0 if self._until_s is None else max(0.0, self._until_s - now_s)

    def probing(self, now_s: float) -> bool:
        """Whether it is half open and a probe is under way."""
        away = self._probe_s is not None and now_s - self._probe_s < LOST_PROBE_S
        return away and self.state(now_s) == "half open"

    def departed(self, now_s: float) -> None:
        """A request leaves: the probe, if it is half open."""
        if self.state(now_s) == "half open" and not self.probing(now_s):
            self._probe_s = now_s

    def ended(self, now_s: float, heard: Heard, flying_since: Callable[[float], int]) -> bool:
        """Take in what came of a request.

        Args:
            now_s: Now.
            heard: What came of it.
            flying_since: How many requests in flight left at a moment or later.

        Returns:
            Whether that opened or closed it.
        """
        left_s = now_s - max(0, heard.latency_ms) / 1000
        if heard.status or heard.answered:
            self._count(now_s, left_s, overloaded=heard.overloaded)
        if self._until_s is None:
            return self._open_if_due(now_s, flying_since)
        if left_s < (self._until_s if heard.overloaded else self.event[1]):
            return False  # it left before: old news
        self._probe_s = None
        if heard.overloaded:
            self._open(now_s, "its probe was answered 529")
        elif heard.answered or heard.status == _BEGUN:
            self._close(now_s)
        else:
            return False
        return True

    def learn(self, state: str, at_s: float, now_s: float) -> None:
        """Another process opened or closed it at *at_s*; the later change holds, wherever it was made."""
        if at_s <= self.event[1] or at_s > now_s:
            return
        self.event = (state, at_s)
        self._probe_s = None
        if state == "open":
            self._until_s = at_s + self._rng.uniform(*OPEN_S)
            self.why = "another process was answered 529 again and again"
        else:
            self._forget()

    def _count(self, now_s: float, left_s: float, *, overloaded: bool) -> None:
        self._heard.add(now_s)
        if not overloaded:
            self._row = 0
            return
        self._overloaded.add(now_s)
        self._row_left_s = min(left_s, self._row_left_s) if self._row else left_s
        self._row += 1

    def _open_if_due(self, now_s: float, flying_since: Callable[[float], int]) -> bool:
        heard, bad = self._heard.total(now_s), self._overloaded.total(now_s)
        if self._row == 0 or bad < IN_A_ROW or 2 * bad < heard:
            return False
        in_a_row = self._row >= max(IN_A_ROW, flying_since(self._row_left_s))
        of_many = heard >= MANY and 2 * bad >= heard + flying_since(now_s - SPAN_S)
        if in_a_row or of_many:
            self._open(now_s, f"{bad} of its last {heard} answers were 529")
        return in_a_row or of_many

    def _open(self, now_s: float, why: str) -> None:
        self._until_s, self.why = now_s + self._rng.uniform(*OPEN_S), why
        self._changed("open", now_s)

    def _close(self, now_s: float) -> None:
        self._forget()
        self._changed("closed", now_s)

    def _changed(self, state: str, now_s: float) -> None:
        self.event, self.own = (state, now_s), (state, now_s, self.own[2] + 1)

    def _forget(self) -> None:
        self._until_s, self._probe_s, self._row, self.why = None, None, 0, ""
        self._heard, self._overloaded = Ring(1.0, int(SPAN_S)), Ring(1.0, int(SPAN_S))
