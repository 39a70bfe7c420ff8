"""A call of a back-test in flight: what it holds, what it cost then, and what it costs now. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from governor.budgets import Unit
from governor.errors import UnknownModel
from governor.journal.calls import posted_to
from governor.ledger import lifecycle
from governor.policy import Attribution
from governor.pricing import cost_nanos, read_usage
from governor.rehearsal.tally import Cause
from governor.routing import Candidate

if TYPE_CHECKING:
    from governor.journal.calls import Began, Ended, Priced
    from governor.policy import BudgetTerm
    from governor.pricing import PriceTable
    from governor.rehearsal.balances import Account
    from governor.rehearsal.judging import Judged, Seat
    from governor.rehearsal.tally import Counts, Day
    from governor.story.conversations import Conversations
    from governor.story.matrix import Offer


class Part(NamedTuple):
    """What a call holds of one budget, and posts to it."""

    account: Account
    unit: Unit
    held: int


BlockedBy = tuple[str, str, Cause]
"""Department and user, and what blocked them."""


class Flight(NamedTuple):
    """A call between its reserve and its end.

    Attributes:
        at_ms: When it was reserved.
        then: The model that served, with its ceiling.
        call: How it began.
        offer: What serves it under the new policies; `None`: nothing, or what did then.
        blocked: Whether the new policies refuse it.
        charge: Whether its expiry is charged under the new policies.
        holds: What it holds of the new policies' budgets.
        real: Those that it really spent of; the same object as *holds* where it goes as it went.
        counts: Whose counts it is in; `None`: it is only posted.
        day: Likewise.
        rolling: What blocked it, where that is a rolling window: then this call's end judges whether falsely.
        served: The model that serves it; `None`: none does, or it has no price.
        swapped: Whether that is not the one that is preferred.
        counted: Whether it was counted as one that goes another way.
    """

    at_ms: int
    then: Priced
    call: Began
    offer: Offer | None
    blocked: bool
    charge: bool
    holds: tuple[Part, ...]
    real: tuple[Part, ...]
    counts: Counts | None
    day: Day | None
    rolling: tuple[Account, BlockedBy] | None = None
    served: Candidate | None = None
    swapped: bool = False
    counted: bool = False


class GoesOn(NamedTuple):
    """A call between two of its legs.

    Attributes:
        models: Those that earlier legs asked then.
        blocked: Whether the new policies refuse it.
        counted: Whether it was counted as one that goes another way.
    """

    models: tuple[str, ...] = ()
    blocked: bool = False
    counted: bool = False


GOES_ON = "goes on"
"""How a release ends after which the call goes on: its next leg is the request that counts."""


def candidate(prices: PriceTable, then: Priced) -> Candidate | None:
    """The candidate that served then; `None` where it has no price here."""
    try:
        return Candidate(then.line, then.model, "", prices.canonical(then.model))
    except UnknownModel:
        return None


def note(conversations: Conversations, flight: Flight, ended: Ended) -> None:
    """Take in which model a run is on now; what is no run is not known by a journal."""
    call, served = flight.call, flight.served
    if ended.answered and served is not None and call.who[3] is not None and not call.pin:
        who, asked = Attribution(*call.who), (call.asked, call.tier)
        moved, began_ms = flight.swapped, flight.at_ms
        usage = ended.usage
        conversations.note(who, {}, asked, served, usage, ended.at_ms, swapped=moved, planned_ms=began_ms)


def add(flight: Flight, then_nanos: int, new_nanos: int) -> None:
    """Add a call's cost to the counts that it is in."""
    for one in (flight.counts, flight.day):
        if one is not None:
            one.then_nanos += then_nanos
            one.new_nanos += new_nanos


def parts(judged: Judged) -> tuple[Part, ...]:
    """What is held of the budgets that the chosen offer touches."""
    rows = zip(judged.seats, judged.accounts, judged.asks, strict=False)
    return tuple(Part(account, seat.term.unit, ask.amount) for seat, account, ask in rows if ask is not None)


def held(seat: Seat, then: Priced) -> int:
    """What a call on the model of then holds of a budget."""
    unit = seat.term.unit
    if unit is Unit.USD:
        return then.nanos
    return then.tokens if unit is Unit.TOKENS else 1


def amount(part: Part, nanos: int, tokens: int) -> int:
    """What a call that was sent posts to one budget."""
    unit = part.unit
    if unit is Unit.USD:
        return nanos
    if unit is Unit.TOKENS:
        return tokens
    return 1 if unit is Unit.REQUESTS else 0


def posted(part: Part, kind: str, nanos: int, tokens: int) -> int:
    """What the end of a call posts to one budget: a release keeps requests only, if it is the call's end."""
    if kind == GOES_ON:
        return 0
    return lifecycle.kept_on_release(part.unit, 1) if kind == "release" else amount(part, nanos, tokens)


def cost(flight: Flight, ended: Ended) -> int:
    """What a call really cost; where its record does not say, what was posted, or all that it could."""
    if ended.cost_nanos is not None:
        return ended.cost_nanos
    if ended.kind == "release":
        return 0
    told = posted_to(flight.call, ended.posted, Unit.USD)
    return flight.then.nanos if told is None else told


def charged(flight: Flight, ended: Ended) -> int:
    """What an expiry really charged."""
    told = posted_to(flight.call, ended.posted, Unit.USD)
    return flight.then.nanos * any(ended.posted) if told is None else told


def tokens(flight: Flight, ended: Ended) -> int:
    """How many tokens a call really used: as was reported, else as was posted, else all that it held."""
    known = None if ended.uncertain else usage_tokens(ended)
    if known is not None:
        return known
    told = posted_to(flight.call, ended.posted, Unit.TOKENS)
    return flight.then.tokens if told is None else told


def usage_tokens(ended: Ended) -> int | None:
    """Tokens of every part in the reported usage; `None` where nothing readable was reported."""
    try:
        return read_usage(ended.usage).total_tokens if ended.usage else None
    except ValueError:
        return None


def cause(term: BudgetTerm) -> Cause:
    """A budget as the cause of blocks and downgrades."""
    window = f"in {term.period}" if " " in str(term.period) else f"a {term.period}"
    if term.period == "life":
        window = "in all"
    return Cause(f"{term.scope}, {term.unit} {window}", term.source, term.limit, term.unit.value)


def new_cost(prices: PriceTable, flight: Flight, ended: Ended, then_nanos: int) -> int:
    """What a call costs under the new policies, where it really cost *then_nanos*.

    On another model its usage is priced there, its output as it was, at most a smaller `max_tokens`; where
    there is none, or it has no price there, the cost is in proportion to the ceilings.
    """
    if flight.blocked:
        return 0
    offer = flight.offer
    if offer is None or not then_nanos:
        return then_nanos
    try:
        usage = None if ended.uncertain or not ended.usage else read_usage(ended.usage)
        if usage is not None and not usage.passes:
            most = offer.ceiling.max_tokens if offer.ceiling.max_tokens < flight.call.max_tokens else None
            if most is not None and usage.output_tokens > most:
                usage = replace(usage, output_tokens=most)
            where = prices.served_at(offer.candidate.model, ended.endpoint)
            return cost_nanos(prices, offer.candidate.model, usage, flight.at_ms, endpoint=where)
    except (UnknownModel, ValueError):
        pass  # it has no price served that way
    return min(then_nanos * offer.ceiling.nanos // max(flight.then.nanos, 1), offer.ceiling.nanos)


def expected(call: Began, offer: Offer) -> int:
    """What a call that was refused would have cost: what was expected of it, else its ceiling."""
    told = (nanos for model, _, _, _, nanos in call.offers if model == offer.candidate.model)
    nanos = next(told, None)
    return offer.ceiling.nanos if nanos is None else min(nanos, offer.ceiling.nanos)
