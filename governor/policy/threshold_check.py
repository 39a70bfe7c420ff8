"""What thresholds, a pace and a kept part cannot mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.budgets import Period, Rolling, period_of
from governor.policy.rows import basis_points, marks, steps_of
from governor.policy.schema import DepartmentPolicy
from governor.policy.shape import dotted
from governor.policy.terms import FULL_BP, LINES
from governor.policy.thresholds import Downgrade

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from governor.errors import Problem
    from governor.policy.schema import AnyPolicy, Budget
    from governor.policy.shape import PolicyFile
    from governor.policy.thresholds import Action

_Path = tuple[Any, ...]


def step_sets(policy: AnyPolicy) -> Iterator[tuple[_Path, Mapping[str, Sequence[Action]]]]:
    """Every set of thresholds of a file, and where it stands: the file's, the scopes', the budgets' own."""
    yield from policy.thresholds.sets()
    for index, budget in enumerate(policy.budgets):
        if budget.thresholds:
            yield ("budgets", index, "thresholds"), budget.thresholds


def lines_stepped_to(policy: AnyPolicy) -> Iterator[tuple[_Path, str]]:
    """Every line that a threshold downgrades to, and where it is named."""
    for path, steps in step_sets(policy):
        for percent, actions in steps.items():
            for index, action in enumerate(actions):
                if isinstance(action, Downgrade):
                    yield (*path, percent, index, "downgrade"), action.downgrade


def threshold_problems(file: PolicyFile) -> Iterator[Problem]:
    """What the thresholds of a file, and the pace and the kept part of its budgets, cannot mean."""
    for path, steps in step_sets(file.policy):
        yield from _falling(file, path, steps)
    for index, budget in enumerate(file.policy.budgets):
        for keys, message, hint in _faults(file.policy, budget):
            path = ("budgets", index, *keys)
            yield file.document.problem(path, f"{dotted(path)}: {message}", hint, on_key=True)
    if not isinstance(file.policy, DepartmentPolicy):
        return  # the organisation's are a floor under other files' budgets
    for scope in file.policy.thresholds.per:
        if not any(budget.usd is not None and budget.scopes == (scope,) for budget in file.policy.budgets):
            path = ("thresholds", scope)
            message = f"{dotted(path)}: the file has no usd budget per {scope}"
            yield file.document.problem(path, message, "remove it, or add the budget", on_key=True)


def _faults(policy: AnyPolicy, budget: Budget) -> Iterator[tuple[_Path, str, str]]:
    """Where in the budget, message and hint."""
    own = budget.thresholds.values()
    if budget.concurrent is not None and any("warn" in actions for actions in own):
        yield ("thresholds",), "calls in flight are not spent, so nothing is told of them", "remove the warn"
    if (budget.keep is None) != (budget.for_ is None):
        given, missing = ("keep", "for") if budget.for_ is None else ("for", "keep")
        yield (given,), f"{given!r} goes with {missing!r}", "such as: keep: 10%, for: [production]"
    if budget.keep is not None and basis_points(budget.keep) >= FULL_BP:
        yield ("keep",), "all of it would be kept, and nobody else could ask", "at most 99%"
    name = budget.names.get("feature")
    if name is not None and name in (budget.for_ or ()):
        yield ("for",), f"all that this budget counts is of the feature {name!r}", "remove keep and for"
    if budget.pace is not None:
        yield from _pace_faults(policy, budget)


def _pace_faults(policy: AnyPolicy, budget: Budget) -> Iterator[tuple[_Path, str, str]]:
    span = period_of(budget.span) if budget.span else Period.LIFE
    if isinstance(span, Rolling) or span in (Period.LIFE, Period.MINUTE):
        yield ("pace",), "only a window with a beginning and an end is paced", "hour, day, week or month"
    found = marks(steps_of(policy, budget))
    if not found.warn_steps and all(cap >= found.block_bp for cap in found.caps.values()):
        yield ("pace",), "there is no warn and no downgrade for it to pace", "add one, or remove it"


def _falling(file: PolicyFile, where: _Path, thresholds: Mapping[str, Sequence[Action]]) -> Iterator[Problem]:
    """Thresholds must rise in severity, and each do one thing once."""
    lowest, blocked = len(LINES), ""
    for percent in sorted(thresholds, key=basis_points):
        actions = thresholds[percent]
        path = (*where, percent)
        steps = [action.downgrade for action in actions if isinstance(action, Downgrade)]
        heavy = len(steps) + actions.count("block")
        if heavy > 1 or actions.count("warn") > 1:
            message = f"{percent} does the same thing twice"
            yield file.document.problem(path, message, "one downgrade or block each")
        elif steps and blocked:
            message = f"{percent} comes after {blocked}, which blocks already"
            yield file.document.problem(path, message, "thresholds must rise in severity", on_key=True)
        for step in steps:
            if LINES.index(step) > lowest:
                message = f"{percent} allows {step} again, which a lower threshold took away"
                hint = f"downgrade to {LINES[lowest]} or a cheaper line"
                yield file.document.problem(path, message, hint, on_key=True)
            lowest = min(lowest, LINES.index(step))
        blocked = blocked or (percent if "block" in actions else "")
