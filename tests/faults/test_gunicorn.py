"""Gunicorn's workers, forked from a master that has loaded and used the governor."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx2
import pytest
from support.governed import department, until
from support.redis_server import free_port
from support.stages import blocking

pytest.importorskip("gunicorn", reason="gunicorn is not installed, or not for this system")

HERE = Path(__file__).parent
WORKERS, THREADS, REQUESTS = 3, 8, 96
MOST_REQUESTS = 50 * REQUESTS
"""The kernel gives a connection to any worker that waits: sooner or later to another one."""
TEAM = department({"per": "department", "usd": 1000, "window": "life"}, timeout=60)


@blocking
def test_workers_forked_by_gunicorn_keep_their_users_apart(stage):
    """Every answer is on the bill and in the journal under the user whose request it was; nothing is held."""
    stage.clock = None
    stage.write(TEAM)
    assert stage.holds() == ()  # the ledger is there
    port = free_port()
    log = (stage.folder / "gunicorn.log").open("w")
    server = subprocess.Popen(
        [
            *(sys.executable, "-m", "gunicorn", "gunicorn_app:app", "--preload", "--no-control-socket"),
            *("--bind", f"127.0.0.1:{port}", "--workers", str(WORKERS), "--threads", str(THREADS)),
        ],
        env={
            **os.environ,
            "NO_PROXY": "*",
            "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]),
            "POLICIES": str(stage.policies),
            "LEDGER": stage.url,
            "API_URL": stage.api.url,
        },
        cwd=stage.folder,
        stdout=subprocess.DEVNULL,
        stderr=log,
    )
    users, told = [], []
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
            until(lambda: answers(client), timeout_s=60)
            with ThreadPoolExecutor(THREADS * 2) as threads:
                while len({process for process, _ in told}) < 2 and len(users) < MOST_REQUESTS:
                    more = [f"user-{random.randrange(10**9)}" for _ in range(REQUESTS)]
                    users += more
                    told += [text.split() for text in threads.map(partial(ask, client), more)]
    finally:
        server.terminate()
        server.wait(60)
        log.close()
    assert "Traceback" not in (stage.folder / "gunicorn.log").read_text()
    assert len({process for process, _ in told}) > 1
    assert stage.api.wait_idle()
    assert stage.holds() == ()
    settled = {entry.id: json.loads(entry.record) for entry in stage.journal("settle")}
    assert [settled[request_id]["user"] for _, request_id in told] == users
    bill = {line.request_id: line for line in stage.api.bill}
    assert all(bill[record["api_request_id"]].tag == record["user"] for record in settled.values())
    assert stage.posted() == sum(line.nanos for line in bill.values())


def ask(client, user):
    """What a worker says to a request of *user*, on a connection of its own: any worker may take it."""
    return client.get(f"/{user}", headers={"connection": "close"}).text


def answers(client):
    """Whether the server is up."""
    try:
        return client.get("/first").is_success
    except httpx2.TransportError:
        return False
