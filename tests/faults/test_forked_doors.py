"""Forks beside the middleware: a child has its own connections, threads and users."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.governed import department
from support.stages import blocking, in_threads_at_length

from governor.testing import Reply

WORKER = Path(__file__).with_name("forked_worker.py")
PROCESSES, CALLS = 3, 20
TEAM = department({"per": "department", "usd": 1000, "window": "life"}, timeout=60)
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


def at_leisure(body):
    """An answer; a slow one's second event does not come before its reader is gone."""
    slow = "time" in body["messages"][0]["content"]
    return Reply(text="Good day to you. " * 4, event_delay_ms=600_000 if slow else 0)


def run(stage, case):
    """Run one case of the worker; returns the records of what ended, by user."""
    stage.clock = None
    stage.write(TEAM)
    stage.api.replies(at_leisure)
    assert stage.holds() == ()  # the ledger is there
    ran = subprocess.run(
        [sys.executable, str(WORKER), case, str(stage.policies), stage.url, stage.api.url],
        env={**os.environ, "NO_PROXY": "*"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stderr
    return ended(stage)


def ended(stage):
    """Check that nothing is held and that whatever ended is on the bill under the same user."""
    assert stage.api.wait_idle()
    assert stage.holds() == ()
    entries = [json.loads(entry.record) for entry in stage.journal("settle")]
    bill = {line.request_id: line for line in stage.api.bill}
    assert {record["api_request_id"]: record["user"] for record in entries} == {
        line.request_id: line.tag for line in bill.values()
    }
    assert len(entries) == len(bill)
    assert stage.posted() == sum(record["cost_nanos"] for record in entries)
    exact = [record for record in entries if not record["uncertain"]]
    assert all(record["cost_nanos"] == bill[record["api_request_id"]].nanos for record in exact)
    return {record["user"]: record for record in entries}


@in_threads_at_length
@pytest.mark.parametrize("case", ["open_stream", "on_a_loop"])
def test_a_child_does_not_end_its_parents_stream(stage, case):
    """The parent reads on after its child let go of the stream and ended: both cost what was billed."""
    records = run(stage, case)
    assert {user: record["ended"] for user, record in records.items()} == {
        "parent": "answered",
        "child": "answered",
    }
    assert not any(record["uncertain"] for record in records.values())


@in_threads_at_length
def test_what_a_child_forgets_is_ended_by_the_child(stage):
    """The thread that ends forgotten streams is not there after a fork, and is begun anew."""
    records = run(stage, "dropped")
    assert {user: record["ended"] for user, record in records.items()} == {"parent": "cut", "child": "cut"}


@blocking
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_at_work_together_share_no_connection_and_no_user(stage, method):
    """Every call of every process is on the bill and in the journal under its own user."""
    records = run(stage, method)
    theirs = {f"{number}-{call}" for number in range(PROCESSES) for call in range(CALLS)}
    assert set(records) == theirs | ({"parent"} if method == "fork" else set())
