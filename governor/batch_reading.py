"""A batch's results, read line by line: each ends the hold of its item, whoever reads it, and once."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from governor.budgets import Unit
from governor.errors import LedgerUnavailable, ReservationConflict
from governor.journal import records
from governor.ledger import commands as c
from governor.ledger import lifecycle
from governor.ledger.values import check_id
from governor.story import batch_books, batches, books, matrix, told, views
from governor.story.effects import Notify
from governor.story.request import paces
from governor.story.settlement import actual

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.policy import Attribution
    from governor.story.batches import BatchNote, Note, Result
    from governor.story.books import Story
    from governor.story.effects import Ended
    from governor.story.matrix import Offer
    from governor.story.request import House
    from governor.story.settlement import Outcome

log = logging.getLogger("governor")


@dataclass(slots=True)
class Reading:
    """A batch whose results are read: by whom, and how far.

    Attributes:
        batch_id: The API's id.
        made_ms: When it was made, Unix milliseconds; `None` where nobody asked: then it is only a batch that
            the ledger knows, or a stranger.
        items: How many it has; `None` as above.
        who: Whose it is taken to be, where the ledger does not know it; `None`: the organisation's alone.
        note: What the ledger knows of it; `None`: nothing, or it was not asked yet.
        asked: Whether it was asked.
        ended: The items whose holds have ended.
    """

    batch_id: str
    made_ms: int | None = None
    items: int | None = None
    who: Attribution | None = None
    note: BatchNote | None = None
    asked: bool = False
    ended: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class ItemEnd:
    """What a line of results came to.

    Attributes:
        custom_id: Whose it is; '' where the line cannot be read.
        how: `settled`, `released`, `known` (it had ended before), `unknown` (the ledger did not know it), or
            `open` (it could not be told: read again).
        nanos: What was posted for it now, nano-dollars.
    """

    custom_id: str
    how: str
    nanos: int = 0


def end_item(house: House, reading: Reading, line: Mapping[str, Any]) -> Story:
    """End the hold of one item by a line of the batch's results; returns its `ItemEnd`.

    Its reader is given the line whatever comes of this: what the ledger does not hear stays open, and is told
    when the results are read again. A ledger that did not answer is left alone for a while (`Breaker`).

    Args:
        house: What every request consults.
        reading: The batch; the same for all its lines.
        line: As the API sends it: `custom_id`, and `result` with `type`, and `message` with `usage`.
    """
    try:
        result = batches.read_result(line)
    except ValueError as error:
        log.error("batch %s: %s; its hold stays open", reading.batch_id, error)  # noqa: TRY400 - it says it all
        return ItemEnd("", "open")
    if not house.breaker.turn():  # away a moment ago: its reader shall not wait out a time-out for every line
        return ItemEnd(result.custom_id, "open")
    try:
        if not reading.asked:
            yield from _look_up(house, reading, result.custom_id)
        end = yield from _end(house, reading, result)
    except LedgerUnavailable as error:
        log.warning("item %r of batch %s is still held: %s", result.custom_id, reading.batch_id, error)
        return ItemEnd(result.custom_id, "open")
    if end.how != "open":
        reading.ended.add(result.custom_id)
    return end


def end_batch(house: House, reading: Reading) -> Story:
    """At the end of a batch's results: note that nothing of it is open, if that is so."""
    noted = reading.note
    if noted is None or len(reading.ended) < noted.items:
        return
    record = records.batch(noted)
    _, given_up = yield from books.close(house, c.Settle(batches.sent_of(reading.batch_id), (), record))
    if given_up is not None:
        raise given_up


def open_batches(house: House) -> Story:
    """The batches that the ledger knows of with items that may be open; returns `BatchNote`s, oldest first.

    Those without a `batch_id` were sent by processes that ended, or that were not answered.

    Raises:
        LedgerUnavailable: It does not answer.
    """
    found: list[BatchNote] = []
    for prefix in (batches.SENT, batches.NEW):
        listed = yield from books.ask(house, c.ListHolds(prefix))
        found += yield from batch_books.notes(house, [one.id for one in listed])
    return sorted(found, key=lambda one: one.hold)


def knows(house: House, batch_id: str) -> Story:
    """Whether the ledger knows the batch that the API calls so."""
    return bool((yield from batch_books.notes(house, [batches.sent_of(batch_id)])))


def is_known(house: House, batch_id: str) -> Story:
    """The same; not where the ledger does not answer."""
    try:
        return (yield from knows(house, batch_id))
    except LedgerUnavailable:
        return False


def _look_up(house: House, reading: Reading, custom_id: str) -> Story:
    """Ask the ledger which holds are the batch's; where it was not told, find those that must be."""
    notes = yield from batch_books.notes(house, [batches.sent_of(reading.batch_id)])
    if notes:
        reading.note = notes[0]
    else:
        reading.note = yield from _adopted(house, reading, custom_id)
    reading.asked = True
    if reading.note is None:
        whose = "the organisation's budgets" if reading.who is None else f"{reading.who.user}'s budgets"
        log.warning("the ledger does not know batch %s: it is posted to %s", reading.batch_id, whose)


def _adopted(house: House, reading: Reading, custom_id: str) -> Story:
    """The note of a batch that was sent by a process which could not say what it became; `None`: no such one.

    It was noted just before this batch was made, with as many items, and one of them is called so.
    """
    listed = yield from books.ask(house, c.ListHolds(batches.NEW))
    for noted in (yield from batch_books.notes(house, sorted(one.id for one in listed))):
        if not noted.may_be(reading.made_ms, reading.items):
            continue
        (one,) = yield from books.ask(house, c.FindHolds((batches.item_id(noted.hold, custom_id),)))
        if one is not None:
            log.info("batch %s is the one that was held as %s", reading.batch_id, noted.hold)
            return (yield from _claimed(house, noted, reading.batch_id))
    return None


def _claimed(house: House, noted: BatchNote, batch_id: str) -> Story:
    """Bind a batch to holds that were found to be its own, or learn which ones another reader found."""
    try:
        return (yield from batch_books.bind(house, noted, batch_id))
    except ReservationConflict:
        (note,) = yield from batch_books.notes(house, [batches.sent_of(batch_id)])
        return note


def _end(house: House, reading: Reading, result: Result) -> Story:
    """End an item's hold, if it is open; returns its `ItemEnd`."""
    if reading.note is None:
        return (yield from _end_unknown(house, reading, result))
    identifier = batches.item_id(reading.note.hold, result.custom_id)
    (found,) = yield from books.ask(house, c.FindHolds((identifier,)))
    note = None if found is None else batches.read_note(found.note)
    if found is None or note is None:
        return (yield from _end_unknown(house, reading, result))
    if found.state in lifecycle.ENDED:
        return ItemEnd(result.custom_id, "known")
    offer = note.offers[found.candidate]
    outcome = _outcome(house, note, offer, result)
    postings = tuple(c.Posting(row, _amount(result, row.unit, amount, outcome)) for row, amount in found.rows)
    record = _record(house, reading, note, offer, outcome, result)
    about = (note, offer, outcome, result)
    return (yield from _close(house, identifier, about, postings, record))


def _end_unknown(house: House, reading: Reading, result: Result) -> Story:
    """Post an item that the ledger knows nothing of, once; one that was free comes to nothing."""
    if result.ended.kind == "refused":
        return ItemEnd(result.custom_id, "known")
    identifier = batches.sent_of(reading.batch_id, result.custom_id)
    (found,) = yield from books.ask(house, c.FindHolds((identifier,)))
    if found is not None:
        return ItemEnd(result.custom_id, "known")
    now_ms, policies, who = house.clock.now_ms(), house.policies, reading.who
    model, known = result.ended.model, house.prices.knows(result.ended.model)
    terms = policies.everybodys()
    if who is not None:
        terms = policies.budgets(who, [house.prices.canonical(model)] if known else [])
    endpoint = "" if who is None else policies.rules(who).endpoint
    offer = batches.unnoted(model, house.prices.line_of(model) if known else "")
    note = batches.Note(who, "", (offer,), endpoint, reading.made_ms or now_ms, policies.hash)
    outcome = _outcome(house, note, offer, result)
    rows = matrix.rows_of([term for term in terms if not paces(term)], now_ms)
    postings = tuple(c.Posting(row, _amount(result, row.unit, 1, outcome)) for row in rows)
    record = _record(house, reading, note, offer, outcome, result)
    end = yield from _close(house, identifier, (note, offer, outcome, result), postings, record)
    return end if end.how == "open" else replace(end, how="unknown")


def _close(
    house: House,
    identifier: str,
    about: tuple[Note, Offer, Outcome, Result],
    postings: tuple[c.Posting, ...],
    record: str,
) -> Story:
    """Have the ledger end an item's hold, and tell it; returns its `ItemEnd`."""
    *_, outcome, result = about
    command: c.Settle | c.Release = c.Settle(check_id(identifier), postings, record)
    if result.ended.kind == "refused":
        command = c.Release(identifier, postings, record)
    closed, given_up = yield from books.close(house, command)
    if closed is not None:
        house.hints.note([one.budget for one in postings], closed.balances, closed.now_ms)
        if house.tells:
            yield told.item(house, identifier, *about, closed)
        for crossing in closed.crossings:
            yield Notify(views.threshold(house.policies.limit_of(crossing.identity), crossing))
        yield from books.expire(house, closed.due)
    if given_up is not None:
        raise given_up
    if closed is None:
        return ItemEnd(result.custom_id, "open")
    how = "released" if result.ended.kind == "refused" else "settled"
    return ItemEnd(result.custom_id, how, outcome.nanos)


def _outcome(house: House, note: Note, offer: Offer, result: Result) -> Outcome:
    """What an item cost, at the prices of when it was held."""
    ended: Ended = result.ended
    return actual(house.prices, offer, ended, note.at_ms, note.endpoint)


def _amount(result: Result, unit: Unit, held: int, outcome: Outcome) -> int:
    """What an item's end posts to a budget in *unit*."""
    if result.ended.kind == "refused":
        return lifecycle.kept_on_release(unit, held)
    used = {Unit.USD: outcome.nanos, Unit.TOKENS: outcome.tokens, Unit.REQUESTS: held, Unit.CONCURRENT: 0}
    return used[unit]


def _record(
    house: House, reading: Reading, note: Note, offer: Offer, outcome: Outcome, result: Result
) -> str:
    told = {"of_batch": reading.batch_id, "custom_id": result.custom_id, "result": result.kind}
    error = {"error": result.error} if result.error else {}
    return records.item(house, note, offer, outcome, result.ended, {**told, **error})
