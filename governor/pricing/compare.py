"""Our prices against those of the installed `genai-prices`, unit by unit, exact."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from governor.errors import UnknownModel
from governor.pricing.entries import RATES
from governor.pricing.table import DAY_MS, EPOCH

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from governor.pricing.entries import Model, Price, Rates
    from governor.pricing.table import PriceTable

BATCH, FAST = "batch", "fast"
_THEIR_KEYS = {
    "input": ("input_mtok",),
    "output": ("output_mtok",),
    "cache_write_5m": ("cache_write_5m_mtok", "cache_write_mtok"),
    "cache_write_1h": ("cache_write_1h_mtok",),
    "cache_read": ("cache_read_mtok",),
}
_THEIR_SEARCHES = "web_searches_kcount"
_THEIR_WAYS = {BATCH: {"processing": "batch"}, FAST: {"speed": "fast"}}


class Unit(NamedTuple):
    """One price of a model.

    Attributes:
        way: `""`, `batch` or `fast`.
        long: Whether it is that of a prompt above the step.
        rate: One of `RATES`, in dollars per million tokens; `above_tokens`, the step; `web_search`, in
            dollars per thousand; else a price key of `genai-prices` that no entry of ours has.
    """

    way: str
    long: bool
    rate: str

    def __str__(self) -> str:
        """For example `input`, `long above_tokens`, `batch long output`."""
        return " ".join(filter(None, (self.way, "long" if self.long else "", self.rate)))


STEP = Unit("", long=True, rate="above_tokens")
SEARCH = Unit("", long=False, rate="web_search")
Listed = dict[Unit, Fraction]


@dataclass(frozen=True, slots=True)
class Known:
    """A way of being served that one side does not price, and why that is right.

    Attributes:
        way: `batch` or `fast`.
        models: The models' ids; `None`: all.
        missing: `ours` or `theirs`: who does not list it.
        since: From this day; `None`: always.
        until: Up to and including this day; `None`: without end.
        reason: Why ours is kept.
    """

    way: str
    models: frozenset[str] | None
    missing: str
    since: dt.date | None
    until: dt.date | None
    reason: str

    def covers(self, model_id: str, unit: Unit, missing: str, day: dt.date) -> bool:
        """Whether it explains a price that one side lacks on a day; never two prices that differ."""
        named = self.models is None or model_id in self.models
        begun = self.since is None or self.since <= day
        return (
            named
            and begun
            and (self.until is None or day <= self.until)
            and (self.way, self.missing) == (unit.way, missing)
        )


KNOWN = (
    Known(
        way=BATCH,
        models=None,
        missing="theirs",
        since=None,
        until=dt.date(2026, 10, 13),
        reason="genai-prices dates its batch prices 2026-10-14, when it took them in; the discount is older",
    ),
    Known(
        way=BATCH,
        models=frozenset({"claude-opus-4-0", "claude-opus-4-1"}),
        missing="theirs",
        since=None,
        until=None,
        reason="genai-prices took in batch prices of models still served; this one had the same discount",
    ),
    Known(
        way=FAST,
        models=frozenset({"claude-opus-4-8"}),
        missing="ours",
        since=dt.date(2026, 11, 30),
        until=None,
        reason="Anthropic removes its fast mode on 2026-11-30; the price of genai-prices has no end",
    ),
)
"""Every disagreement with genai-prices 0.2.3 that is not a mistake of ours, on any day since its models are
priced alike; a difference of two prices is never among them."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One price on which the two sides disagree.

    Attributes:
        model: Our id of the model.
        unit: Which price.
        ours: Ours, in the unit's dollars (or tokens); `None`: we do not list it.
        theirs: Theirs, likewise.
        reason: Why that is right; empty where it is not known to be.
    """

    model: str
    unit: Unit
    ours: Fraction | None
    theirs: Fraction | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What comparing showed.

    Attributes:
        day: The day whose prices were compared.
        differences: Every difference, known ones too, in the order of our table.
        only_ours: Ids of models that `genai-prices` does not list.
        only_theirs: Their ids of models that we do not list.
        unread: Our id of each model whose prices `genai-prices` lists in a form that no entry of ours has,
            with that form.
        compared: How many prices both sides list.
        theirs: What `genai-prices` lists for each model that both list, by our id.
    """

    day: dt.date
    differences: tuple[Difference, ...]
    only_ours: tuple[str, ...]
    only_theirs: tuple[str, ...]
    unread: tuple[tuple[str, str], ...]
    compared: int
    theirs: Mapping[str, Listed]

    @property
    def unknown(self) -> tuple[Difference, ...]:
        """The differences that have no reason."""
        return tuple(one for one in self.differences if not one.reason)


class Unlike(ValueError):  # noqa: N818 - nobody erred
    """A price of `genai-prices` has a form that no entry of ours can have; the message says which."""


def their_models() -> Sequence[Any]:
    """The Claude models of the installed `genai-prices`, as its `ModelInfo`.

    Raises:
        ImportError: It is not installed (extra `prices`).
    """
    from genai_prices.data import providers  # noqa: PLC0415 - an extra, and a quarter of a second

    return next(one.models for one in providers if one.id == "anthropic")


def compare(table: PriceTable, models: Iterable[Any], day: dt.date) -> Comparison:
    """Compare what a table and `genai-prices` list on a day, before any discount.

    A price that the company agreed on differs for a reason that is known. A step that no prompt within the
    model's context window can pass counts on neither side. A model that has no price of ours yet on that day
    is left out.

    Args:
        table: Our prices.
        models: Theirs, as `their_models` has them.
        day: The day, in UTC.
    """
    theirs = tuple(models)
    pairs = [
        (model, next((one for one in theirs if one.is_match(model.id)), None)) for model in table.models()
    ]
    matched = {id(found) for _, found in pairs}
    differences: list[Difference] = []
    unread: list[tuple[str, str]] = []
    listed: dict[str, Listed] = {}
    compared = 0
    for model, found in pairs:
        mine = our_prices(table, model, day)
        if found is None or mine is None:
            continue
        try:
            listed[model.id] = their_prices(found, day, model.context_tokens)
        except Unlike as form:
            unread.append((model.id, str(form)))
            continue
        compared += len(mine.keys() & listed[model.id].keys())
        price = table.price_at(model.id, at_ms(day))
        agreement = f"your own price: {price.source}" if price.agreed else ""
        differences += _differences(model.id, mine, listed[model.id], day, agreement, _fee_agreed(table, day))
    return Comparison(
        day=day,
        differences=tuple(differences),
        only_ours=tuple(model.id for model, found in pairs if found is None),
        only_theirs=tuple(one.id for one in theirs if id(one) not in matched),
        unread=tuple(unread),
        compared=compared,
        theirs=listed,
    )


def _fee_agreed(table: PriceTable, day: dt.date) -> str:
    fee = table.fee_at(at_ms(day))
    return f"your own fee: {fee.source}" if fee.agreed else ""


def _differences(
    model_id: str, ours: Listed, theirs: Listed, day: dt.date, agreement: str, fee_agreed: str
) -> Iterator[Difference]:
    """Where the two sides differ; what was agreed, if it is not empty, is the reason for a difference."""
    for unit in sorted(ours.keys() | theirs.keys(), key=_place):
        mine, other = ours.get(unit), theirs.get(unit)
        if mine == other:
            continue
        missing = "ours" if mine is None else "theirs" if other is None else ""
        reasons = (one.reason for one in KNOWN if one.covers(model_id, unit, missing, day))
        own = fee_agreed if unit == SEARCH else agreement
        known = own or next(reasons, "")
        yield Difference(model_id, unit, mine, other, known)


def _place(unit: Unit) -> tuple[str, bool, int, str]:
    return unit.way, unit.long, RATES.index(unit.rate) if unit.rate in RATES else len(RATES), unit.rate


def at_ms(day: dt.date) -> int:
    """The first instant of a day in UTC, Unix milliseconds."""
    return (day - EPOCH).days * DAY_MS


def our_prices(table: PriceTable, model: Model, day: dt.date) -> Listed | None:
    """What the table lists for a model on a day; `None` before its first price."""
    try:
        price = table.price_at(model.id, at_ms(day))
    except UnknownModel:
        return None
    fee = table.fee_at(at_ms(day))
    return {SEARCH: fee.web_search_nanos / 1_000_000, **priced(price, model.context_tokens)}


def priced(price: Price, context_tokens: int) -> Listed:
    """Every token price of an entry, its batch and fast mode too; no step beyond *context_tokens*."""
    ways = {"": (Fraction(1), Fraction(1))}
    if price.batch_percent is not None:
        share = Fraction(price.batch_percent, 100)
        ways[BATCH] = share, share
    if price.fast is not None:
        ways[FAST] = price.fast
    steps = {False: price.rates}
    found: Listed = {}
    if price.above is not None and price.step_tokens is not None and price.step_tokens < context_tokens:
        steps[True] = price.above
        found[STEP] = Fraction(price.step_tokens)
    for way, factors in ways.items():
        for long, rates in steps.items():
            found |= _named(way, rates.scaled(*factors), long=long)
    return found


def _named(way: str, rates: Rates, *, long: bool) -> Listed:
    each = zip(RATES, rates.each(), strict=True)
    return {Unit(way, long, rate): value / 1000 for rate, value in each}  # nano-dollars per token


def their_prices(info: Any, day: dt.date, context_tokens: int) -> Listed:
    """What `genai-prices` lists for a model on a day; no step beyond *context_tokens*.

    Args:
        info: Its `ModelInfo`.
        day: The day, in UTC.
        context_tokens: The model's context window.

    Raises:
        Unlike: It has several steps.
    """
    noon = dt.datetime.combine(day, dt.time(12), dt.UTC)
    standard = info.get_prices(noon)
    found = _read(info, "", standard, context_tokens)
    known = {key for keys in _THEIR_KEYS.values() for key in keys} | {_THEIR_SEARCHES}
    for key, value in vars(standard).items():
        if value is not None and key not in known:
            found[Unit("", long=False, rate=key)] = _base(value)
    if standard.web_searches_kcount is not None:
        found[SEARCH] = _base(standard.web_searches_kcount)
    for way, context in _THEIR_WAYS.items():
        if any(one.when == context and _active(one, noon) for one in info.price_variants or ()):
            found |= _read(info, way, info.get_prices(noon, context), context_tokens)
    return found


def _active(variant: Any, moment: dt.datetime) -> bool:
    return variant.constraint is None or variant.constraint.active(moment)


def _read(info: Any, way: str, prices: Any, context_tokens: int) -> Listed:
    """The five token prices of one way, up to the step and above it."""
    values = {rate: _first(prices, keys) for rate, keys in _THEIR_KEYS.items()}
    values = {rate: value for rate, value in values.items() if value is not None}
    found = {Unit(way, long=False, rate=rate): _base(value) for rate, value in values.items()}
    steps = {tier.start for value in values.values() for tier in _tiers(value)}
    if len(steps) > 1:
        starts = ", ".join(f"{start:,}" for start in sorted(steps))
        raise Unlike(f"genai-prices has steps at {starts} tokens for {info.id}; an entry of ours has one")
    for start in steps:
        if start < context_tokens:
            found[STEP] = Fraction(start)
            for rate, value in values.items():
                tiers = _tiers(value)
                found[Unit(way, long=True, rate=rate)] = Fraction(tiers[0].price) if tiers else _base(value)
    return found


def _first(prices: Any, keys: Iterable[str]) -> Any:
    return next((value for key in keys if (value := getattr(prices, key)) is not None), None)


def _base(value: Any) -> Fraction:
    return Fraction(getattr(value, "base", value))


def _tiers(value: Any) -> Sequence[Any]:
    tiers: Sequence[Any] = getattr(value, "tiers", ())
    return tiers


def decimal_text(value: Fraction) -> str:
    """*value* as a price file writes it, no digit lost: `2`, `0.10`, `0.125`; `1/3` where there is no end."""
    places = next((n for n in range(19) if 10**n % value.denominator == 0), None)
    if places is None:
        return str(value)
    if not places:
        return str(value.numerator)
    places = max(places, 2)
    whole, rest = divmod(value.numerator * 10**places // value.denominator, 10**places)
    return f"{whole}.{rest:0{places}d}"
