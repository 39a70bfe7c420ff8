"""What an answer cost: usage times the prices in force when it was served, exact to the nano-dollar."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from governor.errors import UnknownModel
from governor.money import ceil_nanos

if TYPE_CHECKING:
    from governor.pricing.table import Price, PriceTable, Rates
    from governor.pricing.usage import Usage

_WORLDWIDE = frozenset({None, "", "global", "not_available"})
"""Values of `inference_geo` that cost nothing extra; models before 4.6 report `not_available`."""


@dataclass(frozen=True, slots=True)
class Tariff:
    """The rates of one way of being served: a model, a day, a speed, a region, batch or not.

    Attributes:
        rates: What a token costs, in nano-dollars.
        step_tokens: Above this many prompt tokens every token costs `above`; `None` where there is no step.
        above: See `step_tokens`.
    """

    rates: Rates
    step_tokens: int | None
    above: Rates | None

    def reachable(self, prompt_tokens: int) -> tuple[Rates, ...]:
        """The rates a prompt of *at most* this many tokens may be billed at."""
        if self.above is not None and self.step_tokens is not None and prompt_tokens > self.step_tokens:
            return self.rates, self.above
        return (self.rates,)


def tariff(
    table: PriceTable,
    model: str,
    at_ms: int,
    *,
    fast: bool = False,
    batch: bool = False,
    geo: str | None = None,
) -> Tariff:
    """The tariff of a model for one way of being served.

    Args:
        table: The prices.
        model: An id or an alias.
        at_ms: When it is served, Unix time in milliseconds.
        fast: In fast mode: prompt prices and output price are scaled.
        batch: In a batch.
        geo: `inference_geo`; `us` costs extra, `None`, `global` and `not_available` do not.

    Raises:
        UnknownModel: The model has no price, or none for this way of being served.
    """
    price = table.price_at(model, at_ms)
    prompt_by, output_by = _factors(price, model, fast=fast, batch=batch, geo=geo)
    if prompt_by == 1 and output_by == 1:
        return Tariff(price.rates, price.step_tokens, price.above)
    above = price.above.scaled(prompt_by, output_by) if price.above is not None else None
    return Tariff(price.rates.scaled(prompt_by, output_by), price.step_tokens, above)


def cost_nanos(table: PriceTable, model: str, usage: Usage, at_ms: int) -> int:
    """What an answer cost.

    Args:
        table: The prices.
        model: The model that served it, an id or an alias.
        usage: What it used.
        at_ms: When it was served, Unix time in milliseconds.

    Returns:
        Nano-dollars, rounded up once (by less than one) from the exact amount.

    Raises:
        UnknownModel: The model has no price, or none for this usage's speed, region or batch.
    """
    found = tariff(table, model, at_ms, fast=usage.fast, batch=usage.batch, geo=usage.geo)
    rates = found.reachable(usage.prompt_tokens)[-1]
    return ceil_nanos(
        usage.input_tokens * rates.input
        + usage.output_tokens * rates.output
        + usage.cache_write_5m_tokens * rates.cache_write_5m
        + usage.cache_write_1h_tokens * rates.cache_write_1h
        + usage.cache_read_tokens * rates.cache_read
        + usage.web_searches * table.web_search_nanos
    )


def _factors(
    price: Price, model: str, *, fast: bool, batch: bool, geo: str | None
) -> tuple[Fraction, Fraction]:
    prompt_by = output_by = Fraction(1)
    if fast:
        if price.fast is None or batch:
            raise _unpriced(price, model, "fast mode" + (" in a batch" if batch else ""), "leave `speed` out")
        prompt_by, output_by = price.fast
    everything = Fraction(1)
    if batch:
        if price.batch_percent is None:
            raise _unpriced(price, model, "batches", "send it as a single message")
        everything *= Fraction(price.batch_percent, 100)
    if geo not in _WORLDWIDE:
        if geo != "us" or price.us_percent is None:
            raise _unpriced(price, model, f"inference_geo {geo!r}", "leave `inference_geo` out")
        everything *= Fraction(price.us_percent, 100)
    return prompt_by * everything, output_by * everything


def _unpriced(price: Price, model: str, unit: str, advice: str) -> UnknownModel:
    return UnknownModel(f"model {model!r} has no price for {unit} (entry of {price.since}); {advice}")
