"""What an answer cost: usage times the prices in force when it was served, exact to the nano-dollar."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from governor.money import ceil_nanos
from governor.pricing.tariff import ANTHROPIC, Way
from governor.pricing.usage import ADVISOR

if TYPE_CHECKING:
    from governor.pricing.table import PriceTable
    from governor.pricing.tariff import Amounts, Tariff
    from governor.pricing.usage import Pass, Tokens, Usage


def cost_nanos(table: PriceTable, model: str, usage: Usage, at_ms: int, *, endpoint: str = ANTHROPIC) -> int:
    """What an answer cost.

    Each pass of `usage.passes` is priced at its own model, with its own long-prompt step; an advisor's at
    standard speed.

    Args:
        table: The prices.
        model: The model that served it, by any of its names; a Bedrock name tells its endpoint.
        usage: What it used.
        at_ms: When it was made, Unix time in milliseconds.
        endpoint: Where it was served: `""` for Anthropic's own API, else `global`, `regional`, `us-gov`.

    Returns:
        Nano-dollars, rounded up once (by less than one) from the exact amount.

    Raises:
        UnknownModel: A model has no price, or none for this usage's speed, region or batch.
    """
    way = Way(bool(usage.fast), usage.batch, usage.geo, endpoint)
    tariff = table.tariff(model, at_ms, way)
    searches = usage.web_searches * tariff.web_search
    if not usage.passes:
        return ceil_nanos(_tokens(tariff.amounts(usage.prompt_tokens), usage) + searches, tariff.unit)
    total = Fraction(searches, tariff.unit)
    way = way._replace(endpoint=table.served_at(model, endpoint))
    for part in usage.billed:
        total += _part(table, model, part, at_ms, way)
    return ceil_nanos(total.numerator, total.denominator)


def _part(table: PriceTable, model: str, part: Pass, at_ms: int, way: Way) -> Fraction:
    """What one pass cost, in nano-dollars."""
    if part.model is not None:
        model = own_name(table, model, part.model)
        way = table.way_of(model, at_ms, way._replace(fast=way.fast and part.kind != ADVISOR))
    tariff: Tariff = table.tariff(model, at_ms, way)
    return Fraction(_tokens(tariff.amounts(part.prompt_tokens), part), tariff.unit)


def own_name(table: PriceTable, asked: str, named: str) -> str:
    """The name to price an answer by: *asked*, which tells its endpoint, unless the API names another model.

    Raises:
        UnknownModel: The table does not know *named*, nor is it *asked*.
    """
    if not named or named == asked or table.model(named) is table.model(asked):
        return asked
    return named


def _tokens(amounts: Amounts, used: Tokens) -> int:
    """The exact price of tokens, in the units of their tariff."""
    return (
        used.input_tokens * amounts.input
        + used.output_tokens * amounts.output
        + used.cache_write_5m_tokens * amounts.cache_write_5m
        + used.cache_write_1h_tokens * amounts.cache_write_1h
        + used.cache_read_tokens * amounts.cache_read
    )
