"""While the archive or the ledger is away the worker waits, says so once, and misses nothing."""

from __future__ import annotations

import queue
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from support.journals import assert_archived, journal_of, many, write_redis
from support.postgres_server import PostgresServer, postgres_is_installed
from support.redis_server import RedisServer

from governor.journal import archive_worker
from governor.journal.archive import ArchiveError
from governor.journal.archive_sql import SqlArchive
from governor.journal.archive_worker import ArchiveWorker, Terms
from governor.ledger import commands as c
from governor.ledger import open_ledger
from governor.ledger.following import ListFollowers

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_S = 120.0


class Running:
    """A worker in a thread, and what it said."""

    def __init__(self, ledger, archive: SqlArchive) -> None:
        self.said: queue.Queue[str] = queue.Queue()
        self.failed: list[Exception] = []
        self._copied: queue.Queue[int] = queue.Queue()
        self._stop = threading.Event()
        terms, told = Terms(lease_s=60), self._copied.put
        worker = ArchiveWorker(ledger, archive, terms, self._stop, self.said.put, lambda done, _: told(done))

        def run() -> None:
            try:
                worker.run()
            except ArchiveError as error:
                self.failed.append(error)

        self.thread = threading.Thread(target=run)
        self.thread.start()

    def hear(self, words: str) -> None:
        """The next thing it says has these words."""
        assert words in self.said.get(timeout=PATIENCE_S)

    def end(self) -> None:
        self._stop.set()
        self.thread.join()

    def has_copied(self) -> None:
        """A batch was committed since the last time this was asked."""
        self._copied.get(timeout=PATIENCE_S)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(archive_worker, "_MOST_S", 0.2)


@contextmanager
def following(server: RedisServer, archive: SqlArchive, org: str) -> Iterator[tuple[Running, object]]:
    """A worker that has begun, on a ledger made just now."""
    ledger = open_ledger(server.url, org, create=True)
    if not ledger.execute(c.Inspect()).created:
        ledger.execute(c.Create(org))
    worker = Running(ledger, archive)
    try:
        worker.hear("follows the journal as")
        worker.has_copied()
        yield worker, ledger
    finally:
        worker.end()
        ledger.close()
        archive.close()


def caught_up(worker: Running, ledger, archive: SqlArchive, server: RedisServer, org: str) -> None:
    """Write a record more and wait until the archive has it; then it has all, and the ledger knows."""
    with server.client() as client:
        write_redis(client, org, iter([c.JournalEntry("", "freeze", "last", 1, "b", "0 x", "{}")]))
    while archive.last().id != "last":
        worker.has_copied()
    worker.end()
    assert_archived(archive, journal_of(ledger))
    assert [one.lag for one in ledger.execute(ListFollowers())] == [0]
    assert (worker.failed, worker.said.empty()) == ([], True)


def test_an_archive_that_is_down_is_waited_for(redis_server, org):
    """PostgreSQL is killed and comes back: said once each, no record lost or twice, calls go on."""
    if not postgres_is_installed():
        pytest.skip("no postgres and initdb were found")
    with PostgresServer() as postgres:
        archive = SqlArchive(postgres.url, org)
        with following(redis_server, archive, org) as (worker, ledger), redis_server.client() as client:
            postgres.stop()
            write_redis(client, org, many(1_500))
            worker.hear("cannot be used")
            ledger.execute(c.Freeze("f", "department=legal/usd/life", "the ledger goes on"))
            postgres.start()
            worker.hear("it works again")
            caught_up(worker, ledger, archive, redis_server, org)


def test_a_full_disk_is_waited_for(redis_server, org, tmp_path):
    """SQLite may not grow: nothing of the batch is there, and all of it once there is room."""
    archive, room = SqlArchive(f"sqlite:///{tmp_path}/archive.db", org), [10**6]
    sa.event.listen(
        archive.engine, "connect", lambda own, _: own.execute(f"PRAGMA max_page_count = {room[0]}")
    )
    with following(redis_server, archive, org) as (worker, ledger), redis_server.client() as client:
        room[0] = 40
        archive.engine.dispose()
        write_redis(client, org, many(1_500))
        worker.hear("database or disk is full")
        assert archive.count() == 1
        room[0] = 10**6
        archive.engine.dispose()
        worker.hear("it works again")
        caught_up(worker, ledger, archive, redis_server, org)


def test_a_ledger_that_restarts_is_waited_for(redis_available, org, tmp_path):
    """Redis is killed and comes back with its file: the worker goes on, and its place is known as before."""
    with RedisServer(appendonly=True) as server:
        archive = SqlArchive(f"sqlite:///{tmp_path}/archive.db", org)
        with following(server, archive, org) as (worker, ledger):
            with server.client() as client:
                write_redis(client, org, many(700))
            server.kill()
            worker.hear("cannot be reached")
            server.start()
            worker.hear("it works again")
            caught_up(worker, ledger, archive, server, org)


def test_a_ledger_that_went_back_ends_the_worker(redis_server, org, tmp_path):
    """Waiting would not help: the archive has what the ledger never heard of, and somebody must look."""
    archive = SqlArchive(f"sqlite:///{tmp_path}/archive.db", org)
    with following(redis_server, archive, org) as (worker, _):
        lost = c.JournalEntry("9999999999999-0", "freeze", "lost", 1, "b", "0 x", "{}")
        archive.append(archive.last().epoch, [lost])
        worker.thread.join(PATIENCE_S)
        assert [str(error).partition(":")[0] for error in worker.failed] == ["the ledger went back in time"]
