"""`governor alerts run`, `channels` and `deliveries`, and what `governor doctor` says of them."""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import sys

import pytest
from standardwebhooks import Webhook
from support.receivers import Receiver

from governor.cli import alerts_run
from governor.journal.alerts.alert import Alert
from governor.journal.alerts.channels import Told
from governor.journal.alerts.outbox import Outbox
from governor.journal.archive_sql import SqlArchive

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of libraries that apprise loads
SECRET = "whsec_" + base64.b64encode(b"a-secret-of-thirty-two-bytes-ok!").decode()
RULES = """\
version: 1
channels:
  hook: {webhook: {url_env: HOOK_URL, secret_env: HOOK_SECRET}}
  chat: {apprise_env: CHAT_URL}
shipped: false
rules:
  any_call:
    metric: calls
    above: 0
    window: 10m
    channels: [hook]
    why: so that a test sees one
"""


@pytest.fixture
def hook(monkeypatch, firm):
    """A receiver, and rules that tell it of any call."""
    (firm.policies / "alerts.yaml").write_text(RULES)
    with Receiver() as receiver:
        monkeypatch.setenv("HOOK_URL", f"{receiver.url}/TOKENTOKEN")
        monkeypatch.setenv("HOOK_SECRET", SECRET)
        monkeypatch.delenv("CHAT_URL", raising=False)
        yield receiver


def archive(firm, tmp_path):
    """Options that name an archive, where the ledger has none beside it."""
    return [] if firm.ledger.startswith("sqlite") else ["--archive", f"sqlite:///{tmp_path}/archive.db"]


def test_channels_are_listed_with_the_variables_that_are_not_set(run, firm, hook):
    """By their names, never by what they have."""
    told = run("alerts", "channels", "--policies", str(firm.policies))
    assert "CHAT_URL (not set)" in told.out
    assert "TOKENTOKEN" not in told.out
    found = run("alerts", "channels", "--policies", str(firm.policies), "--json").json["channels"]
    assert found[0] == {
        "name": "hook",
        "kind": "webhook",
        "variables": {"HOOK_URL": True, "HOOK_SECRET": True},
        "rules": ["any_call"],
    }


def test_a_test_message_is_sent_and_what_fails_is_said(run, firm, hook):
    """To a channel that works, one that does not, and one that is none."""
    policies = ("--policies", str(firm.policies))
    assert run("alerts", "channels", "--test", "hook", *policies).code == 0
    (got,) = hook.got
    assert Webhook(SECRET).verify(got.body, got.headers)["type"] == "alert.test"
    unset = run("alerts", "channels", "--test", "chat", *policies)
    assert (unset.code, "CHAT_URL is not set" in unset.err) == (1, True)
    assert run("alerts", "channels", "--test", "pager", *policies).code == 2


def test_a_ledger_in_redis_needs_an_archive_that_is_named(run, firm, hook):
    """And a file of JSON lines is none."""
    if not firm.ledger.startswith("redis"):
        pytest.skip("beside a ledger in SQLite there is one")
    told = run("alerts", "run", "--once", *firm.options)
    assert told.code == 2
    assert "a ledger in Redis has none beside it" in told.err
    lines = run("alerts", "run", "--once", *firm.options, "--archive", "journal.jsonl")
    assert (lines.code, "file of JSON lines" in lines.err) == (2, True)


def test_what_waits_and_what_was_given_up_is_shown_and_let_go_again(run, firm, hook, org, tmp_path):
    """By `deliveries` and by the doctor; the worker sends it, and then nothing waits."""
    url = (
        f"sqlite:///{tmp_path}/governor.db.archive"
        if firm.ledger.startswith("sqlite")
        else f"sqlite:///{tmp_path}/a.db"
    )
    options = [*firm.options, "--archive", url]
    assert run("alerts", "deliveries", *options).out == "nothing waits\n"
    assert run("alerts", "run", "--once", *options, "--json").json["acts"]
    books = SqlArchive(url, org)
    alert = Alert("boom/x/1", "boom", "warning", "boom", "", 1, 1, None, (), channels=("hook", "chat"))
    with books.engine.begin() as connection:
        box = Outbox(org)
        box.raise_(connection, alert, 1)
        for row in box.due(connection, 2, "hook", 9):
            box.mark(connection, row, Told("HTTP 410: gone, and wants no more", final=True), 2)
    books.close()
    found = run("alerts", "deliveries", *options, "--json").json["deliveries"]
    assert {(one["channel"], one["state"]) for one in found} == {
        ("hook", "dead"),
        ("chat", "waiting"),
        ("@journal", "waiting"),
    }
    assert "wants no more" in run("alerts", "deliveries", "--dead", *options).out
    findings = run("doctor", *options, "--json").json["findings"]
    texts = [one["text"] for one in findings if one["about"] == "alerts"]
    assert any("no worker acts" in one for one in texts)
    assert any(one.startswith("2 messages wait") for one in texts)
    assert "1 messages were given up" in texts
    assert run("alerts", "deliveries", "--retry", "nothing", *options).code == 1
    assert run("alerts", "deliveries", "--retry", alert.key, *options).code == 0
    again = run("alerts", "run", "--once", *options, "--json")
    # No rule stands behind it, so it has ended; the chat has no URL, and both events wait for one.
    assert (again.code, again.json["waiting"], again.json["dead"]) == (1, 2, 0)
    assert [Webhook(SECRET).verify(one.body, one.headers)["data"]["key"] for one in hook.got] == [
        alert.key
    ] * 2


def test_a_timer_goes_on_where_it_was_from_its_first_run_on(run, firm, hook, tmp_path):
    """Up to when was evaluated is kept by a run that found nothing: the next one begins there."""
    options = [*firm.options, "--archive", f"sqlite:///{tmp_path}/a.db"]
    assert run("alerts", "run", "--once", *options).code == 0
    findings = run("doctor", *options, "--json").json["findings"]
    (text,) = [one["text"] for one in findings if one["about"] == "alerts"]
    assert re.fullmatch(r"no worker acts; evaluated up to \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", text)


def test_a_worker_that_runs_ends_by_sigterm_and_gives_its_place_back(firm, hook, tmp_path):
    """It says on stderr that it acts; its exit code is 0."""
    command = [sys.executable, "-c", "from governor.cli import main; main()", "alerts", "run"]
    with subprocess.Popen(
        [*command, *firm.options, *archive(firm, tmp_path)], stderr=subprocess.PIPE, text=True, env=os.environ
    ) as worker:
        lines = []
        for line in worker.stderr:
            lines.append(line)
            if " acts" in line:
                break
        worker.send_signal(signal.SIGTERM)
        rest = worker.stderr.read()
        assert worker.wait(30) == 0, "".join(lines) + rest
    assert lines[0].startswith("watching ")
    assert "TOKENTOKEN" not in "".join(lines) + rest


def test_a_worker_judges_by_the_organizations_hours(run, firm, hook, tmp_path, monkeypatch):
    """As `alerts list` and `test` do, where the alert file names no time zone."""
    floor = firm.policies / "organization.yaml"
    floor.write_text(f"{floor.read_text()}timezone: Asia/Tokyo\n")
    judged = []
    make = alerts_run.make_worker
    monkeypatch.setattr(alerts_run, "make_worker", lambda *given: judged.append(given[2]) or make(*given))
    assert run("alerts", "run", "--once", *firm.options, *archive(firm, tmp_path)).code == 0
    assert [one.timezone for one in judged] == ["Asia/Tokyo"]
