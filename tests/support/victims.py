"""Processes that make a governed call and are killed on the way, by SIGKILL and from outside."""

from __future__ import annotations

import asyncio
import multiprocessing
from typing import TYPE_CHECKING, Any

import anthropic

from governor import AsyncGovernor, Governor
from governor.story import sending
from support.governed import HELLO, Clock
from support.invariants import tagged

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

    from support.governed import Stage

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(  # what it finds without the tests' own path, and what costs most to import
    [
        *("anthropic.resources.messages", "governor.clients.aio", "governor.clients.governor"),
        *("governor.ledger.redis", "governor.ledger.servers", "governor.policy.check", "governor.testing"),
    ]
)


def victim(stage: Stage, ledger: str, *names: str) -> ForkServerProcess:
    """A process, not yet started, that makes calls of these names, one after the other.

    It is of the stage's kind and on its clock as that stands now, and extends its hold at every event.
    """
    now_ms = stage.clock() if stage.clock else None
    place = (str(stage.policies), ledger, stage.api.url, now_ms)
    return _FORKS.Process(target=_in_tasks if stage.is_async else _blocking, args=(*place, names))


def _blocking(policies: str, ledger: str, api_url: str, now_ms: int, names: tuple[str, ...]) -> None:
    sending.EXTEND_EVERY_S = 0.0
    client = anthropic.Anthropic(base_url=api_url, api_key="fake-key")
    gov = Governor.load(policies, ledger=ledger, client=client, clock=Clock(now_ms))
    for name in names:
        gov.call(**_request(name))


def _in_tasks(policies: str, ledger: str, api_url: str, now_ms: int, names: tuple[str, ...]) -> None:
    sending.EXTEND_EVERY_S = 0.0

    async def run() -> None:
        client = anthropic.AsyncAnthropic(base_url=api_url, api_key="fake-key")
        gov = AsyncGovernor.load(policies, ledger=ledger, client=client, clock=Clock(now_ms))
        for name in names:
            await gov.call(**_request(name))

    asyncio.run(run())


def _request(name: str) -> dict[str, Any]:
    return tagged(name, user="u", department="team", max_tokens=1000, messages=HELLO)
