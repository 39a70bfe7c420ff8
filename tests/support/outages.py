"""A stage whose Redis may be killed and comes back, and what the tests of an outage do on it."""

from __future__ import annotations

import pytest

from governor.journal.spool import survey
from support.governed import Stage, department
from support.redis_server import RedisServer
from support.stages import WAYS

USD = "department=team/usd/life"
ORG = "org/usd/life"
CEILING = 1_166_000
"""Of the usual request on Sonnet, in nano-dollars: 19 counted tokens with their margin, and 100 of output."""


@pytest.fixture(scope="module")
def outage_redis(redis_available):
    """A Redis that the tests may kill; its data survives that."""
    with RedisServer(appendonly=True) as server:
        yield server


@pytest.fixture(params=[way for way in WAYS if "redis" in way.id])
def outage(request, shared_api, tmp_path, org, outage_redis):
    """A stage on that server, blocking and async; it is running whenever a test begins and ends."""
    shared_api.reset()
    made = Stage(shared_api, tmp_path, outage_redis.url, org, request.param[0])
    made.redis = outage_redis
    yield made
    if outage_redis.pid is None:
        outage_redis.start()
    if made.clock is not None:
        made.clock.forward(60)
    made.close()
    shared_api.wait_idle()


def team(if_down, *more, usd="1", **rest):
    """A department with one budget for life, and what becomes of it while the ledger is away."""
    budgets = ({"per": "department", "usd": usd, "window": "life"}, *more)
    return department(*budgets, if_ledger_is_down=if_down, timeout=5, retries=0, **rest)


def open_up(stage, if_down, *more, **rest):
    """A governor with a spool of the test's own that has made one call while the ledger was there."""
    shared = {"budgets": [{"per": "organization", "usd": "2", "window": "life"}]}
    caller = stage.governor(team(if_down, *more, **rest), shared=shared, spool=stage.folder / "spool")
    assert caller.call().receipt.settled
    return caller


def come_back(stage):
    """The ledger is there again, and it is time to ask it."""
    stage.redis.start()
    stage.clock.forward(60)


def left(stage):
    """What lies in the spool: for each file, whether its process lives and what is owed."""
    return [(one.alive, one.owed) for one in survey(stage.folder / "spool", stage.org)]


def ends(stage):
    """The journal's endings of calls, without those of leases."""
    kinds = ("settle", "release", "expire")
    return [entry for entry in stage.journal() if entry.kind in kinds and not entry.id.startswith("lease.")]
