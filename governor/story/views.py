"""From what the rooms answered to what a caller is shown: decisions, receipts, threshold events."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from governor.budgets import Unit, unit_of
from governor.ledger import admission
from governor.ledger import commands as c
from governor.money import Money
from governor.story import matrix
from governor.story.decision import (
    BudgetView,
    CandidateView,
    Decision,
    Leg,
    Receipt,
    ThresholdCrossed,
    Would,
    instant,
    show,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.policy import BudgetTerm
    from governor.routing import Candidate
    from governor.story.effects import Ended
    from governor.story.kept import Kept
    from governor.story.matrix import Matrix, Offer
    from governor.story.request import Admitted, House, Plan
    from governor.story.settlement import Outcome


def decision(house: House, planned: Plan, admitted: Admitted) -> Decision:
    """The decision by which a request was let through."""
    if admitted.how != "held":
        return unasked_decision(house, planned, admitted)
    return _decision(
        house,
        planned,
        admitted.table,
        admitted.held.balances,
        outcome="held",
        chosen=admitted.held.candidate,
        waited_s=admitted.waited_s,
    )


def refusing_decision(
    house: House, planned: Plan, table: Matrix, refused: c.Refused, waited_s: float
) -> Decision:
    """The decision by which the ledger refused it."""
    balances, reason = refused.balances, refused.reason
    return _decision(house, planned, table, balances, outcome=reason, chosen=None, waited_s=waited_s)


def dry_decision(house: House, planned: Plan, table: Matrix, readings: c.Readings) -> Decision:
    """The decision that the ledger would take on these balances."""
    would = admission.decide(table.asks, readings.balances)
    outcome = "held" if would.chosen is not None else would.reason
    return _decision(
        house, planned, table, readings.balances, outcome=outcome, chosen=would.chosen, waited_s=0.0
    )


def unasked_decision(house: House, planned: Plan, admitted: Admitted) -> Decision:
    """The decision that was taken without the ledger: no balances are known."""
    offers, chosen = admitted.table.offers, admitted.held.candidate
    served = offers[chosen].candidate
    candidates = (
        *(_skipped(offer) for offer in planned.skipped),
        *(_candidate(offer, "too much", offer.candidate.why) for offer in offers[:chosen]),
        _candidate(offers[chosen], admitted.how, served.why),
        *(_untried(offer) for offer in offers[chosen + 1 :]),
    )
    means = "goes through" if admitted.how == "allowed" else "lives on the lease"
    reason = f"{served.model} {means}: the ledger is away ({house.breaker.why})"
    return _told(house, planned, candidates, served, admitted.how, reason)


def budgets(table: Matrix, balances: Sequence[c.Balance]) -> tuple[BudgetView, ...]:
    """Every budget of the matrix with its numbers."""
    return tuple(
        BudgetView(
            identity=term.identity,
            window=row.window,
            unit=term.unit,
            limit=balance.limit,
            posted=balance.posted,
            held=balance.held,
            resets_at=instant(matrix.reopens_ms(row, balance)),
            frozen=balance.frozen,
            source=term.source,
        )
        for term, row, balance in zip(table.terms, table.rows, balances, strict=True)
    )


def _decision(
    house: House,
    planned: Plan,
    table: Matrix,
    balances: Sequence[c.Balance],
    *,
    outcome: str,
    chosen: int | None,
    waited_s: float,
) -> Decision:
    verdicts = admission.decide(table.asks, balances).verdicts
    shown = budgets(table, balances)
    tried = [_tried(offer, verdict, shown) for offer, verdict in zip(table.offers, verdicts, strict=False)]
    untried = [_untried(offer) for offer in planned.offers[len(tried) :]]
    served = None if chosen is None else table.offers[chosen].candidate
    skipped = [_skipped(offer) for offer in planned.skipped]
    reason = _reason(planned, table, balances, chosen, outcome)
    told = _told(house, planned, (*skipped, *tried, *untried), served, outcome, reason, shown, waited_s)
    return replace(told, shadow=would(planned, table, balances, told.model))


def would(planned: Plan, table: Matrix, balances: Sequence[c.Balance], served: str | None) -> Would | None:
    """What would have been decided if everything in shadow were enforced; `None` where nothing is.

    Args:
        planned: The request.
        table: What the ledger was asked with.
        balances: Its answer.
        served: The model that serves; `None` if none does.
    """
    rules, watched = planned.rules, planned.rules.watched
    if not rules.watches and not any(term.watches for term in table.terms):
        return None
    refusals = _refusals(planned)
    most_nanos = watched.cost_per_request_nanos
    within = [
        index
        for index, offer in enumerate(table.offers)
        if most_nanos is None or offer.ceiling.nanos <= most_nanos
    ]
    if not within:
        refusals.append(f"it may cost more than {Money(most_nanos or 0)} on every model")
    if refusals:
        return Would("refused", None, planned.max_tokens, "refused: " + "; ".join(refusals), alters=True)
    tokens = min(planned.max_tokens, watched.max_tokens or planned.max_tokens)
    lines = rules.feature_lines if rules.shadow else None
    allowed = [index for index in within if not lines or table.offers[index].candidate.line in lines]
    if lines and not allowed:
        other = rules.lines[lines[0]]
        reason = f"{other} instead: {_only(lines)}; its budgets were not asked"
        return Would("held", other, tokens, reason, alters=True)
    strict = replace(
        table,
        offers=tuple(table.offers[index] for index in allowed),
        asks=tuple(_enforced(table, index) for index in allowed),
    )
    ruling = admission.decide(strict.asks, balances)
    outcome = ruling.reason if ruling.chosen is None else "held"
    model = None if ruling.chosen is None else strict.offers[ruling.chosen].candidate.model
    reason = _reason(replace(planned, skipped=()), strict, balances, ruling.chosen, outcome)
    if _off_its_lines(planned) and ruling.chosen == 0:
        reason = f"{model} instead: {_only(lines or ())}"
    altered = model != served or tokens != planned.max_tokens
    return Would(outcome, model, tokens, reason, altered)


def _enforced(table: Matrix, index: int) -> tuple[c.Ask | None, ...]:
    """What an offer would ask if everything in shadow were enforced."""
    line = table.offers[index].candidate.line
    return tuple(
        None
        if ask is None
        else replace(ask, enforced=True, mark_bp=min(ask.mark_bp, term.watched_caps.get(line, ask.mark_bp)))
        for term, ask in zip(table.terms, table.asks[index], strict=True)
    )


def _refusals(planned: Plan) -> list[str]:
    """What files in shadow would have refused the request for, whatever the balances."""
    rules, most = planned.rules, planned.rules.watched.input_tokens
    found = [*rules.complaints, *filter(None, [planned.unpriced])]
    if most is not None and planned.input_tokens > most:
        found.append(f"the prompt has {planned.input_tokens:,} tokens, limits.input_tokens is {most:,}")
    if planned.request.pin and not found and _off_its_lines(planned):
        found.append(f"{planned.request.asked} cannot be pinned: {_only(rules.feature_lines or ())}")
    return found


def _off_its_lines(planned: Plan) -> bool:
    """Whether a file in shadow lets a feature have a model that is of none of its lines."""
    lines = planned.rules.feature_lines if planned.rules.shadow else None
    return bool(lines) and planned.offers[0].candidate.line not in (lines or ())


def _only(lines: Sequence[str]) -> str:
    return f"the feature may use {', '.join(lines)} only"


def _told(
    house: House,
    planned: Plan,
    candidates: tuple[CandidateView, ...],
    served: Candidate | None,
    outcome: str,
    reason: str,
    shown: tuple[BudgetView, ...] = (),
    waited_s: float = 0.0,
) -> Decision:
    served_offer = next((one for one in planned.offers if one.candidate is served), None)
    changes = () if served_offer is None else served_offer.changes
    body = {} if served_offer is None else served_offer.body
    return Decision(
        request_id=planned.request.call_id,
        outcome=outcome,
        asked=planned.request.named,
        model=None if served is None else served.model,
        line=None if served is None else served.line,
        max_tokens=int(body.get("max_tokens") or planned.max_tokens),
        reason=reason,
        candidates=candidates,
        budgets=shown,
        input_tokens=planned.input_tokens,
        estimate=planned.estimate,
        hint_age_ms=planned.hint_age_ms,
        policy_hash=house.policies.hash,
        prices=house.prices.version,
        waited_s=waited_s,
        preferred=planned.preferred,
        tier=planned.tier.name,
        tier_why=planned.route.tier_why,
        complexity=str(planned.route.complexity or ""),
        load=planned.route.load_bp / 10_000,
        changes=changes,
    )


def _tried(offer: Offer, said: admission.CandidateVerdict, shown: Sequence[BudgetView]) -> CandidateView:
    binding = None if said.binding is None else shown[said.binding].identity
    return _candidate(offer, said.verdict.name.lower(), offer.candidate.why, binding)


def _untried(offer: Offer) -> CandidateView:
    return _candidate(offer, "not tried", offer.candidate.why)


def _skipped(offer: Offer) -> CandidateView:
    return _candidate(offer, "skipped", offer.skipped)


def _candidate(offer: Offer, verdict: str, why: str, binding: str | None = None) -> CandidateView:
    expected = offer.expected_nanos
    return CandidateView(
        model=offer.candidate.model,
        line=offer.candidate.line,
        ceiling=Money(offer.ceiling.nanos),
        verdict=verdict,
        why=why,
        binding=binding,
        expected=None if expected is None else Money(expected),
    )


def _reason(
    planned: Plan, table: Matrix, balances: Sequence[c.Balance], chosen: int | None, outcome: str
) -> str:
    if chosen is None:
        return f"refused: {binding_sentence(table, balances, len(table.offers) - 1)} ({outcome})"
    served = table.offers[chosen].candidate
    if chosen and served.model != table.offers[0].candidate.model:
        return f"{served.model} instead: {binding_sentence(table, balances, 0)}"
    skipped = next((offer for offer in planned.skipped if offer.candidate.model == planned.preferred), None)
    if skipped is not None:
        return f"{served.model} instead: {planned.preferred} {skipped.skipped}"
    return f"{served.model}: {served.why}"


def binding_sentence(table: Matrix, balances: Sequence[c.Balance], index: int) -> str:
    """Why the budget that binds candidate *index* refuses it, with its numbers."""
    said = admission.judge_candidate(table.asks[index], balances)
    if said.binding is None:
        return "every budget can bear it"
    return refusal_sentence(table, balances, index, said.binding)


def refusal_sentence(table: Matrix, balances: Sequence[c.Balance], index: int, binding: int) -> str:
    """Why budget *binding* refuses candidate *index*: what it needs, what there is, and the rule."""
    offer, ask, balance = table.offers[index], table.asks[index][binding], balances[binding]
    shown = budgets(table, balances)[binding]
    if balance.frozen is not None:
        return f"{shown.identity} is frozen: {balance.frozen}"
    if ask is None:
        return f"{shown.identity} is not touched"
    if shown.unit is Unit.CONCURRENT:
        return str(shown)
    needs = f"{offer.candidate.model} needs up to {show(shown.unit, ask.amount)}"
    top = admission.cap(balance.limit, ask)
    rule = ""
    if balance.posted + ask.amount > top and top < balance.limit:
        by_mark = top == admission.mark(balance.limit, ask.mark_bp)
        share = f"{ask.mark_bp / 100:g} %" if by_mark else f"all but {show(shown.unit, ask.floor)}"
        rule = f"; {offer.candidate.line} may fill it to {share}, {show(shown.unit, top)}"
    if ask.share_bp < c.FULL_MARK_BP and top >= admission.mark(balance.limit, ask.share_bp):
        kept = f"{(c.FULL_MARK_BP - ask.share_bp) / 100:g} %"
        rule = f"; the last {kept} of it are kept for {', '.join(table.terms[binding].kept_for) or 'others'}"
    return f"{shown}; {needs}{rule}"


def threshold(term: BudgetTerm | None, crossing: c.Crossing) -> ThresholdCrossed:
    """The event for a crossing; *term* is the budget it belongs to, if a policy file still has it."""
    return ThresholdCrossed(
        identity=crossing.identity,
        window=crossing.window,
        percent=crossing.step_bp // 100,
        posted=crossing.posted,
        limit=crossing.limit,
        unit=unit_of(crossing.identity),
        warns=term is not None and crossing.step_bp in term.warn_steps,
        key=f"{crossing.identity}:{crossing.window}:{crossing.step_bp}:{crossing.posted}",
    )


def kept_receipt(taken: Decision, kept: Kept, error: BaseException, tried: Receipt | None = None) -> Receipt:
    """The receipt of a call that was answered as an earlier one was, because it was refused or failed.

    Args:
        taken: The decision by which it was refused, or sent in vain.
        kept: The earlier answer.
        error: What would have been raised.
        tried: The receipt of what was sent in vain, whose cost stays; `None` if nothing was sent.
    """
    reason = f"an earlier answer to the same request, {kept.age_ms // 1000} s old, for {error}"
    decision = replace(taken, outcome="cached", model=kept.message.model, line=None, reason=reason)
    if tried is not None:
        return replace(tried, model=kept.message.model, decision=decision, cached=True)
    return Receipt(
        request_id=taken.request_id,
        model=kept.message.model,
        cost=Money(0),
        ceiling=Money(0),
        usage={},
        decision=decision,
        attempts=0,
        cached=True,
    )


def receipt(
    planned: Plan,
    table: Matrix,
    offer: Offer,
    taken: Decision,
    outcome: Outcome,
    ended: Ended,
    closed: c.Closed | None,
    attempts: int,
) -> Receipt:
    """The receipt of one leg of a call; *closed* is `None` if the ledger could not be told."""
    terms = {term.identity: term for term in table.terms}
    crossings = () if closed is None else closed.crossings
    return Receipt(
        request_id=planned.request.call_id,
        model=outcome.model,
        cost=Money(outcome.nanos),
        ceiling=Money(offer.ceiling.nanos),
        usage=outcome.usage,
        decision=taken,
        crossings=tuple(threshold(terms.get(crossing.identity), crossing) for crossing in crossings),
        attempts=attempts,
        latency_ms=ended.latency_ms,
        first_token_ms=ended.first_token_ms,
        overrun=closed is not None and closed.overrun,
        late=closed is not None and closed.state == "settled_late",
        settled=closed is not None,
        uncertain=outcome.uncertain,
        unpriced=outcome.unpriced,
        api_request_id=ended.api_request_id,
        legs=(_leg(outcome, ended, attempts),),
    )


def _leg(outcome: Outcome, ended: Ended, attempts: int) -> Leg:
    return Leg(
        model=outcome.model,
        ended=ended.kind,
        status=ended.status,
        cost=Money(outcome.nanos),
        uncertain=outcome.uncertain,
        attempts=attempts,
        error="" if ended.error is None else type(ended.error).__name__,
    )
