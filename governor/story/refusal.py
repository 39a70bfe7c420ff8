"""Refusals that tell a caller what binds, when it reopens, and what would pass now."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from governor.errors import BudgetContended, BudgetExceeded, GovernorError, PolicyViolation
from governor.ledger import admission
from governor.money import Money
from governor.routing import Candidate, rank
from governor.story import patience, shrink, views

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.ledger.commands import Balance, Refused
    from governor.policy import Rules
    from governor.story.matrix import Matrix, Offer
    from governor.story.request import House, Plan

SOONEST_RETRY_S = 0.5
"""What `retry_after` says where calls in flight may settle at any moment."""


def too_costly(rules: Rules, offers: Sequence[Offer]) -> NoReturn:
    """Refuse a request that no model it may use takes, or that is above `limits.cost_per_request` on each."""
    dear = [offer.ceiling.nanos for offer in offers if offer.ceiling.nanos]
    unfit = [f"{offer.candidate.model} {offer.skipped}" for offer in offers if not offer.ceiling.nanos]
    if not dear:
        raise PolicyViolation(f"no model it may use takes this request: {'; '.join(unfit)}")
    least = min(dear)
    raise PolicyViolation(
        f"this request may cost {Money(least)} even on the cheapest model it may use, the policy allows "
        f"{Money(rules.cost_per_request_nanos or 0)} a request (limits.cost_per_request): "
        "send less, or ask for a smaller max_tokens"
    )


def error(house: House, planned: Plan, table: Matrix, refused: Refused, waited_s: float) -> GovernorError:
    """The error for a refusal: contended if the money is only held, else exceeded."""
    decision = views.refusing_decision(house, planned, table, refused, waited_s)
    index, binding, opens_s = _binding(table, refused)
    budget = decision.budgets[binding]
    sentence = views.refusal_sentence(table, refused.balances, index, binding)
    if refused.reason == "contended":
        return BudgetContended(
            f"{sentence}; it would fit once calls in flight settle: try again in {SOONEST_RETRY_S} s",
            retry_after=SOONEST_RETRY_S,
            decision=decision,
            budget=budget,
        )
    resets_at = budget.resets_at if opens_s is not None else None
    affordable = shrink.affordable_max_tokens(house, planned, table, refused.balances, table.offers[-1])
    cheapest = _cheapest_that_passes(house, planned, table, refused.balances)
    advice = [
        f"it {budget.resets} at {resets_at:%Y-%m-%d %H:%M} UTC" if resets_at is not None else "",
        f"max_tokens={affordable} would pass" if affordable else "",
        f"{cheapest} would pass" if cheapest else "",
    ]
    return BudgetExceeded(
        "; ".join([sentence, *(part for part in advice if part)]),
        decision=decision,
        budget=budget,
        resets_at=resets_at,
        affordable_max_tokens=affordable,
        cheapest_model=cheapest,
    )


def _binding(table: Matrix, refused: Refused) -> tuple[int, int, float | None]:
    """The candidate and the budget to name, and in how many seconds that budget may bear it (`None`: never).

    Of the candidates, the last that was refused for the reason of the whole; of its budgets, the one that
    keeps it out the longest.
    """
    wanted = admission.Verdict[refused.reason.upper()]
    said = [admission.judge_candidate(asks, refused.balances) for asks in table.asks]
    index = max(i for i, one in enumerate(said) if one.verdict is wanted)
    opens = {
        budget: patience.opens_s(table, refused, index, budget)
        for budget in said[index].blocking
        if patience.verdict(table, refused, index, budget) is wanted
    }
    binding = max(opens, key=lambda budget: float("inf") if opens[budget] is None else opens[budget] or 0.0)
    return index, binding, opens[binding]


def _cheapest_that_passes(
    house: House, planned: Plan, table: Matrix, balances: Sequence[Balance]
) -> str | None:
    """The cheapest of the policy's models, not among the candidates, that would pass on these balances."""
    tried = {offer.candidate.priced_as for offer in (*table.offers, *planned.skipped)}
    asked = {term.identity for term in table.terms}
    for line, name in sorted(planned.rules.lines.items(), key=lambda item: rank(item[0])):
        canonical = house.prices.model(name).id
        own = {term.identity for term in house.policies.budgets(planned.request.who, [canonical])}
        allowed = planned.rules.feature_lines is None or line in planned.rules.feature_lines
        candidate = Candidate(line, name, "would pass", canonical)
        if canonical in tried or not allowed or not own <= asked:
            continue
        if shrink.passes(house, planned, table, balances, candidate, planned.max_tokens):
            return name
    return None
