"""From a governed call over journal, archive and rules to a webhook; calls while the worker has trouble."""

from __future__ import annotations

import base64
import threading

import pytest
from standardwebhooks import Webhook
from support.governed import HELLO, department
from support.receivers import Answer, Receiver
from support.stages import blocking, shared_api, stage  # noqa: F401 - fixtures

from governor.journal.alerts.couriers import Couriers
from governor.journal.alerts.reading import read_rules
from governor.journal.alerts.watch import Watch
from governor.journal.alerts.worker import AlertWorker, Place
from governor.journal.archive_sql import SqlArchive

SECRET = "whsec_" + base64.b64encode(b"a-secret-of-thirty-two-bytes-ok!").decode()
RULES = """\
version: 1
shipped: false
channels:
  hook: {webhook: {url_env: HOOK_URL, secret_env: HOOK_SECRET}}
rules:
  any_call:
    metric: calls
    above: 0
    window: 5m
    why: so that a test sees one
"""


@pytest.fixture
def hook(monkeypatch):
    """A receiver of webhooks."""
    with Receiver() as receiver:
        monkeypatch.setenv("HOOK_URL", f"{receiver.url}/hook")
        monkeypatch.setenv("HOOK_SECRET", SECRET)
        yield receiver


def worker_of(stage, tmp_path, said):  # noqa: F811 - the fixture's value
    """A worker by the rules above, on the stage's ledger and clock."""
    (tmp_path / "rules.yaml").write_text(RULES)
    rules = read_rules(tmp_path / "rules.yaml")
    books = SqlArchive(f"sqlite:///{tmp_path}/archive.db", stage.org)
    place = Place(stage.org, stage.ledger, books, lambda: Watch(rules), rules.memory_ms, rules.every_ms)
    couriers = Couriers(stage.org, rules.channels)
    return AlertWorker(place, couriers, lambda *_: "", lambda *line: said.append(line)), books


def evaluate(worker):
    """One evaluation now, and all that is due."""
    worker._looked_ms = 0
    return worker.catch_up()


@blocking
def test_a_call_is_told_once_by_the_rules_and_calls_go_on_whatever_the_worker_meets(
    stage,  # noqa: F811 - the fixture
    hook,
    tmp_path,
):
    """Its end too; then with a receiver that hangs and an archive that is no database any more."""
    said = []
    governor = stage.governor(department({"per": "department", "usd": 1, "window": "life"}))
    worker, books = worker_of(stage, tmp_path, said)
    evaluate(worker)
    governor.call(messages=HELLO, max_tokens=100)
    stage.clock.forward(121)
    evaluate(worker)
    (raised,) = hook.wait(1)
    told = Webhook(SECRET).verify(raised.body, raised.headers)
    assert told["type"] == "alert.raised"
    assert told["data"]["symptoms"][0]["rule"] == "any_call"
    stage.clock.forward(3600)
    evaluate(worker)
    assert [Webhook(SECRET).verify(one.body, one.headers)["type"] for one in hook.wait(2)] == [
        "alert.raised",
        "alert.ended",
    ]
    assert [entry.outcome for entry in stage.journal("alert")] == [told["data"]["cause"]] * 2
    let_go = threading.Event()
    hook.always = lambda _: Answer(hang=let_go)
    books.close()
    (tmp_path / "archive.db").write_bytes(b"no database " * 1000)
    evaluate(worker)
    assert worker.troubled
    governor.call(messages=HELLO, max_tokens=100)
    let_go.set()
    books.close()
