"""What a policy must mean: the rules that need two places of a file, two files, or the price table."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Protocol

from governor.budgets import Unit
from governor.errors import Problem, nearest
from governor.policy.budget_check import budget_problems
from governor.policy.routing_check import routing_problems
from governor.policy.schema import DepartmentPolicy, OrganizationPolicy
from governor.policy.shape import dotted
from governor.policy.terms import LINES
from governor.policy.threshold_check import lines_stepped_to, threshold_problems

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from governor.policy.resolve import Policies
    from governor.policy.schema import AnyPolicy
    from governor.policy.shape import PolicyFile

EVERYONE = "*"


class PricedModels(Protocol):
    """What the check asks of a price table."""

    def knows(self, name: str) -> bool:
        """Whether a model has a price."""
        ...

    def priced_since(self, name: str) -> dt.date:
        """The first day, in UTC, on which a model has a price."""
        ...

    def canonical(self, name: str) -> str:
        """The id that requests to a model count under: for an id itself, for an alias what it stands for."""
        ...

    def line_of(self, name: str) -> str:
        """The line that a model is of."""
        ...

    def tells_endpoint(self, name: str) -> bool:
        """Whether a model's name says which endpoint serves it; Vertex AI's names do not."""
        ...


def check(policies: Policies, prices: PricedModels, today: dt.date | None = None) -> list[Problem]:
    """Check loaded policies against the price table.

    Args:
        policies: What was loaded; its files are right in themselves, or loading had refused them.
        prices: The price table.
        today: The day, in UTC; the real one if left out.

    Returns:
        One problem per model named without a price, or without one yet; per budget named for an alias
        (requests count under ids, so it would never be touched); and per line whose endpoint nobody tells.
        In the order of the files.
    """
    problems = []
    day = today or dt.datetime.now(dt.UTC).date()
    told = any(file.policy.workspace.endpoint for file in policies.files if _shared(file))
    for file in policies.files:
        for path, model in _models(file.policy):
            if not prices.knows(model):
                message = f"model {model!r} has no price"
                hint = "correct its name, or add it to the price table"
            elif prices.priced_since(model) > day:
                message = f"model {model!r} has no price before {prices.priced_since(model)}"
                hint = "use it from that day on, or add an earlier price"
            elif path[0] == "budgets" and prices.canonical(model) != model:
                message = f"{dotted(path)}: {model!r} is an alias, and a model's budget counts under its id"
                hint = f"write {prices.canonical(model)}"
            elif path[:2] == ("routing", "lines") and _dearer(prices.line_of(model), path[2]):
                message = f"{dotted(path)}: {model!r} is of the line {prices.line_of(model)!r}, a dearer one"
                hint = f"write it under {prices.line_of(model)}: a step down to {path[2]} would save nothing"
            elif not (told or file.policy.workspace.endpoint or prices.tells_endpoint(model)):
                message = f"the name {model!r} does not tell which endpoint of Vertex AI serves it"
                hint = "add `workspace: {endpoint: global}`, or regional"
            else:
                continue
            problems.append(file.document.problem(path, message, hint))
    return problems


def _dearer(line: str, than: str) -> bool:
    return LINES.index(line) > LINES.index(than)


def _shared(file: PolicyFile) -> bool:
    return isinstance(file.policy, OrganizationPolicy)


def file_problems(file: PolicyFile) -> Iterator[Problem]:
    """What one file of the right shape says that cannot be meant."""
    yield from budget_problems(file)
    yield from threshold_problems(file)
    if isinstance(file.policy, DepartmentPolicy):
        yield from _unknown_lines(file, file.policy)
        yield from routing_problems(file, file.policy)
        yield from _unknown_features(file, file.policy)


def cross_problems(
    files: Sequence[PolicyFile], *, unread: bool = False, alone: bool = False
) -> Iterator[Problem]:
    """What files say against each other: twice the same department, tiers that lead nowhere.

    Args:
        files: The files of the right shape.
        unread: Whether there are others that could not be read: what they may hold is not missed.
        alone: Whether one file was asked for, so that the other departments' are not among them.
    """
    yield from _written_twice(files)
    shared = [file for file in files if isinstance(file.policy, OrganizationPolicy)]
    everybody: set[str | None] = set()
    anybody = False
    for file in files:
        if isinstance(file.policy, DepartmentPolicy):
            everybody |= file.policy.user_tiers
            anybody = anybody or file.policy.asks_application
            yield from _idle_tiers(file, file.policy.user_tiers)
            if shared or not unread:
                yield from _tier_faults(file, file.policy, shared)
                yield from _idle_floors(file, file.policy, shared)
    if len(files) > len(shared) and not (unread or alone or anybody):
        for file in shared:
            yield from _idle_tiers(file, everybody)


def _written_twice(files: Sequence[PolicyFile]) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for file in files:
        if isinstance(file.policy, DepartmentPolicy):
            key, what = "department", f"the department {file.policy.department!r}"
        else:
            key, what = "organization", "the organisation"
        if what in first:
            message = f"a second file for {what}"
            yield file.document.problem((key,), message, f"the first is {first[what]}; keep one")
        first.setdefault(what, file.name)


def _lines_named(policy: DepartmentPolicy) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Every place that names a line, and the line."""
    yield from lines_stepped_to(policy)
    for key in ("complexity", "floors"):
        for line in getattr(policy.routing, key):
            yield ("routing", key, line), line
    for line in policy.routing.value.quality if policy.routing.value else ():
        yield ("routing", "value", "quality", line), line
    for model, heir in policy.routing.successors.items():
        if heir in LINES:
            yield ("routing", "successors", model), heir
    for name in ("premium", "standard", "economy"):
        tier = getattr(policy.routing.tiers, name)
        if tier is not None:
            yield ("routing", "tiers", name, "prefer"), tier.prefer
    for name, feature in policy.features.items():
        for index, line in enumerate(feature.lines or ()):
            yield ("features", name, "lines", index), line


def _unknown_lines(file: PolicyFile, policy: DepartmentPolicy) -> Iterator[Problem]:
    for path, line in _lines_named(policy):
        if line not in policy.routing.lines:
            message = f"the line {line!r} is not in routing.lines"
            hint = f"add it there, or use one of: {', '.join(policy.routing.lines)}"
            yield file.document.problem(
                path, message, hint, on_key=path[1] in ("complexity", "floors", "value")
            )
    routing, document = policy.routing, file.document
    allowed = {"auto", *routing.lines, *routing.lines.values()}
    if routing.default not in allowed:
        message = f"routing.default: {routing.default!r} is not auto, nor a line or a model of routing.lines"
        yield document.problem(("routing", "default"), message, nearest(routing.default, allowed))
    first: dict[str, str] = {}
    for line, model in routing.lines.items():
        if first.setdefault(model, line) != line:
            message = f"the lines {line!r} and {first[model]!r} name the same model"
            yield document.problem(("routing", "lines", line), message, "give each line a model of its own")


def _unknown_features(file: PolicyFile, policy: DepartmentPolicy) -> Iterator[Problem]:
    if not policy.features or EVERYONE in policy.features:
        return
    for index, budget in enumerate(policy.budgets):
        name = budget.names.get("feature")
        if name is not None and name not in policy.features:
            path = ("budgets", index, *budget.name_path("feature"))
            message = f"the feature {name!r} is not in features"
            yield file.document.problem(path, message, nearest(name, policy.features))


def _budget_tiers(policy: AnyPolicy) -> set[str]:
    return {budget.user_tier for budget in policy.budgets if budget.user_tier is not None}


def _tier_faults(
    file: PolicyFile, policy: DepartmentPolicy, shared: Iterable[PolicyFile]
) -> Iterator[Problem]:
    """A misspelt tier would silently lift its users' limit: every tier must be one a budget names."""
    known = _budget_tiers(policy).union(*(_budget_tiers(other.policy) for other in shared))
    if not known:
        return
    for name, user in (policy.users or {}).items():
        if user.user_tier is not None and user.user_tier not in known:
            message = f"no budget is for the user_tier {user.user_tier!r}"
            hint = nearest(user.user_tier, known) + "; or add a budget for it, or leave it out"
            document, path = file.place_of_user(name)
            yield document.problem((*path, "user_tier"), message, hint)


def _idle_tiers(file: PolicyFile, tiers: AbstractSet[str | None]) -> Iterator[Problem]:
    """A budget for a tier of nobody would silently limit nobody."""
    known = {tier for tier in tiers if tier is not None}
    whose = "this file" if isinstance(file.policy, DepartmentPolicy) else "any department's file"
    for index, budget in enumerate(file.policy.budgets):
        if "user" in budget.per and budget.user_tier is not None and budget.user_tier not in known:
            path = ("budgets", index, "user_tier")
            message = f"{dotted(path)}: no user in {whose} is of the user_tier {budget.user_tier!r}"
            hints = [nearest(budget.user_tier, known), "give it to somebody under `users`, or leave it out"]
            yield file.document.problem(path, message, "; or ".join(filter(None, hints)))


def _idle_floors(
    file: PolicyFile, policy: DepartmentPolicy, shared: Iterable[PolicyFile]
) -> Iterator[Problem]:
    """Floors that no user of the department can meet; `in_force` reports those that some cannot."""
    tiers = {None, *policy.user_tiers}
    theirs = (budget for other in shared for budget in other.policy.budgets if budget.user_tier in tiers)
    budgets = [*policy.budgets, *theirs]  # its own are for tiers of its users, or refused already
    if policy.routing.floors and not any(b.scopes == ("user",) and b.units == [Unit.USD] for b in budgets):
        message = "floors are judged on the user's longest usd budget, and there is none"
        hint = "add a budget per user in usd"
        yield file.document.problem(("routing", "floors"), message, hint, on_key=True)


def _models(policy: AnyPolicy) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Every place that names a model, and the model."""
    for index, budget in enumerate(policy.budgets):
        if "model" in budget.names:
            yield ("budgets", index, *budget.name_path("model")), budget.names["model"]
    if isinstance(policy, DepartmentPolicy):
        for line, model in policy.routing.lines.items():
            yield ("routing", "lines", line), model
        for model, heir in policy.routing.successors.items():
            if heir not in LINES and heir not in policy.routing.successors:
                yield ("routing", "successors", model), heir
