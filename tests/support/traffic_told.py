"""A clock that a test moves, and what `Traffic` may hear by it."""

from __future__ import annotations

from governor.routing import limits
from governor.routing.traffic import Heard

START_MS = 1_800_000_000_000
OPUS = "claude-opus-5-5"
OK = Heard(200, latency_ms=500, answered=True)
BUSY = Heard(529, overloaded=True, latency_ms=10)
REFUSED = Heard(429, limited=True, latency_ms=10)


class Clock:
    """Unix milliseconds that stand until they are moved."""

    def __init__(self):
        self.ms = START_MS

    def __call__(self):
        return self.ms

    def pass_s(self, seconds):
        self.ms += int(seconds * 1000)


def told(limit, remaining, kind="requests"):
    """Headers of one limit."""
    name = f"anthropic-ratelimit-{kind}"
    return limits.read({f"{name}-limit": str(limit), f"{name}-remaining": str(remaining)}, START_MS)


def hear(traffic, heard, times=1, model=OPUS):
    """Requests that leave and end at once."""
    for _ in range(times):
        traffic.departing(model)
        traffic.ended(model, heard)


def with_limits(limit, remaining, kind="requests"):
    """A quick answer that tells of a limit."""
    return Heard(
        200,
        latency_ms=0,
        answered=True,
        input_tokens=100,
        output_tokens=10,
        limits=told(limit, remaining, kind),
    )
