"""What a rebuild finds missing in an archive, in JSON lines and in SQL."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from support.told import reserve, settle

from governor.journal import rebuild
from governor.journal.archive import ArchiveError, open_archive
from governor.journal.archiving import copy_new, trim
from governor.ledger import commands as c
from governor.ledger.recovery import ReadSince
from governor.ledger.sqlite import SqliteLedger
from governor.testing.ledger_contract import Bench, SettableClock
from governor.testing.ledger_contract.bench import START_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from governor.journal.archive import Archive
    from governor.ledger import Ledger

MONTH = "department=legal/usd/month"
ROLLING = "department=legal/usd/rolling-7d"
LIFE = "run=pr-1/usd/life"
HOUR_MS = 3_600_000


@pytest.fixture
def bench(tmp_path, org) -> Iterator[Bench]:
    """A ledger with two calls that ended, an hour apart."""
    clock = SettableClock()
    ledger = SqliteLedger(tmp_path / "governor.db", org, clock=clock)
    made = Bench(ledger, clock)
    for name in ("first", "second"):
        spend(made, name)
        clock.advance(HOUR_MS)
    yield made
    ledger.close()


@pytest.fixture(params=["lines", "sql"])
def archive(request, bench, tmp_path, org) -> Iterator[Archive]:
    """Its archive."""
    where = "archive.jsonl" if request.param == "lines" else f"sqlite:///{tmp_path}/archive.db"
    made = open_archive(where if "://" in where else f"{tmp_path}/{where}", org)
    copy(bench.ledger, made)
    yield made
    made.close()


def spend(bench: Bench, name: str) -> None:
    rows = [bench.budget(identity, 10**9) for identity in (MONTH, LIFE)]
    bench.ledger.execute(reserve(name, *((row, 5) for row in rows)))
    bench.ledger.execute(settle(name, *((row, 5) for row in rows)))


def copy(ledger: Ledger, archive: Archive) -> None:
    copy_new(ledger, archive, lambda *_: None)


def edit(folder: Path, change: Callable[[list[str]], list[str]], sql: str, *values: object) -> None:
    """Change the archive from outside: its lines, or with *sql* its table."""
    lines = folder / "archive.jsonl"
    if lines.exists():
        lines.write_text("".join(change(lines.read_text().splitlines(keepends=True))))
        return
    with closing(sqlite3.connect(folder / "archive.db")) as db, db:
        db.execute(sql, values)


def remove(folder: Path, seq: str) -> None:
    """Take the record of that place out of the archive."""
    edit(
        folder,
        lambda lines: [line for line in lines if f'"seq":"{seq}"' not in line],
        "DELETE FROM governor_journal WHERE seq = ?",
        seq,
    )


def cut_back(folder: Path, seq: int) -> None:
    """Take the record of that place and all behind it out of the archive."""
    edit(folder, lambda lines: lines[: seq - 1], "DELETE FROM governor_journal WHERE place >= ?", seq)


def damage(folder: Path, seq: str) -> None:
    """Write something else over a part of the record of that place."""
    at = int(seq) - 1
    edit(
        folder,
        lambda lines: [*lines[:at], "XX" + lines[at][60:], *lines[at + 1 :]],
        "UPDATE governor_journal SET seq = 'XX' WHERE seq = ?",
        seq,
    )


def trimmed(bench: Bench, archive: Archive) -> int:
    """How many records went from the ledger that are older than now."""
    return trim(bench.ledger, archive, archive.last().epoch, bench.clock.now_ms, lambda _: None)


def planned(archive: Archive, now_ms: int) -> rebuild.Plan:
    return rebuild.plan(archive, now_ms, now_ms, lambda _: None)


@pytest.mark.parametrize("harm", [remove, damage])
@pytest.mark.parametrize("seq", ["1", "2", "4"])
def test_what_the_archive_has_not_whole_is_not_trimmed(archive, bench, tmp_path, harm, seq):
    """Where the break is and what to do is said, nothing goes; and once that is done, all of it does."""
    harm(tmp_path, seq)
    kept = bench.ledger.execute(ReadSince())
    line = f"line {seq} is" if (tmp_path / "archive.jsonl").exists() else "seq 'XX' is"
    where = f"before {kept.epoch}/{int(seq) + 1}" if harm is remove else line
    with pytest.raises(ArchiveError, match=f"{where}.*nothing was trimmed.*archive again"):
        trimmed(bench, archive)
    assert bench.ledger.execute(ReadSince()) == kept
    cut_back(tmp_path, int(seq))
    copy(bench.ledger, archive)
    assert trimmed(bench, archive) == 4
    assert planned(archive, bench.clock.now_ms).gaps == ()


def test_only_what_the_ledger_still_has_must_be_in_the_archive(archive, bench, tmp_path):
    """A record that is missing before the ledger's oldest is no reason to keep the rest."""
    assert trimmed(bench, archive) == 4
    spend(bench, "third")
    copy(bench.ledger, archive)
    bench.clock.advance(1)
    for seq in ("2", "4"):
        damage(tmp_path, seq)
    assert trimmed(bench, archive) == 2


@pytest.mark.parametrize("seq", ["1", "2", "4"])
def test_a_missing_record_is_found_wherever_it_was(archive, bench, tmp_path, seq):
    """What is before it and behind it is named, and every budget is unsure."""
    assert planned(archive, bench.clock.now_ms).gaps == ()
    remove(tmp_path, seq)
    plan = planned(archive, bench.clock.now_ms)
    (gap,) = plan.gaps
    before, behind = (int(seq) - 1, int(seq) + 1)
    assert (gap.last and gap.last.seq, gap.next.seq) == (str(before) if before else None, str(behind))
    assert {one.identity: one.why for one in plan.unsure} == dict.fromkeys((MONTH, LIFE), rebuild.MISSING)


def test_a_gap_concerns_no_window_that_began_after_it(archive, bench, tmp_path):
    """A month, or seven days, that began when the gap was over are sure; what never ends is not."""
    remove(tmp_path, "2")
    bench.clock.advance(32 * 24 * HOUR_MS)
    spend(bench, "later")
    roll = bench.budget(ROLLING, 10**9)
    bench.ledger.execute(settle("rolled", (roll, 5)))
    bench.clock.advance(HOUR_MS)
    bench.ledger.execute(c.Freeze("f", MONTH, "audit"))
    copy(bench.ledger, archive)
    assert [one.identity for one in planned(archive, bench.clock.now_ms - HOUR_MS // 2).unsure] == [LIFE]


def test_a_rebuilt_ledger_alone_in_an_archive_is_a_gap(archive, bench, tmp_path, org):
    """Its journal says from which record it was rebuilt; an archive that has it not is incomplete."""
    second = SqliteLedger(tmp_path / "second.db", org, clock=bench.clock)
    plan = planned(archive, bench.clock.now_ms)
    rebuild.carry_out(second, plan, "epoch-2", {}, freeze=False, tell=lambda _: None)
    alone = open_archive(f"{tmp_path}/alone.jsonl", org)
    copy(second, alone)
    (gap,) = planned(alone, bench.clock.now_ms).gaps
    assert (gap.last, gap.next.epoch) == (None, "epoch-2")
    copy(second, archive)
    assert planned(archive, bench.clock.now_ms).gaps == ()
    second.close()


@pytest.mark.parametrize("place", ["", "from=", "from={}/word"])
def test_a_rebuild_from_no_known_place_is_a_gap(archive, bench, place):
    """A record of a rebuild that does not say from where is no crash."""
    epoch, at_ms = archive.last().epoch, bench.clock.now_ms
    odd = c.JournalEntry("6", "rebuild", "odd", at_ms, "rebuilt", place.format(epoch), "{}")
    archive.append(epoch, [odd], "5")
    assert [gap.next.seq for gap in planned(archive, at_ms).gaps] == ["6"]


def test_two_ledgers_of_one_time_in_an_archive_are_told(archive, bench):
    """They are added up, and both are named."""
    epoch = archive.last().epoch
    assert planned(archive, bench.clock.now_ms).at_once == ()
    archive.append("other", [c.JournalEntry("1", "create", "other", START_MS + 1, "created", "", "{}")])
    assert planned(archive, bench.clock.now_ms).at_once == ((epoch, "other"),)


def test_a_record_that_is_there_twice_is_refused(bench, tmp_path, org):
    """Two files put together with what both have would be added up twice."""
    path = tmp_path / "archive.jsonl"
    archive = open_archive(str(path), org)
    copy(bench.ledger, archive)
    path.write_text(path.read_text() * 2)
    with pytest.raises(ArchiveError, match=r"/1 behind .*/5: put each record there once"):
        planned(archive, bench.clock.now_ms)
