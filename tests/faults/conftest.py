"""The stages on which faults are played."""

from __future__ import annotations

import pytest
from support.governed import Stage
from support.outages import outage, outage_redis
from support.redis_server import RedisServer
from support.stages import WAYS, shared_api, stage

__all__ = ["outage", "outage_redis", "shared_api", "stage"]


@pytest.fixture
def own_redis(redis_available):
    """A Redis of the test's own, which it may fill, stop or misconfigure; its data survives a restart."""
    with RedisServer(appendonly=True) as server:
        yield server


@pytest.fixture(params=[way for way in WAYS if "redis" in way.id])
def down(request, shared_api, tmp_path, org, own_redis):
    """A stage on that server, blocking and async."""
    shared_api.reset()
    made = Stage(shared_api, tmp_path, own_redis.url, org, request.param[0])
    yield made
    made.close()
    shared_api.wait_idle()
