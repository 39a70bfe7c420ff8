"""Fixtures: a `stage` of every kind, blocking and async, on SQLite and on Redis. A conftest imports them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from governor.testing import FakeClaude
from support.governed import Clock, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

WAYS = [
    pytest.param((False, "sqlite"), id="sync-sqlite"),
    pytest.param((True, "sqlite"), id="async-sqlite"),
    pytest.param((False, "redis"), id="sync-redis"),
    pytest.param((True, "redis"), id="async-redis"),
]


def _only(*ids: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("stage", [way for way in WAYS if way.id in ids], indirect=True)


on_sqlite = _only("sync-sqlite", "async-sqlite")
on_redis = _only("sync-redis", "async-redis")
blocking = _only("sync-sqlite", "sync-redis")
in_tasks = _only("async-sqlite", "async-redis")
once = _only("sync-sqlite")


@pytest.fixture(scope="module")
def shared_api() -> Iterator[FakeClaude]:
    """One fake API for a module; `stage` resets it, and its clock stands where every stage's begins."""
    with FakeClaude(now_ms=Clock()) as api:
        yield api


@pytest.fixture(params=WAYS)
def stage(request, shared_api, tmp_path, org) -> Iterator[Stage]:
    """A stage of every kind; the marks of this module keep fewer kinds."""
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
