"""Memory does not grow with the number of streams: 10,000 in the deep profile, a thousand else."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import anthropic
import pytest
from support.api_process import api_process
from support.governed import HAIKU, HELLO, department, until
from support.stages import in_tasks_at_length, in_threads_at_length

import governor
from governor.testing import Reply

DEEP = os.environ.get("GOVERNOR_TEST_PROFILE") == "deep"
STREAMS = 10_000 if DEEP else 1_000
ROUNDS, AT_ONCE = 10, 20
BLOCKS_PER_STREAM = 3 if DEEP else 20
"""Python objects that may stay of a stream, on the average of the second half: one of which its meter, its
hold or its message were kept would leave more. A loop's own come and go by some 3,000, whatever has run."""

ASKED = {"model": HAIKU, "max_tokens": 100, "messages": HELLO, "stream": True}
TEAM = department({"per": "department", "usd": 1000, "window": "life"}, timeout=60)
ENDINGS = ("read", "left", "dropped")


def blocks():
    """Blocks of memory that Python's objects take now."""
    for _ in range(2):  # what the first round ends may be kept by what it could not end
        gc.collect()
    return sys.getallocatedblocks()


def flat(taken):
    """Check the second half of the measurements, which are made after equal numbers of streams."""
    half = taken[len(taken) // 2 :]
    growth = (half[-1] - half[0]) / (STREAMS / ROUNDS * (len(half) - 1))
    sys.stdout.write(f"{growth:.2f} blocks for each stream: {taken}\n")  # shown by `pytest -rP`
    assert growth < BLOCKS_PER_STREAM


@pytest.fixture
def client_options(stage):
    """Arguments of a client of an API in a process of its own, whose memory is not looked at."""
    stage.clock = None
    stage.write(TEAM)
    with api_process(Reply(text="Good day to you. " * 20)) as api:
        yield {"base_url": api.url, "api_key": api.api_key, "max_retries": 0}


@in_tasks_at_length
def test_streams_on_a_loop_leave_no_memory_behind(stage, client_options):
    """Read, left early or forgotten: nothing of a stream is kept once it has ended."""

    async def some(client, worker):
        for number in range(STREAMS // ROUNDS // AT_ONCE):
            with governor.attribute(user=f"user-{worker}", department="team"):
                stream = await client.messages.create(**ASKED)
            ending = ENDINGS[(worker + number) % 3]
            async for _ in stream:
                if ending != "read":
                    break
            if ending == "left":
                await stream.close()

    async def run():
        gov = governor.AsyncGovernor.load(stage.policies, ledger=stage.url, create_ledger=True)
        http = anthropic.DefaultAsyncHttpxClient(trust_env=False)
        async with (
            gov,
            anthropic.AsyncAnthropic(
                **client_options, middleware=[gov.middleware()], http_client=http
            ) as client,
        ):
            taken = []
            for _ in range(ROUNDS):
                await asyncio.gather(*(some(client, worker) for worker in range(AT_ONCE)))
                gc.collect()
                await asyncio.sleep(0)  # the ends of what was forgotten become tasks
                if ends := asyncio.all_tasks() - {asyncio.current_task()}:
                    await asyncio.wait(ends)
                taken.append(blocks())
            return taken

    flat(asyncio.run(run()))
    assert stage.holds() == ()


@in_threads_at_length
def test_streams_in_threads_leave_no_memory_behind(stage, client_options):
    """Read, left early or forgotten: nothing of a stream is kept once it has ended."""

    def some(client, worker):
        for number in range(STREAMS // ROUNDS // AT_ONCE):
            with governor.attribute(user=f"user-{worker}", department="team"):
                stream = client.messages.create(**ASKED)
            ending = ENDINGS[(worker + number) % 3]
            for _ in stream:
                if ending != "read":
                    break
            if ending == "left":
                stream.close()

    http = anthropic.DefaultHttpxClient(trust_env=False)
    gov = governor.Governor.load(stage.policies, ledger=stage.url, create_ledger=True)
    with (
        gov,
        anthropic.Anthropic(**client_options, middleware=[gov.middleware()], http_client=http) as client,
        ThreadPoolExecutor(AT_ONCE) as threads,
    ):
        taken = []
        for _ in range(ROUNDS):
            list(threads.map(some, [client] * AT_ONCE, range(AT_ONCE)))
            until(lambda: gc.collect() >= 0 and not stage.holds(), 60)  # the ends of what was forgotten wait
            taken.append(blocks())
    flat(taken)
    assert stage.holds() == ()
