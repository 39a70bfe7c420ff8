"""`python -m benchmarks`: run them all, or those named, and show the figures with the machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from support.redis_server import HOW_TO_GET, RedisServer, find_redis_server

from benchmarks import (
    alerts,
    archiving,
    backtest,
    calls,
    choosing,
    doors,
    growth,
    imports,
    ledgers,
    machine,
    memory,
    pricing,
    report,
    reports,
    telemetry,
    throughput,
    top,
)
from benchmarks.timing import Options, Result, Step

Run = Callable[[str, Options, Step], Result]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One benchmark: what it measures, how many steps it tells, and the run of it on a Redis URL."""

    about: str
    steps: Callable[[Options], int]
    run: Run


BENCHMARKS = {
    "redis": Benchmark("reserve and settle on Redis", ledgers.redis_steps, ledgers.on_redis),
    "sqlite": Benchmark(
        "reserve and settle on SQLite",
        ledgers.sqlite_steps,
        lambda _, options, step: ledgers.on_sqlite(options, step),
    ),
    "users": Benchmark("ten users and a million", growth.users_steps, growth.users),
    "budgets": Benchmark("1 to 32 budgets", growth.budgets_steps, growth.budgets),
    "memory": Benchmark("memory of Redis", memory.steps, memory.memory),
    "calls": Benchmark("a governed call against an ungoverned one", calls.steps, calls.calls),
    "doors": Benchmark("the middleware against the bare SDK", doors.steps, doors.doors),
    "choosing": Benchmark(
        "choosing a model for a long conversation",
        choosing.steps,
        lambda _, options, step: choosing.choosing(options, step),
    ),
    "imports": Benchmark(
        "import governor against import anthropic",
        imports.steps,
        lambda _, options, step: imports.imports(options, step),
    ),
    "pricing": Benchmark(
        "pricing a usage, bounding a prompt",
        pricing.steps,
        lambda _, options, step: pricing.pricing(options, step),
    ),
    "backtest": Benchmark(
        "a month of calls under other policies",
        backtest.steps,
        lambda _, options, step: backtest.backtest(options, step),
    ),
    "reports": Benchmark("reports on a large archive", reports.steps, reports.reports),
    "telemetry": Benchmark("what telemetry adds to a call", telemetry.steps, telemetry.telemetry),
    "archiving": Benchmark(
        "the archive against governed calls on all cores", archiving.steps, archiving.archiving
    ),
    "top": Benchmark("a look of `governor top`", top.steps, top.top),
    "alerts": Benchmark(
        "alert rules over a journal",
        alerts.steps,
        lambda _, options, step: alerts.alerts(options, step),
    ),
    "throughput": Benchmark("1, 2 and 4 processes on one Redis", throughput.steps, throughput.throughput),
}


def main() -> int:
    """Measure and show; 1 if there is no Redis server, 2 for wrong arguments."""
    arguments = _arguments()
    console = Console()
    if find_redis_server() is None:
        console.print(f"The benchmarks need a redis-server of version 7 or newer: {HOW_TO_GET}.")
        return 1
    options = Options(quick=arguments.quick)
    with RedisServer() as server:
        with server.client() as client:
            redis_version = str(client.info("server")["redis_version"])
        known = machine.facts(redis_version)
        results = _run(console, arguments.only or list(BENCHMARKS), server.url, options)
    report.show(console, results, known)
    if options.quick:
        console.print("Quick run: these figures show that it works, not how fast it is.")
    if arguments.json is not None:
        report.write_json(arguments.json, results, known)
    if arguments.update is not None:
        report.write_markdown(arguments.update, results, known)
    return 0


def _arguments() -> argparse.Namespace:
    names = ", ".join(f"{name} ({benchmark.about})" for name, benchmark in BENCHMARKS.items())
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "only", nargs="*", metavar="NAME", help=f"which to run; all if none is named: {names}"
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the repetitions")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there, unrounded")
    parser.add_argument("--update", type=Path, metavar="FILE", help="put all tables into README.md")
    arguments = parser.parse_args()
    unknown = set(arguments.only) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}; known: {', '.join(BENCHMARKS)}")
    if arguments.update is not None and (arguments.only or arguments.quick):
        parser.error("--update writes every table: leave out the names and --quick")
    return arguments


def _run(console: Console, names: list[str], url: str, options: Options) -> list[Result]:
    columns = (TextColumn("{task.description:45}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    results = []
    with Progress(*columns, console=console, transient=True) as progress:
        for name in names:
            benchmark = BENCHMARKS[name]
            task = progress.add_task(benchmark.about, total=benchmark.steps(options))
            results.append(
                benchmark.run(url, options, lambda advance=1, task=task: progress.advance(task, advance))
            )
    return results


if __name__ == "__main__":
    sys.exit(main())
