"""`governor why` of calls that went while the ledger was away, and of leases."""

from __future__ import annotations

import json

import pytest
from support.redis_server import RedisServer

from governor import Governor
from governor.budgets import Unit
from governor.journal import records
from governor.ledger import commands as c
from governor.ledger import open_ledger
from governor.testing import FakeClaude

LEGAL = "department=legal/usd/life"
ROW = c.BudgetRow(LEGAL, "life", 0, 0, Unit.USD, 6 * 10**9, (5000,))


@pytest.fixture
def own_redis(redis_available):
    """A Redis that the test may kill; its data survives that."""
    with RedisServer(appendonly=True) as server:
        yield server


@pytest.fixture
def away(policies, own_redis, tmp_path):
    """Two calls of legal's, the second while the ledger was away, which has been told since; and the bill."""

    def call(if_down):
        file = policies / "legal.yaml"
        file.write_text(f"{file.read_text()}if_ledger_is_down: {if_down}\n")
        with FakeClaude() as api:
            options = {"ledger": own_redis.url, "client": api.client(), "spool": tmp_path / "spool"}
            with Governor.load(policies, create_ledger=True, **options) as governor:
                asked = {"user": "ruth@example.com", "department": "legal", "max_tokens": 100}
                asked["messages"] = [{"role": "user", "content": "Why?"}]
                governor.call(model="haiku", request_id="before", **asked)
                own_redis.kill()
                governor.call(model="haiku", request_id="away", run="pr-1", **asked)
                own_redis.start()
            return api.billed_nanos, ["--policies", str(policies), "--ledger", own_redis.url]

    return call


@pytest.mark.parametrize(
    ("if_down", "how", "terms"),
    [
        ("allow", "allowed", "allowed without it\n  no budget was asked (if_ledger_is_down: allow)"),
        ("lease", "leased", "within the lease of its process\n  no budget but the lease was asked"),
    ],
)
def test_a_call_while_the_ledger_was_away(run, away, if_down, how, terms):
    """Who it was, when, that no budget was asked and why, and to which budgets it was posted afterwards."""
    billed, options = away(if_down)
    said = run("why", "away", *options).out
    assert "who        ruth@example.com, department legal, run pr-1\n  asked for  haiku" in said
    assert f"The ledger was away: {terms}" in said
    assert f"to {LEGAL}" in said
    assert "unknown hold" not in said
    (ending,) = run("why", "away", *options, "--json").json["endings"]
    assert ending["without_ledger"] == how
    first = run("why", "before", *options, "--json").json["endings"][0]
    assert first["without_ledger"] is None
    assert first["posted"][LEGAL] + ending["posted"][LEGAL] == billed


def test_a_lease(run, away):
    """Its id in a list of holds leads to whose it is and what it took, and that it was given back."""
    _, options = away("lease")
    ledger = open_ledger(options[-1], run("policy", "check", options[1], "--json").json["organization"])
    lease = next(entry.id for entry in ledger.execute(c.ReadJournal()) if entry.id.startswith("lease."))
    ledger.close()
    said = run("why", lease, *options).out
    assert f"Lease {lease}\n  of         the department legal" in said
    assert f"of each of org/usd/month, {LEGAL}" in said
    assert "Released: $0.00" in said
    told = run("why", lease, *options, "--json").json["lease"]
    assert (told["department"], told["outcome"], told["budgets"][1]) == ("legal", "held", LEGAL)


def without_ledger(**rest):
    """The record of a call that went without its ledger, as the next process of the host tells it."""
    record = json.loads(records.administration("", ""))
    return json.dumps(
        record
        | {"user": "ruth@example.com", "department": "legal", "asked": "haiku", "admitted": "allowed"}
        | {"call": "abc", "model": "claude-haiku-5-5", "ended": "silent", "usage": {}, "uncertain": True}
        | {"cost_nanos": 4 * 10**9, "ceiling_nanos": 4 * 10**9, "attempts": 0, "latency_ms": 0}
        | {"policy": "0", "prices": "0", "priced_at_ms": 1_795_287_617_669, **rest}
    )


def test_a_call_of_a_process_that_died_while_the_ledger_was_away(run, policies, org, tmp_path):
    """That nobody heard how it ended, what is charged for it, and the threshold that this crossed."""
    url = f"sqlite:///{tmp_path}/governor.db"
    ledger = open_ledger(url, org)
    ledger.execute(c.Settle("died", (c.Posting(ROW, 4 * 10**9),), without_ledger(), "abc"))
    ledger.close()
    said = run("why", "died", "--policies", str(policies), "--ledger", url).out
    assert "Settled: $4.00" in said
    assert "its process ended before it could say how the call did" in said
    assert f"crossed    50 % of {LEGAL}: $4.00 of $6.00" in said
    assert "sent 0 times" not in said


def test_a_hold_whose_answer_was_lost(run, policies, org, tmp_path):
    """Held by a ledger whose answer never came: the decision is told, and that the call went without it."""
    url = f"sqlite:///{tmp_path}/governor.db"
    ledger = open_ledger(url, org)
    asked = json.loads(without_ledger()) | {"pin": False, "max_tokens": 100, "input_tokens": 9}
    asked |= {"estimate": "bound", "candidates": [], "skipped": [], "asks": [[[5, 10_000, 0]]]}
    asked["budgets"] = [{"identity": LEGAL, "window": "life", "end_ms": 0, "limit": 6, "source": ""}]
    ledger.execute(c.Reserve("lost", (ROW,), ((c.Ask(5),),), 60_000, record=json.dumps(asked), call="abc"))
    ledger.execute(c.Settle("lost", (c.Posting(ROW, 4),), without_ledger(attempts=1), "abc"))
    ledger.close()
    said = run("why", "lost", "--policies", str(policies), "--ledger", url).out
    assert said.count("ruth@example.com") == 1
    assert "the answer to what it had asked was lost, and no budget was asked" in said
