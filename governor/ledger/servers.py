"""From a Redis URL to a client: of one server, of a cluster, or of the primary that sentinels name.

Clients are lazy: nothing is sent before the first command. Of clusters and sentinels, redis-py's pools raise
where all connections are in use; here callers beyond `CONNECTIONS` wait for one, as with a single server.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, cast

import redis as redis_py
import redis.asyncio as redis_aio
from redis import exceptions as rex
from redis.asyncio.cluster import ClusterNode as AsyncClusterNode
from redis.asyncio.sentinel import Sentinel as AsyncSentinel
from redis.cluster import ClusterNode
from redis.sentinel import Sentinel

from governor.ledger.forks import renew_in_children
from governor.ledger.urls import check, parse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from governor.ledger.urls import Address

CONNECTIONS = 64
"""Connections per process and server; callers beyond wait for one."""

WAIT_FOR_CONNECTION_S = 20.0
SOCKET_TIMEOUT_S = 5.0
_WITHOUT_KEY = frozenset({"INFO", "TIME", "SCAN"})
"""Commands that name no key: on a cluster they go to the node that holds the organisation's slot."""


def connect(url: str) -> redis_py.Redis:
    """A blocking client of one server on a bounded, waiting pool.

    Raises:
        ValueError: The URL has no form that is read; `WrongPart` where it can be said of which part.
    """
    check(url)
    pool = redis_py.BlockingConnectionPool.from_url(url, timeout=WAIT_FOR_CONNECTION_S, **_pool_options())
    return redis_py.Redis(connection_pool=pool)


def connect_async(url: str) -> redis_aio.Redis:
    """The same for an event loop."""
    check(url)
    return AsyncOne(
        lambda: redis_aio.BlockingConnectionPool.from_url(
            url, timeout=WAIT_FOR_CONNECTION_S, **_pool_options()
        )
    )


def connect_many(url: str, home: str) -> Many:
    """A blocking client of a cluster, or of the primary that sentinels name.

    Args:
        url: As `parse` reads it.
        home: A key of the organisation: where commands without a key go.

    Raises:
        ValueError: The URL has no such form.
    """
    address = parse(url)
    return Many(lambda: _cluster(address) if address.kind == "cluster" else _primary(address), home)


def connect_many_async(url: str, home: str) -> AsyncMany:
    """The same for an event loop."""
    address = parse(url)
    make = _async_cluster if address.kind == "cluster" else _async_primary
    return AsyncMany(lambda: make(address), home)


class AsyncOne(redis_aio.Redis):
    """An async client of one server; in a forked child it has a pool of its own, as blocking ones have."""

    def __init__(self, make_pool: Callable[[], redis_aio.ConnectionPool]) -> None:
        super().__init__(connection_pool=make_pool())
        self._make_pool = make_pool
        self._inherited: list[redis_aio.ConnectionPool] = []
        renew_in_children(self._begin)

    def _begin(self) -> None:
        """Begin anew. The parent's pool is kept: closed, its sockets would leave the selector of both."""
        self._inherited.append(self.connection_pool)
        self.connection_pool = self._make_pool()


class Many:
    """A blocking client that is made at its first command, with a turn for each caller."""

    def __init__(self, make: Callable[[], Any], home: str) -> None:
        self._make = make
        self._home = home
        self._client: Any = None
        self._inherited: list[Any] = []
        self._begin()
        renew_in_children(self._begin)

    def _begin(self) -> None:
        """Begin anew, as a forked child does: turns and lock may be those of threads that are not there."""
        if self._client is not None:
            self._inherited.append(self._client)  # kept, so that nothing of the parent's is closed
        self._client = None
        self._lock = threading.Lock()
        self._turns = threading.BoundedSemaphore(CONNECTIONS)

    def execute_command(self, *words: str) -> Any:
        """Send one ordinary command."""
        with self._turn() as client:
            if words[0] in _WITHOUT_KEY and isinstance(client, redis_py.RedisCluster):
                node = cast("Any", client).get_node_from_key(self._home)
                return _of_one_node(cast("Any", client).execute_command(*words, target_nodes=node))
            return client.execute_command(*words)

    def evalsha(self, *words: Any) -> Any:
        """Run a script that the server knows."""
        with self._turn() as client:
            return client.evalsha(*words)

    def eval(self, *words: Any) -> Any:
        """Run a script by its text."""
        with self._turn() as client:
            return client.eval(*words)

    def close(self) -> None:
        """Close the connections; the next command makes new ones."""
        with self._lock:
            client, self._client = self._client, None
        for each in _closable(client):
            each.close()
            if isinstance(each, redis_py.Redis):
                each.connection_pool.disconnect()

    @contextmanager
    def _turn(self) -> Iterator[Any]:
        if not self._turns.acquire(timeout=WAIT_FOR_CONNECTION_S):
            raise rex.ConnectionError("no connection became free")
        try:
            with self._lock:
                if self._client is None:
                    self._client = self._make()
                client = self._client
            yield client
        finally:
            self._turns.release()


class AsyncMany:
    """The same for an event loop."""

    def __init__(self, make: Callable[[], Any], home: str) -> None:
        self._make = make
        self._home = home
        self._client: Any = None
        self._inherited: list[Any] = []
        self._begin()
        renew_in_children(self._begin)

    def _begin(self) -> None:
        """Begin anew, as a forked child does: turns may be those of tasks that are not there."""
        if self._client is not None:
            # Kept: closed, its sockets would leave the selector that the child shares with its parent.
            self._inherited.append(self._client)
        self._client = None
        self._turns = asyncio.Semaphore(CONNECTIONS)

    async def execute_command(self, *words: str) -> Any:
        """Send one ordinary command."""
        async with self._turn() as client:
            if words[0] in _WITHOUT_KEY and isinstance(client, redis_aio.RedisCluster):
                await client.initialize()
                node = cast("Any", client).get_node_from_key(self._home)
                return _of_one_node(await cast("Any", client).execute_command(*words, target_nodes=node))
            return await client.execute_command(*words)

    async def evalsha(self, *words: Any) -> Any:
        """Run a script that the server knows."""
        async with self._turn() as client:
            return await client.evalsha(*words)

    async def eval(self, *words: Any) -> Any:
        """Run a script by its text."""
        async with self._turn() as client:
            return await client.eval(*words)

    async def aclose(self) -> None:
        """Close the connections; the next command makes new ones."""
        client, self._client = self._client, None
        for each in _closable(client):
            await each.aclose()
            if isinstance(each, redis_aio.Redis):
                await each.connection_pool.disconnect()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[Any]:
        try:
            await asyncio.wait_for(self._turns.acquire(), WAIT_FOR_CONNECTION_S)
        except TimeoutError:
            raise rex.ConnectionError("no connection became free") from None
        try:
            if self._client is None:
                self._client = self._make()
            yield self._client
        except AttributeError as error:  # what redis-py raises where a slot's move closes it under way
            raise rex.ConnectionError("the connection was closed while in use") from error
        finally:
            self._turns.release()


def _closable(client: Any) -> tuple[Any, ...]:
    """A client, and those of the sentinels that it asks."""
    if client is None:
        return ()
    manager = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    return (client, *(manager.sentinels if manager is not None else ()))


def _of_one_node(reply: Any) -> Any:
    """A reply as one server gives it: redis-py names the node with the cursor of a SCAN."""
    if isinstance(reply, tuple) and len(reply) == 2 and isinstance(reply[0], dict):
        return next(iter(reply[0].values())), reply[1]
    return reply


def _cluster(address: Address) -> Any:
    nodes: Any = [cast("Any", ClusterNode)(host, port) for host, port in address.hosts]
    return cast("Any", redis_py.RedisCluster)(
        startup_nodes=nodes, **address.user, **address.tls, **_pool_options()
    )


def _async_cluster(address: Address) -> Any:
    nodes: Any = [cast("Any", AsyncClusterNode)(host, port) for host, port in address.hosts]
    options = {**address.user, **address.tls, **_pool_options()}
    return cast("Any", redis_aio.RedisCluster)(startup_nodes=nodes, **options)


def _primary(address: Address) -> Any:
    sentinel = cast("Any", Sentinel)(list(address.hosts), sentinel_kwargs=_sentinel_options(address))
    options = {**address.user, **address.tls, **_pool_options()}
    return sentinel.master_for(address.service, db=address.db, **options)


def _async_primary(address: Address) -> Any:
    sentinel = cast("Any", AsyncSentinel)(list(address.hosts), sentinel_kwargs=_sentinel_options(address))
    options = {**address.user, **address.tls, **_pool_options()}
    return sentinel.master_for(address.service, db=address.db, **options)


def _sentinel_options(address: Address) -> dict[str, Any]:
    times = {"socket_timeout": SOCKET_TIMEOUT_S, "socket_connect_timeout": SOCKET_TIMEOUT_S}
    return {**address.sentinel_user, **address.tls, **times, "decode_responses": True, "protocol": 2}


def _pool_options() -> dict[str, Any]:
    return {
        "max_connections": CONNECTIONS,
        "decode_responses": True,
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": SOCKET_TIMEOUT_S,
        "protocol": 2,
    }
