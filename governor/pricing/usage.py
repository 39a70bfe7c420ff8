"""What one answer used, read from the API's `usage`; nothing in it is ignored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_COUNTS = frozenset(
    {"input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"}
)
_SPLIT = frozenset({"ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"})
_SERVER_TOOLS = frozenset({"web_search_requests", "web_fetch_requests"})
"""Web fetches have no price of their own: what they bring is billed as input."""
_KNOWN_NUMBERS = frozenset(
    {
        *_COUNTS,
        *(f"cache_creation.{name}" for name in _SPLIT),
        *(f"server_tool_use.{name}" for name in _SERVER_TOOLS),
        "output_tokens_details.thinking_tokens",
    }
)


@dataclass(frozen=True, slots=True)
class Usage:
    """The billable dimensions of one request. The four kinds of input tokens exclude each other.

    Attributes:
        input_tokens: Input that was neither written to nor read from the cache.
        output_tokens: All output, thinking included.
        cache_write_5m_tokens: Input written to the cache for five minutes.
        cache_write_1h_tokens: Input written to the cache for an hour.
        cache_read_tokens: Input read from the cache.
        web_searches: Web searches made by the API.
        fast: Served in fast mode.
        batch: Served as part of a batch.
        geo: Where it was served: `us`, `global`, `not_available`, or `None`.
        unknown: Names of reported things this version has no price for, to be journalled and looked at.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    cache_read_tokens: int = 0
    web_searches: int = 0
    fast: bool = False
    batch: bool = False
    geo: str | None = None
    unknown: tuple[str, ...] = ()

    @property
    def prompt_tokens(self) -> int:
        """The whole prompt: input + cache write + cache read, in tokens."""
        cached = self.cache_write_5m_tokens + self.cache_write_1h_tokens + self.cache_read_tokens
        return self.input_tokens + cached

    @property
    def total_tokens(self) -> int:
        """What a `tokens` budget counts: the whole prompt and the output."""
        return self.prompt_tokens + self.output_tokens


def read_usage(raw: Mapping[str, Any]) -> Usage:
    """Read the `usage` of an answer.

    Args:
        raw: The API's usage object as a dictionary (`model_dump()` of the SDK's, or the JSON itself). Absent
            keys and `None` count as 0. Cache writes without the split by lifetime count as five-minute
            writes; writes beyond the split go to its one-hour part if that has any.

    Returns:
        The usage. `unknown` names every number of no known meaning, `iterations` if several models or
        passes took part, and a service tier or speed of no known price: priced as standard, but told.

    Raises:
        ValueError: A count is negative or not a whole number; the message names the field.
    """
    count = _Counts(raw)
    written = count("cache_creation_input_tokens")
    for_5m = count("cache_creation.ephemeral_5m_input_tokens")
    for_1h = count("cache_creation.ephemeral_1h_input_tokens")
    rest = max(0, written - for_5m - for_1h)
    geo = raw.get("inference_geo")
    return Usage(
        input_tokens=count("input_tokens"),
        output_tokens=count("output_tokens"),
        cache_write_5m_tokens=for_5m + (0 if for_1h else rest),
        cache_write_1h_tokens=for_1h + (rest if for_1h else 0),
        cache_read_tokens=count("cache_read_input_tokens"),
        web_searches=count("server_tool_use.web_search_requests"),
        fast=raw.get("speed") == "fast",
        batch=raw.get("service_tier") == "batch",
        geo=None if geo is None else str(geo),
        unknown=tuple(sorted(_unknown(raw))),
    )


def merge_usage(start: Mapping[str, Any] | None, delta: Mapping[str, Any] | None) -> dict[str, Any]:
    """The usage of a stream so far: what `message_start` said, overwritten by what a `message_delta` says.

    A delta's counts are cumulative, so they replace and never add. Keys that are `None` in the delta keep
    their earlier value: the cache split, tier, speed and region come only with `message_start`. Neither
    argument is changed; `None` is an event without usage.
    """
    merged = dict(start or {})
    for key, value in (delta or {}).items():
        before = merged.get(key)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            merged[key] = merge_usage(before, value)
        elif value is not None:
            merged[key] = value
    return merged


class _Counts:
    """Looks counts up by dotted name and refuses what is no count."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw = raw

    def __call__(self, name: str) -> int:
        group, _, key = name.rpartition(".")
        holder = self.raw.get(group) if group else self.raw
        if holder is None:
            return 0
        if not isinstance(holder, Mapping):
            raise ValueError(f"usage.{group} must be an object, got {holder!r}")  # noqa: TRY004 - documented
        value = holder.get(key)
        if value is None:
            return 0
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValueError(f"usage.{name} must be a whole number of at least 0, got {value!r}")
        return value


def _unknown(raw: Mapping[str, Any]) -> set[str]:
    found = set(_numbers(raw, "")) - _KNOWN_NUMBERS
    if raw.get("service_tier") not in (None, "standard", "batch"):
        found.add(f"service_tier={raw['service_tier']}")
    if raw.get("speed") not in (None, "standard", "fast"):
        found.add(f"speed={raw['speed']}")
    iterations = raw.get("iterations")
    if isinstance(iterations, Sequence) and len(iterations) > 1:
        found.add("iterations")
    return found


def _numbers(raw: Mapping[str, Any], prefix: str) -> list[str]:
    names = []
    for key, value in raw.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            names += _numbers(value, f"{name}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            names.append(name)
    return names
