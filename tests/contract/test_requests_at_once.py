"""Requests where several answer at once, and in a SQLite file that is older than them."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier
from typing import TYPE_CHECKING

import pytest
from support.refused import ROW

from governor.errors import LedgerUnavailable
from governor.ledger import commands as c
from governor.ledger import open_ledger

if TYPE_CHECKING:
    from pathlib import Path

    from support.redis_server import RedisServer

ADA = c.Person("Ada", "ada@laptop-7")
ASKED = c.BudgetRequest("q1", ROW.identity, ROW.window, 40, ADA, "a launch")
AT_ONCE = 8


@pytest.fixture(params=["sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a ledger may be made."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/governor.db"
    server: RedisServer = request.getfixturevalue("redis_server")
    return server.url


def test_of_several_answers_at_once_one_counts(url: str, org: str) -> None:
    """Whoever comes first grants or denies; every other one is told that, and the limit says the same."""
    first = open_ledger(url, org, create=True)
    kept = first.execute(c.RequestGrant(ASKED))
    assert isinstance(kept, c.BudgetRequest)
    together = Barrier(AT_ONCE)

    def answer(index: int) -> c.BudgetRequest | c.NotAnswered:
        by = c.Person(f"admin {index}", f"admin-{index}@host")
        ledger = open_ledger(url, org)
        together.wait(30)
        try:
            command = c.Deny(kept, by, "no") if index % 2 else c.Approve(kept, by, "", 10 + index)
            return ledger.execute(command)
        finally:
            ledger.close()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(answer, range(AT_ONCE)))
    (counted,) = (one for one in answers if isinstance(one, c.BudgetRequest))
    others = [one for one in answers if isinstance(one, c.NotAnswered)]
    assert {(one.why, one.request) for one in others} == {("answered", counted)}
    assert counted.answer is not None
    granted = counted.answer.amount if counted.answer.state == "approved" else 0
    assert first.execute(c.Read((ROW,))).balances[0].limit == ROW.limit + granted
    first.close()


def made_before_requests(path: Path, org: str) -> None:
    """A ledger's file as a release of the same schema left it that knew no requests."""
    open_file = open_ledger(f"sqlite:///{path}", org, create=True)
    open_file.execute(c.Grant("g", ROW.identity, ROW.window, 7))
    open_file.close()
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TABLE request")


def test_a_file_from_before_requests_takes_them(tmp_path: Path, org: str) -> None:
    """Its schema is the same: the table is made when the file is opened, and all else stays."""
    made_before_requests(tmp_path / "old.db", org)
    ledger = open_ledger(f"sqlite:///{tmp_path}/old.db", org)
    assert ledger.execute(c.ListRequests()) == ()
    assert isinstance(ledger.execute(c.RequestGrant(ASKED)), c.BudgetRequest)
    assert ledger.execute(c.Read((ROW,))).balances[0].limit == ROW.limit + 7
    ledger.close()


def test_a_file_of_another_organisation_is_left_as_it_is(tmp_path: Path, org: str) -> None:
    """It is refused before anything is made in it."""
    made_before_requests(tmp_path / "other.db", org)
    ledger = open_ledger(f"sqlite:///{tmp_path}/other.db", f"{org}-2")
    with pytest.raises(LedgerUnavailable, match="is the ledger of organization"):
        ledger.execute(c.ListRequests())
    ledger.close()
    with closing(sqlite3.connect(tmp_path / "other.db")) as database:
        assert not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'request'").fetchone()
