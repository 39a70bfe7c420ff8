"""What one budget, or two of a file that count the same, cannot mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.budgets import Rolling, Unit, period_of
from governor.errors import nearest
from governor.policy.schema import DepartmentPolicy
from governor.policy.scopes import nameable
from governor.policy.shape import dotted
from governor.policy.terms import LINES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.errors import Problem
    from governor.policy.schema import AnyPolicy, Budget
    from governor.policy.shape import PolicyFile

_Fault = tuple[tuple[Any, ...], str, str]
"""Where in the budget (empty: the whole), message and hint."""

_WHOLE_KEYS = {(key,) for key in ("name", "user_tier", *Unit)}
"""Faults of these are shown at the key, of others at the value."""


def budget_problems(file: PolicyFile) -> Iterator[Problem]:
    """What the budgets of one file of the right shape say that cannot be meant."""
    for index, budget in enumerate(file.policy.budgets):
        for keys, message, hint in _faults(budget, file.policy):
            path = ("budgets", index, *keys)
            on_key = keys[:1] in _WHOLE_KEYS
            yield file.document.problem(path, f"{dotted(path)}: {message}", hint, on_key=on_key)
    yield from _shared_balances(file)


def reach(budget: Budget) -> object:
    """What two budgets over the same time have in common: `rolling 24h` is `rolling 1d`."""
    period = period_of(budget.span) if budget.span else None
    return period.length_ms if isinstance(period, Rolling) else period


def _faults(budget: Budget, policy: AnyPolicy) -> Iterator[_Fault]:
    units = budget.units
    if not units:
        yield (), "the budget has no limit", "add one of: usd, tokens, requests, concurrent"
    for unit in units[1:]:
        yield (str(unit),), f"a budget has one unit, and this one has {units[0]} already", "write two budgets"
    yield from _scope_faults(budget, policy)
    yield from _name_faults(budget)
    if budget.user_tier is not None and "user" not in budget.per:
        per = " and ".join(budget.per)
        yield ("user_tier",), f"only a budget per user has a user_tier, not one per {per}", "remove it"
    if not budget.span:
        yield (), "the budget has no window", "add one, such as window: month"
    if budget.concurrent is not None and budget.span != "life":
        yield ("window",), "calls in flight are counted at every moment, not in a window", "remove the window"


def _scope_faults(budget: Budget, policy: AnyPolicy) -> Iterator[_Fault]:
    own = isinstance(policy, DepartmentPolicy)
    together = len(budget.per) > 1
    for index, scope in enumerate(budget.per):
        path = ("per", index) if together else ("per",)
        if scope in budget.per[:index]:
            yield path, f"{scope!r} stands here twice", "remove one"
        elif scope == "organization" and own:
            yield path, "a department's file cannot limit the organisation", "move it to organization.yaml"
        elif scope == "organization" and together:
            yield path, "every request is of the organisation, so it makes no combination", "remove it"
        elif scope == "department" and own and together:
            yield (
                path,
                "a department's file counts that department only, so it goes without saying",
                "remove it",
            )


def _name_faults(budget: Budget) -> Iterator[_Fault]:
    together = len(budget.per) > 1
    if isinstance(budget.name, str) and together:
        hint = f"say whose: name: {{{_example(budget)}: {budget.name}}}"
        yield ("name",), "several scopes are counted here, and the name does not say which it is of", hint
        return
    if isinstance(budget.name, dict) and not together:
        (name, *_) = budget.name.values()
        yield ("name",), "one scope is counted here, so its name stands alone", f"write name: {name}"
        return
    for scope, name in budget.names.items():
        path = budget.name_path(scope)
        if scope not in budget.per:
            yield path, f"{scope!r} is not counted here, so it has no name", nearest(scope, budget.per)
        elif not nameable(scope):
            message = f"only a budget per feature, model or tag has a name, not one per {scope}"
            yield path, message, "remove it"
        elif scope == "model" and name in LINES:
            yield path, f"{name!r} is a line, not a model", "write the model's id"


def _example(budget: Budget) -> str:
    """The scope that a name which does not say is most likely of."""
    scope = next((scope for scope in budget.scopes if nameable(scope)), budget.per[0])
    return f'"{scope}"' if ":" in scope else scope


def _shared_balances(file: PolicyFile) -> Iterator[Problem]:
    seen: dict[tuple[object, ...], list[tuple[Budget, int]]] = {}
    for index, budget in enumerate(file.policy.budgets):
        line, _ = file.document.place(("budgets", index))
        twins = seen.setdefault((budget.scopes, *budget.units, reach(budget)), [])
        for twin, twin_line in twins:
            if not (_named_apart(budget, twin) or _apart(budget.user_tier, twin.user_tier)):
                message = f"budgets[{index}] counts the same as the budget on line {twin_line}"
                tiered = "user" in budget.scopes
                hint = "keep one, or give each a user_tier of its own" if tiered else "keep one"
                yield file.document.problem(("budgets", index), message, hint)
                break
        twins.append((budget, line))


def _named_apart(one: Budget, other: Budget) -> bool:
    return any(_apart(name, other.names.get(scope)) for scope, name in one.names.items())


def _apart(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one != other
