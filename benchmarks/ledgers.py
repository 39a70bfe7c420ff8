"""Reserve and settle: on Redis against a bare script on the same connection, and on SQLite."""

from __future__ import annotations

import secrets
import tempfile
from typing import TYPE_CHECKING, Any

from benchmarks.cores import APART, apart
from benchmarks.scene import BUDGETS, CANDIDATES, Pair, pair
from benchmarks.timing import Options, Result, Series, Step, micros, times
from governor.ledger import open_ledger
from governor.ledger.keys import Keys
from governor.ledger.redis import RedisLedger
from governor.ledger.servers import connect

if TYPE_CHECKING:
    from governor.ledger import Ledger

REDIS_TIMES = 5_000
SQLITE_TIMES = 1_000
WARM_UP = 50
_COLUMNS = ("", "p50", "p99", "p50 ratio", "p99 ratio")


def redis_steps(options: Options) -> int:
    """How many steps `on_redis` will tell."""
    return options.times(REDIS_TIMES)


def on_redis(url: str, options: Options, step: Step) -> Result:
    """Both verbs and `EVALSHA` of `return 1`, one after the other in turns, on one connection."""
    client = connect(url)
    keys = Keys(f"bench-{secrets.token_hex(4)}")
    ledger = RedisLedger(client, keys, url, create=True)
    nothing = client.script_load("return 1")
    bare, reserve, settle = Series(), Series(), Series()
    scene = pair()
    with apart(client.info("server")["process_id"]):
        _warm_up(ledger, scene)
        for number in range(redis_steps(options)):
            now = scene.at(f"r{number}")
            bare.timed(lambda: client.evalsha(nothing, 0))
            reserve.timed(lambda now=now: ledger.execute(now.reserve))  # type: ignore[misc]
            settle.timed(lambda now=now: ledger.execute(now.settle))  # type: ignore[misc]
            step()
    ledger.close()
    title = f"Redis ledger, {BUDGETS} budgets and {CANDIDATES} candidates, n = {len(bare.wall_s)}"
    result = Result(title + (", a core each for client and server" if APART else ""), _COLUMNS)
    for name, series in (("EVALSHA of `return 1`", bare), ("reserve", reserve), ("settle", settle)):
        _add(result, name, series, bare)
    return result


def sqlite_steps(options: Options) -> int:
    """How many steps `on_sqlite` will tell."""
    return options.times(SQLITE_TIMES)


def on_sqlite(options: Options, step: Step) -> Result:
    """Both verbs on a file in the temporary folder; each is one transaction that is synced to disk."""
    reserve, settle = Series(), Series()
    scene = pair()
    with tempfile.TemporaryDirectory(prefix="governor-bench-") as folder:
        ledger = open_ledger(f"sqlite:///{folder}/governor.db", "bench")
        _warm_up(ledger, scene)
        for number in range(sqlite_steps(options)):
            now = scene.at(f"r{number}")
            reserve.timed(lambda now=now: ledger.execute(now.reserve))  # type: ignore[misc]
            settle.timed(lambda now=now: ledger.execute(now.settle))  # type: ignore[misc]
            step()
        ledger.close()
    title = f"SQLite ledger, {BUDGETS} budgets and {CANDIDATES} candidates, n = {len(reserve.wall_s)}"
    result = Result(title, _COLUMNS[:3])
    for name, series in (("reserve", reserve), ("settle", settle)):
        _add(result, name, series, None)
    return result


def _warm_up(ledger: Ledger, scene: Pair) -> None:
    for number in range(WARM_UP):
        now = scene.at(f"w{number}")
        held: Any = ledger.execute(now.reserve)
        if held.candidate != 0:
            raise RuntimeError(f"the scene was not held: {held}")
        ledger.execute(now.settle)


def _add(result: Result, name: str, series: Series, yardstick: Series | None) -> None:
    row = [name, micros(series.p50_s), micros(series.p99_s)]
    result.figures |= {f"{name}.p50_s": series.p50_s, f"{name}.p99_s": series.p99_s}
    if yardstick is not None:
        ratios = {"p50_ratio": series.p50_s / yardstick.p50_s, "p99_ratio": series.p99_s / yardstick.p99_s}
        row += [times(ratio) for ratio in ratios.values()]
        result.figures |= {f"{name}.{what}": ratio for what, ratio in ratios.items()}
    result.rows.append(tuple(row))
