"""What an alert asks for is carried out as an order of the ledger, once, on every store."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from contract.test_ledger_contract import STORES, Place

from governor.budgets import Unit
from governor.journal.alerts.alert import Action, Alert
from governor.journal.alerts.responses import ACTOR, carry_out, order_id
from governor.ledger import commands as c
from governor.ledger.orders import MOST_ORDERS
from governor.policy import load
from governor.testing.ledger_contract import SettableClock

POLICIES = load(Path(__file__).resolve().parents[2] / "policies")
HOUR_MS = 3_600_000
ALERT = Alert(
    key="context_growth/run=pr-7/1795176000000",
    cause="context_growth",
    severity="critical",
    title="The run pr-7 grows without end; 100 %",
    advice="Look at it.",
    began_ms=1_795_176_000_000,
    seen_ms=1_795_176_060_000,
    ended_ms=None,
    symptoms=(),
)
ACTIONS = {
    "freeze_run": Action("freeze_run", (("run", "pr-7"),), "", HOUR_MS),
    "slow": Action("slow", (("user", "ada@example.com"),), "6", HOUR_MS),
    "tighten": Action("tighten", (("department", "legal"),), "economy", HOUR_MS),
    "open_breaker": Action("open_breaker", (("model", "claude-opus-5-5"),), "", HOUR_MS),
}


@pytest.fixture(params=["sqlite", "memory", "redis", "cluster"])
def ledger(request, tmp_path, org):
    """A ledger made just now."""
    made = STORES[request.param](Place(request, SettableClock(), tmp_path, org), create=True)
    yield made
    made.close()


def now_ms(ledger):
    return ledger.execute(c.Inspect()).now_ms


@pytest.mark.parametrize("kind", ACTIONS)
def test_an_action_becomes_an_order_with_who_why_and_which_alert(ledger, kind):
    """It lasts as long as asked, and the journal has the alert's key, the actor and the reason."""
    action, now = ACTIONS[kind], now_ms(ledger)
    assert carry_out(ledger, POLICIES, action, ALERT, now) == ""
    (order,) = ledger.execute(c.ListOrders()).orders
    assert (order.kind, order.subject, order.setting) == (kind, action.subject, action.setting)
    assert (order.at_ms, order.until_ms) == (now, now + HOUR_MS)
    assert (order.alert, order.actor, order.reason) == (ALERT.key, ACTOR, ALERT.title)
    (entry,) = ledger.execute(c.ReadJournal(order.id))
    record = json.loads(entry.record)
    assert (entry.kind, entry.outcome) == ("response", kind)
    assert (record["alert"], record["actor"], record["reason"]) == (ALERT.key, ACTOR, ALERT.title)
    assert (record["subject"], record["policy"]) == (dict(action.subject), POLICIES.hash)


def test_an_action_is_carried_out_once(ledger):
    """Again a minute later it is no longer; another alert's is another order; undone, it stays undone."""
    action, now = ACTIONS["freeze_run"], now_ms(ledger)
    for later in (0, 60_000):
        assert carry_out(ledger, POLICIES, action, ALERT, now + later) == ""
    (order,) = ledger.execute(c.ListOrders()).orders
    assert order.until_ms == now + HOUR_MS
    assert carry_out(ledger, POLICIES, action, replace(ALERT, key="other"), now) == ""
    assert len(ledger.execute(c.ListOrders()).orders) == 2
    ledger.execute(c.LiftOrder(order_id(action, ALERT)))
    assert carry_out(ledger, POLICIES, action, ALERT, now) == ""
    (left,) = ledger.execute(c.ListOrders()).orders
    assert left.alert == "other"


def test_a_frozen_run_is_frozen_in_the_ledger_itself(ledger):
    """Not only told: its budget refuses whatever the process that asks has heard."""
    carry_out(ledger, POLICIES, ACTIONS["freeze_run"], ALERT, now_ms(ledger))
    row = c.BudgetRow("order/run=pr-7/requests/life", "life", 0, 0, Unit.REQUESTS, 10)
    refused = ledger.execute(c.Reserve("r", (row,), ((c.Ask(1),),), 60_000))
    assert isinstance(refused, c.Refused)
    assert refused.reason == "frozen"
    assert ALERT.title in (refused.balances[0].frozen or "")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (replace(ACTIONS["tighten"], setting="cheap"), "'cheap' is no tier to tighten to"),
        (replace(ACTIONS["slow"], setting="0"), "no number of requests a minute"),
        (replace(ACTIONS["slow"], setting="²"), "no number of requests a minute"),
        (replace(ACTIONS["slow"], subject=()), "for nobody"),
        (replace(ACTIONS["freeze_run"], subject=(("user", "u"),)), "names no run"),
        (replace(ACTIONS["open_breaker"], subject=()), "names no model or line"),
        (replace(ACTIONS["tighten"], subject=(("model", "m"),)), "cannot be of {'model': 'm'}"),
        (replace(ACTIONS["tighten"], for_ms=0), "lasts up to 31 days"),
        (replace(ACTIONS["tighten"], kind="shout"), "'shout' is no response"),
    ],
)
def test_what_cannot_be_done_is_said_and_not_tried(wrong, said, tmp_path, org):
    """Why, in a sentence; nothing is ordered."""
    from governor.ledger import open_ledger

    store = open_ledger(f"sqlite:///{tmp_path}/governor.db", org, create=True)
    assert said in carry_out(store, POLICIES, wrong, ALERT, now_ms(store))
    assert store.execute(c.ListOrders()).orders == ()
    store.close()


def test_beyond_so_many_orders_it_says_what_to_do(tmp_path, org):
    """The limit is named, and how to make room."""
    from governor.ledger import open_ledger

    store = open_ledger("memory://", org, create=True)
    for number in range(MOST_ORDERS):
        alert = replace(ALERT, key=str(number))
        assert carry_out(store, POLICIES, ACTIONS["tighten"], alert, now_ms(store)) == ""
    said = carry_out(store, POLICIES, ACTIONS["tighten"], ALERT, now_ms(store))
    assert said.startswith(f"{MOST_ORDERS} orders are in force, and no more are taken: undo some with")
    store.close()
