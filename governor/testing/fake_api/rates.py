"""What a token of a model costs, for each way of serving it.

This reads the same price file as the governor but shares no arithmetic with it, so that a bill and a ledger
that agree were computed twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

NANOS_PER_TOKEN_PER_DOLLAR = 1000
"""A price of $1 per million tokens is 1,000 nano-dollars a token."""

_CATEGORIES = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")
_PERCENTS = {
    "batch": "batch_percent",
    "us": "us_percent",
    "regional": "regional_percent",
    "us-gov": "us_gov_percent",
}


class Unpriced(ValueError):  # noqa: N818 - it says what the request is
    """A model, or a way of serving it, that has no price at that date."""


@dataclass(frozen=True, slots=True)
class Mode:
    """How a request was served, as far as the price depends on it.

    Attributes:
        fast: In fast mode.
        batch: In a batch.
        us: With `inference_geo: us`; a cloud's endpoint takes its place.
        endpoint: The cloud's endpoint, `global`, `regional` or `us-gov`; `None` at Anthropic's own API.
        prompt_tokens: Input + cache write + cache read, in tokens.
    """

    fast: bool = False
    batch: bool = False
    us: bool = False
    endpoint: str | None = None
    prompt_tokens: int = 0

    def premiums(self) -> list[str]:
        """The percentages that multiply every token's price."""
        names = ["batch"] if self.batch else []
        if self.endpoint is None:
            return [*names, "us"] if self.us else names
        return names if self.endpoint == "global" else [*names, self.endpoint]


class Entry:
    """One dated row of prices of a model."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.since: date = row["from"]
        self._base = _prices(row)
        above = row.get("above")
        self._step: int | None = above["prompt_tokens"] if above else None
        self._above = {**self._base, **_prices(above)} if above else self._base
        self._fast = _prices(row["fast"]) if row.get("fast") else None
        self._percents = {name: row.get(key) for name, key in _PERCENTS.items()}
        self._memo: dict[tuple[Any, ...], dict[str, Fraction]] = {}

    def rates(self, mode: Mode) -> dict[str, Fraction]:
        """Nano-dollars per token of each category.

        Raises:
            Unpriced: The row has no price for that mode.
        """
        above = self._step is not None and mode.prompt_tokens > self._step
        key = (above, mode.fast, mode.batch, mode.us, mode.endpoint)
        if key not in self._memo:
            self._memo[key] = self._compute(above=above, mode=mode)
        return self._memo[key]

    def _compute(self, *, above: bool, mode: Mode) -> dict[str, Fraction]:
        factor = Fraction(NANOS_PER_TOKEN_PER_DOLLAR)
        for name in mode.premiums():
            percent = self._percents[name]
            if percent is None:
                raise Unpriced(f"no {name} price")
            factor *= Fraction(percent, 100)
        rates = {name: price * factor for name, price in (self._above if above else self._base).items()}
        if mode.fast:
            if self._fast is None:
                raise Unpriced("no fast price")
            if mode.batch or mode.endpoint is not None:
                raise Unpriced("no fast price in a batch or on a cloud")
            for name in rates:
                side = "output" if name == "output" else "input"
                rates[name] *= self._fast[side] / self._base[side]
        return rates


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model of the price file.

    Attributes:
        id: Its name in the price file.
        context_tokens: Largest prompt.
        max_output_tokens: Largest `max_tokens`.
        tokenizer: Tokenizer family, 2024 or 2026.
        entries: Its price rows, oldest first.
        gone_from: The first day, in UTC, on which it is not served any more; `None` while none is announced.
    """

    id: str
    context_tokens: int
    max_output_tokens: int
    tokenizer: int
    entries: tuple[Entry, ...]
    gone_from: date | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> ServedModel:
        """The model of a row of `models`."""
        return cls(
            id=row["id"],
            context_tokens=row["context"],
            max_output_tokens=row["max_output"],
            tokenizer=int(row["tokenizer"]),
            entries=tuple(sorted(map(Entry, row["prices"]), key=lambda entry: entry.since)),
            gone_from=date.min if row.get("lifecycle") == "retired" else row.get("retires"),
        )

    def rates(self, mode: Mode, at_ms: int) -> dict[str, Fraction]:
        """Nano-dollars per token of each category at an instant (Unix milliseconds, days in UTC).

        A model that is gone keeps its last prices.

        Raises:
            Unpriced: There is no price at that instant, or not for that mode.
        """
        day = day_of(at_ms)
        for entry in reversed(self.entries):
            if entry.since <= day:
                return entry.rates(mode)
        raise Unpriced(f"{self.id} has no price on {day}")

    def prices(self, mode: Mode, at_ms: int) -> bool:
        """Whether there is a price for that mode at that instant (Unix milliseconds)."""
        try:
            self.rates(mode, at_ms)
        except Unpriced:
            return False
        return True

    def gone(self, at_ms: int) -> bool:
        """Whether it is retired at that instant (Unix milliseconds); its day of retirement counts."""
        return self.gone_from is not None and self.gone_from <= day_of(at_ms)


def day_of(at_ms: int) -> date:
    """The day, in UTC, of an instant in Unix milliseconds."""
    return _day(at_ms // 86_400_000)


def _prices(row: Mapping[str, Any]) -> dict[str, Fraction]:
    return {name: Fraction(row[name]) for name in _CATEGORIES if name in row}


@lru_cache(maxsize=64)
def _day(days_since_epoch: int) -> date:
    return datetime.fromtimestamp(days_since_epoch * 86_400, UTC).date()
