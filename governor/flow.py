"""One request's story, written once: price it, whose policy, plan, hold, call, settle.

`govern` is a generator. It yields effects (`governor.story.effects` and ledger commands) and is told what
came of them; a driver in `governor.clients` carries them out, blocking or async. This is the only file that
knows the order of things.
"""

from __future__ import annotations

import random
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from governor.errors import LedgerUnavailable, PolicyViolation, UnknownModel
from governor.journal import records
from governor.ledger import commands as c
from governor.ledger import lifecycle
from governor.money import Money
from governor.pricing import ceiling, countable, local_bound
from governor.routing import plan
from governor.story import books, matrix, patience, refusal, views
from governor.story.effects import Abandon, CountTokens, Ended, Notify, Resume, Running, Send, Sleep
from governor.story.request import Plan
from governor.story.settlement import Outcome, actual

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.budgets import Unit
    from governor.policy import Rules
    from governor.routing import Candidate
    from governor.story.books import Story
    from governor.story.decision import Decision
    from governor.story.request import House, Request

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
    held, table, waited_s = yield from _hold(house, planned)
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
    table = _matrix(house, planned)
    readings = yield c.Read(table.rows)
    house.clock.learn(readings.now_ms)
    if _matrix(house, planned).rows != table.rows:  # the clock was not known yet, or a window has ended
        table = _matrix(house, planned)
        readings = yield c.Read(table.rows)
    return views.dry_decision(house, planned, table, readings)


def prepare(house: House, request: Request) -> Story:
    """Price the request on every model that would do; returns a `Plan`.

    Raises:
        PolicyViolation: Unknown department, user or feature; no bound on the output; larger than the
            policy's `cost_per_request` or `input_tokens` on every model.
        UnknownModel: A model without a price.
    """
    rules = house.policies.rules(request.who)
    candidates = plan(
        request.asked,
        pin=request.pin,
        lines=rules.lines,
        default=rules.default,
        preferred_line=rules.preferred_line,
        feature_lines=rules.feature_lines,
        look_up=lambda name: (house.prices.model(name).line, house.prices.model(name).id),
    )
    max_tokens = _max_tokens(request, rules)
    counts = yield from _count(house, request, candidates)
    at_ms = house.clock.now_ms()
    body = {**request.body, "max_tokens": max_tokens}
    offers = _offers(house, rules, candidates, counts, body, at_ms)
    tokens, counted = counts[house.prices.model(candidates[0].model).tokenizer]
    _check_input(rules, tokens, counted=counted)
    return Plan(
        request=request,
        rules=rules,
        offers=tuple(offer for offer in offers if not offer.skipped) or refusal.too_costly(rules, offers),
        skipped=tuple(offer for offer in offers if offer.skipped),
        max_tokens=max_tokens,
        input_tokens=tokens,
        estimate="count_tokens" if counted else "local bound",
        counts=counts,
        at_ms=at_ms,
    )


def _offers(
    house: House,
    rules: Rules,
    candidates: tuple[Candidate, ...],
    counts: Mapping[int, tuple[int, bool]],
    body: Mapping[str, Any],
    at_ms: int,
) -> list[matrix.Offer]:
    """The candidates with their prices, without the steps down that cannot serve this way (fast, region)."""
    offers: list[matrix.Offer] = []
    for candidate in candidates:
        tokens, counted = counts[house.prices.model(candidate.model).tokenizer]
        try:
            bound = ceiling(
                house.prices, candidate.model, input_tokens=tokens, counted=counted, body=body, at_ms=at_ms
            )
        except UnknownModel:
            if not offers:
                raise
            continue
        offers.append(matrix.Offer(candidate, bound, _ruled_out(rules, bound.nanos)))
    return offers


def _max_tokens(request: Request, rules: Rules) -> int:
    """The caller's `max_tokens`, never above the feature's; the feature's where the caller gives none."""
    most = rules.feature_max_tokens
    if request.max_tokens is None:
        if most is None:
            raise PolicyViolation(
                "max_tokens is missing: give it, or a `max_tokens` to the feature in the policy file, "
                "so that the answer's cost has a bound"
            )
        return most
    return request.max_tokens if most is None else min(request.max_tokens, most)


def _ruled_out(rules: Rules, nanos: int) -> str:
    most = rules.cost_per_request_nanos
    if most is None or nanos <= most:
        return ""
    return f"may cost {Money(nanos)}, above the policy's {Money(most)} a request"


def _check_input(rules: Rules, tokens: int, *, counted: bool) -> None:
    if rules.input_tokens is not None and tokens > rules.input_tokens:
        has = "has some" if counted else "could not be counted, and may have up to"
        raise PolicyViolation(
            f"the prompt {has} {tokens:,} tokens, limits.input_tokens is {rules.input_tokens:,}"
        )


def _count(house: House, request: Request, candidates: tuple[Candidate, ...]) -> Story:
    """Tokens of the prompt, and whether they were counted, for each tokenizer among the candidates."""
    counts: dict[int, tuple[int, bool]] = {}
    for candidate in candidates:
        model = house.prices.model(candidate.model)
        if model.tokenizer in counts:
            continue
        body = {**request.body, "model": candidate.model}
        question = countable(body)
        tokens: int | None = None if question is None else (yield CountTokens(question))
        if tokens is None:
            counts[model.tokenizer] = (local_bound(body, model.context_tokens), False)
        else:
            counts[model.tokenizer] = (tokens, True)
    return counts


def _hold(house: House, planned: Plan) -> Story:
    """Open the hold, waiting while the money is only held; returns `Held`, the matrix and seconds waited."""
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
        )
        reply = yield from books.reserve(command, table.nothing_used)
        house.clock.learn(reply.now_ms)
        if isinstance(reply, c.Held):
            return reply, table, waited_s
        if isinstance(reply, c.WindowMoved):
            moves += 1
            if moves > MOST_WINDOW_MOVES:
                raise LedgerUnavailable("the ledger's clock keeps leaving the windows computed for it")
            continue
        if reply.due and (yield from books.expire(house, reply.due)):
            continue
        wait_s = patience.wait_s(table, reply, left_s)
        if wait_s is None or left_s <= 0:
            raise refusal.error(house, planned, table, reply, waited_s)
        pause_s = min(max(wait_s, random.uniform(*POLL_S)), left_s)  # noqa: S311 - spreads pollers, guards nothing
        yield Sleep(pause_s)
        waited_s += pause_s


def _matrix(house: House, planned: Plan) -> matrix.Matrix:
    models = [offer.candidate.priced_as for offer in planned.offers]
    terms = house.policies.budgets(planned.request.who, models)
    return matrix.build(terms, planned.offers, house.clock.now_ms())


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
    outcome = actual(house.prices, offer, ended, planned.at_ms)
    record = records.closing(planned, offer, outcome, ended, attempts)
    if ended.kind == "refused":
        given_back = table.postings(
            held.candidate, lambda unit, ask: lifecycle.kept_on_release(unit, ask.amount)
        )
        command: c.Settle | c.Release = c.Release(planned.request.id, given_back, record)
    else:
        used = table.postings(held.candidate, lambda unit, ask: _used(unit, ask, outcome))
        command = c.Settle(planned.request.id, used, record)
    closed, given_up = yield from books.close(house, command)
    receipt = views.receipt(planned, table, offer, decision, outcome, ended, closed, attempts)
    for crossing in receipt.crossings:
        yield Notify(crossing)
    if closed is not None:
        yield from books.expire(house, closed.due)
    return receipt, given_up


def _used(unit: Unit, ask: c.Ask, outcome: Outcome) -> int:
    used = {"usd": outcome.nanos, "tokens": outcome.tokens, "requests": ask.amount, "concurrent": 0}
    return used[unit.value]
