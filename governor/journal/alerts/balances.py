"""What the journal tells of budgets: how full they are, and which steps they crossed. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from pydantic_core import from_json

from governor.ledger import detail

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.journal.alerts.cells import Subject
    from governor.journal.alerts.rule import Rule
    from governor.ledger.commands import JournalEntry

MOST_BALANCES = 20_000
"""So many balances, and so many crossings, are remembered; the oldest are forgotten first."""

_BROKEN = (KeyError, ValueError, TypeError, IndexError, AttributeError)


class Ref(NamedTuple):
    """A balance: its identity, its window, and when that ends (Unix milliseconds; 0: never)."""

    identity: str
    window: str
    end_ms: int


class Level(NamedTuple):
    """How full a balance was seen: posted and limit in its unit, when, and until when its window is."""

    posted: int
    limit: int
    at_ms: int
    end_ms: int


class Crossed(NamedTuple):
    """A step that a balance crossed: *step_bp* of its limit."""

    ref: Ref
    step_bp: int
    posted: int
    limit: int
    at_ms: int


class Balances:
    """What is known of budgets.

    Attributes:
        crossed: Steps crossed since this was emptied, each once per balance and step.
        touched: Balances that were seen since this was emptied.
    """

    def __init__(self) -> None:
        self.crossed: list[Crossed] = []
        self.touched: dict[tuple[str, str], Level] = {}
        self._holds: OrderedDict[str, tuple[Ref, ...]] = OrderedDict()
        self._told: OrderedDict[tuple[str, str, int], None] = OrderedDict()

    def reserve(self, entry: JournalEntry) -> None:
        """Take in what a decision says of the budgets that it looked at."""
        try:
            record = from_json(entry.record)
            chosen, balances = detail.read_balances(entry.detail)
            refs = [Ref(one["identity"], one["window"], one["end_ms"]) for one in record["budgets"]]
            asks = record["asks"][chosen] if chosen is not None else ()
        except _BROKEN:
            return
        for ref, balance in zip(refs, balances, strict=False):
            if "/usd/" in ref.identity:
                level = Level(balance.posted, balance.limit, entry.at_ms, ref.end_ms)
                self.touched[ref.identity, ref.window] = level
        if chosen is not None:
            held = tuple(ref for ref, ask in zip(refs, asks, strict=False) if ask is not None)
            self._holds[entry.id] = held
            if len(self._holds) > MOST_BALANCES:
                self._holds.popitem(last=False)

    def close(self, entry: JournalEntry) -> tuple[str, ...]:
        """Take in what an end posted; returns the usd budgets that it touched."""
        held = self._holds.pop(entry.id, ())
        try:
            told = detail.read_closing(entry.detail)
            if "refs" in told:
                held = tuple(Ref(b.identity, b.window, b.end_ms) for b in detail.read_refs(told["refs"]))
            crossings = told.get("crossed", "")
            if crossings:
                self._cross(crossings, held, entry.at_ms)
        except _BROKEN:
            return ()
        return tuple(ref.identity for ref in held if "/usd/" in ref.identity)

    def _cross(self, text: str, held: tuple[Ref, ...], at_ms: int) -> None:
        ends = {(ref.identity, ref.window): ref for ref in held}
        for one in detail.read_crossings(text, [(ref.identity, ref.window) for ref in held]):
            key = (one.identity, one.window, one.step_bp)
            if key in self._told:
                continue
            self._told[key] = None
            if len(self._told) > MOST_BALANCES:
                self._told.popitem(last=False)
            ref = ends[one.identity, one.window]
            self.crossed.append(Crossed(ref, one.step_bp, one.posted, one.limit, at_ms))


def dimensions(identity: str) -> Subject:
    """The dimensions in a balance's identity that have a value: `department=legal/user=ada/usd/day`."""
    parts = [part.partition("=") for part in identity.split("/")[:-2]]
    return tuple((name, unquote(value)) for name, equals, value in parts if equals)


def concerns(rule: Rule, identity: str) -> bool:
    """Whether a rule about budgets is about this one."""
    period = identity.rsplit("/", 1)[-1]
    known = {"period": period.split("-")[0], **dict(dimensions(identity))}
    return all(known.get(name, "") in values for name, values in rule.where.items())


def early(rule: Rule, touched: dict[tuple[str, str], Level]) -> Iterator[tuple[str, str, float, Level]]:
    """Of the balances seen: identity, window, percentage and level of those that a rule holds for."""
    for (identity, window), level in touched.items():
        if not level.limit or not level.end_ms or level.end_ms - level.at_ms < rule.left_ms:
            continue
        percent = 100 * level.posted / level.limit
        if percent > (rule.above or 0) and concerns(rule, identity):
            yield identity, window, percent, level
