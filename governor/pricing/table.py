"""The price table: which models there are, and what a token of each cost on any day."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from governor.data import data_file
from governor.errors import UnknownModel, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.resources.abc import Traversable
    from pathlib import Path

_NANOS_PER_TOKEN = 1000
"""One dollar per million tokens is 1000 nano-dollars per token."""
_DAY_MS = 86_400_000
_EPOCH = dt.date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Model:
    """A model the table prices.

    Attributes:
        id: The name the API bills under, for example `claude-haiku-5-5`.
        line: `haiku`, `sonnet`, `opus`, `fable` or `mythos`.
        aliases: Other names for the same model, for example dated ids.
        context_tokens: The context window: the most input tokens one request can have.
        max_output_tokens: The largest `max_tokens` the API accepts.
        tokenizer: Year of its tokenizer family, 2024 or 2026 (some 30 % more tokens for the same text).
        retires: The day from which the API stops serving it, where one is announced.
    """

    id: str
    line: str
    aliases: tuple[str, ...]
    context_tokens: int
    max_output_tokens: int
    tokenizer: int
    retires: dt.date | None


@dataclass(frozen=True, slots=True)
class Rates:
    """Prices per token, exact, in nano-dollars."""

    input: Fraction
    output: Fraction
    cache_write_5m: Fraction
    cache_write_1h: Fraction
    cache_read: Fraction

    def scaled(self, prompt_by: Fraction, output_by: Fraction) -> Rates:
        """These rates with the four prompt prices times *prompt_by* and output times *output_by*."""
        return Rates(
            self.input * prompt_by,
            self.output * output_by,
            self.cache_write_5m * prompt_by,
            self.cache_write_1h * prompt_by,
            self.cache_read * prompt_by,
        )


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
        source: What the numbers were read from.
        checked: The day they were last compared with it.
    """

    since: dt.date
    rates: Rates
    step_tokens: int | None
    above: Rates | None
    fast: tuple[Fraction, Fraction] | None
    batch_percent: int | None
    us_percent: int | None
    source: str
    checked: dt.date


@dataclass(frozen=True, slots=True, eq=False)
class PriceTable:
    """Every model's dated prices, as loaded from one file.

    Attributes:
        version: First 12 hex digits of the SHA-256 of the canonical data: the journal's name for the table.
        web_search_nanos: One web search, in nano-dollars.
    """

    version: str
    web_search_nanos: Fraction
    _source: str
    _by_name: Mapping[str, Model]
    _prices: Mapping[str, tuple[Price, ...]]

    @classmethod
    def load(cls, path: Path | Traversable | None = None) -> PriceTable:
        """Load a price file.

        Args:
            path: The file; by default `pricing/anthropic.yaml` as shipped.

        Raises:
            PolicyError: The file cannot be read or is malformed, with line and column of every problem.
        """
        from governor.pricing.read import read_prices  # noqa: PLC0415 - `import governor` need not pay for YAML

        source = data_file("pricing/anthropic.yaml") if path is None else path
        data = read_prices(source)
        canonical = json.dumps(data, sort_keys=True, default=str).encode()
        models = [(_model(entry), tuple(map(_price, entry["prices"]))) for entry in data["models"]]
        return cls(
            version=hashlib.sha256(canonical).hexdigest()[:12],
            web_search_nanos=Fraction(data["web_search_per_thousand"]) * 1_000_000,
            _source=str(source),
            _by_name=MappingProxyType({name: m for m, _ in models for name in (m.id, *m.aliases)}),
            _prices=MappingProxyType({m.id: prices for m, prices in models}),
        )

    def model(self, name: str) -> Model:
        """The model called *name*, an id or an alias.

        Raises:
            UnknownModel: The table has no such model; the message names the nearest one.
        """
        found = self._by_name.get(name)
        if found is None:
            raise UnknownModel(
                f"model {name!r} has no price in {self._source} ({nearest(name, self._by_name)}); "
                "name a priced model, or add it to the price table"
            )
        return found

    def knows(self, name: str) -> bool:
        """Whether *name* is the id or an alias of a model in the table."""
        return name in self._by_name

    def models(self) -> tuple[Model, ...]:
        """Every model, in the order of the file."""
        return tuple(self._by_name[name] for name in self._prices)

    def prices(self, name: str) -> tuple[Price, ...]:
        """Every dated price of the model called *name*, oldest first.

        Raises:
            UnknownModel: The table has no such model.
        """
        return self._prices[self.model(name).id]

    def price_at(self, name: str, at_ms: int) -> Price:
        """The price in force at an instant.

        Args:
            name: An id or an alias.
            at_ms: Unix time in milliseconds.

        Raises:
            UnknownModel: The table has no such model, or no price of it that early.
        """
        day = at_ms // _DAY_MS
        entries = self.prices(name)
        for price in reversed(entries):
            if (price.since - _EPOCH).days <= day:
                return price
        raise UnknownModel(
            f"model {name!r} has no price before {entries[0].since} in {self._source}; "
            "add an earlier dated entry, or correct the clock"
        )


def _model(entry: Mapping[str, Any]) -> Model:
    return Model(
        id=entry["id"],
        line=entry["line"],
        aliases=tuple(entry["aliases"]),
        context_tokens=entry["context"],
        max_output_tokens=entry["max_output"],
        tokenizer=entry["tokenizer"],
        retires=entry["retires"],
    )


def _price(entry: Mapping[str, Any]) -> Price:
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
        source=entry["source"],
        checked=entry["checked"],
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
