"""How many reserves and settles a second one organisation on one Redis bears."""

from __future__ import annotations

import multiprocessing
import secrets
import time
from typing import TYPE_CHECKING

from benchmarks.scene import BUDGETS, CANDIDATES, pair
from benchmarks.timing import Options, Result, Step, times
from governor.ledger import open_ledger

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier

PROCESSES = (1, 2, 4)
SECONDS = 5.0
START_TIMEOUT_S = 60.0


def steps(_: Options) -> int:
    """How many steps `throughput` will tell."""
    return len(PROCESSES)


def throughput(url: str, options: Options, step: Step) -> Result:
    """Pairs of reserve and settle per second, by 1, 2 and 4 processes that share every budget."""
    seconds = SECONDS / 10 if options.quick else SECONDS
    title = f"Throughput on one Redis organisation, {BUDGETS} budgets and {CANDIDATES} candidates"
    result = Result(title, ("processes", "pairs per second", "against one"))
    first = 0.0
    for processes in PROCESSES:
        rate = _rate(url, processes, seconds)
        first = first or rate
        result.rows.append((str(processes), f"{rate:,.0f}", times(rate / first)))
        result.figures[f"{processes} processes.pairs_per_s"] = rate
        step()
    return result


def _rate(url: str, processes: int, seconds: float) -> float:
    spawn = multiprocessing.get_context("spawn")
    together = spawn.Barrier(processes)
    answers = spawn.SimpleQueue()
    organization = f"bench-{secrets.token_hex(4)}"
    workers = [
        spawn.Process(target=_work, args=(url, organization, number, seconds, together, answers))
        for number in range(processes)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise RuntimeError("a worker of the throughput benchmark failed; its error is above")
    return sum(float(answers.get()) for _ in workers)


def _work(
    url: str,
    organization: str,
    number: int,
    seconds: float,
    together: Barrier,
    answers: multiprocessing.SimpleQueue[float],
) -> None:
    ledger = open_ledger(url, organization, create=True)
    scene = pair()
    ledger.execute(scene.at(f"p{number}-warm").reserve)
    ledger.execute(scene.at(f"p{number}-warm").settle)
    together.wait(START_TIMEOUT_S)
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        now = scene.at(f"p{number}-{done}")
        ledger.execute(now.reserve)
        ledger.execute(now.settle)
        done += 1
    answers.put(done / (time.perf_counter() - started))
    ledger.close()
