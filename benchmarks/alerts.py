"""How many records a second the alert rules judge, and in how much memory."""

from __future__ import annotations

import resource
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.journals import Firm, shipped_crowd, write_journal
from benchmarks.timing import Options, Result, Step
from governor.journal.alerts.reading import read_rules
from governor.journal.alerts.watch import Watch, replay
from governor.journal.archive import open_archive
from governor.journal.fold import Fold
from governor.policy import load
from governor.pricing import PriceTable

if TYPE_CHECKING:
    from governor.ledger.commands import JournalEntry

CALLS = 50_000
LENGTHS_MS = (("a busy hour", 3_600_000), ("a busy day", 86_400_000))
POLICIES = Path(__file__).resolve().parents[1] / "policies"
_STEP = 10_000


def steps(options: Options) -> int:
    """How many steps `alerts` will tell."""
    return len(LENGTHS_MS) * (2 * options.times(CALLS) // _STEP + 1)


def alerts(options: Options, step: Step) -> Result:
    """Judge journals under the shipped rules; beside it, what reading their calls alone takes."""
    result = Result("Alert rules over a journal", ("", "records", "judged", "calls alone", "memory"))
    for name, length_ms in LENGTHS_MS:
        entries = _entries(options, step, length_ms)
        start = time.process_time()
        Fold().take(entries)
        fold_s = time.process_time() - start
        watch = Watch(read_rules(None))
        start = time.process_time()
        for _ in replay(watch, entries):
            pass
        judged_s = time.process_time() - start
        step()
        rates = (f"{len(entries) / judged_s:,.0f} /s", f"{len(entries) / fold_s:,.0f} /s")
        memory = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB"
        result.rows.append((name, f"{len(entries):,}", *rates, memory))
        result.figures |= {f"{name}, records a second": len(entries) / judged_s}
    return result


def _entries(options: Options, step: Step, length_ms: int) -> list[JournalEntry]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        policies = load(POLICIES)
        firm = Firm(policies, PriceTable.load(), shipped_crowd(50))
        write_journal(path, firm, options.times(CALLS), lambda _: step(), length_ms=length_ms)
        with closing(open_archive(str(path), policies.organization)) as kept:
            return [one.entry for one in kept.read()]
