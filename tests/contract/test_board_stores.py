"""The notice board where several post at once, in a SQLite file that is older, and beside a rebuild."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from threading import Barrier
from typing import TYPE_CHECKING

import pytest
from support.refused import RESERVE, ROW

from governor.ledger import commands as c
from governor.ledger import open_ledger
from governor.ledger.recovery import BeginRestore

if TYPE_CHECKING:
    from pathlib import Path

    from support.redis_server import RedisServer

AT_ONCE = 8


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a ledger may be made."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/governor.db"
    server: RedisServer = request.getfixturevalue("redis_server")
    return server.url


def told(answer: object) -> set[str]:
    """The processes whose notices an answer carries."""
    assert isinstance(answer, c.Held | c.Refused)
    return {line.process for line in answer.board}


def test_of_several_at_once_nobody_is_lost(url: str, org: str) -> None:
    """Each ledger of its own posts in the same moment; whoever comes after hears all of them."""
    first = open_ledger(url, org, create=True)
    first.execute(c.Read((ROW,)))
    together = Barrier(AT_ONCE)

    def post(index: int) -> None:
        ledger = open_ledger(url, org)
        together.wait(30)
        for turn in range(5):
            notice = c.Notice(f"p{index}", f"turn {turn}")
            ledger.execute(c.Reserve(f"r{index}-{turn}", (ROW,), ((c.Ask(1),),), 60_000, notice=notice))
        ledger.close()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(post, range(AT_ONCE)))
    assert told(first.execute(replace(RESERVE, notice=c.Notice("last")))) == {f"p{i}" for i in range(AT_ONCE)}
    first.close()


def test_a_file_from_before_the_board_takes_notices(tmp_path: Path, org: str) -> None:
    """Its schema is the same: the table is made when the file is opened, and all else stays."""
    path = tmp_path / "old.db"
    ledger = open_ledger(f"sqlite:///{path}", org, create=True)
    ledger.execute(c.Grant("g", ROW.identity, ROW.window, 7))
    ledger.close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE board")
    assert told(ledger.execute(replace(RESERVE, notice=c.Notice("a", "one")))) == set()
    assert told(ledger.execute(replace(RESERVE, notice=c.Notice("b")))) == {"a"}
    assert ledger.execute(c.Read((ROW,))).balances[0].limit == ROW.limit + 7
    ledger.close()


def test_a_notice_is_no_obstacle_to_a_rebuild(url: str, org: str) -> None:
    """A new ledger that was only told notices counts as unused."""
    ledger = open_ledger(url, org, create=True)
    trial = c.Reserve(
        "try", (ROW,), ((c.Ask(ROW.limit + 1),),), 60_000, trial=True, notice=c.Notice("a", "x")
    )
    assert isinstance(ledger.execute(trial), c.Refused)
    assert ledger.execute(c.ListBalances(past=True)) == ()
    assert ledger.execute(BeginRestore("epoch-2", "an/archive")).state == "begun"
    ledger.close()
