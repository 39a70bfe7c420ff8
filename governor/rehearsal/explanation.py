"""One decision, taken apart: what every candidate needs of every budget, and which rule refuses it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from governor.budgets import Unit
from governor.errors import BudgetExceeded
from governor.ledger import admission
from governor.ledger import commands as c
from governor.story import patience, refusal, views
from governor.story.decision import show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.flow import Weighed
    from governor.ledger.commands import Ask, Balance
    from governor.policy import BudgetTerm
    from governor.story.decision import BudgetView, CandidateView, Decision
    from governor.story.request import House


DEFERRED = "deferred"
"""The outcome of a request that is offered the Batches API."""


@dataclass(frozen=True, slots=True)
class Need:
    """What one candidate needs of one budget, and what the budget says.

    Attributes:
        term: The budget as the policy has it for this request.
        budget: Its numbers, before the request's own hold.
        amount: What the candidate needs, in the budget's unit.
        top: How much may be spent of it after this candidate: its mark, or all but its floor, or the limit.
        rule: Where that stands: `80 %`, `all but $200.00`, `10 % are kept for production`, `the limit`; of a
            frozen budget, `frozen`.
        by: What *top* comes from: `mark`, `floor`, `keep` or `limit`.
        mark_bp: The candidate's mark now, basis points of the limit.
        floor: What it must leave of the limit.
        share_bp: How much of the limit it may fill together with what is held, basis points.
        verdict: `fits`, `contended`, `exhausted` or `frozen`.
        would: Of a budget in shadow, what it would say if it were enforced; else ''.
        binds: Whether this budget is the one that the candidate's refusal names.
    """

    term: BudgetTerm
    budget: BudgetView
    amount: int
    top: int
    rule: str
    by: str
    mark_bp: int
    floor: int
    share_bp: int
    verdict: str
    would: str
    binds: bool

    @property
    def said(self) -> str:
        """What the budget says, or in shadow would say."""
        return self.would or self.verdict


@dataclass(frozen=True, slots=True)
class Weight:
    """One candidate: how it was judged, and by which budgets.

    Attributes:
        candidate: Its model, line, ceiling, verdict, and why it stands in the list.
        would: What the budgets say to it, tried or not: `fits`, `contended`, `exhausted` or `frozen`; '' of
            one that the policy skips.
        needs: What it needs of each budget that it touches; none of one that the policy skips.
        sentence: Why the binding budget refuses it; '' if none does.
    """

    candidate: CandidateView
    would: str = ""
    needs: tuple[Need, ...] = ()
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that decides one request at one instant.

    Attributes:
        at_ms: The instant, Unix milliseconds.
        decision: The decision; `None` where the policy forbids the request, whatever the balances.
        weights: Every candidate, in the decision's order.
        refused: What a caller would be told; '' where the request would be served.
        binding: The identity of the budget that a refusal names; of a downgrade, the one that refused the
            first candidate; else `None`.
        affordable_max_tokens: The largest `max_tokens` that would pass instead, or `None`.
        cheapest_model: The cheapest model that would pass instead, or `None`.
        wait_s: Seconds that the call would wait at most for calls in flight before it is refused.
        larger: Where a smaller `max_tokens` is served: the refusal of the one that was asked for.
        band: The line in whose band of complexity the request is; '' where nothing goes by it.
    """

    at_ms: int
    decision: Decision | None
    weights: tuple[Weight, ...] = ()
    refused: str = ""
    binding: str | None = None
    affordable_max_tokens: int | None = None
    cheapest_model: str | None = None
    wait_s: float = 0.0
    larger: Explanation | None = None
    band: str = ""

    @property
    def outcome(self) -> str:
        """`served`, `downgraded`, `refused` or `deferred`."""
        if self.decision is None:
            return "refused"
        if self.decision.outcome == DEFERRED:
            return DEFERRED
        if self.decision.model is None:
            return "refused"
        return "downgraded" if self.decision.downgraded else "served"

    @property
    def max_tokens(self) -> int:
        """As it is sent; 0 where the policy forbids the request."""
        return 0 if self.decision is None else self.decision.max_tokens

    @property
    def reason(self) -> str:
        """Why, in a sentence or two: the decision's, what a refused caller is told, what shadow would do."""
        return reason_of(self.decision, self.refused)

    def needs(self) -> Iterator[tuple[Weight, Need]]:
        """What was asked of the budgets, by the candidates that were tried."""
        if self.larger is not None:
            yield from self.larger.needs()
        for weight in () if self.outcome == DEFERRED else self.weights:
            if weight.candidate.verdict != "not tried":
                yield from ((weight, need) for need in weight.needs)


def reason_of(decision: Decision | None, refused: str) -> str:
    """All that is said of why: by the decision, to a caller who is refused, and of what is in shadow."""
    shadow = None if decision is None else decision.shadow
    parts = ("" if decision is None else decision.reason, refused, "" if shadow is None else shadow.reason)
    return "; ".join(part for part in parts if part)


def shadow_of(decision: Decision | None) -> str | None:
    """What would have come of a request if all were enforced: `served`, `downgraded` or `refused`.

    `None` where nothing is in shadow.
    """
    if decision is None or decision.shadow is None:
        return None
    model = decision.shadow.model
    if model is None:
        return "refused"
    return "downgraded" if model != decision.preferred else "served"


def first_binding(decision: Decision) -> str | None:
    """The budget that refused the first candidate that the policy did not rule out; `None` if none did."""
    tried = (one.binding for one in decision.candidates if one.verdict != "skipped")
    return next(tried, None)


def explained(house: House, weighed: Weighed) -> Explanation:
    """Take a decision apart."""
    hard = weighed.planned.route.complexity
    band = None if hard is None else weighed.planned.rules.routes.line_for(hard.value)
    return replace(_explained(house, weighed), band=band or "")


def _explained(house: House, weighed: Weighed) -> Explanation:
    decision = weighed.decision
    skipped = len(decision.candidates) - len(weighed.planned.offers)
    ruled_out = [Weight(candidate) for candidate in decision.candidates[:skipped]]
    tried = [_weight(weighed, candidate, i) for i, candidate in enumerate(decision.candidates[skipped:])]
    at_ms = weighed.readings.now_ms
    if decision.outcome == DEFERRED:
        return Explanation(at_ms, decision, (*ruled_out, *tried), refused=decision.reason)
    if decision.model is not None:
        larger = None if weighed.larger is None else explained(house, weighed.larger)
        binding = first_binding(decision) if larger is None else larger.binding
        return Explanation(at_ms, decision, (*ruled_out, *tried), binding=binding, larger=larger)
    refused = c.Refused(decision.outcome, weighed.readings.balances, None, at_ms)
    error = refusal.error(house, weighed.planned, weighed.table, refused, 0.0)
    budget: BudgetView = error.budget  # type: ignore[attr-defined]
    exceeded = error if isinstance(error, BudgetExceeded) else None
    most_s = weighed.planned.rules.max_wait_s
    waits = patience.wait_s(weighed.table, refused, most_s) is not None
    return Explanation(
        at_ms,
        decision,
        (*ruled_out, *tried),
        refused=str(error),
        binding=budget.identity,
        affordable_max_tokens=exceeded.affordable_max_tokens if exceeded else None,
        cheapest_model=exceeded.cheapest_model if exceeded else None,
        wait_s=most_s if waits else 0.0,
    )


def _weight(weighed: Weighed, candidate: CandidateView, index: int) -> Weight:
    asks, balances = weighed.table.asks[index], weighed.readings.balances
    said = admission.judge_candidate(asks, balances)
    shown = views.budgets(weighed.table, balances)
    needs = tuple(
        _need(weighed.table.terms[i], shown[i], ask, balances[i], binds=i == said.binding)
        for i, ask in enumerate(asks)
        if ask is not None
    )
    refused = said.binding is not None
    sentence = views.binding_sentence(weighed.table, balances, index) if refused else ""
    return Weight(candidate, said.verdict.name.lower(), needs, sentence)


def _need(term: BudgetTerm, shown: BudgetView, ask: Ask, balance: Balance, *, binds: bool) -> Need:
    rule, by = _rule(term, ask, balance)
    strict = admission.judge(replace(ask, enforced=True), balance).name.lower()
    return Need(
        term=term,
        budget=shown,
        amount=ask.amount,
        top=admission.cap(balance.limit, ask),
        rule=rule if balance.frozen is None else "frozen",
        by=by,
        mark_bp=ask.mark_bp,
        floor=ask.floor,
        share_bp=ask.share_bp,
        verdict=admission.judge(ask, balance).name.lower(),
        would="" if ask.enforced else strict,
        binds=binds,
    )


def _rule(term: BudgetTerm, ask: Ask, balance: Balance) -> tuple[str, str]:
    """Where the candidate's share of a budget ends, in words; and what says so."""
    top = admission.cap(balance.limit, ask)
    if top == balance.limit:
        return "the limit", "limit"
    if ask.share_bp < c.FULL_MARK_BP and top == admission.mark(balance.limit, ask.share_bp):
        if (
            term.unit is Unit.CONCURRENT and ask.share_bp < term.share_bp
        ):  # its steps are of what is in flight
            return f"{ask.share_bp / 100:g} %", "mark"
        kept = f"{(c.FULL_MARK_BP - ask.share_bp) / 100:g} %"
        return f"{kept} are kept for {', '.join(term.kept_for)}", "keep"
    if top == admission.mark(balance.limit, ask.mark_bp):
        return f"{ask.mark_bp / 100:g} %", "mark"
    return f"all but {show(term.unit, ask.floor)}", "floor"
