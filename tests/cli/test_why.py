"""`governor why`: a request's story from the journal."""

from __future__ import annotations

import json

import pytest
from support.gateway import Gateway

from governor import Governor
from governor.budgets import Unit
from governor.ledger import commands as c
from governor.ledger import open_ledger
from governor.story.legs import leg_id
from governor.testing import FakeClaude, overloaded

TEAM = "department=engineering/usd/month"
ADA = "department=engineering/user=ada@example.com/usd/life"


def test_an_outcome_is_told_by_its_id(run, firm):
    """What was entered is told with its name and what it says, in words and as JSON."""
    record = '{"value": "12.50", "unit": "usd", "run": "pr-7"}'
    ledger = open_ledger(firm.ledger, organization_of(run, firm))
    ledger.execute(c.Enter("won-1", "outcome", "ticket_resolved", record))
    ledger.close()
    said = run("why", "won-1", *firm.options)
    assert "outcome ticket_resolved: value 12.50, unit usd, run pr-7" in said.out
    (told,) = json.loads(run("why", "won-1", "--json", *firm.options).out)["told"]
    assert (told["kind"], told["name"], told["record"]) == ("outcome", "ticket_resolved", json.loads(record))


def test_a_served_request(run, firm):
    """Who asked, each budget's numbers before it, the model that served and what it cost."""
    said = run("why", "second", *firm.options)
    assert said.code == 0
    assert "ada@example.com, department engineering, run pr-7" in said.out
    assert "asked for  haiku, max_tokens 1,000" in said.out
    assert "1. claude-haiku-5-5 (asked for), up to $0.000" in said.out
    assert "Settled: $0.0005" in said.out
    assert "output 1,000" in said.out


def test_a_served_request_as_json(run, firm):
    """The decision's candidates and budgets, and the posting, as numbers that add up."""
    story = run("why", "first", *firm.options, "--json").json
    (decision,), (ending,) = story["decisions"], story["endings"]
    assert decision["outcome"] == "held"
    assert [tried["verdict"] for tried in decision["candidates"]] == ["fits", "not tried", "not tried"]
    assert [budget["posted"] for budget in decision["budgets"]] == [0, 0, 0, 0]
    assert (ending["kind"], ending["state"]) == ("settle", "settled")
    assert ending["cost_nanos"] == ending["posted"][TEAM] == ending["posted"][ADA] > 20_000_000
    assert ending["cost_nanos"] <= decision["candidates"][0]["ceiling_nanos"]


def test_what_had_no_price_is_told(run, firm):
    """A served request whose usage has no price here says what, and not that its usage was never seen."""
    with Gateway(model="claude-nova-9") as gateway:
        serve(firm, gateway, "unknown")
        vars(gateway).update(model="", ended={"output_tokens": 9, "hologram_tokens": 3})
        serve(firm, gateway, "odd")
    said = run("why", "unknown", *firm.options)
    assert "no price for: model 'claude-nova-9' has no price" in said.out
    assert "so the whole hold is charged at least" in said.out
    assert "no final usage was seen" not in said.out
    assert "no price for: hologram_tokens; so the whole hold" in run("why", "odd", *firm.options).out
    assert "no price for" not in run("why", "first", *firm.options).out


def organization_of(run, firm):
    """The firm's organisation."""
    return run("policy", "check", str(firm.policies), "--json").json["organization"]


def serve(firm, api, identifier, model="haiku"):
    """One call that *api* answers, a gateway or a fake API."""
    with (
        api.client(is_async=False) if isinstance(api, Gateway) else api.client() as client,
        Governor.load(firm.policies, ledger=firm.ledger, client=client) as governor,
    ):
        governor.call(
            user="ada@example.com",
            department="engineering",
            request_id=identifier,
            model=model,
            max_tokens=100,
            messages=[{"role": "user", "content": "Why?"}],
        )


def test_a_call_of_several_legs_is_told_together(run, firm):
    """The model that was overloaded, and the leg that served; asked by the id of either."""
    with FakeClaude() as api:
        api.inject(overloaded())
        serve(firm, api, "moved", model="opus")
    told = [run("why", name, *firm.options) for name in ("moved", "moved~2")]
    assert told[0].out == told[1].out
    assert "Request moved" in told[0].out
    assert "error      OverloadedError (HTTP 529)" in told[0].out
    assert told[0].out.index("Released") < told[0].out.index("Leg 2 of moved") < told[0].out.index("Settled")
    story = run("why", "moved", *firm.options, "--json").json
    (later,) = story["legs"]
    assert (story["leg"], later["leg"], later["id"]) == (1, 2, "moved~2")
    assert [ending["record"]["model"] for each in (story, later) for ending in each["endings"]] == [
        "claude-opus-5-5",
        "claude-sonnet-5-5",
    ]
    assert run("why", "first", *firm.options, "--json").json["legs"] == []


def test_legs_that_no_budget_bore_are_told_too(run, firm):
    """A leg that was refused stands between the one before and the one after."""
    ledger, record = open_ledger(firm.ledger, organization_of(run, firm)), json.dumps(RECORD)
    row = c.BudgetRow("department=legal/usd/life", "life", 0, 0, Unit.USD, 6 * 10**9)
    for number, amount in enumerate((10, 7 * 10**9, 10), 1):
        mark = {"of": "round", "leg": number} if number > 1 else {}
        name, asked = leg_id("round", number), json.dumps(json.loads(record) | mark)
        ledger.execute(c.Reserve(name, (row,), ((c.Ask(amount),),), 60_000, record=asked))
        if number == 1:
            ledger.execute(c.Release(name, (c.Posting(row, 0),), json.dumps({"next": "round~2"})))
    ledger.close()
    told = run("why", "round", *firm.options, "--json").json
    assert [leg["decisions"][0]["outcome"] for leg in told["legs"]] == ["exhausted", "held"]


def test_a_refused_request_names_what_bound_it(run, firm):
    """A refusal shows the verdict on the model, the budget that bound it, and its numbers then."""
    story = run("why", "refused", *firm.options, "--json").json
    (decision,) = story["decisions"]
    (tried,) = decision["candidates"]
    assert (decision["outcome"], tried["verdict"], tried["binding"]) == ("exhausted", "exhausted", ADA)
    assert tried["model"] == "claude-opus-5-5"
    assert story["endings"] == []
    said = run("why", "refused", *firm.options)
    assert f"bound by {ADA}" in said.out
    assert "Refused: exhausted" in said.out


def test_an_expired_hold(run, firm):
    """A call whose process died shows what its expiry charged, and the threshold that crossed."""
    expire_in_life_budget(firm.ledger, organization_of(run, firm))
    story = run("why", "dead", *firm.options, "--json").json
    (ending,) = story["endings"]
    assert (ending["kind"], ending["state"], ending["cost_nanos"]) == ("expire", "expired", 5 * 10**9)
    assert [crossed["percent"] for crossed in ending["thresholds"]] == [80]
    assert "Expired: $5.00" in run("why", "dead", *firm.options).out


def expire_in_life_budget(url, organization):
    """Hold $5.00 of legal's $6.00 an hour ago for a minute, and expire it."""
    reserve = c.Reserve(
        "dead",
        (c.BudgetRow("department=legal/usd/life", "life", 0, 0, Unit.USD, 6 * 10**9, (8000,)),),
        ((c.Ask(5 * 10**9),),),
        60_000,
        record=json.dumps(RECORD),
    )
    ledger = open_ledger(url, organization)
    now = ledger.execute(c.Read(())).now_ms
    ledger.close()
    past = open_ledger(url, organization, clock=lambda: now - 3_600_000)
    past.execute(reserve)
    past.close()
    ledger = open_ledger(url, organization)
    due = ledger.execute(c.ListHolds())
    ledger.execute(c.Expire(tuple(c.DueHold(hold.id, hold.balances) for hold in due)))
    ledger.close()


RECORD = {
    "v": 1,
    "user": "ruth@example.com",
    "department": "legal",
    "feature": None,
    "run": None,
    "asked": "haiku",
    "pin": False,
    "max_tokens": 1000,
    "input_tokens": 10,
    "estimate": "count_tokens",
    "candidates": [
        {
            "model": "claude-haiku-5-5",
            "line": "haiku",
            "why": "asked for",
            "ceiling_nanos": 5 * 10**9,
            "ceiling_tokens": 1000,
        }
    ],
    "skipped": [],
    "budgets": [
        {
            "identity": "department=legal/usd/life",
            "window": "life",
            "end_ms": 0,
            "limit": 6 * 10**9,
            "source": "",
        }
    ],
    "asks": [[[5 * 10**9, 10_000, 0]]],
    "policy": "0",
    "prices": "0",
}


def test_an_administrators_operation(run, firm):
    """The id that a grant answers with tells who granted what, and why."""
    done = run("budget", "grant", TEAM, "5", "--reason", "launch", "--actor", "fin", *firm.options, "--json")
    said = run("why", done.json["operation"], *firm.options)
    assert f"{TEAM} granted $5.00 by fin: launch" in said.out


@pytest.mark.parametrize(("typed", "hint"), [("secnd", "did you mean 'second'?"), ("?", "message.receipt")])
def test_an_unknown_id(run, firm, typed, hint):
    """An id the journal does not have is a failure that says where ids are found."""
    said = run("why", typed, *firm.options, "--json")
    assert said.code == 1
    assert hint in said.err
    assert hint in said.json["error"]["message"]
