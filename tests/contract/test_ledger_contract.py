"""The ledger contract over {SQLite, memory, fakeredis, Redis, a Redis cluster of one} x {sync, async}.

In the deep profile also over a cluster of three and a primary under a sentinel.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import fakeredis
import pytest
from support.fake_redis import FakeAsyncRedis, FakeRedis
from support.redis_fleet import ClusterOfThree, UnderSentinel

from governor.ledger.keys import Keys
from governor.ledger.memory import InMemoryLedger
from governor.ledger.redis import AsyncRedisLedger, RedisLedger
from governor.ledger.servers import connect, connect_async, connect_many, connect_many_async
from governor.ledger.sqlite import AsyncSqliteLedger, SqliteLedger
from governor.testing.ledger_contract import LedgerContract, OnALoop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from governor.ledger import Ledger
    from governor.testing.ledger_contract import SettableClock


class Place(NamedTuple):
    """What a store may need of a test."""

    request: pytest.FixtureRequest
    clock: SettableClock
    folder: Path
    org: str


def _sqlite(place: Place, *, create: bool) -> Ledger:
    return SqliteLedger(place.folder / "governor.db", place.org, create=create, clock=place.clock)


def _sqlite_async(place: Place, *, create: bool) -> Ledger:
    ledger = SqliteLedger(place.folder / "governor.db", place.org, create=create, clock=place.clock)
    return OnALoop(AsyncSqliteLedger(ledger))


def _memory(place: Place, *, create: bool) -> Ledger:
    return InMemoryLedger(place.org, place.org, create=create, clock=place.clock)


def _memory_async(place: Place, *, create: bool) -> Ledger:
    ledger = InMemoryLedger(place.org, place.org, create=create, clock=place.clock)
    return OnALoop(AsyncSqliteLedger(ledger))


def _redis(place: Place, client: Any, *, create: bool) -> Ledger:
    return RedisLedger(client, Keys(place.org), "the test's Redis", clock=place.clock, create=create)


def _redis_async(place: Place, client: Any, *, create: bool) -> Ledger:
    keys = Keys(place.org)
    return OnALoop(AsyncRedisLedger(client, keys, "the test's Redis", clock=place.clock, create=create))


def _fake(place: Place, *, create: bool) -> Ledger:
    client = FakeRedis(server=fakeredis.FakeServer(), decode_responses=True)
    return _redis(place, client, create=create)


def _fake_async(place: Place, *, create: bool) -> Ledger:
    client = FakeAsyncRedis(server=fakeredis.FakeServer(), decode_responses=True)
    return _redis_async(place, client, create=create)


def _one(place: Place, *, create: bool) -> Ledger:
    url = place.request.getfixturevalue("redis_server").url
    return _redis(place, connect(url), create=create)


def _one_async(place: Place, *, create: bool) -> Ledger:
    url = place.request.getfixturevalue("redis_server").url
    return _redis_async(place, connect_async(url), create=create)


def _many(fixture: str) -> Callable[..., Ledger]:
    def build(place: Place, *, create: bool) -> Ledger:
        url = place.request.getfixturevalue(fixture).url
        return _redis(place, connect_many(url, Keys(place.org).meta), create=create)

    return build


def _many_async(fixture: str) -> Callable[..., Ledger]:
    def build(place: Place, *, create: bool) -> Ledger:
        url = place.request.getfixturevalue(fixture).url
        return _redis_async(place, connect_many_async(url, Keys(place.org).meta), create=create)

    return build


STORES: dict[str, Callable[..., Ledger]] = {
    "sqlite": _sqlite,
    "sqlite-async": _sqlite_async,
    "memory": _memory,
    "memory-async": _memory_async,
    "fakeredis": _fake,
    "fakeredis-async": _fake_async,
    "redis": _one,
    "redis-async": _one_async,
    "cluster": _many("redis_cluster_server"),
    "cluster-async": _many_async("redis_cluster_server"),
}


DEEP: dict[str, Callable[..., Ledger]] = {
    "cluster-of-three": _many("cluster_of_three"),
    "cluster-of-three-async": _many_async("cluster_of_three"),
    "sentinel": _many("under_sentinel"),
    "sentinel-async": _many_async("under_sentinel"),
}
if os.environ.get("GOVERNOR_TEST_PROFILE") == "deep":
    STORES |= DEEP


@pytest.fixture(scope="module")
def cluster_of_three() -> Iterator[ClusterOfThree]:
    """Three nodes that share the slots."""
    with ClusterOfThree() as made:
        yield made


@pytest.fixture(scope="module")
def under_sentinel() -> Iterator[UnderSentinel]:
    """A primary with a replica, which a sentinel watches."""
    with UnderSentinel() as made:
        yield made


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> str:
    """The name of a store; every test runs on each."""
    return str(request.param)


class TestLedgerContract(LedgerContract):
    """Each behaviour, on each store."""

    @pytest.fixture
    def ledger(
        self, request: pytest.FixtureRequest, store: str, clock: SettableClock, tmp_path: Path, org: str
    ) -> Iterator[Ledger]:
        """A ledger made just now."""
        ledger = STORES[store](Place(request, clock, tmp_path, org), create=True)
        yield ledger
        ledger.close()

    @pytest.fixture
    def empty_ledger(
        self, request: pytest.FixtureRequest, store: str, clock: SettableClock, tmp_path: Path, org: str
    ) -> Iterator[Ledger]:
        """A store never created, and not to be created by use."""
        ledger = STORES[store](Place(request, clock, tmp_path, org), create=False)
        yield ledger
        ledger.close()
