"""Fixtures: a `stage` of every kind, blocking and async, on SQLite and on Redis. A conftest imports them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from governor.testing import FakeClaude
from support.governed import Clock, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.mark.structures import ParameterSet

WAYS = [
    pytest.param((False, "sqlite"), id="sync-sqlite"),
    pytest.param((True, "sqlite"), id="async-sqlite"),
    pytest.param((False, "redis"), id="sync-redis"),
    pytest.param((True, "redis"), id="async-redis"),
]


def _ways(*ids: str, deep: tuple[str, ...] = ()) -> list[ParameterSet]:
    """The ways of these *ids*, and in the deep profile those of *deep* too."""
    ways = [way for way in WAYS if way.id in ids]
    return ways + [
        pytest.param(*way.values, id=way.id, marks=pytest.mark.deep) for way in WAYS if way.id in deep
    ]


def _only(*ids: str, deep: tuple[str, ...] = ()) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("stage", _ways(*ids, deep=deep), indirect=True)


on_sqlite = _only("sync-sqlite", "async-sqlite")
on_redis = _only("sync-redis", "async-redis")
blocking = _only("sync-sqlite", "sync-redis")
in_tasks = _only("async-sqlite", "async-redis")
once = _only("sync-sqlite")
in_threads_at_length = _only("sync-sqlite", deep=("sync-redis",))
in_tasks_at_length = _only("async-redis", deep=("async-sqlite",))
"""What takes long is played on one store in the gate: what is looked at is not the ledger."""


@pytest.fixture(scope="module")
def shared_api() -> Iterator[FakeClaude]:
    """One fake API for a module; `stage` resets it, and its clock stands where every stage's begins."""
    with FakeClaude(now_ms=Clock()) as api:
        yield api


@pytest.fixture(params=_ways("sync-sqlite", "async-redis", deep=("async-sqlite", "sync-redis")))
def stage(request, shared_api, tmp_path, org) -> Iterator[Stage]:
    """A stage of every kind; the gate has both drivers and both stores, and marks choose otherwise."""
    is_async, store = request.param
    shared_api.reset()
    if store == "redis":
        url = request.getfixturevalue("redis_server").url
    else:
        url = f"sqlite:///{tmp_path}/governor.db"
    made = Stage(shared_api, tmp_path, url, org, is_async)
    yield made
    made.close()
    shared_api.wait_idle()
