"""`governor.call`, `governor.outcome` and their twins: one governor per process, from the environment."""

from __future__ import annotations

import asyncio
import os
import threading
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from governor.clients.aio import AsyncGovernor
from governor.clients.governor import Governor

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from governor.clients.request import Message

_locks = [threading.Lock()]
"""One lock: a forked child puts another in its place, since a thread that is not there may hold it."""

_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncGovernor] = WeakKeyDictionary()
_keepers: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncIterator[None]] = WeakKeyDictionary()


def call(**request: Any) -> Message:
    """`Governor.call` of the process's governor.

    It is loaded on the first call from `GOVERNOR_POLICIES` (default `policies/`) and `GOVERNOR_LEDGER`
    (default `sqlite:///governor.db`), with an Anthropic client made from the environment.

    Raises:
        PolicyError: The policy files are missing or malformed; and all that `Governor.call` raises.
    """
    with _locks[0]:
        governor = _blocking()
    return governor.call(**request)


def outcome(name: str, **said: Any) -> str:
    """`Governor.outcome` of the process's governor: what a run or a call was good for; returns its id.

    Configured as `call`, and raising as `Governor.outcome`.
    """
    with _locks[0]:
        governor = _blocking()
    return governor.outcome(name, **said)


async def acall(**request: Any) -> Message:
    """`AsyncGovernor.call` of the running event loop's governor; configured and raising as `call`."""
    return await (await _of_the_loop()).call(**request)


async def aoutcome(name: str, **said: Any) -> str:
    """`AsyncGovernor.outcome` of the running event loop's governor; configured and raising as `outcome`."""
    return await (await _of_the_loop()).outcome(name, **said)


async def _of_the_loop() -> AsyncGovernor:
    loop = asyncio.get_running_loop()
    if loop not in _by_loop:
        keeper = _keep(loop)
        await anext(keeper)
        _keepers[loop] = keeper
    return _by_loop[loop]


async def _keep(loop: asyncio.AbstractEventLoop) -> AsyncIterator[None]:
    """Hold a loop's governor open; `asyncio.run` ends its async generators, and this one closes it then."""
    async with AsyncGovernor.load() as governor:
        _by_loop[loop] = governor
        try:
            yield
        finally:
            del _by_loop[loop]


def _renew_lock() -> None:
    _locks[0] = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)


@cache
def _blocking() -> Governor:
    return Governor.load()
