"""One request's story, written once: price it, whose policy, plan, hold, call, settle.

`govern` is a generator. It yields effects (`governor.story.effects` and ledger commands) and is told what
came of them; a driver in `governor.clients` carries them out, blocking or async. This is the only file that
knows the order of things.
"""

from __future__ import annotations

import logging
import random
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from governor.errors import LedgerDown, LedgerUnavailable, ReservationConflict
from governor.journal import records
from governor.ledger import commands as c
from governor.story import books, outage, patience, refusal, views
from governor.story.effects import Abandon, Ended, Notify, Resume, Running, Send, Sleep
from governor.story.endings import ending
from governor.story.planning import key_of, prepare
from governor.story.request import Admitted, count_for, matrix_of

if TYPE_CHECKING:
    from governor.story.books import Story
    from governor.story.decision import Decision
    from governor.story.matrix import Matrix, Offer
    from governor.story.patience import Deadline
    from governor.story.request import House, Plan, Request
    from governor.story.settlement import Outcome

log = logging.getLogger("governor")

TTL_BEYOND_SILENCE_S = 60
"""A hold outlives the silence time-out by this much, so that only a dead process lets it expire."""

EXTEND_EVERY_S = 20.0
"""How often the hold of a stream that is still running is extended."""

SHORTEST_SILENCE_S = 0.1
"""However little is left of a deadline, so long an answer may be silent."""

POLL_S = (0.05, 0.5)
"""Shortest and longest wait between two looks at a contended budget; each is drawn at random below."""

MOST_WINDOW_MOVES = 8
"""A window that ends between computing and asking is asked again; more often than this is no coincidence."""


def govern(house: House, request: Request) -> Story:
    """Carry one request through; returns the SDK's message and its `Receipt`.

    Raises:
        GovernorError: It was refused; see `governor.errors`.
        Exception: What the SDK raised, after the hold was settled or released.
    """
    began_ms = house.clock.local_ms()
    planned = yield from prepare(house, request)
    deadline = patience.Deadline(house.clock, began_ms, planned.rules.deadline_s)
    asked: list[Asked] = []
    try:
        planned, admitted = yield from _ask(house, planned, asked, deadline)
    except LedgerUnavailable as down:
        if planned.rules.enforced and not isinstance(down, LedgerDown):
            raise
        unanswered = asked[-1].table if asked else None
        admitted = yield from outage.through(house, planned, down, unanswered)
    decision = views.decision(house, planned, admitted)
    ended, attempts = yield from _send(house, planned, admitted, deadline)
    receipt, given_up = yield from _close(house, planned, admitted, decision, ended, attempts)
    yield from books.expire(house, admitted.held.due)
    error = ended.error or given_up
    if error is not None:
        raise error
    return ended.message, receipt


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
    return weighed.decision


def weigh(house: House, request: Request) -> Story:
    """As `decide` of a ledger that is there, its prompt counted; returns all that decided, as `Weighed`."""
    planned = yield from prepare(house, request, at_once=False)
    return (yield from _judge(house, planned))


class Weighed(NamedTuple):
    """A decision on balances as they were read, and what it was made of."""

    planned: Plan
    table: Matrix
    readings: c.Readings
    decision: Decision


def _judge(house: House, planned: Plan) -> Story:
    """The decision on the balances as they are; returns `Weighed`."""
    table = matrix_of(house, planned)
    readings = yield from books.ask(house, c.Read(table.rows))
    house.clock.learn(readings.now_ms)
    if matrix_of(house, planned).rows != table.rows:  # the clock was not known yet, or a window has ended
        table = matrix_of(house, planned)
        readings = yield from books.ask(house, c.Read(table.rows))
    house.hints.note(table.rows, readings.balances, readings.now_ms)
    return Weighed(planned, table, readings, views.dry_decision(house, planned, table, readings))


def _ask(house: House, planned: Plan, asked: list[Asked], deadline: Deadline) -> Story:
    """Have the ledger hold what the request may cost; returns the plan it was held for, and `Admitted`.

    What was asked is added to *asked*; where no answer came, it is the last.
    """
    outage.wait_for_turn(house, planned)
    away = yield from books.catch_up(house)
    if away is not None and outage.lenient(house, planned):
        raise away
    found = yield from _hold(house, planned, asked, deadline)
    if found is None:
        planned = yield from prepare(house, planned.request, at_once=False)
        found = yield from _hold(house, planned, asked, deadline)
    return found


class Asked(NamedTuple):
    """A reserve, and what it was made of."""

    planned: Plan
    table: Matrix
    command: c.Reserve


def _hold(house: House, planned: Plan, asked: list[Asked], deadline: Deadline) -> Story:
    """Open the hold, waiting while the money is only held; returns the plan held for, and `Admitted`.

    A trial is asked for once: `None` where a budget cannot bear it.
    """
    waited_s, moves = 0.0, 0
    looked: set[str] = set()
    call = secrets.token_hex(8)  # so that a second call with this id is told, and not served on this hold
    while True:
        left_s = min(planned.rules.max_wait_s - waited_s, deadline.left_s())
        latest = _asking(house, planned, call, quiet=left_s > 0)
        (planned, table, _), reply = yield from _put(house, latest, asked)
        house.clock.learn(reply.now_ms)
        if isinstance(reply, c.WindowMoved):
            moves += 1
            if moves > MOST_WINDOW_MOVES:
                raise LedgerUnavailable("the ledger's clock keeps leaving the windows computed for it")
            continue
        house.hints.note(table.rows, reply.balances, reply.now_ms)
        if isinstance(reply, c.Held):
            return planned, Admitted(table, reply, waited_s)
        due = {hold.id for hold in reply.due}
        if (yield from books.expire(house, reply.due)) and not due <= looked:
            looked |= due
            continue
        if planned.trial:
            return None
        wait_s = patience.wait_s(table, reply, left_s)
        if wait_s is None or left_s <= 0:
            raise refusal.error(house, planned, table, reply, waited_s)
        pause_s = min(max(wait_s, random.uniform(*POLL_S)), left_s)  # noqa: S311 - spreads pollers, guards nothing
        yield Sleep(pause_s)
        waited_s += pause_s


def _asking(house: House, planned: Plan, call: str, *, quiet: bool) -> Asked:
    """The reserve of a plan, in the windows of now."""
    table = matrix_of(house, planned)
    command = c.Reserve(
        id=planned.request.id,
        budgets=table.rows,
        candidates=table.asks,
        ttl_ms=_ttl_ms(planned),
        charge_on_expiry=planned.rules.on_expiry_charge,
        record=records.reserve(house, planned, table),
        call=call,
        quiet=quiet,
        trial=planned.trial is not None,
    )
    return Asked(planned, table, command)


def _put(house: House, latest: Asked, asked: list[Asked]) -> Story:
    """Ask the ledger; returns what was asked and its reply.

    A late copy of an earlier asking may have opened the hold meanwhile, in its own windows or as the trial it
    was: then that asking is the one that is answered.
    """
    tried = (latest, *reversed(asked))
    for one in tried:
        try:
            reply = yield from books.reserve(house, one.command, one.table.nothing_used)
        except ReservationConflict:
            continue
        except LedgerUnavailable:
            asked.append(one)
            raise
        if not asked or asked[-1].table.rows != one.table.rows or asked[-1].planned is not one.planned:
            asked.append(one)
        return one, reply
    raise ReservationConflict(f"request id {latest.command.id!r} was used before, for another call")


def _ttl_ms(planned: Plan) -> int:
    return int((planned.rules.timeout_s + TTL_BEYOND_SILENCE_S) * 1000)


def _send(house: House, planned: Plan, admitted: Admitted, deadline: Deadline) -> Story:
    """Send until it is answered or retrying would not help; returns its end and how often it was sent."""
    body = planned.body(admitted.table.offers[admitted.held.candidate].candidate)
    extension = c.Extend(planned.request.id, _ttl_ms(planned)) if admitted.how == "held" else None
    attempts = 0
    late = deadline.over()
    if late is not None:  # counting the prompt and waiting took it all
        return Ended("refused", error=late), attempts
    while True:
        attempts += 1
        silence_s = max(min(planned.rules.timeout_s, deadline.left_s()), SHORTEST_SILENCE_S)
        ended = yield Send(body, silence_s, min(EXTEND_EVERY_S, deadline.left_s()))
        while isinstance(ended, Running):
            given_up = (yield from books.extend(house, extension)) or deadline.over()
            again = Resume(min(EXTEND_EVERY_S, deadline.left_s()))
            ended = yield (again if given_up is None else Abandon(given_up))
        if not ended.retriable or attempts > planned.rules.retries:
            return deadline.told(ended), attempts
        pause_s = patience.retry_pause_s(ended, attempts)
        if pause_s is None or pause_s >= deadline.left_s():
            return ended, attempts
        given_up = (yield from books.extend(house, extension)) or (yield from books.pause(pause_s))
        given_up = given_up or (yield from books.extend(house, extension))
        if given_up is not None:
            return replace(ended, error=given_up), attempts


def _close(
    house: House, planned: Plan, admitted: Admitted, decision: Decision, ended: Ended, attempts: int
) -> Story:
    """End the hold with what was really used; returns the `Receipt`, and what interrupted it."""
    end = ending(house, planned, admitted, ended, attempts)
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
    receipt = views.receipt(
        planned, admitted.table, end.offer, decision, end.outcome, ended, closed, attempts
    )
    for crossing in receipt.crossings:
        yield Notify(crossing)
    if closed is not None:
        yield from books.expire(house, closed.due)
        yield from outage.keep_lease(house, planned, end, closed)
    return receipt, given_up


def _learn(house: House, planned: Plan, offer: Offer, outcome: Outcome) -> None:
    """Take in what an answer really used."""
    if outcome.output_tokens is not None and not outcome.unpriced and not planned.unpriced:
        _, counted = count_for(planned.counts, house.prices.model(offer.candidate.model))
        key = key_of(planned.request, offer.candidate, counted=counted)
        house.learned.observe(key, offer.ceiling, outcome.nanos, outcome.output_tokens)
