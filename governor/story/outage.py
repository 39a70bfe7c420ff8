"""What the policies' `if_ledger_is_down` means: how a call goes through without its ledger, and on what.

`allow`: on the first candidate. `lease`: on the first that the department's lease can bear. Either is
written down before it is sent, like a hold, and after it ended; the ledger is told when it is back, by this
process or by the next one of this host.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from governor.errors import LedgerDown, LedgerUnavailable
from governor.ids import new_id
from governor.journal import records
from governor.ledger import commands as c
from governor.money import Money
from governor.story import books, leases, orders
from governor.story.effects import Ended, Owe, Sent
from governor.story.endings import ending
from governor.story.request import Admitted, matrix_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.ledger.commands import Balance, BudgetRow
    from governor.policy import Rules
    from governor.story.books import Story
    from governor.story.endings import Ending
    from governor.story.leases import Lease
    from governor.story.matrix import Matrix
    from governor.story.request import House, Plan

log = logging.getLogger("governor")


def lenient(house: House, planned: Plan) -> bool:
    """Whether calls may go without the ledger: the policy says so, and there is where to write them down.

    A call that nothing may refuse goes where it can be written down nowhere, too.
    """
    return may_go_without(house, planned.rules)


def may_go_without(house: House, rules: Rules) -> bool:
    """As `lenient`, of what the files say of a request."""
    return rules.if_ledger_is_down != "refuse" and (house.spool is not None or not rules.enforced)


def wait_for_turn(house: House, planned: Plan) -> None:
    """Let a call that may go without the ledger not ask one that was away a moment ago.

    Raises:
        LedgerDown: It is another one's turn.
    """
    if lenient(house, planned) and not house.breaker.turn():
        raise LedgerDown(house.breaker.why)


def through(house: House, planned: Plan, down: LedgerUnavailable, unanswered: Matrix | None = None) -> Story:
    """Let a call through without its ledger, as its policy says; returns `Admitted`.

    What it costs if nobody hears of it again is written down first: what a hold's expiry would charge. Where
    the ledger was asked and did not answer it may hold what it was asked for, as *unanswered* says: then the
    call is told in those windows, though others have begun, so that it ends that hold.

    Raises:
        LedgerDown: The policy refuses, too little is left of the lease, or nothing can be written down.
    """
    admitted = admit(house, planned, down)
    if unanswered is not None:
        admitted = replace(admitted, table=admitted.table.in_windows_of(unanswered))
    lost = Ended("silent" if planned.rules.on_expiry_charge else "refused")
    intent = ending(house, planned, admitted, lost, Sent()).command
    try:
        yield Owe(intent)
    except GeneratorExit:
        raise
    except BaseException as error:
        if admitted.draw is not None:
            house.leases.end(admitted.draw, 0)
        if isinstance(error, OSError) and not planned.rules.enforced:
            log.warning("request %s goes uncounted: it could not be written down: %s", intent.id, error)
            return admitted
        if isinstance(error, OSError):
            text = (
                f"{down}; and the call could not be written down, so it was not sent: {error}; let this user "
                "write GOVERNOR_SPOOL, or name another folder there"
            )
            raise LedgerDown(text) from error
        yield from books.strike_out(intent.id)
        raise
    log.warning("request %s is %s without its ledger: %s", planned.request.id, admitted.how, down)
    return admitted


def admit(house: House, planned: Plan, down: LedgerUnavailable, *, dry: bool = False) -> Admitted:
    """The first offer that may go through without the ledger; *dry* only looks.

    Raises:
        LedgerDown: The policy refuses, or too little is left of the lease.
    """
    if not lenient(house, planned):
        raise down
    frozen = house.orders.frozen(planned.request.who, house.clock.now_ms())
    if frozen is not None and planned.rules.enforced:
        raise LedgerDown(f"{down}; and the run {planned.request.who.run!r} is frozen {orders.by(frozen)}")
    table = matrix_of(house, replace(planned, trial=None))
    held, call = c.Held(0, (), "", 0, house.clock.now_ms()), secrets.token_hex(8)
    if planned.rules.if_ledger_is_down == "allow":
        return Admitted(table, held, how="allowed", call=call)
    department, rows = planned.request.who.department, leases.leased_rows(table)
    for index, offer in enumerate(table.offers):
        draw = house.leases.draw(department, rows, offer.ceiling.nanos)
        if draw is not None and dry:
            house.leases.end(draw, 0)
        if draw is not None:
            return Admitted(table, replace(held, candidate=index), how="leased", draw=draw, call=call)
    raise _too_short(house, planned, down)


def _too_short(house: House, planned: Plan, down: LedgerUnavailable) -> LedgerDown:
    """The error that says why the lease does not bear a call."""
    department = planned.request.who.department
    lease = house.leases.of(department)
    if lease is None:
        return LedgerDown(f"{down}; and this process has no lease for the department {department!r}")
    left, whole = Money(max(lease.left, 0)), Money(lease.amount)
    least = Money(min(offer.ceiling.nanos for offer in planned.offers))
    windows = ", ".join(f"{row.identity}:{row.window}" for row in lease.rows)
    return LedgerDown(
        f"{down}; this process has {left} left of its lease of {whole} (of {windows}), and the call may cost "
        f"{least}"
    )


def keep_lease(house: House, planned: Plan, end: Ending, closed: c.Closed) -> Story:
    """Take, extend or give back the department's lease, in passing: after a call that the ledger heard of."""
    department = planned.request.who.department
    if planned.rules.if_ledger_is_down != "lease" or house.spool is None:
        return
    house.leases.saw(department, end.offer.ceiling.nanos)
    if not house.leases.begin(department):
        return
    try:
        yield from _tend(house, planned, end, closed)
    except (LedgerUnavailable, OSError) as error:
        log.warning("the lease of the department %s could not be renewed: %s", department, error)
    finally:
        house.leases.done(department)


def _tend(house: House, planned: Plan, end: Ending, closed: c.Closed) -> Story:
    department = planned.request.who.department
    rows = leases.leased_rows(matrix_of(house, planned))
    heard = {
        (posting.budget.identity, posting.budget.window): balance
        for posting, balance in zip(end.command.postings, closed.balances, strict=True)
    }
    balances = [heard[key] for row in rows if (key := (row.identity, row.window)) in heard]
    if not rows or len(balances) < len(rows):  # nothing to lease; or a window has ended meanwhile
        return
    lease = house.leases.of(department)
    if lease is None:
        yield from _take(house, department, rows, balances)
    elif not lease.held and not house.unheard:
        good = yield from _extended(house, lease, rows, balances, closed.now_ms)
        if not good:
            yield from give_back(house, department)


def _take(house: House, department: str, rows: Sequence[BudgetRow], balances: Sequence[Balance]) -> Story:
    """Open a lease; what gives it back is written down first, lest it stay with a process that died."""
    amount = house.leases.wanted(department, balances)
    if not amount:
        return
    ask = tuple(c.Ask(amount, mark_bp=leases.FULLEST_BP) for _ in rows)
    record = records.lease(department, rows, ask, house.policies.hash)
    lease = leases.Lease(f"lease.{department}.{new_id()}", department, tuple(rows), amount, record)
    back = lease.ending()
    command = c.Reserve(
        lease.id, lease.rows, (ask,), leases.TTL_MS, record=record, call=secrets.token_hex(8), quiet=True
    )
    yield Owe(back)
    try:
        reply = yield from books.reserve(house, command, lambda _: back.postings)
    except LedgerUnavailable:
        house.unheard.append(back)  # it may be open all the same
        raise
    if not isinstance(reply, c.Held):
        given_up = yield from books.strike_out(back.id)
        if given_up is not None:
            raise given_up
        return
    house.leases.put(replace(lease, expires_ms=reply.expires_ms))
    if any(leases.room(balance) < amount for balance in reply.balances):  # others were quicker
        yield from give_back(house, department)


def _extended(
    house: House, lease: Lease, rows: Sequence[BudgetRow], balances: Sequence[Balance], now_ms: int
) -> Story:
    """Whether the lease goes on: it has not served, is of these windows, not too full, and of a good size."""
    if lease.posted or not leases.same_windows(lease.rows, rows):
        return False
    if any(leases.room(balance) < 0 for balance in balances):
        return False
    if lease.expires_ms - now_ms > leases.TTL_MS // 2:
        return True
    without = [replace(balance, held=balance.held - lease.amount) for balance in balances]
    wanted = house.leases.wanted(lease.department, without)
    if not lease.amount // 2 <= wanted <= lease.amount * 2:
        return False
    extended = yield from books.ask(house, c.Extend(lease.id, leases.TTL_MS))
    lease.expires_ms = extended.expires_ms
    return extended.state == "open"


def give_back(house: House, department: str) -> Story:
    """End the department's lease with nothing: what calls drew on it is told as their own."""
    lease = house.leases.take_out(department)
    if lease is not None:
        yield from books.close(house, lease.ending(), lenient=True, owed=True)


def give_back_all(house: House) -> Story:
    """End every lease of this process."""
    for department in house.leases.departments():
        yield from give_back(house, department)
