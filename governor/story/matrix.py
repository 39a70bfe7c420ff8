"""The matrix a ledger is asked with: the union of the budgets, and per candidate an ask of each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from governor.budgets import Unit, window_at
from governor.ledger.commands import FULL_MARK_BP, Ask, BudgetRow, Posting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from governor.ledger.commands import Balance
    from governor.policy import BudgetTerm
    from governor.pricing import Ceiling
    from governor.routing import Candidate


_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Offer:
    """A candidate with its price: what a hold for it would take.

    Attributes:
        candidate: The model and its line.
        ceiling: The most it can cost.
        skipped: Why the policy rules it out, whatever the balances; '' if it does not.
        body: What is sent when it serves, but for the model.
        changes: What of the request had to change for this model to take it.
        expected_nanos: What it will probably cost, by what this feature used on this model; `None` where
            nothing was learned yet.
    """

    candidate: Candidate
    ceiling: Ceiling
    skipped: str = ""
    body: Mapping[str, Any] = field(default_factory=dict)
    changes: tuple[str, ...] = ()
    expected_nanos: int | None = None


@dataclass(frozen=True, slots=True)
class Matrix:
    """Budgets in the windows of one instant, and what each offer asks of them."""

    terms: tuple[BudgetTerm, ...]
    rows: tuple[BudgetRow, ...]
    offers: tuple[Offer, ...]
    asks: tuple[tuple[Ask | None, ...], ...]

    def postings(self, chosen: int, amount_of: Callable[[Unit, Ask], int]) -> tuple[Posting, ...]:
        """What the end of the chosen offer's hold posts to each budget that it touches."""
        pairs = zip(self.rows, self.asks[chosen], strict=True)
        return tuple(Posting(row, amount_of(row.unit, ask)) for row, ask in pairs if ask is not None)

    def in_windows_of(self, other: Matrix) -> Matrix:
        """The same, but in the windows of *other* where that has the same budgets."""
        known = {row.identity: row for row in other.rows}
        return replace(self, rows=tuple(known.get(row.identity, row) for row in self.rows))

    def at(self, now_ms: int) -> Matrix:
        """The same in the windows that hold *now_ms*."""
        if all(not row.end_ms or row.start_ms <= now_ms < row.end_ms for row in self.rows):
            return self
        return replace(self, rows=rows_of(self.terms, now_ms))

    def nothing_used(self, chosen: int) -> tuple[Posting, ...]:
        """What is posted where the chosen offer was held, and never sent."""
        return self.postings(chosen, lambda _, __: 0)


def build(terms: Sequence[BudgetTerm], offers: Sequence[Offer], now_ms: int) -> Matrix:
    """The matrix of *offers* over *terms*, in the windows that hold *now_ms*."""
    rows = rows_of(terms, now_ms)
    pairs = tuple(zip(terms, rows, strict=True))
    asks = tuple(tuple(ask_for(offer, term, row.pace_bp) for term, row in pairs) for offer in offers)
    return Matrix(tuple(terms), rows, tuple(offers), asks)


def ask_for(offer: Offer, term: BudgetTerm, gone_bp: int = 0) -> Ask | None:
    """What *offer* asks of *term*; `None` if it does not touch it.

    Args:
        offer: What would be held.
        term: The budget.
        gone_bp: How much of its window is gone, in basis points, if it is paced.
    """
    line = offer.candidate.mark_line
    if term.model is not None and term.model != offer.candidate.priced_as:
        return None
    mark_bp, share_bp = term.mark_bp(line, gone_bp), term.share_bp
    if term.unit is Unit.CONCURRENT:  # never posted: its steps are of what is in flight
        mark_bp, share_bp = FULL_MARK_BP, min(mark_bp, share_bp)
    return Ask(
        amount=amount(term.unit, offer.ceiling),
        mark_bp=mark_bp,
        floor=term.floors.get(line, 0),
        comes_back=term.unit is not Unit.REQUESTS,
        share_bp=share_bp,
        enforced=not term.shadow,
    )


def amount(unit: Unit, ceiling: Ceiling) -> int:
    """What a hold takes of a budget in *unit*."""
    if unit is Unit.USD:
        return ceiling.nanos
    return ceiling.tokens if unit is Unit.TOKENS else 1


def reopens_ms(row: BudgetRow, balance: Balance) -> int:
    """When a spent budget may bear more, Unix milliseconds; 0 if it never will by itself.

    The end of its window; of a rolling one, which has none, when spend first leaves it.
    """
    return balance.frees_ms if row.bucket_ms else row.end_ms


def rows_of(terms: Sequence[BudgetTerm], now_ms: int) -> tuple[BudgetRow, ...]:
    """The budgets in the windows that hold *now_ms*."""
    return tuple(_row(term, now_ms) for term in terms)


def _row(term: BudgetTerm, now_ms: int) -> BudgetRow:
    window = window_at(term.period, term.timezone, now_ms)
    return BudgetRow(
        identity=term.identity,
        window=window.id,
        start_ms=window.start_ms,
        end_ms=window.end_ms,
        unit=term.unit,
        limit=term.limit,
        steps=tuple(term.steps),
        bucket_ms=window.bucket_ms,
        pace_bp=gone_bp(window.start_ms, window.end_ms, now_ms) if term.paced else 0,
    )


def gone_bp(start_ms: int, end_ms: int, now_ms: int) -> int:
    """How much of a window is gone at the last full minute, in basis points: asked twice, it is the same."""
    gone_ms = now_ms - now_ms % _MINUTE_MS - start_ms
    return max(0, gone_ms) * FULL_MARK_BP // (end_ms - start_ms)
