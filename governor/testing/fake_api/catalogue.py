"""The models the fake API serves and what each token of them costs.

This reads the same price file as the governor but shares no arithmetic with it, so that a bill and a ledger
that agree were computed twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from governor.data import data_file

if TYPE_CHECKING:
    from collections.abc import Mapping

NANOS_PER_TOKEN_PER_DOLLAR = 1000
"""A price of $1 per million tokens is 1,000 nano-dollars a token."""

_CATEGORIES = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")


class Unpriced(ValueError):  # noqa: N818 - it says what the request is
    """A model, or a way of serving it, that has no price at that date."""


@dataclass(frozen=True, slots=True)
class Mode:
    """How a request was served, as far as the price depends on it."""

    fast: bool = False
    batch: bool = False
    us: bool = False
    prompt_tokens: int = 0

    @classmethod
    def of(cls, usage: Mapping[str, Any]) -> Mode:
        """The mode that a reported usage states, of a prompt of unknown length."""
        return cls(
            fast=usage.get("speed") == "fast",
            batch=usage.get("service_tier") == "batch",
            us=usage.get("inference_geo") == "us",
        )


class Entry:
    """One dated row of prices of a model."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.since: date = row["from"]
        self._base = _prices(row)
        above = row.get("above")
        self._step: int | None = above["prompt_tokens"] if above else None
        self._above = {**self._base, **_prices(above)} if above else self._base
        self._fast = _prices(row["fast"]) if row.get("fast") else None
        self._percent: dict[str, Any] = {"batch": row.get("batch_percent"), "us": row.get("us_percent")}
        self._memo: dict[tuple[bool, bool, bool, bool], dict[str, Fraction]] = {}

    def rates(self, mode: Mode) -> dict[str, Fraction]:
        """Nano-dollars per token of each category.

        Raises:
            Unpriced: The row has no price for that mode.
        """
        above = self._step is not None and mode.prompt_tokens > self._step
        key = (above, mode.fast, mode.batch, mode.us)
        if key not in self._memo:
            self._memo[key] = self._compute(above=above, mode=mode)
        return self._memo[key]

    def _compute(self, *, above: bool, mode: Mode) -> dict[str, Fraction]:
        factor = Fraction(NANOS_PER_TOKEN_PER_DOLLAR)
        for name, wanted in (("batch", mode.batch), ("us", mode.us)):
            if wanted and self._percent[name] is None:
                raise Unpriced(f"no {name} price")
            factor *= Fraction(self._percent[name], 100) if wanted else 1
        rates = {name: price * factor for name, price in (self._above if above else self._base).items()}
        if mode.fast:
            if self._fast is None:
                raise Unpriced("no fast price")
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
    """

    id: str
    context_tokens: int
    max_output_tokens: int
    tokenizer: int
    entries: tuple[Entry, ...]

    def rates(self, mode: Mode, at_ms: int) -> dict[str, Fraction]:
        """Nano-dollars per token of each category at an instant (Unix milliseconds, days in UTC).

        Raises:
            Unpriced: There is no price at that instant, or not for that mode.
        """
        day = _day(at_ms // 86_400_000)
        for entry in reversed(self.entries):
            if entry.since <= day:
                return entry.rates(mode)
        raise Unpriced(f"{self.id} has no price on {day}")


class Catalogue:
    """Every model by id and alias."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._models: dict[str, ServedModel] = {}
        self.web_search_nanos = Fraction(data["web_search_per_thousand"]) * 1_000_000_000 / 1000
        for row in data["models"]:
            model = ServedModel(
                id=row["id"],
                context_tokens=row["context"],
                max_output_tokens=row["max_output"],
                tokenizer=int(row["tokenizer"]),
                entries=tuple(sorted(map(Entry, row["prices"]), key=lambda entry: entry.since)),
            )
            for name in (row["id"], *(row.get("aliases") or ())):
                self._models[name] = model

    def find(self, name: str) -> ServedModel | None:
        """The model of that id or alias, or `None`."""
        return self._models.get(name)

    def charge(self, name: str, usage: Mapping[str, Any], at_ms: int) -> Fraction:
        """Exact nano-dollars that the API charges for a reported usage.

        With `iterations`, these are summed, each at its own model, instead of the totals. Web searches cost
        the same in every mode.

        Raises:
            Unpriced: The model or the mode has no price.
        """
        mode = Mode.of(usage)
        parts = usage.get("iterations") or [usage]
        total = sum(
            (self._tokens(part.get("model") or name, part, mode, at_ms) for part in parts), Fraction()
        )
        searches = (usage.get("server_tool_use") or {}).get("web_search_requests") or 0
        return total + searches * self.web_search_nanos

    def _tokens(self, name: str, usage: Mapping[str, Any], mode: Mode, at_ms: int) -> Fraction:
        model = self.find(name)
        if model is None:
            raise Unpriced(f"{name} is not in the price file")
        counts = counts_of(usage)
        prompt = sum(counts.values()) - counts["output"]
        rates = model.rates(Mode(mode.fast, mode.batch, mode.us, prompt), at_ms)
        return sum((count * rates[name] for name, count in counts.items() if count), Fraction())


def counts_of(usage: Mapping[str, Any]) -> dict[str, int]:
    """Tokens of a usage by category of price; cache writes without a split are 5-minute ones."""
    split = usage.get("cache_creation") or {}
    long = split.get("ephemeral_1h_input_tokens") or 0
    short = split.get("ephemeral_5m_input_tokens") or 0
    unsplit = (usage.get("cache_creation_input_tokens") or 0) - long - short
    return {
        "input": usage.get("input_tokens") or 0,
        "output": usage.get("output_tokens") or 0,
        "cache_write_5m": short + max(unsplit, 0),
        "cache_write_1h": long,
        "cache_read": usage.get("cache_read_input_tokens") or 0,
    }


def _prices(row: Mapping[str, Any]) -> dict[str, Fraction]:
    return {name: Fraction(row[name]) for name in _CATEGORIES if name in row}


@lru_cache(maxsize=64)
def _day(days_since_epoch: int) -> date:
    return datetime.fromtimestamp(days_since_epoch * 86_400, UTC).date()


@lru_cache(maxsize=1)
def shipped_catalogue() -> Catalogue:
    """The catalogue of the price file that ships with the governor, read once."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - only a running fake needs a YAML reader

    text = data_file("pricing/anthropic.yaml").read_text(encoding="utf-8")
    return Catalogue(YAML(typ="safe", pure=True).load(text))
