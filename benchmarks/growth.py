"""Does a command's cost grow with what is in the store, or with what it asks for?

The same reserve and settle in a store of ten users and in one of a million, each call by a user drawn at
random; and with one budget up to 32. Each measurement stands beside a bare script on the same connection.
"""

from __future__ import annotations

import random
import secrets
from contextlib import ExitStack
from statistics import linear_regression, median
from typing import Any

from support.redis_server import RedisServer

from benchmarks.cores import apart
from benchmarks.scene import CANDIDATES, Pair, pair
from benchmarks.timing import Options, Result, Series, Step, micros, times
from governor.ledger.keys import Keys
from governor.ledger.redis import RedisLedger
from governor.ledger.servers import connect

FEW, MANY = 10, 1_000_000
BATCH = 20_000
TURNS, BLOCK = 100, 20
WARM_UP = 2
BUDGETS = (1, 2, 4, 8, 16, 32)
PAIRS_EACH = 1_000
_SEED = 7

_COPY = """
for number = ARGV[1], ARGV[2] do
  for _, key in ipairs(KEYS) do
    redis.call('COPY', key, (string.gsub(key, ARGV[3], string.format('%07d', number), 1)))
  end
end
return #KEYS
"""
"""Gives each user what the first one has. A script of the benchmark: it makes up keys as no ledger's may."""


def user(number: int) -> str:
    """The name of a user; all names are of one length."""
    return f"user-{number:07d}@example.com"


class Bench:
    """A ledger on one connection, with what was measured on it."""

    def __init__(self, url: str) -> None:
        self.client: Any = connect(url)
        self.keys = Keys(f"bench-{secrets.token_hex(4)}")
        self.ledger = RedisLedger(self.client, self.keys, url, create=True)
        self.nothing = self.client.script_load("return 1")
        self.bare, self.reserve, self.settle = Series(), Series(), Series()
        self._done = 0

    def measure(self, scene: Pair) -> None:
        """A bare script, a reserve and a settle."""
        now = scene.at(f"r{self._done}")
        self._done += 1
        self.bare.timed(lambda: self.client.evalsha(self.nothing, 0))
        self.reserve.timed(lambda: self.ledger.execute(now.reserve))
        self.settle.timed(lambda: self.ledger.execute(now.settle))

    def forget(self) -> None:
        """Begin to measure: what was so far was the warm-up."""
        self.bare, self.reserve, self.settle = Series(), Series(), Series()


def users_steps(options: Options) -> int:
    """How many steps `users` will tell."""
    return _many(options) // BATCH + options.times(TURNS)


def users(_: str, options: Options, step: Step) -> Result:
    """Stores of ten and of a million users, on servers of their own, in turns of a few calls each."""
    many = _many(options)
    with ExitStack() as stack:
        servers = [stack.enter_context(RedisServer()) for _ in range(2)]
        few_bench, many_bench = (Bench(server.url) for server in servers)
        stack.enter_context(apart(*(server.pid for server in servers if server.pid is not None)))
        fill(few_bench, FEW, lambda advance=1: None)  # noqa: ARG005 - ten users need no bar
        fill(many_bench, many, step)
        sides = [(few_bench, FEW), (many_bench, many)]
        _take_turns(sides, options.times(TURNS), step)
        size = int(many_bench.client.info("memory")["used_memory"])
        few_bench.ledger.close()
        many_bench.ledger.close()
    title = f"As users grow: 6 budgets, {CANDIDATES} candidates, n = {len(few_bench.bare.wall_s)}"
    names = tuple(f"{count:,} users" for _, count in sides)
    result = Result(title, ("", *(f"{name}, {p}" for name in names for p in ("p50", "p99")), "p50 ratio"))
    for what in ("bare", "reserve", "settle"):
        one, other = (getattr(bench, what) for bench, _ in sides)
        name = "EVALSHA of `return 1`" if what == "bare" else what
        cells = [micros(seconds) for series in (one, other) for seconds in (series.p50_s, series.p99_s)]
        result.rows.append((name, *cells, times(other.p50_s / one.p50_s)))
        result.figures[f"{what}.p50_ratio"] = other.p50_s / one.p50_s
    result.figures["many.used_memory_bytes"] = size
    return result


def _many(options: Options) -> int:
    return MANY // 10 if options.quick else MANY


def fill(bench: Bench, count: int, step: Step) -> None:
    """Give every user the balances that one call of the first user left."""
    bench.measure(pair(user(0)))
    mine = list(bench.client.scan_iter(match=f"*{user(0)[:12]}*", count=1_000))
    if not mine:
        raise RuntimeError("a call left no balance of its user")
    for first in range(0, count, BATCH):
        last = min(first + BATCH, count) - 1
        bench.client.eval(_COPY, len(mine), *mine, max(first, 1), last, user(0)[5:12])
        step()


def _take_turns(sides: list[tuple[Bench, int]], turns: int, step: Step) -> None:
    draw = random.Random(_SEED)
    for turn in range(WARM_UP + turns):
        for bench, count in sides:
            if turn == WARM_UP:
                bench.forget()
            scenes = [pair(user(draw.randrange(count))) for _ in range(BLOCK)]
            for scene in scenes:
                bench.measure(scene)
        if turn >= WARM_UP:
            step()


def budgets_steps(options: Options) -> int:
    """How many steps `budgets` will tell."""
    return options.times(PAIRS_EACH)


def budgets(url: str, options: Options, step: Step) -> Result:
    """One budget up to 32, each with three candidates, one after the other in turns."""
    benches = {count: (Bench(url), pair(budgets=count)) for count in BUDGETS}
    server = int(benches[1][0].client.info("server")["process_id"])
    with apart(server):
        for turn in range(WARM_UP * BLOCK + budgets_steps(options)):
            for bench, scene in benches.values():
                if turn == WARM_UP * BLOCK:
                    bench.forget()
                bench.measure(scene)
            if turn >= WARM_UP * BLOCK:
                step()
    for bench, _ in benches.values():
        bench.ledger.close()
    columns = ("budgets", "reserve p50", "p99", "to bare", "settle p50", "p99", "to bare")
    result = Result(f"As budgets grow: {CANDIDATES} candidates, n = {options.times(PAIRS_EACH)}", columns)
    bare_s = median(seconds for bench, _ in benches.values() for seconds in bench.bare.wall_s)
    p50_s: dict[str, list[float]] = {"reserve": [], "settle": []}
    for number, (bench, _) in benches.items():
        cells = [str(number)]
        for verb, found in p50_s.items():
            series: Series = getattr(bench, verb)
            found.append(series.p50_s)
            cells += [micros(series.p50_s), micros(series.p99_s), times(series.p50_s / bare_s)]
        result.rows.append(tuple(cells))
    cells = ["each further one"]
    for verb, found in p50_s.items():
        slope_s = linear_regression(BUDGETS, found).slope
        cells += [f"{slope_s * 1e6:.1f} µs", "", times(slope_s / bare_s)]
        result.figures |= {f"{verb}.slope_s": slope_s, f"{verb}.slope_ratio": slope_s / bare_s}
    result.rows.append(tuple(cells))
    return result
