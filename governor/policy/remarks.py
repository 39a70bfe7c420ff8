"""What right files leave open: what cannot be reached, and requests that no money limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.budgets import Unit
from governor.policy.budget_check import reach
from governor.policy.conditions import Band
from governor.policy.routes import TIERS
from governor.policy.schema import DepartmentPolicy, OrganizationPolicy
from governor.policy.shape import dotted
from governor.policy.terms import Notice

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from governor.policy.resolve import Policies
    from governor.policy.schema import Budget
    from governor.policy.shape import PolicyFile

_ALWAYS = {"organization", "department", "user", "feature", "model"}
"""What every request of a feature has a value of."""


def remarks(policies: Policies) -> list[Notice]:
    """What the authors of the files should know; nothing is refused.

    Limits that another one for the same window makes unreachable; features whose requests touch no budget of
    money; thresholds that no budget goes by; what of routing changes nothing.
    """
    shared = [file for file in policies.files if isinstance(file.policy, OrganizationPolicy)]
    found: list[Notice] = []
    for file in policies.files:
        found += _above_the_organisation(file, shared)
        found += _above_the_department(file)
        found += _uncovered(file, shared)
        found += _of_no_budget(file)
        found += _of_routing(file)
    return found


def _above_the_organisation(file: PolicyFile, shared: Iterable[PolicyFile]) -> Iterator[Notice]:
    if not isinstance(file.policy, DepartmentPolicy):
        return
    ceilings: dict[tuple[object, ...], int] = {}
    for other in shared:
        for budget in other.policy.budgets:
            if other.policy.mode == "enforce" == budget.mode:
                key = (_within(budget, "organization"), *_kind(budget))
                ceilings[key] = getattr(budget, budget.units[0])
    for index, budget in enumerate(file.policy.budgets):
        scopes = _within(budget, "department")
        above = [(covering, *_kind(budget)) for covering in (scopes, ("department", *scopes))]
        ceiling = min((ceilings[key] for key in above if key in ceilings), default=None)
        if ceiling is not None and getattr(budget, budget.units[0]) > ceiling:
            text = "this limit is above the organisation's for the same window, which comes first"
            yield _at(file, ("budgets", index, budget.units[0].value), text)


def _above_the_department(file: PolicyFile) -> Iterator[Notice]:
    """A part that may spend more than the whole: the whole comes first."""
    if not isinstance(file.policy, DepartmentPolicy):
        return
    wholes = {
        (budget.units[0], reach(budget)): getattr(budget, budget.units[0])
        for budget in file.policy.budgets
        if budget.scopes == ("department",) and budget.mode == "enforce"
    }
    for index, budget in enumerate(file.policy.budgets):
        unit = budget.units[0]
        whole = wholes.get((unit, reach(budget)))
        if whole is not None and getattr(budget, unit) > whole:
            text = "this limit is above the whole department's for the same window, which comes first"
            yield _at(file, ("budgets", index, unit.value), text)


def _uncovered(file: PolicyFile, shared: Iterable[PolicyFile]) -> Iterator[Notice]:
    """Features, and requests without one, of which nothing limits what they spend."""
    policy = file.policy
    if not isinstance(policy, DepartmentPolicy):
        return
    # A file in shadow limits nothing, as it says itself: then it is asked what it will, once it is enforced.
    both = [file, *(other for other in shared if other.policy.mode == "enforce")]
    budgets = [one for other in both for one in other.policy.budgets if one.mode == "enforce"]
    tiers = policy.user_tiers
    for name in policy.features:
        if not _covered(budgets, tiers, name):
            text = "no budget in usd or tokens covers this feature: nothing limits what its requests spend"
            yield _at(file, ("features", name), text, on_key=True)
    if not _covered(budgets, tiers, None):
        text = "no budget in usd or tokens covers requests without a feature, a run or a tag"
        yield _at(file, ("budgets",), text, on_key=True)


def _of_no_budget(file: PolicyFile) -> Iterator[Notice]:
    """A department's thresholds where they are of nothing; the organisation's are a floor under others'."""
    policy = file.policy
    if not isinstance(policy, DepartmentPolicy) or not policy.thresholds.steps:
        return
    per = {(scope,) for scope in policy.thresholds.per}
    if all(budget.usd is None or budget.thresholds or budget.scopes in per for budget in policy.budgets):
        text = "no budget goes by these: they are of usd budgets without steps of their own or of their scope"
        yield _at(file, ("thresholds",), text, on_key=True)


def _of_routing(file: PolicyFile) -> Iterator[Notice]:
    """Tiers that only a request's own word reaches; rules, bands and premium users that change no line."""
    policy = file.policy
    if not isinstance(policy, DepartmentPolicy):
        return
    routing = policy.routing
    chosen = {choice.tier for choice in routing.choose} or {"standard"}
    below = False  # whether a prompt may be too long for a tier that is chosen, and so come to this one
    for name in TIERS:
        tier = getattr(routing.tiers, name)
        if tier is not None and name not in chosen and not below:
            text = "no rule of routing.choose takes this tier: only requests that name it are served in it"
            yield _at(file, ("routing", "tiers", name), text, on_key=True)
        below = below or (tier is not None and tier.context is not None and name in chosen)
    if routing.default != "auto" and routing.complexity:
        text = f"nothing goes by complexity: what names no model gets routing.default, {routing.default}"
        yield _at(file, ("routing", "complexity"), text, on_key=True)
    conditions = [choice.when for choice in routing.choose if choice.when] + (
        [routing.defer.when] if routing.defer else []
    )
    money = any(budget.usd is not None and budget.mode == "enforce" for budget in policy.budgets)
    if not money and any("budget" in when for when in conditions):
        text = "no usd budget of this file is enforced: `budget` may always be 0 here"
        yield _at(file, ("routing",), text, on_key=True)
    bands = [Band.read(text) for text in routing.complexity.values()]
    missing = [value for value in range(11) if bands and not any(band.holds(value) for band in bands)]
    if missing:
        text = f"no band holds {', '.join(map(str, missing))}: the next line above serves those"
        yield _at(file, ("routing", "complexity"), text, on_key=True)


def _covered(budgets: Iterable[Budget], tiers: set[str | None], feature: str | None) -> bool:
    """Whether every request of *feature* touches a budget of money or tokens, whoever asks."""
    always = _ALWAYS if feature else _ALWAYS - {"feature"}
    reached: set[str | None] = set()
    for budget in budgets:
        money = budget.units[0] in (Unit.USD, Unit.TOKENS)
        named = budget.names.get("feature") in (None, feature) and "model" not in budget.names
        if money and named and always.issuperset(budget.scopes):
            reached |= tiers if budget.user_tier is None else {budget.user_tier}
    return reached >= tiers


def _kind(budget: Budget) -> tuple[object, ...]:
    names = tuple(sorted(budget.names.items()))
    return names, budget.user_tier, budget.units[0], reach(budget)


def _within(budget: Budget, file_scope: str) -> tuple[str, ...]:
    return tuple(scope for scope in budget.scopes if scope != file_scope)


def _at(file: PolicyFile, path: tuple[object, ...], text: str, *, on_key: bool = False) -> Notice:
    line, column = file.document.place(path, on_key=on_key)
    return Notice(file.name, line, column, dotted(path), text)
