"""What the policy forbids before any budget is asked is in the journal, however often it is tried."""

from __future__ import annotations

import json

import pytest
from support.governed import department
from support.lines import agree, listening
from support.stages import on_sqlite, once

from governor import LedgerUnavailable, PolicyViolation, UnknownModel
from governor.journal.fold import Fold

LIFE = {"per": "department", "usd": 10, "window": "life"}


def team():
    """A policy that declares one feature and knows its prices."""
    return department(LIFE, features={"chat": {"max_tokens": 100}})


def rows(stage):
    """The calls that the stage's journal tells of."""
    fold = Fold()
    fold.take(stage.journal())
    assert fold.unreadable == 0
    return fold.rows()


def test_a_forbidden_request_is_a_blocked_call(stage):
    """Whose it was, for what, and why it was forbidden; it cost nothing and nothing was held or sent."""
    caller = stage.governor(team())
    with pytest.raises(PolicyViolation) as refused:
        caller.call(feature="poetry", run="r", request_id="mine")
    (call,) = rows(stage)
    assert (call.id, call.user, call.department, call.run) == ("mine", "u", "team", "r")
    assert (call.state, call.reason, call.error, call.refusals) == ("blocked", "policy", "PolicyViolation", 1)
    assert (call.cost_nanos, stage.holds(), stage.sent()) == (0, (), [])
    (entry,) = stage.journal("violation")
    assert json.loads(entry.record)["said"] == str(refused.value)[:300]


@on_sqlite
def test_a_model_without_a_price_is_told_apart(stage):
    """The reason says that it had no price."""
    caller = stage.governor(team())
    with pytest.raises(UnknownModel):
        caller.call(feature="chat", model="claude-from-nowhere")
    assert [(call.reason, call.error) for call in rows(stage)] == [("unpriced", "UnknownModel")]


@on_sqlite
def test_the_log_line_of_it_says_the_same(stage):
    """What is told as it happens is what the journal's record tells."""
    caller = stage.governor(team())
    with listening() as lines, pytest.raises(PolicyViolation):
        caller.call(feature="poetry", tags={"project": "atlas"}, data={"classification": "secret"})
    (line,) = agree(stage, lines)
    assert (line["reason"], line["classification"]) == ("policy", "secret")


@on_sqlite
def test_a_thousand_of_them_are_a_few_records(stage):
    """One a minute of one asker, which says how many there were; made-up names write no more than sixty."""
    caller = stage.governor(team())
    for _ in range(30):
        with pytest.raises(PolicyViolation):
            caller.call(feature="poetry")
    assert [call.refusals for call in rows(stage)] == [1]
    stage.clock.forward(61)
    with pytest.raises(PolicyViolation):
        caller.call(feature="poetry")
    assert [call.refusals for call in rows(stage)] == [1, 30]
    for number in range(100):
        with pytest.raises(PolicyViolation):
            caller.call(feature="poetry", user=f"user-{number}")
    assert len(stage.journal("violation")) == 1 + 60


@on_sqlite
def test_the_same_id_may_be_served_afterwards(stage):
    """Corrected and asked again under its id, it is held; the journal has both."""
    caller = stage.governor(team())
    with pytest.raises(PolicyViolation):
        caller.call(feature="poetry", request_id="mine")
    caller.call(feature="chat", request_id="mine")
    assert [(call.turn, call.state) for call in rows(stage)] == [(0, "blocked"), (1, "answered")]


@once
def test_a_refusal_does_not_need_the_ledger(stage, tmp_path):
    """Where no ledger is, the policy's own refusal is raised, and no other error."""
    caller = stage.governor(team(), ledger=f"sqlite:///{tmp_path}/nowhere/governor.db")
    with pytest.raises(PolicyViolation):
        caller.call(feature="poetry")
    with pytest.raises(LedgerUnavailable):
        caller.call(feature="chat")
