"""Ends of calls that went without their ledger, told again although the ledger heard them: posted once."""

from __future__ import annotations

import pytest
from unit.test_outage_flow import COST, World

from governor import flow
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
