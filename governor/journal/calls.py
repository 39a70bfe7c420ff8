"""From the journal's records to the calls they tell of: how each began and how it ended. Pure.

What a back-test needs and nothing else, as plain tuples: they go from one process to another by the million.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic_core import from_json

from governor.budgets import unit_of
from governor.ledger import detail
from governor.money import MAX_NANOS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.ledger.commands import JournalEntry

Who = tuple[str, str, "str | None", "str | None", tuple[tuple[str, str], ...], "str | None"]
"""Department, user, feature, run, tags (name and value, sorted), priority: the fields of an `Attribution`."""

MOST_INTERNED = 50_000
"""So many different values are kept to be told once; then it begins anew."""

MOST_TOKENS = 1_000_000_000_000
"""A record that tells of more tokens is broken: a hundred passes of the largest window have fewer."""


MOST_LOAD_BP, MOST_COMPLEXITY = 10_000, 10
ASKED_FOR = "asked for"
"""Why a request is served in a tier, where it named that itself."""


class Priced(NamedTuple):
    """A candidate as it was priced: its model and line, the most it could cost, and what was expected."""

    model: str
    line: str
    nanos: int
    tokens: int
    expected_nanos: int | None


_Priced = tuple[str, str, int, int, "int | None"]
"""A `Priced` without its name: it is made by the million."""

Seen = tuple[str, str, int]
"""A budget as a record names it: its identity, the window, and when that ends (Unix ms; 0: never)."""

Change = tuple[int, bool]
"""What administrators had made of a budget: how much was added to its limit, and whether it was frozen."""


class Began(NamedTuple):
    """A reserve: a call that was held, or refused.

    Attributes:
        at_ms: When, Unix milliseconds by the ledger's clock.
        id: The call's.
        who: Who asked, and for what.
        asked: `auto`, a line or a model id.
        pin: Whether the model was not to be swapped.
        max_tokens: As it was sent.
        input_tokens: The estimate of the prompt, without margin.
        counted: Whether the API counted it; else it is a bound.
        offers: The candidates that were tried, best first.
        skipped: Those that the policy ruled out.
        chosen: Which of *offers* was held; `None`: refused.
        outcome: `held`, or why it was refused.
        budgets: Every budget that was asked.
        touched: Which of them the chosen candidate touches; `None`: all.
        posted: What was spent of each, before this.
        changes: What administrators had changed, by identity; `None` where that is nothing.
        prices: The version of the price table.
        tier: The tier that was asked for; `None`: none was.
        complexity: How hard it was, 0 to 10; `None` where nothing went by it.
        load_bp: How busy the API was, basis points.
        preferred: The model that would have served but for budgets and the API; '' if it is not told.
        of: The request's id, where this is a later leg of its call; else ''.
    """

    at_ms: int
    id: str
    who: Who
    asked: str
    pin: bool
    max_tokens: int
    input_tokens: int
    counted: bool
    offers: tuple[_Priced, ...]
    skipped: tuple[_Priced, ...]
    chosen: int | None
    outcome: str
    budgets: tuple[Seen, ...]
    touched: tuple[bool, ...] | None
    posted: tuple[int, ...]
    changes: dict[str, Change] | None
    prices: str
    tier: str | None = None
    complexity: float | None = None
    load_bp: int = 0
    preferred: str = ""
    of: str = ""

    @property
    def named(self) -> str:
        """What was asked for."""
        return self.asked

    @property
    def served(self) -> Priced | None:
        """The candidate that was held; `None`: it was refused."""
        return None if self.chosen is None else Priced(*self.offers[self.chosen])


class Ended(NamedTuple):
    """A settle, release or expire.

    Attributes:
        at_ms: When, Unix milliseconds by the ledger's clock.
        id: The call's.
        kind: `settle`, `release` or `expire`.
        late: Whether it replaces the charge of an expiry.
        unknown: Whether the ledger did not know the hold.
        who: Who asked; `None` in the record of an expiry.
        model: The model that served; empty if it is not told.
        usage: As the API reported it.
        cost_nanos: What it cost; `None` where the record does not say.
        uncertain: Whether it was charged by rule, because no final usage was seen.
        admitted: `held`, `allowed` or `leased`.
        posted: What was posted to each budget of the hold, in order.
        endpoint: The kind of cloud endpoint that served.
        answered: Whether an answer came to its end.
        goes_on: Whether another leg of the call was to follow.
    """

    at_ms: int
    id: str
    kind: str
    late: bool
    unknown: bool
    who: Who | None
    model: str
    usage: Mapping[str, Any]
    cost_nanos: int | None
    uncertain: bool
    admitted: str
    posted: tuple[int, ...]
    endpoint: str
    answered: bool = False
    goes_on: bool = False


class Other(NamedTuple):
    """A record that tells of no call.

    An administrator's change, a lease, a batch as a whole, or one that cannot be read.
    """

    at_ms: int
    kind: str


Event = Began | Ended | Other
UNREADABLE, LEASE, BATCH = "unreadable", "lease", "batch"


class Reader:
    """Reads one record after another; what repeats is told as the same object."""

    def __init__(self) -> None:
        self._known: dict[Any, Any] = {}

    def read(self, entry: JournalEntry) -> Event:
        """What a record tells of a call."""
        try:
            if entry.kind == "reserve":
                return self._began(entry)
            if entry.kind in ("settle", "release", "expire"):
                return self._ended(entry)
        except (KeyError, ValueError, TypeError, IndexError, AttributeError, RecursionError):
            return Other(entry.at_ms, UNREADABLE)
        return Other(entry.at_ms, entry.kind)

    def _began(self, entry: JournalEntry) -> Event:
        record = from_json(entry.record)
        if "lease" in record or "batch" in record:
            return Other(entry.at_ms, LEASE if "lease" in record else BATCH)
        budgets, (chosen, rows) = record["budgets"], _chosen(entry.detail)
        seen, posted, changes = [], [], {}
        for budget, row in zip(budgets, rows, strict=True):  # as `detail.write_balances` writes them
            spent, _, limit, frozen = row.split(":")
            identity, added = budget["identity"], int(limit) - budget["limit"]
            seen.append((identity, budget["window"], budget["end_ms"]))
            posted.append(int(spent))
            if added or frozen == "1":
                changes[identity] = (added, frozen == "1")
        touched = None
        if chosen is not None and None in record["asks"][chosen]:
            touched = tuple(ask is not None for ask in record["asks"][chosen])
        offers = tuple(self._priced(one) for one in record["candidates"])
        if chosen is not None and chosen >= len(offers):
            raise IndexError(chosen)
        return Began(
            at_ms=entry.at_ms,
            id=entry.id,
            who=self._who(record),
            asked=self._text(record["asked"]),
            pin=record.get("pin") is True,
            max_tokens=_whole(record["max_tokens"], MOST_TOKENS),
            input_tokens=_whole(record["input_tokens"], MOST_TOKENS),
            counted=record.get("estimate") == "count_tokens",
            offers=offers,
            skipped=tuple(self._priced(one) for one in record.get("skipped", ())),
            chosen=chosen,
            outcome=entry.outcome,
            budgets=self._same(tuple(seen)),
            touched=touched,
            posted=tuple(posted),
            changes=changes or None,
            prices=self._text(record.get("prices", "")),
            tier=self._text(record["tier"]) if record.get("tier_why") == ASKED_FOR else None,
            complexity=_complexity(record.get("complexity")),
            load_bp=_whole(record.get("load") or 0, MOST_LOAD_BP),
            preferred=self._text(record.get("preferred") or ""),
            of=self._text(record.get("of", "")),
        )

    def _ended(self, entry: JournalEntry) -> Event:
        fields = detail.read_closing(entry.detail)
        record = from_json(entry.record)
        if "lease" in record or "batch" in record:
            return Other(entry.at_ms, LEASE if "lease" in record else BATCH)
        cost, usage = record.get("cost_nanos"), record.get("usage") or {}
        if not isinstance(usage, dict):
            raise TypeError("usage is no object")
        return Ended(
            at_ms=entry.at_ms,
            id=entry.id,
            kind=entry.kind,
            late=entry.outcome == "settled_late",
            unknown=fields.get("unknown") == "1",
            who=self._who(record) if "department" in record else None,
            model=self._text(record.get("model") or ""),
            usage=usage,
            cost_nanos=None if cost is None else _whole(cost),
            uncertain=record.get("uncertain") is True,
            admitted=self._text(record.get("admitted", "held")),
            posted=tuple(int(amount) for amount in fields["posted"].split(",") if amount),
            endpoint=self._text(record.get("endpoint") or ""),
            answered=record.get("ended") == "answered",
            goes_on="next" in record,
        )

    def _who(self, record: Mapping[str, Any]) -> Who:
        tags = record.get("tags") or {}
        who = (record["department"], record["user"], record.get("feature"), record.get("run"))
        priority = record.get("priority")
        if not all(isinstance(value, str | None) for value in (*who, priority, *tags.values())):
            raise TypeError("who asked is no text")
        found: Who = self._same((*who, tuple(sorted(tags.items())), priority))
        return found

    def _priced(self, one: Mapping[str, Any]) -> _Priced:
        nanos, expected = _whole(one["ceiling_nanos"]), one.get("expected_nanos")
        return (
            self._text(one["model"]),
            self._text(one["line"]),
            nanos,
            _whole(one["ceiling_tokens"], MOST_TOKENS),
            None if expected is None else _whole(expected),
        )

    def _text(self, value: Any) -> str:
        if not isinstance(value, str):
            raise TypeError("it is no text")
        found: str = self._same(value)
        return found

    def _same(self, value: Any) -> Any:
        """The first object that was equal to *value*."""
        if len(self._known) > MOST_INTERNED:
            self._known.clear()
        return self._known.setdefault(value, value)


def posted_to(call: Began, posted: tuple[int, ...], unit: str) -> int | None:
    """What the end of a call posted to the first of its budgets that counts *unit*; `None` without one."""
    touched = call.touched or (True,) * len(call.budgets)
    units = (unit_of(identity) for (identity, _, _), mine in zip(call.budgets, touched, strict=True) if mine)
    return next((amount for one, amount in zip(units, posted, strict=False) if one == unit), None)


def _chosen(text: str) -> tuple[int | None, list[str]]:
    """Of a reserve's detail: the chosen candidate, and the balances, not taken apart yet."""
    chosen, _, rows = text.partition(" ")
    return None if chosen == "-" else int(chosen), rows.split(",") if rows else []


def _complexity(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST_COMPLEXITY:
        raise TypeError("it is no complexity")
    return value


def _whole(value: Any, most: int = MAX_NANOS * 1000) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise TypeError("it is no whole number")
    return value
