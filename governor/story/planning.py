"""From a request to a plan: which models would do, how long is the prompt, and what can it cost on each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from governor.errors import PolicyViolation, UnknownModel
from governor.money import Money
from governor.pricing import Ceiling, bounded, ceiling_of, demand
from governor.routing import AUTO, Candidate, plan
from governor.story import counting, matrix, refusal
from governor.story.request import Plan, Trial, bounds_of, count_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.policy import Rules
    from governor.pricing import Demand, PriceTable
    from governor.story.books import Story
    from governor.story.counting import Counts
    from governor.story.learned import Key
    from governor.story.request import House, Request

NEGLIGIBLE_BP = 100
"""With `estimate: auto`, a prompt is not counted where its local ceiling is under 1 % of what the tightest
budget has left."""


def prepare(house: House, request: Request, *, at_once: bool = True) -> Story:
    """Price the request on every model that would do; returns a `Plan`.

    Args:
        house: What every request consults.
        request: The request.
        at_once: Whether, with `estimate: auto`, an uncounted plan may be returned: one to try the first
            candidate with, and to be made again with a count where a budget cannot bear it.

    Raises:
        PolicyViolation: Unknown department, user or feature; no bound on the output or on a server tool;
            larger than the policy's `cost_per_request` or `input_tokens` on every model.
        UnknownModel: A model without a price.
    """
    rules = house.policies.rules(request.who)
    try:
        return (yield from _prepare(house, request, rules, at_once=at_once))
    except (PolicyViolation, UnknownModel) as error:
        if rules.enforced:
            raise
        return _unpriced(house, request, rules, str(error))


def _prepare(house: House, request: Request, rules: Rules, *, at_once: bool) -> Story:
    candidates = candidates_of(rules, house.prices, request.asked, pin=request.pin)
    bounds = bounds_of(rules)
    body = bounded({**request.body, "max_tokens": _max_tokens(request, rules)}, bounds)
    asked = demand(body, bounds)

    def priced(counts: Counts) -> Plan:
        return _priced(house, request, rules, candidates, counts, asked)

    if request.input_tokens is not None:
        return _checked(priced(counting.known(house, request.input_tokens, candidates)))
    if rules.estimate == "auto" and at_once:
        planned = priced(counting.bounds(house, body, candidates))
        trial = _trial(house, planned)
        if trial is not None:
            return trial
    if rules.estimate == "local":
        return _checked(priced(counting.bounds(house, body, candidates)))
    counts = yield from counting.counts(house, body, candidates)
    return _checked(priced(counts))


def candidates_of(rules: Rules, prices: PriceTable, asked: str, *, pin: bool) -> tuple[Candidate, ...]:
    """The models that would do; a file in shadow does not keep a model from a feature that asks for it.

    Raises:
        PolicyViolation: What is pinned is not one of the feature's lines, or a line without a model.
        UnknownModel: A model without a price.
    """
    return plan(
        asked,
        pin=pin,
        lines=rules.lines,
        default=rules.default,
        preferred_line=rules.preferred_line,
        feature_lines=None if rules.shadow and asked != AUTO else rules.feature_lines,
        look_up=lambda name: (prices.model(name).line, prices.model(name).id),
    )


def _unpriced(house: House, request: Request, rules: Rules, why: str) -> Plan:
    """The plan of a call that nothing may refuse and that cannot be priced: as it is, and nothing is held."""
    try:
        candidate = candidates_of(rules, house.prices, request.asked, pin=request.pin)[0]
    except (PolicyViolation, UnknownModel):
        candidate = Candidate("", request.asked, "asked for", request.asked)
    given = {} if request.max_tokens is None else {"max_tokens": request.max_tokens}
    return Plan(
        request=request,
        rules=rules,
        offers=(matrix.Offer(candidate, Ceiling(0, 0, 0, 0)),),
        skipped=(),
        sent={**request.body, **given},
        input_tokens=0,
        estimate="unpriced",
        counts={},
        at_ms=house.clock.now_ms(),
        unpriced=why,
    )


def _priced(
    house: House,
    request: Request,
    rules: Rules,
    candidates: Sequence[Candidate],
    counts: Counts,
    asked: Demand,
) -> Plan:
    """The plan that these counts make, before anything in it is refused."""
    at_ms = house.clock.now_ms()
    offers = _offers(house, request, rules, candidates, counts, asked, at_ms)
    tokens, counted = count_for(counts, house.prices.model(candidates[0].model))
    return Plan(
        request=request,
        rules=rules,
        offers=tuple(offer for offer in offers if not offer.skipped),
        skipped=tuple(offer for offer in offers if offer.skipped),
        sent=asked.body,
        input_tokens=tokens,
        estimate="count_tokens" if counted else "local bound",
        counts=counts,
        at_ms=at_ms,
    )


def _offers(
    house: House,
    request: Request,
    rules: Rules,
    candidates: Sequence[Candidate],
    counts: Counts,
    asked: Demand,
    at_ms: int,
) -> list[matrix.Offer]:
    """The candidates with their prices, without the steps down that cannot serve this way (fast, region)."""
    offers: list[matrix.Offer] = []
    for candidate in candidates:
        tokens, counted = count_for(counts, house.prices.model(candidate.model))
        try:
            most = ceiling_of(
                house.prices, candidate.model, asked, input_tokens=tokens, counted=counted, at_ms=at_ms
            )
        except UnknownModel:
            if not offers:
                raise
            continue
        expected = house.learned.expected_nanos(key_of(request, candidate, counted=counted), most)
        offers.append(matrix.Offer(candidate, most, _ruled_out(rules, most.nanos), expected))
    return offers


def key_of(request: Request, candidate: Candidate, *, counted: bool) -> Key:
    """What a request's cost is learned under."""
    return request.who.department, request.who.feature, candidate.priced_as, counted


def _trial(house: House, planned: Plan) -> Plan | None:
    """The plan to try the first candidate with, where by what is known it costs next to nothing."""
    too_long = planned.rules.input_tokens is not None and planned.input_tokens > planned.rules.input_tokens
    if planned.skipped or too_long or planned.rules.watches:
        return None
    terms = house.policies.budgets(planned.request.who, [planned.offers[0].candidate.priced_as])
    if any(term.watches for term in terms):  # what it would have done is told of all candidates
        return None
    table = matrix.build(terms, planned.offers[:1], planned.at_ms)
    found = house.hints.share_of_tightest(table, planned.at_ms)
    if found is None or found[0] >= NEGLIGIBLE_BP:
        return None
    return replace(planned, trial=Trial(table, found[1]))


def _max_tokens(request: Request, rules: Rules) -> int:
    """The caller's `max_tokens`, never above the policy's; the policy's where the caller gives none."""
    if request.max_tokens is None:
        usual = rules.watched.max_tokens if rules.max_tokens is None else rules.max_tokens
        if usual is None:
            raise PolicyViolation(
                "max_tokens is missing: give it, or write a `max_tokens` for the feature, or under `limits`, "
                "into the policy file, so that the answer's cost has a bound"
            )
        return usual
    return request.max_tokens if rules.max_tokens is None else min(request.max_tokens, rules.max_tokens)


def _ruled_out(rules: Rules, nanos: int) -> str:
    most = rules.cost_per_request_nanos
    if most is None or nanos <= most:
        return ""
    return f"may cost {Money(nanos)}, above the policy's {Money(most)} a request"


def _checked(planned: Plan) -> Plan:
    """Refuse what the policy does not allow, whatever the balances."""
    most, tokens = planned.rules.input_tokens, planned.input_tokens
    if most is not None and tokens > most:
        counted = planned.estimate == "count_tokens"
        has = "has some" if counted else "could not be counted, and may have up to"
        advice = "send less" if counted else "send documents in the request itself, where they can be counted"
        raise PolicyViolation(
            f"the prompt {has} {tokens:,} tokens, limits.input_tokens is {most:,} for the department "
            f"{planned.request.who.department!r} (its policy file, or organization.yaml): {advice}"
        )
    if not planned.offers:
        refusal.too_costly(planned.rules, planned.skipped)
    return planned
