"""`governor report outcomes`: what results cost, what they were worth, and whether that was worth it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from governor.journal.reports.figures import each
from governor.journal.reports.page import Column, Table
from governor.money import NANOS_PER_DOLLAR

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from governor.journal.call import Result
    from governor.journal.reports.asked import Asked
    from governor.journal.reports.page import Page, Value
    from governor.journal.reports.queries import CallCost, Source
    from governor.journal.reports.spans import Span

USD = "usd"
_COLUMNS = (
    Column("outcome", "Outcome"),
    Column("count", "Count", "count"),
    Column("untied", "Untied", "count"),
    Column("cost_nanos", "Cost", "usd"),
    Column("cost_each_nanos", "Cost each", "usd"),
    Column("target_nanos", "Target", "usd"),
    Column("verdict", "Verdict"),
    Column("value_nanos", "Value", "usd"),
    Column("roi_percent", "ROI", "percent"),
    Column("mean", "Mean", "ratio"),
    Column("unit", "Unit"),
)
_NOTE = (
    "Cost: of the calls, or of the runs, that results are tied to, whenever they were; a run counts once for "
    "each outcome that it had. Untied: results that name no run and no call that the journal has."
)


@dataclass(slots=True)
class Tally:
    """Results of one name and unit.

    Attributes:
        count: How many.
        tied: Those that calls are known of.
        costs: What those calls cost, by id and department, nano-dollars.
        value: What all were worth, in the unit.
        tied_value: What those were that calls are known of.
        valued: How many had a value.
    """

    count: int = 0
    tied: int = 0
    costs: dict[tuple[str, str], int] = field(default_factory=dict)
    value: Decimal = Decimal(0)
    tied_value: Decimal = Decimal(0)
    valued: int = 0

    @property
    def cost_nanos(self) -> int:
        """What the calls cost, each counted once."""
        return sum(self.costs.values())


def outcomes(source: Source, asked: Asked, span: Span, targets: Mapping[str, int]) -> Page:
    """Cost per outcome, value and return, by the outcome's name.

    Args:
        source: Calls and results.
        asked: Who asks.
        span: When results were told; their calls may be older.
        targets: Outcome to what one may cost, nano-dollars.
    """
    found = source.results(span.start_ms, span.end_ms)
    by_run, by_call = source.costs_of(found)
    tallies: dict[tuple[str, str], Tally] = defaultdict(Tally)
    for one in found:
        calls = by_call.get(one.call_id, []) if one.call_id else by_run.get(one.run, [])
        _count(tallies[one.name, one.unit], one, [call for call in calls if _theirs(one, call)])
    for name in targets:
        if not any(known == name for known, _ in tallies):
            tallies[name, ""] = Tally()
    rows = [_row(*key, tally, targets.get(key[0])) for key, tally in sorted(tallies.items())]
    note = _NOTE if found else "No result was told in this time: see governor.outcome(…)."
    table = Table("outcomes", "By outcome", _COLUMNS, tuple(rows), note)
    return asked.page("outcomes", "What results cost", f"{span}{asked.only}", (table,))


def _theirs(result: Result, call: CallCost) -> bool:
    """Departments may use the same name for runs of theirs."""
    return not result.department or result.department == call.department


def _count(tally: Tally, result: Result, calls: Sequence[CallCost]) -> None:
    tally.count += 1
    value = _value(result)
    if value is not None:
        tally.valued += 1
        tally.value += value
    if calls:
        tally.tied += 1
        tally.tied_value += value or 0
        tally.costs.update({(call.call_id, call.department): call.cost_nanos for call in calls})


def _value(result: Result) -> Decimal | None:
    """What it was worth; `None` where nothing was said, or nothing that is a number."""
    try:
        value = None if result.value is None else Decimal(result.value)
    except InvalidOperation:
        return None
    return value if value is None or value.is_finite() else None


def _row(name: str, unit: str, tally: Tally, target: int | None) -> tuple[Value, ...]:
    cost = tally.cost_nanos if tally.tied else None
    one = None if cost is None else each(cost, tally.tied)
    money = unit == USD and tally.valued > 0
    return (
        name,
        tally.count,
        tally.count - tally.tied,
        cost,
        one,
        target,
        _verdict(one, target),
        _nanos(tally.value) if money else None,
        _roi(tally.tied_value, cost) if money else None,
        float(tally.value / tally.valued) if tally.valued and not money else None,
        unit if tally.valued else None,
    )


def _verdict(one: int | None, target: int | None) -> str | None:
    if one is None or target is None:
        return None
    return "within" if one <= target else "above"


def _nanos(dollars: Decimal) -> int:
    return int((dollars * NANOS_PER_DOLLAR).to_integral_value())


def _roi(value: Decimal, cost: int | None) -> float | None:
    """What came back beyond the cost, in percent of it."""
    return float(100 * (_nanos(value) - cost) / cost) if cost else None
