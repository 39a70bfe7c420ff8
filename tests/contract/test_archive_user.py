"""The Redis user that docs/archive.md gives an archiver can follow and trim, and nothing else."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest
from support.journals import assert_archived, journal_of, many, write_redis

from governor.errors import LedgerUnavailable
from governor.journal.archive_sql import SqlArchive
from governor.journal.archive_worker import ArchiveWorker, Terms
from governor.ledger import commands as c
from governor.ledger import open_ledger
from governor.ledger.following import AwaitRecords, ListFollowers
from governor.ledger.recovery import MeasureJournal

PAGE = Path(__file__).parents[2] / "docs" / "archive.md"
SECRET = "s3cret"


def rights(org: str) -> list[str]:
    """What the page's line gives, to another user of another organisation."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(r"ACL SETUSER archiver on >PASSWORD (.*?)```", text, re.DOTALL)
    words = found[1].replace("{acme}", f"{{{org}}}")
    return [one for one in re.findall(r"\(.*?\)|\S+", words) if one]


@pytest.mark.parametrize("server_of", ["redis_server", "redis_cluster_server"])
def test_an_archiver_s_rights_are_enough_to_follow_and_to_trim(request, server_of, org, tmp_path):
    """On one server and on a cluster; it can hold nothing, and change no limit."""
    server = request.getfixturevalue(server_of)
    made = open_ledger(server.url, org, create=True)
    made.execute(c.Inspect())
    made.execute(c.Create(org))
    with server.client() as client:
        write_redis(client, org, many(300))
        more = ["+cluster", "+command", "+readonly"] if "cluster" in server_of else []
        client.execute_command(
            "ACL", "SETUSER", f"archiver-{org}", "reset", "on", f">{SECRET}", *rights(org), *more
        )
    expected = journal_of(made)
    url = server.url.replace("://", f"://archiver-{org}:{SECRET}@")
    own, archive = open_ledger(url, org), SqlArchive(f"sqlite:///{tmp_path}/archive.db", org)
    copied = ArchiveWorker(own, archive, Terms(keep_ms=0), threading.Event()).once()
    assert copied.records == len(expected)
    assert_archived(archive, expected)
    assert own.execute(MeasureJournal()).records < 10  # some of these were "written" later than now
    assert [one.lag for one in own.execute(ListFollowers())] == [0]
    assert not own.execute(AwaitRecords(expected[-1].entry.seq, 1))
    with pytest.raises(LedgerUnavailable, match="refuses this user"):
        own.execute(c.Freeze("f", "department=legal/usd/life", "audit"))
    for one in (own, archive, made):
        one.close()
