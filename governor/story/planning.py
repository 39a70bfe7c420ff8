"""From a request to a plan: which models would do, how long is the prompt, and what can it cost on each."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from governor.errors import PolicyViolation, UnknownModel
from governor.policy.department import least
from governor.pricing import Ceiling, bounded, demand
from governor.routing import AUTO, Candidate, plan, rank, roomy
from governor.story import counting, matrix, refusal, succession
from governor.story.choosing import at_most, in_tier, plain, rises, route
from governor.story.conversations import stay
from governor.story.offers import Asked, by_value, idle_first, offers_of
from governor.story.request import Door, Plan, Trial, bounds_of, budgets_of, count_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.policy import Rules
    from governor.pricing import PriceTable
    from governor.story.books import Story
    from governor.story.conversations import Standing
    from governor.story.counting import Counts
    from governor.story.request import House, Request
    from governor.story.route import Route

NEGLIGIBLE_BP = 100
"""With `estimate: auto`, a prompt is not counted where its local ceiling is under 1 % of what the tightest
budget has left."""


def prepare(house: House, request: Request, *, at_once: bool = True) -> Story:
    """Price the request on every model that would do; returns a `Plan`.

    Args:
        house: What every request consults.
        request: The request.
        at_once: Whether, with `estimate: auto`, an uncounted plan may be returned: one to try the first
            candidate with, and to be made again with a count where a budget cannot bear it. That of an item
            of a batch is of all of them.

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
    request = yield from succession.heir(house, request, rules)
    found = yield from route(house, request, rules)
    while True:
        planned = yield from _in_tier(house, request, rules, found, at_once=at_once)
        tiers = list(rules.routes.tiers.values())  # that of a standing order may be none of them
        tier = roomy(found.tier, tiers, planned.input_tokens) if found.tier in tiers else found.tier
        if tier is found.tier:
            return planned if planned.trial is not None else _checked(planned)
        why = f"{planned.input_tokens:,} tokens are above the {found.tier.name} tier's context"
        found = in_tier(found, tier, why, rules)


def _in_tier(house: House, request: Request, rules: Rules, found: Route, *, at_once: bool) -> Story:
    """The plan for one tier, before anything in it is refused; a trial where little is at stake."""
    way = at_most(found, rules) if by_value(request.asked, rules, pin=request.pin) else found
    candidates = candidates_of(rules, house.prices, request.asked, pin=request.pin, found=way)
    candidates = yield from succession.living(house, request, rules, candidates)
    if request.gone:
        candidates = (replace(candidates[0], why=f"the successor of {request.gone}"), *candidates[1:])
    preferred = candidates[0]
    now_ms = house.clock.now_ms()
    standing = None
    if not (rules.shadow or request.pin):
        asked_for = (request.asked, request.tier)
        standing = house.conversations.find(request.who, request.body, asked_for, now_ms)
    if standing is not None:
        candidates = staying(rules, house.prices, found, candidates, standing)
        candidates = yield from succession.living(house, request, rules, candidates)
    bounds = bounds_of(rules)
    body = bounded({**request.body, "max_tokens": _max_tokens(request, rules)}, bounds)
    sent = demand(body, bounds, batch=request.door is Door.BATCH)
    asked = Asked(request, rules, sent, {}, now_ms, standing)
    planned = yield from _measured(house, asked, candidates, found, at_once=at_once)
    rest = () if planned.offers else above(rules, house.prices, candidates, request.asked, free=asked.free)
    if rest:
        planned = yield from _measured(house, asked, (*candidates, *rest), found, at_once=at_once)
    return replace(planned, preferred=preferred.model) if request.asked != AUTO else planned


def _measured(
    house: House, asked: Asked, candidates: Sequence[Candidate], found: Route, *, at_once: bool
) -> Story:
    """The plan of these candidates, their prompt measured as the policy says; or a trial of the first."""
    rules, body, known = asked.rules, asked.sent.body, asked.request.input_tokens
    in_batch = asked.request.door is Door.BATCH  # where no item is worth a request of its own

    def priced(counts: Counts) -> Plan:
        now_ms = house.clock.now_ms()
        return _priced(house, asked._replace(counts=counts, at_ms=now_ms), candidates, found)

    if known is not None:
        return priced(counting.known(house, known, candidates))
    if asked.request.held_tokens:
        return priced(counting.continued(house, body, candidates, asked.request))
    if rules.estimate == "auto" and at_once:
        planned = priced(counting.bounds(house, body, candidates))
        trial = _bounded(house, planned) if in_batch else _trial(house, planned)
        if trial is not None:
            return trial
    if rules.estimate == "local":
        return priced(counting.bounds(house, body, candidates))
    counts = yield from counting.counts(house, body, candidates)
    return priced(counts)


def above(
    rules: Rules, prices: PriceTable, candidates: Sequence[Candidate], asked: str, *, free: bool
) -> tuple[Candidate, ...]:
    """The lines above, cheapest first, for a request that names none and that no candidate takes."""
    if not free or rules.feature_lines or not asked == AUTO == rules.routes.default:
        return ()
    highest = max(rank(one.line) for one in candidates)
    why = f"no model up to {candidates[0].model} can take it"
    return tuple(
        Candidate(line, model, why, prices.canonical(model))
        for line, model in rules.lines.items()
        if rank(line) > highest
    )


def staying(
    rules: Rules, prices: PriceTable, found: Route, candidates: tuple[Candidate, ...], standing: Standing
) -> tuple[Candidate, ...]:
    """The candidates of a conversation that goes on: from the model that it is on."""
    asked, tier = standing.asked
    allowed = rules.feature_lines or tuple(rules.lines)
    others = (
        Candidate(line, model, "", prices.canonical(model))
        for line, model in rules.lines.items()
        if line in allowed
    )
    current = next((one for one in (*candidates, *others) if one.priced_as == standing.model), None)
    economises = found.tier.name == "economy" and (found.pressed or tier is not None)
    return stay(
        standing,
        candidates,
        current,
        follow=economises or found.tightened or asked != AUTO,
        rise=rises(found, rules, standing.line),
    )


def candidates_of(
    rules: Rules, prices: PriceTable, asked: str, *, pin: bool, found: Route | None = None
) -> tuple[Candidate, ...]:
    """The models that would do; a file in shadow does not keep a model from a feature that asks for it.

    Args:
        rules: What the files say.
        prices: The price table.
        asked: `auto`, a line or a model id.
        pin: Never swap it.
        found: What `auto` stands for; the standard tier's line if left out.

    Raises:
        PolicyViolation: What is pinned is not one of the feature's lines, or a line without a model.
        UnknownModel: A model without a price.
    """
    way = found or plain(rules)
    return plan(
        asked,
        pin=pin,
        lines=rules.lines,
        default=rules.routes.default,
        preferred_line=way.line,
        preferred_why=way.line_why,
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
        route=replace(plain(rules), heard=house.orders.version),
        preferred=candidate.model,
        offers=(matrix.Offer(candidate, Ceiling(0, 0, 0, 0)),),
        skipped=(),
        sent={**request.body, **given},
        input_tokens=0,
        estimate="unpriced",
        counts={},
        at_ms=house.clock.now_ms(),
        unpriced=why,
    )


def _priced(house: House, asked: Asked, candidates: Sequence[Candidate], found: Route) -> Plan:
    """The plan that these counts make, before anything in it is refused."""
    idle = offers_of(house, asked, candidates)
    by_worth = by_value(asked.request.asked, asked.rules, pin=asked.request.pin)
    preferred = idle[0].candidate if by_worth else candidates[0]
    offers = idle_first(house, asked, idle)
    tokens, counted = count_for(asked.counts, house.prices.model(candidates[0].model))
    return Plan(
        request=asked.request,
        rules=asked.rules,
        route=found,
        preferred=preferred.model,
        offers=tuple(offer for offer in offers if not offer.skipped),
        skipped=tuple(offer for offer in offers if offer.skipped),
        sent=asked.sent.body,
        input_tokens=tokens,
        estimate="count_tokens" if counted else "local bound",
        counts=asked.counts,
        at_ms=asked.at_ms,
    )


def _trial(house: House, planned: Plan) -> Plan | None:
    """The plan to try the first candidate with, where by what is known it costs next to nothing."""
    if planned.rules.watches or _bounded(house, planned) is None:
        return None
    models = [planned.offers[0].candidate.priced_as]
    terms = budgets_of(house, planned.request, planned.rules, models)
    if any(term.watches for term in terms):  # what it would have done is told of all candidates
        return None
    table = matrix.build(terms, planned.offers[:1], planned.at_ms)
    found = house.hints.share_of_tightest(table, planned.at_ms)
    if found is None or found[0] >= NEGLIGIBLE_BP:
        return None
    return replace(planned, trial=Trial(table, found[1]))


def _bounded(house: House, planned: Plan) -> Plan | None:
    """The plan, where nothing is kept out of it by a bound that a count may be far below; else `None`."""
    longest = least((planned.rules.input_tokens, planned.tier.context))
    too_long = longest is not None and planned.input_tokens > longest
    if planned.skipped or not planned.offers or too_long or _may_be_too_long(house, planned):
        return None
    return planned


def _may_be_too_long(house: House, planned: Plan) -> bool:
    """Whether the bound of the prompt, which ends there, fills the first candidate's context window."""
    model = house.prices.model(planned.offers[0].candidate.model)
    count = planned.count(model)
    return count is not None and count[0] >= model.context_tokens


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
