"""`governor demo`: it runs anywhere, tells the story, and its books balance."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

import pytest
from support.redis_server import free_port

from governor.cli import demo as demo_module


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def told(request, tmp_path_factory):
    """What `governor demo --fast --json` told, on either ledger."""
    options = ["--ledger", request.getfixturevalue("redis_server").url] if request.param == "redis" else []
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [sys.executable, "-m", "governor.cli", "demo", "--fast", "--json", *options],
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout)


def test_the_ledger_posted_what_the_api_billed(told):
    """The sums are equal to the nano-dollar, on SQLite and on Redis, and nobody spent above a limit."""
    summary = told
    assert summary["equal"] is True
    assert summary["posted_nanos"] == summary["billed_nanos"] == sum(t["spent"] for t in summary["teams"])
    assert all(0 < team["spent"] <= team["limit"] for team in summary["teams"])
    assert summary["failures"] == []


def test_it_shows_warning_downgrade_and_block(told):
    """One team is warned, downgraded twice and blocked; one is only downgraded; one stops a runaway bot."""
    teams = {team["team"]: team for team in told["teams"]}
    assert all(teams["engineering"]["served"][line] for line in ("opus", "sonnet", "haiku"))
    assert teams["engineering"]["blocked"] > 0 < teams["engineering"]["warned"]
    assert teams["legal"]["downgraded"] > 0 == teams["legal"]["blocked"]
    assert teams["support"]["blocked"] > 0 == teams["support"]["downgraded"]
    assert {event["kind"] for event in told["events"]} == {"warned", "downgraded", "blocked"}


def test_the_two_lines_it_ends_with_work(told, shell):
    """What it says to type next can be typed, and tells of the very run."""
    listing, why = told["next"]
    folder, _, command = listing.removeprefix("cd ").partition(" && ")
    said = shell(*command.split()[1:], cwd=Path(folder))
    assert "department=engineering/usd/month" in said.out
    said = shell(*why.split()[1:], cwd=Path(folder))
    assert "Refused: exhausted" in said.out


def test_it_keeps_apart_from_a_ledger_in_use(shell, tmp_path, policies, run, redis_server):
    """On a Redis that is somebody's ledger, the demo runs under a name of its own."""
    ours = ["--policies", str(policies), "--ledger", redis_server.url]
    run("ledger", "create", *ours)
    before = run("budget", "list", *ours).out
    said = shell("demo", "--fast", "--ledger", redis_server.url, cwd=tmp_path, TMPDIR=str(tmp_path))
    assert said.code == 0
    assert run("budget", "list", *ours).out == before


def test_without_a_terminal_it_prints_plain_lines(shell, tmp_path):
    """Piped, each event is a line, in 80 columns and without colours, and the table ends it."""
    said = shell("demo", "--fast", cwd=tmp_path, TMPDIR=str(tmp_path), COLUMNS="80")
    assert said.code == 0
    assert "\x1b" not in said.out
    table = said.out[: said.out.index("Next, see")].splitlines()
    assert max(len(line) for line in table) <= 80
    assert "the fake API billed the same" in said.out


def test_it_fails_if_the_sums_differ(run, monkeypatch, tmp_path):
    """Were a single nano-dollar lost, the demo would say so and exit 1."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    posted = demo_module._posted
    monkeypatch.setattr(demo_module, "_posted", lambda stage: posted(stage) - 1)
    said = run("demo", "--fast")
    assert said.code == 1
    assert "but the fake API billed" in said.out


def test_a_ledger_that_is_down_is_said_and_nothing_left_behind(shell, tmp_path):
    """Without its ledger the demo ends at once with one message and no folder."""
    url = f"redis://127.0.0.1:{free_port()}/0"
    said = shell("demo", "--ledger", url, cwd=tmp_path, TMPDIR=str(tmp_path))
    assert said.code == 1
    assert said.err.startswith(f"error: {url} cannot be reached")
    assert list(tmp_path.iterdir()) == []


def test_on_a_terminal_it_draws(tmp_path):
    """On a terminal of 80 columns the bars are drawn, no line is longer, and the run ends well."""
    code, screen = on_a_terminal([sys.executable, "-m", "governor.cli", "demo", "--fast"], tmp_path)
    assert code == 0, screen
    lines = re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen))
    bars = [line for line in lines if line.startswith(" engineering ") and "█" in line]
    assert "99 %" in bars[-1]
    to_type = next(at for at, line in enumerate(lines) if line.startswith(" Next,")) + 1
    assert max(map(len, lines[:to_type])) <= 80  # the two lines to type hold paths of any length


def on_a_terminal(command, tmp_path):
    """Run *command* on a terminal of 30 lines of 80 columns; returns its exit code and what it wrote."""
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (30, 80))
    left_out = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment |= {"TERM": "xterm-256color", "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environment) as process:
        os.close(its)
        written = b""
        # Reading a terminal whose last user is gone is an error on Linux, and the end of file elsewhere.
        with contextlib.suppress(OSError):
            while some := os.read(ours, 65536):
                written += some
        code = process.wait(timeout=60)
    os.close(ours)
    return code, written.decode()
