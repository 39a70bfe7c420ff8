"""`governor archive run`, `status`, `migrate`, `forget`, and what `governor doctor` says of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from support.journals import assert_archived, journal_of

from governor.journal.archive_sql import SqlArchive
from governor.journal.lease import Lease
from governor.ledger import commands as c
from governor.ledger import open_ledger
from governor.ledger.following import ListFollowers
from governor.ledger.recovery import MeasureJournal


@pytest.fixture
def where(tmp_path):
    """An archive that is not there yet."""
    return f"sqlite:///{tmp_path}/archive.db"


@pytest.fixture
def ledger(firm, org):
    """The firm's."""
    opened = open_ledger(firm.ledger, org)
    yield opened
    opened.close()


def test_once_ends_when_the_archive_has_all(run, firm, org, where, ledger):
    """The records are there, chained and told of; again, there is nothing to add."""
    said = run("archive", "run", where, "--once", *firm.options)
    assert said.code == 0, said.err
    assert "follows the journal as 'archive-" in said.err
    archive = SqlArchive(where, org)
    expected = journal_of(ledger)
    assert_archived(archive, expected)
    assert run("archive", "run", where, "--once", *firm.options, "--json").json == {
        "archive": where,
        "added": 0,
        "by_another": False,
    }
    told = run("archive", "status", where, *firm.options, "--json").json
    assert (told["schema"], told["records"], told["acts"]) == ("0002", len(expected), False)
    assert [(one["name"], one["lag"]) for one in told["followers"]] == [(told["name"], 0)]
    archive.close()


def test_without_an_archive_the_one_beside_a_sqlite_ledger_is_meant(run, firm, tmp_path):
    """A ledger in Redis has none beside it, and that is said."""
    said = run("archive", "run", "--once", *firm.options)
    if firm.ledger.startswith("sqlite"):
        assert said.code == 0
        assert (tmp_path / "governor.db.archive").exists()
    else:
        assert (said.code, "name the archive's database" in said.err) == (2, True)


@pytest.mark.parametrize("place", ["journal.jsonl", "file:///tmp/journal.jsonl"])
def test_a_file_of_lines_is_not_followed(run, firm, place):
    """It is said which command writes one."""
    said = run("archive", "run", place, *firm.options)
    assert (said.code, "`governor ledger archive` writes" in said.err) == (2, True)


def test_a_worker_that_waits_leaves_the_work_to_the_one_that_acts(run, firm, org, where, ledger):
    """While another holds the lease nothing is copied; what it copied is enough to end."""
    assert run("archive", "run", where, "--once", *firm.options).code == 0
    archive, other = SqlArchive(where, org), Lease(org, "archive", 600_000)
    with archive.writing() as connection:
        assert other.take(connection)
    said = run("archive", "run", where, "--once", *firm.options)
    assert (said.code, "another worker archived them" in said.out) == (0, True)
    told = run("archive", "status", where, *firm.options)
    assert f"{other.worker} works on it" in told.out
    archive.close()


def test_a_worker_ends_after_its_batch_and_another_goes_on(firm, org, where, ledger):
    """SIGTERM and Ctrl-C end it with 0; what came meanwhile is archived by the next one at once."""
    for kind in (signal.SIGTERM, signal.SIGINT):
        with started(where, firm) as worker:
            assert "follows the journal as" in worker.stderr.readline()
            worker.send_signal(kind)
            assert worker.wait() == 0
            assert "goes on from there" in worker.stderr.read()
        ledger.execute(c.Freeze(f"f-{kind}", "department=legal/usd/life", "audit"))
    with started(where, firm, "--once") as worker:
        assert worker.wait() == 0
    archive = SqlArchive(where, org)
    assert_archived(archive, journal_of(ledger))
    archive.close()


def started(where, firm, *more: str) -> subprocess.Popen[str]:
    """A worker as a process of its own."""
    words = [sys.executable, "-m", "governor.cli", "archive", "run", where, *firm.options, *more]
    return subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def test_what_it_trims_every_archive_has(run, firm, where, ledger, tmp_path):
    """The slowest archive that follows holds the trim back; forgotten, it does not."""
    slow = f"sqlite:///{tmp_path}/slow.db"
    assert run("archive", "run", slow, "--once", "--name", "slow", *firm.options).code == 0
    before = ledger.execute(MeasureJournal()).records
    ledger.execute(c.Freeze("f", "department=legal/usd/life", "audit"))
    ledger.execute(c.Unfreeze("u", "department=legal/usd/life"))
    trimmed = run("archive", "run", where, "--once", "--trim", "--keep", "0s", *firm.options)
    assert "records removed from the ledger" in trimmed.err
    assert ledger.execute(MeasureJournal()).records == 3
    told = run("archive", "status", where, *firm.options, "--json").json
    assert {one["name"]: one["lag"] for one in told["followers"]} == {"slow": 2, told["name"]: 0}
    assert told["records"] == before + 2
    wrong = run("archive", "forget", "slw", *firm.options)
    assert (wrong.code, "those that do: " in wrong.err) == (2, True)
    assert run("archive", "forget", "slow", *firm.options).code == 0
    assert run("archive", "run", where, "--once", "--trim", "--keep", "0s", *firm.options).code == 0
    assert ledger.execute(MeasureJournal()).records == 1


def test_an_archive_keeps_its_name_or_takes_another(run, firm, where, ledger):
    """The ledger knows it by one name at a time."""
    for name in ((), (), ("--name", "books"), ()):
        assert run("archive", "run", where, "--once", *name, *firm.options).code == 0
        names = [one.name for one in ledger.execute(ListFollowers())]
        assert len(names) == 1
    assert names == ["books"]
    assert run("archive", "run", where, "--once", "--name", "a b", *firm.options).code == 2


def test_migrate_makes_the_tables_and_says_so(run, firm, where):
    """Dry, it changes nothing."""
    dry = run("archive", "migrate", where, "--dry-run", *firm.options)
    assert "there are no tables yet: would be brought to 0002" in dry.out
    assert run("archive", "migrate", where, *firm.options, "--json").json["found"] == "nothing"
    assert "schema 0002: nothing to do" in run("archive", "migrate", where, *firm.options).out


def test_the_doctor_says_how_far_the_archives_are(run, firm, org, where, ledger, monkeypatch):
    """Each that follows, with what it lacks; of the named one its schema, who works, what was not told."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-secret")
    assert run("archive", "run", where, "--once", "--name", "books", *firm.options).code == 0
    ledger.execute(c.Freeze("f", "department=legal/usd/life", "audit"))
    said = run("doctor", *firm.options, "--archive", where, "--json").json["findings"]
    told = {one["about"]: one for one in said}
    assert told["archives"]["text"].startswith("books lacks 1 records, the oldest from ")
    assert told["archives"]["state"] == "note"
    assert "schema 0002" in told["tables"]["text"]
    assert "nobody works on it" in told["worker"]["text"]
    assert run("archive", "run", where, "--once", *firm.options).code == 0
    archive = SqlArchive(where, org)
    dead = "INSERT INTO governor_deliveries VALUES (:o, 'k', 'raised', 'c', 'dead', 9, 0, 'gone', '{}')"
    import sqlalchemy as sa

    with archive.writing() as connection:
        connection.execute(sa.text(dead), {"o": org})
        assert Lease(org, "archive", 600_000).take(connection)
    archive.close()
    said = run("doctor", *firm.options, "--archive", where, "--json").json["findings"]
    told = {one["about"]: one for one in said}
    assert told["archives"]["text"] == "books has every record"
    assert (told["worker"]["state"], told["alerts"]["state"]) == ("ok", "note")
    assert "1 alerts could not be delivered" in told["alerts"]["text"]


def test_the_doctor_without_an_archive_still_names_who_follows(run, firm, where, monkeypatch):
    """What holds the ledger's journal back is seen without any URL."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-secret")
    monkeypatch.delenv("GOVERNOR_ARCHIVE", raising=False)
    assert run("archive", "run", where, "--once", "--name", "books", *firm.options).code == 0
    said = run("doctor", *firm.options, "--json").json["findings"]
    assert "books has every record" in [one["text"] for one in said]


def test_the_environment_names_the_archive(firm, where, tmp_path):
    """GOVERNOR_ARCHIVE is the archive of every command."""
    words = [sys.executable, "-m", "governor.cli", "archive", "run", "--once", "--json", *firm.options]
    told = subprocess.run(
        words, env={**os.environ, "GOVERNOR_ARCHIVE": where}, capture_output=True, check=True
    )
    assert json.loads(told.stdout)["archive"] == where
