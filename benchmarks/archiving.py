"""How fast the archive takes in what governed calls write, against how fast a machine of them writes it.

First as many processes as there are cores make governed calls on a Redis ledger, against a fake API that
shares the cores: that is all that this machine can make. Then one worker archives what they wrote, told again
under other ids until there is enough of it.
"""

from __future__ import annotations

import multiprocessing
import os
import secrets
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any

import anthropic
from support.postgres_server import PostgresServer, postgres_is_installed

from benchmarks.api_process import API_KEY, fake_api
from benchmarks.calls import text
from benchmarks.scene import WHO, house
from benchmarks.timing import Options, Result, Step, times
from governor import Governor
from governor.journal.archive_sql import SqlArchive
from governor.journal.archive_worker import ArchiveWorker, Terms
from governor.ledger import open_ledger
from governor.ledger.keys import Keys
from governor.ledger.recovery import MeasureJournal, ReadSince
from governor.ledger.redis import RedisLedger
from governor.ledger.servers import connect

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier

SECONDS = 20.0
START_TIMEOUT_S = 120.0
RECORDS = 20_000
TARGET = 5


def steps(_: Options) -> int:
    """How many steps `archiving` will tell."""
    return 2 + postgres_is_installed()


def archiving(url: str, options: Options, step: Step) -> Result:
    """Records a second: written by governed calls, and archived on SQLite and, where it is, on PostgreSQL."""
    organization = f"bench-{secrets.token_hex(4)}"
    made = _load(url, organization, SECONDS / 10 if options.quick else SECONDS)
    _tell_again(url, organization, RECORDS // 10 if options.quick else RECORDS)
    step()
    title = f"The archive against governed calls on {os.cpu_count()} cores (target: {TARGET} x)"
    result = Result(title, ("", "records per second", "against the calls"))
    _add(result, "governed calls write", made, made)
    with tempfile.TemporaryDirectory() as folder:
        _add(
            result, "archived on SQLite", _archive(url, organization, f"sqlite:///{folder}/archive.db"), made
        )
    step()
    if postgres_is_installed():
        with PostgresServer() as server:
            _add(result, "archived on PostgreSQL", _archive(url, organization, server.url), made)
        step()
    return result


def _add(result: Result, name: str, rate: float, made: float) -> None:
    result.rows.append((name, f"{rate:,.0f}", times(rate / made)))
    result.figures |= {f"{name}.records_per_s": rate, f"{name}.ratio": rate / made}


def _archive(ledger: str, organization: str, where: str) -> float:
    """Records a second, from Redis to the disk, with the place that the ledger is told."""
    archive, store = SqlArchive(where, organization), open_ledger(ledger, organization)
    archive.migrate()
    worker = ArchiveWorker(store, archive, Terms(name="bench"), threading.Event())
    began_s = time.perf_counter()
    copied = worker.once()
    seconds = time.perf_counter() - began_s
    archive.close()
    store.close()
    if copied is None or not copied.records:
        raise RuntimeError("the archive had nothing to do")
    return copied.records / seconds


def _tell_again(url: str, organization: str, records: int) -> None:
    """Write the journal's records again, under other ids, until there are so many."""
    ledger, key, redis = open_ledger(url, organization), Keys(organization).journal, connect(url)
    own = [one for one in ledger.execute(ReadSince(limit=records)).entries if one.kind != "create"]
    pipe = redis.pipeline(transaction=False)
    for turn in range(1, -(-records // len(own))):
        for one in own:
            told: dict[Any, Any] = {
                "kind": one.kind,
                "id": f"{one.id}.{turn}",
                "at": one.at_ms,
                "outcome": one.outcome,
            }
            pipe.xadd(key, {**told, "detail": one.detail, "record": one.record})
        pipe.execute()
    ledger.close()
    redis.close()


def _load(url: str, organization: str, seconds: float) -> float:
    """Records a second that governed calls make on all cores of this machine."""
    spawn = multiprocessing.get_context("spawn")
    count = os.cpu_count() or 1
    together = spawn.Barrier(count + 1)
    open_ledger(url, organization, create=True).execute(MeasureJournal())
    with fake_api() as api:
        callers = [
            spawn.Process(target=_call, args=(url, organization, api, seconds, together))
            for _ in range(count)
        ]
        for caller in callers:
            caller.start()
        together.wait(START_TIMEOUT_S)
        began_s, ledger = time.perf_counter(), open_ledger(url, organization)
        before = ledger.execute(MeasureJournal()).records
        for caller in callers:
            caller.join()
        rate = (ledger.execute(MeasureJournal()).records - before) / (time.perf_counter() - began_s)
    ledger.close()
    if any(caller.exitcode for caller in callers):
        raise RuntimeError("a caller of the archive's benchmark failed; its error is above")
    return rate


def _call(url: str, organization: str, api: str, seconds: float, together: Barrier) -> None:
    transport = anthropic.DefaultHttpxClient(trust_env=False)
    client = anthropic.Anthropic(base_url=api, api_key=API_KEY, max_retries=0, http_client=transport)
    ledger = RedisLedger(connect(url), Keys(organization), url, create=True)
    with Governor(house(), ledger, client) as governor:
        governor.call(**WHO, max_tokens=1024, messages=text())
        together.wait(START_TIMEOUT_S)
        until_s = time.perf_counter() + seconds
        while time.perf_counter() < until_s:
            governor.call(**WHO, max_tokens=1024, messages=text())
    client.close()
