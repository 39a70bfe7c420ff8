"""The flow under a scheduler that interleaves many stories, loses replies and lets processes die at random.

Every run follows from its seed. An auditor beside the ledger notes every hold and every settlement that was
applied, and the ledger must agree with it to the nano-dollar.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.governed import HELLO, NOON_MS, SONNET, Clock, department, usd

from governor import flow
from governor.budgets import Unit
from governor.clock import LedgerClock
from governor.errors import BudgetContended, BudgetExceeded, GovernorError, LedgerUnavailable
from governor.ledger import commands as c
from governor.ledger.sqlite import SqliteLedger
from governor.policy import Attribution, load
from governor.pricing import PriceTable
from governor.story.effects import CountTokens, Ended, Notify, Resume, Running, Send, Sleep
from governor.story.request import House, Request

if TYPE_CHECKING:
    from collections.abc import Generator

SEEDS = 200
STORIES = 12
USD = "department=team/usd/life"
CEILING = 1_166_000
"""Of one of these requests on Sonnet."""
LIMIT = 4 * CEILING + 10_000
"""Four such holds fit at once, so that stories stand in each other's way."""
TTL_S = 65


class BrokenError(Exception):
    """What the API's client raises here."""


@dataclass
class Auditor:
    """What must be in the ledger, from what was applied to it, kept without looking at it.

    Attributes:
        held: Of each open hold, by id.
        posted: Of each ended one.
        overrun: By how much settlements were above their holds.
    """

    held: dict[str, int] = field(default_factory=dict)
    posted: dict[str, int] = field(default_factory=dict)
    overrun: int = 0

    def note(self, command: Any, reply: Any) -> None:
        """Take down what *command* changed."""
        if isinstance(command, c.Reserve) and isinstance(reply, c.Held) and command.id not in self.posted:
            self.held[command.id] = command.candidates[reply.candidate][0].amount
        elif isinstance(command, c.Settle | c.Release):
            amount = command.postings[0].amount
            charged = self.held.pop(command.id, self.posted.get(command.id, amount))
            self.overrun += max(0, amount - charged)
            self.posted[command.id] = amount
        elif isinstance(command, c.Expire):
            for identifier in reply.ids:
                self.posted[identifier] = self.held.pop(identifier)


class World:
    """A ledger, a clock, an auditor, and stories whose effects are carried out one at a time."""

    def __init__(self, policies, prices, seed: int) -> None:
        self.chance = random.Random(seed)
        random.seed(seed)  # the pauses that the flow draws
        self.clock = Clock(NOON_MS)
        self.ledger = SqliteLedger(Path(":memory:"), policies.organization, clock=self.clock)
        self.house = House(policies, prices, LedgerClock(self.clock))
        self.auditor = Auditor()
        self.told: dict[str, BaseException | None] = {}
        self.alive: dict[str, tuple[Generator[Any, Any, Any], Any]] = {}

    def begin(self, number: int) -> None:
        """Start one story."""
        request = Request(
            f"story-{number}",
            Attribution("team", f"user-{number % 3}"),
            self.chance.choice(["auto", "opus", "haiku", SONNET]),
            100,
            {"messages": HELLO},
            pin=self.chance.random() < 0.2,
        )
        story = flow.govern(self.house, request)
        self.alive[request.id] = (story, next(story))

    def step(self) -> None:
        """Let one story, chosen at random, have its effect carried out; or let its process die."""
        name = self.chance.choice(sorted(self.alive))
        story, effect = self.alive[name]
        if self.chance.random() < 0.03:
            del self.alive[name]  # SIGKILL: nothing of it is carried out any more
            return
        try:
            self.alive[name] = (story, self._answer(story, effect))
        except StopIteration:
            del self.alive[name]
            self.told[name] = None
        except (GovernorError, BrokenError) as error:
            del self.alive[name]
            self.told[name] = error

    def _answer(self, story, effect) -> Any:
        try:
            reply = self._perform(effect)
        except LedgerUnavailable as error:
            return story.throw(error)
        return story.send(reply)

    def _perform(self, effect: Any) -> Any:
        match effect:
            case CountTokens():
                return self.chance.choice([19, 19, None])
            case Send() | Resume():
                self.clock.forward(self.chance.choice([0, 1, 30]))
                return self._ending()
            case Sleep():
                assert effect.seconds >= 0
                self.clock.forward(effect.seconds)
                return None
            case Notify():
                return None
        return self._tell_ledger(effect)

    def _ending(self) -> Ended | Running:
        ends = [
            Running(),
            Ended("answered", usage={"input_tokens": 19, "output_tokens": self.chance.randint(0, 100)}),
            Ended("answered", usage={"input_tokens": 19, "output_tokens": 150}),
            Ended("refused", error=BrokenError("400")),
            Ended("refused", error=BrokenError("429"), retriable=True, retry_after_s=1.0),
            Ended(
                "cut", usage={"input_tokens": 19, "output_tokens": 1}, delivered_bytes=90, error=BrokenError()
            ),
            Ended("cut", hidden_output=True, error=BrokenError("thinking")),
            Ended("silent", error=BrokenError("time-out")),
        ]
        return self.chance.choices(ends, [2, 8, 1, 1, 2, 1, 1, 1])[0]

    def _tell_ledger(self, command: Any) -> Any:
        """Carry out a command; at times it is lost on the way there, or its answer on the way back."""
        luck = self.chance.random()
        if luck < 0.05:
            raise LedgerUnavailable("lost on the way there")
        reply = self.ledger.execute(command)
        self.auditor.note(command, reply)
        self.check()
        if luck > 0.95:
            raise LedgerUnavailable("lost on the way back")
        return reply

    def balance(self) -> c.Balance:
        """Of the one usd budget."""
        row = c.BudgetRow(USD, "life", 0, 0, Unit.USD, LIMIT)
        return self.ledger.execute(c.Read((row,))).balances[0]

    def check(self) -> None:
        """At every moment: the ledger is the auditor's book, and the limit holds but for overruns."""
        balance = self.balance()
        assert balance.held == sum(self.auditor.held.values())
        assert balance.posted == sum(self.auditor.posted.values())
        assert balance.posted + balance.held <= LIMIT + self.auditor.overrun

    def bury(self) -> None:
        """Long after: expire whatever the dead left."""
        self.clock.forward(10 * TTL_S)
        while holds := self.ledger.execute(c.ListHolds()):
            due = tuple(c.DueHold(hold.id, hold.balances) for hold in holds[: c.DUE_PER_REPLY])
            self.auditor.note(expire := c.Expire(due), self.ledger.execute(expire))


@pytest.fixture(scope="module")
def policies(tmp_path_factory):
    """One department with one usd budget, a ladder, and little patience."""
    folder = tmp_path_factory.mktemp("policies")
    team = department(
        {"per": "department", "usd": usd(LIMIT), "window": "life"},
        {"per": "user", "concurrent": 3},
        {"per": "user", "requests": 100, "window": "life"},
        thresholds={"80%": {"downgrade": "sonnet"}, "95%": {"downgrade": "haiku"}},
        routing={"when_contended": {"max_wait": 1}},
        estimate="auto",
    )
    (folder / "team.yaml").write_text(json.dumps(team), encoding="utf-8")
    return load(folder)


@pytest.fixture(scope="module")
def prices():
    """The price table that ships."""
    return PriceTable.load()


def play(policies, prices, seed: int) -> World:
    """One run: stories begin at random while others run, until all have ended or died."""
    world = World(policies, prices, seed)
    number = 0
    while number < STORIES or world.alive:
        if number < STORIES and (not world.alive or world.chance.random() < 0.3):
            world.begin(number)
            number += 1
        else:
            world.step()
    return world


def test_no_schedule_breaks_the_promise(policies, prices):
    """Over many seeds: the limit holds, every hold ends, and the ledger is what settlement said."""
    outcomes: set[str] = set()
    for seed in range(SEEDS):
        try:
            world = play(policies, prices, seed)
            assert world.balance().posted <= LIMIT + world.auditor.overrun
            world.bury()
            world.check()
            left = world.ledger.execute(c.ListBalances())
            assert {known.balance.held for known in left} == {0}
            assert {known.balance.posted for known in left if "/concurrent/" in known.identity} == {0}
            world.ledger.close()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        outcomes.update(type(error).__name__ for error in world.told.values())
    # Each way for a call to end was met, or this test would prove little.
    assert outcomes == {
        "NoneType",
        BrokenError.__name__,
        BudgetContended.__name__,
        BudgetExceeded.__name__,
        LedgerUnavailable.__name__,
    }


def test_a_seed_is_a_schedule(policies, prices):
    """The same seed gives the same run, so that a failure can be looked at again."""
    first, second = (play(policies, prices, 7) for _ in range(2))
    assert first.auditor == second.auditor
    assert {name: str(error) for name, error in first.told.items()} == {
        name: str(error) for name, error in second.told.items()
    }
