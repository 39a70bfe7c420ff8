"""The archive in a private PostgreSQL, where its programs are installed; only in the deep profile."""

from __future__ import annotations

import json
import threading
from contextlib import closing

import pytest
from typer.testing import CliRunner

from governor.cli import app
from governor.journal.archive import ArchiveDownError, open_archive
from governor.ledger import commands as c

pytestmark = pytest.mark.deep
ENTRIES = [
    c.JournalEntry(f"17952624300{n:02}-{n}", "freeze", f"f{n}", n, "b", "0 é", "{}") for n in range(60)
]


@pytest.fixture
def postgres(postgres_server) -> str:
    """The URL of a new database."""
    return postgres_server.database()


def test_archivers_at_once_leave_each_record_once_and_in_order(postgres, org):
    """Four of them, with overlapping batches, into a table that none of them finds."""

    def work() -> None:
        own = open_archive(postgres, org)
        barrier.wait()
        for size in range(5, 61, 5):
            own.append("e", ENTRIES[:size])
        own.close()

    barrier = threading.Barrier(4)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    archive = open_archive(postgres, org)
    assert [one.entry for one in archive.read()] == ENTRIES
    assert (archive.last().seq, archive.count()) == (ENTRIES[-1].seq, 60)
    newest_first = [entry.seq for entry in reversed(ENTRIES[9:])]
    assert [link.seq for link in archive.back_to("e", ENTRIES[9].seq)] == newest_first
    archive.close()


def test_a_standby_is_read_and_waited_for(postgres, org):
    """A server that takes no changes now: who follows waits for it as for one that is away."""
    made = open_archive(postgres, org)
    made.append("e", ENTRIES[:9])
    with made.engine.begin() as connection:
        name = connection.engine.url.database
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    made.close()
    standby = open_archive(postgres, org)
    with pytest.raises(ArchiveDownError, match="read-only transaction"):
        standby.append("e", ENTRIES)
    assert (standby.count(), standby.last().seq) == (9, ENTRIES[8].seq)
    standby.close()


def test_a_user_who_may_only_read_has_reports_and_the_audit(postgres, org, tmp_path):
    """They are of what the archive has so far, and say so."""
    (tmp_path / "organization.yaml").write_text(f"version: 1\norganization: {org}\n")
    told = ["--policies", str(tmp_path), "--ledger", f"sqlite:///{tmp_path}/governor.db"]
    command = CliRunner()
    assert command.invoke(app, ["ledger", "create", told[-1], *told[:2]]).exit_code == 0
    assert command.invoke(app, ["ledger", "archive", postgres, *told]).exit_code == 0
    user = org.replace("-", "_")
    with closing(open_archive(postgres, org)) as made, made.engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {user} LOGIN")
        connection.exec_driver_sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user}")
    theirs = ["--archive", postgres.replace("//me@", f"//{user}@"), *told]
    report = command.invoke(app, ["report", "today", *theirs, "--json"])
    assert (report.exit_code, json.loads(report.stdout)["facts"]["spend_nanos"]["value"]) == (0, 0)
    assert "what follows is what it has so far" in report.stderr
    assert command.invoke(app, ["audit", "verify", *theirs]).exit_code == 0
    assert command.invoke(app, ["archive", "run", "--once", theirs[1], *told]).exit_code == 1
