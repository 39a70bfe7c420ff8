"""What the story asks of the ledger, and asks again where no answer came or somebody interrupts.

Every verb may be repeated, so a lost reply is healed by asking again; and a call that is given up (Ctrl-C,
a cancellation) ends only after its hold is closed.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from governor.errors import GovernorError, LedgerUnavailable, ReservationConflict
from governor.ledger import commands as c
from governor.story import views
from governor.story.effects import Notify, Sleep

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.story.request import House

log = logging.getLogger("governor")

Story = Generator[Any, Any, Any]

RESERVE_AGAIN_S = 0.1
"""After a reserve without a reply, it is asked once more: the same id and payload give the same answer."""

CLOSE_TRIES = 3
CLOSE_AGAIN_S = 0.1
"""Before the second try to close a hold; four times as long before each one after."""


def reserve(command: c.Reserve, nothing_used: Callable[[int], tuple[c.Posting, ...]]) -> Story:
    """Ask for a hold; returns `Held`, `Refused` or `WindowMoved`.

    A hold whose reply was lost would expire charged: so it is asked for once more, and undone where the
    caller has given up meanwhile.

    Raises:
        LedgerUnavailable: No answer came to the second asking either.
        ReservationConflict: The id was used before.
    """
    try:
        return (yield command)
    except LedgerUnavailable:
        given_up = yield from pause(RESERVE_AGAIN_S)
        reply = yield command
        if given_up is None:
            return reply
    except (GovernorError, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - raised below, once nothing is held
        given_up = error
        reply = yield command
    if isinstance(reply, c.Held):
        yield c.Release(command.id, nothing_used(reply.candidate))
    raise given_up


def extend(command: c.Extend) -> Story:
    """Give a hold more time; returns what interrupted it, or `None`.

    Where the ledger is away the hold expires, and is settled late.
    """
    try:
        yield command
    except (LedgerUnavailable, GeneratorExit) as error:
        if isinstance(error, GeneratorExit):
            raise
    except BaseException as error:  # noqa: BLE001 - raised once the hold is closed
        return error
    return None


def close(house: House, command: c.Settle | c.Release) -> Story:
    """End a hold; returns `Closed` (or `None` if the ledger was not told), and what interrupted it.

    The money is spent whether or not the ledger hears of it, so the caller still gets the answer. What the
    ledger did not hear is kept and said again before this process's next call; if the process ends first,
    the hold's expiry does what the policy's `on_expiry` says.
    """
    given_up: BaseException | None = None
    for attempt in range(CLOSE_TRIES):
        try:
            return (yield command), given_up
        except LedgerUnavailable:
            if attempt + 1 < CLOSE_TRIES:
                given_up = (yield from pause(CLOSE_AGAIN_S * 4**attempt)) or given_up
        except ReservationConflict:
            log.exception("request %s was ended in another way already", command.id)
            return None, given_up
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - raised once the hold is closed
            given_up = error
    house.unheard.append(command)
    log.error("the ledger was not told how request %s ended: it is told before the next call", command.id)
    return None, given_up


def catch_up(house: House) -> Story:
    """Say again what the ledger did not hear; stops at the first that it does not hear now either."""
    while True:
        try:
            command = house.unheard.pop(0)
        except IndexError:
            return
        try:
            closed = yield command
        except LedgerUnavailable:
            house.unheard.insert(0, command)
            return
        except ReservationConflict:
            log.exception("request %s was ended in another way already", command.id)
            continue
        except Exception:
            log.exception("the ledger cannot take how request %s ended: it is left to expire", command.id)
            continue
        except BaseException:
            house.unheard.insert(0, command)
            raise
        for crossing in closed.crossings:
            yield Notify(views.threshold(house.policies.limit_of(crossing.identity), crossing))


def expire(house: House, due: tuple[c.DueHold, ...]) -> Story:
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


def pause(seconds: float) -> Story:
    """Wait; returns what ended the wait early, or `None`."""
    try:
        yield Sleep(seconds)
    except GeneratorExit:
        raise
    except BaseException as error:  # noqa: BLE001 - raised once the hold is closed
        return error
    return None
