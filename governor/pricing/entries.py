"""The values of a price table: models, their dated prices, fees and discounts, as made from a file's data."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from governor.accepts import ANYTHING, EFFORTS, Accepts

if TYPE_CHECKING:
    from collections.abc import Mapping

_NANOS_PER_TOKEN = 1000
"""One dollar per million tokens is 1000 nano-dollars per token."""

SOON_DAYS = 60
"""A retirement this near is told of."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model the table prices.

    Attributes:
        id: The name the API bills under, for example `claude-haiku-5-5`.
        line: `haiku`, `sonnet`, `opus`, `fable` or `mythos`.
        aliases: Other names for it at Anthropic's own API, for example dated ids.
        bedrock: Its names at Amazon Bedrock, without a prefix.
        vertex: Its names at Vertex AI, where they differ from its id.
        context_tokens: The context window: the most input tokens one request can have.
        max_output_tokens: The largest `max_tokens` the API accepts.
        tokenizer: Year of its tokenizer family, 2024 or 2026 (some 30 % more tokens for the same text).
        lifecycle: `active`, `legacy`, `deprecated` or `retired`.
        retires: The day from which the API stops serving it, where one is announced.
        retires_not_before: The day before which it is promised not to, where there is a promise.
        accepts: What a request may ask of it.
        accepts_checked: The day that was last compared with its source; `None` where nothing is said.
    """

    id: str
    line: str
    aliases: tuple[str, ...]
    bedrock: tuple[str, ...]
    vertex: tuple[str, ...]
    context_tokens: int
    max_output_tokens: int
    tokenizer: int
    lifecycle: str
    retires: dt.date | None
    retires_not_before: dt.date | None
    accepts: Accepts = ANYTHING
    accepts_checked: dt.date | None = None

    def retired_on(self, day: dt.date) -> bool:
        """Whether the API does not serve it on a day, in UTC: its day of retirement counts."""
        return self.lifecycle == "retired" or (self.retires is not None and self.retires <= day)

    def retires_soon(self, day: dt.date, within_days: int = SOON_DAYS) -> dt.date | None:
        """The day of its retirement, where that is later than *day* by at most *within_days*."""
        if self.retires is None or self.retired_on(day):
            return None
        return self.retires if self.retires - day <= dt.timedelta(days=within_days) else None


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices per token, exact, in nano-dollars."""

    input: Fraction
    output: Fraction
    cache_write_5m: Fraction
    cache_write_1h: Fraction
    cache_read: Fraction

    def each(self) -> tuple[Fraction, ...]:
        """The five prices, in the order of the fields."""
        return self.input, self.output, self.cache_write_5m, self.cache_write_1h, self.cache_read

    def scaled(self, prompt_by: Fraction, output_by: Fraction) -> Rates:
        """These rates with the four prompt prices times *prompt_by* and output times *output_by*."""
        return Rates(
            self.input * prompt_by,
            self.output * output_by,
            self.cache_write_5m * prompt_by,
            self.cache_write_1h * prompt_by,
            self.cache_read * prompt_by,
        )


RATES = tuple(rate.name for rate in fields(Rates))
"""The names of the five token prices, in the order of `Rates`; a price file's keys, too."""


@dataclass(frozen=True, slots=True)
class Price:
    """One dated entry of the table.

    Attributes:
        since: The entry is in force from 00:00 UTC of this day, until the next entry's.
        rates: What a token costs.
        step_tokens: A request whose whole prompt has more tokens than this pays `above` for every token, its
            output too; `None` where there is no such step.
        above: See `step_tokens`.
        fast: Factors of fast mode on (prompt prices, output price); `None` where it is not offered.
        batch_percent: What a batch pays of everything but web searches; `None` where it has no price.
        us_percent: The same for `inference_geo: us`.
        regional_percent: The same for a cloud's regional or multi-region endpoint.
        us_gov_percent: The same for a cloud's government regions.
        source: What the numbers were read from.
        checked: The day they were last compared with it.
        own: Whether a company's own file says it, not the shipped table.
        listed: Whether it is the vendor's list price there, too, and not one that was agreed on.
    """

    since: dt.date
    rates: Rates
    step_tokens: int | None
    above: Rates | None
    fast: tuple[Fraction, Fraction] | None
    batch_percent: int | None
    us_percent: int | None
    regional_percent: int | None
    us_gov_percent: int | None
    source: str
    checked: dt.date
    own: bool = False
    listed: bool = False

    @property
    def agreed(self) -> bool:
        """Whether the company agreed on it: no discount is taken off it."""
        return self.own and not self.listed


@dataclass(frozen=True, slots=True)
class Fee:
    """What is billed beside tokens, from a day on.

    Attributes:
        since: In force from 00:00 UTC of this day, until the next one's.
        web_search_nanos: One web search, in nano-dollars.
        source: What the number was read from.
        checked: The day it was last compared with it.
        agreed: Whether the company agreed on it, in its own file.
    """

    since: dt.date
    web_search_nanos: Fraction
    source: str
    checked: dt.date
    agreed: bool = False


@dataclass(frozen=True, slots=True)
class Discount:
    """A negotiated discount on every token price of some models, from a day to a day.

    Attributes:
        percent: What is taken off, above 0 and at most 100.
        models: The ids of the models it is for.
        since: From 00:00 UTC of this day.
        until: To 24:00 UTC of this day; `None`: without end.
        source: The contract.
    """

    percent: Fraction
    models: frozenset[str]
    since: dt.date
    until: dt.date | None
    source: str

    def holds(self, model_id: str, day: dt.date) -> bool:
        """Whether it is in force for a model on a day."""
        return model_id in self.models and self.since <= day and (self.until is None or day <= self.until)


def model(entry: Mapping[str, Any]) -> Model:
    """A model as a file's data, in the shape of `governor.pricing.read`, says it."""
    return Model(
        id=entry["id"],
        line=entry["line"],
        aliases=tuple(entry["aliases"]),
        bedrock=tuple(entry["bedrock"]),
        vertex=tuple(entry["vertex"]),
        context_tokens=entry["context"],
        max_output_tokens=entry["max_output"],
        tokenizer=entry["tokenizer"],
        lifecycle=entry["lifecycle"],
        retires=entry["retires"],
        retires_not_before=entry["retires_not_before"],
        accepts=_accepts(entry["accepts"]) if "accepts" in entry else ANYTHING,
        accepts_checked=entry.get("accepts", {}).get("checked"),
    )


def price(entry: Mapping[str, Any]) -> Price:
    """A dated price, likewise."""
    above, fast = entry.get("above"), entry.get("fast")
    rates = _rates(entry)
    return Price(
        since=entry["from"],
        rates=rates,
        step_tokens=above["prompt_tokens"] if above else None,
        above=_rates(above) if above else None,
        fast=(_per_token(fast["input"]) / rates.input, _per_token(fast["output"]) / rates.output)
        if fast
        else None,
        batch_percent=entry.get("batch_percent"),
        us_percent=entry.get("us_percent"),
        regional_percent=entry.get("regional_percent"),
        us_gov_percent=entry.get("us_gov_percent"),
        source=entry["source"],
        checked=entry["checked"],
        own=entry.get("own", False),
        listed=entry.get("listed", False),
    )


def fee(entry: Mapping[str, Any]) -> Fee:
    """A dated fee, likewise."""
    per_search = Fraction(entry["web_search_per_thousand"]) * 1_000_000
    agreed = entry.get("own", False) and not entry.get("listed", False)
    return Fee(entry["from"], per_search, entry["source"], entry["checked"], agreed)


def discount(entry: Mapping[str, Any]) -> Discount:
    """A discount, likewise; it names its models by id."""
    percent, models = Fraction(entry["percent"]), frozenset(entry["models"])
    return Discount(percent, models, entry["from"], entry.get("until"), entry["source"])


def _accepts(entry: Mapping[str, Any]) -> Accepts:
    thinking, efforts = entry.get("thinking"), entry.get("efforts")
    return Accepts(
        thinking=None if thinking is None else frozenset(thinking),
        thinking_off_up_to=entry.get("thinking_off_up_to"),
        efforts=None if efforts is None else tuple(one for one in EFFORTS if one in efforts),
        forced_tool_choice=entry.get("forced_tool_choice"),
        prefill=entry.get("prefill"),
        inference_geo=entry.get("inference_geo"),
    )


def _rates(entry: Mapping[str, str]) -> Rates:
    return Rates(
        input=_per_token(entry["input"]),
        output=_per_token(entry["output"]),
        cache_write_5m=_per_token(entry["cache_write_5m"]),
        cache_write_1h=_per_token(entry["cache_write_1h"]),
        cache_read=_per_token(entry["cache_read"]),
    )


def _per_token(dollars_per_million: str) -> Fraction:
    return Fraction(dollars_per_million) * _NANOS_PER_TOKEN
