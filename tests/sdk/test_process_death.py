"""A process that dies in the middle of a call leaves a hold; the living close it, charged."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from support.governed import department, until
from support.stages import blocking, on_sqlite

from governor import BudgetContended
from governor.budgets import Unit
from governor.ledger import commands as c
from governor.testing import Reply, hang_before_head

USD, CONCURRENT = "department=team/usd/life", "department=team/user=u/concurrent/life"
REQUESTS = "department=team/requests/life"
BUDGETS = [
    {"per": "department", "usd": 1, "window": "life"},
    {"per": "department", "requests": 100, "window": "life"},
    {"per": "user", "concurrent": 1},
]
VICTIM = """
import sys, anthropic, governor
policies, ledger, url = sys.argv[1:]
client = anthropic.Anthropic(base_url=url, api_key="fake-key")
gov = governor.Governor.load(policies, ledger=ledger, client=client, create_ledger=True)
gov.call(user="u", department="team", max_tokens=1000, request_id="victim",
         messages=[{"role": "user", "content": "Hello, Claude"}])
"""


def killed_in_a_call(stage) -> c.OpenHold:
    """Run a process that calls, kill it while the API has its request; the hold that it leaves."""
    # The dead process had the wall clock, so the living have it too, until they turn it forward.
    stage.clock = Moved()
    stage.api.inject(hang_before_head(billed=True))
    command = [sys.executable, "-c", VICTIM, str(stage.policies), stage.url, stage.api.url]
    with subprocess.Popen(command, env={**os.environ, "NO_PROXY": "*"}) as process:
        until(stage.sent)
        process.send_signal(signal.SIGKILL)
    (hold,) = stage.holds()
    return hold


class Moved:
    """The wall clock, and how far a test has turned it on."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def __call__(self) -> int:
        return time.time_ns() // 1_000_000 + self.ahead_ms


@blocking
def test_the_living_expire_what_the_dead_held(stage):
    """The hold of a killed process blocks until its time is over; then any call closes it, charged."""
    stage.write(department(*BUDGETS, timeout=5))
    hold = killed_in_a_call(stage)
    caller = stage.governor(None)
    with pytest.raises(BudgetContended):
        caller.call()
    ceiling = stage.balances()[USD].held
    stage.clock.ahead_ms = hold.expires_ms - Moved()() + 1000
    stage.api.replies(Reply())
    receipt = caller.call().receipt
    assert receipt.settled
    assert stage.holds() == ()
    (entry,) = stage.journal("expire")
    assert (entry.id, entry.outcome) == ("victim", "expired")
    balances = stage.balances()
    assert balances[USD].posted == ceiling + receipt.cost.nanos >= stage.api.billed_nanos
    assert (balances[CONCURRENT].posted, balances[CONCURRENT].held) == (0, 0)
    assert balances[REQUESTS].posted == 2


@blocking
def test_a_late_word_replaces_the_charge(stage):
    """What the dead call really cost, told after its expiry, is posted in place of the charge."""
    stage.write(department(*BUDGETS, timeout=5))
    hold = killed_in_a_call(stage)
    stage.clock.ahead_ms = hold.expires_ms - Moved()() + 1000
    due = stage.ledger.execute(c.Expire((c.DueHold(hold.id, hold.balances),)))
    assert due.ids == ("victim",)
    charged = stage.posted(USD)
    bill = stage.api.billed_nanos
    assert 0 < bill < charged
    spent = {USD: bill, REQUESTS: 1, CONCURRENT: 0}
    postings = tuple(c.Posting(stage.row(identity, 1), spent[identity]) for identity, _ in hold.balances)
    closed = stage.ledger.execute(c.Settle("victim", postings, json.dumps({"by": "hand"})))
    assert (closed.state, closed.overrun, closed.unknown) == ("settled_late", False, False)
    assert stage.posted(USD) == bill
    assert stage.posted(REQUESTS) == 1
    assert [entry.outcome for entry in stage.journal(identifier="victim")] == [
        "held",
        "expired",
        "settled_late",
    ]


@on_sqlite
def test_many_dead_are_closed_by_one_living(stage):
    """More dead holds than one reply names are all closed in time, though each reply's work is bounded."""
    stage.write(department(BUDGETS[0], timeout=5))
    row = c.BudgetRow(USD, "life", 0, 0, Unit.USD, 1_000_000_000)
    dead = 3 * c.DUE_PER_REPLY
    for number in range(dead):
        stage.ledger.execute(c.Reserve(f"dead-{number}", (row,), ((c.Ask(1000),),), 1000))
    stage.clock.forward(2)
    caller = stage.governor(None)
    calls = 0
    while stage.holds():
        caller.call()
        calls += 1
        assert calls <= 3
    assert stage.posted() == dead * 1000 + stage.api.billed_nanos


@on_sqlite
def test_the_money_of_the_dead_is_found_before_anyone_is_refused(stage):
    """A call that only dead holds stand against closes them first, and is then judged anew."""
    stage.write(department({"per": "user", "concurrent": 1}, BUDGETS[0]))
    stage.hold(CONCURRENT, 1, 1, name="dead")
    stage.clock.forward(3600)
    receipt = stage.governor(None).call().receipt
    assert (receipt.settled, receipt.decision.waited_s) == (True, 0)
    assert [entry.id for entry in stage.journal("expire")] == ["dead"]
