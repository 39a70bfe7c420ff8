"""Have the ledger hold what a request may cost: waiting while money is only held, smaller before refused."""

from __future__ import annotations

import random
import secrets
from typing import TYPE_CHECKING, NamedTuple

from governor.errors import LedgerUnavailable, ReservationConflict
from governor.journal import records
from governor.ledger import commands as c
from governor.story import batches, books, patience, refusal, shrink
from governor.story.effects import Sleep
from governor.story.request import Admitted, Door, matrix_of

if TYPE_CHECKING:
    from governor.story.books import Story
    from governor.story.matrix import Matrix
    from governor.story.patience import Deadline
    from governor.story.request import House, Plan

TTL_BEYOND_SILENCE_S = 60
"""A hold outlives the silence time-out by this much, so that only a dead process lets it expire."""

POLL_S = (0.05, 0.5)
"""Shortest and longest wait between two looks at a contended budget; each is drawn at random below."""

MOST_WINDOW_MOVES = 8
"""A window that ends between computing and asking is asked again; more often than this is no coincidence."""


MOST_PLANS = 8
"""A request is planned anew where a trial fails or orders were given; more often is no coincidence."""


class Asked(NamedTuple):
    """A reserve, and what it was made of."""

    planned: Plan
    table: Matrix
    command: c.Reserve


def hold(
    house: House, planned: Plan, asked: list[Asked], deadline: Deadline, *, at_once: bool = False
) -> Story:
    """Open the hold, waiting while the money is only held; returns the plan held for, and `Admitted`.

    `None` where there are orders that it was not planned by, be it another request that heard of them: these
    are known now, and it must be planned anew. A trial is asked for once, and so is any plan with *at_once*:
    `None` where a budget cannot bear it, which goes unrecorded. What no budget bears is made smaller where
    the policy says so, before it is refused; what was asked is added to *asked*.

    Raises:
        BudgetExceeded, BudgetContended: It was refused.
        LedgerUnavailable: The ledger does not answer.
    """
    waited_s, moves, shrunk = 0.0, 0, 0
    looked: set[str] = set()
    call = secrets.token_hex(8)  # so that a second call with this id is told, and not served on this hold
    may_shrink = shrink.allowed(planned)
    while _heard(house, planned) == house.orders.version:
        left_s = min(planned.rules.max_wait_s - waited_s, deadline.left_s())
        latest = _asking(house, planned, call, quiet=left_s > 0, unrecorded=may_shrink or at_once)
        (planned, table, _), reply = yield from _put(house, latest, asked)
        house.clock.learn(reply.now_ms)
        if isinstance(reply, c.WindowMoved | c.Reordered):
            if _must_be_planned_anew(house, planned, reply):
                return None
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
        if planned.trial or at_once:
            return None
        wait_s = patience.wait_s(table, reply, left_s)
        if wait_s is not None and left_s > 0:
            pause_s = min(max(wait_s, random.uniform(*POLL_S)), left_s)  # noqa: S311 - spreads pollers, guards nothing
            yield Sleep(pause_s)
            waited_s += pause_s
            continue
        if not may_shrink:
            raise refusal.error(house, planned, table, reply, waited_s)
        smaller = shrink.smaller(house, planned, table, reply.balances)
        shrunk += 1
        may_shrink = smaller is not None and shrunk < shrink.MOST_TIMES
        planned = smaller or planned
    return None


def _must_be_planned_anew(house: House, planned: Plan, reply: c.WindowMoved | c.Reordered) -> bool:
    """Take in orders; a later leg is planned already, and what they refuse its budgets refuse."""
    if isinstance(reply, c.Reordered):
        house.orders.learn(reply)
    return isinstance(reply, c.Reordered) and not planned.request.of


def _heard(house: House, planned: Plan) -> str:
    """The orders that a request was planned by; of a later leg, which none alter, those known now."""
    return house.orders.version if planned.request.of else planned.route.heard


def ttl_ms(planned: Plan) -> int:
    """How long a hold of *planned* lives, milliseconds."""
    return int((planned.silence_s + TTL_BEYOND_SILENCE_S) * 1000)


def _asking(house: House, planned: Plan, call: str, *, quiet: bool, unrecorded: bool) -> Asked:
    """The reserve of a plan, in the windows of now; *unrecorded*: if it is refused, it is asked once more."""
    heard = _heard(house, planned)  # before its budgets: with these orders or newer ones
    table = matrix_of(house, planned)
    command = c.Reserve(
        id=planned.request.id,
        budgets=table.rows,
        candidates=table.asks,
        ttl_ms=ttl_ms(planned),
        charge_on_expiry=planned.rules.on_expiry_charge,
        record=records.reserve(house, planned, table),
        call=call,
        quiet=quiet,
        trial=unrecorded or planned.trial is not None,
        heard=heard,
        note=batches.note(planned, table) if planned.request.door is Door.BATCH else "",
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
