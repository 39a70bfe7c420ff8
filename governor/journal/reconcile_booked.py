"""The ledger's side of a reconciliation: what its journal charged, by day and model. Pure.

A call is booked on the day (UTC) it was priced, just before it was sent. Where Anthropic may have billed it
elsewhere, or not at all, the bounds say so: a call that ended on a later day, one with passes of several
models, one charged by rule, and one that has not ended yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic_core import from_json

from governor.errors import UnknownModel
from governor.journal.calls import Reader, posted_to
from governor.journal.gaps import Chain
from governor.ledger.lifecycle import SETTLED_LATE
from governor.pricing import own_name, read_usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from governor.journal.archive import Archived
    from governor.journal.calls import Began
    from governor.ledger.commands import JournalEntry
    from governor.pricing import PriceTable

HOLDS_LAST = timedelta(days=30)
"""Records older than that before the range are passed over: no hold is kept longer."""

_ENDS = frozenset({"settle", "release", "expire"})


@dataclass(slots=True)
class Booked:
    """What the ledger has of one model on one day.

    Attributes:
        nanos: What it charged, nano-dollars.
        least: What of it Anthropic must have billed here.
        most: The most that Anthropic can have billed here for the ledger's calls, those still open too.
        uncertain: What of `nanos` was charged by rule, because no final usage was seen.
        tokens: Input, cache write, cache read and output together, where usage was seen.
        calls: How many calls; each was rounded up by less than a nano-dollar.
    """

    nanos: int = 0
    least: int = 0
    most: int = 0
    uncertain: int = 0
    tokens: int = 0
    calls: int = 0


class _Charge(NamedTuple):
    """One call's: when it was priced and when it ended (Unix ms), the models that may have been billed.

    *most* is what it can have cost: beyond *nanos* only where that was charged by rule.
    """

    began_ms: int
    ended_ms: int
    models: tuple[str, ...]
    nanos: int
    most: int
    tokens: int
    uncertain: bool


@dataclass(frozen=True, slots=True)
class Books:
    """What a journal has of a range of days.

    Attributes:
        booked: By day and model; a model by its id in the price table, else by the name it was served under.
        complete_from: The first day of which the journal has every record; `None`: it has no record.
        missing: Days of which records are missing between others.
        clouds_nanos: What was charged for calls on a cloud, which Anthropic does not bill.
        unreadable: How many records could not be read.
    """

    booked: Mapping[tuple[date, str], Booked]
    complete_from: date | None
    missing: frozenset[date]
    clouds_nanos: int
    unreadable: int


def day_of(at_ms: int) -> date:
    """The day of an instant (Unix milliseconds) in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).date()


def days_between(first: date, last: date) -> list[date]:
    """Every day from *first* to *last*, both of them included."""
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


class Bookkeeper:
    """Sums a journal up, one record after another.

    Args:
        first: The first day that counts.
        last: The last one.
        prices: Tells which names are one model, and which are a cloud's.
    """

    def __init__(self, first: date, last: date, prices: PriceTable) -> None:
        self._first, self._last, self._prices = first, last, prices
        self._since = first - HOLDS_LAST
        self._open: dict[str, JournalEntry] = {}
        self._expired: dict[str, _Charge] = {}
        self._booked: dict[tuple[date, str], Booked] = {}
        self._began: date | None = None
        self._chain = Chain()
        self._clouds_nanos = self._unreadable = 0

    def read(self, records: Iterable[Archived]) -> None:
        """Take in records, oldest first; those of an archive before those that only the ledger has.

        Raises:
            ArchiveError: They are not in order.
        """
        for one in records:
            self._chain.link(one)
            day = day_of(one.entry.at_ms)
            self._began = day if self._began is None else self._began
            if day >= self._since:
                self._take(one.entry)

    def close(self) -> Books:
        """What they come to."""
        for charge in self._expired.values():
            self._book(charge)
        for entry in self._open.values():
            began = self._reserved(entry)
            if began is not None and began.served is not None:
                self._book_open(entry, began.served.model, began.served.nanos)
        after = None if self._began is None else self._began + timedelta(days=1)
        return Books(self._booked, after, self._missing(), self._clouds_nanos, self._unreadable)

    def _missing(self) -> frozenset[date]:
        spans = [((gap.last or gap.next).at_ms, gap.next.at_ms) for gap in self._chain.gaps]
        return frozenset(day for begin, end in spans for day in days_between(day_of(begin), day_of(end)))

    def _take(self, entry: JournalEntry) -> None:
        if entry.kind == "reserve":
            if entry.outcome == "held":
                self._open[entry.id] = entry
            return
        if entry.kind not in _ENDS:
            return
        reserve = self._open.pop(entry.id, None)
        if entry.outcome == SETTLED_LATE:
            self._expired.pop(entry.id, None)
        try:
            if entry.kind == "expire":
                self._expire(entry, reserve)
            elif entry.kind == "settle":
                self._settle(entry)
        except (KeyError, ValueError, TypeError, AttributeError, OverflowError, OSError):
            self._unreadable += 1  # the last two: an instant that no calendar has

    def _expire(self, entry: JournalEntry, reserve: JournalEntry | None) -> None:
        began = None if reserve is None else self._reserved(reserve)
        if reserve is None or began is None or began.served is None:
            return
        ended = Reader().read(entry)
        posted = posted_to(began, getattr(ended, "posted", ()), "usd")
        held = began.served.nanos
        nanos = held if posted is None else posted
        models = (began.served.model,)
        self._expired[entry.id] = _Charge(
            reserve.at_ms, entry.at_ms, models, nanos, max(held, nanos), 0, uncertain=True
        )

    def _settle(self, entry: JournalEntry) -> None:
        record = from_json(entry.record)
        if "lease" in record or "batch" in record:  # no call: a lease, or a batch as a whole
            return
        model, nanos = record["model"], int(record["cost_nanos"])
        if self._on_cloud(model, record.get("endpoint") or ""):
            self._clouds_nanos += nanos
            return
        began_ms = record.get("priced_at_ms", entry.at_ms)
        models, tokens = self._used(model, record.get("usage") or {})
        uncertain = record.get("uncertain") is True
        most = max(nanos, record["ceiling_nanos"]) if uncertain else nanos
        self._book(_Charge(began_ms, entry.at_ms, models, nanos, most, tokens, uncertain))

    def _used(self, model: str, raw: Mapping[str, Any]) -> tuple[tuple[str, ...], int]:
        """The models that a usage names, the one that served first, and its tokens."""
        try:
            usage = read_usage(raw)
        except ValueError:
            return (model,), 0
        others = {self._own(model, part.model) for part in usage.billed if part.model is not None}
        return (model, *sorted(others - {model})), usage.total_tokens

    def _own(self, model: str, named: str) -> str:
        try:
            return own_name(self._prices, model, named)
        except UnknownModel:
            return named

    def _reserved(self, entry: JournalEntry) -> Began | None:
        """A reserve, if it is a call to Anthropic's own API, and no lease."""
        began: Any = Reader().read(entry)
        if getattr(began, "served", None) is None:
            return None
        found: Began = began
        # A reserve does not keep the policy's endpoint; but every name of a cloud's tells that it is one.
        return None if found.served is None or self._on_cloud(found.served.model, "") else found

    def _on_cloud(self, model: str, endpoint: str) -> bool:
        try:
            return self._prices.served_at(model, endpoint) != ""
        except UnknownModel:
            return False

    def _book(self, charge: _Charge) -> None:
        first, last = day_of(charge.began_ms), max(day_of(charge.ended_ms), day_of(charge.began_ms))
        names = tuple(known(self._prices, model) for model in charge.models)
        surely = first == last and len(names) == 1 and not charge.uncertain
        if self._first <= first <= self._last:
            row = self._row(first, names[0])
            row.nanos += charge.nanos
            row.tokens += charge.tokens
            row.calls += 1
            row.uncertain += charge.nanos if charge.uncertain else 0
            row.least += charge.nanos if surely else 0
        self._allow(days_between(first, last), names, charge.most)

    def _book_open(self, entry: JournalEntry, model: str, nanos: int) -> None:
        self._allow(days_between(day_of(entry.at_ms), self._last), (known(self._prices, model),), nanos)

    def _allow(self, days: Iterable[date], names: Iterable[str], nanos: int) -> None:
        for day, name in product(days, dict.fromkeys(names)):
            if self._first <= day <= self._last:
                self._row(day, name).most += nanos

    def _row(self, day: date, name: str) -> Booked:
        return self._booked.setdefault((day, name), Booked())


def known(prices: PriceTable, name: str) -> str:
    """A model's id in the price table; the name itself where that has none."""
    try:
        return prices.canonical(name)
    except UnknownModel:
        return name
