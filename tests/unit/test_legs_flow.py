"""Whatever comes between the legs of a call, none of its holds is left open, and no money is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.governed import HAIKU, HELLO, OPUS, SONNET, Clock, department

from governor import flow
from governor.clock import LedgerClock
from governor.errors import GovernorError, LedgerDown
from governor.ledger import commands as c
from governor.ledger.sqlite import SqliteLedger
from governor.policy import Attribution, load
from governor.pricing import PriceTable
from governor.story.effects import Adopt, CountTokens, Ended, Owe, Resume, Running, Send, Sleep
from governor.story.legs import leg_id
from governor.story.request import House, Request

TEAM_USD = "department=team/usd/life"


class BrokenError(Exception):
    """What the API's client raises here."""


ANSWERED = Ended("answered", usage={"input_tokens": 19, "output_tokens": 10})
OVERLOADED = Ended("refused", error=BrokenError("529"), status=529, retriable=True, overloaded=True)
LIMITED = Ended("refused", error=BrokenError("429"), status=429, retriable=True, limited=True)
SILENT = Ended("silent", error=BrokenError("time-out"))
TROUBLE = (OVERLOADED, LIMITED, SILENT, OVERLOADED, OVERLOADED, ANSWERED)
"""Two models are overloaded, one limits the caller and falls silent; all that is left is the way back."""


class World:
    """A house whose API answers by a script, and a ledger that may be away."""

    def __init__(self, folder, **more):
        routing = {"tiers": {"standard": {"prefer": "opus", "retries": 9}}}
        team = department(
            {"per": "department", "usd": 1, "window": "life"}, routing=routing, retry_uncertain=True, **more
        )
        (folder / "team.yaml").write_text(json.dumps(team), encoding="utf-8")
        policies, self.clock = load(folder), Clock()
        self.house = House(policies, PriceTable.load(), LedgerClock(self.clock), spool=Spool())
        self.ledger = SqliteLedger(Path(":memory:"), policies.organization, clock=self.clock)
        self.effects, self.models, self.away = [], [], False

    def call(self, script, meet=lambda _number, _effect, **_: None):
        """One call; *meet* is asked before and after each effect, and may raise."""
        story = flow.govern(
            self.house, Request("one", Attribution("team", "u"), "auto", 100, {"messages": HELLO})
        )
        answers, reply, error = iter(script), None, None
        while True:
            try:
                effect = story.send(reply) if error is None else story.throw(error)
            except StopIteration as done:
                return done.value
            self.effects.append(effect)
            reply = error = None
            try:
                meet(len(self.effects), effect, after=False)
                reply = self.perform(effect, answers)
                meet(len(self.effects), effect, after=True)
            except (GovernorError, KeyboardInterrupt) as met:
                error = met
            if error is not None and isinstance(effect, Send):
                reply, error = Ended("silent", error=error), None

    def perform(self, effect, answers):
        """What came of an effect."""
        match effect:
            case CountTokens():
                return 19
            case Send():
                self.models.append(effect.body["model"])
                return next(answers)
            case Sleep():
                self.clock.forward(effect.seconds)
            case c.Command():
                if self.away:
                    raise LedgerDown("away")
                return self.ledger.execute(effect)
            case Adopt():
                return []
        return None

    def settle_down(self):
        """The ledger is back, and hears what it is owed."""
        self.away = False
        self.clock.forward(5)
        story = flow.catch_up(self.house)
        effect = next(story, None)
        while effect is not None:
            try:
                effect = story.send(self.perform(effect, None))
            except StopIteration:
                return

    def posted(self):
        """What is spent of the team's budget; nothing of it is held."""
        assert self.ledger.execute(c.ListHolds()) == ()
        (known,) = self.ledger.execute(c.ListBalances())
        assert (known.identity, known.balance.held) == (TEAM_USD, 0)
        return known.balance.posted


class Spool:
    """Where what is owed would be written down."""

    adopted = True

    def forget(self):
        """Nothing is kept."""


@pytest.fixture
def world(tmp_path):
    """A world whose policy sends again what may have been billed."""
    made = World(tmp_path)
    yield made
    made.ledger.close()


def test_a_call_goes_through_all_troubles(world):
    """Each is met as the policy says; the silent leg stays charged, and each pause is of its kind."""
    _, receipt = world.call(TROUBLE)
    assert world.models == [OPUS, SONNET, SONNET, SONNET, HAIKU, OPUS]
    assert [leg.ended for leg in receipt.legs] == ["refused", "silent", "refused", "refused", "answered"]
    assert [leg.attempts for leg in receipt.legs] == [1, 2, 1, 1, 1]
    assert receipt.attempts == len(world.models)
    assert receipt.decision.reason == (
        f"{OPUS} was overloaded (529), {SONNET} did not answer, {SONNET} was overloaded (529), "
        f"{HAIKU} was overloaded (529): {OPUS} again"
    )
    kept = [index for index, leg in enumerate(receipt.legs) if leg.cost.nanos]
    assert kept == [1, 4]
    assert world.posted() == receipt.cost.nanos == sum(leg.cost.nanos for leg in receipt.legs)
    pauses = [effect.seconds for effect in world.effects if isinstance(effect, Sleep)]
    (come_back_s,) = [pause_s for pause_s in pauses if pause_s >= 30]
    assert [1 <= pauses[0] <= 2, come_back_s <= 60] == [True, True]  # and turns, while the API is paused


@pytest.mark.parametrize("after", [False, True])
def test_ctrl_c_anywhere_leaves_no_hold(tmp_path, after):
    """It goes on to the caller once what is open is closed; and what may have been billed stays charged."""
    number, met = 0, True
    while met:
        number, met = number + 1, False
        (tmp_path / str(number)).mkdir()
        world = World(tmp_path / str(number))

        def interrupt(count, _effect, nth=number, **when):
            nonlocal met
            if count == nth and when == {"after": after}:
                met = True
                raise KeyboardInterrupt

        try:
            world.call(TROUBLE, interrupt)
        except (KeyboardInterrupt, BrokenError):
            assert met
        world.settle_down()
        assert world.ledger.execute(c.ListHolds()) == (), f"after effect {number}"
        assert len(world.models) < 3 or world.posted() > 0, f"after effect {number}"
        world.ledger.close()
    assert number > len(TROUBLE) * 2


@pytest.mark.parametrize("after", [False, True])
def test_a_lost_reply_anywhere_is_healed(tmp_path, after):
    """One answer of the ledger that is lost changes nothing of what a call costs."""
    number, met = 0, True
    while met:
        number, met = number + 1, False
        (tmp_path / str(number)).mkdir()
        world = World(tmp_path / str(number))

        def lose(count, effect, nth=number, **when):
            nonlocal met
            if count == nth and when == {"after": after}:
                met = True
                if isinstance(effect, c.Command):
                    raise LedgerDown("lost")

        _, receipt = world.call(TROUBLE, lose)
        world.settle_down()
        assert world.posted() == receipt.cost.nanos
        world.ledger.close()


def test_a_ledger_that_goes_away_between_two_legs_ends_the_call(world):
    """Where the policy refuses without it, the API's error is raised from the ledger's; nothing is held."""

    def leave(_number, effect, *, after):
        world.away |= after and isinstance(effect, c.Release)

    with pytest.raises(BrokenError) as raised:
        world.call((OVERLOADED, ANSWERED), leave)
    assert isinstance(raised.value.__cause__, LedgerDown)
    assert world.models == [OPUS]
    world.settle_down()
    assert world.posted() == 0


def test_a_call_may_go_on_without_its_ledger(tmp_path):
    """With `if_ledger_is_down: allow` the next leg is written down, sent, and told to the ledger later."""
    world = World(tmp_path, if_ledger_is_down="allow")

    def leave(_number, effect, *, after):
        world.away |= after and isinstance(effect, c.Release)

    _, receipt = world.call((OVERLOADED, ANSWERED), leave)
    assert world.models == [OPUS, SONNET]
    assert (receipt.decision.outcome, receipt.settled) == ("allowed", False)
    assert {effect.command.id for effect in world.effects if isinstance(effect, Owe)} == {"one~2"}
    world.settle_down()
    assert world.posted() == receipt.cost.nanos
    world.ledger.close()


def test_a_stream_keeps_the_hold_of_its_leg(world):
    """What is extended is the leg's own hold."""
    world.perform = streaming(world)
    world.call((OVERLOADED, ANSWERED))
    assert [effect.id for effect in world.effects if isinstance(effect, c.Extend)] == ["one~2"]


def streaming(world):
    """As *world* performs, but the second sending streams for a while."""
    perform = world.perform

    def instead(effect, answers):
        if isinstance(effect, Send) and world.models:
            return Running()
        return next(answers) if isinstance(effect, Resume) else perform(effect, answers)

    return instead


def test_ids_of_legs():
    """They are the request's with the leg's number, and no longer than a request's may be."""
    assert [leg_id("one", 1), leg_id("one", 2), leg_id("x" * 126, 3)] == ["one", "one~2", "x" * 126 + "~3"]
    long, other = leg_id("x" * 128, 2), leg_id("x" * 127 + "y", 2)
    assert long != other
    assert max(len(long), len(other)) <= 128
