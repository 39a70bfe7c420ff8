"""A ledger on a cluster, and under a sentinel: it works, it survives a moved slot and a failover."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from redis import exceptions as rex
from support.governed import Clock, Stage, department
from support.redis_fleet import ClusterOfThree, UnderSentinel

from governor.budgets import Unit
from governor.errors import LedgerUnavailable
from governor.ledger import commands as c
from governor.ledger import open_async_ledger, open_ledger
from governor.ledger.keys import Keys
from governor.ledger.servers import CONNECTIONS, AsyncMany
from governor.testing import FakeClaude
from governor.testing.ledger_contract import OnALoop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.ledger import Ledger

TEAM = c.BudgetRow("department=team/usd/life", "life", 0, 0, Unit.USD, 1_000)


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterOfThree]:
    """Three nodes for a module; every test has an organisation of its own."""
    with ClusterOfThree() as made:
        yield made


@pytest.fixture
def under_sentinel() -> Iterator[UnderSentinel]:
    """A primary, a replica and a sentinel for one test."""
    with UnderSentinel() as made:
        yield made


@contextmanager
def opened(url: str, org: str, *, is_async: bool) -> Iterator[Ledger]:
    """A ledger at *url*, made where there is none, and closed at the end."""
    ledger: Ledger
    if is_async:
        ledger = OnALoop(open_async_ledger(url, org, create=True))
    else:
        ledger = open_ledger(url, org, create=True)
    try:
        yield ledger
    finally:
        ledger.close()


def hold(ledger: Ledger, name: str, amount: int = 10) -> None:
    """Hold *amount* of the team's budget."""
    reply = ledger.execute(c.Reserve(name, (TEAM,), ((c.Ask(amount),),), 600_000))
    assert isinstance(reply, c.Held), reply


def balance(ledger: Ledger) -> tuple[int, int]:
    """Posted and held of the team's budget."""
    (found,) = ledger.execute(c.Read((TEAM,))).balances
    return found.posted, found.held


deep = pytest.mark.deep
ways = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


@deep
@ways
@pytest.mark.parametrize("number", range(6))
def test_any_organisation_finds_its_node(cluster, org, number, is_async):
    """Whichever node an organisation's slot is on, every verb and every list answers from there."""
    with opened(cluster.url, f"{org}-{number}", is_async=is_async) as ledger:
        hold(ledger, "a")
        ledger.execute(c.Settle("a", (c.Posting(TEAM, 7),)))
        hold(ledger, "b")
        assert balance(ledger) == (7, 10)
        assert [known.identity for known in ledger.execute(c.ListBalances())] == [TEAM.identity]
        assert [one.id for one in ledger.execute(c.ListHolds())] == ["b"]
        assert [entry.kind for entry in ledger.execute(c.ReadJournal())][-3:] == [
            "reserve",
            "settle",
            "reserve",
        ]
        assert ledger.execute(c.Inspect()).created


@deep
@ways
def test_a_call_is_governed_on_a_cluster(cluster, org, tmp_path, is_async):
    """The whole of a call, from its hold to its settlement, on the node of its organisation."""
    with FakeClaude(now_ms=Clock()) as api:
        stage = Stage(api, tmp_path, cluster.url, org, is_async)
        try:
            receipt = (
                stage.governor(department({"per": "department", "usd": "1", "window": "life"})).call().receipt
            )
            assert receipt.settled
            assert stage.posted() == receipt.cost.nanos == api.billed_nanos
            assert stage.holds() == ()
        finally:
            stage.close()


@deep
@ways
def test_a_moved_slot_is_followed(cluster, org, is_async):
    """Holds and balances go with their slot, and the ledger finds them on the other node."""
    with opened(cluster.url, org, is_async=is_async) as ledger:
        hold(ledger, "before")
        cluster.move_slot_of(Keys(org).meta)
        assert balance(ledger) == (0, 10)
        ledger.execute(c.Settle("before", (c.Posting(TEAM, 9),)))
        hold(ledger, "after")
        assert balance(ledger) == (9, 10)
        assert [one.id for one in ledger.execute(c.ListHolds())] == ["after"]


def test_more_callers_than_connections_wait_for_one(redis_cluster_server, org):
    """No caller is refused because all connections are in use."""
    with opened(redis_cluster_server.url, org, is_async=False) as ledger:
        with ThreadPoolExecutor(3 * CONNECTIONS) as pool:
            list(pool.map(lambda number: hold(ledger, f"h-{number}", 1), range(6 * CONNECTIONS)))
        assert balance(ledger) == (0, 6 * CONNECTIONS)


@deep
@ways
def test_a_failover_loses_nothing_that_was_replicated(under_sentinel, org, is_async):
    """After the primary's death the ledger goes on with the replica, where every hold and balance is."""
    with opened(under_sentinel.url, org, is_async=is_async) as ledger:
        hold(ledger, "before")
        under_sentinel.fail_over()
        for _ in range(3):  # the connections to the dead primary are told by an error each
            try:
                ledger.execute(c.Settle("before", (c.Posting(TEAM, 9),)))
                break
            except LedgerUnavailable:
                continue
        hold(ledger, "after")
        assert balance(ledger) == (9, 10)


@pytest.mark.parametrize("url", ["redis+cluster://127.0.0.1:1", "redis+sentinel://127.0.0.1:1/main"])
@ways
def test_nobody_there_is_told(url, is_async):
    """Where no node and no sentinel answers, the ledger is unavailable, from the first command on."""
    unreachable = pytest.raises(LedgerUnavailable, match="cannot be reached")
    with opened(url, "acme", is_async=is_async) as ledger, unreachable:
        balance(ledger)


class Closed:
    """A client as redis-py's async one of a cluster is, when a slot's move closes its connection in use."""

    async def evalsha(self, *_words: str) -> None:
        """Fail as it does: its writer is gone."""
        writer = None
        writer.writelines(())  # type: ignore[attr-defined]


def test_a_connection_that_a_moving_slot_closes_is_one_that_is_lost():
    """It is told as a lost connection, so that the command is said again; not as an error of the program."""
    with pytest.raises(rex.ConnectionError, match="closed while in use"):
        asyncio.run(AsyncMany(Closed, "home").evalsha("sha", "0"))
