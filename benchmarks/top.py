"""What a look of `governor top` costs a Redis ledger: with few users, holds and records, and with many."""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

import redis

from benchmarks.timing import Options, Result, Series, Step, micros, times
from governor.budgets import Unit
from governor.cli.context import Desk
from governor.cli.top_watch import Watch
from governor.ledger import commands as c
from governor.ledger import open_ledger
from governor.policy import load

if TYPE_CHECKING:
    from governor.ledger import Ledger

LOOKS = 30
CALLS_BETWEEN = 100
"""Calls that begin and end between two looks: a hundred a second, where it looks once a second."""

SIZES = {"few": 50, "many": 5_000}
"""Users, each with a budget; a tenth of them have a call in flight."""

POLICIES = "policies"


def steps(options: Options) -> int:
    """How many steps `top` will tell."""
    return options.times(LOOKS) * len(SIZES)


def top(url: str, options: Options, step: Step) -> Result:
    """Look again and again while calls come and go; the server's own time of a look, and of a call."""
    result = Result(
        "A look of `governor top`, 100 calls between two", ("users", "wall", "server", "server, in calls")
    )
    for name, users in SIZES.items():
        wall_s, look_us, call_us = _measure(url, users, options, step)
        ratio = times(look_us / call_us)
        result.rows.append((f"{users:,}", micros(wall_s), micros(look_us / 1e6), ratio))
        result.figures[f"{name}.wall_s"] = wall_s
        result.figures[f"{name}.server_s"] = look_us / 1e6
        result.figures[f"{name}.server_in_calls"] = look_us / call_us
    return result


def _measure(url: str, users: int, options: Options, step: Step) -> tuple[float, float, float]:
    organization = f"bench-{secrets.token_hex(6)}"
    policies = load(POLICIES)
    ledger = open_ledger(url, organization, create=True)
    client: Any = redis.Redis.from_url(url, decode_responses=True)
    for number in range(users):
        _begin(ledger, f"warm-{number}", number)
        if number % 10:
            _end(ledger, f"warm-{number}", number)
    watch = Watch(Desk(policies, ledger, url, 0))
    watch.look()
    series, look_us, call_us = Series(), 0.0, 0.0
    rounds = options.times(LOOKS)
    for turn in range(rounds):
        before = _busy_us(client)
        for number in range(CALLS_BETWEEN):
            _begin(ledger, f"call-{turn}-{number}", number % users)
            _end(ledger, f"call-{turn}-{number}", number % users)
        between = _busy_us(client)
        series.timed(watch.look)
        look_us += _busy_us(client) - between
        call_us += (between - before) / CALLS_BETWEEN
        step()
    for key in client.scan_iter(match=f"gov:2:{{{organization}}}:*", count=1000):
        client.unlink(key)
    client.close()
    ledger.close()
    return series.p50_s, look_us / rounds, call_us / rounds


def _busy_us(client: Any) -> float:
    """How long the server was at commands of ledgers, microseconds."""
    stats = client.info("commandstats")
    busy: float = sum(row["usec"] for name, row in stats.items() if name != "cmdstat_info")
    return busy


def _row(number: int) -> c.BudgetRow:
    return c.BudgetRow(f"user=u{number}@example.com/usd/life", "life", 0, 0, Unit.USD, 10**12)


def _begin(ledger: Ledger, name: str, number: int) -> None:
    row = _row(number)
    record = {
        "department": "engineering", "user": f"u{number}@example.com", "feature": "code_review",
        "asked": "auto", "preferred": "claude-opus-5-5", "filler": "x" * 1_500,
        "candidates": [{"model": "claude-opus-5-5", "line": "opus", "ceiling_nanos": 1_000}],
        "budgets": [{"identity": row.identity, "window": "life", "end_ms": 0, "limit": row.limit}],
    }  # fmt: skip
    ledger.execute(c.Reserve(name, (row,), ((c.Ask(1_000),),), 3_600_000, record=json.dumps(record)))


def _end(ledger: Ledger, name: str, number: int) -> None:
    record = {
        "department": "engineering",
        "user": f"u{number}@example.com",
        "cost_nanos": 900,
        "ended": "answered",
    }
    ledger.execute(c.Settle(name, (c.Posting(_row(number), 900),), json.dumps(record)))
