"""What the rate-limit headers of an answer say; what cannot be true is left out, field by field."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

WHOLE_BP = 10_000

PREFIX = "anthropic-ratelimit-"

MOST_PER_MINUTE = 10**12
"""No limit is larger: the highest documented one is 10,000,000 input tokens per minute."""

ROUNDED_BY = 500
"""Remaining tokens are rounded to thousands (documented): so much above the limit is no lie."""

FURTHEST_RESET_MS = 3_600_000
OLDEST_RESET_MS = 60_000
"""A bucket is full again after a minute; a reset more than an hour ahead, or a minute ago, is another clock's
or a lie. (A little may have passed: answers take long, and the header is as of their beginning.)"""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """One limit, as one answer told it.

    Attributes:
        limit: Per minute; above 0.
        remaining: Of it, 0 to *limit*; `None` where that was not told, or cannot be true.
        reset_ms: When it is whole again, Unix milliseconds; `None` likewise.
    """

    limit: int
    remaining: int | None = None
    reset_ms: int | None = None


@dataclass(frozen=True, slots=True)
class RateLimits:
    """The limits that one answer told; `None` for those it did not.

    Attributes:
        requests: Requests per minute.
        tokens: Whichever token limit was the most restrictive then.
        input_tokens: Uncached input and cache-write tokens per minute; cache reads do not count.
        output_tokens: Output tokens per minute, as they are put out.
    """

    requests: RateLimit | None = None
    tokens: RateLimit | None = None
    input_tokens: RateLimit | None = None
    output_tokens: RateLimit | None = None

    def told(self) -> dict[str, RateLimit]:
        """The limits that were told, by the names of the attributes."""
        every = {name: getattr(self, name) for name in KINDS}
        return {name: limit for name, limit in every.items() if limit is not None}

    def used_bp(self) -> int | None:
        """How much of the fullest limit is used, basis points; `None` where no limit says what remains."""
        used = [
            (one.limit - one.remaining) * WHOLE_BP // one.limit
            for one in self.told().values()
            if one.remaining is not None
        ]
        return max(used, default=None)


KINDS = ("requests", "tokens", "input_tokens", "output_tokens")


def read(headers: Mapping[str, str], now_ms: int) -> RateLimits | None:
    """The rate limits in an answer's headers.

    Args:
        headers: Names in any case; what is none of the twelve is ignored.
        now_ms: Unix milliseconds, against which resets are judged.

    Returns:
        What they say (documented: a token bucket that refills all the time, `reset` in RFC 3339); `None` if
        they say nothing that can be true. It never raises.
    """
    named = {str(name).lower(): str(value) for name, value in headers.items()}
    told = {kind: _one(named, PREFIX + kind.replace("_", "-"), kind, now_ms) for kind in KINDS}
    return RateLimits(**told) if any(told.values()) else None


def _one(named: Mapping[str, str], prefix: str, kind: str, now_ms: int) -> RateLimit | None:
    limit = _count(named.get(f"{prefix}-limit", ""))
    if not limit:
        return None
    remaining = _count(named.get(f"{prefix}-remaining", ""))
    if remaining is not None:
        slack = 0 if kind == "requests" else ROUNDED_BY
        remaining = min(remaining, limit) if remaining <= limit + slack else None
    return RateLimit(limit, remaining, _moment(named.get(f"{prefix}-reset", ""), now_ms))


def _count(text: str) -> int | None:
    """A number as these headers write it: digits only, so no sign, no NaN, and no two values joined."""
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 13):
        return None
    number = int(text)
    return number if number <= MOST_PER_MINUTE else None


def _moment(text: str, now_ms: int) -> int | None:
    try:
        moment = datetime.fromisoformat(text.strip())
        at_ms = int(moment.timestamp() * 1000) if moment.tzinfo else None
    except (ValueError, OverflowError, OSError):
        return None
    return (
        at_ms
        if at_ms is not None and now_ms - OLDEST_RESET_MS <= at_ms <= now_ms + FURTHEST_RESET_MS
        else None
    )
