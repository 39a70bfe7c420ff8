"""Processes that make batches, or read their results, and are killed on the way."""

from __future__ import annotations

import asyncio
import multiprocessing
from typing import TYPE_CHECKING, Any

import anthropic

from governor import AsyncGovernor, Governor
from support.batched import item
from support.governed import Clock

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

    from support.governed import Stage

_FORKS = multiprocessing.get_context("forkserver")

ITEMS = ("a", "b", "c")


def victim(stage: Stage, ledger: str, work: str) -> ForkServerProcess:
    """A process, not yet started, that does *work*: `create` a batch of three items, or `drain`."""
    place = (str(stage.policies), ledger, stage.api.url, stage.clock() if stage.clock else None)
    return _FORKS.Process(target=_in_tasks if stage.is_async else _blocking, args=(*place, work))


def _blocking(policies: str, ledger: str, api_url: str, now_ms: int, work: str) -> None:
    client = anthropic.Anthropic(base_url=api_url, api_key="fake-key")
    gov = Governor.load(policies, ledger=ledger, client=client, clock=Clock(now_ms))
    if work == "create":
        gov.batches.create(**_batch())
    else:
        gov.batches.drain()


def _in_tasks(policies: str, ledger: str, api_url: str, now_ms: int, work: str) -> None:
    async def run() -> None:
        client = anthropic.AsyncAnthropic(base_url=api_url, api_key="fake-key")
        gov = AsyncGovernor.load(policies, ledger=ledger, client=client, clock=Clock(now_ms))
        await (gov.batches.create(**_batch()) if work == "create" else gov.batches.drain())

    asyncio.run(run())


def _batch() -> dict[str, Any]:
    return {"requests": [item(name) for name in ITEMS], "user": "u", "department": "team"}
