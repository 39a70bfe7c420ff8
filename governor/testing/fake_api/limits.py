"""Rate limits that really count down, per clock minute or as a bucket, and the headers that tell."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from governor.testing.fake_api.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Mapping

_MINUTE_MS = 60_000
_BURST_S = 5
"""Default size of a full bucket, in seconds of its refill. The API's is unknown (facts, section 7)."""

REQUESTS, INPUT, OUTPUT = "requests", "input tokens", "output tokens"
_KINDS: tuple[str, ...] = (REQUESTS, INPUT, OUTPUT)


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Limits per minute; the default is too generous to be met.

    Attributes:
        requests: Requests per minute.
        input_tokens: Uncached input and cache-write tokens per minute; cache reads are not counted.
        output_tokens: Output tokens per minute, counted as they are served.
        enforce: Whether a request beyond a limit is answered 429; if not, only the headers tell.
        bucket: Whether each limit is a token bucket (documented), refilled continuously and full at first,
            and not a count that begins again with every clock minute.
        burst: Requests that a full bucket holds; default: 5 s of its refill, at least one. The buckets of
            tokens hold the same share of their limit. The API's sizes are not documented beyond "short
            bursts can 429"; with `burst` equal to `requests` a full bucket holds a whole minute.
        retry_after: Whether a 429 says in `retry-after` when to come back.
        headers: Whether any answer carries rate-limit headers.

    Raises:
        ValueError: A bucket's `requests` or `burst` is below 1, or there is a `burst` but no bucket.
    """

    requests: int = 1_000_000
    input_tokens: int = 10_000_000_000
    output_tokens: int = 1_000_000_000
    enforce: bool = True
    bucket: bool = False
    burst: int | None = None
    retry_after: bool = True
    headers: bool = True

    def __post_init__(self) -> None:
        """Refuse buckets that could never give anything."""
        if self.burst is not None and not self.bucket:
            raise ValueError(f"burst is {self.burst}, which only a bucket has; give bucket=True")
        if self.bucket and min(self.requests, self.full_bucket) < 1:
            raise ValueError("requests and burst of a bucket: give at least 1")

    @property
    def full_bucket(self) -> int:
        """Requests that a full bucket holds."""
        return max(self.requests * _BURST_S // 60, 1) if self.burst is None else self.burst

    def of(self, kind: str) -> int:
        """The limit per minute of `REQUESTS`, `INPUT` or `OUTPUT`."""
        return {REQUESTS: self.requests, INPUT: self.input_tokens, OUTPUT: self.output_tokens}[kind]


class Gauge(Protocol):
    """What is left of one set of limits."""

    def turn(self, at_ms: int) -> None:
        """It is *at_ms* now."""
        ...

    def left(self, kind: str) -> int:
        """What is left, below 0 where more was used than there was."""
        ...

    def take(self, kind: str, amount: int) -> None:
        """Use *amount*."""
        ...

    def wait_ms(self, kind: str, amount: int) -> int:
        """Milliseconds until *amount* may be taken; 0: now."""
        ...

    def full_at_ms(self, kind: str) -> int:
        """When all of it is there again, Unix milliseconds."""
        ...


class Meter:
    """Counts requests against one set of limits. It lives in the server's thread."""

    def __init__(self, limits: RateLimits) -> None:
        self._limits = limits
        self._gauge: Gauge = Bucket(limits) if limits.bucket else ClockMinute(limits)

    def admit(self, input_tokens: int, at_ms: int) -> dict[str, str]:
        """Count one request of *input_tokens* tokens.

        Returns:
            The rate-limit headers of its answer.

        Raises:
            ApiError: 429, with `retry-after` (seconds until it would be admitted) unless that is off: a limit
                is reached. A refused request uses nothing up (assumed).
        """
        self._gauge.turn(at_ms)
        needs = {REQUESTS: 1, INPUT: input_tokens, OUTPUT: 1}
        if self._limits.enforce:
            for kind, amount in needs.items():
                wait_ms = self._gauge.wait_ms(kind, amount)
                if wait_ms:
                    wait = _retry_after(wait_ms) if self._limits.retry_after else {}
                    raise _beyond(self._limits.of(kind), kind, {**wait, **self.headers()})
        self._gauge.take(REQUESTS, 1)
        self._gauge.take(INPUT, input_tokens)
        return self.headers()

    def served(self, output_tokens: int, at_ms: int) -> None:
        """Count output tokens of an answer whose request arrived at *at_ms*."""
        if self._limits.bucket or at_ms >= self._gauge.full_at_ms(OUTPUT) - _MINUTE_MS:
            self._gauge.take(OUTPUT, output_tokens)

    def headers(self) -> dict[str, str]:
        """The twelve headers; remaining tokens are rounded to thousands, as the API rounds them.

        What remains of a bucket is what it holds, so one that is smaller than a minute's limit never shows
        the whole limit; it is reset when it is full again (documented).
        """
        if not self._limits.headers:
            return {}
        left = {kind: max(self._gauge.left(kind), 0) for kind in _KINDS}
        # The combined header shows whichever limit is nearer to being reached.
        limits = self._limits
        tightest = (
            INPUT if left[INPUT] * limits.output_tokens <= left[OUTPUT] * limits.input_tokens else OUTPUT
        )
        headers: dict[str, str] = {}
        for name, kind in (
            ("requests", REQUESTS),
            ("input-tokens", INPUT),
            ("output-tokens", OUTPUT),
            ("tokens", tightest),
        ):
            shown = left[kind] if kind is REQUESTS else _thousands(left[kind])
            headers[f"anthropic-ratelimit-{name}-limit"] = str(limits.of(kind))
            headers[f"anthropic-ratelimit-{name}-remaining"] = str(shown)
            headers[f"anthropic-ratelimit-{name}-reset"] = _instant(self._gauge.full_at_ms(kind))
        return headers


class ClockMinute:
    """Counts that begin again with every clock minute."""

    def __init__(self, limits: RateLimits) -> None:
        self._limits = limits
        self._minute = -1
        self._used: dict[str, int] = dict.fromkeys(_KINDS, 0)

    def turn(self, at_ms: int) -> None:
        """It is *at_ms* now."""
        self._at_ms = at_ms
        if at_ms // _MINUTE_MS != self._minute:
            self._minute = at_ms // _MINUTE_MS
            self._used = dict.fromkeys(_KINDS, 0)

    def left(self, kind: str) -> int:
        """What is left of the minute."""
        return self._limits.of(kind) - self._used[kind]

    def take(self, kind: str, amount: int) -> None:
        """Use *amount*."""
        self._used[kind] += amount

    def wait_ms(self, kind: str, amount: int) -> int:
        """Milliseconds to the next minute where less than *amount* is left."""
        return 0 if self.left(kind) >= amount else _to_next_minute_ms(self._at_ms)

    def full_at_ms(self, kind: str) -> int:  # noqa: ARG002 - the signature is Gauge's
        """When the minute ends."""
        return (self._minute + 1) * _MINUTE_MS


class Bucket:
    """Token buckets, in whole units of a sixty-thousandth, so that each millisecond adds the limit."""

    def __init__(self, limits: RateLimits) -> None:
        self._limits = limits
        self._at_ms: int | None = None
        share = limits.full_bucket, limits.requests
        self._capacity: Mapping[str, int] = {
            kind: max(limits.of(kind) * share[0] // share[1], 1) * _MINUTE_MS for kind in _KINDS
        }
        self._level: dict[str, int] = dict(self._capacity)

    def turn(self, at_ms: int) -> None:
        """It is *at_ms* now; a clock that goes back refills nothing."""
        passed_ms = 0 if self._at_ms is None else max(at_ms - self._at_ms, 0)
        self._at_ms = at_ms
        for kind, capacity in self._capacity.items():
            self._level[kind] = min(self._level[kind] + self._limits.of(kind) * passed_ms, capacity)

    def left(self, kind: str) -> int:
        """What it holds."""
        return self._level[kind] // _MINUTE_MS

    def take(self, kind: str, amount: int) -> None:
        """Use *amount*, on credit where it is more than there is."""
        self._level[kind] -= amount * _MINUTE_MS

    def wait_ms(self, kind: str, amount: int) -> int:
        """Milliseconds until it holds *amount*, or is full where it never holds so much."""
        lacking = min(amount * _MINUTE_MS, self._capacity[kind]) - self._level[kind]
        return self._refilled_ms(kind, lacking)

    def full_at_ms(self, kind: str) -> int:
        """When it is full again, if nothing is taken."""
        return (self._at_ms or 0) + self._refilled_ms(kind, self._capacity[kind] - self._level[kind])

    def _refilled_ms(self, kind: str, lacking: int) -> int:
        if lacking <= 0:
            return 0
        rate = self._limits.of(kind)
        return -(-lacking // rate) if rate else _MINUTE_MS


class CountMeter:
    """The counts of the current minute; their limit is apart from that of messages (documented).

    Args:
        requests_per_minute: Counts per clock minute; `None`: no limit.
    """

    def __init__(self, requests_per_minute: int | None) -> None:
        self._limit = requests_per_minute
        self._minute = -1
        self._used = 0

    def admit(self, at_ms: int) -> None:
        """Count one count.

        Raises:
            ApiError: 429 with `retry-after` (seconds to the next minute): the limit is reached. Which other
                headers the API sends here is not documented, so there are none.
        """
        if self._minute != at_ms // _MINUTE_MS:
            self._minute, self._used = at_ms // _MINUTE_MS, 0
        if self._limit is not None and self._used >= self._limit:
            raise _beyond(self._limit, REQUESTS, _retry_after(_to_next_minute_ms(at_ms)))
        self._used += 1


def _beyond(limit: int, kind: str, headers: dict[str, str]) -> ApiError:
    message = f"This request would exceed your rate limit of {limit:,} {kind} per minute."
    return ApiError(429, message, headers=headers)


def _retry_after(wait_ms: int) -> dict[str, str]:
    return {"retry-after": str(-(-wait_ms // 1000))}


def _to_next_minute_ms(at_ms: int) -> int:
    return _MINUTE_MS - at_ms % _MINUTE_MS


def _instant(at_ms: int) -> str:
    return datetime.fromtimestamp(-(-at_ms // 1000), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _thousands(tokens: int) -> int:
    return (tokens + 500) // 1000 * 1000
