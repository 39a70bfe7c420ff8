"""An agent that calls itself without end is stopped before it has cost what the policy allows a run."""

from __future__ import annotations

from decimal import Decimal

import pytest
from support.governed import OPUS, SONNET, department
from support.stages import on_sqlite

from governor import BudgetExceeded, Money
from governor.journal.alerts.alert import Action, Alert
from governor.journal.alerts.responses import carry_out
from governor.policy import load

MAX_USD = Decimal(5)
TEAM = {"per": "department", "usd": 15_000, "window": "month"}
EVERY_S = 1.0
"""The agent calls again at once: a call takes about a second."""

WORD = "lorem ipsum dolor sit amet "


class Agent:
    """Sends all it has said so far, again and again, and more each time."""

    def __init__(self, stage, caller, run) -> None:
        self._stage, self._caller, self._run = stage, caller, run
        self._text = WORD * 4_000
        self.costs: list[Money] = []

    def step(self) -> None:
        """One call; it takes a while."""
        if len(self._text) < len(WORD) * 32_000:
            self._text += self._text
        messages = [{"role": "user", "content": self._text}]
        message = self._caller.call(run=self._run, model="opus", pin=True, messages=messages)
        self.costs.append(message.receipt.cost)
        self._stage.clock.forward(EVERY_S)

    def go_on(self, most: int) -> None:
        """So many calls."""
        for _ in range(most):
            self.step()

    @property
    def spent(self) -> int:
        """Nano-dollars."""
        return sum(cost.nanos for cost in self.costs)


def recurse(agent, most=100):
    """Let it go on until it is refused; the refusal."""
    with pytest.raises(BudgetExceeded) as refused:
        agent.go_on(most)
    return refused.value


@on_sqlite
def test_a_recursive_agent_is_stopped_before_its_runs_limit(stage):
    """At its rate it would burn $8,000 in 6 hours; it costs at most `max_usd`, and everybody else goes on."""
    caller = stage.governor(department(TEAM, runaway={"max_usd": str(MAX_USD)}))
    agent = Agent(stage, caller, "agent-1")
    refusal = recurse(agent)
    most = Money.from_dollars(MAX_USD).nanos
    calls_in_six_hours = int(6 * 3600 / EVERY_S)
    assert agent.costs[-1].nanos * calls_in_six_hours > 8_000 * 10**9
    assert most - 2 * max(cost.nanos for cost in agent.costs) < agent.spent <= most
    assert refusal.budget.identity == "department=team/run=agent-1/usd/life"
    assert stage.posted("department=team/run=agent-1/usd/life") == agent.spent
    assert caller.call(run="agent-2").receipt.settled
    assert caller.call().receipt.settled


@on_sqlite
def test_an_alert_freezes_it_before_that_and_no_other_run(stage):
    """What the alert asks for is carried out; its very next request is refused, far below `max_usd`."""
    caller = stage.governor(department(TEAM, runaway={"max_usd": str(MAX_USD)}))
    agent = Agent(stage, caller, "agent-1")
    agent.go_on(3)
    now_ms = stage.clock()
    alert = Alert(
        *("context_growth/run=agent-1/1", "context_growth", "critical", "agent-1 grows without end", ""),
        *(now_ms, now_ms, None, ()),
    )
    action = Action("freeze_run", (("run", "agent-1"),), "", 24 * 3_600_000)
    assert carry_out(stage.ledger, load(stage.policies), action, alert, now_ms) == ""
    refusal = recurse(agent)
    assert len(agent.costs) == 3
    assert "is frozen: agent-1 grows without end" in str(refusal)
    assert agent.spent < Money.from_dollars(MAX_USD).nanos
    other = caller.call(run="agent-2").receipt
    assert (other.model, other.settled) == (SONNET, True)
    assert caller.call(model="opus", pin=True).receipt.model == OPUS
