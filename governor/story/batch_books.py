"""The two holds of a batch as a whole, which bear its notes: made, found, and bound to the API's id."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from governor.journal import records
from governor.ledger import commands as c
from governor.story import batches, books

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.story.batches import BatchNote
    from governor.story.books import Story
    from governor.story.request import House


def bind(house: House, noted: BatchNote, batch_id: str) -> Story:
    """Note under the API's id how the ids of its holds begin; returns the new note."""
    sent = replace(noted, batch_id=batch_id)
    yield from books.ask(house, own_hold(sent))
    yield from books.ask(house, c.Release(batches.new_of(noted.hold), (), records.batch(sent)))
    return sent


def own_hold(noted: BatchNote) -> c.Reserve:
    """The hold that bears a batch's note; it touches no budget."""
    return c.Reserve(
        id=batches.sent_of(noted.batch_id) if noted.batch_id else batches.new_of(noted.hold),
        budgets=(),
        candidates=((),),
        ttl_ms=batches.NOTED_MS,
        record=records.batch(noted),
        note=noted.text(),
    )


def notes(house: House, ids: Sequence[str]) -> Story:
    """The notes of a batch's own holds, of those that are there and bear one."""
    found = yield from books.ask(house, c.FindHolds(tuple(ids)))
    notes = (batches.read_batch_note(one.note) for one in found if one is not None)
    return [one for one in notes if one is not None]
