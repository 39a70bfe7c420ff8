"""What can a request cost at most? The ceiling that a hold is opened with."""

from __future__ import annotations

import datetime as dt
import io
import os
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from governor.money import ceil_nanos
from governor.pricing.bound import as_items, as_mapping, is_list
from governor.pricing.server_tools import Bounds, Unbounded, loop
from governor.pricing.tariff import Way

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from governor.pricing.entries import Model
    from governor.pricing.server_tools import Advisor, Loop
    from governor.pricing.table import PriceTable
    from governor.pricing.tariff import Amounts, Tariff

_MARGIN_PERCENT = 2
_MARGIN_TOKENS = 64
_TOOL_MARGIN_TOKENS = 512
"""How far models of one tokenizer, of which one is counted, may differ in the system prompt of tool use: it
has some 350 tokens (documentation of tool use)."""
_ADVISOR_PERCENT, _ADVISOR_TOKENS = 150, 4_096
"""What the advisor's prompt may be beyond the request's: some 30 % more tokens where its tokenizer is newer,
and its own system prompt."""
_ERROR_TOKENS = 256
"""What the error brings into the prompt that answers an attempt beyond `max_uses`: a few words of JSON."""
_LEAVES = (str, bytes, bytearray, int, float, dt.date, os.PathLike, io.IOBase)
"""What the SDK sends as one plain value, in which there is no breakpoint."""
_UNREADABLE = "unreadable"
_PLAIN = Bounds()
_STANDARD = Way()


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The most a request can use.

    Attributes:
        nanos: Cost in nano-dollars.
        tokens: Input and output tokens of every pass together.
        input_tokens: The bound on the prompt as it is sent.
        max_tokens: The bound on the output, thinking included.
        output_nanos: The part of *nanos* that *max_tokens* costs.
        passes: How many passes of a model it may take: more than one with tools that run at the API or a
            compaction.
        way: How the request asks to be served.
        hour_writes: Whether it may write to the cache for an hour.
    """

    nanos: int
    tokens: int
    input_tokens: int
    max_tokens: int
    output_nanos: int = 0
    passes: int = 1
    way: Way = _STANDARD
    hour_writes: bool = False


@dataclass(frozen=True, slots=True)
class Demand:
    """What a request asks for, whichever model serves it: read from its body once for all of them.

    Attributes:
        body: The request as sent to `/v1/messages`, as `server_tools.bounded` returned it.
        bounds: What the policy adds to the request's own bounds.
        max_tokens: The bound on the output.
        tools: How often its server tools may run.
        lifetimes: Of its cache breakpoints.
        batch: Whether it is an item of a batch, at the price of one.
    """

    body: Mapping[str, Any]
    bounds: Bounds
    max_tokens: int
    tools: Loop
    lifetimes: frozenset[str]
    batch: bool = False


def demand(body: Mapping[str, Any], bounds: Bounds = _PLAIN, *, batch: bool = False) -> Demand:
    """What *body* asks for.

    Raises:
        Unbounded: As from `ceiling`, but for what depends on the model.
    """
    _refuse_fallbacks(body)
    lifetimes = frozenset(_lifetimes(body))
    return Demand(body, bounds, _max_tokens(body), loop(body, bounds), lifetimes, batch)


def ceiling(
    table: PriceTable,
    model: str,
    *,
    input_tokens: int,
    counted: bool,
    body: Mapping[str, Any],
    at_ms: int,
    bounds: Bounds = _PLAIN,
    batch: bool = False,
) -> Ceiling:
    """The most a request can cost when *model* serves it.

    - A count is an estimate, so it is raised by 2 %, at least 64 tokens; with tools by 512 more.
    - The prompt is priced at the dearest it may be billed at: uncached, read from the cache, or written to it
      for a lifetime that any `cache_control` in the body asks for, or might, in a part of it that cannot be
      read; likewise fast mode, where it is served (the request's `inference_geo`, else the workspace's), and
      the long-prompt prices once all passes together may exceed their step.
    - All of `max_tokens` is taken to be used; thinking is inside it. The batch discount is that of an item
      of a batch, and never assumed.
    - Server tools that may run *u* times in all send the prompt through the model up to *u* + 1 times: before
      the first use, and after each (a pass without a use is the last); and once more for each tool, after an
      attempt beyond its `max_uses`, which is answered by an error of at most 256 tokens. After *j* uses the
      prompt has grown by at most *j* results, those errors and the output so far; it never exceeds the
      context window. Each web search has its fee. What one result brings beyond `bounds.tool_result_tokens`,
      and a second attempt of one tool beyond its `max_uses`, is an overrun; `bounds.strict` leaves none of
      the first.
    - An advisor's every use is a prompt of its own on its own model, with all the output that it may give.
      A compaction before any pass is one more pass, with all the output that the model can give.

    Args:
        table: The prices.
        model: The model that would serve it, by any of its names; `body["model"]` is not looked at.
        input_tokens: Tokens of the whole prompt: from count_tokens, or from `local_bound`.
        counted: Whether it is a count (raised by the margin) or a bound (taken as it is). Either is cut to
            the model's context window.
        body: The request as sent to `/v1/messages`, as `server_tools.bounded` returned it.
        at_ms: When it is sent, Unix time in milliseconds.
        bounds: What the policy adds to the request's own bounds.
        batch: Whether it is an item of a batch.

    Raises:
        UnknownModel: A model has no price, or none for the speed or region asked for, or for a batch.
        Unbounded: Something in the request has no upper bound: a server tool without one, fallbacks to other
            models, no valid `max_tokens`, or a speed or region that is no known word.
        ValueError: *input_tokens* is negative.
    """
    asked = demand(body, bounds, batch=batch)
    return ceiling_of(table, model, asked, input_tokens=input_tokens, counted=counted, at_ms=at_ms)


def ceiling_of(
    table: PriceTable, model: str, asked: Demand, *, input_tokens: int, counted: bool, at_ms: int
) -> Ceiling:
    """As `ceiling`, of a request whose body was read before."""
    if input_tokens < 0:
        raise ValueError(f"input_tokens must be at least 0, got {input_tokens}")
    body, bounds, max_tokens, tools = asked.body, asked.bounds, asked.max_tokens, asked.tools
    prompt = input_tokens + (_margin(input_tokens, body) if counted else 0)
    known = table.model(model)
    prompt = min(prompt, known.context_tokens)
    way = _way(table, model, body, bounds, at_ms)._replace(batch=asked.batch)
    tariff = table.tariff(model, at_ms, way)
    passes = _passes(table, known, tools, prompt, max_tokens, bounds)
    outputs = max_tokens * (passes.count if bounds.strict else 1)
    extra = _compactions(body, known, passes)
    amounts = _dearest(tariff, passes.prompts + extra.prompts, asked.lifetimes)
    output_units = outputs * amounts.output
    units = (passes.prompts + extra.prompts) * amounts.input + extra.outputs * amounts.output
    units += output_units + tools.searches * tariff.web_search
    advice = [_advice(table, advisor, passes.largest, at_ms, way) for advisor in tools.advisors]
    nanos = ceil_nanos(units, tariff.unit)
    if advice:
        exact = sum((part.nanos for part in advice), Fraction(units, tariff.unit))
        nanos = ceil_nanos(exact.numerator, exact.denominator)
    return Ceiling(
        nanos=nanos,
        tokens=passes.prompts + outputs + extra.prompts + extra.outputs + sum(part.tokens for part in advice),
        input_tokens=prompt,
        max_tokens=max_tokens,
        output_nanos=ceil_nanos(output_units, tariff.unit),
        passes=passes.count + extra.count,
        way=way,
        hour_writes=bool(asked.lifetimes - {"5m"}),
    )


def _margin(tokens: int, body: Mapping[str, Any]) -> int:
    """What a count may be short of."""
    tools = _TOOL_MARGIN_TOKENS if body.get("tools") else 0
    return tools + max(-(-tokens * _MARGIN_PERCENT // 100), _MARGIN_TOKENS)


@dataclass(frozen=True, slots=True)
class _Passes:
    """Prompts that go through the model: how many, the tokens of the largest, of all, and of their output."""

    count: int
    largest: int
    prompts: int
    outputs: int = 0


_NONE = _Passes(0, 0, 0)


def _passes(
    table: PriceTable, model: Model, tools: Loop, prompt: int, max_tokens: int, bounds: Bounds
) -> _Passes:
    """The passes of the model that serves, in a loop of server tools or without one."""
    if not tools.uses:
        return _Passes(1, prompt, prompt)
    window, uses, count = model.context_tokens, tools.uses, tools.uses + 1 + tools.tools
    if bounds.strict:
        return _Passes(count, window, count * window)
    advice = sum(_most_output(table, one) * one.max_uses for one in tools.advisors)
    first = prompt + max_tokens + advice + tools.tools * _ERROR_TOKENS
    step = bounds.tool_result_tokens
    below = min(uses, max(0, (window - first) // step))
    grown = below * first + step * below * (below + 1) // 2 + (uses - below) * window
    largest = min(window, first + uses * step)
    return _Passes(count, largest, prompt + grown + tools.tools * largest)


def _compactions(body: Mapping[str, Any], model: Model, passes: _Passes) -> _Passes:
    """The passes that summarise: one on request, or up to one before every pass of the answer."""
    count = 1 if body.get("compaction") else 0
    management = body.get("context_management")
    if not count and management is None:
        return _NONE
    known = as_mapping(management)
    for edit in as_items(management if known is None else known.get("edits")):
        asked = as_mapping(edit) or {}
        kind = str(asked.get("type"))
        if kind.startswith("compact_"):
            count += 1 if asked.get("pause_after_compaction") is True else passes.count
        elif not kind.startswith("clear_"):
            raise Unbounded(
                f"the context_management edit {kind!r} is not known here, nor what it costs; leave it out"
            )
    return _Passes(count, passes.largest, count * passes.largest, count * model.max_output_tokens)


@dataclass(frozen=True, slots=True)
class _Advice:
    nanos: Fraction
    tokens: int


def _advice(table: PriceTable, advisor: Advisor, largest: int, at_ms: int, way: Way) -> _Advice:
    """All the uses of one advisor: its model reads the request so far."""
    model = table.model(advisor.model)
    grown = largest * _ADVISOR_PERCENT // 100 + _ADVISOR_TOKENS
    prompt, output = min(grown, model.context_tokens), _most_output(table, advisor)
    tariff = table.tariff(advisor.model, at_ms, table.way_of(advisor.model, at_ms, way._replace(fast=False)))
    amounts = _dearest(tariff, prompt, frozenset(_lifetimes({"cache_control": advisor.caching})))
    units = advisor.max_uses * (prompt * amounts.input + output * amounts.output)
    return _Advice(Fraction(units, tariff.unit), advisor.max_uses * (prompt + output))


def _most_output(table: PriceTable, advisor: Advisor) -> int:
    most = table.model(advisor.model).max_output_tokens
    return most if advisor.max_tokens is None else min(advisor.max_tokens, most)


@dataclass(frozen=True, slots=True)
class _Dearest:
    """The dearest that a token of the prompt and one of the output may be, in the units of the tariff."""

    input: int
    output: int


def _dearest(tariff: Tariff, prompt: int, lifetimes: frozenset[str]) -> _Dearest:
    reachable = tariff.reachable(prompt)
    if len(reachable) == 1:
        return _Dearest(_prompt_amount(tariff.base, lifetimes), tariff.base.output)
    return _Dearest(
        max(_prompt_amount(amounts, lifetimes) for amounts in reachable),
        max(amounts.output for amounts in reachable),
    )


def _prompt_amount(amounts: Amounts, lifetimes: frozenset[str]) -> int:
    possible = [amounts.input, amounts.cache_read]
    if lifetimes:
        possible.append(amounts.cache_write_5m)
    if lifetimes - {"5m"}:
        possible.append(amounts.cache_write_1h)
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


def _way(table: PriceTable, model: str, body: Mapping[str, Any], bounds: Bounds, at_ms: int) -> Way:
    """How the request is served, at the dearest that it may be.

    A workspace's region does not reach models that are served anywhere; that of a workspace which the request
    names (`workspace_id`) is not known here.
    """
    geo = _word(body, "inference_geo")
    if geo is None and table.price_at(model, at_ms).us_percent is not None:
        geo = "us" if body.get("workspace_id") else bounds.geo
    return Way(fast=_word(body, "speed") == "fast", geo=geo, endpoint=table.served_at(model, bounds.endpoint))


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


def _refuse_fallbacks(body: Mapping[str, Any]) -> None:
    if body.get("fallbacks"):
        raise Unbounded(
            "the request's `fallbacks` may be billed for several models: let the policy's lines step down "
            "instead, and leave it out"
        )
