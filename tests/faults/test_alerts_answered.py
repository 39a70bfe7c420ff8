"""A runaway agent over a fake API, the rules, the worker and what it does: frozen, told, and undone."""

from __future__ import annotations

import base64
import json
import time

import pytest
from standardwebhooks import Webhook
from support.governed import HELLO, OPUS, Clock, department
from support.receivers import Receiver
from support.stages import blocking, shared_api, stage  # noqa: F401 - fixtures
from typer.testing import CliRunner

import governor
from governor import BudgetExceeded
from governor.cli import app
from governor.journal.alerts.couriers import Couriers
from governor.journal.alerts.reading import find_rules, read_rules
from governor.journal.alerts.responses import carry_out
from governor.journal.alerts.watch import Watch
from governor.journal.alerts.worker import AlertWorker, Place
from governor.journal.archive_sql import SqlArchive
from governor.ledger.commands import Inspect
from governor.money import Money
from governor.policy import load
from governor.testing import Reply

SECRET = "whsec_" + base64.b64encode(b"a-secret-of-thirty-two-bytes-ok!").decode()
RULES = """\
version: 1
channels:
  hook: {webhook: {url_env: HOOK_URL, secret_env: HOOK_SECRET}}
rules:
  run_repeats: {actions: [{freeze_run: {for: 4h}}]}
"""
MAX_USD = 60
EVERY_S = 3
SAME = [{"role": "user", "content": "Go on."}]
LONG = 64_000
"""Tokens of each of its answers."""


class Firm:
    """A department, its agents at both doors, and a worker that looks after each call."""

    def __init__(self, stage, tmp_path, rules=RULES) -> None:  # noqa: F811 - the fixture's value
        self.stage, self.folder = stage, tmp_path
        stage.clock = Clock(time.time_ns() // 1_000_000)
        team = department(
            {"per": "department", "usd": 15_000, "window": "month"}, runaway={"max_usd": MAX_USD}
        )
        self.caller = stage.governor(team)
        door = self.caller.governor.middleware(user="u", department="team")
        self.client = stage.api.client(middleware=[door])
        (stage.policies / "alerts.yaml").write_text(rules)
        rules = read_rules(find_rules(stage.policies))
        self.books = SqlArchive(f"sqlite:///{tmp_path}/archive.db", stage.org)
        place = Place(
            stage.org, stage.ledger, self.books, lambda: Watch(rules), rules.memory_ms, rules.every_ms
        )
        self.said: list[tuple[str, str]] = []
        self.worker = AlertWorker(
            place,
            Couriers(stage.org, rules.channels),
            self.respond,
            lambda *line: self.said.append(line),
            stage.clock,
        )

    def respond(self, action, alert):
        now_ms = self.stage.ledger.execute(Inspect()).now_ms
        return carry_out(self.stage.ledger, load(self.stage.policies), action, alert, now_ms)

    def call(self, run, messages, most=100, *, by_client=False):
        """One call of a run by either door, for a feature of its name."""
        whose, said = {"run": run, "feature": run}, {"max_tokens": most, "messages": messages}
        if not by_client:
            return self.caller.call(**whose, model="opus", pin=True, **said).receipt.cost.nanos
        with governor.attribute(**whose):
            self.client.messages.create(model=OPUS, timeout=30, **said)
        return 0

    def recurse(self, most=400):
        """Let an agent call itself, by both doors in turn, until it is refused; what a call cost, and why."""
        cost = 0
        for number in range(most):
            try:
                cost = max(cost, self.call("agent-1", SAME, LONG, by_client=number % 2 == 1))
            except BudgetExceeded as refused:
                return cost, refused
            said = {"role": "assistant", "content": "x" * number}
            assert self.call("agent-2", [*HELLO, said, *HELLO])
            self.wait()
        raise AssertionError("it was never refused")

    def wait(self, seconds=EVERY_S):
        """Time goes by, and the worker works."""
        self.stage.clock.forward(seconds)
        self.worker.round()

    def responses(self, *words):
        """`governor responses …`."""
        where = ("--policies", str(self.stage.policies), "--ledger", self.stage.url)
        found = CliRunner().invoke(app, ["responses", *words, *where])
        assert found.exit_code == 0, found.output
        return found.stdout

    def close(self):
        self.worker.finish()
        self.books.close()
        self.client.close()


@pytest.fixture
def hook(monkeypatch):
    """A receiver of webhooks."""
    with Receiver() as receiver:
        monkeypatch.setenv("HOOK_URL", f"{receiver.url}/hook")
        monkeypatch.setenv("HOOK_SECRET", SECRET)
        yield receiver


@blocking
def test_a_recursive_agent_is_frozen_by_its_alert_told_and_let_go(stage, hook, tmp_path):  # noqa: F811 - as above
    """It would burn $8,000 in 6 hours: it alone is frozen, at both doors, below `max_usd`, until undone."""
    firm = Firm(stage, tmp_path)
    stage.api.replies(
        lambda body: Reply(text="Go on.", output_tokens=LONG) if body["max_tokens"] == LONG else Reply()
    )
    firm.worker.round()
    cost, refused = firm.recurse()
    assert cost * (6 * 3600 // EVERY_S) > 8_000 * 10**9
    spent = stage.posted("department=team/run=agent-1/usd/life")
    assert cost * 9 < spent < Money.from_dollars(MAX_USD).nanos
    assert refused.budget.identity == "order/run=agent-1/requests/life"
    with pytest.raises(BudgetExceeded, match="is frozen"):
        firm.call("agent-1", SAME, by_client=True)
    assert firm.call("agent-2", HELLO)
    told = Webhook(SECRET).verify((got := hook.wait(1)[0]).body, got.headers)["data"]
    assert (told["cause"], told["symptoms"][0]["subject"]) == ("runaway", {"run": "agent-1"})
    firm.wait()
    key = told["key"]
    (entry,) = [one for one in stage.journal("alert") if json.loads(one.record)["key"] == key]
    (order,) = stage.journal("response")
    assert (entry.outcome, order.outcome) == ("runaway", "freeze_run")
    assert json.loads(order.record)["alert"] == key
    assert "run=agent-1" in firm.responses("list")
    assert "undone" in firm.responses("undo", order.id, "--reason", "it is meant to")
    assert firm.call("agent-1", HELLO)
    firm.wait(60)
    assert firm.call("agent-1", HELLO, by_client=True) == 0
    assert len(stage.journal("response")) == 2
    firm.close()


@blocking
@pytest.mark.parametrize("paused", [False, True])
def test_a_runaway_older_than_its_response_is_frozen_when_a_worker_comes(stage, hook, tmp_path, paused):  # noqa: F811 - as above
    """It goes on, so it is not too late: whether no worker ever ran, or the one that did paused."""
    firm = Firm(stage, tmp_path, RULES.replace("4h", "10m"))
    if paused:
        firm.worker.round()
    for _ in range(60):
        firm.call("agent-1", SAME)
        stage.clock.forward(30)
    firm.wait()
    with pytest.raises(BudgetExceeded, match="is frozen"):
        firm.call("agent-1", SAME)
    firm.close()
