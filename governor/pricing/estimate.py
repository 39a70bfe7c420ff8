"""What can a request cost at most? The ceiling that a hold is opened with."""

from __future__ import annotations

import datetime as dt
import io
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from governor.errors import PolicyViolation
from governor.money import ceil_nanos
from governor.pricing.bound import as_items, as_mapping, is_list, is_server_tool
from governor.pricing.cost import Tariff, tariff

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from fractions import Fraction

    from governor.pricing.table import PriceTable, Rates

_MARGIN_PERCENT = 2
_MARGIN_TOKENS = 64
_LEAVES = (str, bytes, bytearray, int, float, dt.date, os.PathLike, io.IOBase)
"""What the SDK sends as one plain value, in which there is no breakpoint."""
_UNREADABLE = "unreadable"
_UNBOUNDED_KEYS = {
    "mcp_servers": "MCP servers are called as often as the model likes",
    "fallbacks": "another model may serve it, at another price",
    "compaction": "a compaction is billed beside the answer",
}


class Unbounded(PolicyViolation):
    """A request whose cost has no upper bound, so that no hold can cover it."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The most a request can use.

    Attributes:
        nanos: Cost in nano-dollars.
        tokens: Input and output tokens together.
        input_tokens: The bound on the whole prompt.
        max_tokens: The bound on the output, thinking included.
    """

    nanos: int
    tokens: int
    input_tokens: int
    max_tokens: int


def ceiling(
    table: PriceTable,
    model: str,
    *,
    input_tokens: int,
    counted: bool,
    body: Mapping[str, Any],
    at_ms: int,
) -> Ceiling:
    """The most a request can cost when *model* serves it.

    A count is an estimate, so it is raised by 2 %, at least 64 tokens. The whole prompt is priced at the
    dearest it may be billed at: uncached, read from the cache, or written to it for a lifetime that any
    `cache_control` in the body asks for, or might, in a part of it that cannot be read; likewise fast mode,
    `inference_geo: us`, and the long-prompt prices once the bound passes their step. Every one of
    `max_tokens` is taken to be used. The batch discount is not assumed. Not covered, because the body does
    not show it: a workspace whose default region is `us`.

    Args:
        table: The prices.
        model: The model that would serve it, an id or an alias; `body["model"]` is not looked at.
        input_tokens: Tokens of the whole prompt: from count_tokens, or from `local_bound`.
        counted: Whether it is a count (raised by the margin) or a bound (taken as it is). Either is cut to
            the model's context window.
        body: The request as sent to `/v1/messages`.
        at_ms: When it is sent, Unix time in milliseconds.

    Raises:
        UnknownModel: The model has no price, or none for the speed or region asked for.
        Unbounded: Something in the request has no upper bound: server tools, MCP servers, fallbacks to other
            models, compaction, no valid `max_tokens`, or a speed or region that is no known word.
        ValueError: *input_tokens* is negative.
    """
    if input_tokens < 0:
        raise ValueError(f"input_tokens must be at least 0, got {input_tokens}")
    _refuse_unbounded(body)
    max_tokens = _max_tokens(body)
    prompt = input_tokens + (max(-(-input_tokens * _MARGIN_PERCENT // 100), _MARGIN_TOKENS) if counted else 0)
    prompt = min(prompt, table.model(model).context_tokens)
    found = tariff(table, model, at_ms, fast=_word(body, "speed") == "fast", geo=_word(body, "inference_geo"))
    return Ceiling(
        nanos=ceil_nanos(_dearest(found, prompt, max_tokens, set(_lifetimes(body)))),
        tokens=prompt + max_tokens,
        input_tokens=prompt,
        max_tokens=max_tokens,
    )


def _dearest(found: Tariff, prompt: int, max_tokens: int, lifetimes: set[str]) -> Fraction:
    return max(
        prompt * _prompt_rate(rates, lifetimes) + max_tokens * rates.output
        for rates in found.reachable(prompt)
    )


def _prompt_rate(rates: Rates, lifetimes: set[str]) -> Fraction:
    possible = [rates.input, rates.cache_read]
    if lifetimes:
        possible.append(rates.cache_write_5m)
    if lifetimes - {"5m"}:
        possible.append(rates.cache_write_1h)
    return max(possible)


def _lifetimes(value: Any) -> Iterator[str]:
    """The lifetime of every cache breakpoint below *value*; a breakpoint without one lives five minutes."""
    if value is None or isinstance(value, _LEAVES):
        return
    known = as_mapping(value)
    if known is not None:
        for key, inner in known.items():
            if key == "cache_control" and inner is not None:
                asked = as_mapping(inner)
                yield _UNREADABLE if asked is None else str(asked.get("ttl") or "5m")
            else:
                yield from _lifetimes(inner)
    elif is_list(value):
        for inner in value:
            yield from _lifetimes(inner)
    else:
        yield _UNREADABLE


def _word(body: Mapping[str, Any], key: str) -> str | None:
    """A parameter that changes the price and is a word; what is no word would be priced as if left out."""
    value = body.get(key)
    if value is None or (isinstance(value, str) and (key != "speed" or value in ("fast", "standard"))):
        return value
    advice = "use 'fast' or 'standard', or leave it out" if key == "speed" else "give a word, or leave it out"
    raise Unbounded(f"the request's `{key}` is {repr(value)[:60]}, which has no price: {advice}")


def _max_tokens(body: Mapping[str, Any]) -> int:
    value = body.get("max_tokens")
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        told = "is missing" if value is None else f"is {value!r}"
        raise Unbounded(
            f"max_tokens {told}: give a whole number of at least 0, so that the output has a bound"
        )
    return value


def _refuse_unbounded(body: Mapping[str, Any]) -> None:
    for key, why in _UNBOUNDED_KEYS.items():
        if body.get(key):
            raise Unbounded(f"the request's `{key}` leaves its cost without a bound: {why}; leave it out")
    for tool in as_items(body.get("tools")):
        if is_server_tool(tool):
            kind = (as_mapping(tool) or {}).get("type", type(tool).__name__)
            raise Unbounded(
                f"the tool of type {kind!r} runs at the API as often as the model likes, so its cost "
                "has no bound; use a tool of your own instead"
            )
    management = body.get("context_management")
    known = as_mapping(management)
    for edit in as_items(management if known is None else known.get("edits")):
        kind = str((as_mapping(edit) or {}).get("type"))
        if not kind.startswith("clear_"):
            raise Unbounded(
                f"the context_management edit {kind!r} is billed beside the answer, without a bound; "
                "leave it out, or use a clear_ edit"
            )
