"""Archive workers that are killed: each record is archived once, in order, whoever dies, however often."""

from __future__ import annotations

import os
import random
from multiprocessing import connection as pipes

import pytest
from support.archivers import archiver
from support.journals import assert_archived, journal_of, many, write_redis

from governor.journal.archive_sql import SqlArchive
from governor.ledger import commands as c
from governor.ledger import open_ledger
from governor.ledger.following import ListFollowers

DEEP = os.environ.get("GOVERNOR_TEST_PROFILE") == "deep"
RECORDS, KILLS, PAGE = (200_000, 60, 1000) if DEEP else (2_000, 6, 50)


@pytest.fixture(params=["sqlite", "postgres"])
def where(request, tmp_path) -> str:
    """The URL of an archive that is not there yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/archive.db"
    return str(request.getfixturevalue("postgres_server").database())


def test_workers_killed_at_random_archive_each_record_once(redis_server, org, where):
    """Two at work all the time, one or both killed at any moment, while records keep coming."""
    draw = random.Random(RECORDS)
    ledger = open_ledger(redis_server.url, org, create=True)
    ledger.execute(c.Create(org))
    archive = SqlArchive(where, org)
    entries = many(RECORDS)
    part = RECORDS // KILLS
    living = []
    with redis_server.client() as client:
        for _ in range(KILLS):
            write_redis(client, org, (next(entries) for _ in range(part)))
            while len(living) < 2:
                living.append(archiver(redis_server.url, where, org, PAGE))
                living[-1].start()
            most_s = 5.0 if DEEP else 0.6
            pipes.wait([one.sentinel for one in living], timeout=draw.uniform(0.0, most_s))
            for one in draw.sample(living, draw.choice((1, 1, 2))):
                one.kill()
                one.join()
                living.remove(one)
        write_redis(client, org, entries)
    for one in living:
        one.kill()
        one.join()
    last = archiver(redis_server.url, where, org, PAGE, once=True)
    last.start()
    last.join()
    assert last.exitcode == 0
    expected = journal_of(ledger)
    assert len(expected) == RECORDS + 1
    assert_archived(archive, expected)
    (follower,) = ledger.execute(ListFollowers())
    assert (follower.seq, follower.lag) == (expected[-1].entry.seq, 0)
    archive.close()
    ledger.close()
