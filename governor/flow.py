"""One request's story, written once: price it, whose policy, plan, hold, call, settle.

`govern` is a generator. It yields effects (`governor.story.effects` and ledger commands) and is told what
came of them; a driver in `governor.clients` carries them out, blocking or async. This is the only file that
knows the order of things.
"""

from __future__ import annotations

import logging
import random
import secrets
from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from governor.errors import LedgerUnavailable, PolicyViolation, UnknownModel
from governor.journal import records
from governor.ledger import commands as c
from governor.ledger import lifecycle
from governor.money import Money
from governor.pricing import ceiling, countable, local_bound
from governor.routing import plan
from governor.story import matrix, patience, refusal, views
from governor.story.effects import CountTokens, Ended, Notify, Resume, Running, Send, Sleep
from governor.story.request import Plan
from governor.story.settlement import Outcome, actual

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.budgets import Unit
    from governor.policy import Rules
    from governor.routing import Candidate
    from governor.story.decision import Decision
    from governor.story.request import House, Request

log = logging.getLogger("governor")

Story = Generator[Any, Any, Any]

TTL_BEYOND_SILENCE_S = 60
"""A hold outlives the silence time-out by this much, so that only a dead process lets it expire."""

EXTEND_EVERY_S = 20.0
"""How often the hold of a stream that is still running is extended."""

POLL_S = (0.05, 0.5)
"""Shortest and longest wait between two looks at a contended budget; each is drawn at random below."""

RESERVE_AGAIN_S = 0.1
"""After a reserve without a reply, it is asked once more: the same id and payload give the same answer."""

SETTLE_TRIES = 3

MOST_WINDOW_MOVES = 8
"""A window that ends between computing and asking is asked again; more often than this is no coincidence."""


def govern(house: House, request: Request) -> Story:
    """Carry one request through; returns the SDK's message and its `Receipt`.

    Raises:
        GovernorError: It was refused; see `governor.errors`.
        Exception: What the SDK raised, after the hold was settled or released.
    """
    planned = yield from prepare(house, request)
    held, table, waited_s = yield from _hold(house, planned)
    decision = views.decision(house, planned, table, held, waited_s)
    ended, attempts = yield from _send(planned, table, held)
    receipt = yield from _close(house, planned, table, held, decision, ended, attempts)
    yield from _expire(house, held.due)
    if ended.error is not None:
        raise ended.error
    return ended.message, receipt


def decide(house: House, request: Request) -> Story:
    """What `govern` would decide now; holds nothing, sends nothing, journals nothing."""
    planned = yield from prepare(house, request)
    table = _matrix(house, planned)
    readings = yield c.Read(table.rows)
    house.clock.learn(readings.now_ms)
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
        line_of=lambda model: house.prices.model(model).line,
    )
    max_tokens = _max_tokens(request, rules)
    counts = yield from _count(house, request, candidates)
    at_ms = house.clock.now_ms()
    body = {**request.body, "max_tokens": max_tokens}
    offers = _offers(house, rules, candidates, counts, body, at_ms)
    tokens, counted = counts[house.prices.model(candidates[0].model).tokenizer]
    _check_input(rules, tokens)
    return Plan(
        request=request,
        rules=rules,
        offers=tuple(offer for offer in offers if not offer.skipped) or refusal.too_costly(rules, offers),
        skipped=tuple(offer for offer in offers if offer.skipped),
        max_tokens=max_tokens,
        input_tokens=tokens,
        estimate="count_tokens" if counted else "local bound",
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


def _check_input(rules: Rules, tokens: int) -> None:
    if rules.input_tokens is not None and tokens > rules.input_tokens:
        raise PolicyViolation(
            f"the prompt has some {tokens:,} tokens, limits.input_tokens is {rules.input_tokens:,}"
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
        reply = yield from _reserve(
            c.Reserve(
                id=planned.request.id,
                budgets=table.rows,
                candidates=table.asks,
                ttl_ms=_ttl_ms(planned),
                charge_on_expiry=planned.rules.on_expiry_charge,
                record=records.reserve(house, planned, table),
                call=call,
            )
        )
        house.clock.learn(reply.now_ms)
        if isinstance(reply, c.Held):
            return reply, table, waited_s
        if isinstance(reply, c.WindowMoved):
            moves += 1
            if moves > MOST_WINDOW_MOVES:
                raise LedgerUnavailable("the ledger's clock keeps leaving the windows computed for it")
            continue
        if reply.due and (yield from _expire(house, reply.due)):
            continue
        left_s = planned.rules.max_wait_s - waited_s
        wait_s = patience.wait_s(table, reply, left_s)
        if wait_s is None or left_s <= 0:
            raise refusal.error(house, planned, table, reply, waited_s)
        pause_s = min(max(wait_s, random.uniform(*POLL_S)), left_s)  # noqa: S311 - spreads pollers, guards nothing
        yield Sleep(pause_s)
        waited_s += pause_s


def _reserve(command: c.Reserve) -> Story:
    """Ask the ledger; once more if no reply came, since a hold whose reply was lost would expire charged."""
    try:
        return (yield command)
    except LedgerUnavailable:
        yield Sleep(RESERVE_AGAIN_S)
        return (yield command)


def _matrix(house: House, planned: Plan) -> matrix.Matrix:
    models = [offer.candidate.model for offer in planned.offers]
    terms = house.policies.budgets(planned.request.who, models)
    return matrix.build(terms, planned.offers, house.clock.now_ms())


def _ttl_ms(planned: Plan) -> int:
    return int((planned.rules.timeout_s + TTL_BEYOND_SILENCE_S) * 1000)


def _send(planned: Plan, table: matrix.Matrix, held: c.Held) -> Story:
    """Send until it is answered or retrying would not help; returns its end and how often it was sent."""
    body = planned.body(table.offers[held.candidate].candidate)
    attempts = 0
    while True:
        attempts += 1
        ended = yield Send(body, planned.rules.timeout_s, EXTEND_EVERY_S)
        while isinstance(ended, Running):
            yield from _extend(planned, table, held)
            ended = yield Resume(EXTEND_EVERY_S)
        if not ended.retriable or attempts > planned.rules.retries:
            return ended, attempts
        pause_s = patience.retry_pause_s(ended, attempts)
        if pause_s is None:
            return ended, attempts
        yield from _extend(planned, table, held)
        given_up = yield from _pause(pause_s)
        if given_up is not None:
            return replace(ended, error=given_up), attempts
        yield from _extend(planned, table, held)


def _extend(planned: Plan, table: matrix.Matrix, held: c.Held) -> Story:
    """Give the hold more time; if the ledger is away, the hold expires charged and settles late."""
    try:
        yield c.Extend(planned.request.id, _touched(table, held), _ttl_ms(planned))
    except LedgerUnavailable:
        return


def _touched(table: matrix.Matrix, held: c.Held) -> tuple[c.BudgetRow, ...]:
    pairs = zip(table.rows, table.asks[held.candidate], strict=True)
    return tuple(row for row, ask in pairs if ask is not None)


def _close(
    house: House,
    planned: Plan,
    table: matrix.Matrix,
    held: c.Held,
    decision: Decision,
    ended: Ended,
    attempts: int,
) -> Story:
    """End the hold with what was really used; returns the `Receipt`."""
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
    closed = yield from _insist(command)
    receipt = views.receipt(planned, table, offer, decision, outcome, ended, closed, attempts)
    for crossing in receipt.crossings:
        yield Notify(crossing)
    if closed is not None:
        yield from _expire(house, closed.due)
    return receipt


def _used(unit: Unit, ask: c.Ask, outcome: Outcome) -> int:
    used = {"usd": outcome.nanos, "tokens": outcome.tokens, "requests": ask.amount, "concurrent": 0}
    return used[unit.value]


def _insist(command: c.Settle | c.Release) -> Story:
    """Close the hold, trying again while the ledger is away; `None` if it stays away.

    The money is spent whether or not the ledger hears of it, so the caller still gets the answer; the hold
    will be charged whole when it expires.
    """
    given_up: BaseException | None = None
    for attempt in range(SETTLE_TRIES):
        try:
            closed = yield command
        except LedgerUnavailable:
            if attempt + 1 < SETTLE_TRIES:
                given_up = (yield from _pause(0.1 * 4**attempt)) or given_up
            continue
        if given_up is not None:
            raise given_up
        return closed
    log.error(
        "the ledger could not be told how request %s ended: its hold is charged when it expires", command.id
    )
    if given_up is not None:
        raise given_up
    return None


def _pause(seconds: float) -> Story:
    """Wait; returns what ended the wait early (Ctrl-C, a cancellation), for the hold must be closed first."""
    try:
        yield Sleep(seconds)
    except GeneratorExit:
        raise
    except BaseException as error:  # noqa: BLE001 - it is raised once the hold is closed
        return error
    return None


def _expire(house: House, due: tuple[c.DueHold, ...]) -> Story:
    """Close holds of dead processes that a reply named; returns whether any was closed."""
    if not due:
        return False
    try:
        expired = yield c.Expire(due)
    except LedgerUnavailable:
        return False
    for crossing in expired.crossings:
        yield Notify(views.threshold(house.policies.limit_of(crossing.identity), crossing))
    return bool(expired.ids)
