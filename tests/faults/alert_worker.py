"""Alert workers that die by SIGKILL at a chosen step, forked one after another; run by test_alerts_killed.

Reads one JSON object on stdin; writes on stdout how many died, and at which steps.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

from support.booms import Booms, made, say

from governor.journal.alerts import channels as channels_module
from governor.journal.alerts import outbox as outbox_module
from governor.journal.alerts.channels import WebhookChannel
from governor.journal.alerts.couriers import Couriers
from governor.journal.alerts.outbox import Outbox
from governor.journal.alerts.rule import Channel
from governor.journal.alerts.teller import Teller
from governor.journal.alerts.worker import AlertWorker, Place
from governor.journal.archive_sql import SqlArchive
from governor.journal.lease import Lease

STEPS = (
    (Booms, "tick", "deciding"),
    (Outbox, "raise_", "storing"),
    (Outbox, "end", "storing"),
    (Lease, "write", "storing"),
    (Couriers, "send", "sending"),
    (WebhookChannel, "send", "sending"),
    (Outbox, "mark", "marking"),
    (Teller, "_enter", "entering"),
)
EVERY_MS = 40
BACK = 3
MOST_S = 30.0


def deadly(at_pass: int, after: bool, where: int) -> None:
    """Let this process die at so many passes of a step: before the step does its work, or right after."""
    kind, name, step = STEPS[where]
    real, passes = getattr(kind, name), 0

    def wrapped(*args: Any, **more: Any) -> Any:
        nonlocal passes
        passes += 1
        dies = passes == at_pass
        if dies and not after:
            die(step)
        result = real(*args, **more)
        if dies:
            die(step)
        return result

    setattr(kind, name, wrapped)


def die(step: str) -> None:
    os.write(1, f"{step}\n".encode())
    os.kill(os.getpid(), signal.SIGKILL)


def work(told: dict[str, Any], until_idle: bool) -> None:
    """Rounds until all is told, or for ever."""
    ledger, books = made(told["ledger"], told["org"]), SqlArchive(told["archive"], told["org"])
    place = Place(told["org"], ledger, books, lambda: Booms(EVERY_MS, ("hook",)), 10**9, EVERY_MS)
    specs = {"hook": Channel("hook", url_env="HOOK_URL", secret_env="HOOK_SECRET")}
    worker = AlertWorker(place, Couriers(told["org"], specs), lambda *_: "", lambda *_: None)
    deadline, calm = time.monotonic() + MOST_S, 0
    while time.monotonic() < deadline and (not until_idle or calm < 20):
        worker.round()
        with books.engine.begin() as connection:
            backlog = Outbox(told["org"]).backlog(connection)
            going_on = Outbox(told["org"]).going_on(connection)
        calm = 0 if backlog.waiting or going_on or not worker.acts else calm + 1
        worker.woken.wait(0.005)
        worker.woken.clear()
    worker.finish()


def fork(told: dict[str, Any], until_idle: bool, death: list[int] | None) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        if death is not None:
            deadly(death[0], bool(death[1]), death[2])
        work(told, until_idle)
    except BaseException as error:  # noqa: BLE001 - the parent reads it
        os.write(1, f"failed: {error!r}\n".encode())
    os._exit(0)


def main() -> None:
    told = json.load(sys.stdin)
    channels_module._quiet()
    outbox_module.BACK_OFF_S = (0.05,) * 20
    ledger = made(told["ledger"], told["org"])
    # The first worker ever tells what goes on, and nothing that is over: so one comes first.
    os.waitpid(fork(told, until_idle=True, death=None), 0)
    number = 0
    for death in told["deaths"]:
        for _ in range(told["booms"]):
            say(ledger, "boom", f"n{number}")
            if number >= BACK:
                say(ledger, "calm", f"n{number - BACK}")
            number += 1
        os.waitpid(fork(told, until_idle=False, death=death), 0)
    for last in range(max(0, number - BACK), number):
        say(ledger, "calm", f"n{last}")
    ledger.close()
    pids = [fork(told, until_idle=True, death=None) for _ in range(2)]
    os.waitpid(pids[0], 0)
    os.kill(pids[1], signal.SIGTERM)
    os.waitpid(pids[1], 0)
    os.write(1, f"{number} booms\n".encode())


if __name__ == "__main__":
    main()
