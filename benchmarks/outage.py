"""`python -m benchmarks.outage`: what each `if_ledger_is_down` costs when the ledger is away.

Four processes call while their Redis is there, while it is killed, and after it came back, until the budget
refuses. The table counts, and times nothing: the same on every machine.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import secrets
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import track
from support.redis_server import RedisServer

from governor import BudgetContended, BudgetExceeded, Governor, LedgerUnavailable, Money
from governor.ledger import commands as c
from governor.ledger import open_ledger
from governor.testing import FakeClaude, Reply

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

PROCESSES = 4
LIMIT_NANOS = 500_000_000
CALLS_BEFORE, CALLS_DURING = {"a fifth": 25, "all": 125}, 120
"""By each process: while the ledger is there, by what is spent of the budget then; and while it is away."""

WAIT_S = 2.0
"""So long after it came back every process asks the ledger again; before, some calls would go without it."""

OUTPUT_TOKENS = 100
REQUEST: dict[str, Any] = {
    "user": "u",
    "department": "team",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "Hello, Claude"}],
}
REFUSED = (BudgetContended, BudgetExceeded, LedgerUnavailable)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an outage came to.

    Attributes:
        served: Calls that were answered while the ledger was away.
        refused: Calls that were refused then.
        billed_nanos: What the API charged for those that were answered then.
        total_nanos: What it charged in all.
        posted_nanos: What the ledger has in the end.
        held_nanos: What it still holds then.
    """

    served: int
    refused: int
    billed_nanos: int
    total_nanos: int
    posted_nanos: int
    held_nanos: int

    @property
    def overspent_nanos(self) -> int:
        """What was spent above the limit."""
        return max(self.total_nanos - LIMIT_NANOS, 0)


def outage(if_down: str, calls_before: int) -> Outcome:
    """Play one outage under one policy."""
    organization = f"outage-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory() as folder, FakeClaude() as api, RedisServer(appendonly=True) as server:
        api.replies(Reply(output_tokens=OUTPUT_TOKENS))
        _write(Path(folder), organization, if_down)
        ledger = open_ledger(server.url, organization, create=True)
        ledger.execute(c.Create("made"))
        spawn = multiprocessing.get_context("spawn")
        pipes: list[Connection] = []
        workers = []
        for _ in range(PROCESSES):
            ours, theirs = spawn.Pipe()
            workers.append(spawn.Process(target=_work, args=(theirs, folder, server.url, api.url)))
            workers[-1].start()
            pipes.append(ours)
        _together(pipes, calls_before)
        before = api.billed_nanos
        server.kill()
        served = _together(pipes, CALLS_DURING)
        during = api.billed_nanos - before
        server.start()
        time.sleep(WAIT_S)
        while _together(pipes, 25):
            pass
        for pipe in pipes:
            pipe.send(0)
        for worker in workers:
            worker.join()
        (known,) = ledger.execute(c.ListBalances())
        ledger.close()
        return Outcome(
            served=served,
            refused=PROCESSES * CALLS_DURING - served,
            billed_nanos=during,
            total_nanos=api.billed_nanos,
            posted_nanos=known.balance.posted,
            held_nanos=known.balance.held,
        )


def _together(pipes: list[Connection], calls: int) -> int:
    """Have each process make so many calls, one after the other; returns how many were answered."""
    for pipe in pipes:
        pipe.send(calls)
    return sum(int(pipe.recv()) for pipe in pipes)


def _work(pipe: Connection, folder: str, url: str, api_url: str) -> None:
    import anthropic  # noqa: PLC0415 - in the worker only

    os.environ["NO_PROXY"] = "*"
    client = anthropic.Anthropic(base_url=api_url, api_key="fake-key")
    options: dict[str, Any] = {"ledger": url, "client": client, "spool": f"{folder}/spool"}
    with Governor.load(f"{folder}/policies", **options) as governor:
        while calls := int(pipe.recv()):
            answered = 0
            for _ in range(calls):
                try:
                    governor.call(**REQUEST)
                except REFUSED:
                    continue
                answered += 1
            pipe.send(answered)


def _write(folder: Path, organization: str, if_down: str) -> None:
    team = {
        "version": 1,
        "department": "team",
        "budgets": [
            {"per": "department", "usd": str(Money(LIMIT_NANOS)).removeprefix("$"), "window": "life"}
        ],
        "routing": {"lines": {"sonnet": "claude-sonnet-5-5"}, "when_contended": {"max_wait": 0}},
        "estimate": "count",
        "if_ledger_is_down": if_down,
    }
    (folder / "policies").mkdir()
    for name, content in (("organization", {"version": 1, "organization": organization}), ("team", team)):
        (folder / "policies" / f"{name}.yaml").write_text(json.dumps(content), encoding="utf-8")


def main() -> None:
    """Play every outage, and print the table as docs/ledger.md has it."""
    console = Console(width=160)
    cases = [(if_down, spent) for spent in CALLS_BEFORE for if_down in ("refuse", "allow", "lease")]
    rows = []
    for if_down, spent in track(cases, "outages", console=console, transient=True):
        found = outage(if_down, CALLS_BEFORE[spent])
        if found.posted_nanos != found.total_nanos or found.held_nanos:
            raise SystemExit(f"{if_down}: the ledger is not the bill: {found}")
        amounts = Money(found.billed_nanos), Money(found.overspent_nanos)
        rows.append((spent, f"`{if_down}`", found.served, found.refused, *amounts))
    heads = (
        "spent before",
        "`if_ledger_is_down`",
        "answered",
        "refused",
        "spent meanwhile",
        "above the limit",
    )
    for row in (heads, ["---"] * len(heads), *rows):
        console.print(f"| {' | '.join(map(str, row))} |")


if __name__ == "__main__":
    main()
