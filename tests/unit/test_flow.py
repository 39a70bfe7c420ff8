"""The order of things in the flow that only odd clocks and ledgers show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.governed import HELLO, NOON_MS, Clock, department

from governor import flow
from governor.clock import LedgerClock
from governor.errors import LedgerUnavailable
from governor.ledger import commands as c
from governor.ledger.sqlite import SqliteLedger
from governor.policy import Attribution, load
from governor.pricing import PriceTable
from governor.story.effects import CountTokens, Ended, Send
from governor.story.request import House, Request

MINUTE_USD = "department=team/usd/minute"
ANSWERED = Ended("answered", usage={"input_tokens": 19, "output_tokens": 10})


@pytest.fixture
def house(tmp_path):
    """Policies with one budget a minute, and a client whose clock is an hour behind."""
    team = department({"per": "department", "usd": 1, "window": "minute"})
    (tmp_path / "team.yaml").write_text(json.dumps(team), encoding="utf-8")
    return House(load(tmp_path), PriceTable.load(), LedgerClock(Clock(NOON_MS - 3_600_000)))


@pytest.fixture
def ledger(house):
    """A ledger whose clock is right, or as a test sets it."""
    made = SqliteLedger(Path(":memory:"), house.policies.organization, clock=Clock())
    yield made
    made.close()


def request(identifier="one"):
    """A plain request."""
    return Request(identifier, Attribution("team", "u"), "auto", 100, {"messages": HELLO})


def drive(story, ledger, *, before_reserve=lambda: None):
    """Carry a story out: the effects it yielded, by name, and what came of it."""
    names, reply = [], None
    try:
        while True:
            effect = story.send(reply)
            names.append(type(effect).__name__)
            if isinstance(effect, c.Reserve):
                before_reserve()
            if isinstance(effect, CountTokens):
                reply = 19
            elif isinstance(effect, Send):
                reply = ANSWERED
            else:
                reply = ledger.execute(effect)
    except StopIteration as done:
        return names, done.value


def test_effects_come_in_order(house, ledger):
    """Count, hold, send, settle; a wrong clock costs one more question, once."""
    names, _ = drive(flow.govern(house, request()), ledger)
    assert names == ["CountTokens", "Reserve", "Reserve", "Send", "Settle"]
    names, (_, receipt) = drive(flow.govern(house, request("two")), ledger)
    assert names == ["Reserve", "Send", "Settle"]  # the same prompt is not counted again
    (known,) = ledger.execute(c.ListBalances())
    assert (known.identity, known.window) == (MINUTE_USD, "2026-11-20T12:00Z")
    assert known.balance.posted == 2 * receipt.cost.nanos


def test_a_window_that_ends_while_it_is_asked_for_is_asked_again(house, ledger):
    """A minute that is over when the ledger looks is computed anew, and the hold is in the new one."""
    drive(flow.govern(house, request()), ledger)
    ledger._clock.forward(60)
    names, _ = drive(flow.govern(house, request("two")), ledger)
    assert names.count("Reserve") == 2
    assert [known.window[-6:] for known in ledger.execute(c.ListBalances(past=True))] == ["12:00Z", "12:01Z"]


def test_a_ledger_whose_clock_runs_away_is_given_up(house, ledger):
    """A clock that leaves every window computed for it ends in an error, not in asking for ever."""
    with pytest.raises(LedgerUnavailable, match="clock keeps leaving the windows"):
        drive(flow.govern(house, request()), ledger, before_reserve=lambda: ledger._clock.forward(120))


def test_a_story_given_up_between_two_effects_says_nothing_more(house, ledger):
    """Closing a story, as when its driver is gone, yields no further effect: the hold is left to expire."""
    story = flow.govern(house, request())
    effect = next(story)
    while not isinstance(effect, Send):
        effect = story.send(19 if isinstance(effect, CountTokens) else ledger.execute(effect))
    story.close()
    assert [hold.id for hold in ledger.execute(c.ListHolds())] == ["one"]


def test_a_decision_reads_the_window_of_the_ledgers_clock(house, ledger):
    """With a clock that is an hour behind, the first decision already shows what is spent this minute."""
    drive(flow.govern(House(house.policies, house.prices, LedgerClock(Clock())), request()), ledger)
    assert house.clock.now_ms() != NOON_MS
    names, decision = drive(flow.decide(house, request("two")), ledger)
    (budget,) = decision.budgets
    assert (budget.window, budget.posted > 0) == ("2026-11-20T12:00Z", True)
    assert names == ["CountTokens", "Read", "Read"]
    names, _ = drive(flow.decide(house, request("three")), ledger)
    assert names == ["Read"]
