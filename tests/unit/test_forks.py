"""What a process shares with a child that it forks while its threads are at work: nothing that hangs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import asyncio, os, signal, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads: that is what is tried here
from governor.clients import default
from governor.clients.governor import Governor
from governor.clients.in_force import InForce
from governor.clients.scorer import Scorer
from governor.ledger.servers import CONNECTIONS, AsyncMany, Many
from governor.story.effects import Score

parent, go_on, inside = os.getpid(), threading.Event(), threading.Semaphore(0)

def work():
    if os.getpid() == parent:
        inside.release()
        go_on.wait()
    return "done"

class Client:
    closed = False
    def execute_command(self, *words):
        return work()
    middleware = ()

    def with_options(self, **options):
        work()
        return self
    def with_middleware(self, *all):
        return self
    def call(self, **request):
        return "done"

def slow_client():
    work()
    return Client()

def try_after_fork(use, threads):
    busy = [threading.Thread(target=use) for _ in range(threads)]
    for thread in busy:
        thread.start()
    for _ in busy:
        inside.acquire()
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        os._exit(0 if use() else 1)
    _, status = os.waitpid(child, 0)
    go_on.set()
    for thread in busy:
        thread.join()
    print(os.waitstatus_to_exitcode(status), bool(use()))

def turns():
    many = Many(Client, "home")
    try_after_fork(lambda: many.execute_command("PING"), CONNECTIONS)

def making():
    many = Many(slow_client, "home")
    try_after_fork(lambda: many.execute_command("PING"), 1)

def governor():
    made = Governor(None, None, Client())
    try_after_fork(made._sdk, 1)

class Policies:
    policies = "those in force"

class Files(Policies):
    def look(self, force):
        work()

def looks():
    try_after_fork(InForce(Policies, Files()).reload, 1)

def default_governor():
    default._blocking = slow_client
    try_after_fork(default.call, 1)

def scorer():
    asked = Scorer(lambda body, who: work() and 4, limit_s=60)
    try_after_fork(lambda: asked.score(Score({}, None)).value, 1)

class AsyncClient:
    async def execute_command(self, *words):
        if os.getpid() == parent:
            await at_work.wait()
        return "done"

at_work = asyncio.Event()

async def tasks():
    many = AsyncMany(AsyncClient, "home")
    busy = [asyncio.create_task(many.execute_command("PING")) for _ in range(CONNECTIONS)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        os._exit(0 if asyncio.run(many.execute_command("PING")) == "done" else 1)
    _, status = os.waitpid(child, 0)
    at_work.set()
    await asyncio.gather(*busy)
    print(os.waitstatus_to_exitcode(status), await many.execute_command("PING") == "done")

for case in (turns, making, governor, looks, default_governor, scorer):
    go_on.clear()
    print(case.__name__, end=" ", flush=True)
    case()
print("tasks", end=" ", flush=True)
asyncio.run(tasks())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_child_forked_while_all_are_at_work_is_not_kept_waiting():
    """Turns and locks of the parent's threads are not the child's; the parent goes on with its own."""
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=False
    )
    cases = ("turns", "making", "governor", "looks", "default_governor", "scorer", "tasks")
    assert (ran.stdout.splitlines(), ran.stderr) == ([f"{case} 0 True" for case in cases], "")
