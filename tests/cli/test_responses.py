"""`governor responses`: what alerts had done is listed, and undone by one command."""

from __future__ import annotations

import time

from cli.test_why import organization_of

from governor.ledger import commands as c
from governor.ledger import open_ledger

TEAM = "department=engineering/usd/month"


def given(invoke, firm, name, kind, setting="", **subject):
    """Give an order for an hour."""
    ledger = open_ledger(firm.ledger, organization_of(invoke, firm))
    until_ms = time.time_ns() // 1_000_000 + 3_600_000
    alert = "budget/department=engineering/1"
    order = c.Order(
        name, kind, tuple(subject.items()), setting, until_ms, "it is dear", "governor alerts", alert
    )
    ledger.execute(c.PlaceOrder(order))
    ledger.close()


def test_responses_are_listed_and_undone(run, firm):
    """Each with whom it meets, until when and why; undone it is gone, and the journal says by whom."""
    given(run, firm, "o1", "tighten", "economy", department="engineering")
    given(run, firm, "o2", "freeze_run", run="pr-7")
    said = run("responses", "list", *firm.options)
    for text in (
        "tighten to economy",
        "department=engineering",
        "freeze run",
        "run=pr-7",
        "it is dear",
        "o2",
    ):
        assert text in said.out
    rows = run("responses", "list", *firm.options, "--json").json["responses"]
    assert [(row["id"], row["kind"], row["subject"]) for row in rows] == [
        ("o1", "tighten", {"department": "engineering"}),
        ("o2", "freeze_run", {"run": "pr-7"}),
    ]
    undone = run("responses", "undo", "o1", "--reason", "it was a test", "--actor", "grace", *firm.options)
    assert undone.code == 0, undone.err
    assert "undone: tighten to economy of department=engineering until" in undone.out
    assert [row["id"] for row in run("responses", "list", *firm.options, "--json").json["responses"]] == [
        "o2"
    ]
    told = run("why", "lift-o1", *firm.options).out
    assert "response lifted" in told
    assert "it was a test" in told
    assert "by alert" not in run("why", "o1", *firm.options).err
    assert "it was undone before" in run("responses", "undo", "o1", *firm.options).out


def test_a_budget_shows_the_responses_that_concern_it(run, firm):
    """Those of its department or user; a frozen run's own budget says why."""
    given(run, firm, "o1", "tighten", "economy", department="engineering")
    given(run, firm, "o2", "tighten", "economy", department="legal")
    said = run("budget", "show", TEAM, *firm.options).out
    assert "response   tighten to economy of department=engineering until" in said
    assert "(o1)" in said
    assert "(o2)" not in said
    shown = run("budget", "show", TEAM, *firm.options, "--json").json
    assert [one["id"] for one in shown["responses"]] == ["o1"]


def test_a_tags_budget_shows_the_responses_of_the_tag(run, firm):
    """A budget's identity writes a tag otherwise than an order does."""
    team = firm.policies / "engineering.yaml"
    tagged = "budgets:\n  - {per: 'tag:project', usd: 5, window: month}"
    team.write_text(team.read_text().replace("budgets:", tagged))
    given(run, firm, "o1", "tighten", "economy", department="engineering", **{"tag:project": "atlas"})
    budget = "department=engineering/tag.project=atlas/usd/month"
    assert [
        one["id"] for one in run("budget", "show", budget, *firm.options, "--json").json["responses"]
    ] == ["o1"]


def test_budgets_are_listed_while_a_run_is_frozen(run, firm):
    """The budget by which an order freezes a run is no file's, and disturbs no list."""
    before = run("budget", "list", *firm.options).out
    given(run, firm, "o2", "freeze_run", run="pr-7")
    listed = run("budget", "list", *firm.options)
    assert (listed.code, listed.out) == (0, before)


def test_an_unknown_response_is_refused(run, firm):
    """It says what is in force."""
    said = run("responses", "undo", "nobody", *firm.options)
    assert said.code == 1
    assert "no response has the id 'nobody': none is in force" in said.err
    given(run, firm, "o1", "tighten", "economy", department="engineering")
    assert "in force: o1" in run("responses", "undo", "nobody", *firm.options).err
    assert "no response is in force" not in run("responses", "list", *firm.options).err
