"""One request's story, written once: price it, whose policy, plan, hold, call, settle.

A call has one leg, or several where the API pushes back (`governor.story.legs`); each is held by itself.

`govern` is a generator. It yields effects (`governor.story.effects` and ledger commands) and is told what
came of them; a driver in `governor.clients` carries them out, blocking or async. This is the only file that
knows the order of things.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from governor.errors import BudgetContended, BudgetExceeded, GovernorError, LedgerDown, LedgerUnavailable
from governor.ledger import commands as c
from governor.story import (
    answering,
    books,
    deferral,
    legs,
    outage,
    patience,
    shrink,
    succession,
    told,
    views,
    violations,
)
from governor.story.effects import Account, Notify, Sleep
from governor.story.endings import ending
from governor.story.holding import MOST_PLANS, hold
from governor.story.inspecting import inspected
from governor.story.offers import key_of
from governor.story.planning import prepare
from governor.story.request import Door, count_for, matrix_of
from governor.story.sending import send

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.story.books import Story
    from governor.story.decision import Decision, Receipt
    from governor.story.effects import Ended, Sent
    from governor.story.endings import Ending
    from governor.story.holding import Asked
    from governor.story.matrix import Matrix, Offer
    from governor.story.patience import Deadline
    from governor.story.request import Admitted, House, Plan, Request
    from governor.story.settlement import Outcome

log = logging.getLogger("governor")


def govern(house: House, request: Request) -> Story:
    """Carry one request through; returns the SDK's message and its `Receipt`.

    Raises:
        GovernorError: It was refused; see `governor.errors`.
        Exception: What the SDK raised, after the hold was settled or released.
    """
    began_ms = house.clock.local_ms()
    request = yield from inspected(house, request)
    planned = yield from _told(house, request, prepare(house, request))
    deadline = patience.Deadline(house.clock, began_ms, planned.rules.deadline_s)
    deferred = deferral.offered(house, planned)
    if deferred is not None:
        yield from _tell(house, lambda: told.refused(house, request, deferred))
        raise deferred
    try:
        planned, admitted = yield from _admit(house, planned, deadline)
    except (BudgetExceeded, BudgetContended) as refused:
        return _instead(house, planned, refused, refused.decision)
    call = legs.Call(planned, request.leg)
    ended, error = yield from _carry(house, call, planned, admitted, deadline)
    receipt = call.receipt()
    if request.door is not Door.CALL:  # whose caller is given it with the message
        yield Account(receipt)
    if error is None:
        answering.keep(house, call.plan, ended.message)
        return ended.message, receipt
    if error is not ended.error or not ended.api_failed:
        raise error
    return _instead(house, call.plan, error, receipt.decision, receipt)


def _carry(house: House, call: legs.Call, planned: Plan, admitted: Admitted, deadline: Deadline) -> Story:
    """Carry an admitted call through its legs; returns its last `Ended`, and what to raise, or `None`."""
    while True:
        decision = call.decided(views.decision(house, planned, admitted))
        ended, sent = yield from send(house, call, planned, admitted, deadline)
        step = call.step(planned, admitted, ended, deadline.left_s())
        onward = "" if step is None else call.next_id
        receipt, given_up = yield from _close(house, planned, admitted, decision, ended, sent, onward)
        call.took(receipt)
        yield from books.expire(house, admitted.held.due)
        if step is None:
            return ended, ended.error or given_up
        if given_up is not None:
            return ended, given_up
        call.leave(admitted, ended, step)
        try:
            planned, admitted = yield from _go_on(house, call, step, deadline)
        except GovernorError as refused:
            return ended, ended.because(refused).error


def _instead(
    house: House, planned: Plan, error: BaseException, decision: Decision, tried: Receipt | None = None
) -> tuple[Any, Receipt]:
    """An earlier answer to the same request, with its receipt, where the policy allows it.

    Raises:
        BaseException: *error*, where there is none.
    """
    kept = answering.find(house, planned)
    if kept is None:
        raise error
    return kept.message, views.kept_receipt(decision, kept, error, tried)


def catch_up(house: House) -> Story:
    """Tell the ledger how calls ended that it could not be told of, and give leases back; at the end, say."""
    away = yield from books.catch_up(house)
    if away is None:
        yield from outage.give_back_all(house)


def decide(house: House, request: Request) -> Story:
    """What `govern` would decide now; holds nothing, sends nothing, journals nothing."""
    planned = yield from prepare(house, request)
    try:
        outage.wait_for_turn(house, planned)
        weighed = yield from _judge(house, planned)
        if planned.trial and weighed.decision.outcome != "held":
            planned = yield from prepare(house, request, at_once=False)
            weighed = yield from _judge(house, planned)
    except LedgerUnavailable as down:
        if planned.rules.enforced and not isinstance(down, LedgerDown):
            raise
        return views.unasked_decision(house, planned, outage.admit(house, planned, down, dry=True))
    return _deferred(house, planned, weighed).decision


def weigh(house: House, planned: Plan) -> Story:
    """As `decide` of a plan, and of a ledger that is there; returns all that decided, as `Weighed`."""
    weighed = yield from _judge(house, planned)
    return _deferred(house, planned, weighed)


class Weighed(NamedTuple):
    """A decision on balances as they were read, and what it was made of.

    Attributes:
        planned: The request as it was decided on.
        table: Its budgets, and what it asks of them.
        readings: Their balances.
        decision: The decision.
        larger: Where a smaller `max_tokens` is served: the refusal of the one that was asked for.
    """

    planned: Plan
    table: Matrix
    readings: c.Readings
    decision: Decision
    larger: Weighed | None = None


def _deferred(house: House, planned: Plan, weighed: Weighed) -> Weighed:
    """The same, or that the request is offered the Batches API before any budget is asked."""
    deferred = deferral.offered(house, planned)
    if deferred is None:
        return weighed
    told = replace(weighed.decision, outcome="deferred", model=None, line=None, reason=str(deferred))
    return weighed._replace(decision=told)


def _judge(house: House, planned: Plan) -> Story:
    """The decision on the balances as they are; returns `Weighed`."""
    table = matrix_of(house, planned)
    readings = yield from books.ask(house, c.Read(table.rows))
    house.clock.learn(readings.now_ms)
    if matrix_of(house, planned).rows != table.rows:  # the clock was not known yet, or a window has ended
        table = matrix_of(house, planned)
        readings = yield from books.ask(house, c.Read(table.rows))
    house.hints.note(table.rows, readings.balances, readings.now_ms)
    told = views.dry_decision(house, planned, table, readings)
    weighed = Weighed(planned, table, readings, told)
    smaller = None if told.outcome == "held" else shrink.smaller(house, planned, table, readings.balances)
    if smaller is None:
        return weighed
    known = {row.identity: balance for row, balance in zip(table.rows, readings.balances, strict=True)}
    table = matrix_of(house, smaller)
    readings = replace(readings, balances=tuple(known[row.identity] for row in table.rows))
    told = views.dry_decision(house, smaller, table, readings)
    return Weighed(smaller, table, readings, told, weighed)


def _go_on(house: House, call: legs.Call, step: legs.Step, deadline: Deadline) -> Story:
    """Begin the call's next leg; returns its plan and `Admitted`. Nothing is held meanwhile.

    Raises:
        GovernorError: The ledger, or the policy, lets no other one begin.
    """
    while True:
        if step.pause_s:
            yield Sleep(step.pause_s)
        try:
            if step.why is legs.Why.SUCCESSOR:
                planned = yield from _succeed(house, call, step)
            else:
                planned = call.onward(step)
            return (yield from _admit(house, planned, deadline))
        except GovernorError as refused:
            unasked = isinstance(refused, LedgerUnavailable)
            back = None if unasked else call.after_refusal(step, deadline.left_s())
            if back is None:
                raise
            step = back


def _succeed(house: House, call: legs.Call, step: legs.Step) -> Story:
    """Plan the leg of a model's successor, and say so; returns the `Plan`."""
    asked = replace(call.plan.request, asked=step.successor, pin=True)
    found = yield from _told(house, asked, prepare(house, asked, at_once=False))
    planned = call.succeeded(step, found)
    yield from succession.tell(
        house, step.gone, planned.offers[0].candidate.model, "the API does not know it"
    )
    return planned


def _admit(house: House, planned: Plan, deadline: Deadline) -> Story:
    """Have a leg held, or let through as the policy says where the ledger is away.

    Returns the plan it was let through for, and `Admitted`.
    """
    return (yield from _told(house, planned.request, _let_through(house, planned, deadline)))


def _let_through(house: House, planned: Plan, deadline: Deadline) -> Story:
    """As `_admit`, which tells what other than a budget refuses the leg."""
    asked: list[Asked] = []
    try:
        return (yield from _ask(house, planned, asked, deadline))
    except (BudgetExceeded, BudgetContended) as refused:
        latest, error = asked[-1], refused
        yield from _tell(house, lambda: told.blocked(house, latest.planned, latest.table, error))
        raise
    except LedgerUnavailable as down:
        if planned.rules.enforced and not isinstance(down, LedgerDown):
            raise
        unanswered = asked[-1].table if asked else None
        return planned, (yield from outage.through(house, planned, down, unanswered))


def _ask(house: House, planned: Plan, asked: list[Asked], deadline: Deadline) -> Story:
    """Have the ledger hold what the request may cost; returns the plan it was held for, and `Admitted`.

    What was asked is added to *asked*; where no answer came, it is the last.
    """
    outage.wait_for_turn(house, planned)
    away = yield from books.catch_up(house)
    if away is not None and outage.lenient(house, planned):
        raise away
    for _ in range(MOST_PLANS):
        found = yield from hold(house, planned, asked, deadline)
        if found is not None:
            return found
        planned = yield from prepare(house, planned.request, at_once=False)
    raise LedgerUnavailable("the ledger's orders keep changing while this request is planned: try again")


def _close(
    house: House,
    planned: Plan,
    admitted: Admitted,
    decision: Decision,
    ended: Ended,
    sent: Sent,
    onward: str,
) -> Story:
    """End a leg's hold with what was really used; returns its `Receipt`, and what interrupted it.

    *onward* is the id of the next leg; '' where the call is over.
    """
    end = ending(house, planned, admitted, ended, sent, onward)
    if end.outcome.unpriced:
        what = "; ".join(end.outcome.unpriced)
        log.warning("request %s was charged its whole hold at least: %s", planned.request.id, what)
    lenient = outage.lenient(house, planned)
    closed, given_up = yield from books.close(
        house, end.command, lenient=lenient, owed=admitted.how != "held"
    )
    if admitted.draw is not None:
        house.leases.end(admitted.draw, end.outcome.nanos)
    if closed is not None:
        house.hints.note([one.budget for one in end.command.postings], closed.balances, closed.now_ms)
    _learn(house, planned, end.offer, end.outcome)
    _note(house, planned, ended, end)
    receipt = views.receipt(
        planned, admitted.table, end.offer, decision, end.outcome, ended, closed, sent.attempts
    )
    yield from _tell(house, lambda: told.ended(house, planned, admitted, end, ended, sent, closed, onward))
    for crossing in receipt.crossings:
        yield Notify(crossing)
    if closed is not None:
        yield from books.expire(house, closed.due)
        yield from outage.keep_lease(house, planned, end, closed)
    return receipt, given_up


def _told(house: House, request: Request, story: Story) -> Story:
    """What *story* returns; what refuses the request in it, but a budget, is told."""
    try:
        return (yield from story)
    except (BudgetExceeded, BudgetContended):
        raise
    except GovernorError as refused:
        error = refused
        yield from _tell(house, lambda: told.refused(house, request, error))
        yield from violations.note(house, request, error)
        raise


def _tell(house: House, made: Callable[[], told.Tell]) -> Story:
    """Have whoever listens told what *made* makes."""
    if house.tells:
        yield made()


def _note(house: House, planned: Plan, ended: Ended, end: Ending) -> None:
    """Take in which model a conversation is on now."""
    request, now_ms = planned.request, house.clock.now_ms()
    if ended.kind == "answered" and not request.pin:
        house.conversations.note(
            request.who,
            request.body,
            (request.asked, request.tier),
            end.offer.candidate,
            end.outcome.usage,
            now_ms,
            swapped=end.offer.candidate.model != planned.preferred,
            planned_ms=planned.at_ms,
        )


def _learn(house: House, planned: Plan, offer: Offer, outcome: Outcome) -> None:
    """Take in what an answer really used."""
    if outcome.output_tokens is not None and not outcome.unpriced and not planned.unpriced:
        _, counted = count_for(planned.counts, house.prices.model(offer.candidate.model))
        key = key_of(planned.request, offer.candidate, counted=counted)
        house.learned.observe(key, offer.ceiling, outcome.nanos, outcome.output_tokens)
