"""Ends of calls that went without their ledger, told again although the ledger heard them: posted once."""

from __future__ import annotations

import pytest
from unit.test_outage_flow import COST, World

from governor.errors import LedgerDown
from governor.ledger import commands as c
from governor.story.effects import Heard, Owe, Send


class FullDisk(World):
    """A world whose disk may be full: nothing can be written down or struck out then."""

    full = fills = False

    def perform(self, effect):
        if self.full and isinstance(effect, Owe | Heard):
            raise OSError(28, "No space left on device")
        if isinstance(effect, Send) and self.fills:  # and the ledger is back
            self.full, self.away = True, False
            self.clock.forward(2)
        return super().perform(effect)


class Lossy(World):
    """A world whose ledger may do what it is asked, and be gone before it answers; then a minute is over."""

    loses = False

    def perform(self, effect):
        reply = super().perform(effect)
        if self.loses and isinstance(effect, c.Reserve):
            self.loses, self.away = False, True
            self.clock.forward(60)
            raise LedgerDown("the line broke")
        return reply


@pytest.fixture
def world(tmp_path):
    made = FullDisk(tmp_path, "allow")
    made.call("first")
    yield made
    made.house.spool.close()
    made.ledger.close()


def test_a_disk_that_fills_after_the_intent_posts_nothing_twice(world):
    """The caller has the answer, and the next process finds that the ledger has heard how the call ended."""
    world.away = True
    world.fills = True
    assert world.call("second")[1].settled
    assert world.balance() == (2 * COST, 0)
    world.full = False
    world.start()
    world.settle_down()
    assert world.balance() == (2 * COST, 0)
    assert world.house.spool._owed == {}


def test_an_end_that_cannot_be_struck_out_fails_no_other_call(world):
    """What the ledger has heard stands in the spool, and the next call goes on."""
    world.away = True
    world.call("second")
    world.away, world.full = False, True
    world.clock.forward(2)
    assert world.call("third")[1].settled
    assert world.balance() == (3 * COST, 0)


def test_a_hold_whose_reply_was_lost_is_ended_in_its_own_windows(tmp_path):
    """The ledger held and was away before it said so, and a minute ended: one settle ends that hold."""
    world = Lossy(tmp_path, "allow", window="minute")
    world.call("first")
    world.loses = True
    assert world.call("second")[1].decision.outcome == "allowed"
    assert [hold.id for hold in world.ledger.execute(c.ListHolds())] == ["second"]
    world.settle_down()
    assert sum(known.balance.posted for known in world.ledger.execute(c.ListBalances(past=True))) == 2 * COST
    assert [entry.id for entry in world.ledger.execute(c.ReadJournal()) if entry.kind == "settle"] == [
        "first",
        "second",
    ]
    world.house.spool.close()
    world.ledger.close()
