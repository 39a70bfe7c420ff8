"""From candidates to offers: what each can cost, whether it takes the request, and which come first now."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from governor.errors import UnknownModel
from governor.money import Money
from governor.pricing import Ceiling, ceiling_of, demand
from governor.routing import AUTO, Unfit, best, fit, rank
from governor.story import matrix
from governor.story.request import Door, count_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.policy import Rules
    from governor.pricing import Demand
    from governor.routing import Candidate, Fitted
    from governor.story.conversations import Standing
    from governor.story.counting import Counts
    from governor.story.learned import Key
    from governor.story.matrix import Offer
    from governor.story.request import House, Request

_NOTHING = Ceiling(0, 0, 0, 0)


class Asked(NamedTuple):
    """A request on its way to offers.

    Attributes:
        request: What the caller asks for.
        rules: What the files say of it.
        sent: Its body with the bounds of the policy in it.
        counts: Tokens of its prompt.
        at_ms: When it is priced, Unix milliseconds.
        standing: Where its conversation stands; `None` if it begins.
    """

    request: Request
    rules: Rules
    sent: Demand
    counts: Counts
    at_ms: int
    standing: Standing | None = None

    @property
    def free(self) -> bool:
        """Whether another model than the one asked for may serve."""
        return not (self.request.pin or self.rules.shadow)


def offers_of(house: House, asked: Asked, candidates: Sequence[Candidate]) -> list[Offer]:
    """An offer for every candidate, in the order in which they serve while the API is idle.

    Those that cannot serve are among them, with why they are skipped.

    Raises:
        UnknownModel: The first candidate has no price for this way of serving: fast, or in this region.
    """
    found = [_offer(house, asked, candidate, first=not index) for index, candidate in enumerate(candidates)]
    return in_order(house, asked, found)


def in_order(house: House, asked: Asked, found: list[Offer]) -> list[Offer]:
    """The offers of candidates, by what the call is worth and what a warm prompt cache saves."""
    by_worth_now = by_value(asked.request.asked, asked.rules, pin=asked.request.pin)
    if by_worth_now and not _goes_on(asked, found):
        found = _by_worth(asked.rules, found)
    last = [offer for offer in found if offer.candidate.last_resort]
    usual = [offer for offer in found if not offer.candidate.last_resort]
    return [*_kept_warm(house, asked, usual), *last]


def idle_first(house: House, asked: Asked, found: Sequence[Offer]) -> list[Offer]:
    """Models that the API can hardly take more of come last: nobody is refused where only they would do."""
    last = [offer for offer in found if offer.candidate.last_resort]
    usual = [offer for offer in found if not offer.candidate.last_resort]
    return [*_idle_first(house, asked, usual), *last]


def key_of(request: Request, candidate: Candidate, *, counted: bool) -> Key:
    """What a request's cost is learned under."""
    return request.who.department, request.who.feature, candidate.priced_as, counted


def _offer(house: House, asked: Asked, candidate: Candidate, *, first: bool) -> Offer:
    """What a candidate can cost; the model that the caller named gets the request as it is."""
    tokens, counted = count_for(asked.counts, house.prices.model(candidate.model))
    sent, changes = asked.sent, _bounded(asked)
    if not _named(asked, candidate):
        fitted = _fitted(house, asked, candidate, tokens if counted else 0)
        if isinstance(fitted, Unfit):
            return matrix.Offer(candidate, _NOTHING, skipped=fitted.why)
        if fitted.changes:
            sent = demand(fitted.body, sent.bounds, batch=sent.batch)
            changes = (*changes, *fitted.changes)
    try:
        most = ceiling_of(
            house.prices, candidate.model, sent, input_tokens=tokens, counted=counted, at_ms=asked.at_ms
        )
    except UnknownModel as error:
        if first:
            raise
        return matrix.Offer(candidate, _NOTHING, skipped=f"cannot serve this way: {error}")
    expected = house.learned.expected_nanos(key_of(asked.request, candidate, counted=counted), most)
    return matrix.Offer(candidate, most, _ruled_out(asked.rules, most.nanos), sent.body, changes, expected)


def _bounded(asked: Asked) -> tuple[str, ...]:
    """What the policy's limit on the output changed, whichever model serves."""
    wanted, most = asked.request.max_tokens, asked.sent.max_tokens
    return () if wanted is None or wanted <= most else (f"max_tokens {wanted} → {most}: the policy's most",)


def _named(asked: Asked, candidate: Candidate) -> bool:
    return asked.rules.shadow or asked.request.pin or candidate.model == asked.request.named


def _fitted(house: House, asked: Asked, candidate: Candidate, tokens: int) -> Fitted | Unfit:
    """The request as the candidate takes it; a prompt is too long for it only if it was counted so."""
    prices, model = house.prices, house.prices.model(candidate.model)
    in_cloud = bool(prices.served_at(candidate.model, asked.rules.endpoint))
    return fit(
        asked.sent.body,
        model.accepts,
        model=candidate.model,
        context=model.context_tokens,
        max_output=model.max_output_tokens,
        prompt_tokens=tokens,
        fast=prices.price_at(candidate.model, asked.at_ms).fast is not None and not in_cloud,
    )


def _ruled_out(rules: Rules, nanos: int) -> str:
    most = rules.cost_per_request_nanos
    if most is None or nanos <= most:
        return ""
    return f"may cost {Money(nanos)}, above the policy's {Money(most)} a request"


def _by_worth(rules: Rules, found: list[Offer]) -> list[Offer]:
    """Lines taken by what the call is worth: from the line that is worth it on."""
    fits = [offer for offer in found if not offer.skipped]
    if not fits:
        return found
    likely = {offer.candidate.line: offer.expected_nanos or offer.ceiling.nanos for offer in fits}
    lines = [line for line in rules.lines if line in likely]
    quality = {line: rules.routes.quality[line] for line in lines}
    line, why = best(lines, quality, likely, rules.value_nanos or 0, rules.routes.worth)
    start = next(index for index, offer in enumerate(found) if offer.candidate.line == line)
    chosen = replace(found[start], candidate=replace(found[start].candidate, why=why))
    below = (offer for offer in found if rank(offer.candidate.line) < rank(line))
    return [chosen, *sorted(below, key=lambda offer: -rank(offer.candidate.line))]


def _goes_on(asked: Asked, found: Sequence[Offer]) -> bool:
    """Whether a conversation stays on the model that it is on: what it is worth is asked once."""
    first = found[0]
    return (
        asked.standing is not None and not first.skipped and first.candidate.priced_as == asked.standing.model
    )


def by_value(asked: str, rules: Rules, *, pin: bool) -> bool:
    """Whether the line is taken by what the call is worth: nothing names one, and its feature says it."""
    unnamed = asked == AUTO and rules.routes.default == AUTO and not pin
    return unnamed and bool(rules.value_nanos) and bool(rules.routes.quality)


def _kept_warm(house: House, asked: Asked, found: list[Offer]) -> list[Offer]:
    """A model whose prompt cache is warm stands in for each step down that would cost more with a cold one.

    So a step down that saves nothing is none: the model goes on, held to the marks of that step's line.
    """
    standing = asked.standing
    if standing is None or not found or not asked.free:
        return found
    first, warm = found[0], standing.warm_tokens(asked.at_ms)
    if first.skipped or not warm or first.candidate.priced_as != standing.model:
        return found
    stays = _turn_nanos(house, asked, first, warm)
    result = [first]
    for step in found[1:]:
        if not step.skipped and stays <= _turn_nanos(house, asked, step, 0):
            line = step.candidate.line
            why = f"its prompt cache of {warm:,} tokens makes it cheaper than {step.candidate.model}"
            kept = replace(first.candidate, why=why, marked_as=line)
            result.append(replace(first, candidate=kept))
        result.append(step)
    return result


def _turn_nanos(house: House, asked: Asked, offer: Offer, warm: int) -> int:
    """What the next turn will cost about: *warm* tokens read from the cache, the rest written to it."""
    tokens, _ = count_for(asked.counts, house.prices.model(offer.candidate.model))
    read = min(warm, tokens)
    output = min(asked.standing.output_tokens if asked.standing else 0, offer.ceiling.max_tokens)
    tariff = house.prices.tariff(offer.candidate.model, asked.at_ms, offer.ceiling.way)
    amounts = tariff.amounts(tokens)
    units = read * amounts.cache_read + (tokens - read) * amounts.cache_write_5m + output * amounts.output
    return -(-units // tariff.unit)


def _idle_first(house: House, asked: Asked, found: list[Offer]) -> list[Offer]:
    if not asked.free or len(found) <= 1 or asked.request.door is Door.BATCH:  # which has limits of its own
        return found
    opens_bp = asked.rules.routes.load.open_bp
    busy = {
        offer.candidate.model: why
        for offer in found
        if (
            why := house.orders.breaker(offer.candidate, asked.request.who, asked.at_ms)
            or house.traffic.available(offer.candidate.priced_as, opens_bp)
        )
    }
    idle = [offer for offer in found if offer.candidate.model not in busy]
    if not busy or all(offer.skipped for offer in idle):
        return found
    last = [_because(offer, f"last: {busy[offer.candidate.model]}") for offer in found if offer not in idle]
    place = next(place for place, offer in enumerate(idle) if not offer.skipped)
    first = next(offer for offer in found if not offer.skipped).candidate.model
    if first in busy:
        idle[place] = _because(idle[place], f"instead of {first}: {busy[first]}")
    return [*idle, *last]


def _because(offer: Offer, why: str) -> Offer:
    return replace(offer, candidate=replace(offer.candidate, why=why))
