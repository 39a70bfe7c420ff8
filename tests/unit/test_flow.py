"""The order of things in the flow that only odd clocks and ledgers show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.governed import HELLO, NOON_MS, Clock, department

from governor import flow
from governor.budgets import Unit
from governor.clock import LedgerClock
from governor.errors import BudgetContended, GovernorError, LedgerUnavailable, ReservationConflict
from governor.ledger import commands as c
from governor.ledger.sqlite import SqliteLedger
from governor.policy import Attribution, load
from governor.pricing import PriceTable
from governor.story.effects import CountTokens, Ended, Send, Sleep
from governor.story.request import House, Request

MINUTE_USD = "department=team/usd/minute"
MINUTE = c.BudgetRow(MINUTE_USD, "2026-11-20T12:00Z", NOON_MS, NOON_MS + 60_000, Unit.USD, 10**9)
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


def drive(story, ledger, *, before_reserve=lambda: None, reply=None):
    """Carry a story out from *reply* on: the effects it yielded, by name, and what came of it."""
    names = []
    try:
        effect = story.send(reply)
        while True:
            names.append(type(effect).__name__)
            if isinstance(effect, c.Reserve):
                before_reserve()
            try:
                reply = perform(effect, ledger)
            except GovernorError as error:
                effect = story.throw(error)
            else:
                effect = story.send(reply)
    except StopIteration as done:
        return names, done.value


def perform(effect, ledger):
    """What came of an effect."""
    if isinstance(effect, CountTokens):
        return 19
    return ANSWERED if isinstance(effect, Send) else ledger.execute(effect)


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


@pytest.fixture
def patient(tmp_path):
    """The same budget; calls wait for held money, and are counted only where it matters."""
    waits = {"when_contended": {"max_wait": 30}}
    team = department({"per": "department", "usd": 1, "window": "minute"}, routing=waits, estimate="auto")
    (tmp_path / "team.yaml").write_text(json.dumps(team), encoding="utf-8")
    made = House(load(tmp_path), PriceTable.load(), LedgerClock(Clock(NOON_MS)))
    made.hints.note((MINUTE,), (c.Balance(0, 0, 10**9),), NOON_MS)
    return made


@pytest.mark.parametrize("late", ["trial", "counted"])
def test_a_late_copy_that_opens_the_hold_is_what_the_call_is_held_for(patient, ledger, late):
    """As a trial, or in the minute before: no conflict; posted is in that window, and nothing is held."""
    ledger.execute(c.Reserve("others", (MINUTE,), ((c.Ask(10**9),),), 60_000))
    story = flow.govern(patient, request())
    asked = story.send(None)
    assert asked.trial
    effect = story.send(ledger.execute(asked))
    assert isinstance(effect, CountTokens)
    if late == "counted":
        asked = story.send(19)
        assert isinstance(story.send(ledger.execute(asked)), Sleep)
    ledger.execute(c.Release("others", (c.Posting(MINUTE, 0),)))
    assert isinstance(ledger.execute(asked), c.Held)  # a copy of the asking, come late
    if late == "counted":
        ledger._clock.forward(60)
        patient.clock.learn(NOON_MS + 60_000)
    names, (_, receipt) = drive(story, ledger, reply=19 if late == "trial" else None)
    assert names == ["Reserve", "Reserve", "Send", "Settle"]
    (known,) = ledger.execute(c.ListBalances(past=True))
    assert (known.window, known.balance.posted, known.balance.held) == (MINUTE.window, receipt.cost.nanos, 0)


def test_an_id_that_is_somebody_else_s_is_a_conflict(patient, ledger):
    """Another call's hold is never taken for a late copy of one's own."""
    ledger.execute(c.Reserve("one", (MINUTE,), ((c.Ask(5),),), 60_000))
    with pytest.raises(ReservationConflict):
        drive(flow.govern(patient, request()), ledger)


def told_of_a_dead_hold(house, ledger):
    """A story that is told of a dead process's hold of all the money, and wants it expired."""
    house.clock.learn(NOON_MS)
    ledger.execute(c.Reserve("dead", (MINUTE,), ((c.Ask(10**9),),), 1_000, charge_on_expiry=False))
    ledger._clock.forward(2)
    story = flow.govern(house, request())
    effect = next(story)
    while not isinstance(effect, c.Expire):
        effect = story.send(19 if isinstance(effect, CountTokens) else ledger.execute(effect))
    return story, effect


def test_holds_that_somebody_else_expired_first_refuse_nobody(house, ledger):
    """Of two who are told of the same dead hold, the one whose expiry closes none asks again, and is held."""
    story, effect = told_of_a_dead_hold(house, ledger)
    ledger.execute(effect)
    names, (_, receipt) = drive(story, ledger, reply=ledger.execute(effect))
    assert (names, receipt.settled) == (["Reserve", "Send", "Settle"], True)


def test_a_ledger_that_goes_on_naming_dead_holds_is_not_asked_for_ever(house, ledger):
    """A hold that is still named after it was closed is asked about once more, and then refuses."""
    story, _ = told_of_a_dead_hold(house, ledger)
    again = story.send(c.Expired((), ()))
    assert isinstance(story.send(ledger.execute(again)), c.Expire)
    with pytest.raises(BudgetContended):
        story.send(c.Expired((), ()))
