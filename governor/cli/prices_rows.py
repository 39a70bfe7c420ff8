"""What `governor prices show` says of a model, as plain data."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

from governor.errors import UnknownModel
from governor.pricing.compare import at_ms, decimal_text
from governor.pricing.entries import RATES
from governor.pricing.tariff import ANTHROPIC, GLOBAL, REGIONAL, US_GOV, VERTEX, Way, compiled

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from governor.pricing import Discount, Price, PriceTable, Tariff


def fee_json(table: PriceTable, day: date) -> dict[str, Any]:
    """The fee in force on a day, in dollars per thousand web searches."""
    fee = table.fee_at(at_ms(day))
    per_thousand = decimal_text(fee.web_search_nanos / 1_000_000)
    return {"per_thousand": per_thousand, "from": fee.since, "source": fee.source, "checked": fee.checked}


def model_json(table: PriceTable, name: str, day: date, *, history: bool) -> dict[str, Any]:
    """A model and its dated prices, in dollars per million tokens, as decimal texts.

    Args:
        table: The prices.
        name: Any name of the model; one of Bedrock tells its endpoint, one of Vertex AI stands for global.
        day: The entry in force on this day, its discount taken off; none where it had no price yet.
        history: Every entry instead, before any discount.

    Raises:
        UnknownModel: The table has no such model.
    """
    model = table.model(name)
    dated = table.prices(name)
    discount = None
    if not history:
        dated = tuple(price for price in dated if price.since <= day)[-1:]
        discount = table.discount_at(name, at_ms(day)) if dated else None
    return {
        "model": name,
        "id": model.id,
        "line": model.line,
        "endpoint": table.endpoint(name),
        "lifecycle": model.lifecycle,
        "retires": model.retires,
        "retires_not_before": model.retires_not_before,
        "entries": [_entry(table, name, price, discount) for price in dated],
    }


def _entry(table: PriceTable, name: str, price: Price, discount: Discount | None) -> dict[str, Any]:
    off = discount and {
        "percent": decimal_text(discount.percent),
        "until": discount.until,
        "source": discount.source,
    }
    return {
        "from": price.since,
        "source": price.source,
        "checked": price.checked,
        "own": price.own,
        "discount": off,
        "prices": dict(_ways(table, name, price, discount)),
    }


def _ways(
    table: PriceTable, name: str, price: Price, discount: Discount | None
) -> Iterator[tuple[str, dict[str, Any] | None]]:
    """The prices of each way of being served; `None` where it has none, or *name* tells another endpoint."""
    keep = 1 - discount.percent / 100 if discount else Fraction(1)
    own = table.endpoint(name)
    endpoint = GLOBAL if own == VERTEX else own
    cloud = own in (ANTHROPIC, VERTEX)
    ways = {
        "standard": Way(endpoint=endpoint),
        "batch": Way(batch=True, endpoint=endpoint),
        "fast": Way(fast=True, endpoint=endpoint),
        "us": None if own else Way(geo="us"),
        "regional": Way(endpoint=REGIONAL) if cloud else None,
        "us_gov": Way(endpoint=US_GOV) if cloud else None,
    }
    for label, way in ways.items():
        try:
            yield label, way and _tariff(compiled(name, price, keep, Fraction(0), way))
        except UnknownModel:
            yield label, None


def _tariff(tariff: Tariff) -> dict[str, Any]:
    def dollars(amounts: Sequence[int]) -> dict[str, str]:
        each = (decimal_text(Fraction(amount, tariff.unit * 1000)) for amount in amounts)
        return dict(zip(RATES, each, strict=True))

    above = None
    if tariff.step_tokens is not None:
        above = {"prompt_tokens": tariff.step_tokens, **dollars(tariff.above)}
    return {**dollars(tariff.base), "above": above}
