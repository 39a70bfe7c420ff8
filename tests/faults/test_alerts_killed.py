"""Alert workers that die at any step: every alert is stored once, and told at least once, under one id."""

from __future__ import annotations

import base64
import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa
from standardwebhooks import Webhook
from support.booms import made
from support.receivers import Answer, Receiver

from governor.journal.archive_sql import SqlArchive
from governor.journal.tables import alerts, deliveries
from governor.ledger.recovery import ReadSince

SECRET = "whsec_" + base64.b64encode(b"a-secret-of-thirty-two-bytes-ok!").decode()
SCRIPT = Path(__file__).with_name("alert_worker.py")
STEPS, ONCE = 8, 4
"""Of that one step there may be one pass only: all that is due travels together."""


def journal(url, org):
    """Every record of a ledger."""
    ledger, found, at = made(url, org), [], None
    while page := ledger.execute(ReadSince(at)).entries:
        found += page
        at = page[-1].seq
    ledger.close()
    return found


def _run(tmp_path, org, seed, rounds, archive=None):
    draw = random.Random(seed)
    told = {
        "ledger": f"sqlite:///{tmp_path}/governor.db",
        "archive": archive or f"sqlite:///{tmp_path}/archive.db",
        "org": org,
        "booms": 4,
        "deaths": [
            [1 if n % STEPS == ONCE else draw.randint(1, 2), draw.randint(0, 1), n % STEPS]
            for n in range(rounds)
        ],
    }
    made(told["ledger"], org).close()
    with Receiver() as receiver:
        receiver.always = lambda _: Answer(500 if draw.random() < 0.1 else 204, body=b"")
        environment = {
            **os.environ,
            "HOOK_URL": f"{receiver.url}/hook",
            "HOOK_SECRET": SECRET,
            "PYTHONPATH": os.pathsep.join((str(SCRIPT.parents[1]), *sys.path)),
        }
        done = subprocess.run(
            [sys.executable, str(SCRIPT)],
            input=json.dumps(told),
            capture_output=True,
            text=True,
            env=environment,
            timeout=500,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return told, done.stdout.split("\n"), list(receiver.got)


@pytest.mark.parametrize("seed", [1])
def test_workers_killed_at_every_step_store_each_alert_once_and_tell_it_under_one_id(tmp_path, org, seed):
    """Between deciding, storing, sending, marking and entering; answers of 500 in between."""
    _check(tmp_path, org, *_run(tmp_path, org, seed, STEPS))


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(2, 8))
def test_workers_killed_often(tmp_path, org, seed):
    """The same, for longer."""
    _check(tmp_path, org, *_run(tmp_path, org, seed, STEPS * 8))


@pytest.mark.deep
def test_workers_killed_over_an_archive_in_postgresql(tmp_path, org, postgres_server):
    """The same there, where a lease is held by the server's clock."""
    _check(tmp_path, org, *_run(tmp_path, org, 8, STEPS, postgres_server.database()))


def _check(tmp_path, org, told, lines, got):
    assert [line for line in lines if line.startswith("failed")] == []
    died = Counter(line for line in lines if line and "booms" not in line)
    assert set(died) == {"deciding", "storing", "sending", "marking", "entering"}
    assert sum(died.values()) == len(told["deaths"])
    (count,) = (int(line.split()[0]) for line in lines if "booms" in line)
    books = SqlArchive(told["archive"], org)
    with books.engine.begin() as connection:
        stored = {json.loads(row.told)["title"]: row for row in connection.execute(sa.select(alerts))}
        rows = connection.execute(sa.select(deliveries)).all()
    books.close()
    assert len(stored) == count
    assert all(row.ended_ms is not None for row in stored.values())
    assert Counter((row.event, row.channel, row.state) for row in rows) == {
        (event, place, "sent"): count for event in ("raised", "ended") for place in ("hook", "@journal")
    }
    heard = {}
    for one in got:
        body = Webhook(SECRET).verify(one.body, one.headers)
        heard.setdefault((body["data"]["key"], body["type"]), set()).add(one.headers["webhook-id"])
    assert len(heard) == 2 * count
    assert all(len(ids) == 1 for ids in heard.values())
    assert {key for key, _ in heard} == {row.key for row in stored.values()}
    entered = Counter(
        (json.loads(one.record)["key"], json.loads(one.record)["event"])
        for one in journal(told["ledger"], org)
        if one.kind == "alert"
    )
    assert entered == {(row.key, event): 1 for row in stored.values() for event in ("raised", "ended")}
