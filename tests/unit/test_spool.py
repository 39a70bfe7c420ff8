"""The local journal: what a process wrote down is found by the next, once, and by nobody while it lives."""

from __future__ import annotations

import json
import logging
import os
import string
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.governed import department

from governor import Governor
from governor.budgets import Unit
from governor.clients.setup import identity
from governor.journal import owed
from governor.journal.spool import MOST_LINES, Spool, spool_folder, survey
from governor.ledger.commands import BudgetRow, Posting, Release, Settle
from governor.story.effects import Heard, Owe

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ROWS = st.builds(
    BudgetRow,
    TEXT,
    TEXT,
    st.integers(0, 2**53),
    st.integers(0, 2**53),
    st.sampled_from(Unit),
    st.integers(0, 2**63),
    st.lists(st.integers(0, 10_000)).map(tuple),
)
POSTINGS = st.lists(st.builds(Posting, ROWS, st.integers(0, 2**63)), max_size=3).map(tuple)
IDS = st.text(string.ascii_letters, min_size=1, max_size=3)
COMMANDS = st.builds(Settle, IDS, POSTINGS, TEXT, TEXT) | st.builds(Release, IDS, POSTINGS, TEXT)
ROW = BudgetRow("org/usd/life", "life", 0, 0, Unit.USD, 10**12, (8000,))


def settle(identifier="one", amount=5):
    """How some call ended."""
    return Settle(identifier, (Posting(ROW, amount),), "{}", "abc")


@pytest.fixture
def spool(tmp_path):
    made = Spool(tmp_path, "acme", "redis://here")
    yield made
    made.close()


def crash(spool):
    """End a spool as its process's death would: unlocked, with what was written."""
    os.close(spool._file)
    spool._file = None
    spool._owed = {}


def next_process(tmp_path, ledger="redis://here"):
    """What the next process finds; it dies then, too."""
    other = Spool(tmp_path, "acme", ledger)
    found = other.adopt()
    if other._file is not None:
        crash(other)
    return found


@given(commands=st.lists(COMMANDS, max_size=8), heard=st.lists(IDS, max_size=4))
def test_what_is_written_is_read(commands, heard):
    """Lines say back what they were made of: of one id the last, without what was struck out."""
    lines = [owed.head_line("redis://here", 1), *map(owed.owe_line, commands), *map(owed.heard_line, heard)]
    found, torn = owed.read_owed("\n".join(lines).splitlines())
    wanted = {command.id: command for command in commands}
    assert torn == []
    assert found == {key: command for key, command in wanted.items() if key not in heard}


@given(command=COMMANDS, data=st.data())
def test_half_a_line_says_nothing(command, data):
    """A line cut anywhere is no other command: it is kept aside."""
    line = owed.owe_line(command)
    cut = data.draw(st.integers(1, len(line) - 1))
    assert owed.read_owed([line[:cut]]) == ({}, [line[:cut]])


@pytest.mark.parametrize(
    "line",
    [
        "\x00\x00",
        "[]",
        "7",
        '{"v":2,"heard":"one"}',
        '{"v":1}',
        '{"v":1,"heard":""}',
        '{"v":1,"owe":"steal","id":"x","record":"{}","call":"","postings":[]}',
        '{"v":1,"owe":"settle","id":"x","record":"{}","call":"","postings":[{"budget":{},"amount":1}]}',
        '{"v":1,"owe":"settle","id":"x","record":7,"call":"","postings":[]}',
    ],
)
def test_what_is_no_line_is_kept_aside(line):
    """Anything but what this release writes is told apart, and stops nothing after it."""
    found, torn = owed.read_owed([line, owed.owe_line(settle())])
    assert ([*found], torn) == (["one"], [line])


def test_amounts_are_whole_numbers():
    """An amount that somebody made a fraction, or a text, is no posting."""
    said = json.loads(owed.owe_line(settle()))
    for amount in (1.5, "5", True, None):
        said["postings"][0]["amount"] = amount
        line = json.dumps(said)
        assert owed.read_owed([line]) == ({}, [line])


def test_the_next_process_takes_over(spool, tmp_path):
    """What was owed and not struck out is found, by each that comes next, until one strikes it out."""
    for number in range(3):
        spool.carry_out(Owe(settle(f"call-{number}")))
    spool.carry_out(Heard("call-1"))
    spool.carry_out(Owe(settle("call-2", 7)))
    crash(spool)
    wanted = [settle("call-0"), settle("call-2", 7)]
    assert next_process(tmp_path) == wanted
    assert next_process(tmp_path) == wanted
    last = Spool(tmp_path, "acme", "redis://here")
    for command in last.adopt():
        last.carry_out(Heard(command.id))
    last.close()
    assert survey(tmp_path, "acme") == []
    assert next_process(tmp_path) == []


def test_a_live_process_is_left_alone(spool, tmp_path):
    """The file of a process that lives is its own, also within one process."""
    spool.carry_out(Owe(settle()))
    assert next_process(tmp_path) == []
    (one,) = survey(tmp_path, "acme")
    assert (one.alive, one.owed, one.torn, one.ledger) == (True, 1, 0, "redis://here")
    crash(spool)
    (one,) = survey(tmp_path, "acme")
    assert (one.alive, one.owed) == (False, 1)


def test_another_ledger_s_is_left_alone(spool, tmp_path):
    """What is owed to one ledger is not told to another."""
    spool.carry_out(Owe(settle()))
    crash(spool)
    assert next_process(tmp_path, "redis://there") == []
    assert Spool(tmp_path, "other", "redis://here").adopt() == []
    assert next_process(tmp_path) == [settle()]


def test_two_that_come_next_do_not_both_take_over(spool, tmp_path):
    """Of two that start at the same time one takes a file over; the other finds it locked or gone."""
    spool.carry_out(Owe(settle()))
    crash(spool)
    first, second = (Spool(tmp_path, "acme", "redis://here") for _ in range(2))
    assert (first.adopt(), second.adopt()) == ([settle()], [])
    first.close()
    second.close()
    (one,) = survey(tmp_path, "acme")
    assert one.owed == 1


def test_a_torn_line_is_kept_aside_and_said(spool, tmp_path, caplog):
    """Half a line at the end, and rubbish in the middle, lose nothing else, and are kept."""
    spool.carry_out(Owe(settle("one")))
    os.write(spool._file, b"rubbish\n")
    spool.carry_out(Owe(settle("two")))
    os.write(spool._file, owed.owe_line(settle("three")).encode()[:40])
    crash(spool)
    with caplog.at_level(logging.ERROR, "governor"):
        assert next_process(tmp_path) == [settle("one"), settle("two")]
    assert "has 2 lines that cannot be read: kept in" in caplog.text
    (aside,) = (tmp_path / "acme").glob("*.torn")
    assert aside.read_text().splitlines() == ["rubbish", owed.owe_line(settle("three"))[:40]]
    assert [(one.owed, one.torn) for one in survey(tmp_path, "acme")] == [(2, 0), (0, 2)]


def test_a_write_that_broke_off_spoils_no_other(spool, tmp_path):
    """After half a line, as of a full disk, the next one begins anew."""
    spool.carry_out(Owe(settle("one")))
    os.write(spool._file, b'{"v":1,"owe"')
    spool._whole = False
    spool.carry_out(Owe(settle("two")))
    crash(spool)
    assert next_process(tmp_path) == [settle("one"), settle("two")]


def test_the_file_stays_small(spool, tmp_path):
    """What was struck out goes from the file, with something owed all the time and without."""
    spool.carry_out(Owe(settle("lease")))
    for number in range(2 * MOST_LINES):
        spool.carry_out(Owe(settle(f"call-{number}")))
        spool.carry_out(Heard(f"call-{number}"))
    (file,) = (tmp_path / "acme").iterdir()
    assert len(file.read_text().splitlines()) <= MOST_LINES + 10
    spool.carry_out(Heard("lease"))
    assert len(file.read_text().splitlines()) == 1
    spool.carry_out(Heard("nothing of ours"))
    crash(spool)
    assert next_process(tmp_path) == []


def test_a_forked_child_leaves_its_parent_s_alone(spool, tmp_path):
    """A child that forgets writes a file of its own, and does not keep its parent's locked."""
    spool.carry_out(Owe(settle("parent")))
    child = os.fork()
    if child == 0:
        spool.forget()
        spool.carry_out(Owe(settle("child")))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert sorted((one.alive, one.owed) for one in survey(tmp_path, "acme")) == [(False, 1), (True, 1)]
    assert next_process(tmp_path) == [settle("child")]


def test_a_process_that_is_killed_leaves_what_it_wrote(tmp_path):
    """The lock goes with the process, by SIGKILL too; what `Owe` returned from is there."""
    code = (
        "import os, sys; from pathlib import Path; sys.path.insert(0, 'tests/unit')\n"
        "from governor.journal.spool import Spool; from governor.story.effects import Owe\n"
        "from governor.ledger.commands import Settle\n"
        "Spool(Path(sys.argv[1]), 'acme', 'redis://here').carry_out(Owe(Settle('one', ())))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    assert next_process(tmp_path) == [Settle("one", ())]


def test_nobody_else_may_read_it(spool, tmp_path):
    """Records name users: files and folder are the owner's only."""
    spool.carry_out(Owe(settle()))
    (file,) = (tmp_path / "acme").iterdir()
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_where_the_spool_is(monkeypatch, tmp_path):
    """As given, else `GOVERNOR_SPOOL`, else the user's folder for state."""
    monkeypatch.delenv("GOVERNOR_SPOOL", raising=False)
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/ada")
    assert str(spool_folder(None)) == "/home/ada/.local/state/governor"
    monkeypatch.setenv("XDG_STATE_HOME", "/var/state")
    assert str(spool_folder(None)) == "/var/state/governor"
    monkeypatch.setenv("GOVERNOR_SPOOL", "/var/spool/gov")
    assert str(spool_folder(None)) == "/var/spool/gov"
    assert spool_folder(tmp_path) == tmp_path


def test_which_ledger_it_is(monkeypatch, tmp_path):
    """A URL without its password; a SQLite file by its whole path, wherever the process runs."""
    monkeypatch.chdir(tmp_path)
    assert identity("redis://me:secret@host/0") == "redis://me:***@host/0"
    assert identity("sqlite:///governor.db") == f"sqlite:///{tmp_path}/governor.db"
    assert identity("sqlite:////var/lib/governor.db") == "sqlite:////var/lib/governor.db"


def test_a_process_that_only_loads_sits_on_nothing(spool, tmp_path):
    """What a dead process left waits for a process that calls; one that loads and makes no call leaves it."""
    here = f"sqlite:///{tmp_path}/gov.db"
    left = Spool(tmp_path, "default", identity(here))
    left.carry_out(Owe(settle()))
    crash(left)
    team = department({"per": "department", "usd": 1, "window": "life"})
    (tmp_path / "team.yaml").write_text(json.dumps(team), encoding="utf-8")
    master = Governor.load(tmp_path / "team.yaml", ledger=here, spool=tmp_path)
    assert [(one.alive, one.owed) for one in survey(tmp_path, "default")] == [(False, 1)]
    with Governor.load(tmp_path / "team.yaml", ledger=here, spool=tmp_path) as worker:
        pass
    assert survey(tmp_path, "default") == []
    assert worker is not master
    master.close()
