"""What the journal says of one request, put together again: the decision, its numbers, and the end."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from governor.budgets import span_of, unit_of
from governor.cli.changes import KINDS, Change, change_of
from governor.cli.pushed import Push, push_of
from governor.cli.told import Told, told_of
from governor.ledger import admission, detail
from governor.ledger import commands as c
from governor.ledger.entering import ENTERED
from governor.money import Money
from governor.policy import BudgetTerm
from governor.pricing import Ceiling
from governor.routing import Candidate
from governor.story import views
from governor.story.counterfactual import Counterfactual, Output, counterfactuals
from governor.story.matrix import Matrix, Offer, reopens_ms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.story.decision import BudgetView

CLOSING = ("settle", "release", "expire")


@dataclass(frozen=True, slots=True)
class Tried:
    """One candidate of a decision.

    Attributes:
        model: Its id; likewise *line*.
        ceiling_nanos: The most it could cost, nano-dollars.
        verdict: `fits`, `contended`, `exhausted`, `frozen`, `skipped` by the policy, or `not tried`.
        why: Why it stood in the list, or was skipped.
        binding: The identity of the budget that refused it, or `None`.
        sentence: Why that budget did, with its numbers; may be empty.
        expected_nanos: What it would probably cost, nano-dollars; `None` where nothing was learned yet.
        changes: What of the request was changed for it: `max_tokens` that were made smaller among them.
    """

    model: str
    line: str
    ceiling_nanos: int
    verdict: str
    why: str
    binding: str | None = None
    sentence: str = ""
    expected_nanos: int | None = None
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ruling:
    """One answer of the ledger to a request.

    Attributes:
        at_ms: When, Unix milliseconds by the ledger's clock.
        outcome: `held`, or the reason of the refusal.
        record: What the request wrote into the journal.
        budgets: Every budget's numbers just before.
        tried: Every candidate, best first.
        would: What would have let each candidate be taken that a budget refused, best first.
    """

    at_ms: int
    outcome: str
    record: dict[str, Any]
    budgets: tuple[BudgetView, ...]
    tried: tuple[Tried, ...]
    would: tuple[Counterfactual, ...] = ()

    def asked(self, candidate: int) -> Tried:
        """The candidate of that number among those that the ledger was asked for."""
        return self.tried[len(self.record["skipped"]) + candidate]

    @property
    def files(self) -> tuple[str, ...]:
        """The policy files that its budgets are from."""
        sources = (budget["source"].rpartition(":")[0] for budget in self.record["budgets"])
        return tuple(dict.fromkeys(file for file in sources if file))


@dataclass(frozen=True, slots=True)
class Ending:
    """What ended the hold, or changed its end.

    Attributes:
        kind: `settle`, `release` or `expire`.
        at_ms: When, Unix milliseconds by the ledger's clock.
        state: Of the hold, afterwards.
        record: What the caller wrote; empty for an expiry.
        posted: What was posted to each budget, by identity, in its unit.
        crossings: Thresholds crossed by it.
        overrun: More was posted than had been held.
        unknown: The ledger did not know the hold.
    """

    kind: str
    at_ms: int
    state: str
    record: dict[str, Any]
    posted: dict[str, int]
    crossings: tuple[c.Crossing, ...]
    overrun: bool
    unknown: bool

    @property
    def without(self) -> str:
        """How the call went while the ledger was away: `allowed` or `leased`; '' if it was held."""
        admitted: str = self.record.get("admitted", "held")
        return "" if admitted == "held" else admitted


@dataclass(frozen=True, slots=True)
class Lease:
    """What a process set aside for calls while the ledger is away, or was refused.

    Attributes:
        at_ms: When, Unix milliseconds by the ledger's clock.
        outcome: `held`, or the reason of the refusal.
        department: Whose calls may draw on it.
        amount: Of each budget, nano-dollars.
        budgets: Their identities.
    """

    at_ms: int
    outcome: str
    department: str
    amount: int
    budgets: tuple[str, ...]


@dataclass(slots=True)
class Story:
    """All the journal has under one id."""

    id: str
    lease: Lease | None = None
    rulings: list[Ruling] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    pushes: list[Push] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)

    @property
    def held(self) -> Ruling | None:
        """The decision that opened the hold; `None` if the request was refused."""
        return next((ruling for ruling in self.rulings if ruling.outcome == "held"), None)

    @property
    def of(self) -> str:
        """The request's id, where this is a later leg of its call; else ''."""
        return next((str(record["of"]) for record in self._records if "of" in record), "")

    @property
    def leg(self) -> int:
        """Which leg of its call it is, from 1 on."""
        return next((int(record["leg"]) for record in self._records if "of" in record), 1)

    @property
    def goes_on(self) -> bool:
        """Whether another leg was to follow: its end says so; of one that no budget bore, nobody knows."""
        refused = bool(self.of) and self.held is None and not self.endings
        return refused or any("next" in ending.record for ending in self.endings)

    @property
    def _records(self) -> list[dict[str, Any]]:
        """What was written of the decisions, and of the ends."""
        return [*(ruling.record for ruling in self.rulings), *(ending.record for ending in self.endings)]


def tell(identifier: str, entries: Sequence[c.JournalEntry]) -> Story:
    """The story of *identifier* from its journal entries, oldest first."""
    story = Story(identifier)
    touched: list[tuple[str, str]] = []
    for entry in entries:
        if entry.kind == "reserve" and "lease" in (record := json.loads(entry.record)):
            story.lease = _lease(entry, record)
            touched = _touched(record, 0)
        elif entry.kind == "reserve":
            ruling, chosen = _ruling(entry)
            story.rulings.append(ruling)
            if chosen is not None:
                touched = _touched(ruling.record, chosen)
        elif entry.kind in CLOSING:
            story.endings.append(_ending(entry, touched))
        elif entry.kind in KINDS:
            story.changes.append(change_of(entry))
        elif entry.kind == "policy":
            story.pushes.append(push_of(entry))
        elif entry.kind in ENTERED:
            story.told.append(told_of(entry))
    return story


def _lease(entry: c.JournalEntry, record: dict[str, Any]) -> Lease:
    names = tuple(budget["identity"] for budget in record["budgets"])
    return Lease(entry.at_ms, entry.outcome, record["lease"], record["asks"][0][0][0], names)


def _ruling(entry: c.JournalEntry) -> tuple[Ruling, int | None]:
    record = json.loads(entry.record)
    chosen, balances = detail.read_balances(entry.detail)
    table = _matrix(record)
    said = admission.decide(table.asks, balances)
    tried = [_skipped(offer) for offer in record["skipped"]]
    for index, offer in enumerate(table.offers):
        judged = said.verdicts[index] if index < len(said.verdicts) else None
        tried.append(_tried(table, balances, index, offer, judged))
    budgets = views.budgets(table, balances)
    would = counterfactuals(
        table.asks,
        balances,
        [row.unit for row in table.rows],
        [_output(offer, record["max_tokens"]) for offer in record["candidates"]],
        [reopens_ms(row, balance) for row, balance in zip(table.rows, balances, strict=True)],
    )
    return Ruling(entry.at_ms, entry.outcome, record, budgets, tuple(tried), would), chosen


def _output(offer: dict[str, Any], max_tokens: int) -> Output | None:
    """What of a candidate's ceiling `max_tokens` is; `None` where the record does not tell."""
    nanos = offer.get("output_nanos")
    return None if nanos is None or max_tokens < 1 else Output(max_tokens, nanos)


def _tried(
    table: Matrix,
    balances: Sequence[c.Balance],
    index: int,
    offer: Offer,
    judged: admission.CandidateVerdict | None,
) -> Tried:
    binding, sentence = None, ""
    if judged is not None and judged.binding is not None:
        binding = table.rows[judged.binding].identity
        sentence = views.refusal_sentence(table, balances, index, judged.binding)
    return Tried(
        model=offer.candidate.model,
        line=offer.candidate.line,
        ceiling_nanos=offer.ceiling.nanos,
        verdict="not tried" if judged is None else judged.verdict.name.lower(),
        why=offer.candidate.why,
        binding=binding,
        sentence=sentence,
        expected_nanos=offer.expected_nanos,
        changes=offer.changes,
    )


def _skipped(offer: dict[str, Any]) -> Tried:
    expected = offer.get("expected_nanos")
    return Tried(
        offer["model"],
        offer["line"],
        offer["ceiling_nanos"],
        "skipped",
        offer["why"],
        expected_nanos=expected,
    )


def _matrix(record: dict[str, Any]) -> Matrix:
    """The matrix the ledger was asked with, as far as the record keeps it."""
    terms, rows = [], []
    for budget in record["budgets"]:
        unit = unit_of(budget["identity"])
        terms.append(
            BudgetTerm(
                identity=budget["identity"],
                scope="",
                unit=unit,
                period=span_of(budget["identity"]),
                timezone="UTC",
                limit=budget["limit"],
                steps=(),
                warn_steps=(),
                caps={},
                floors={},
                model=None,
                source=budget["source"],
            )
        )
        rows.append(
            c.BudgetRow(budget["identity"], budget["window"], 0, budget["end_ms"], unit, budget["limit"])
        )
    offers = [
        Offer(
            Candidate(offer["line"], offer["model"], offer["why"], offer["model"]),
            Ceiling(offer["ceiling_nanos"], offer["ceiling_tokens"], 0, 0),
            expected_nanos=offer.get("expected_nanos"),
            changes=tuple(offer.get("changes", ())),
        )
        for offer in record["candidates"]
    ]
    asks = tuple(tuple(None if ask is None else c.Ask(*ask) for ask in row) for row in record["asks"])
    return Matrix(tuple(terms), tuple(rows), tuple(offers), asks)


def _touched(record: dict[str, Any], chosen: int) -> list[tuple[str, str]]:
    pairs = zip(record["budgets"], record["asks"][chosen], strict=True)
    return [(budget["identity"], budget["window"]) for budget, ask in pairs if ask is not None]


def _ending(entry: c.JournalEntry, touched: Sequence[tuple[str, str]]) -> Ending:
    fields = detail.read_closing(entry.detail)
    amounts = [int(amount) for amount in fields.get("posted", "").split(",") if amount]
    if "refs" in fields:  # of a hold that the ledger did not know
        touched = [(row.identity, row.window) for row in detail.read_refs(fields["refs"])]
    known = len(amounts) == len(touched)
    return Ending(
        kind=entry.kind,
        at_ms=entry.at_ms,
        state=entry.outcome,
        record=json.loads(entry.record),
        posted=dict(zip((identity for identity, _ in touched), amounts, strict=True)) if known else {},
        crossings=detail.read_crossings(fields.get("crossed", ""), touched) if known else (),
        overrun=fields.get("overrun") == "1",
        unknown=fields.get("unknown") == "1",
    )


def cost(ending: Ending) -> Money:
    """What an ending cost: as its record has it, else (an expiry) what its usd budgets were charged."""
    if "cost_nanos" in ending.record:
        return Money(ending.record["cost_nanos"])
    charged = [amount for identity, amount in ending.posted.items() if unit_of(identity) == "usd"]
    return Money(max(charged, default=0))
