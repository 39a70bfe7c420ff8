"""Tell the ledger what an application says of its calls: an outcome is entered once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.errors import LedgerDown
from governor.story import books

if TYPE_CHECKING:
    from governor.ledger.commands import Enter
    from governor.story.books import Story
    from governor.story.request import House

AGAIN_S = 0.1
"""After an entry without a reply, it is made once more: under one id it counts once."""


def enter(house: House, command: Enter) -> Story:
    """Enter a record; returns whether it is new.

    Raises:
        LedgerUnavailable: No answer came to the second asking either.
        ReservationConflict: The id was used for something else.
    """
    try:
        return (yield from books.ask(house, command))
    except LedgerDown:
        given_up = yield from books.pause(AGAIN_S)
        if given_up is not None:
            raise given_up from None
        return (yield from books.ask(house, command))
