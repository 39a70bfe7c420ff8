"""What an ended call costs: exactly, where final usage was seen; else by the stated rules.

* answered: its final usage.
* answered by a refusal before any output: nothing; the API lists its tokens and does not bill them.
* refused before processing (4xx, 429, 529, 500, no connection): nothing.
* cut after the stream began: the input as reported, what was delivered, and a margin; at most the hold. The
  whole hold where the answer was thinking, which does not show in what was delivered, or where the request
  may take several passes (tools that run at the API), of which the stream's beginning reports only the first.
* sent and never answered, or cut before any usage was reported: the whole hold; and so any cut, where the
  policy says `uncertain: hold`.

The last two are marked `uncertain`. No statement of Anthropic's says how an aborted call is billed, so the
rules charge what may have been billed and never refund to zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from governor.errors import UnknownModel
from governor.pricing import cost_nanos, own_name, read_usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.pricing import Ceiling, PriceTable, Usage
    from governor.story.effects import Ended
    from governor.story.matrix import Offer

CUT_BYTES_PER_TOKEN = 4
"""About what a token is in English text; the margin covers text that has more tokens."""

SURE_BYTES_PER_TOKEN = 8
"""More than a token has on average in any text to speak of, so that output is never thought to be longer."""

CUT_MARGIN_PERCENT = 25
CUT_MARGIN_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is posted for a call.

    Attributes:
        nanos: Cost in nano-dollars.
        tokens: Input, cache write, cache read and output together.
        usage: As the API reported it; empty where it reported none.
        uncertain: It is charged by rule, because no final usage was seen.
        unpriced: Units in the usage that have no price here; the whole hold is charged at least.
        model: The model that served.
        output_tokens: What it put out; `None` where no answer was read to its end.
    """

    nanos: int
    tokens: int
    usage: Mapping[str, Any] = field(default_factory=dict)
    uncertain: bool = False
    unpriced: tuple[str, ...] = ()
    model: str = ""
    output_tokens: int | None = None


def actual(
    prices: PriceTable, offer: Offer, ended: Ended, at_ms: int, endpoint: str = "", *, whole: bool = False
) -> Outcome:
    """What is posted for a hold, now that its call ended.

    Args:
        prices: The price table.
        offer: What was held for.
        ended: How the call ended.
        at_ms: When it was priced, Unix milliseconds.
        endpoint: The kind of cloud endpoint that served, where the model's name does not tell it.
        whole: Whether a stream that was cut costs its whole hold (the policy's `uncertain: hold`).
    """
    raw = dict(ended.usage or {})
    asked, most = offer.candidate.model, offer.ceiling
    held = Outcome(most.nanos, most.tokens, raw, uncertain=True, model=asked)
    if ended.kind == "refused":
        return Outcome(0, 0, model=asked)
    unseen = whole or ended.hidden_output or not raw or most.passes > 1
    if ended.kind == "silent" or (ended.kind == "cut" and unseen):
        return held
    try:
        usage = _as_asked(read_usage(raw, hour_writes=most.hour_writes), most)
    except ValueError as error:
        return replace(held, unpriced=(str(error),), model=ended.model or asked)
    if ended.kind == "cut":
        usage = _delivered(usage, ended.delivered_bytes)
    elif usage.output_tokens == 0 and getattr(ended.message, "stop_reason", None) == "refusal":
        usage = usage.declined()
    where = endpoint
    try:
        where = prices.served_at(asked, endpoint)
        model = own_name(prices, asked, ended.model)
        nanos = cost_nanos(prices, model, usage, at_ms, endpoint=where)
    except UnknownModel as error:
        return _unpriced(prices, held, usage, error, at_ms, where, ended.model)
    if ended.kind == "cut":
        tokens = min(usage.total_tokens, most.tokens)
        return Outcome(min(nanos, most.nanos), tokens, raw, uncertain=True, model=model)
    if usage.unknown:
        nanos = max(nanos, most.nanos)
    return Outcome(
        nanos,
        usage.total_tokens,
        raw,
        uncertain=bool(usage.unknown),
        unpriced=usage.unknown,
        model=model,
        output_tokens=usage.output_tokens,
    )


def at_least(prices: PriceTable, offer: Offer, ended: Ended, at_ms: int, endpoint: str = "") -> int:
    """What an answer that broke off surely cost, in nano-dollars; 0 where nothing of it can be priced.

    Args:
        prices: The price table.
        offer: What was held for.
        ended: How it would end now.
        at_ms: When it was priced, Unix milliseconds.
        endpoint: As in `actual`.
    """
    asked = offer.candidate.model
    try:
        usage = _as_asked(
            read_usage(dict(ended.usage or {}), hour_writes=offer.ceiling.hour_writes), offer.ceiling
        )
        output = max(usage.output_tokens, ended.delivered_bytes // SURE_BYTES_PER_TOKEN)
        model, where = own_name(prices, asked, ended.model), prices.served_at(asked, endpoint)
        return cost_nanos(prices, model, replace(usage, output_tokens=output), at_ms, endpoint=where)
    except (ValueError, UnknownModel):
        return 0


def _as_asked(usage: Usage, most: Ceiling) -> Usage:
    """*usage*, served as was asked for where it does not say: a gateway may leave out the rest."""
    return replace(
        usage,
        fast=most.way.fast if usage.fast is None else usage.fast,
        geo=most.way.geo if usage.geo is None else usage.geo,
        batch=usage.batch or most.way.batch,
    )


def _unpriced(
    prices: PriceTable,
    held: Outcome,
    usage: Usage,
    error: UnknownModel,
    at_ms: int,
    endpoint: str,
    named: str,
) -> Outcome:
    """The whole hold, or what the usage costs on the model that was asked for, whichever is more."""
    plain = replace(usage, fast=False, batch=False, geo=None, passes=())
    try:
        nanos = cost_nanos(prices, held.model, plain, at_ms, endpoint=endpoint)
    except UnknownModel:
        nanos = 0
    return replace(
        held,
        nanos=max(nanos, held.nanos),
        tokens=max(usage.total_tokens, held.tokens),
        unpriced=(str(error),),
        model=named or held.model,
    )


def _delivered(usage: Usage, delivered_bytes: int) -> Usage:
    """*usage* with the output that is estimated from what came: the reported count is a placeholder."""
    tokens = (
        -(-delivered_bytes * (100 + CUT_MARGIN_PERCENT) // (100 * CUT_BYTES_PER_TOKEN)) + CUT_MARGIN_TOKENS
    )
    return replace(usage, output_tokens=max(tokens, usage.output_tokens))
