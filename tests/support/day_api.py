"""The API of a simulated day: rate limits that others use up at noon, hours of 529s, a model that goes.

It bills by the fake API's own reading of the price file, and keeps prompts in a cache for five minutes, each
model its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from governor.story.effects import Ended
from governor.testing.fake_api.catalogue import shipped_catalogue
from support.governed import HAIKU, OPUS, SONNET
from support.simulated_api import BrokenError

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

RETIRING = "claude-opus-4-5"
"""The API knows it until `RETIRED_AT_H`."""

RETIRED_AT_H = 9.5
CACHED_S = 300.0
CACHEABLE_TOKENS = 1024
"""Shorter prompts are not kept."""

CHARACTERS_PER_TOKEN = 4
PER_MINUTE = {HAIKU: 60, SONNET: 40, OPUS: 30, RETIRING: 30}

Hours = tuple[tuple[float, float, dict[str, float]], ...]

OTHERS: Hours = (
    (11.0, 13.5, {OPUS: 0.96, SONNET: 0.85}),
    (12.0, 13.0, {OPUS: 0.98, SONNET: 0.95, HAIKU: 0.5}),
)
"""From and to which hour somebody else uses which share of a model's limit."""

OVERLOADS: Hours = (
    (9.5, 10.75, {OPUS: 0.5, SONNET: 0.15}),
    (16.0, 16.5, {OPUS: 0.3, SONNET: 0.3, HAIKU: 0.1}),
)
"""From and to which hour a model answers which share of its requests with 529."""


class Answer(NamedTuple):
    """What came of one sending."""

    ended: Ended
    seconds: float
    nanos: int


@dataclass(slots=True)
class _Bucket:
    level: float
    at_s: float = 0.0


@dataclass
class DayApi:
    """One organisation's API.

    Attributes:
        chance: Draws lengths, latencies and 529s.
        day_ms: When the day begins, Unix milliseconds.
        said: How often it answered what: statuses.
        cold: How many prompts were written to the cache of a model, though another one had them.
    """

    chance: random.Random
    day_ms: int
    said: dict[int, int] = field(default_factory=dict)
    cold: int = 0
    _buckets: dict[str, _Bucket] = field(default_factory=dict)
    _kept: dict[str, dict[str, tuple[int, float]]] = field(default_factory=dict)

    def send(self, body: Mapping[str, Any], now_s: float) -> Answer:
        """What becomes of a request that comes *now_s* seconds after the day began."""
        model, hour = body["model"], now_s / 3600
        status, answer = 200, None
        if model == RETIRING and hour >= RETIRED_AT_H:
            status, answer = 404, Ended("refused", not_found=model, **_failed(404))
        elif not self._admits(model, now_s):
            after_s = self.chance.choice((None, 2.0, 10.0))
            more = {"retry_after_s": after_s, "headers": self._headers(model)}
            status, answer = 429, Ended("refused", retriable=True, limited=True, **_failed(429), **more)
        elif self.chance.random() < _share(OVERLOADS, model, hour):
            status, answer = 529, Ended("refused", retriable=True, overloaded=True, **_failed(529))
        self.said[status] = self.said.get(status, 0) + 1
        if answer is not None:
            return Answer(answer, 0.1, 0)
        return self._serve(model, body, now_s)

    def _serve(self, model: str, body: Mapping[str, Any], now_s: float) -> Answer:
        most = body["max_tokens"]
        output = min(most, self.chance.randint(20, 60) + int(self.chance.random() ** 3 * most))
        usage = {**self._prompt(model, body, now_s), "output_tokens": output}
        seconds = 0.5 + output / self.chance.uniform(60, 120)
        ended = Ended(
            "answered",
            message=SimpleNamespace(stop_reason="end_turn", model=model),
            usage=usage,
            model=model,
            status=200,
            headers=self._headers(model),
            latency_ms=int(seconds * 1000),
            first_token_ms=400,
        )
        return Answer(ended, seconds, _bill(model, tuple(sorted(usage.items())), self.day_ms))

    def _prompt(self, model: str, body: Mapping[str, Any], now_s: float) -> dict[str, int]:
        """The tokens of a prompt as its usage has them: read from the cache, written to it, or neither."""
        tokens = prompt_tokens(body)
        if "cache_control" not in body or tokens < CACHEABLE_TOKENS:
            return {"input_tokens": tokens}
        known = self._kept.setdefault(str(body["messages"][0]["content"]), {})
        length, until_s = known.get(model, (0, 0.0))
        read = min(length, tokens) if now_s < until_s else 0
        self.cold += not read and any(now_s < until for _, until in known.values())
        known[model] = (tokens, now_s + CACHED_S)
        return {
            "input_tokens": 0,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": tokens - read,
        }

    def _admits(self, model: str, now_s: float) -> bool:
        """Take one request of what is left of a model's limit, if there is one."""
        limit = PER_MINUTE[model]
        bucket = self._buckets.setdefault(model, _Bucket(limit, now_s))
        free = limit * (1 - _share(OTHERS, model, now_s / 3600))  # what somebody else leaves of it
        bucket.level += (now_s - bucket.at_s) * free / 60
        bucket.level, bucket.at_s = min(bucket.level, max(free, 1.0)), now_s
        if bucket.level < 1:
            return False
        bucket.level -= 1
        return True

    def _headers(self, model: str) -> dict[str, str]:
        name = "anthropic-ratelimit-requests"
        left = int(self._buckets[model].level)
        return {f"{name}-limit": str(PER_MINUTE[model]), f"{name}-remaining": str(left)}


def prompt_tokens(body: Mapping[str, Any]) -> int:
    """How long a prompt is, as the API counts it."""
    characters = sum(len(str(message["content"])) for message in body["messages"])
    tools = sum(len(str(tool)) for tool in body.get("tools") or ())
    return (characters + tools + len(body.get("system") or "")) // CHARACTERS_PER_TOKEN + 8


def _failed(status: int) -> dict[str, Any]:
    return {"error": BrokenError(str(status)), "status": status}


def _share(hours: Hours, model: str, hour: float) -> float:
    """The largest share that *hours* has of a model then."""
    found = (shares.get(model, 0.0) for since, until, shares in hours if since <= hour < until)
    return max(found, default=0.0)


@lru_cache(maxsize=65_536)
def _bill(model: str, usage: tuple[tuple[str, int], ...], at_ms: int) -> int:
    """Nano-dollars that the API charges, rounded up once a request."""
    return math.ceil(shipped_catalogue().charge(model, dict(usage), at_ms))
