"""A simulated day as a table for people: `python -m support.day_table [SEED]`, in `tests/`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from governor.money import Money
from governor.pricing import PriceTable
from support.day import Day
from support.day_judge import STEPS
from support.day_teams import write_policies

if TYPE_CHECKING:
    from support.day_judge import Row

HEADS = (
    "team",
    "calls",
    "answered",
    "refused",
    "downgraded",
    "moves",
    "spent",
    "of",
    *map(str, STEPS),
    "100",
)


def as_text(day: Day) -> str:
    """The day of each team, as a Markdown table, and what the API and the judge met."""
    heads = [f"{head} % at" if head.isdigit() else head for head in HEADS]
    lines = [heads, ["---", *["---:"] * (len(HEADS) - 1)], *(_cells(row) for row in day.judge.table())]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    reasons = ", ".join(f"{name} {many}" for name, many in day.judge.reasons.most_common())
    said = ", ".join(f"{status}: {many}" for status, many in sorted(day.api.said.items()))
    return f"{table}\n\nServed by another model than alone: {reasons}.\nThe API answered {said}."


def _cells(row: Row) -> list[str]:
    counts = [row.calls, row.served, row.refused, row.downgraded, row.moved]
    money = [Money(row.spent_nanos), Money(row.limit_nanos)]
    hours = [_hour(hour) for hour in (*row.reached_h, row.out_h)]
    return [row.team, *(f"{each:,}" for each in counts), *map(str, money), *hours]


def _hour(hour: float | None) -> str:
    if hour is None:
        return "never"
    over = "+1 d " if hour >= 24 else ""
    return f"{over}{int(hour % 24):02}:{int(hour % 1 * 60):02}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        policies = write_policies(Path(folder))
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    sys.stdout.write(as_text(Day(policies, PriceTable.load(), seed).play()) + "\n")
