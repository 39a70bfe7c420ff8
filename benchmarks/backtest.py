"""How long a back-test of a month of calls takes, and how much memory: `governor policy simulate`, as run."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.journals import Firm, shipped_crowd, write_journal
from benchmarks.timing import Options, Result, Step
from governor.policy import load
from governor.pricing import PriceTable

CALLS = 500_000
"""Two records each: a month of 1,000,000."""

POLICIES = Path(__file__).resolve().parents[1] / "policies"
_STEP = 10_000
_TELL = """
import resource, sys
from governor.cli import app
try:
    app(sys.argv[1:], standalone_mode=False)
finally:
    rss = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    print(*rss, file=sys.stderr)
"""


def steps(options: Options) -> int:
    """How many steps `backtest` will tell."""
    return 2 * options.times(CALLS) // _STEP + 1


def backtest(options: Options, step: Step) -> Result:
    """Make a journal under the shipped policies, and replay it under them in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        firm = Firm(load(POLICIES), PriceTable.load(), shipped_crowd(100))
        records = write_journal(path, firm, options.times(CALLS), lambda _: step())
        size = path.stat().st_size
        arguments = ["policy", "simulate", str(POLICIES), "--journal", str(path), "--json"]
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", _TELL, *arguments],
            capture_output=True,
            text=True,
            check=True,
        )
        wall_s = time.perf_counter() - start
        step()
    if json.loads(done.stdout)["total"]["saved_nanos"]:
        raise RuntimeError("the policies that were in force saved something")
    own_kb, reader_kb = map(int, done.stderr.split()[-2:])
    title = f"A back-test of {records:,} records ({size / 1e9:.1f} GB of JSON lines)"
    result = Result(title, ("", "time", "a record", "peak memory", "of the reader"))
    cells = (
        f"{wall_s:.0f} s",
        f"{wall_s / records * 1e6:.0f} µs",
        f"{own_kb / 1024:.0f} MB",
        f"{reader_kb / 1024:.0f} MB",
    )
    result.rows.append(("policy simulate", *cells))
    result.figures |= {"wall_s": wall_s, "records": records, "rss_kb": own_kb, "reader_rss_kb": reader_kb}
    return result
