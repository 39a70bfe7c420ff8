"""Calls without their ledger, step by step: what is asked, what is written down, and what a crash leaves."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.governed import HELLO, Clock, department

from governor import flow
from governor.clients.setup import load_house
from governor.clock import LedgerClock
from governor.errors import GovernorError, LedgerDown
from governor.journal.spool import Spool
from governor.ledger import commands as c
from governor.ledger.sqlite import SqliteLedger
from governor.policy import Attribution, load
from governor.pricing import PriceTable
from governor.story.breaker import Breaker
from governor.story.effects import Adopt, CountTokens, Ended, Heard, Owe, Send, Sleep
from governor.story.leases import TTL_MS
from governor.story.request import House, Request

ANSWERED = Ended("answered", usage={"input_tokens": 19, "output_tokens": 10})
COST = 19 * 2_000 + 10 * 10_000
CEILING = 1_166_000
USD = "department=team/usd/life"
LEASE = 10_000_000
PRICES = PriceTable.load()


class World:
    """A ledger that may be away, an API that answers, a spool, and the processes that come and go."""

    def __init__(self, folder, if_down, *, window="life"):
        self.folder, self.clock, self.away, self.sent, self.asked = Path(folder), Clock(), False, 0, 0
        team = department({"per": "department", "usd": 1, "window": window}, if_ledger_is_down=if_down)
        (self.folder / "policies").mkdir()
        (self.folder / "policies" / "team.yaml").write_text(json.dumps(team), encoding="utf-8")
        self.policies = load(self.folder / "policies")
        self.ledger = SqliteLedger(Path(":memory:"), "default", clock=self.clock)
        self.effects = []
        self.start()

    def start(self):
        """A new process; the one before it has ended, as a crash ends it."""
        if hasattr(self, "house"):
            spool = self.house.spool
            if spool._file is not None:
                os.close(spool._file)
                spool._file = None
        spool = Spool(self.folder / "spool", "default", "here")
        self.house = House(
            self.policies,
            PRICES,
            LedgerClock(self.clock),
            breaker=Breaker(lambda: self.clock() / 1000),
            spool=spool,
        )

    def call(self, name, **more):
        """One call of a user of the team, to its end."""
        request = Request(name, Attribution("team", "u"), "sonnet", 100, {"messages": HELLO})
        return self.drive(flow.govern(self.house, request), **more)

    def drive(self, story, *, stop_after=None, interrupt=None, nth=1):
        """Carry a story out; `None` if the process died after so many effects.

        *interrupt* is a type of effect: the *nth* one is carried out, and then interrupted as by Ctrl-C.
        """
        reply = error = None
        self.effects = []
        while True:
            try:
                effect = story.send(reply) if error is None else story.throw(error)
            except StopIteration as done:
                return done.value
            if len(self.effects) == stop_after:
                return None
            self.effects.append(effect)
            reply = error = None
            try:
                reply = self.perform(effect)
            except (GovernorError, OSError) as failed:
                error = failed
            if interrupt is not None and isinstance(effect, interrupt):
                nth -= 1
                error = KeyboardInterrupt() if nth == 0 else error

    def perform(self, effect):
        match effect:
            case CountTokens():
                return 19
            case Send():
                self.sent += 1
                return ANSWERED
            case Sleep():
                self.clock.forward(effect.seconds)
            case Owe() | Heard():
                self.house.spool.carry_out(effect)
            case Adopt():
                return self.house.spool.adopt()
            case c.Command():
                self.asked += 1
                if self.away:
                    raise LedgerDown("away")
                return self.ledger.execute(effect)
        return None

    def names(self):
        """The last story's effects."""
        return [type(effect).__name__ for effect in self.effects]

    def balance(self):
        """What is posted and held of the department's budget."""
        (known,) = self.ledger.execute(c.ListBalances(past=True))
        return known.balance.posted, known.balance.held

    def settle_down(self):
        """The ledger is back, everything is told, and what nobody ends has expired."""
        self.away = False
        self.clock.forward(600)
        self.drive(flow.catch_up(self.house))
        self.drive(flow.catch_up(self.house))
        due = self.ledger.execute(c.ListHolds())
        self.ledger.execute(c.Expire(tuple(c.DueHold(hold.id, hold.balances) for hold in due)))


@pytest.fixture(params=["allow", "lease"])
def world(request, tmp_path):
    """A world whose first call was served while the ledger was there."""
    made = World(tmp_path, request.param)
    made.call("first")
    yield made
    made.house.spool.close()
    made.ledger.close()


def test_what_is_written_down_and_when(world):
    """Before the call is sent, and after it ended; and only what the ledger has heard is struck out."""
    world.away = True
    world.call("second")
    assert world.names() == ["Reserve", "Sleep", "Reserve", "Owe", "Send", "Owe"]
    intent, end = [effect.command for effect in world.effects if isinstance(effect, Owe)]
    assert [posting.amount for posting in (*intent.postings, *end.postings)] == [CEILING, COST]
    world.away = False
    world.clock.forward(2)
    world.call("third")
    assert world.names()[:3] == ["Settle", "Heard", "Reserve"]
    world.settle_down()
    assert world.balance() == (3 * COST, 0)


def test_nobody_tells_an_end_before_it_is_written_down(world):
    """A thread that catches up meanwhile would find nothing to strike out, and it would stay owed."""
    perform, met = world.perform, []

    def with_another_thread(effect):
        if isinstance(effect, Send):
            world.away = True
        elif isinstance(effect, Owe) and not met:
            met.append(effect.command.id)
            world.away = False
            world.clock.forward(2)
            world.drive(flow.catch_up(world.house))
        return perform(effect)

    world.perform = with_another_thread
    world.call("second")
    world.settle_down()
    assert (met, world.balance()) == (["second"], (2 * COST, 0))
    world.house.spool.close()
    assert not [*(world.folder / "spool").rglob("*.jsonl")]


def test_an_absent_ledger_is_not_asked_by_everybody(world):
    """Within a second of a failure calls go through without asking; then one asks."""
    world.away = True
    world.call("second")
    before = world.asked
    for number in range(5):
        world.call(f"soon-{number}")
    assert world.asked == before
    world.clock.forward(1)
    world.call("later")
    assert world.asked > before


def test_a_call_given_up_while_it_is_written_down_is_not_sent(world):
    """Ctrl-C before the sending: nothing is sent, nothing is owed, and the lease is whole."""
    world.away = True
    with pytest.raises(KeyboardInterrupt):
        world.call("second", interrupt=Owe)
    assert (world.sent, world.house.spool._owed.keys() & {"second"}) == (1, set())
    lease = world.house.leases.of("team")
    assert lease is None or (lease.held, lease.posted) == (0, 0)


@pytest.mark.parametrize("where", [Sleep, c.Reserve])
def test_a_call_given_up_while_the_ledger_is_asked_is_not_sent(world, where):
    """Ctrl-C while it is asked whether the ledger is there: the call does not go through without it."""
    world.away = True
    with pytest.raises(KeyboardInterrupt):
        world.call("second", interrupt=where)
    assert world.sent == 1


def test_a_call_given_up_at_its_end_is_told(world):
    """Ctrl-C while its end is written down: it is written, and told."""
    world.away = True
    with pytest.raises(KeyboardInterrupt):
        world.call("second", interrupt=Owe, nth=2)
    world.settle_down()
    assert world.balance() == (2 * COST, 0)


def test_without_a_spool_nothing_goes_through(world):
    """Where nothing can be written down, `allow` and `lease` refuse."""
    house = world.house
    world.house = House(house.policies, house.prices, house.clock)
    world.away = True
    with pytest.raises(LedgerDown, match="away"):
        world.call("second")
    world.house = house
    assert world.sent == 1


@pytest.fixture
def leased(tmp_path):
    """A world with a lease of a day's budget."""
    made = World(tmp_path, "lease", window="day")
    made.call("first")
    yield made
    made.house.spool.close()
    made.ledger.close()


def test_a_lease_is_taken_once_and_extended_in_passing(leased):
    """The call after which it is taken asks twice more; others nothing, until half its time is over."""
    assert leased.names()[-3:] == ["Settle", "Owe", "Reserve"]
    assert leased.balance() == (COST, LEASE)
    leased.call("second")
    assert leased.names()[-1] == "Settle"
    leased.clock.forward(TTL_MS / 1000 / 2)
    leased.call("third")
    assert leased.names()[-2:] == ["Settle", "Extend"]
    (hold,) = leased.ledger.execute(c.ListHolds())
    assert hold.expires_ms == leased.clock() + TTL_MS


def test_a_lease_is_of_its_window(leased):
    """Once the day is over its lease bears nothing; while the ledger is there it is taken anew."""
    leased.away = True
    leased.clock.forward(24 * 3600)
    with pytest.raises(LedgerDown, match=r"lease of \$0\.01 \(of department=team/usd/day:2026-11-20\)"):
        leased.call("second")
    leased.away = False
    leased.clock.forward(2)
    leased.call("third")
    leased.call("fourth")
    assert leased.house.leases.of("team").rows[0].window == "2026-11-21"


def test_a_lease_follows_the_size_of_calls(tmp_path):
    """When half its time is over, and calls have become twice as dear, it is given back and taken anew."""
    world = World(tmp_path, "lease")
    world.call("first")
    lease = world.house.leases.of("team")
    world.house.leases.put(replace(lease, amount=lease.amount // 4))
    world.clock.forward(TTL_MS / 1000 / 2)
    world.call("second")
    assert world.names()[-3:] == ["Owe", "Release", "Heard"]
    world.call("third")
    assert world.house.leases.of("team").amount == LEASE
    world.house.spool.close()
    world.ledger.close()


def test_a_forked_child_has_no_lease(tmp_path, monkeypatch):
    """A child has none of its parent's leases, does not hold on to its file, and tells nothing for it."""
    world = World(tmp_path, "lease")
    world.call("first")
    house = load_house(tmp_path / "policies", None, world.clock, "sqlite:///gov.db", tmp_path / "other")
    house.leases.put(world.house.leases.of("team"))
    house.spool.carry_out(Owe(c.Settle("one", ())))
    house.unheard.append(c.Settle("one", ()))
    child = os.fork()
    if child == 0:
        has = (house.leases.of("team"), house.spool._file)
        os._exit(int(has != (None, None) or house.unheard != []))
    assert os.waitpid(child, 0)[1] == 0
    assert house.leases.of("team") is not None
    house.spool.close()
    world.house.spool.close()
    world.ledger.close()


STEPS = st.tuples(
    st.sampled_from(["up", "down"]),
    st.one_of(st.none(), st.integers(0, 9)),
    st.sampled_from([0, 0, 1, 200]),
)


@pytest.mark.parametrize("if_down", ["allow", "lease"])
@given(steps=st.lists(STEPS, min_size=1, max_size=8))
def test_whatever_comes_every_call_is_told_once(if_down, steps):
    """The ledger comes and goes, processes die between any two effects: no cost is lost, none is told twice.

    A call whose process died costs nothing, what it cost, or its ceiling; every other one what it cost.
    """
    with tempfile.TemporaryDirectory() as folder:
        world = World(folder, if_down)
        done = died_sent = died = 0
        for number, (state, dies_after, pause_s) in enumerate(steps):
            world.away = state == "down"
            world.clock.forward(pause_s)
            before = world.sent
            try:
                answered = world.call(f"call-{number}", stop_after=dies_after) is not None
            except LedgerDown:
                continue
            if answered:
                done += 1
                continue
            died += 1
            died_sent += world.sent - before
            world.start()
        world.settle_down()
        world.start()
        world.settle_down()
        known = world.ledger.execute(c.ListBalances())
        posted = known[0].balance.posted if known else 0
        assert sum(one.balance.held for one in known) == 0
        assert (done + died_sent) * COST <= posted <= done * COST + died * CEILING
        assert world.house.spool._owed == {}
        world.house.spool.close()
        world.ledger.close()
