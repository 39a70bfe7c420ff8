"""Callers of a rate-limited API in virtual time: what a client's manners bring them, to the millisecond.

Nothing sleeps and nothing is sent: events lie on a heap. The API is a token bucket that refills all the time
(as documented) or counts by the clock minute (as the fake API does); some answers are 529. Callers ask
`Traffic` before they send, or retry as the bare SDK does.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from governor.routing import limits as headers_of
from governor.routing.traffic import Heard, Traffic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

START_MS = 1_800_000_000_000
MODEL = "claude-opus-5-5"


@dataclass(frozen=True)
class Api:
    """How the API behaves.

    Attributes:
        limit: Requests per minute.
        burst: What the bucket holds at most; `None`: as much as the limit.
        fixed_window: Whether it counts by the clock minute instead.
        headers: Whether answers carry rate-limit headers.
        retry_after: Whether a 429 says how long to wait.
        overloaded: The share of 529s; they count against the limit.
        latency_s: How long an answer takes, at least and at most.
        lie: Changes the headers.
    """

    limit: int = 2400
    burst: int | None = None
    fixed_window: bool = False
    headers: bool = True
    retry_after: bool = False
    overloaded: float = 0.1
    latency_s: tuple[float, float] = (0.3, 0.7)
    refusal_s: tuple[float, float] = (0.005, 0.03)
    lie: Callable[[dict[str, str]], dict[str, str]] = field(default=lambda told: told)


def crowd(big: int = 60, others: int = 140, users: int = 19) -> tuple[str, ...]:
    """Whose each caller is: one user with many callers, the others with about the same few."""
    return ("big",) * big + tuple(f"user-{number % users}" for number in range(others))


@dataclass
class Outcome:
    """What came of it: counts of requests by status, of successes by user, and what the API permitted."""

    statuses: Counter[int] = field(default_factory=Counter)
    by_user: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    admitted: int = 0
    permitted: float = 0.0

    @property
    def successes(self) -> int:
        return self.statuses[200]

    @property
    def used(self) -> float:
        """The share of what was permitted that was admitted; 529s are admitted, then fail."""
        return self.admitted / self.permitted

    @property
    def cost(self) -> float:
        """HTTP requests for each one permitted."""
        return self.statuses.total() / self.permitted

    def least_share(self, users: Sequence[str]) -> float:
        """What the worst served user got, of the mean."""
        everybody = set(users)
        return min(self.by_user[user] for user in everybody) / (self.successes / len(everybody))


class World:
    """Callers in a loop for a while.

    Args:
        api: How it behaves.
        callers: The user of each.
        seed: All chance follows from it.
        processes: How many share the callers, each with its own `Traffic`; 0: bare SDK clients.
        for_s: How long.
        start_s: Seconds into the clock minute at the start.
    """

    def __init__(
        self,
        api: Api,
        callers: Sequence[str] = crowd(),
        *,
        seed: int = 1,
        processes: int = 1,
        for_s: float = 60.0,
        start_s: float = 20.0,
    ) -> None:
        self.api, self.callers, self.for_s = api, callers, for_s
        self.rng = random.Random(seed)
        self.now_s, self.skew_ms, self.start_s = 0.0, 0, start_s
        self.outcome = Outcome()
        self.longest_s: Counter[str] = Counter()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = count()
        self.capacity = float(api.limit if api.burst is None else api.burst)
        self._level, self._level_s, self._minute = self.capacity, 0.0, -1
        self.traffics = [
            Traffic(f"process-{number}", self.clock_ms, random.Random(seed * 100 + number))
            for number in range(processes)
        ]
        self.lines: dict[str, tuple[str, int, str]] = {}

    def clock_ms(self) -> int:
        return START_MS + int((self.now_s + self.start_s) * 1000) + self.skew_ms

    def at(self, delay_s: float, action: Callable[[], None]) -> None:
        """Let *action* happen after *delay_s*."""
        heapq.heappush(self._events, (self.now_s + delay_s, next(self._serial), action))

    def play(self) -> Outcome:
        """Let everything happen until the time is over."""
        for place, user in enumerate(self.callers):
            life = self._governed(place, user) if self.traffics else self._bare(user)
            self.at(self.rng.random() * 0.05, partial(self._wake, life))
        while self._events and self._events[0][0] <= self.for_s:
            self.now_s, _, action = heapq.heappop(self._events)
            action()
        self.outcome.permitted = self._permitted()
        return self.outcome

    def _wake(self, life: Iterator[float]) -> None:
        self.at(next(life), partial(self._wake, life))

    def _governed(self, place: int, user: str) -> Iterator[float]:
        """A caller that asks before each request and does nothing but call again."""
        traffic = self.traffics[place % len(self.traffics)]
        name = f"process-{place % len(self.traffics)}"
        while True:
            since_s = self.now_s
            turn = traffic.queue(MODEL, user)
            try:
                while True:
                    self.outcome.asked += 1
                    wait_s = turn.wait_s()
                    if wait_s <= 0:
                        break
                    yield wait_s + self.rng.random() * 0.005
            finally:
                turn.leave()
            self.longest_s[user] = max(self.longest_s[user], self.now_s - since_s)
            self._exchange(name, traffic)
            status, latency_s, headers = self._answer()
            yield latency_s
            self._count(user, status)
            retry = headers.get("retry-after")
            traffic.ended(
                MODEL,
                Heard(
                    status,
                    overloaded=status == 529,
                    limited=status == 429,
                    retry_after_s=float(retry) if retry else None,
                    latency_ms=int(latency_s * 1000),
                    input_tokens=1000 if status == 200 else 0,
                    output_tokens=200 if status == 200 else 0,
                    limits=headers_of.read(headers, self.clock_ms()),
                    answered=status == 200,
                ),
            )
            self._exchange(name, traffic)

    def _bare(self, user: str) -> Iterator[float]:
        """A caller of the bare SDK: three attempts, half a second and a second between them."""
        while True:
            for attempt in range(3):
                status, latency_s, headers = self._answer()
                yield latency_s
                self._count(user, status)
                if status == 200:
                    break
                if attempt < 2:
                    pause = min(0.5 * 2**attempt, 8) * self.rng.uniform(0.75, 1)
                    yield float(headers.get("retry-after", pause))

    def _exchange(self, name: str, traffic: Traffic) -> None:
        if len(self.traffics) < 2:
            return
        text = traffic.notice()
        if text is not None:
            assert len(text) < 1500
            self.lines[name] = (name, self.clock_ms(), text)
        traffic.learn(list(self.lines.values()), self.clock_ms())

    def _count(self, user: str, status: int) -> None:
        self.outcome.statuses[status] += 1
        if status == 200:
            self.outcome.by_user[user] += 1

    # The API

    def _answer(self) -> tuple[int, float, dict[str, str]]:
        self._refill()
        if self._level < 1:
            headers = self._headers()
            if self.api.retry_after:
                wait_s = 60 - (self.now_s + self.start_s) % 60 if self.api.fixed_window else 1
                headers["retry-after"] = str(-(-int(wait_s * 1000) // 1000))
            return 429, self.rng.uniform(*self.api.refusal_s), headers
        self._level -= 1
        self.outcome.admitted += 1
        if self.rng.random() < self.api.overloaded:
            return 529, self.rng.uniform(*self.api.refusal_s), {}
        return 200, self.rng.uniform(*self.api.latency_s), self._headers()

    def _refill(self) -> None:
        if self.api.fixed_window:
            minute = int(self.now_s + self.start_s) // 60
            if minute != self._minute:
                self._minute, self._level = minute, self.capacity
            return
        self._level += (self.now_s - self._level_s) * self.api.limit / 60
        self._level, self._level_s = min(self._level, self.capacity), self.now_s

    def _permitted(self) -> float:
        if not self.api.fixed_window:
            return self.capacity + self.for_s * self.api.limit / 60
        windows = int(self.start_s + self.for_s) // 60 - int(self.start_s) // 60 + 1
        return windows * self.capacity

    def _headers(self) -> dict[str, str]:
        if not self.api.headers:
            return {}
        name, now_s = "anthropic-ratelimit-requests", self.clock_ms() / 1000
        full_s = (self.capacity - self._level) * 60 / self.api.limit
        if self.api.fixed_window:
            full_s = 60 - (self.now_s + self.start_s) % 60
        told = {
            f"{name}-limit": str(self.api.limit),
            f"{name}-remaining": str(int(self._level)),
            f"{name}-reset": datetime.fromtimestamp(math.ceil(now_s + full_s), UTC).isoformat(),
        }
        return self.api.lie(told)
