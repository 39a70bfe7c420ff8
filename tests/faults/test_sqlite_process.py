"""A SQLite ledger in a process that is interrupted, forks, or whose file is taken away."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys

import pytest
from support.governed import department
from support.stages import on_sqlite

from governor import LedgerUnavailable
from governor.budgets import Unit
from governor.ledger import commands as c
from governor.ledger.sqlite import SqliteLedger

TEAM = {"per": "department", "usd": "1", "window": "life"}
ROW = c.BudgetRow("department=team/usd/life", "life", 0, 0, Unit.USD, 1000)
RESERVE = c.Reserve("r1", (ROW,), ((c.Ask(10),),), 60_000)


class Interrupted(sqlite3.Connection):
    """A connection on which Ctrl-C strikes as one statement returns."""

    strikes_at = ""

    def execute(self, sql, *values):
        cursor = super().execute(sql, *values)
        if sql == self.strikes_at:
            self.strikes_at = ""
            raise KeyboardInterrupt
        return cursor


@pytest.fixture
def ledger(tmp_path):
    """A ledger file with one hold settled."""
    made = SqliteLedger(tmp_path / "governor.db", "org")
    made.execute(RESERVE)
    made.execute(c.Settle("r1", (c.Posting(ROW, 7),)))
    yield made
    made.close()


@pytest.mark.parametrize("statement", ["BEGIN IMMEDIATE", "COMMIT"])
def test_an_interrupt_leaves_no_transaction_open(ledger, tmp_path, statement):
    """Ctrl-C just after the ledger has begun, or ended, its transaction: others may write, and so may it."""
    path = tmp_path / "governor.db"
    ledger._connection.close()
    ledger._connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, factory=Interrupted
    )
    ledger._connection.strikes_at = statement
    with pytest.raises(KeyboardInterrupt):
        ledger.execute(c.Reserve("r2", (ROW,), ((c.Ask(10),),), 60_000))
    assert not ledger._connection.in_transaction
    other = sqlite3.connect(path, isolation_level=None, timeout=0)
    other.execute("BEGIN IMMEDIATE")
    other.execute("ROLLBACK")
    other.close()
    held = 10 if statement == "COMMIT" else 0
    assert ledger.execute(c.Read((ROW,))).balances == (c.Balance(7, held, 1000),)


@on_sqlite
def test_a_ledger_that_is_deleted_in_use_is_missed(stage):
    """A deleted file is not written on, nor made anew with every limit whole; put back, it goes on."""
    caller = stage.governor(department(TEAM))
    caller.call()
    path, away = stage.folder / "governor.db", stage.folder / "away.db"
    path.rename(away)
    with pytest.raises(
        LedgerUnavailable, match="was deleted or replaced while in use: put it back, or restart"
    ):
        caller.call()
    assert not path.exists()
    assert len(stage.sent()) == 1
    away.rename(path)
    caller.call()
    assert stage.posted() == stage.api.billed_nanos


@on_sqlite
def test_a_ledger_that_is_replaced_in_use_is_refused(stage):
    """Another file under the same name is another ledger: the process that knew the first refuses."""
    caller = stage.governor(department(TEAM))
    caller.call()
    path = stage.folder / "governor.db"
    for name in ("governor.db", "governor.db-wal", "governor.db-shm"):
        (stage.folder / name).rename(stage.folder / f"old-{name}")
    fresh = SqliteLedger(path, stage.org, clock=stage.clock)
    fresh.execute(c.Read((ROW,)))
    fresh.close()
    with pytest.raises(LedgerUnavailable, match="was deleted or replaced while in use"):
        caller.call()
    assert len(stage.sent()) == 1


FORK = """
import os, signal, sys, threading, warnings
from pathlib import Path
from governor.ledger import commands as c
from governor.ledger.sqlite import SqliteLedger

warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads: that is what is tried here
parent, inside, go_on = os.getpid(), threading.Event(), threading.Event()

def clock():
    if threading.current_thread() is not threading.main_thread() and os.getpid() == parent:
        inside.set()
        go_on.wait()
    return 1_795_176_000_000

ledger = SqliteLedger(Path(sys.argv[1]), "org", clock=clock)
ledger.execute(c.ReadJournal())
thread = threading.Thread(target=ledger.execute, args=(c.Inspect(),))
thread.start()
inside.wait()  # the thread is inside the ledger now
os.register_at_fork(before=go_on.set)  # and goes on once the fork has begun
child = os.fork()
if child == 0:
    signal.alarm(20)  # a child that hangs ends all the same, and is seen to have been killed
    os._exit(0 if ledger.execute(c.Inspect()).created else 1)
_, status = os.waitpid(child, 0)
thread.join()
print(os.waitstatus_to_exitcode(status), ledger.execute(c.Inspect()).created)
ledger.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_child_forked_while_another_thread_is_in_the_ledger_can_use_it(tmp_path):
    """The fork waits for the thread's command, and parent and child go on."""
    ran = subprocess.run(
        [sys.executable, "-c", FORK, str(tmp_path / "governor.db")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.stdout, ran.stderr) == ("0 True\n", "")


PARTED = """
import os, signal, subprocess, sys
from pathlib import Path
from governor.budgets import Unit
from governor.ledger import commands as c
from governor.ledger.sqlite import SqliteLedger

path = Path(sys.argv[1])
row = c.BudgetRow("org/usd/life", "life", 0, 0, Unit.USD, 1000)
ledger = SqliteLedger(path, "org")
told, tell = os.pipe(), os.pipe()

def pay(name):
    ledger.execute(c.Settle(name, (c.Posting(row, 10),)))

def third():
    look = (
        "import sqlite3, sys;"
        "print(*sqlite3.connect(sys.argv[1]).execute('SELECT posted FROM balance').fetchone())"
    )
    ran = subprocess.run([sys.executable, "-c", look, str(path)], capture_output=True, text=True, check=True)
    return int(ran.stdout)

pay("before")
if os.fork() == 0:
    signal.alarm(30)
    pay("child 1")
    os.write(told[1], b".")
    os.read(tell[0], 1)
    seen = [third()]
    for name in ("child 2", "child 3"):
        pay(name)
        seen.append(third())
    seen.append(ledger.execute(c.Read((row,))).balances[0].posted)
    print(*seen, flush=True)
    os._exit(0)
os.read(told[0], 1)
pay("parent")
if sys.argv[2] == "closes":
    ledger.close()
os.write(tell[1], b".")
if sys.argv[2] == "closes":
    os.wait()
    print(ledger.execute(c.Read((row,))).balances[0].posted)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("parent", ["closes", "exits"])
def test_nothing_is_lost_when_the_parent_of_a_fork_leaves_the_ledger(tmp_path, parent):
    """Parent and child write, the parent goes, a third process comes and goes: every posting is there."""
    path = tmp_path / "governor.db"
    ran = subprocess.run(
        [sys.executable, "-c", PARTED, str(path), parent],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.stdout.split(), ran.stderr) == (["30", "40", "50", "50"] + ["50"] * (parent == "closes"), "")
    with sqlite3.connect(path) as after:
        assert after.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert after.execute("SELECT posted FROM balance").fetchone() == (50,)
    after.close()
