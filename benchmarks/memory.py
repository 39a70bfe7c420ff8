"""What a ledger keeps in Redis: bytes for each balance, closed hold and journal record, and for a user.

Balances and holds are what the memory of Redis grew by (`used_memory`), tables of keys included; the journal
is its own size. Holds and records are of real calls, the balances are copies of real ones.
"""

from __future__ import annotations

from support.redis_server import RedisServer

from benchmarks.growth import BATCH, Bench, fill, user
from benchmarks.scene import pair
from benchmarks.timing import Options, Result, Step, kilobytes
from governor.ledger.commands import CLOSED_HOLD_KEPT_MS

CALLS = 25_000
CALLS_A_STEP = 250
RECORDS_OF_A_CALL = 2
USERS = 100_000
BALANCES_OF_A_USER = 3
CALLS_A_DAY = 20
HOLD_DAYS = CLOSED_HOLD_KEPT_MS // 86_400_000
ALIVE = 1 + 35 + 1 + 2 + 1
"""Balances that a user of every day has at once in the scene's budgets: for a window that ends, the one in
force and those that ended within 35 days (35 days, 2 months); and one that never ends."""


def steps(options: Options) -> int:
    """How many steps `memory` will tell."""
    return options.times(USERS) // BATCH + options.times(CALLS) // CALLS_A_STEP


def memory(_: str, options: Options, step: Step) -> Result:
    """On a server of its own: the balances of many users first, then many calls of one of them."""
    with RedisServer() as server:
        bench = Bench(server.url)
        bench.measure(pair(user(0)))
        empty = _used(bench)
        fill(bench, options.times(USERS), step)
        filled, journal_before = _used(bench), _journal(bench)
        calls, scene = options.times(CALLS), pair(user(0))
        for number in range(calls):
            now = scene.at(f"m{number}")
            bench.ledger.execute(now.reserve)
            bench.ledger.execute(now.settle)
            if number % CALLS_A_STEP == 0:
                step()
        journal = _journal(bench) - journal_before
        holds = _used(bench) - filled - journal
        bench.ledger.close()
    balance = (filled - empty) / options.times(USERS) / BALANCES_OF_A_USER
    return _result(balance, holds / calls, journal / calls / RECORDS_OF_A_CALL, calls)


def _result(balance: float, hold: float, record: float, calls: int) -> Result:
    balances, holds = ALIVE * balance, CALLS_A_DAY * HOLD_DAYS * hold
    records = calls * RECORDS_OF_A_CALL
    result = Result("Memory of Redis, 6 budgets and 3 candidates", ("", "bytes"))
    for name, size in (
        ("a balance", balance),
        (f"a closed hold, kept {HOLD_DAYS} days", hold),
        (f"a journal record, mean of {records:,}", record),
        ("a million journal records, scaled from these", record * 1e6),
        (f"a user of {CALLS_A_DAY} calls a day: {ALIVE} balances", balances),
        (f"a user of {CALLS_A_DAY} calls a day: {CALLS_A_DAY * HOLD_DAYS} closed holds", holds),
        (f"a user of {CALLS_A_DAY} calls a day: a day of journal", CALLS_A_DAY * RECORDS_OF_A_CALL * record),
        ("an active user, without the journal", balances + holds),
    ):
        result.rows.append((name, kilobytes(size)))
        result.figures[f"{name}.bytes"] = size
    return result


def _used(bench: Bench) -> int:
    return int(bench.client.info("memory")["used_memory"])


def _journal(bench: Bench) -> int:
    return int(bench.client.memory_usage(bench.keys.journal, samples=0) or 0)
