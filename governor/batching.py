"""A batch's story, written once: hold every item, have it made, and end the holds as its results are read.

As `governor.flow` is for calls: generators that yield effects and ledger commands, carried out by a driver.
Making a batch and reading its results are two stories, of two processes maybe, days apart.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from governor.errors import (
    BudgetContended,
    BudgetExceeded,
    GovernorError,
    LedgerUnavailable,
    ReservationConflict,
)
from governor.journal import records
from governor.ledger import commands as c
from governor.money import Money
from governor.story import batch_books, batches, books, patience, told, views, violations
from governor.story.batches import BatchNote, HeldItem
from governor.story.decision import BatchItem, BatchReceipt
from governor.story.effects import BatchMade, SendBatch, Sleep
from governor.story.holding import MOST_PLANS, hold
from governor.story.inspecting import inspected
from governor.story.planning import prepare

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.story.batches import Item
    from governor.story.books import Story
    from governor.story.holding import Asked
    from governor.story.request import House

log = logging.getLogger("governor")

BREATH = 50
"""After so many items held, whoever waits for the batch may break it off, and others get their turn."""


def create(house: House, held_as: str, items: Sequence[Item], retries: int) -> Story:
    """Hold every item, and have the batch made; returns what the API answered, and a `BatchReceipt`.

    All or nothing: where one item is refused, or the API does not take the batch, every hold is given back.
    Where the API does not answer, the batch may have been made: its holds stay, until its results are read or
    their time is over.

    Args:
        house: What every request consults.
        held_as: How the ids of its holds begin: `batches.new_hold()`.
        items: The items; the id of each request is `batches.item_id(held_as, custom_id)`.
        retries: How often it is sent again where the API pushes back; 0 where the sender does that.

    Raises:
        GovernorError: An item was refused; the message names it.
        Exception: What the SDK raised.
    """
    away = yield from books.catch_up(house)
    if away is not None:
        raise away
    held: list[HeldItem] = []
    noted = BatchNote(held_as, len(items), 0)
    try:
        yield from _hold_all(house, items, held)
        noted = replace(noted, noted_ms=house.clock.now_ms())
        yield from books.ask(house, batch_books.own_hold(noted))
        answer = yield from _send(held, retries)
    except GeneratorExit:
        raise
    except BaseException:
        yield from _give_back(house, noted, held)
        raise
    if isinstance(answer, BatchMade):
        given_up = yield from _made(house, noted, answer.id)
        if given_up is not None:
            raise given_up
        return answer.batch, _receipt(house, answer.id, held)
    if answer.kind == "refused":
        yield from _give_back(house, noted, held)
    else:
        log.warning("a batch was sent and not answered: its %s holds stay, as %s", len(held), held_as)
    raise answer.error


def _hold_all(house: House, items: Sequence[Item], held: list[HeldItem]) -> Story:
    """Hold every item in turn; those that are held are added to *held*."""
    waited_s = 0.0
    for index, item in enumerate(items):
        if index % BREATH == BREATH - 1:
            yield Sleep(0)
        try:
            planned, admitted = yield from _hold(house, item, waited_s)
        except LedgerUnavailable:
            raise
        except GovernorError as error:
            told = _beyond_reach(error, held) or error
            told.args = (f"item {item.custom_id!r} ({index + 1} of {len(items)} in the batch): {told}",)
            raise told from None
        held.append(HeldItem(item.custom_id, planned, admitted))
        waited_s += admitted.waited_s
        yield from books.expire(house, admitted.held.due)


def _hold(house: House, item: Item, waited_s: float) -> Story:
    """Hold one item, or tell who refused it; returns its plan and `Admitted`."""
    asked: list[Asked] = []
    try:
        return (yield from _ask(house, item, waited_s, asked))
    except GovernorError as refused:
        if house.tells and isinstance(refused, BudgetExceeded | BudgetContended):
            yield told.blocked(house, asked[-1].planned, asked[-1].table, refused)
        else:
            if house.tells:
                yield told.refused(house, item.request, refused)
            yield from violations.note(house, item.request, refused)
        raise


def _ask(house: House, item: Item, waited_s: float, asked: list[Asked]) -> Story:
    """Have one item held. The batch as a whole waits no longer than one call.

    It is counted only where its bound is too much: no item is worth a request of its own. What was asked is
    added to *asked*.
    """
    endless = patience.Deadline(house.clock, 0, None)
    item = replace(item, request=(yield from inspected(house, item.request)))
    planned = yield from prepare(house, item.request)
    if planned.estimate == "local bound" and planned.rules.estimate == "auto":
        found = yield from hold(house, planned, asked, endless, at_once=True)
        if found is not None:
            return found
        planned = yield from prepare(house, item.request, at_once=False)
    for _ in range(MOST_PLANS):
        left_s = max(0.0, planned.rules.max_wait_s - waited_s)
        patient = replace(planned, rules=replace(planned.rules, max_wait_s=left_s))
        found = yield from hold(house, patient, asked, endless)
        if found is not None:
            return found
        planned = yield from prepare(house, item.request, at_once=False)
    raise LedgerUnavailable("the ledger's orders keep changing while this batch is planned: try again")


def _beyond_reach(error: GovernorError, held: Sequence[HeldItem]) -> BudgetExceeded | None:
    """Where a budget is held by the batch itself alone: the refusal that no waiting helps."""
    if not isinstance(error, BudgetContended):
        return None
    budget = error.budget
    own = sum(
        ask.amount
        for one in held
        for row, ask in zip(
            one.admitted.table.rows, one.admitted.table.asks[one.admitted.held.candidate], strict=True
        )
        if ask is not None and (row.identity, row.window) == (budget.identity, budget.window)
    )
    if not own or budget.held > own:
        return None
    told = f"{budget}; all that is held there are the {len(held)} items before it: make smaller batches"
    return BudgetExceeded(told, decision=error.decision, budget=budget, resets_at=budget.resets_at)


def _send(held: Sequence[HeldItem], retries: int) -> Story:
    """Have the batch made; returns `BatchMade` or `Ended`."""
    requests, sent = [one.sent() for one in held], 0
    while True:
        answer = yield SendBatch(requests)
        sent += 1
        if isinstance(answer, BatchMade) or not answer.retriable or sent > retries:
            return answer
        pause_s = patience.retry_pause_s(answer, sent)
        if pause_s is None:
            return answer
        given_up = yield from books.pause(pause_s)
        if given_up is not None:
            return replace(answer, error=given_up)


def _made(house: House, noted: BatchNote, batch_id: str) -> Story:
    """Note which batch the holds belong to; returns what interrupted it, or `None`.

    Where the ledger cannot be told, whoever reads the results finds the note from before it was sent. A
    reader may meanwhile have taken it for an unanswered batch just like it: then its holds are left to that.
    """
    given_up: BaseException | None = None
    for _ in range(2):
        try:
            yield from batch_books.bind(house, noted, batch_id)
        except LedgerUnavailable as error:
            log.warning("the ledger was not told that %s is the batch %s: %s", noted.hold, batch_id, error)
        except ReservationConflict:
            log.info("batch %s was read already, on the holds of one like it", batch_id)
            break
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - raised once it is noted
            given_up = error
        else:
            break
    return given_up


def _give_back(house: House, noted: BatchNote, held: Sequence[HeldItem]) -> Story:
    """Give back every hold of a batch that the API has not taken, as if it had never been asked for.

    What interrupts it meanwhile comes to nothing: the batch ends in an error anyway.
    """
    record = records.batch(noted)
    commands = [
        c.Release(
            one.planned.request.id, one.admitted.table.nothing_used(one.admitted.held.candidate), record
        )
        for one in held
    ]
    if noted.noted_ms:
        commands.append(c.Release(batches.new_of(noted.hold), (), record))
    while commands:
        closed, _ = yield from books.close(house, commands.pop())
        if closed is None:  # the ledger is away: so it is for the others, and they are told with this one
            house.unheard.extend(commands)
            return


def _receipt(house: House, batch_id: str, held: Sequence[HeldItem]) -> BatchReceipt:
    shown = tuple(_view(house, one) for one in held)
    return BatchReceipt(batch_id, shown, Money(sum(one.ceiling.nanos for one in shown)))


def _view(house: House, one: HeldItem) -> BatchItem:
    request, offer = one.planned.request, one.offer
    return BatchItem(
        custom_id=one.custom_id,
        request_id=request.id,
        asked=request.named,
        model=offer.candidate.model,
        ceiling=Money(offer.ceiling.nanos),
        reason=views.decision(house, one.planned, one.admitted).reason,
        changes=offer.changes,
    )
