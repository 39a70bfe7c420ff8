"""Compile what a file says about budgets into rows: limits in integers, thresholds into marks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from governor.budgets import Unit, period_of
from governor.policy.schema import Budget, DepartmentPolicy
from governor.policy.terms import FULL_BP, LINES, BudgetRow
from governor.policy.thresholds import Downgrade

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from governor.policy.schema import AnyPolicy, OrganizationPolicy
    from governor.policy.shape import PolicyFile
    from governor.policy.thresholds import Action

_OF_A_RUN = (("run",), "life")
"""Scopes and span of the budget that `runaway.max_usd` is."""

_NO_STEPS: Mapping[str, Sequence[Action]] = {}


def budget_rows(file: PolicyFile, floor: OrganizationPolicy | None = None) -> Iterator[BudgetRow]:
    """The budgets of one file, in its order.

    Args:
        file: The file.
        floor: Of a department's file, the organisation's: its thresholds hold for usd budgets here too.
    """
    policy = file.policy
    for budget, path in _budgets(policy):
        unit = budget.units[0]
        least = _floor_of(budget, floor)
        found = marks(steps_of(policy, budget)).under(least)
        line, _ = file.document.place(path)
        yield BudgetRow(
            department=policy.department if isinstance(policy, DepartmentPolicy) else None,
            scopes=budget.scopes,
            names=budget.names,
            user_tier=budget.user_tier,
            unit=unit,
            period=period_of(budget.span),
            timezone=policy.timezone,
            limit=getattr(budget, unit),
            steps=found.steps,
            warn_steps=found.warn_steps,
            caps=found.caps,
            source=f"{file.name}:{line}",
            block_bp=found.block_bp,
            paced=budget.pace is not None,
            keep_bp=0 if budget.keep is None else basis_points(budget.keep),
            kept_for=tuple(budget.for_ or ()),
            shadow="shadow" in (budget.mode, policy.mode),
            floor_caps={} if budget.pace is None else least.caps,
            watched_caps=_watched(policy, budget, floor),
        )


def _budgets(policy: AnyPolicy) -> Iterator[tuple[Budget, tuple[str | int, ...]]]:
    """The budgets of a file and where they stand; `runaway.max_usd` is one of a run's whole life.

    Where the file has such a one already, the lower of the two limits is its limit.
    """
    most = None if policy.runaway is None else policy.runaway.max_usd
    for index, budget in enumerate(policy.budgets):
        if most is not None and budget.usd is not None and (budget.scopes, budget.span) == _OF_A_RUN:
            yield budget.model_copy(update={"usd": min(most, budget.usd)}), ("budgets", index)
            most = None
        else:
            yield budget, ("budgets", index)
    if most is not None:
        whole = Budget.model_validate({"per": "run", "usd": 1})
        yield whole.model_copy(update={"usd": most}), ("runaway", "max_usd")


class Marks(NamedTuple):
    """What thresholds compile to, in basis points of the limit.

    Attributes:
        steps: Every threshold, ascending.
        warn_steps: Those that warn.
        caps: Line to the mark it may fill a budget to; absent: the whole of it.
        block_bp: The mark that no line may pass.
    """

    steps: tuple[int, ...]
    warn_steps: tuple[int, ...]
    caps: Mapping[str, int]
    block_bp: int

    def under(self, floor: Marks) -> Marks:
        """The same, never looser than *floor*: the lower of two caps holds; warnings are each file's own."""
        if floor.block_bp == FULL_BP and not floor.caps:
            return self
        caps = {
            line: min(one.caps.get(line, FULL_BP) for one in (self, floor))
            for line in {*self.caps, *floor.caps}
        }
        steps = {*self.steps, *(step for step in floor.steps if step in floor.caps.values())}
        return Marks(tuple(sorted(steps)), self.warn_steps, caps, min(self.block_bp, floor.block_bp))


def steps_of(policy: AnyPolicy, budget: Budget) -> Mapping[str, Sequence[Action]]:
    """The thresholds that a file gives a budget: its own, else (of usd) its scope's, else the file's."""
    if budget.thresholds:
        return budget.thresholds
    return policy.thresholds.of(budget.scopes) if budget.usd is not None else _NO_STEPS


def _floor_of(budget: Budget, floor: OrganizationPolicy | None) -> Marks:
    """What the organisation's file allows a department's budget at most."""
    if floor is None or floor.mode == "shadow" or budget.units[0] is not Unit.USD:
        return marks({})
    return marks(floor.thresholds.of(budget.scopes))


def _watched(policy: AnyPolicy, budget: Budget, floor: OrganizationPolicy | None) -> Mapping[str, int]:
    """What it would allow at most, where it is in shadow; of the cheapest line, only a block."""
    if floor is None or floor.mode != "shadow" or not isinstance(policy, DepartmentPolicy):
        return {}
    found = _floor_of(budget, floor.model_copy(update={"mode": "enforce"}))
    cheapest = min(policy.routing.lines, key=LINES.index)
    caps = {**found.caps, cheapest: found.block_bp}
    return {line: mark for line, mark in caps.items() if mark < FULL_BP}


def basis_points(percent: str) -> int:
    """`80%` as 8000."""
    return int(percent.removesuffix("%")) * 100


def marks(thresholds: Mapping[str, Sequence[Action]]) -> Marks:
    """Compile thresholds, as DESIGN's table of marks has it.

    A step to a line caps every line above it, a block caps all; the lower of two caps holds.
    """
    caps: dict[str, int] = {}
    warns, block = set(), FULL_BP
    points = {basis_points(percent): actions for percent, actions in thresholds.items()}
    for point, actions in sorted(points.items()):
        for action in actions:
            if action == "warn":
                warns.add(point)
                continue
            capped = LINES[LINES.index(action.downgrade) + 1 :] if isinstance(action, Downgrade) else LINES
            block = block if isinstance(action, Downgrade) else min(block, point)
            for line in capped:
                caps[line] = min(point, caps.get(line, FULL_BP))
    # A cap at the whole limit says nothing that the limit does not.
    below = {line: point for line, point in caps.items() if point < FULL_BP}
    return Marks(tuple(sorted(points)), tuple(sorted(warns)), below, block)
