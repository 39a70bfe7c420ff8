"""The price table: which models there are, and what a token of each cost on any day."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeVar

from governor.data import data_file
from governor.errors import UnknownModel, nearest
from governor.pricing import entries
from governor.pricing.tariff import ANTHROPIC, REGIONAL, US_GOV, VERTEX, Tariff, Way, compiled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from importlib.resources.abc import Traversable
    from pathlib import Path

    from governor.pricing.entries import Discount, Fee, Model, Price

DAY_MS = 86_400_000
_GOVERNMENT = "arn:aws-us-gov:"
EPOCH = dt.date(1970, 1, 1)
_MOST_TARIFFS = 4096
_Dated = TypeVar("_Dated", "Price", "Fee")


@dataclass(frozen=True, slots=True, eq=False)
class PriceTable:
    """Every model's dated prices, as loaded from the shipped file and, on top of it, a company's own.

    Attributes:
        version: First 12 hex digits of the SHA-256 of the canonical data: the journal's name for the table.
        source: The file it was loaded from.
        fees: What is billed beside tokens, oldest first.
        discounts: Those negotiated, the most particular first: the first that holds counts, alone.
    """

    version: str
    source: str
    fees: tuple[Fee, ...]
    discounts: tuple[Discount, ...]
    _names: Mapping[str, tuple[Model, str]]
    _prices: Mapping[str, tuple[Price, ...]]
    _tariffs: dict[tuple[str, int, Way], Tariff] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path | Traversable | None = None) -> PriceTable:
        """Load a price file.

        Args:
            path: A whole table, or a company's own file on top of the shipped one (it says `extends:
                anthropic`); by default `pricing/anthropic.yaml` as shipped.

        Raises:
            PolicyError: The file cannot be read or is malformed, with line and column of every problem.
        """
        from governor.pricing.read import SHIPPED, read_prices, shipped_prices  # noqa: PLC0415 - `import governor` need not pay for YAML

        source = data_file(SHIPPED) if path is None else path
        data = shipped_prices() if path is None else read_prices(path)
        canonical = json.dumps(data, sort_keys=True, default=str).encode()
        models = [(entries.model(one), tuple(map(entries.price, one["prices"]))) for one in data["models"]]
        return cls(
            version=hashlib.sha256(canonical).hexdigest()[:12],
            source=str(source),
            fees=tuple(map(entries.fee, data["fees"])),
            discounts=tuple(map(entries.discount, data.get("discounts", ()))),
            _names=_names([model for model, _ in models], data),
            _prices={model.id: prices for model, prices in models},
        )

    def model(self, name: str) -> Model:
        """The model called *name*: an id, an alias, or a cloud's name of it.

        Raises:
            UnknownModel: The table has no such model; the message names the nearest one.
        """
        return self._find(name)[0]

    def endpoint(self, name: str) -> str:
        """Where *name* is served.

        Returns:
            `""` for Anthropic's own API; `global`, `regional` or `us-gov` on Bedrock; `vertex` for a name of
            Vertex AI, which does not tell.

        Raises:
            UnknownModel: The table has no such model.
        """
        return self._find(name)[1]

    def canonical(self, name: str) -> str:
        """The id of the model called *name*, under which requests count.

        Raises:
            UnknownModel: The table has no such model.
        """
        return self.model(name).id

    def line_of(self, name: str) -> str:
        """The line of the model called *name*.

        Raises:
            UnknownModel: The table has no such model.
        """
        return self.model(name).line

    def retired(self, name: str, at_ms: int) -> bool:
        """Whether the API does not serve the model called *name* at an instant, Unix milliseconds.

        Days are in UTC, and the day of retirement counts.

        Raises:
            UnknownModel: The table has no such model.
        """
        return self.model(name).retired_on(_day(at_ms))

    def retires_soon(self, name: str, at_ms: int, within_days: int = entries.SOON_DAYS) -> dt.date | None:
        """The day the model called *name* retires, where that is later than an instant, but not by much.

        Args:
            name: A name of the model.
            at_ms: Unix time in milliseconds.
            within_days: How many days later at most.

        Raises:
            UnknownModel: The table has no such model.
        """
        return self.model(name).retires_soon(_day(at_ms), within_days)

    def tells_endpoint(self, name: str) -> bool:
        """Whether *name* says which endpoint serves it; Vertex AI's own names do not.

        Raises:
            UnknownModel: The table has no such model.
        """
        return self.endpoint(name) != VERTEX

    def served_at(self, name: str, endpoint: str) -> str:
        """The endpoint that a model is served at: what *name* tells, else *endpoint*.

        A Bedrock name without a prefix is the same in government regions: there *endpoint* says so.

        Raises:
            UnknownModel: The table has no such model.
        """
        model, own = self._find(name)
        bare = endpoint == US_GOV and _resource(name) in model.bedrock
        return endpoint if endpoint and (own == VERTEX or bare) else own or endpoint

    def way_of(self, name: str, at_ms: int, way: Way) -> Way:
        """*way* for another model of the same request: it is served so as far as the model can be.

        A fallback runs at standard speed where its model has no fast mode; a model from before 4.6 is served
        anywhere, whatever the request's region.

        Raises:
            UnknownModel: The table has no such model, or no price of it that early.
        """
        price = self.price_at(name, at_ms)
        geo = way.geo if price.us_percent is not None else None
        return way._replace(fast=way.fast and price.fast is not None, geo=geo)

    def knows(self, name: str) -> bool:
        """Whether *name* is a name of a model in the table."""
        return name in self._names or _resource(name) in self._names

    def models(self) -> tuple[Model, ...]:
        """Every model, in the order of the file."""
        return tuple(self._names[name][0] for name in self._prices)

    def prices(self, name: str) -> tuple[Price, ...]:
        """Every dated price of the model called *name*, oldest first.

        Raises:
            UnknownModel: The table has no such model.
        """
        return self._prices[self.model(name).id]

    def priced_since(self, name: str) -> dt.date:
        """The first day, in UTC, on which the model called *name* has a price.

        Raises:
            UnknownModel: The table has no such model.
        """
        return self.prices(name)[0].since

    def price_at(self, name: str, at_ms: int) -> Price:
        """The price in force at an instant, before any discount.

        Args:
            name: A name of the model.
            at_ms: Unix time in milliseconds.

        Raises:
            UnknownModel: The table has no such model, or no price of it that early.
        """
        dated = self.prices(name)
        found = _in_force(dated, _day(at_ms))
        if found is None:
            raise UnknownModel(
                f"model {name!r} has no price before {dated[0].since} in {self.source}; "
                "add an earlier dated entry, or correct the clock"
            )
        return found

    def fee_at(self, at_ms: int) -> Fee:
        """The fee in force at an instant, Unix milliseconds; the oldest, before it began."""
        return _in_force(self.fees, _day(at_ms)) or self.fees[0]

    def discount_at(self, name: str, at_ms: int) -> Discount | None:
        """The negotiated discount in force for a model at an instant (Unix milliseconds), if there is one.

        It is taken off list prices; a price that the company agreed on stands as it is.

        Raises:
            UnknownModel: The table has no such model, or no price of it that early.
        """
        model, day = self.model(name), _day(at_ms)
        if self.price_at(name, at_ms).agreed:
            return None
        return next((one for one in self.discounts if one.holds(model.id, day)), None)

    def tariff(self, name: str, at_ms: int, way: Way) -> Tariff:
        """What a token of a model costs at an instant, in one way of being served.

        Args:
            name: A name of the model. A Bedrock name's own endpoint counts, whatever *way* says.
            at_ms: When it is served, Unix time in milliseconds.
            way: How it is served.

        Raises:
            UnknownModel: The model has no price then, or none for this way.
        """
        key = (name, at_ms // DAY_MS, way)
        found = self._tariffs.get(key)
        if found is None:
            if len(self._tariffs) >= _MOST_TARIFFS:
                self._tariffs.clear()
            found = self._tariffs[key] = self._compile(name, at_ms, way)
        return found

    def _compile(self, name: str, at_ms: int, way: Way) -> Tariff:
        way = way._replace(endpoint=self.served_at(name, way.endpoint))
        discount = self.discount_at(name, at_ms)
        keep = 1 - discount.percent / 100 if discount else Fraction(1)
        price, fee = self.price_at(name, at_ms), self.fee_at(at_ms)
        return compiled(name, price, keep, fee.web_search_nanos, way)

    def _find(self, name: str) -> tuple[Model, str]:
        found = self._names.get(name) or self._names.get(_resource(name))
        if found is None:
            hint = nearest(name, self._names)
            if not hint.startswith("did you mean"):  # of all a model's names, its id says enough
                hint = nearest(name, {model.id for model, _ in self._names.values()})
            raise UnknownModel(
                f"model {name!r} has no price in {self.source} ({hint}); "
                "name a priced model, or add it to the price table"
            )
        return found


def _resource(name: str) -> str:
    """The model id in a Bedrock ARN: `arn:aws:bedrock:…:inference-profile/us.anthropic.…`."""
    if not name.startswith("arn:"):
        return name
    found = name.rpartition("/")[2]
    government = name.startswith(_GOVERNMENT) and not found.startswith(f"{US_GOV}.")
    return f"{US_GOV}.{found}" if government else found


def _day(at_ms: int) -> dt.date:
    return EPOCH + dt.timedelta(days=at_ms // DAY_MS)


def _in_force(dated: Sequence[_Dated], day: dt.date) -> _Dated | None:
    return next((one for one in reversed(dated) if one.since <= day), None)


def _names(models: Sequence[Model], data: Mapping[str, Any]) -> dict[str, tuple[Model, str]]:
    """Every name of every model, with the endpoint that it stands for."""
    found = {name: (model, where) for model in models for name, where in _names_of(model, data)}
    for alias, name in data.get("aliases", {}).items():
        model, endpoint = found[name]
        found[alias] = (model, US_GOV if endpoint and alias.startswith(_GOVERNMENT) else endpoint)
    return found


def _names_of(model: Model, data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in (model.id, *model.aliases):
        yield name, ANTHROPIC
    for name in model.vertex:
        yield name, VERTEX
    for name in model.bedrock:
        yield name, REGIONAL
        for prefix, endpoint in data["bedrock_prefixes"].items():
            yield f"{prefix}.{name}", endpoint
