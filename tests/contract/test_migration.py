"""A ledger of the layout before is refused, and brought to this one with every cent and hold it has."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from governor.budgets import Unit
from governor.errors import LedgerUnavailable
from governor.ledger import Ledger, open_async_ledger, open_ledger
from governor.ledger import commands as c
from governor.ledger.keys import SCHEMA
from governor.ledger.migration import FindOld, Migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.redis_server import RedisServer

DATA = Path(__file__).parent.parent / "data"
"""One ledger of layout 1, as each store kept it: calls settled, released, expired, late, unknown and open."""

MADE_MS = 1_795_262_430_000
NOW_MS = MADE_MS + 70_000
END_MS = MADE_MS + 3_600_000
TEAM = c.BudgetRow("department=eng/usd/month", "2026-11", MADE_MS, END_MS, Unit.USD, 1000, (5_000, 8_000))
ADA = c.BudgetRow("department=eng/user=ada@example.com/usd/month", "2026-11", MADE_MS, END_MS, Unit.USD, 4000)
MINUTE = "2026-11-21T12:00Z"
CALLS = c.BudgetRow(
    "department=eng/user=ada@example.com/requests/minute", MINUTE, MADE_MS, END_MS, Unit.REQUESTS, 60
)
BUSY = c.BudgetRow("department=eng/concurrent/life", "life", 0, 0, Unit.CONCURRENT, 8)
ROWS = (TEAM, ADA, CALLS, BUSY)


@pytest.fixture(params=["sqlite", "redis", "cluster"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a ledger of layout 1 lies, of the organisation `acme`."""
    if request.param == "sqlite":
        with closing(sqlite3.connect(tmp_path / "old.db")) as database:
            database.executescript((DATA / "ledger_schema_1.sql").read_text("utf-8"))
        return f"sqlite:///{tmp_path}/old.db"
    name = "redis_server" if request.param == "redis" else "redis_cluster_server"
    server: RedisServer = request.getfixturevalue(name)
    with server.client() as client:
        for left in client.scan_iter("gov:*:{acme}:*"):
            client.delete(left)
        for key, kept in json.loads((DATA / "ledger_schema_1.json").read_text("utf-8")).items():
            _put(client, key, kept["type"], kept["value"])
    return server.url


def _put(client: Any, key: str, kind: str, value: Any) -> None:
    if kind == "hash":
        client.hset(key, mapping=value)
    elif kind == "zset":
        client.zadd(key, dict(value))
    else:
        for seq, fields in value:
            client.xadd(key, fields, seq)


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    """The ledger, of this release."""
    opened = open_ledger(url, "acme", clock=lambda: NOW_MS)
    yield opened
    opened.close()


def migrate(ledger: Ledger, at_once: int = 3) -> int:
    """Migrate as the command does, some names at a time; return how many moved."""
    ledger.execute(Migrate())
    names = ledger.execute(FindOld()).names
    moved = sum(ledger.execute(Migrate(names[i : i + at_once])) for i in range(0, len(names), at_once))
    ledger.execute(Migrate(last=True))
    return moved


@pytest.mark.parametrize(
    "command", [c.Read(ROWS), c.ListHolds(), c.Create("new")], ids=lambda command: type(command).__name__
)
def test_a_ledger_of_the_layout_before_is_refused(url: str, command: c.Command[Any]) -> None:
    """With what to run; it is neither read as empty nor created anew beside itself."""
    ledger = open_ledger(url, "acme", create=True, clock=lambda: NOW_MS)
    with pytest.raises(LedgerUnavailable, match=r"schema 1.*knows 2.*governor ledger migrate"):
        ledger.execute(command)
    ledger.close()


def test_a_grant_made_before_can_be_taken_back_afterwards(ledger: Ledger) -> None:
    """The grant is found by its id as it was made, and only it is; taken back, the limit is without it."""
    migrate(ledger)
    grant = ledger.execute(c.FindGrant("g1"))
    assert grant == c.Grant("g1", ADA.identity, ADA.window, 40)
    assert [ledger.execute(c.FindGrant(name)) for name in ("s1", "f1", "u2")] == [None] * 3
    assert (ADA.identity, ADA.window) in ledger.execute(c.ListChanged())
    ledger.execute(grant.taking_back("{}"))
    assert ledger.execute(c.Read((ADA,))).balances == (c.Balance(352, 2620, 4000),)
    assert (ADA.identity, ADA.window) not in ledger.execute(c.ListChanged())


def test_every_balance_limit_and_freeze_is_there_afterwards(ledger: Ledger) -> None:
    """Posted, held, the limits that were set with their ends, grants, freezes, and the journal."""
    migrate(ledger)
    assert ledger.execute(c.Read(ROWS)).balances == (
        c.Balance(352, 120, 2000),
        c.Balance(352, 2620, 4040),
        c.Balance(5, 3, 60),
        c.Balance(0, 3, 9),
    )
    frozen = c.BudgetRow("department=law/usd/month", "2026-11", MADE_MS, END_MS, Unit.USD, 1)
    assert ledger.execute(c.Read((frozen,))).balances[0].frozen == "audit: closed"
    override = c.LimitChange(added=False, amount=2000, from_ms=0, until_ms=MADE_MS + 9_000_000)
    assert ledger.execute(c.ReadChanges(TEAM.identity, TEAM.window)).limits == (override,)
    assert len(ledger.execute(c.ReadJournal())) == 20
    assert ledger.execute(c.Inspect()).schema == SCHEMA


def test_holds_opened_before_end_as_they_would_have(ledger: Ledger) -> None:
    """Open ones settle and expire with their charges; an expired one settles late; a closed one is known."""
    migrate(ledger)
    assert [hold.id for hold in ledger.execute(c.ListHolds())] == ["refused", "open", "open-too"]
    spent = tuple(c.Posting(row, amount) for row, amount in zip(ROWS, (90, 90, 1, 0), strict=True))
    assert ledger.execute(c.Settle("open", spent)).state == "settled"
    late = tuple(c.Posting(row, amount) for row, amount in zip(ROWS, (10, 10, 1, 0), strict=True))
    assert ledger.execute(c.Settle("expired", late)).state == "settled_late"
    again = tuple(c.Posting(row, amount) for row, amount in zip(ROWS, (55, 55, 1, 0), strict=True))
    assert ledger.execute(c.Settle("late", again)).state == "settled_late"
    posted = [(balance.posted, balance.held) for balance in ledger.execute(c.Read(ROWS)).balances]
    assert posted == [(352 + 90 - 30, 20), (352 + 90 - 30, 2520), (6, 2), (0, 2)]


def test_an_open_hold_expires_after_a_migration(url: str) -> None:
    """Charged as it would have been."""
    ledger = open_ledger(url, "acme", clock=lambda: MADE_MS + 3_000_000)
    migrate(ledger)
    due = tuple(c.DueHold(hold.id, hold.balances) for hold in ledger.execute(c.ListHolds()))
    assert set(ledger.execute(c.Expire(due)).ids) == {"refused", "open", "open-too"}
    balances = ledger.execute(c.Read(ROWS)).balances
    assert [(b.posted, b.held) for b in balances] == [(472, 0), (2972, 0), (8, 0), (0, 0)]
    ledger.close()


@pytest.mark.parametrize("url", ["redis", "cluster"], indirect=True)
@pytest.mark.parametrize("steps", range(5))
def test_a_migration_that_was_broken_off_goes_on(ledger: Ledger, url: str, steps: int) -> None:
    """Wherever it stopped, the ledger is refused until it was run to its end, and then whole."""
    ledger.execute(Migrate())
    names = ledger.execute(FindOld()).names
    for start in range(steps):
        ledger.execute(Migrate(names[4 * start : 4 * start + 4]))
    other = open_ledger(url, "acme", create=True, clock=lambda: NOW_MS)
    with pytest.raises(LedgerUnavailable, match="is being migrated"):
        other.execute(c.Read(ROWS))
    assert migrate(ledger) == max(len(names) - 4 * steps, 0)
    assert [balance.posted for balance in other.execute(c.Read(ROWS)).balances] == [352, 352, 5, 0]
    other.close()


def test_migrating_again_changes_nothing(ledger: Ledger) -> None:
    """There is no old ledger left, and the new one stays as it is."""
    migrate(ledger)
    assert ledger.execute(FindOld()).schema is None
    before = ledger.execute(c.ListBalances())
    assert ledger.execute(c.ListBalances()) == before != ()


def test_the_async_ledger_migrates_as_well(url: str) -> None:
    """The same steps, on an event loop."""

    async def run() -> list[int]:
        ledger = open_async_ledger(url, "acme", clock=lambda: NOW_MS)
        await ledger.execute(Migrate())
        old = await ledger.execute(FindOld())
        await ledger.execute(Migrate(old.names))
        await ledger.execute(Migrate(last=True))
        readings = await ledger.execute(c.Read(ROWS))
        await ledger.close()
        return [balance.posted for balance in readings.balances]

    assert asyncio.run(run()) == [352, 352, 5, 0]
