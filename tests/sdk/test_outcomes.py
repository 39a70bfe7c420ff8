"""What calls were good for, as the application says it."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal

import pytest
from support.governed import department
from support.stages import blocking, once

import governor
from governor import PolicyViolation, ReservationConflict
from governor.journal.call import Result
from governor.journal.fold import read_result
from governor.ledger import open_ledger

TEAM = {"per": "department", "usd": "1", "window": "life"}
ASKER = {"user": "ada", "department": "team", "feature": "support"}


def told(stage) -> list[Result | None]:
    """The outcomes that the journal has."""
    return [read_result(entry) for entry in stage.journal("outcome")]


def test_an_outcome_is_in_the_journal_as_it_was_said(stage):
    """Its name, value, unit, run, call and whose it is; at the ledger's time; no budget is touched."""
    caller = stage.governor(department(TEAM))
    message = caller.call(run="pr-7")
    before = stage.balances()
    known = caller.outcome(
        *("ticket_resolved",), value="12.50", run="pr-7", call=message.receipt.request_id, **ASKER, id="won-1"
    )
    assert known == "won-1"
    assert told(stage) == [
        Result(
            *("won-1", stage.clock(), "ticket_resolved", "12.50", "usd"),
            *("pr-7", message.receipt.request_id, "team", "ada", "support"),
        )
    ]
    assert stage.balances() == before


def test_an_outcome_counts_once_by_its_id(stage):
    """Said again with its id, nothing is added; anything else under that id is refused."""
    caller = stage.governor(department(TEAM))
    for _ in range(2):
        assert caller.outcome("lead_won", value=40, id="lead-9") == "lead-9"
    with pytest.raises(ReservationConflict, match="'lead-9' was used before for another outcome"):
        caller.outcome("lead_won", value=41, id="lead-9")
    assert [one.value for one in told(stage)] == ["40"]
    assert caller.outcome("lead_won") != caller.outcome("lead_won")
    assert [(one.value, one.unit) for one in told(stage)[1:]] == [(None, "")] * 2


@blocking
@pytest.mark.parametrize(
    ("value", "unit", "kept"),
    [
        (Decimal("12.5"), "usd", "12.5"),
        (Decimal("1E+3"), "usd", "1000"),
        (-3, "usd", "-3"),
        ("0.000000001", "usd", "0.000000001"),
        (0.87, "score", "0.87"),
        (1e-7, "score", "0.0000001"),
        (3, "tickets", "3"),
    ],
)
def test_a_value_is_kept_digit_by_digit(stage, value, unit, kept):
    """Money as it is, to the nano-dollar; scores as floats are written."""
    stage.governor(department(TEAM)).outcome("done", value=value, unit=unit)
    ((found),) = told(stage)
    assert (found.value, found.unit) == (kept, unit)


@once
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"value": 12.5}, "money is never one: give a whole number of dollars, a decimal.Decimal or text"),
        ({"value": "12,50"}, "'12,50', which is no number"),
        ({"value": "0.0000000001"}, "finer than one nano-dollar"),
        ({"value": "NaN"}, "not a finite number of dollars"),
        ({"value": float("inf"), "unit": "score"}, "no finite number"),
        ({"value": True}, "give a number"),
        ({"value": "1" * 50}, "more than 40 characters"),
        ({"value": 1, "unit": "US Dollars"}, "give `usd`, `score` or a word of a-z 0-9 _"),
        ({"run": ""}, "run is ''"),
        ({"user": 7}, "user is 7"),
        ({"call": "a\nb"}, "call is 'a\\nb'"),
        ({"id": "a b"}, "'a b' is no request id"),
        ({"name": ""}, "name is ''"),
    ],
)
def test_what_is_malformed_is_refused_and_not_kept(stage, wrong, said):
    """The error says which part, and what to give."""
    caller = stage.governor(department(TEAM))
    with pytest.raises(PolicyViolation) as refused:
        caller.outcome(wrong.pop("name", "done"), **wrong)
    assert said in str(refused.value)
    assert told(stage) == []


def test_whose_it_is_may_be_said_around_it(stage):
    """`governor.attribute` says run, user, department and feature where the outcome does not."""
    caller = stage.governor(department(TEAM))
    with governor.attribute(**ASKER, run="pr-7"):
        caller.outcome("done")
        caller.outcome("done", run="pr-8", user="bob")
    first, second = told(stage)
    assert (first.run, first.user, first.department, first.feature) == ("pr-7", "ada", "team", "support")
    assert (second.run, second.user, second.department) == ("pr-8", "bob", "team")


def test_the_module_says_it_too(tmp_path, monkeypatch):
    """`governor.outcome` and `governor.aoutcome` take policies and ledger from the environment."""
    from governor.clients import default

    (tmp_path / "organization.yaml").write_text("version: 1\norganization: acme\n")
    (tmp_path / "team.yaml").write_text(json.dumps(department(TEAM)))
    url = f"sqlite:///{tmp_path}/governor.db"
    monkeypatch.setenv("GOVERNOR_POLICIES", str(tmp_path))
    monkeypatch.setenv("GOVERNOR_LEDGER", url)
    default._blocking.cache_clear()
    try:
        governor.outcome("done", id="a")
        asyncio.run(governor.aoutcome("done", id="b"))
    finally:
        default._blocking().close()
        default._blocking.cache_clear()
    ledger = open_ledger(url, "acme")
    from governor.ledger import commands as c

    assert [entry.id for entry in ledger.execute(c.ReadJournal()) if entry.kind == "outcome"] == ["a", "b"]
    ledger.close()
