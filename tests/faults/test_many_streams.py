"""Hundreds of streams at once through the middleware: nothing leaks, and the ledger has the bill.

Five hundred on an event loop, a hundred in threads; what becomes of each is one of five ways.
"""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import anthropic
import httpx2
import pytest
from support.governed import HAIKU, HELLO, department, until
from support.stages import in_tasks_at_length, in_threads_at_length

import governor
from governor.testing import Reply

TASKS, THREADS = 500, 100
ROUNDS = 2
READ_TIMEOUT_S = 0.5
READ, HELPER, LEFT, CANCELLED, DROPPED = range(5)
"""Read to its end, raw or by the SDK's helper; closed early; its task cancelled; forgotten unread."""

WHOLE = (READ, HELPER)
SLOW = [{"role": "user", "content": "Take your time"}]
TEAM = department(
    {"per": "department", "usd": 1000, "window": "life"},
    {"per": "department", "concurrent": 10_000},
    timeout=60,
)
linux = pytest.mark.skipif(
    not Path("/proc/net/tcp").exists(), reason="counts connections as Linux shows them"
)


def at_leisure(body):
    """An answer; a slow one's second event does not come before its reader is gone."""
    slow = body["messages"] == SLOW
    return Reply(text="Good day to you. " * 4, event_delay_ms=600_000 if slow else 0)


def asked(number):
    """The parameters of a stream of this number; the fake API's bill bears its user's name."""
    messages = HELLO if number % 5 in WHOLE else SLOW
    headers = {"x-fake-tag": f"user-{number}"}
    return {"model": HAIKU, "max_tokens": 100, "messages": messages, "extra_headers": headers}


def connections(url):
    """How many connections there are to the server of *url*; to a file, none."""
    port = urlsplit(url).port
    table = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    established = [remote for _, _, remote, state, *_ in table if state == "01"]
    return sum(int(remote.partition(":")[2], 16) == port for remote in established)


def check(stage, receipts, rounds):
    """The ledger is the receipts and the bill, each under its own user, and nothing is held."""
    assert stage.api.wait_idle()
    assert stage.holds() == ()
    assert {name: balance.held for name, balance in stage.balances().items() if balance.held} == {}
    assert stage.posted() == sum(receipt.cost.nanos for _, receipt in receipts)
    bill = {line.request_id: line for line in stage.api.bill}
    records = [json.loads(entry.record) for entry in stage.journal("settle")]
    assert [record["user"] for record in records] == [
        bill[record["api_request_id"]].tag for record in records
    ]
    whole = [receipt for kind, receipt in receipts if kind in WHOLE]
    cut = [receipt for kind, receipt in receipts if kind not in WHOLE]
    assert [receipt.cost.nanos for receipt in whole] == [
        bill[receipt.api_request_id].nanos for receipt in whole
    ]
    assert not any(receipt.uncertain for receipt in whole)
    assert all(receipt.uncertain and 0 < receipt.cost.nanos <= receipt.ceiling.nanos for receipt in cut)
    assert len({receipt.request_id for _, receipt in receipts}) == len(receipts) == rounds


def none_left(stage, before, to_api):
    """No connection is left, and the second crowd had enough of the first one's."""
    assert to_api[1] <= to_api[0]
    assert until(lambda: connections(stage.url) <= before)
    assert until(lambda: connections(stage.api.url) == 0)


async def one(client, number, gates, receipts):
    """One stream of the crowd: opened, and ended once all are open."""
    kind, (all_open, looked) = number % 5, gates
    with governor.attribute(user=f"user-{number}") as work:
        try:
            if kind == HELPER:
                async with client.messages.stream(**asked(number)) as helped:
                    await all_open.wait()
                    await looked.wait()
                    await helped.get_final_message()
            else:
                stream = await client.messages.create(**asked(number), stream=True)
                events = aiter(stream)
                await anext(events)
                await all_open.wait()
                await looked.wait()
                if kind == LEFT:
                    await stream.close()
                elif kind != DROPPED:
                    async for _ in events:
                        pass
        finally:
            receipts.append((kind, work))


async def crowd(stage, client, size):
    """All of them open at once, then each ended in its way; returns the receipts with the ways."""
    gates, works = (asyncio.Barrier(size + 1), asyncio.Event()), []
    tasks = [asyncio.create_task(one(client, number, gates, works)) for number in range(size)]
    await gates[0].wait()
    held = len(await asyncio.to_thread(stage.holds))
    gates[1].set()
    for number, task in enumerate(tasks):
        if number % 5 == CANCELLED:
            await asyncio.sleep(0)
            task.cancel()
    ends = Counter(type(end) for end in await asyncio.gather(*tasks, return_exceptions=True))
    assert (held, ends) == (size, {type(None): size * 4 // 5, asyncio.CancelledError: size // 5})
    gc.collect()
    await asyncio.to_thread(until, lambda: all(work.receipts for _, work in works))
    return [(kind, receipt) for kind, work in works for receipt in work.receipts]


@linux
@in_tasks_at_length
def test_five_hundred_streams_on_a_loop_leave_nothing_behind(stage):
    """No task, connection or hold is left of them, and a second crowd needs no more than the first."""
    stage.clock = None
    stage.write(TEAM)
    stage.api.replies(at_leisure)
    assert stage.holds() == ()  # whoever looks on is connected before it is counted

    async def run():
        receipts, to_api = [], []
        gov = governor.AsyncGovernor.load(stage.policies, ledger=stage.url, create_ledger=True)
        client = stage.api.async_client(middleware=[gov.middleware(department="team")], max_retries=0)
        for _ in range(ROUNDS):
            receipts += await crowd(stage, client, TASKS)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            to_api.append(connections(stage.api.url))
        await client.close()
        await gov.aclose()
        return receipts, to_api

    before = connections(stage.url)
    receipts, to_api = asyncio.run(run())
    check(stage, receipts, ROUNDS * TASKS)
    none_left(stage, before, to_api)


def one_in_a_thread(client, number, gates, receipts):
    """As `one`; what a task is cancelled by ends this stream as a time-out does."""
    kind, (all_open, looked) = number % 5, gates
    with governor.attribute(user=f"user-{number}") as work:
        receipts.append((kind, work))
        if kind == HELPER:
            with client.messages.stream(**asked(number)) as helped:
                all_open.wait()
                looked.wait()
                helped.get_final_message()
            return
        timeout = {"timeout": httpx2.Timeout(5, read=READ_TIMEOUT_S)} if kind == CANCELLED else {}
        stream = client.messages.create(**asked(number), **timeout, stream=True)
        events = iter(stream)
        next(events)
        all_open.wait()
        looked.wait()
        if kind == LEFT:
            stream.close()
        elif kind == CANCELLED:
            with pytest.raises(httpx2.ReadTimeout):
                next(event for event in events if event.type == "message_stop")
        elif kind != DROPPED:
            for _ in events:
                pass


def crowd_of_threads(stage, client, size):
    """As `crowd`, each stream in a thread of its own."""
    gates, works = (threading.Barrier(size + 1), threading.Event()), []
    with ThreadPoolExecutor(size) as threads:
        ends = [threads.submit(one_in_a_thread, client, number, gates, works) for number in range(size)]
        gates[0].wait()
        held = len(stage.holds())
        gates[1].set()
        assert [end.exception() for end in ends] == [None] * size
    assert held == size
    gc.collect()
    until(lambda: all(work.receipts for _, work in works))
    return [(kind, receipt) for kind, work in works for receipt in work.receipts]


@linux
@in_threads_at_length
def test_a_hundred_streams_in_threads_leave_nothing_behind(stage):
    """No thread, connection or hold is left of them, and a second crowd needs no more than the first."""
    stage.clock = None
    stage.write(TEAM)
    stage.api.replies(at_leisure)
    assert stage.holds() == ()  # whoever looks on is connected before it is counted
    before, threads = connections(stage.url), threading.active_count()
    gov = governor.Governor.load(stage.policies, ledger=stage.url, create_ledger=True)
    http = anthropic.DefaultHttpxClient(trust_env=False)
    client = anthropic.Anthropic(
        base_url=stage.api.url,
        api_key=stage.api.api_key,
        max_retries=0,
        middleware=[gov.middleware(department="team")],
        http_client=http,
    )
    receipts, to_api = [], []
    for _ in range(ROUNDS):
        receipts += crowd_of_threads(stage, client, THREADS)
        to_api.append(connections(stage.api.url))
    client.close()
    gov.close()
    assert threading.active_count() <= threads
    check(stage, receipts, ROUNDS * THREADS)
    none_left(stage, before, to_api)
