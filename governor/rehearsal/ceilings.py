"""The ceilings of a journal's calls: as their records have them, or worked out anew. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.errors import UnknownModel
from governor.journal.calls import Priced
from governor.pricing import Bounds, Ceiling, bounded, ceiling_of, demand
from governor.rehearsal.ways import MOST_KEPT

if TYPE_CHECKING:
    from governor.journal.calls import Began
    from governor.pricing import Demand, PriceTable
    from governor.routing import Candidate

_PROMPT: list[dict[str, Any]] = [{"role": "user", "content": "…"}]


class Ceilings:
    """Prices the candidates of calls.

    Attributes:
        priced: How many ceilings were worked out, because the record's do not hold.
        scaled: How many of these in proportion to the record's, for the request was more than plain text.
    """

    def __init__(self, prices: PriceTable) -> None:
        self._prices = prices
        self.priced = self.scaled = 0
        self._demands: dict[tuple[int, Bounds], Demand] = {}

    def of(self, call: Began, candidate: Candidate, max_tokens: int, bounds: Bounds) -> Ceiling:
        """The most that a candidate can cost with this `max_tokens`.

        Raises:
            UnknownModel: It has no price.
        """
        known = call.prices == self._prices.version
        if known and max_tokens == call.max_tokens:
            for model, _, nanos, tokens, _ in (*call.offers, *call.skipped):
                if model == candidate.model:
                    return Ceiling(nanos, tokens, call.input_tokens, max_tokens)
        self.priced += 1
        plain = self._plain(call, candidate.model, max_tokens, bounds)
        told = call.served or next((Priced(*one) for one in (*call.offers, *call.skipped)), None)
        if told is None:
            return plain
        try:
            then = self._plain(call, told.model, call.max_tokens, bounds)
        except UnknownModel:
            return plain
        parts = (told.nanos, then.nanos) if known else (told.tokens, then.tokens)
        if parts[0] <= parts[1]:
            return plain
        self.scaled += 1
        nanos, tokens = (-(-amount * parts[0] // max(parts[1], 1)) for amount in (plain.nanos, plain.tokens))
        return Ceiling(nanos, tokens, plain.input_tokens, max_tokens)

    def _plain(self, call: Began, model: str, max_tokens: int, bounds: Bounds) -> Ceiling:
        """The ceiling of a request that is plain text."""
        key = (max_tokens, bounds)
        asked = self._demands.get(key)
        if asked is None:
            if len(self._demands) >= MOST_KEPT:
                self._demands.clear()
            body = bounded({"messages": _PROMPT, "max_tokens": max_tokens}, bounds)
            asked = self._demands[key] = demand(body, bounds)
        return ceiling_of(
            self._prices,
            model,
            asked,
            input_tokens=call.input_tokens,
            counted=call.counted,
            at_ms=call.at_ms,
        )
