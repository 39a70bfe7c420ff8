"""The journal's archive over {SQLite, fakeredis, Redis, a Redis cluster of one} x {JSON lines, SQL}."""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from contract.test_ledger_contract import STORES, Place
from support.told import reserve, settle

from governor.errors import LedgerUnavailable
from governor.journal.archive import Archive, Archived, ArchiveError, open_archive
from governor.journal.archiving import copy_new, trim
from governor.ledger import commands as c
from governor.ledger.recovery import PAGE, Mark, MeasureJournal, ReadSince, TrimJournal, place
from governor.ledger.sqlite import SqliteLedger
from governor.testing.ledger_contract import Bench, SettableClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from governor.ledger import Ledger

DAY_MS = 24 * 3600 * 1000


@pytest.fixture(params=["sqlite", "fakeredis", "redis", "cluster"])
def ledger(request, tmp_path, org, clock) -> Iterator[Ledger]:
    """A ledger made just now."""
    made = STORES[request.param](Place(request, clock, tmp_path, org), create=True)
    yield made
    made.close()


@pytest.fixture
def clock() -> SettableClock:
    """The ledger's clock."""
    return SettableClock()


@pytest.fixture(params=["lines", "sql"])
def opened(request, tmp_path, org) -> Callable[[], Archive]:
    """Opens the test's archive."""
    where = f"{tmp_path}/journal.jsonl" if request.param == "lines" else f"sqlite:///{tmp_path}/archive.db"
    return lambda: open_archive(where, org)


@pytest.fixture
def archive(opened) -> Iterator[Archive]:
    """An archive that is not there yet."""
    made = opened()
    yield made
    made.close()


def spend(ledger: Ledger, clock: SettableClock, *names: str) -> None:
    """Hold and settle something under these ids."""
    team = Bench(ledger, clock).budget("department=legal/usd/month", 10**12)
    for name in names:
        ledger.execute(reserve(name, (team, 7)))
        ledger.execute(settle(name, (team, 5)))


def copy(ledger: Ledger, archive: Archive) -> int:
    return copy_new(ledger, archive, lambda *_: None).records


def journal(ledger: Ledger) -> list[Archived]:
    """What the ledger keeps, in the archive's form."""
    page = ledger.execute(ReadSince(limit=100_000))
    befores = (None, *(entry.seq for entry in page.entries))
    return [Archived(page.epoch, *linked) for linked in zip(page.entries, befores, strict=False)]


def test_every_record_is_archived_once_and_as_it_was(ledger, clock, archive):
    """What is new is appended in order, each field verbatim; again, nothing."""
    spend(ledger, clock, "a", "b")
    assert copy(ledger, archive) == 5
    assert copy(ledger, archive) == 0
    ledger.execute(
        c.Freeze("f", "department=legal/usd/month", 'a "reason"\nin two lines, é', record='{"x":1}')
    )
    assert copy(ledger, archive) == 1
    assert list(archive.read()) == journal(ledger)
    assert archive.count() == pytest.approx(6, abs=1)
    epoch, entry, _ = journal(ledger)[-1]
    last = archive.last()
    assert (last.epoch, last.seq, last.at_ms) == (epoch, entry.seq, entry.at_ms)


def test_more_than_one_page_is_archived(ledger, clock, archive):
    """The journal is copied in batches, in order and without gaps."""
    grants = PAGE + 5
    for number in range(grants):
        ledger.execute(c.Grant(f"g{number}", "department=legal/usd/month", "2026-11", 1))
    told = []
    copy_new(ledger, archive, lambda *progress: told.append(progress))
    assert list(archive.read()) == journal(ledger)
    assert told == [(PAGE, grants + 1), (grants + 1, grants + 1)]


def test_two_archivers_at_once_do_no_harm(ledger, clock, opened):
    """Whoever is faster, each record is there once and in order."""
    spend(ledger, clock, *(f"r{number}" for number in range(40)))
    barrier = threading.Barrier(3)

    def work() -> None:
        own = opened()
        barrier.wait()
        own.append(page.epoch, page.entries)
        own.close()

    page = ledger.execute(ReadSince())
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    archive = opened()
    assert list(archive.read()) == journal(ledger)
    archive.close()


def test_only_what_is_archived_and_old_is_trimmed(ledger, clock, archive):
    """The archive's own last old record is the limit, whatever the ledger has beyond it."""
    spend(ledger, clock, "old")
    clock.advance(8 * DAY_MS)
    spend(ledger, clock, "archived")
    before = journal(ledger)
    epoch = before[0][0]
    week_ago = clock.now_ms - 7 * DAY_MS
    assert trim(ledger, archive, epoch, week_ago, lambda _: None) == 0
    copy(ledger, archive)
    spend(ledger, clock, "new")
    assert trim(ledger, archive, epoch, week_ago, lambda _: None) == 3
    assert trim(ledger, archive, epoch, week_ago, lambda _: None) == 0
    kept = journal(ledger)
    assert [one.entry.id for one in kept] == ["archived", "archived", "new", "new"]
    assert trim(ledger, archive, epoch, clock.now_ms + 1, lambda _: None) == 1
    assert copy(ledger, archive) == 2
    assert list(archive.read()) == [*before, *kept[2:]]


def test_a_ledger_made_anew_is_not_trimmed_by_the_old_one_s_archive(ledger, clock, archive):
    """A trim is of the epoch that was archived; another ledger's records stay."""
    spend(ledger, clock, "a")
    size = ledger.execute(MeasureJournal())
    assert (size.records, size.first.kind, size.last.kind) == (3, "create", "settle")
    with pytest.raises(LedgerUnavailable, match="made anew meanwhile"):
        ledger.execute(TrimJournal("another-epoch", size.last.seq, Mark.of(size.last)))
    archive.append("another-epoch", ledger.execute(ReadSince()).entries)
    with pytest.raises(LedgerUnavailable, match="made anew, and nothing was trimmed"):
        trim(ledger, archive, "another-epoch", clock.now_ms + 1, lambda _: None)
    assert ledger.execute(MeasureJournal()) == size


@pytest.mark.parametrize("again", [(), ("other",), ("other", "more", "most")])
def test_a_ledger_that_went_back_is_neither_copied_nor_trimmed(ledger, clock, archive, again):
    """Another record at the archive's last place, or none beside older ones: said, and all is left alone."""
    spend(ledger, clock, "a", *again)
    page = ledger.execute(ReadSince())
    ahead = [*page.entries[:3], *(replace(entry, id="lost") for entry in page.entries[3:5])]
    if not again:
        major, minor = place(ahead[-1].seq)
        beyond = f"{major + 1}-{minor}" if "-" in ahead[-1].seq else f"{major + 1}"
        ahead.append(replace(ahead[-1], seq=beyond, id="lost"))
    archive.append(page.epoch, ahead)
    with pytest.raises(ArchiveError, match="went back in time: the archive ends with settle lost"):
        copy(ledger, archive)
    with pytest.raises(ArchiveError, match="nothing was copied or trimmed"):
        trim(ledger, archive, page.epoch, clock.now_ms + 1, lambda _: None)
    with pytest.raises(LedgerUnavailable, match="went back in time, and nothing was trimmed"):
        ledger.execute(TrimJournal(page.epoch, ahead[-1].seq, Mark.of(ahead[-1])))
    assert (ledger.execute(ReadSince()), list(archive.read())[-1].entry.id) == (page, "lost")


def test_a_ledger_trimmed_beyond_its_archive_is_archived_on(ledger, clock, archive):
    """Where another archive had it trimmed, that is said, and the archive knows where records are missing."""
    spend(ledger, clock, "a")
    entries = ledger.execute(ReadSince()).entries
    epoch = ledger.execute(MeasureJournal()).epoch
    archive.append(epoch, entries[:2])
    ledger.execute(TrimJournal(epoch, entries[1].seq, Mark.of(entries[2])))
    assert copy_new(ledger, archive, lambda *_: None).gap
    spend(ledger, clock, "b")
    again = copy_new(ledger, archive, lambda *_: None)
    assert (again.records, again.gap) == (2, False)
    kept = list(archive.read())
    assert [one.after for one in kept] == [None, entries[0].seq, None, *(one.entry.seq for one in kept[2:4])]


def test_a_second_ledger_that_lives_at_the_same_time_is_refused(ledger, clock, archive, tmp_path, org):
    """Whichever of two is archived behind the other, nothing of it is copied; one that came later may be."""
    spend(ledger, clock, "a")
    clock.advance(1)
    other = SqliteLedger(tmp_path / "other.db", org, clock=clock)
    spend(other, clock, "b")
    copy(ledger, archive)
    assert copy(other, archive) == 3
    clock.advance(1)
    spend(ledger, clock, "c")
    with pytest.raises(ArchiveError, match=r"another ledger .* lived at the same time .* place of its own"):
        copy(ledger, archive)
    third = SqliteLedger(tmp_path / "third.db", org, clock=clock)
    third.execute(c.Create("third"))
    spend(other, clock, "d")
    clock.advance(1)
    spend(other, clock, "e")
    copy(other, archive)
    with pytest.raises(ArchiveError, match="epoch third"):
        copy(third, archive)
    assert len(list(archive.read())) == 10
    other.close()
    third.close()


def test_several_lives_are_read_in_their_order(clock, archive, tmp_path, org):
    """Records of a ledger that came after another one's follow them, whatever their places are called."""
    entry = c.JournalEntry("9", "freeze", "f", 5, "b", "0 why", "{}")
    archive.append("first", [entry])
    later = [c.JournalEntry(f"{seq}", "freeze", "f", 6, "b", "0 why", "{}") for seq in (2, 10, 11)]
    assert archive.append("second", later) == 3
    assert archive.append("second", later) == 0
    assert [(one.epoch, one.entry.seq) for one in archive.read()] == [
        ("first", "9"),
        ("second", "2"),
        ("second", "10"),
        ("second", "11"),
    ]
    assert archive.last().seq == "11"
    assert archive.last("first").seq == "9"
    assert [link.seq for link in archive.back_to("second", "10")] == ["11", "10"]
    assert [link.seq for link in archive.back_to("first", "10")] == []


# JSON lines.


@pytest.fixture
def lines(tmp_path, org) -> Archive:
    """An archive in a file, with three records."""
    made = open_archive(f"file://{tmp_path}/journal.jsonl", org)
    made.append("e", THREE)
    return made


THREE = [c.JournalEntry(f"{n}", "freeze", f"f{n}", n, "b", "0 why " * 9, "{}") for n in (1, 2, 3)]


def test_an_archiver_killed_while_it_wrote_leaves_a_line_that_is_repaired(lines, tmp_path):
    """Cut off anywhere, the file is cut back to its last whole record, and the rest comes again."""
    path: Path = tmp_path / "journal.jsonl"
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        known = [one.entry.seq for one in lines.read()]
        last = lines.last()
        assert (last.seq if last else None) == (known[-1] if known else None)
        assert lines.append("e", THREE) == 3 - len(known)
        assert path.read_bytes() == whole


def test_a_long_file_is_read_from_its_end(tmp_path, org):
    """The records behind a place are found across blocks and in lines longer than one."""
    made = open_archive(str(tmp_path / "journal.jsonl"), org)
    entries = [
        c.JournalEntry(f"{n}", "freeze", "f", n, "b", "", json.dumps("x" * (n * 997 % 90_000)))
        for n in range(1, 120)
    ]
    made.append("e", entries)
    for seq in (120, 119, 60, 2, 1):
        assert [link.at_ms for link in made.back_to("e", f"{seq}")] == [*range(119, seq - 1, -1)]
    assert [one.entry for one in made.read()] == entries


@pytest.mark.parametrize("text", ["no json\n", '{"organization":"x"}\n', "[]\n", '{"seq":1}\n'])
def test_a_file_that_is_no_archive_is_refused(lines, tmp_path, text):
    """What is no record is named, and nothing is appended behind it."""
    path: Path = tmp_path / "journal.jsonl"
    path.write_text(path.read_text() + text)
    for use in (lines.last, lambda: list(lines.read()), lambda: lines.append("e", THREE)):
        with pytest.raises(ArchiveError, match="is no record of a journal"):
            use()
    assert path.read_text().endswith(text)


DEEP = "[" * 100_000


WRONG = [
    ("seq", None),
    ("seq", 2),
    ("seq", "word"),
    ("seq", "9" * 19),
    ("after", 1),
    ("after", "-1"),
    ("epoch", ["e"]),
    ("kind", []),
    ("id", None),
    ("at_ms", "2"),
    ("at_ms", 1.5),
    ("at_ms", True),
    ("at_ms", 10**15),
    ("outcome", {}),
    ("detail", None),
    ("record", {"v": 1}),
]


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_a_field_of_a_wrong_type_is_told_with_its_line(lines, tmp_path, field, value):
    """Whoever reads the line says which it is and what is wrong with it, from either end of the file."""
    path: Path = tmp_path / "journal.jsonl"
    rows = path.read_text().splitlines(keepends=True)
    rows[1] = json.dumps(json.loads(rows[1]) | {field: value}) + "\n"
    path.write_text("".join(rows))
    said = f"line 2 is no record of a journal \\(its '{field}' is missing or wrong"
    for use in (lambda: list(lines.read()), lambda: list(lines.back_to("e", "1"))):
        with pytest.raises(ArchiveError, match=said):
            use()
    path.write_text("".join(rows[:2]))
    for use in (lines.last, lambda: lines.append("e", THREE)):
        with pytest.raises(ArchiveError, match=said):
            use()


@pytest.mark.parametrize("text", [DEEP, '{"seq":' * 5000, '{"x":' + DEEP + "]" * 100_000 + "}", "1", "\x00"])
def test_a_line_that_is_no_object_is_told(lines, tmp_path, text):
    """Nested however deep, it is an error of the archive's."""
    path: Path = tmp_path / "journal.jsonl"
    path.write_text(path.read_text() + text + "\n")
    with pytest.raises(ArchiveError, match=r"line 4 is no record of a journal \(it is no JSON object\)"):
        lines.last()


def test_another_organization_s_file_is_refused(lines, tmp_path):
    """One file keeps one organisation's journal."""
    with pytest.raises(ArchiveError, match="is the archive of organization"):
        open_archive(f"{tmp_path}/journal.jsonl", "somebody-else").append("e", THREE)


def test_a_file_that_cannot_be_written_says_so(tmp_path, org):
    """A folder that is missing is an error with the path, not a traceback."""
    for entries in (THREE, ()):
        with pytest.raises(ArchiveError, match=r"none/x.jsonl cannot be used: .*check the path"):
            open_archive(f"{tmp_path}/none/x.jsonl", org).append("e", entries)


# SQL.


def test_one_table_keeps_many_organizations(tmp_path, org):
    """Each reads and appends its own."""
    url = f"sqlite:///{tmp_path}/archive.db"
    mine, other = open_archive(url, org), open_archive(url, "other")
    assert mine.append("e", THREE[:2]) == 2
    assert other.append("e", THREE) == 3
    assert [one.entry.seq for one in mine.read()] == ["1", "2"]
    assert (mine.count(), other.count(), mine.last().seq) == (2, 3, "2")
    mine.close()
    other.close()


@pytest.mark.parametrize(
    ("field", "value"),
    [("seq", "word"), ("seq", "1-x"), ("after", "word"), ("at_ms", "soon"), ("at_ms", 1.5)],
)
def test_a_row_with_a_wrong_field_is_told(tmp_path, org, field, value):
    """A row that somebody changed is named wherever it is read."""
    archive = open_archive(f"sqlite:///{tmp_path}/archive.db", org)
    archive.append("e", THREE)
    with sqlite3.connect(tmp_path / "archive.db") as db:
        db.execute(f"UPDATE governor_journal SET {field} = ? WHERE seq = '3'", (value,))
    db.close()
    seq = value if field == "seq" else "3"
    said = f"with seq '{seq}' is no record of a journal \\(its '{field}' is missing or wrong"
    uses = (
        archive.last,
        lambda: list(archive.read()),
        lambda: list(archive.back_to("e", "1")),
        lambda: archive.append("e", THREE),
    )
    for use in uses:
        with pytest.raises(ArchiveError, match=said):
            use()
    archive.close()


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("redis://localhost", "is no archive"),
        ("file://host/path", "names no file"),
        ("nosuch://user:secret@host/db", "NoSuchModuleError"),
        ("postgresql://user:secret@host:port/db", "cannot be used"),
    ],
)
def test_a_place_that_is_no_archive_is_refused(where, message, org):
    """The message says what to write, and never quotes a password."""
    with pytest.raises(ArchiveError, match=message) as raised:
        open_archive(where, org)
    assert "sec" not in str(raised.value)


def test_a_database_that_cannot_be_reached_says_so(tmp_path, org):
    """Its message names the URL, what failed and what to look at."""
    with pytest.raises(ArchiveError, match=r"none/archive.db cannot be used: .*check its URL"):
        open_archive(f"sqlite:///{tmp_path}/none/archive.db", org).append("e", THREE)
    with pytest.raises(ArchiveError, match="cannot be used"):
        open_archive("postgresql://me@localhost:1/none", org).last()


def test_reading_makes_no_database_and_no_table(tmp_path, org):
    """A mistyped URL leaves nothing behind; another program's database is left as it is."""
    (tmp_path / "theirs.db").touch()
    for name in ("none.db", "theirs.db"):
        archive = open_archive(f"sqlite:///{tmp_path}/{name}", org)
        assert (archive.last(), archive.count()) == (None, 0)
        with pytest.raises(ArchiveError, match="has no table governor_journal: correct its URL"):
            list(archive.read())
        archive.close()
    assert [(path.name, path.stat().st_size) for path in tmp_path.glob("*")] == [("theirs.db", 0)]


def test_without_sqlalchemy_the_extra_is_named(monkeypatch, org):
    """A database's URL without the package is refused with what to install; a file needs nothing."""
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    monkeypatch.delitem(sys.modules, "governor.journal.archive_sql", raising=False)
    with pytest.raises(ArchiveError, match=r"claude-governor\[archive\]"):
        open_archive("postgresql://host/db", org)
    open_archive("journal.jsonl", org)
