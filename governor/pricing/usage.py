"""What one answer used, read from the API's `usage`; nothing in it is ignored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

_COUNTS = frozenset(
    {"input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"}
)
_PROMPT = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
_SPLIT = frozenset({"ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"})
_SERVER_TOOLS = frozenset({"web_search_requests", "web_fetch_requests", "code_execution_requests"})
"""Fetches have no price of their own: what they bring is billed as input. Code execution is free beside the
web tools, and refused alone (see `governor.pricing.server_tools`)."""
_KNOWN_NUMBERS = frozenset(
    {
        *_COUNTS,
        *(f"cache_creation.{name}" for name in _SPLIT),
        *(f"server_tool_use.{name}" for name in _SERVER_TOOLS),
    }
)
_MOST = 100_000_000
"""No request has more of anything: a hundred passes of the largest context window. What a broken gateway says
beyond it is not believed, for it would close a budget."""
_DETAILS = ("output_tokens_details.", "iterations.output_tokens_details.")
"""A read-only breakdown of `output_tokens`, which alone is billed (SDK, `Usage.output_tokens_details`)."""
MESSAGE, FALLBACK, COMPACTION, ADVISOR = "message", "fallback_message", "compaction", "advisor_message"
_IN_TOTALS = frozenset({MESSAGE, FALLBACK})
"""The kinds of passes that the totals include; they leave out compaction and the advisor (SDK,
`BetaUsage.iterations`)."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens by what they cost. The four kinds of input tokens exclude each other.

    Attributes:
        input_tokens: Input that was neither written to nor read from the cache.
        output_tokens: All output, thinking included.
        cache_write_5m_tokens: Input written to the cache for five minutes.
        cache_write_1h_tokens: Input written to the cache for an hour.
        cache_read_tokens: Input read from the cache.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    cache_read_tokens: int = 0

    @property
    def prompt_tokens(self) -> int:
        """The whole prompt: input + cache write + cache read, in tokens."""
        cached = self.cache_write_5m_tokens + self.cache_write_1h_tokens + self.cache_read_tokens
        return self.input_tokens + cached


@dataclass(frozen=True, slots=True)
class Pass(Tokens):
    """One pass of a model over a prompt: an entry of `usage.iterations`.

    Attributes:
        kind: `message`, `fallback_message`, `compaction` or `advisor_message`.
        model: The model that made it; `None`: the one that served the request.
        free: It is listed and not billed: a fallback's declined attempt, before any output.
    """

    kind: str = MESSAGE
    model: str | None = None
    free: bool = False


@dataclass(frozen=True, slots=True)
class Usage(Tokens):
    """The billable dimensions of one request; the tokens are the API's totals.

    Attributes:
        web_searches: Web searches made by the API.
        fast: Served in fast mode; `None`: the API did not say.
        batch: Served as part of a batch.
        geo: Where it was served: `us`, `global`, `not_available`, or `None`.
        passes: The passes it was made of, where they are not one `message` of the model that served.
        unknown: Names of reported things this version has no price for, to be journalled and looked at.
    """

    web_searches: int = 0
    fast: bool | None = False
    batch: bool = False
    geo: str | None = None
    passes: tuple[Pass, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[Pass, ...]:
        """What it is made of: the passes, and what the totals show beyond them."""
        rest = self._beyond([one for one in self.passes if one.kind in _IN_TOTALS])
        return (*self.passes, rest) if rest != Pass() else self.passes

    @property
    def billed(self) -> tuple[Pass, ...]:
        """The parts that are billed, each at its own model."""
        return tuple(part for part in self.parts if not part.free)

    @property
    def total_tokens(self) -> int:
        """What a `tokens` budget counts: the prompt and the output of every part, billed or free."""
        return sum(part.prompt_tokens + part.output_tokens for part in self.parts)

    def _beyond(self, told: Sequence[Tokens]) -> Pass:
        """What the totals show beyond *told*.

        Cache writes are compared as one number, for the totals of a stream know the lifetimes of its first
        pass only (SDK, `MessageDeltaUsage`); what is beyond takes the longest lifetime that shows.
        """

        def beyond(*names: str) -> int:
            total: int = sum(getattr(self, name) for name in names)
            listed: int = sum(getattr(one, name) for one in told for name in names)
            return max(0, total - listed)

        writes = beyond("cache_write_5m_tokens", "cache_write_1h_tokens")
        hour = self.cache_write_1h_tokens or any(one.cache_write_1h_tokens for one in told)
        return Pass(
            beyond("input_tokens"),
            beyond("output_tokens"),
            0 if hour else writes,
            writes if hour else 0,
            beyond("cache_read_tokens"),
        )

    def declined(self) -> Usage:
        """The same, refused before any output: only compaction and the advisor are billed."""
        return replace(self, passes=tuple(replace(one, free=one.kind in _IN_TOTALS) for one in self.parts))


_Five = tuple[int, int, int, int, int]


def read_usage(raw: Mapping[str, Any], *, hour_writes: bool = False) -> Usage:
    """Read the `usage` of an answer.

    Args:
        raw: The API's usage object as a dictionary (`model_dump()` of the SDK's, or the JSON itself). Absent
            keys and `None` count as 0, but for `input_tokens` and `output_tokens`, which the API always
            sends. Cache writes beyond the split by lifetime, or without one, count as five-minute writes;
            as one-hour writes if the split has any, or the request asked for them.
        hour_writes: Whether the request asked for one-hour writes.

    Returns:
        The usage. `unknown` names every number but 0 of no known meaning, a kind of iteration, a service
        tier or a speed of no known price, and a redeemed `fallback_credit`: priced as if they were not
        there, so the whole hold is to be charged at least. Numbers in `output_tokens_details` are none: they
        break `output_tokens` down, which is billed (SDK, `Usage`).

    Raises:
        ValueError: A count is missing, negative or not a whole number; the message names the field.
    """
    geo = raw.get("inference_geo")
    totals = _tokens(_Counts(raw, "usage"), hour_writes=hour_writes)
    passes = _passes(raw, totals, hour_writes=hour_writes)
    return Usage(
        *totals,
        web_searches=_Counts(raw, "usage")("server_tool_use.web_search_requests"),
        fast=None if raw.get("speed") is None else raw["speed"] == "fast",
        batch=raw.get("service_tier") == "batch",
        geo=None if geo is None else str(geo),
        passes=passes,
        unknown=tuple(sorted(_unknown(raw, passes))),
    )


def merge_usage(start: Mapping[str, Any] | None, delta: Mapping[str, Any] | None) -> dict[str, Any]:
    """The usage of a stream so far: what `message_start` said, overwritten by what a `message_delta` says.

    A delta's counts are cumulative, so they replace and never add. Keys that are `None` in the delta keep
    their earlier value: the cache split, tier, speed and region come only with `message_start`. Cumulative
    counts cannot fall, so a delta whose prompt (input, cache writes and reads together) is smaller keeps the
    earlier prompt, and one whose output is smaller the earlier output: some gateways send 0 there. An output
    that is no number is kept, to be refused by `read_usage`: the earlier one is a placeholder. Neither
    argument is changed; `None` is an event without usage.
    """
    before, after = dict(start or {}), dict(delta or {})
    if _prompt({**before, **_given(after)}) < _prompt(before):
        after = {key: value for key, value in after.items() if key not in _PROMPT}
    output = after.get("output_tokens", 0)
    if (output is None or isinstance(output, int)) and _number(output) < _number(before.get("output_tokens")):
        after.pop("output_tokens", None)
    return _overwritten(before, after)


def _overwritten(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(before)
    for key, value in _given(after).items():
        was = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(was, Mapping)
        merged[key] = _overwritten(was, value) if both and was is not None else value
    return merged


def _given(usage: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in usage.items() if value is not None}


def _prompt(usage: Mapping[str, Any]) -> int:
    return sum(_number(usage.get(key)) for key in _PROMPT)


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


class _Counts:
    """Looks counts up by dotted name and refuses what is no count."""

    def __init__(self, raw: Mapping[str, Any], path: str) -> None:
        self.raw = raw
        self.path = path

    def __call__(self, name: str, *, required: bool = False) -> int:
        group, _, key = name.rpartition(".")
        holder = self.raw.get(group) if group else self.raw
        if holder is None:
            return 0
        if not isinstance(holder, Mapping):
            raise ValueError(f"{self.path}.{group} must be an object, got {holder!r}")  # noqa: TRY004 - documented
        value = holder.get(key)
        if value is None and not required:
            return 0
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
            told = f"must be a whole number from 0 to {_MOST:,}, got {repr(value)[:40]}"
            raise ValueError(f"{self.path}.{name} {'is missing' if value is None else told}")
        return value


def _tokens(count: _Counts, *, hour_writes: bool) -> _Five:
    """Tokens in the order of `Tokens`."""
    written = count("cache_creation_input_tokens")
    for_5m = count("cache_creation.ephemeral_5m_input_tokens")
    for_1h = count("cache_creation.ephemeral_1h_input_tokens")
    rest = max(0, written - for_5m - for_1h)
    hour = hour_writes or for_1h > 0
    return (
        count("input_tokens", required=True),
        count("output_tokens", required=True),
        for_5m + (0 if hour else rest),
        for_1h + (rest if hour else 0),
        count("cache_read_input_tokens"),
    )


def _passes(raw: Mapping[str, Any], totals: _Five, *, hour_writes: bool) -> tuple[Pass, ...]:
    """The passes of a request; none where it was one `message` of the model that served, as in the totals."""
    listed = raw.get("iterations") or ()
    if not isinstance(listed, Sequence) or not all(isinstance(one, Mapping) for one in listed):
        raise ValueError(f"usage.iterations must be a list of objects, got {repr(listed)[:60]}")
    fell_back = next((one.get("model") for one in listed if one.get("type") == FALLBACK), None)
    found = []
    for index, one in enumerate(listed):
        tokens = _tokens(_Counts(one, f"usage.iterations[{index}]"), hour_writes=hour_writes)
        kind, model = str(one.get("type")), one.get("model")
        other = None not in (fell_back, model) and model != fell_back
        declined = kind == MESSAGE and other and not one["output_tokens"]
        found.append(Pass(*tokens, kind=kind, model=None if model is None else str(model), free=declined))
    return () if found == [Pass(*totals)] else tuple(found)


def _unknown(raw: Mapping[str, Any], passes: Sequence[Pass]) -> set[str]:
    passed = {f"iterations.{name}" for name in _KNOWN_NUMBERS}
    found = set(_numbers(raw, "")) - _KNOWN_NUMBERS - passed
    found = {name for name in found if not name.startswith(_DETAILS)}
    known = {*_IN_TOTALS, COMPACTION, ADVISOR}
    found |= {f"iterations.type={one.kind}" for one in passes if one.kind not in known}
    credit = raw.get("fallback_credit")
    status = credit.get("status") if isinstance(credit, Mapping) else None
    if isinstance(status, Mapping) and status.get("type") != "not_applied":
        found.add(f"fallback_credit={status.get('type')}")
    if raw.get("service_tier") not in (None, "standard", "batch"):
        found.add(f"service_tier={raw['service_tier']}")
    if raw.get("speed") not in (None, "standard", "fast"):
        found.add(f"speed={raw['speed']}")
    return found


def _numbers(value: Any, name: str) -> list[str]:
    """The dotted names of every number below *value* that is not 0; the items of a list share one."""
    if not value or value is True or isinstance(value, str):
        return []
    if isinstance(value, (int, float)):
        return [name]
    if isinstance(value, Mapping):
        dot = f"{name}." if name else ""
        return [found for key, inner in value.items() for found in _numbers(inner, f"{dot}{key}")]
    if isinstance(value, Sequence):
        return [found for inner in value for found in _numbers(inner, name)]
    return []
