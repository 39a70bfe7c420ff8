"""What to append to a price file so that it says what `genai-prices` says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.pricing.append import Additions, Entry
from governor.pricing.compare import BATCH, FAST, SEARCH, STEP, Unit, Unlike, compare, decimal_text
from governor.pricing.entries import RATES

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from fractions import Fraction
    from typing import Any

    from governor.pricing.compare import Comparison, Listed
    from governor.pricing.entries import Price
    from governor.pricing.table import PriceTable

_PERCENTS = ("us_percent", "regional_percent", "us_gov_percent")


@dataclass(frozen=True, slots=True)
class Plan:
    """What an update appends, and what it cannot.

    Attributes:
        comparison: What it follows from.
        additions: The entries to append.
        refused: What differs and is not appended: a model's id or `fees`, and why.
    """

    comparison: Comparison
    additions: Additions
    refused: tuple[tuple[str, str], ...]


class _KeptError(ValueError):
    """A file says something that a new entry would take away."""


@dataclass(frozen=True, slots=True)
class Update:
    """An update of one file.

    Attributes:
        table: What the file says now, with the shipped table where it extends that.
        models: The models of `genai-prices`, as `their_models` has them.
        since: The day from which the new entries are in force, UTC.
        source: What the new entries bear as their source.
        today: The day they bear as their `checked`.
        own: Whether the file extends the shipped table.
    """

    table: PriceTable
    models: Sequence[Any]
    since: dt.date
    source: str
    today: dt.date
    own: bool

    def plan(self) -> Plan:
        """Entries for every difference of `compare` on the day they begin that is not known to be right.

        A company's own entry hides the shipped ones that come after it, so those are written down again
        behind it, with the new prices where they differ on their day.
        """
        comparison = compare(self.table, self.models, self.since)
        additions = Additions()
        refused = list(comparison.unread)
        for model_id in dict.fromkeys(one.model for one in comparison.unknown if one.unit != SEARCH):
            try:
                additions.prices[model_id] = list(self._entries(model_id, comparison))
            except (_KeptError, Unlike) as error:
                refused.append((model_id, str(error)))
        if any(one.unit == SEARCH for one in comparison.unknown):
            try:
                additions.fees.append(self._fee(comparison))
            except (_KeptError, Unlike) as error:
                refused.append(("fees", str(error)))
        return Plan(comparison, additions, tuple(refused))

    def _entries(self, model_id: str, first: Comparison) -> Iterator[Entry]:
        later = [price for price in self.table.prices(model_id) if price.since >= self.since]
        for price in later:
            if price.own or not self.own:
                raise _taken(price.since)
        days = [self.since, *(price.since for price in later if price.since > self.since)]
        for day in days:
            comparison = first if day == self.since else compare(self.table, self.models, day)
            mine = [one for one in comparison.differences if one.model == model_id and one.unit != SEARCH]
            price = [one for one in self.table.prices(model_id) if one.since <= day][-1]
            if all(one.reason for one in mine):
                yield self._said(copy_of(price, f"{self.source}; {price.source}", self.today))
                continue
            kept = {one.unit.way for one in mine if one.reason}
            listed = comparison.theirs[model_id]
            entry = entry_of(price, listed, kept, day, self.source, self.today)
            if self.own and price.above is not None:
                # Said aloud, or the file would be refused for losing the step.
                entry.setdefault("above", None)
            yield self._said(entry)

    def _fee(self, comparison: Comparison) -> Entry:
        listed = {one[SEARCH] for one in comparison.theirs.values() if SEARCH in one}
        if len(listed) != 1 or any(one.theirs is None for one in comparison.unknown if one.unit == SEARCH):
            raise Unlike("genai-prices has no one price of a web search")
        for fee in self.table.fees:
            if fee.since >= self.since:
                raise _taken(fee.since)
        dated = {"from": self.since, "source": self.source, "checked": self.today}
        return self._said({**dated, "web_search_per_thousand": decimal_text(listed.pop())})

    def _said(self, entry: Entry) -> Entry:
        """The entry as this file has it: in a company's own file it is marked as no agreement."""
        return {**entry, "listed": True} if self.own else entry


def _taken(day: dt.date) -> _KeptError:
    return _KeptError(
        f"there is an entry from {day} already, and entries are only appended: give a later --from"
    )


def entry_of(
    price: Price, listed: Listed, kept: AbstractSet[str], since: dt.date, source: str, today: dt.date
) -> Entry:
    """An entry with the prices that `genai-prices` lists, and the rest of one of ours.

    Args:
        price: Our entry in force: its regions' percentages are taken over, for nobody else lists them.
        listed: The other prices, as `their_prices` has them.
        kept: Ways (`batch`, `fast`) in which ours is right: its relation to the standard price is kept.
        since: The day it is in force from.
        source: Where the prices are from.
        today: The day they were compared.

    Raises:
        Unlike: No entry can say these prices.
    """
    unknown = [unit.rate for unit in listed if unit.rate not in {*RATES, "above_tokens", "web_search"}]
    if unknown:
        raise Unlike(f"no entry has a price for {', '.join(unknown)}")
    base = _five(listed, "", long=False)
    entry: Entry = {"from": since, "source": source, "checked": today, **_texts(base)}
    if STEP in listed:
        entry["above"] = {"prompt_tokens": int(listed[STEP]), **_texts(_five(listed, "", long=True))}
    fast = price.fast if FAST in kept else _factors(listed, FAST)
    if fast is not None:
        entry["fast"] = {
            "input": decimal_text(base["input"] * fast[0]),
            "output": decimal_text(base["output"] * fast[1]),
        }
    percent = price.batch_percent if BATCH in kept else _batch_percent(listed)
    if percent is not None:
        entry["batch_percent"] = percent
    entry |= {name: value for name in _PERCENTS if (value := getattr(price, name)) is not None}
    if any("/" in value for value in entry.get("fast", {}).values()):
        raise Unlike("our fast mode's relation to the new price is no decimal number")
    return entry


def copy_of(price: Price, source: str, today: dt.date) -> Entry:
    """One of our entries as a file has it, with its own date, another source and day of checking."""
    entry: Entry = {"from": price.since, "source": source, "checked": today}
    entry |= _texts(dict(zip(RATES, (rate / 1000 for rate in price.rates.each()), strict=True)))
    if price.above is not None:
        above = dict(zip(RATES, (rate / 1000 for rate in price.above.each()), strict=True))
        entry["above"] = {"prompt_tokens": price.step_tokens, **_texts(above)}
    if price.fast is not None:
        both = (price.rates.input * price.fast[0] / 1000, price.rates.output * price.fast[1] / 1000)
        entry["fast"] = {"input": decimal_text(both[0]), "output": decimal_text(both[1])}
    names = ("batch_percent", *_PERCENTS)
    return entry | {name: value for name in names if (value := getattr(price, name)) is not None}


def _five(listed: Listed, way: str, *, long: bool) -> dict[str, Fraction]:
    found = {rate: listed.get(Unit(way, long, rate)) for rate in RATES}
    missing = [str(Unit(way, long, rate)) for rate, value in found.items() if value is None]
    if missing:
        raise Unlike(f"genai-prices lists no {', '.join(missing)}")
    return {rate: value for rate, value in found.items() if value is not None}


def _texts(prices: Mapping[str, Fraction]) -> Entry:
    return {rate: decimal_text(value) for rate, value in prices.items()}


def _factors(listed: Listed, way: str) -> tuple[Fraction, Fraction] | None:
    """What a way multiplies prompt prices and the output price by; `None` where it is not listed."""
    if not any(unit.way == way for unit in listed):
        return None
    found: dict[bool, set[Fraction]] = {False: set(), True: set()}
    for long in (False, True) if STEP in listed else (False,):
        base, dearer = _five(listed, "", long=long), _five(listed, way, long=long)
        for rate in RATES:
            found[rate == "output"].add(dearer[rate] / base[rate])
    if any(len(factors) > 1 for factors in found.values()):
        raise Unlike(f"its {way} prices are not the standard ones times one factor")
    return found[False].pop(), found[True].pop()


def _batch_percent(listed: Listed) -> int | None:
    factors = _factors(listed, BATCH)
    if factors is None:
        return None
    if factors[0] != factors[1] or (factors[0] * 100).denominator != 1:
        raise Unlike("its batch prices are not a whole percentage of the standard ones")
    return int(factors[0] * 100)
