"""How long reports on a large archive take: `governor report today` and others, as run, on 1,000,000 records.

The archive is a month's: calls of the story's own journal, told to the archive, and each of its rows many
times over under another id and at another time. The ledger that goes with it has been made anew since.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from support.postgres_server import PostgresServer, postgres_is_installed

from benchmarks.journals import DAY_MS, START_MS, Firm, shipped_crowd
from benchmarks.timing import Options, Result, Step
from governor.journal.archive_sql import SqlArchive
from governor.journal.tables import calls
from governor.ledger import open_ledger
from governor.ledger.commands import Create, JournalEntry
from governor.policy import load
from governor.pricing import PriceTable

RECORDS = 1_000_000
PATTERN = 5_000
"""So many calls are told by the story; the others are like them."""

DAYS = 30
USERS = 100
RUNS = 3
POLICIES = Path(__file__).resolve().parents[1] / "policies"
_SEED = 11
_NAMES = ("today", "views", "daily", "chargeback")


def steps(options: Options) -> int:
    """How many steps `reports` will tell."""
    return len(_databases()) * (options.times(RECORDS) // (2 * PATTERN) + (RUNS + 1) * len(_NAMES))


def _databases() -> list[str]:
    return ["SQLite", *(["PostgreSQL"] if postgres_is_installed() else [])]


def reports(_: str, options: Options, step: Step) -> Result:
    """Fill an archive in each database, and run each report as a process of its own."""
    title = f"Reports on {options.times(RECORDS):,} records ({options.times(RECORDS) // 2:,} calls)"
    result = Result(title, ("", *(f"report {name}" for name in _NAMES)))
    policies = load(POLICIES)
    told = _pattern(policies)
    for database in _databases():
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            ledger, archive = f"sqlite:///{folder}/governor.db", f"sqlite:///{folder}/archive.db"
            if database == "PostgreSQL":
                archive = stack.enter_context(PostgresServer()).url
            _fill(archive, policies.organization, told, options.times(RECORDS) // 2, step)
            with closing(open_ledger(ledger, policies.organization, create=True)) as store:
                store.execute(Create("after"))
            seconds = {name: _timed(name, ledger, archive, step) for name in _NAMES}
        cells = (f"{wall_s:.2f} s ({cpu_s:.2f} s)" for wall_s, cpu_s in seconds.values())
        result.rows.append((f"{database}, wall (CPU of the command)", *cells))
        for name, (wall_s, cpu_s) in seconds.items():
            result.figures |= {f"{database}.{name}.wall_s": wall_s, f"{database}.{name}.cpu_s": cpu_s}
    return result


def _pattern(policies: Any) -> list[list[JournalEntry]]:
    """The records of some calls, each call's together; with latencies as APIs have them."""
    draw = random.Random(_SEED)
    firm = Firm(policies, PriceTable.load(), shipped_crowd(USERS))
    told: dict[str, list[JournalEntry]] = {}
    for line in firm.lines(PATTERN, length_ms=DAY_MS):
        row = json.loads(line)
        record = json.loads(row["record"])
        if record.get("latency_ms"):
            record |= {"latency_ms": int(draw.lognormvariate(8, 1)), "first_token_ms": 300}
        entry = JournalEntry(
            row["seq"],
            row["kind"],
            row["id"],
            row["at_ms"] - START_MS,
            row["outcome"],
            row["detail"],
            json.dumps(record, separators=(",", ":")),
        )
        if row["kind"] != "create":
            told.setdefault(row["id"], []).append(entry)
    return list(told.values())


def _fill(url: str, organization: str, told: list[list[JournalEntry]], count: int, step: Step) -> None:
    """Let the archive have some calls itself, and have the database copy them under other ids and times."""
    archive = SqlArchive(url, organization)
    rounds = count // len(told)
    start_ms, share = int(time.time() * 1000) - DAYS * DAY_MS, DAYS / rounds
    archive.append("before", _made(told, start_ms, share))
    step()
    with archive.engine.begin() as connection:
        for number in range(1, rounds):
            connection.execute(_copy(number, int(number * share * DAY_MS)))
            step()
    with archive.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    archive.close()


def _copy(number: int, later_ms: int) -> Any:
    """Copies the first calls: under other ids, and later by so much."""
    changed = {
        "id": sa.literal(f"{number}-") + calls.c.id,
        "call_id": sa.literal(f"{number}-") + calls.c.call_id,
        "began_ms": calls.c.began_ms + later_ms,
        "ended_ms": calls.c.ended_ms + later_ms,
    }
    columns = [changed.get(column.name, column) for column in calls.c]
    return sa.insert(calls).from_select(
        list(calls.c), sa.select(*columns).where(calls.c.id.between("call-", "call."))
    )


def _made(told: list[list[JournalEntry]], start_ms: int, share: float) -> list[JournalEntry]:
    """The records of calls, from another time on and so much closer together."""
    every = itertools.chain.from_iterable(told)
    return [
        replace(entry, seq=str(place), at_ms=start_ms + int(entry.at_ms * share))
        for place, entry in enumerate(every, 1)
    ]


def _timed(name: str, ledger: str, archive: str, step: Step) -> tuple[float, float]:
    """The median seconds of a report as a process of its own, of all calls where it can be; wall and CPU."""
    first = time.strftime("%Y-%m-%d", time.gmtime(time.time() - (DAYS + 1) * 86_400))
    whole = ["--from", first] if name in ("views", "chargeback") else []
    command = ["report", name, *whole, "--json", "--policies", str(POLICIES)]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(Path(ledger.removeprefix("sqlite:///")).parent / "bytecode")
    found = []
    for _ in range(RUNS + 1):  # the first one writes the byte code and fills the database's own memory
        start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "governor.cli", *command, "--ledger", ledger, "--archive", archive],
            check=True,
            capture_output=True,
            env=environment,
        )
        wall_s, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append((wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
        step()
    return sorted(found[1:])[RUNS // 2]
