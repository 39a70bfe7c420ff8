"""How loaded a model is: what was heard of it, and what that says."""

from __future__ import annotations

from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from governor.routing.limits import RateLimits

WHOLE_BP = 10_000

FEWEST_ANSWERS = 5
"""Fewer answers than that in the last minute say nothing of how often the API pushes back."""

LONGEST_CALL_S = 900.0
"""Who left longer ago than that and never ended is thought to have died on the way."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What came of one request.

    Attributes:
        status: HTTP status; 0 if there was none (no connection, silence).
        overloaded: 529, or `overloaded_error` in the stream.
        limited: A 429 that is a rate limit, not a spend cap.
        retry_after_s: What `retry-after` said, in seconds.
        latency_ms: From the departure to the end, in milliseconds.
        input_tokens: Of the answer, as the limit counts them (no cache reads); 0 if unknown.
        output_tokens: Of the answer; 0 if unknown.
        limits: What its headers said.
        answered: Whether it was answered as asked.
    """

    status: int
    overloaded: bool = False
    limited: bool = False
    retry_after_s: float | None = None
    latency_ms: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    limits: RateLimits | None = None
    answered: bool = False


@dataclass(frozen=True, slots=True)
class Load:
    """How loaded one model is, by what this process and the others heard lately.

    Attributes:
        headers_bp: Used share of its fullest rate limit, basis points.
        in_flight_bp: Share of the requests limit that what is in flight would use alone, by Little's law.
        pushed_back_bp: Share of 429 and 529 among the answers of the last minute.
        in_flight: Requests in flight, all processes.
        state: Of its breaker: `closed`, `open` or `half open`.
        why: Why the breaker is not closed; '' if it is.
        opens_in_s: Seconds until it is tried again; 0.0 if it may be now.
    """

    headers_bp: int = 0
    in_flight_bp: int = 0
    pushed_back_bp: int = 0
    in_flight: int = 0
    state: str = "closed"
    why: str = ""
    opens_in_s: float = 0.0

    @property
    def load_bp(self) -> int:
        """The highest of the three, 0 to 10,000."""
        return max(self.headers_bp, self.in_flight_bp, self.pushed_back_bp)


class Ring:
    """Counts of the last while, in slots of time that are used again.

    Args:
        slot_s: Seconds that one slot covers.
        slots: How many there are.
    """

    def __init__(self, slot_s: float, slots: int) -> None:
        self._slot_s, self._counts, self._newest, self._total = slot_s, [0] * slots, 0, 0

    def add(self, now_s: float) -> None:
        """Count one thing that happens now."""
        self._turn(now_s)
        self._counts[self._newest % len(self._counts)] += 1
        self._total += 1

    def total(self, now_s: float) -> int:
        """How many there were in all of its slots."""
        self._turn(now_s)
        return self._total

    def sum(self, now_s: float, span_s: float) -> int:
        """How many there were in the last *span_s* seconds, to within a slot."""
        self._turn(now_s)
        slots, many = self._counts, min(len(self._counts), int(span_s / self._slot_s) + 1)
        return sum(slots[(self._newest - back) % len(slots)] for back in range(many))

    def after(self, now_s: float, then_s: float) -> int:
        """How many there were in the slots after that of *then_s*."""
        self._turn(now_s)
        slots, many = self._counts, min(len(self._counts), self._newest - int(then_s / self._slot_s))
        return sum(slots[(self._newest - back) % len(slots)] for back in range(many))

    def _turn(self, now_s: float) -> None:
        slot = int(now_s / self._slot_s)
        for passed in range(min(slot - self._newest, len(self._counts))):
            place = (slot - passed) % len(self._counts)
            self._total -= self._counts[place]
            self._counts[place] = 0
        self._newest = max(slot, self._newest)


class Answers:
    """What one process heard of a model: its departures and answers of the last minute, and their means."""

    def __init__(self) -> None:
        self._flying: list[float] = []
        self._sent = Ring(0.05, 1200)
        self._heard, self._limited, self._pushed = Ring(1.0, 60), Ring(1.0, 60), Ring(1.0, 60)
        self._served = Ring(1.0, 60)
        self.latency_s = self.input_tokens = self.output_tokens = 0.0

    def departed(self, now_s: float) -> None:
        """A request is sent."""
        insort(self._flying, now_s)
        self._sent.add(now_s)

    def ended(self, now_s: float, heard: Heard) -> None:
        """It ended; which one is told by how long it took."""
        if self._flying:
            place = bisect_left(self._flying, now_s - max(0, heard.latency_ms) / 1000)
            near = [at for at in (place - 1, place) if 0 <= at < len(self._flying)]
            left_s = now_s - max(0, heard.latency_ms) / 1000
            del self._flying[min(near, key=lambda at: abs(self._flying[at] - left_s))]
        if heard.status or heard.answered:
            self._heard.add(now_s)
        if heard.limited:
            self._limited.add(now_s)
        if heard.limited or heard.overloaded:
            self._pushed.add(now_s)
        if heard.answered:
            self._served.add(now_s)
            self.latency_s = _mean(self.latency_s, max(1, heard.latency_ms) / 1000)
            self.input_tokens = _mean(self.input_tokens, heard.input_tokens)
            self.output_tokens = _mean(self.output_tokens, heard.output_tokens)

    def in_flight(self, now_s: float) -> int:
        """Requests that left and did not end yet."""
        del self._flying[: bisect_left(self._flying, now_s - LONGEST_CALL_S)]
        return len(self._flying)

    def flying_since(self, left_s: float) -> int:
        """Requests in flight that left at *left_s* or later."""
        return len(self._flying) - bisect_left(self._flying, left_s)

    def sent_after(self, now_s: float, left_s: float) -> int:
        """Requests that left after *left_s*, to within 50 ms; at most a minute is known."""
        return self._sent.after(now_s, left_s)

    def sent_per_s(self, now_s: float, span_s: float = 2.0) -> float:
        """At which rate they left lately."""
        return self._sent.sum(now_s, span_s - 0.05) / span_s

    def served(self, now_s: float) -> int:
        """Requests answered as asked in the last minute."""
        return self._served.total(now_s)

    def admitted_per_s(self, now_s: float) -> float:
        """At which rate the API let requests through, over the last minute."""
        return max(0, self._sent.total(now_s) - self._limited.total(now_s)) / 60

    def pushed_back(self, now_s: float) -> tuple[int, int]:
        """Answers of the last minute, and how many of them were 429 or 529."""
        return self._heard.total(now_s), self._pushed.total(now_s)


def _mean(before: float, value: float) -> float:
    """A fading mean: about the last twenty count."""
    value = min(max(0.0, value), 1e9)
    return value if before == 0 else before + (value - before) / 20
