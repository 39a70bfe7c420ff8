"""A smaller `max_tokens` before a refusal: the largest with which the budgets can still bear a request."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from governor.errors import UnknownModel
from governor.ledger import admission
from governor.pricing import ceiling
from governor.story import matrix, views
from governor.story.request import Door, bounds_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from governor.ledger.commands import Ask, Balance
    from governor.routing import Candidate
    from governor.story.matrix import Matrix, Offer
    from governor.story.request import House, Plan

MOST_TIMES = 3
"""How often one call is made smaller, where others spend what it was made to fit."""


def allowed(planned: Plan) -> bool:
    """Whether the policy lets the request be made smaller."""
    return planned.rules.routes.shrink_to is not None and not planned.rules.shadow and not planned.unpriced


def smaller(house: House, planned: Plan, table: Matrix, balances: Sequence[Balance]) -> Plan | None:
    """The plan with the largest `max_tokens` that these balances can bear; `None` where that is too small.

    The other candidates are skipped in it, each with the budget that refused it: so the decision tells.

    Args:
        house: What every request consults.
        planned: What was refused.
        table: What the ledger was asked with.
        balances: Its answer.
    """
    least = planned.rules.routes.shrink_to
    if least is None or not allowed(planned):
        return None
    for offer in sorted(table.offers, key=lambda one: one.ceiling.nanos):
        tokens = affordable_max_tokens(house, planned, table, balances, offer)
        if tokens is not None and tokens >= max(least, _thinking(_body(planned, offer)) + 1):
            return _shrunk(house, planned, table, balances, offer, tokens)
    return None


def _shrunk(
    house: House, planned: Plan, table: Matrix, balances: Sequence[Balance], offer: Offer, tokens: int
) -> Plan:
    """The plan with *offer* alone, made smaller."""
    body = {**_body(planned, offer), "max_tokens": tokens}
    change = f"max_tokens {offer.ceiling.max_tokens:,} → {tokens:,}: what its budgets can still bear"
    most = _ceiling(house, planned, offer.candidate, body)
    shrunk = replace(offer, ceiling=most, body=body, changes=(*offer.changes, change))
    refused = tuple(
        replace(one, skipped=f"is refused: {views.binding_sentence(table, balances, index)}")
        for index, one in enumerate(table.offers)
        if one.candidate.model != offer.candidate.model
    )
    skipped = (*planned.skipped, *refused)
    return replace(planned, offers=(shrunk,), skipped=skipped, sent=body, shrunk=True)


def affordable_max_tokens(
    house: House, planned: Plan, table: Matrix, balances: Sequence[Balance], offer: Offer
) -> int | None:
    """The largest `max_tokens` with which *offer* would pass on these balances; `None` if none would."""
    model = house.prices.model(offer.candidate.model)
    low, high = 0, min(offer.ceiling.max_tokens, model.max_output_tokens)
    while low < high:
        middle = (low + high + 1) // 2
        body = {**_body(planned, offer), "max_tokens": middle}
        if _passes(house, planned, table, balances, offer.candidate, body):
            low = middle
        else:
            high = middle - 1
    return low or None


def passes(
    house: House,
    planned: Plan,
    table: Matrix,
    balances: Sequence[Balance],
    candidate: Candidate,
    max_tokens: int,
) -> bool:
    """Whether every budget could bear *candidate* with *max_tokens*, on these balances."""
    body = {**planned.sent, "max_tokens": max_tokens}
    return _passes(house, planned, table, balances, candidate, body)


def _passes(
    house: House,
    planned: Plan,
    table: Matrix,
    balances: Sequence[Balance],
    candidate: Candidate,
    body: Mapping[str, Any],
) -> bool:
    try:
        bound = _ceiling(house, planned, candidate, body)
    except UnknownModel:  # it cannot serve this way: fast, or in this region; or its prompt was not counted
        return False
    offer = matrix.Offer(candidate, bound)
    pairs = zip(table.terms, table.rows, strict=True)
    asks: list[Ask | None] = [matrix.ask_for(offer, term, row.pace_bp) for term, row in pairs]
    return admission.judge_candidate(asks, balances).verdict is admission.Verdict.FITS


def _body(planned: Plan, offer: Offer) -> Mapping[str, Any]:
    """The request as *offer*'s model takes it."""
    return offer.body or planned.sent


def _ceiling(house: House, planned: Plan, candidate: Candidate, body: Mapping[str, Any]) -> Any:
    count = planned.count(house.prices.model(candidate.model))
    if count is None:
        raise UnknownModel(candidate.model)
    return ceiling(
        house.prices,
        candidate.model,
        input_tokens=count[0],
        counted=count[1],
        body=body,
        at_ms=planned.at_ms,
        bounds=bounds_of(planned.rules),
        batch=planned.request.door is Door.BATCH,
    )


def _thinking(body: Mapping[str, Any]) -> int:
    """The tokens that the request keeps for thinking, which `max_tokens` must be above."""
    thinking = body.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    return budget if isinstance(budget, int) else 0
