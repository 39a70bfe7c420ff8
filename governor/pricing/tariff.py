"""What a token costs in one way of being served, as integers of one common unit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from governor.errors import UnknownModel

if TYPE_CHECKING:
    from governor.pricing.entries import Price, Rates

ANTHROPIC, GLOBAL, REGIONAL, US_GOV, VERTEX = "", "global", "regional", "us-gov", "vertex"
"""Endpoints: Anthropic's own API; a cloud's global, regional and government ones; one that Vertex AI's model
names do not tell."""

_WORLDWIDE = frozenset({None, "", "global", "not_available"})
"""Values of `inference_geo` that cost nothing extra; models before 4.6 report `not_available`."""


class Way(NamedTuple):
    """How a request is served, as far as its price depends on it.

    Attributes:
        fast: In fast mode.
        batch: In a batch.
        geo: `inference_geo`: `us` costs extra; `None`, `global` and `not_available` do not.
        endpoint: `""` for Anthropic's own API; `global`, `regional` or `us-gov` on a cloud, where it takes
            the place of *geo*.
    """

    fast: bool = False
    batch: bool = False
    geo: str | None = None
    endpoint: str = ANTHROPIC


class Amounts(NamedTuple):
    """Prices per token, in the units of their tariff."""

    input: int
    output: int
    cache_write_5m: int
    cache_write_1h: int
    cache_read: int


@dataclass(frozen=True, slots=True)
class Tariff:
    """The prices of one model on one day in one way of being served.

    Attributes:
        unit: How many units are one nano-dollar: every amount is exact in units.
        base: What a token costs, in units.
        step_tokens: A request whose whole prompt has more tokens than this pays `above` for every token;
            `None` where there is no step.
        above: See `step_tokens`; equal to `base` where there is no step.
        web_search: What a web search costs, in units.
    """

    unit: int
    base: Amounts
    step_tokens: int | None
    above: Amounts
    web_search: int

    def amounts(self, prompt_tokens: int) -> Amounts:
        """What a token costs in a request whose whole prompt has *prompt_tokens* tokens."""
        if self.step_tokens is None or prompt_tokens <= self.step_tokens:
            return self.base
        return self.above

    def reachable(self, prompt_tokens: int) -> tuple[Amounts, ...]:
        """The prices that a prompt of *at most* this many tokens may be billed at."""
        found = self.amounts(prompt_tokens)
        return (self.base,) if found is self.base else (self.base, found)


def compiled(name: str, price: Price, keep: Fraction, web_search_nanos: Fraction, way: Way) -> Tariff:
    """The tariff of a dated price for one way of being served.

    Batch, region and discount multiply every token price and stack; fast mode scales prompt and output.

    Args:
        name: What the model was called, for errors.
        price: The dated price.
        keep: What a negotiated discount leaves of a token price: 1 without one.
        web_search_nanos: One web search, in nano-dollars; the same in every way of being served.
        way: How it is served.

    Raises:
        UnknownModel: That way has no price.
    """
    prompt_by, output_by = _fast(name, price, way)
    everything = keep * _batch(name, price, way) * _place(name, price, way)
    base = price.rates.scaled(prompt_by * everything, output_by * everything)
    above = (price.above or price.rates).scaled(prompt_by * everything, output_by * everything)
    exact = (*base.each(), *above.each(), web_search_nanos)
    unit = math.lcm(*(amount.denominator for amount in exact))
    return Tariff(
        unit=unit,
        base=_in_units(base, unit),
        step_tokens=price.step_tokens,
        above=_in_units(above, unit),
        web_search=int(web_search_nanos * unit),
    )


def _in_units(rates: Rates, unit: int) -> Amounts:
    return Amounts(*(int(rate * unit) for rate in rates.each()))


def _fast(name: str, price: Price, way: Way) -> tuple[Fraction, Fraction]:
    if not way.fast:
        return Fraction(1), Fraction(1)
    if price.fast is None or way.batch or way.endpoint:
        where = " in a batch" if way.batch else " on a cloud" if way.endpoint else ""
        raise _unpriced(name, price, f"fast mode{where}", "leave `speed` out")
    return price.fast


def _batch(name: str, price: Price, way: Way) -> Fraction:
    if not way.batch:
        return Fraction(1)
    return _percent(name, price, price.batch_percent, "batches", "send it as a single message")


def _place(name: str, price: Price, way: Way) -> Fraction:
    """The factor of a cloud's endpoint, or else of `inference_geo`."""
    match way.endpoint:
        case "":
            if way.geo in _WORLDWIDE:
                return Fraction(1)
            percent = price.us_percent if way.geo == "us" else None
            return _percent(name, price, percent, f"inference_geo {way.geo!r}", "leave `inference_geo` out")
        case "global":
            return Fraction(1)
        case "regional":
            percent, advice = price.regional_percent, "use the global endpoint"
            return _percent(name, price, percent, "a cloud's regional endpoint", advice)
        case "us-gov":
            percent, advice = price.us_gov_percent, "use another region"
            return _percent(name, price, percent, "a cloud's government region", advice)
        case "vertex":
            raise UnknownModel(
                f"model {name!r} is a name of Vertex AI, which does not tell its endpoint: write "
                "`workspace: {endpoint: global}` (or regional) into the policy file"
            )
        case _:
            known = "global, regional or us-gov"
            raise UnknownModel(
                f"model {name!r} has no price at an endpoint {way.endpoint!r}: known are {known}"
            )


def _percent(name: str, price: Price, percent: int | None, unit: str, advice: str) -> Fraction:
    if percent is None:
        raise _unpriced(name, price, unit, advice)
    return Fraction(percent, 100)


def _unpriced(name: str, price: Price, unit: str, advice: str) -> UnknownModel:
    return UnknownModel(f"model {name!r} has no price for {unit} (entry of {price.since}); {advice}")
