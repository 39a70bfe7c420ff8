"""What an archive keeps for how long, and that its chain and its balances hold when the rest is gone."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from governor.journal import archive_sql, retention
from governor.journal.archive_sql import SqlArchive
from governor.journal.audit.verify import verify
from governor.journal.chain import link
from governor.journal.projection import read_calls
from governor.journal.retention import Cuts, Keep, RetentionError
from governor.journal.tables import alerts, deliveries, heads, journal
from governor.ledger.commands import JournalEntry

DAY_MS, HOUR_MS = retention.DAY_MS, 3_600_000
NOW_MS = 1_795_262_430_000
AGES = (2600, 2000, 1200, 800, 400, 100, 80, 1)
"""Days: older than audit, attribution, performance, content, and young ones."""


@pytest.fixture(params=["sqlite", "postgres"])
def archive(request, tmp_path, org):
    """Two records of a call at each age, the first with findings."""
    url = f"sqlite:///{tmp_path}/archive.db"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_server").database()
    made = SqlArchive(url, org)
    made.append("e", records())
    yield made
    made.close()


def records() -> list[JournalEntry]:
    found = []
    for number, days in enumerate(AGES):
        at_ms = NOW_MS - days * DAY_MS
        found.append(JournalEntry(f"{2 * number + 1}", "reserve", f"c{days}", at_ms, "held", "0 ", reserve()))
        found.append(
            JournalEntry(f"{2 * number + 2}", "settle", f"c{days}", at_ms + 5, "settled", DETAIL, SETTLE)
        )
    return found


def reserve() -> str:
    offer = {"model": "claude-haiku-5-5", "line": "haiku", "ceiling_nanos": 9}
    told = {"user": "ada", "department": "legal", "feature": "f", "run": "r", "tags": {"a": "b"}}
    told |= {"asked": "auto", "candidates": [offer], "complexity": 3, "load": 7, "input_tokens": 5}
    told["findings"] = {"classification": "secret", "region": "eu", "pii": ["email"], "content": "ab" * 32}
    return json.dumps(told, separators=(",", ":"))


DETAIL = "overrun=0 unknown=0 posted=5 crossed="
SETTLE = json.dumps(
    {
        "cost_nanos": 5,
        "model": "claude-haiku-5-5",
        "latency_ms": 9,
        "status": 200,
        "usage": {"input_tokens": 1, "output_tokens": 2},
    },
    separators=(",", ":"),
)


def rows(archive: SqlArchive) -> dict[str, object]:
    with archive.engine.connect() as connection:
        return {one.id: one for one in read_calls(connection, archive.organization)}


def test_each_class_goes_when_its_time_is_over(archive):
    """And not before: of a call first the findings, then how it went, then whose it was, then all of it."""
    before = rows(archive)
    assert before["c1"].content_hash == "ab" * 32
    cuts = Keep().at(NOW_MS)
    counted = retention.count(archive, cuts)
    assert rows(archive) == before
    gone = retention.prune(archive, cuts)
    assert gone == counted
    assert (gone.records, gone.calls) == (2, 1)
    after = rows(archive)
    assert after == {name: faded for name, call in before.items() if (faded := cuts.faded(call)) is not None}
    assert (after["c2000"].user, after["c2000"].department, after["c2000"].cost_nanos) == ("", "legal", 5)
    assert (after["c800"].user, after["c800"].latency_ms, after["c800"].input_tokens) == ("ada", None, 0)
    assert (after["c400"].latency_ms, after["c400"].pii, after["c80"].pii) == (9, "", "email")
    assert retention.count(archive, cuts) == retention.Pruned()
    assert retention.prune(archive, cuts) == retention.Pruned()
    with archive.reading() as connection:
        assert retention.read_cuts(connection, archive.organization) == cuts


def test_the_chain_of_what_stays_holds(archive):
    """From the head's hash of the last record that went, over records whose findings are gone, to the end."""
    retention.prune(archive, Keep().at(NOW_MS))
    with archive.engine.connect() as connection:
        head = connection.execute(sa.select(heads)).one()
        kept = connection.execute(sa.select(journal).order_by(journal.c.place)).all()
    assert (head.first_seq, head.seq, head.records) == (kept[0].seq, kept[-1].seq, len(kept))
    before = head.before_hash
    for row in kept:
        entry = JournalEntry(row.seq, row.kind, row.id, row.at_ms, row.outcome, row.detail, row.record)
        before = link(before, archive.organization, "e", entry, row.after, row.findings_hash)
        assert before == row.hash
    assert before == head.hash
    assert [row.findings is None for row in kept if row.kind == "reserve"] == [True] * 5 + [False] * 2
    assert all(row.findings_hash for row in kept if row.kind == "reserve")
    assert [one.entry.seq for one in archive.read()] == [row.seq for row in kept]


def test_the_newest_record_stays_however_old(archive):
    """It says where the archive is; and the archive goes on behind it."""
    later = NOW_MS + 3000 * DAY_MS
    assert retention.prune(archive, Keep().at(later)).records == 2 * len(AGES) - 1
    last = archive.last()
    assert (last.seq, archive.count()) == (str(2 * len(AGES)), 1)
    more = JournalEntry("99", "freeze", "f", later, "b", "0 x", "{}")
    assert archive.append("e", [*records(), more], None) == 1
    assert archive.count() == 2


def test_a_prune_that_is_broken_off_goes_on(archive, monkeypatch):
    """After each page the head says what is the oldest; the chain holds at every step."""
    monkeypatch.setattr(retention, "_PAGE", 1)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    cuts = Cuts(audit=NOW_MS - 700 * DAY_MS)
    with pytest.raises(KeyboardInterrupt):
        retention.prune(archive, cuts, stop)
    with archive.engine.connect() as connection:
        head = connection.execute(sa.select(heads)).one()
    assert (head.first_seq, head.records) == ("2", 2 * len(AGES) - 1)
    assert retention.prune(archive, cuts).records == 7
    assert archive.count() == 2 * len(AGES) - 8


def test_alerts_that_are_over_go_with_whose_calls_were(archive):
    """They name users; those under way, and young ones, stay."""
    ended = {"old": NOW_MS - 1200 * DAY_MS, "young": NOW_MS, "open": None}
    with archive.writing() as connection:
        for key, ended_ms in ended.items():
            told = {"rule": "r", "severity": "s", "cause": "c", "began_ms": 1, "seen_ms": 1, "told": "{}"}
            row = {"organization": archive.organization, "key": key, "ended_ms": ended_ms, **told}
            connection.execute(sa.insert(alerts), row)
            sent = {"event": "raised", "channel": "c", "state": "sent", "next_ms": 0, "body": "{}"}
            row = {"organization": archive.organization, "key": key, **sent}
            connection.execute(sa.insert(deliveries), row)
    assert retention.prune(archive, Keep().at(NOW_MS)).alerts == 1
    with archive.engine.connect() as connection:
        for table in (alerts, deliveries):
            assert set(connection.execute(sa.select(table.c.key)).scalars()) == {"young", "open"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("audit", "'audit' cannot be read"),
        ("audits=7y", "the classes are attribution, audit, content, performance"),
        ("audit=7", "an age is in y, d or h"),
        ("audit=99d", "last 100 days at least"),
    ],
)
def test_what_is_to_be_kept_is_read_strictly(text, words):
    """What is wrong is named, with what would do."""
    with pytest.raises(RetentionError, match=words):
        Keep.read(text)


@given(st.integers(100, 99_999), st.integers(0, 99_999))
def test_what_is_named_is_kept_so_long_and_the_rest_as_usual(audit, content):
    """Days and years, in any order, with spaces."""
    keep = Keep.read(f"content={content}d, audit={audit}d")
    assert keep == replace(Keep(), audit=audit * DAY_MS, content=content * DAY_MS)
    assert Keep.read("") == Keep.read("audit=7y,attribution=3y,performance=2y,content=90d")


def test_the_command_says_what_would_go_and_lets_it_go(archive, org, tmp_path, monkeypatch):
    """A dry run changes nothing; ages come from the option or the environment."""
    from typer.testing import CliRunner

    from governor.cli import app

    policies = tmp_path / "organization.yaml"
    policies.write_text(f"version: 1\norganization: {org}\n")
    url = archive.engine.url.render_as_string(hide_password=False)
    words = ["archive", "prune", url, "--policies", str(policies), "--json"]
    monkeypatch.setenv("GOVERNOR_RETENTION", "audit=1000y,content=1000y")
    kept = json.loads(CliRunner().invoke(app, words).stdout)
    assert (kept["records"], kept["content"]) == (0, 0)
    dry = json.loads(CliRunner().invoke(app, [*words, "--keep", "audit=366d", "--dry-run"]).stdout)
    count = archive.count()
    assert (dry["records"] > 0, count) == (True, 2 * len(AGES))
    done = json.loads(CliRunner().invoke(app, [*words, "--keep", "audit=366d"]).stdout)
    assert {**done, "dry_run": True, "before": None} == {**dry, "before": None}
    assert archive.count() == count - done["records"]
    wrong = CliRunner().invoke(app, [*words, "--keep", "audit=1d"])
    assert (wrong.exit_code, "100 days" in wrong.stderr) == (2, True)


def test_results_go_with_their_records_where_those_are_kept_for_less_long(archive, org):
    """`--keep audit=100d`: the audit does not take for put in what is left of a record that went."""
    said = '{"v":1,"value":"1","unit":"usd","run":"r"}'
    told = [
        JournalEntry(str(100 + n), "outcome", f"o{n}", NOW_MS - (10 - n) * HOUR_MS, "won", "", said)
        for n in range(4)
    ]
    archive.append("e", told, records()[-1].seq)
    cuts = replace(Keep.read("audit=100d").at(NOW_MS), audit=NOW_MS - 8 * HOUR_MS)
    dry = retention.count(archive, cuts)
    assert retention.prune(archive, cuts) == dry
    assert dry.results == 2
    found = verify(archive, org, (), lambda *_: None)
    assert (found.faults, found.results) == ([], 2)


def test_what_is_kept_for_thousands_of_years_is_kept(archive, org, tmp_path, monkeypatch):
    """Nothing goes, and what looks at the archive afterwards says so."""
    from typer.testing import CliRunner

    from governor.cli import app

    policies = tmp_path / "organization.yaml"
    policies.write_text(f"version: 1\norganization: {org}\n")
    monkeypatch.setenv("GOVERNOR_ARCHIVE", archive.engine.url.render_as_string(hide_password=False))
    told = ["--policies", str(policies), "--json"]
    keep = "audit=9999y,attribution=9999y,performance=9999y,content=9999y"
    pruned = CliRunner().invoke(app, ["archive", "prune", "--keep", keep, *told])
    assert (pruned.exit_code, json.loads(pruned.stdout)["records"]) == (0, 0)
    verified = CliRunner().invoke(app, ["audit", "verify", *told])
    assert (verified.exit_code, json.loads(verified.stdout)["pruned"]) == (0, {})


def test_a_prune_in_the_middle_of_a_batch_leaves_the_head_right(postgres_server, org, monkeypatch):
    """On PostgreSQL, where both write at once: the head counts what was added and what went."""
    worker, other = (SqlArchive(url, org) for url in [postgres_server.database()] * 2)
    old, young = records()[:2], records()[2:]
    worker.append("e", old)
    monkeypatch.setattr(archive_sql, "insert", pruned_before(archive_sql.insert, other))
    assert worker.append("e", young, old[-1].seq) == len(young)
    found = verify(worker, org, (), lambda *_: None)
    assert (found.faults, found.records) == ([], len(young) + 1)
    worker.close()
    other.close()


def pruned_before(insert, archive):
    """`archive_sql.insert`, before which somebody prunes."""

    def work(*given):
        retention.prune(archive, Keep().at(NOW_MS))
        insert(*given)

    return work
