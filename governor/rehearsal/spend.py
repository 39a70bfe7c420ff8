"""Spend by day, then and under the new policies, beside the budget that it counts to. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

from governor.budgets import LONGEST_MS, Period, Unit, window_at

if TYPE_CHECKING:
    from governor.policy import BudgetRow, Policies
    from governor.rehearsal.tally import Found


class Point(NamedTuple):
    """Spend up to the end of a day, in the window that it is in; nano-dollars."""

    day: str
    then_nanos: int
    new_nanos: int


@dataclass(frozen=True, slots=True)
class Curve:
    """A department's spend.

    Attributes:
        department: Its name.
        limit_nanos: The new limit of its longest calendar budget in dollars; `None` without one.
        period: Of that budget; `day` without one.
        points: One for each day on which calls began; each window begins at nothing.
    """

    department: str
    limit_nanos: int | None
    period: Period
    points: tuple[Point, ...]

    @property
    def most_nanos(self) -> int:
        """The highest that it goes, the limit included."""
        spent = (max(point.then_nanos, point.new_nanos) for point in self.points)
        return max(self.limit_nanos or 0, *spent, 1)


def curves(found: Found, policies: Policies) -> tuple[Curve, ...]:
    """The curves of every department that had calls, by name."""
    return tuple(_curve(name, found, policies) for name in sorted(found.days))


def _curve(department: str, found: Found, policies: Policies) -> Curve:
    row = _longest(department, policies)
    period = row.period if row is not None and isinstance(row.period, Period) else Period.DAY
    timezone = row.timezone if row is not None else "UTC"
    points, window, then_nanos, new_nanos = [], "", 0, 0
    for day, spent in sorted(found.days[department].items()):
        noon = datetime.fromisoformat(f"{day}T12:00").replace(tzinfo=ZoneInfo(timezone))
        here = window_at(period, timezone, int(noon.timestamp() * 1000)).id
        if here != window:
            window, then_nanos, new_nanos = here, 0, 0
        then_nanos += spent.then_nanos
        new_nanos += spent.new_nanos
        points.append(Point(day, then_nanos, new_nanos))
    return Curve(department, None if row is None else row.limit, period, tuple(points))


def _longest(department: str, policies: Policies) -> BudgetRow | None:
    """The longest budget of a department as a whole, in dollars and of days or more."""
    rows = [
        row
        for row in policies.all_terms()
        if row.department == department
        and row.scopes == ("department",)
        and row.unit is Unit.USD
        and row.period in (Period.DAY, Period.WEEK, Period.MONTH, Period.LIFE)
    ]
    return max(rows, key=_length_ms, default=None)


def _length_ms(row: BudgetRow) -> float:
    return LONGEST_MS.get(row.period, float("inf")) if isinstance(row.period, Period) else 0
