"""What the story asks of the ledger, and asks again where no answer came or somebody interrupts.

Every verb may be repeated, so a lost reply is healed by asking again; and a call that is given up (Ctrl-C,
a cancellation) ends only after its hold is closed.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from governor.errors import GovernorError, LedgerDown, LedgerUnavailable, ReservationConflict
from governor.journal import records
from governor.ledger import commands as c
from governor.story import views
from governor.story.effects import Adopt, Heard, Notify, Owe, Sleep

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


def ask(house: House, command: c.Command[Any]) -> Story:
    """Put *command* to the ledger, and take note of whether it is there; returns its answer."""
    try:
        reply = yield _with_notice(house, command)
    except LedgerDown as error:
        house.breaker.away(error)
        raise
    except GovernorError:
        house.breaker.there()
        raise
    house.breaker.there()
    if isinstance(reply, c.Held | c.Refused | c.Closed) and reply.board:
        lines = [(posted.process, posted.at_ms, posted.text) for posted in reply.board]
        house.traffic.learn(lines, reply.now_ms)
    return reply


def _with_notice(house: House, command: c.Command[Any]) -> c.Command[Any]:
    """The same, and what the other processes should know of the API's load, where there is something new."""
    if not isinstance(command, c.Reserve | c.Settle | c.Release):
        return command
    text = house.traffic.notice()
    return command if text is None else replace(command, notice=c.Notice(house.traffic.process, text))


def reserve(house: House, command: c.Reserve, nothing_used: Callable[[int], tuple[c.Posting, ...]]) -> Story:
    """Ask for a hold; returns `Held`, `Refused` or `WindowMoved`.

    A hold whose reply was lost would expire charged: so it is asked for once more, and undone where the
    caller has given up meanwhile.

    Raises:
        LedgerUnavailable: No answer came to the second asking either.
        ReservationConflict: The id was used before.
    """
    given_up: BaseException | None = None
    try:
        return (yield from ask(house, command))
    except LedgerUnavailable:
        given_up = yield from pause(RESERVE_AGAIN_S)
    except (GovernorError, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - raised below, once nothing is held
        given_up = error
    try:
        reply = yield from ask(house, command)
    except LedgerUnavailable:
        if given_up is None:
            raise
        raise given_up from None
    if given_up is None:
        return reply
    if isinstance(reply, c.Held):
        yield from ask(house, c.Release(command.id, nothing_used(reply.candidate)))
    raise given_up


def extend(house: House, command: c.Extend | None) -> Story:
    """Give a hold more time, if there is one; returns what interrupted it, or `None`.

    Where the ledger is away the hold expires, and is settled late.
    """
    if command is None:
        return None
    try:
        yield from ask(house, command)
    except (LedgerUnavailable, GeneratorExit) as error:
        if isinstance(error, GeneratorExit):
            raise
    except BaseException as error:  # noqa: BLE001 - raised once the hold is closed
        return error
    return None


def close(house: House, command: c.Settle | c.Release, *, lenient: bool = False, owed: bool = False) -> Story:
    """End a hold; returns `Closed` (or `None` if the ledger was not told), and what interrupted it.

    The money is spent whether or not the ledger hears of it, so the caller still gets the answer. What the
    ledger did not hear is kept and said again before this process's next call; if the process ends first,
    the hold's expiry does what the policy's `on_expiry` says, or, where it is written down, the next process
    of this host tells it.

    Args:
        house: What every request consults.
        command: How the hold ends.
        lenient: Whether the policy lets calls go on without the ledger: then it is written down, and a ledger
            that is away is not waited for.
        owed: Whether it was written down before that it would end.
    """
    given_up = (yield from _write_down(command)) if owed else None
    left, closed, interrupted = yield from _say(house, command, lenient=lenient)
    given_up = interrupted or given_up
    if left is not None:
        if lenient and not owed:
            given_up = (yield from _write_down(left)) or given_up
        house.unheard.append(left)  # not before: another thread would tell it, and strike out nothing
        level = logging.INFO if owed else logging.ERROR
        text = "the ledger was not told how request %s ended: it is told before the next call"
        log.log(level, text, left.id)
    elif closed is not None and owed:
        given_up = (yield from strike_out(closed[0].id)) or given_up
    return (None if closed is None else closed[1]), given_up


def _say(house: House, command: c.Settle | c.Release, *, lenient: bool) -> Story:
    """Try to end a hold; returns the command if nobody heard it, what was answered, what interrupted."""
    given_up: BaseException | None = None
    for attempt in range(CLOSE_TRIES):
        if lenient and not house.breaker.turn():
            break
        try:
            told = yield from _told(house, command)
        except LedgerUnavailable:
            if attempt + 1 < CLOSE_TRIES and not lenient:
                given_up = (yield from pause(CLOSE_AGAIN_S * 4**attempt)) or given_up
        except GeneratorExit:
            raise
        except BaseException as error:  # noqa: BLE001 - raised once the hold is closed
            given_up = error
        else:
            return None, told, given_up
    return command, None, given_up


def _told(house: House, command: c.Settle | c.Release) -> Story:
    """Have the ledger end a hold; returns what it heard and its answer; `None`: another end stands.

    Raises:
        LedgerUnavailable: It did not hear; *command* may be told again.
    """
    heard: c.Settle | c.Release | None = command
    while heard is not None:
        try:
            return heard, (yield from ask(house, heard))
        except ReservationConflict as error:
            heard = yield from _anew(house, heard, error)
    return None


def catch_up(house: House) -> Story:
    """Say again what the ledger did not hear; stops at the first that it does not hear now either.

    What ended processes left is taken over here, and not at load: a process that makes no calls must not sit
    on it. Returns why it stopped, or `None`.
    """
    if house.spool is not None and not house.spool.adopted:
        house.unheard.extend((yield Adopt()))
    while True:
        try:
            command = house.unheard.pop(0)
        except IndexError:
            return None
        try:
            told = yield from _told(house, command)
        except LedgerUnavailable as error:
            house.unheard.insert(0, command)
            return error
        except Exception:
            log.exception("the ledger cannot take how request %s ended: it is left to expire", command.id)
            continue
        except BaseException:
            house.unheard.insert(0, command)
            raise
        if told is None:
            continue
        heard, closed = told
        given_up = (yield from strike_out(heard.id)) if house.spool is not None else None
        for crossing in closed.crossings:
            yield Notify(views.threshold(house.policies.limit_of(crossing.identity), crossing))
        if given_up is not None:
            raise given_up


def expire(house: House, due: tuple[c.DueHold, ...]) -> Story:
    """Close holds of dead processes that a reply named; returns whether the ledger answered.

    Then none of them holds anything, whoever closed it.
    """
    if not due:
        return False
    try:
        expired = yield from ask(house, c.Expire(due))
    except LedgerUnavailable:
        return False
    for crossing in expired.crossings:
        yield Notify(views.threshold(house.policies.limit_of(crossing.identity), crossing))
    return True


def pause(seconds: float) -> Story:
    """Wait; returns what ended the wait early, or `None`."""
    return (yield from _uninterrupted(Sleep(seconds)))


def _write_down(command: c.Settle | c.Release) -> Story:
    """Have what is owed on the disk; returns what interrupted it, or `None`."""
    try:
        given_up = yield from _uninterrupted(Owe(command))
        if given_up is not None:  # maybe before it was written
            yield Owe(command)
    except OSError:
        log.exception("how request %s ended could not be written down; it is in memory only", command.id)
        return None
    return given_up


def strike_out(identifier: str) -> Story:
    """Strike out what was owed under an id; returns what interrupted it, or `None`.

    Where that cannot be written it is logged, and nobody's call fails: what is told again is recognised.
    """
    try:
        return (yield from _uninterrupted(Heard(identifier)))
    except OSError as error:
        log.warning("request %s could not be struck out of the spool: %s", identifier, error)
        return None


def _uninterrupted(effect: Sleep | Owe | Heard) -> Story:
    """Have *effect* carried out; returns what interrupted it, or `None`."""
    try:
        yield effect
    except (GeneratorExit, OSError):
        raise
    except BaseException as error:  # noqa: BLE001 - raised once the hold is closed
        return error
    return None


def _anew(house: House, command: c.Settle | c.Release, error: ReservationConflict) -> Story:
    """How to post a call whose id the ledger knows for another one's; `None` where it was ended before.

    A call that went without the ledger was not told that its id is taken. What it cost is posted under an id
    of its own. But where the ledger's own record is of this very call, it heard how that really ended, and
    only the striking out was lost.
    """
    if (yield from _knows(house, command)):
        log.info("the ledger knows how request %s ended", command.id)
        yield from strike_out(command.id)
        return None
    if isinstance(command, c.Release) or not command.call or command.id.endswith(command.call):
        log.error("request %s was ended in another way already", command.id, exc_info=error)
        return None
    other = replace(command, id=f"{command.id[:100]}.{command.call}")
    log.warning("the id of request %s was taken: what it cost is posted as %s", command.id, other.id)
    yield from _write_down(other)
    yield from strike_out(command.id)
    return other


def _knows(house: House, command: c.Settle | c.Release) -> Story:
    """Whether the newest that the ledger wrote of an id is the end of the very call that *command* ends.

    Raises:
        LedgerDown: It is away meanwhile.
    """
    call = records.call_of(command.record)
    if not call:
        return False
    try:
        newest = yield from ask(house, c.ReadJournal(command.id, limit=1))
    except LedgerDown:
        raise
    except LedgerUnavailable:
        return False
    ends = [entry.record for entry in newest if entry.kind in {"settle", "release"}]
    return call in map(records.call_of, ends)
