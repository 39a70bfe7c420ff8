"""One program that forks beside a governor in a client's chain.

Run as `forked_worker.py CASE POLICIES LEDGER API_URL`; it ends with 0 if its children did.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import anthropic

import governor

warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads: that is what is tried here

ASKED = {"model": "claude-haiku-5-5", "max_tokens": 100}
HELLO, SLOW = ([{"role": "user", "content": text}] for text in ("Hello, Claude", "Take your time"))
PATIENCE_S = 100
PROCESSES, CALLS = 3, 20
CASE, POLICIES, LEDGER, API_URL = sys.argv[1:5]


def client_of(gov):
    """A client of this process's own."""
    http = anthropic.DefaultHttpxClient(trust_env=False)
    chain = [gov.middleware(department="team")]
    return anthropic.Anthropic(
        base_url=API_URL, api_key="fake-key", max_retries=0, middleware=chain, http_client=http
    )


def async_client_of(gov):
    """The same, async."""
    http = anthropic.DefaultAsyncHttpxClient(trust_env=False)
    chain = [gov.middleware(department="team")]
    return anthropic.AsyncAnthropic(
        base_url=API_URL, api_key="fake-key", max_retries=0, middleware=chain, http_client=http
    )


def ask(client, user):
    """One whole answer for *user*; the fake API's bill bears the name, too."""
    with governor.attribute(user=user):
        client.messages.create(**ASKED, messages=HELLO, extra_headers={"x-fake-tag": user})


def begin(client, user, messages=HELLO):
    """A stream of which one event is read."""
    with governor.attribute(user=user):
        stream = client.messages.create(
            **ASKED, messages=messages, stream=True, extra_headers={"x-fake-tag": user}
        )
    next(iter(stream))
    return stream


def in_child(work):
    """Do *work* in a forked child that ends as a program does; returns what it ended with."""
    child = os.fork()
    if child == 0:
        signal.alarm(PATIENCE_S)
        code = 1
        try:
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - the parent's own code must not go on in the child
            sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def open_stream():
    """A child lets go of its parent's open stream, and makes calls of its own; then the parent reads on."""
    gov = governor.Governor.load(POLICIES, ledger=LEDGER)
    client = client_of(gov)
    streams = [begin(client, "parent")]

    def child():
        streams.clear()
        gc.collect()
        with client_of(gov) as own:
            ask(own, "child")
        gov.close()

    code = in_child(child)
    for _ in streams.pop():
        pass
    client.close()
    gov.close()
    return code


def dropped():
    """Parent and child each forget a stream: each one's is ended by a thread of its own."""
    gov = governor.Governor.load(POLICIES, ledger=LEDGER)
    client = client_of(gov)
    begin(client, "parent", SLOW)
    gc.collect()

    def child():
        with client_of(gov) as own:
            begin(own, "child", SLOW)
            gc.collect()
            gov.close()

    code = in_child(child)
    gov.close()
    client.close()
    return code


def on_a_loop():
    """A fork between two loops: an open stream of the first one, and calls in the child's own."""
    gov = governor.AsyncGovernor.load(POLICIES, ledger=LEDGER)

    async def one(user):
        async with async_client_of(gov) as client:
            with governor.attribute(user=user):
                await client.messages.create(**ASKED, messages=HELLO, extra_headers={"x-fake-tag": user})

    async def child():
        await asyncio.gather(*(one("child") for _ in range(CALLS)))
        await gov.aclose()

    async def parent():
        async with async_client_of(gov) as client:
            with governor.attribute(user="parent"):
                stream = await client.messages.create(
                    **ASKED, messages=HELLO, stream=True, extra_headers={"x-fake-tag": "parent"}
                )
            events = aiter(stream)
            await anext(events)
            code = await asyncio.to_thread(in_child, lambda: asyncio.run(child()))
            async for _ in events:
                pass
        await gov.aclose()
        return code

    return asyncio.run(parent())


def many_calls(number, gov=None):
    """The calls of one process, in threads; each for a user of its own."""
    gov = gov or governor.Governor.load(POLICIES, ledger=LEDGER)
    with gov, client_of(gov) as client, ThreadPoolExecutor(4) as threads:
        users = [f"{number}-{call}" for call in range(CALLS)]
        list(threads.map(ask, [client] * CALLS, users))


def processes(method):
    """Processes of `multiprocessing` at work together; forked ones go on with a governor that was used."""
    gov = None
    if method == "fork":
        gov = governor.Governor.load(POLICIES, ledger=LEDGER)
        with client_of(gov) as client:
            ask(client, "parent")
    context = multiprocessing.get_context(method)
    arguments = [(number, gov) if gov else (number,) for number in range(PROCESSES)]
    workers = [context.Process(target=many_calls, args=each) for each in arguments]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE_S)
    if gov:
        gov.close()
    return max(1 if worker.exitcode is None else abs(worker.exitcode) for worker in workers)


CASES = {
    "open_stream": open_stream,
    "dropped": dropped,
    "on_a_loop": on_a_loop,
    "fork": lambda: processes("fork"),
    "spawn": lambda: processes("spawn"),
}

if __name__ == "__main__":
    sys.exit(CASES[CASE]())
