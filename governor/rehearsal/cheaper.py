"""Whether one model's ceiling is never above another's, whatever is asked. Pure."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from governor.errors import UnknownModel
from governor.pricing import Way

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.pricing import PriceTable, Tariff

_PLACES = (Way(), Way(geo="us"), *(Way(endpoint=one) for one in ("global", "regional", "us-gov")))


def falls_with_the_line(prices: PriceTable, cheap: str, dear: str, now_ms: int) -> bool:
    """Whether the ceiling of *cheap* is at most that of *dear* for every request that either can serve.

    Proved token by token: every price of the cheaper model, in whatever region and however long the prompt,
    is at most every such price of the other one; and a prompt has as many tokens for both.

    Raises:
        UnknownModel: The table has no such model, or no price of it now.
    """
    one, other = prices.model(cheap), prices.model(dear)
    if one.id == other.id:
        return True
    fits = one.context_tokens <= other.context_tokens and one.max_output_tokens <= other.max_output_tokens
    if one.tokenizer != other.tokenizer or not fits:
        return False
    for fast in (False, True):
        mine, others = [*_rates(prices, cheap, now_ms, fast=fast)], [*_rates(prices, dear, now_ms, fast=fast)]
        for index in range(5):
            most = max((rates[index] for rates in mine), default=Fraction(0))
            if others and most > min(rates[index] for rates in others):
                return False
    return True


def _rates(prices: PriceTable, model: str, now_ms: int, *, fast: bool) -> Iterator[tuple[Fraction, ...]]:
    """What a token costs, of each of the five kinds, in every way the model is served."""
    for way in _PLACES:
        try:
            tariff: Tariff = prices.tariff(model, now_ms, way._replace(fast=fast))
        except UnknownModel:
            continue
        for amounts in (tariff.base, tariff.above):
            yield tuple(Fraction(amount, tariff.unit) for amount in amounts)
