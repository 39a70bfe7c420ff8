"""Compile what a file says about budgets into rows: limits in integers, thresholds into marks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.budgets import Unit, period_of
from governor.policy.schema import DepartmentPolicy, Downgrade
from governor.policy.terms import LINES, BudgetRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from governor.policy.schema import Action
    from governor.policy.shape import PolicyFile

FULL = 10_000
"""A whole limit, in basis points."""


def budget_rows(file: PolicyFile) -> Iterator[BudgetRow]:
    """The budgets of one file, in its order."""
    policy = file.policy
    steps, warn_steps, caps = marks(policy.thresholds)
    for index, budget in enumerate(policy.budgets):
        unit = budget.units[0]
        usd = unit is Unit.USD
        line, _ = file.document.place(("budgets", index))
        yield BudgetRow(
            department=policy.department if isinstance(policy, DepartmentPolicy) else None,
            scopes=budget.scopes,
            names=budget.names,
            user_tier=budget.user_tier,
            unit=unit,
            period=period_of(budget.span),
            timezone=policy.timezone,
            limit=getattr(budget, unit),
            steps=steps if usd else (),
            warn_steps=warn_steps if usd else (),
            caps=caps if usd else {},
            source=f"{file.name}:{line}",
        )


def marks(
    thresholds: Mapping[str, Sequence[Action]],
) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, int]]:
    """Compile thresholds, as DESIGN's table of marks has it.

    Returns:
        Every threshold and those that warn, in basis points, ascending; and line to the mark it may fill a
        budget to. A step to a line caps every line above it, a block caps all; the lower of two caps holds.
    """
    caps: dict[str, int] = {}
    warns = set()
    points = {int(percent.removesuffix("%")) * 100: actions for percent, actions in thresholds.items()}
    for point, actions in sorted(points.items()):
        for action in actions:
            if action == "warn":
                warns.add(point)
                continue
            capped = LINES[LINES.index(action.downgrade) + 1 :] if isinstance(action, Downgrade) else LINES
            for line in capped:
                caps[line] = min(point, caps.get(line, FULL))
    # A cap at the whole limit says nothing that the limit does not.
    return tuple(sorted(points)), tuple(sorted(warns)), {k: v for k, v in caps.items() if v < FULL}
