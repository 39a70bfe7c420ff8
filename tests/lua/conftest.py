"""What the tests of scripts may ask for: an organisation on a cluster of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.lua_server import Server

from governor.ledger import commands as c

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.redis_server import RedisServer


@pytest.fixture
def server(redis_cluster_server: RedisServer, org: str) -> Iterator[Server]:
    """An empty organisation on the cluster of one."""
    made = Server(redis_cluster_server.port, org)
    yield made
    made.client.close()


@pytest.fixture
def ledger(server: Server) -> Server:
    """The same, created as a ledger."""
    server.run(c.Create("epoch-1"))
    return server
