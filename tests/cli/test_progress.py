"""What long work says while it runs, and when it is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from governor.cli import progress
from governor.cli.progress import Interrupted


def test_without_a_terminal_a_line_is_said_now_and_then(capsys, monkeypatch):
    """How many of how many, on stderr; nothing where it was quick."""
    with progress.progress("records archived", "run it again") as tell:
        tell(1000, 2500)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    with progress.progress("records archived", "run it again") as tell:
        tell(1000, 2500)
        tell(2500, None)
    assert capsys.readouterr() == ("", "1,000 of 2,500 records archived\n2,500 records archived\n")


def test_what_is_interrupted_says_what_is_done():
    """And what to do, with the exit code that shells give to Ctrl-C."""

    def work():
        with progress.progress("records archived", "run it again") as tell:
            tell(1000, 2500)
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="interrupted: 1,000 records archived; run it again") as raised:
        work()
    assert raised.value.code == 130


def test_a_rebuild_interrupted_while_it_reads(policies, tmp_path):
    """A process that gets SIGINT says that nothing was changed, as an object too, and ends with 130."""
    pipe = tmp_path / "journal.jsonl"
    os.mkfifo(pipe)
    words = ["ledger", "rebuild", str(pipe), f"sqlite:///{tmp_path}/governor.db", "--policies", str(policies)]
    with subprocess.Popen(
        [sys.executable, "-m", "governor.cli", *words, "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        writer = os.open(pipe, os.O_WRONLY)  # returns once the process has begun to read
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        os.close(writer)
    assert process.returncode == 130
    assert err == "error: interrupted: 0 records read; nothing was changed; run it again\n"
    assert '"type": "Interrupted"' in out
    assert not (tmp_path / "governor.db").exists()
