"""Rate limits that really count down, and the headers that tell."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from governor.testing.fake_api.errors import ApiError

_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class RateLimits:
    """Limits per clock minute for the whole server; the default is too generous to be met.

    Attributes:
        requests: Requests per minute.
        input_tokens: Uncached input and cache-write tokens per minute; cache reads are not counted.
        output_tokens: Output tokens per minute, counted as they are served.
        enforce: Whether a request beyond a limit is answered 429; if not, only the headers tell.
    """

    requests: int = 1_000_000
    input_tokens: int = 10_000_000_000
    output_tokens: int = 1_000_000_000
    enforce: bool = True


class Meter:
    """What the current minute has used. It lives in the server's thread."""

    def __init__(self, limits: RateLimits) -> None:
        self._limits = limits
        self._minute = -1
        self._used = {"requests": 0, "input": 0, "output": 0}
        self._reset = ""

    def admit(self, input_tokens: int, at_ms: int) -> dict[str, str]:
        """Count one request of *input_tokens* tokens.

        Returns:
            The rate-limit headers of its answer.

        Raises:
            ApiError: 429 with `retry-after` (seconds to the next minute): a limit is reached.
        """
        self._turn(at_ms)
        if self._limits.enforce:
            self._refuse_beyond(input_tokens, at_ms)
        self._used["requests"] += 1
        self._used["input"] += input_tokens
        return self.headers()

    def served(self, output_tokens: int, at_ms: int) -> None:
        """Count output tokens of an answer whose request arrived at *at_ms*."""
        if at_ms // _MINUTE_MS == self._minute:
            self._used["output"] += output_tokens

    def _turn(self, at_ms: int) -> None:
        minute = at_ms // _MINUTE_MS
        if minute != self._minute:
            self._minute = minute
            self._used = dict.fromkeys(self._used, 0)
            self._reset = datetime.fromtimestamp((minute + 1) * 60, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _refuse_beyond(self, input_tokens: int, at_ms: int) -> None:
        limits, used = self._limits, self._used
        for passed, limit, name in (
            (used["requests"] + 1 <= limits.requests, limits.requests, "requests"),
            (used["input"] + input_tokens <= limits.input_tokens, limits.input_tokens, "input tokens"),
            (used["output"] < limits.output_tokens, limits.output_tokens, "output tokens"),
        ):
            if not passed:
                raise _beyond(limit, name, at_ms, self.headers())

    def headers(self) -> dict[str, str]:
        """The twelve headers; remaining tokens are rounded to thousands, as the API rounds them."""
        limits, used = self._limits, self._used
        left_input = max(limits.input_tokens - used["input"], 0)
        left_output = max(limits.output_tokens - used["output"], 0)
        # The combined header shows whichever limit is nearer to being reached.
        if left_input * limits.output_tokens <= left_output * limits.input_tokens:
            tightest = (limits.input_tokens, left_input)
        else:
            tightest = (limits.output_tokens, left_output)
        headers: dict[str, str] = {}
        for name, limit, left in (
            ("requests", limits.requests, max(limits.requests - used["requests"], 0)),
            ("input-tokens", limits.input_tokens, _thousands(left_input)),
            ("output-tokens", limits.output_tokens, _thousands(left_output)),
            ("tokens", tightest[0], _thousands(tightest[1])),
        ):
            headers[f"anthropic-ratelimit-{name}-limit"] = str(limit)
            headers[f"anthropic-ratelimit-{name}-remaining"] = str(left)
            headers[f"anthropic-ratelimit-{name}-reset"] = self._reset
        return headers


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
            raise _beyond(self._limit, "requests", at_ms, {})
        self._used += 1


def _beyond(limit: int, name: str, at_ms: int, headers: dict[str, str]) -> ApiError:
    wait_s = -(-(_MINUTE_MS - at_ms % _MINUTE_MS) // 1000)
    message = f"This request would exceed your rate limit of {limit:,} {name} per minute."
    return ApiError(429, message, headers={"retry-after": str(wait_s), **headers})


def _thousands(tokens: int) -> int:
    return (tokens + 500) // 1000 * 1000
