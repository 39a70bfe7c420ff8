"""How calls ended that the ledger was not told of: said again before the next call, and never in its way."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from support.governed import HELLO, Clock, department

from governor import flow
from governor.clock import LedgerClock
from governor.errors import LedgerUnavailable, ReservationConflict
from governor.ledger import commands as c
from governor.ledger.sqlite import SqliteLedger
from governor.policy import Attribution, load
from governor.pricing import PriceTable
from governor.story.effects import CountTokens, Ended, Send, Sleep
from governor.story.request import House, Request

ANSWERED = Ended("answered", usage={"input_tokens": 19, "output_tokens": 10})
COST = 19 * 2_000 + 10 * 10_000
TEAM = "department=team/usd/life"


@pytest.fixture
def house(tmp_path):
    """Policies with one budget."""
    team = department({"per": "department", "usd": 1, "window": "life"})
    (tmp_path / "team.yaml").write_text(json.dumps(team), encoding="utf-8")
    return House(load(tmp_path), PriceTable.load(), LedgerClock(Clock()))


@pytest.fixture
def ledger(house):
    made = SqliteLedger(Path(":memory:"), house.policies.organization, clock=Clock())
    yield made
    made.close()


def drive(story, ledger, *, failing):
    """Carry a story out; the ledger answers a settle of the ids in *failing* with what stands there."""
    reply = error = None
    try:
        while True:
            effect = story.send(reply) if error is None else story.throw(error)
            reply = error = None
            if isinstance(effect, c.Settle) and effect.id in failing:
                error = failing[effect.id]
            elif isinstance(effect, CountTokens):
                reply = 19
            elif isinstance(effect, Send):
                reply = ANSWERED
            elif not isinstance(effect, Sleep):
                reply = ledger.execute(effect)
    except StopIteration as done:
        return done.value


def call(house, ledger, identifier, **failing):
    """One call, to the end; returns its receipt."""
    request = Request(identifier, Attribution("team", "u"), "sonnet", 100, {"messages": HELLO})
    _, receipt = drive(flow.govern(house, request), ledger, failing=failing)
    return receipt


@pytest.fixture
def unheard(house, ledger):
    """A house whose call `lost` was served, and whose ledger was away when that was to be settled."""
    assert not call(house, ledger, "lost", lost=LedgerUnavailable("away")).settled
    assert [command.id for command in house.unheard] == ["lost"]
    return house


def posted(ledger):
    """What is spent, and the ids of what is held."""
    (known,) = ledger.execute(c.ListBalances())
    return known.balance.posted, [hold.id for hold in ledger.execute(c.ListHolds())]


def test_what_was_not_heard_is_said_before_the_next_call(unheard, ledger):
    """Once the ledger is back, the next call settles both."""
    assert call(unheard, ledger, "next").settled
    assert posted(ledger) == (2 * COST, [])
    assert unheard.unheard == []


@pytest.mark.parametrize(
    "error", [ValueError("no such posting"), ReservationConflict("another end"), OverflowError("too large")]
)
def test_what_the_ledger_cannot_take_stops_nobody(unheard, ledger, caplog, error):
    """A settle that the ledger refuses is logged once and left to expire; calls go on."""
    with caplog.at_level(logging.ERROR, logger="governor"):
        assert call(unheard, ledger, "next", lost=error).settled
    (told,) = [one for one in caplog.records if "lost" in one.getMessage()]
    assert told.exc_info is not None
    assert told.exc_info[1] is error
    assert call(unheard, ledger, "after", lost=error).settled
    assert posted(ledger) == (2 * COST, ["lost"])
    assert unheard.unheard == []


def test_a_ledger_that_is_still_away_is_told_later(unheard, ledger):
    """What is not heard this time either is kept for the next."""
    assert call(unheard, ledger, "next", lost=LedgerUnavailable("away")).settled
    assert [command.id for command in unheard.unheard] == ["lost"]
    drive(flow.catch_up(unheard), ledger, failing={})
    assert posted(ledger) == (2 * COST, [])


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), SystemExit(1)])
def test_an_interrupt_loses_nothing(unheard, ledger, interrupt):
    """Whoever interrupts while it is said again is heard, and it is kept; nothing was begun for the call."""
    with pytest.raises(type(interrupt)):
        call(unheard, ledger, "next", lost=interrupt)
    assert [command.id for command in unheard.unheard] == ["lost"]
    assert posted(ledger) == (0, ["lost"])
    drive(flow.catch_up(unheard), ledger, failing={})
    assert posted(ledger) == (COST, [])


def test_two_at_once_say_it_once(unheard, ledger):
    """While one call is saying what was not heard, another finds nothing left to say."""
    first, second = flow.catch_up(unheard), flow.catch_up(unheard)
    reply = ledger.execute(next(first))
    with pytest.raises(StopIteration):
        next(second)
    with pytest.raises(StopIteration):
        first.send(reply)
    assert posted(ledger) == (COST, [])
