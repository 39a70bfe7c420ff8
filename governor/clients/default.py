"""`governor.call` and `governor.acall`: one governor per process, configured by the environment."""

from __future__ import annotations

import asyncio
import threading
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from governor.clients.aio import AsyncGovernor
from governor.clients.governor import Governor

if TYPE_CHECKING:
    from governor.clients.request import Message

_lock = threading.Lock()
_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncGovernor] = WeakKeyDictionary()


def call(**request: Any) -> Message:
    """`Governor.call` of the process's governor.

    It is loaded on the first call from `GOVERNOR_POLICIES` (default `policies/`) and `GOVERNOR_LEDGER`
    (default `sqlite:///governor.db`), with an Anthropic client made from the environment.

    Raises:
        PolicyError: The policy files are missing or malformed; and all that `Governor.call` raises.
    """
    with _lock:
        governor = _blocking()
    return governor.call(**request)


async def acall(**request: Any) -> Message:
    """`AsyncGovernor.call` of the running event loop's governor; configured and raising as `call`."""
    loop = asyncio.get_running_loop()
    if loop not in _by_loop:
        _by_loop[loop] = AsyncGovernor.load()
    return await _by_loop[loop].call(**request)


@cache
def _blocking() -> Governor:
    return Governor.load()
