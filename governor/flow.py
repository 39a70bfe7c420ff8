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
from typing import TYPE_CHECKING

from governor.errors import LedgerUnavailable
from governor.journal import records
from governor.ledger import commands as c
from governor.ledger import lifecycle
from governor.story import books, matrix, patience, refusal, views
from governor.story.effects import Abandon, Ended, Notify, Resume, Running, Send, Sleep
from governor.story.planning import key_of, prepare
from governor.story.request import count_for
from governor.story.settlement import Outcome, actual

if TYPE_CHECKING:
    from governor.budgets import Unit
    from governor.story.books import Story
    from governor.story.decision import Decision
    from governor.story.matrix import Offer
    from governor.story.request import House, Plan, Request

log = logging.getLogger("governor")

TTL_BEYOND_SILENCE_S = 60
"""A hold outlives the silence time-out by this much, so that only a dead process lets it expire."""

EXTEND_EVERY_S = 20.0
"""How often the hold of a stream that is still running is extended."""

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
    planned = yield from prepare(house, request)
    yield from books.catch_up(house)
    found = yield from _hold(house, planned)
    if found is None:
        planned = yield from prepare(house, request, at_once=False)
        found = yield from _hold(house, planned)
    held, table, waited_s = found
    decision = views.decision(house, planned, table, held, waited_s)
    ended, attempts = yield from _send(planned, table, held)
    receipt, given_up = yield from _close(house, planned, table, held, decision, ended, attempts)
    yield from books.expire(house, held.due)
    error = ended.error or given_up
    if error is not None:
        raise error
    return ended.message, receipt


def catch_up(house: House) -> Story:
    """Tell the ledger how calls ended that it could not be told of; at the end of a process, say."""
    yield from books.catch_up(house)


def decide(house: House, request: Request) -> Story:
    """What `govern` would decide now; holds nothing, sends nothing, journals nothing."""
    planned = yield from prepare(house, request)
    decision = yield from _judge(house, planned)
    if planned.trial and decision.outcome != "held":
        planned = yield from prepare(house, request, at_once=False)
        decision = yield from _judge(house, planned)
    return decision


def _judge(house: House, planned: Plan) -> Story:
    """The decision on the balances as they are; returns a `Decision`."""
    table = _matrix(house, planned)
    readings = yield c.Read(table.rows)
    house.clock.learn(readings.now_ms)
    if _matrix(house, planned).rows != table.rows:  # the clock was not known yet, or a window has ended
        table = _matrix(house, planned)
        readings = yield c.Read(table.rows)
    house.hints.note(table.rows, readings.balances, readings.now_ms)
    return views.dry_decision(house, planned, table, readings)


def _hold(house: House, planned: Plan) -> Story:
    """Open the hold, waiting while the money is only held; returns `Held`, the matrix and seconds waited.

    A trial is asked for once: `None` where a budget cannot bear it.
    """
    waited_s, moves = 0.0, 0
    call = secrets.token_hex(8)  # so that a second call with this id is told, and not served on this hold
    while True:
        table = _matrix(house, planned)
        left_s = planned.rules.max_wait_s - waited_s
        command = c.Reserve(
            id=planned.request.id,
            budgets=table.rows,
            candidates=table.asks,
            ttl_ms=_ttl_ms(planned),
            charge_on_expiry=planned.rules.on_expiry_charge,
            record=records.reserve(house, planned, table),
            call=call,
            quiet=left_s > 0,
            trial=planned.trial,
        )
        reply = yield from books.reserve(command, table.nothing_used)
        house.clock.learn(reply.now_ms)
        if not isinstance(reply, c.WindowMoved):
            house.hints.note(table.rows, reply.balances, reply.now_ms)
        if isinstance(reply, c.Held):
            return reply, table, waited_s
        if isinstance(reply, c.WindowMoved):
            moves += 1
            if moves > MOST_WINDOW_MOVES:
                raise LedgerUnavailable("the ledger's clock keeps leaving the windows computed for it")
            continue
        if reply.due and (yield from books.expire(house, reply.due)):
            continue
        if planned.trial:
            return None
        wait_s = patience.wait_s(table, reply, left_s)
        if wait_s is None or left_s <= 0:
            raise refusal.error(house, planned, table, reply, waited_s)
        pause_s = min(max(wait_s, random.uniform(*POLL_S)), left_s)  # noqa: S311 - spreads pollers, guards nothing
        yield Sleep(pause_s)
        waited_s += pause_s


def _matrix(house: House, planned: Plan) -> matrix.Matrix:
    models = [offer.candidate.priced_as for offer in planned.tried]
    terms = house.policies.budgets(planned.request.who, models)
    return matrix.build(terms, planned.tried, house.clock.now_ms())


def _ttl_ms(planned: Plan) -> int:
    return int((planned.rules.timeout_s + TTL_BEYOND_SILENCE_S) * 1000)


def _send(planned: Plan, table: matrix.Matrix, held: c.Held) -> Story:
    """Send until it is answered or retrying would not help; returns its end and how often it was sent."""
    body = planned.body(table.offers[held.candidate].candidate)
    extension = c.Extend(planned.request.id, _ttl_ms(planned))
    attempts = 0
    while True:
        attempts += 1
        ended = yield Send(body, planned.rules.timeout_s, EXTEND_EVERY_S)
        while isinstance(ended, Running):
            given_up = yield from books.extend(extension)
            ended = yield (Resume(EXTEND_EVERY_S) if given_up is None else Abandon(given_up))
        if not ended.retriable or attempts > planned.rules.retries:
            return ended, attempts
        pause_s = patience.retry_pause_s(ended, attempts)
        if pause_s is None:
            return ended, attempts
        given_up = (yield from books.extend(extension)) or (yield from books.pause(pause_s))
        given_up = given_up or (yield from books.extend(extension))
        if given_up is not None:
            return replace(ended, error=given_up), attempts


def _close(
    house: House,
    planned: Plan,
    table: matrix.Matrix,
    held: c.Held,
    decision: Decision,
    ended: Ended,
    attempts: int,
) -> Story:
    """End the hold with what was really used; returns the `Receipt`, and what interrupted it."""
    offer = table.offers[held.candidate]
    outcome = actual(house.prices, offer, ended, planned.at_ms, planned.rules.endpoint)
    if outcome.unpriced:
        what = "; ".join(outcome.unpriced)
        log.warning("request %s was charged its whole hold at least: %s", planned.request.id, what)
    record = records.closing(house, planned, offer, outcome, ended, attempts)
    if ended.kind == "refused":
        given_back = table.postings(
            held.candidate, lambda unit, ask: lifecycle.kept_on_release(unit, ask.amount)
        )
        command: c.Settle | c.Release = c.Release(planned.request.id, given_back, record)
    else:
        used = table.postings(held.candidate, lambda unit, ask: _used(unit, ask, outcome))
        command = c.Settle(planned.request.id, used, record)
    closed, given_up = yield from books.close(house, command)
    if closed is not None:
        house.hints.note([one.budget for one in command.postings], closed.balances, closed.now_ms)
    _learn(house, planned, offer, outcome)
    receipt = views.receipt(planned, table, offer, decision, outcome, ended, closed, attempts)
    for crossing in receipt.crossings:
        yield Notify(crossing)
    if closed is not None:
        yield from books.expire(house, closed.due)
    return receipt, given_up


def _learn(house: House, planned: Plan, offer: Offer, outcome: Outcome) -> None:
    """Take in what an answer really used."""
    if outcome.output_tokens is not None and not outcome.unpriced:
        _, counted = count_for(planned.counts, house.prices.model(offer.candidate.model))
        key = key_of(planned.request, offer.candidate, counted=counted)
        house.learned.observe(key, offer.ceiling, outcome.nanos, outcome.output_tokens)


def _used(unit: Unit, ask: c.Ask, outcome: Outcome) -> int:
    used = {"usd": outcome.nanos, "tokens": outcome.tokens, "requests": ask.amount, "concurrent": 0}
    return used[unit.value]
