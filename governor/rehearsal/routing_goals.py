"""What of a policy's routing tests should reach: each rule that chooses a tier, each band of complexity."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import TYPE_CHECKING, Any

from governor.policy import Attribution
from governor.policy.conditions import Shares
from governor.rehearsal.keys import short
from governor.routing import AUTO
from governor.story.choosing import counts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.policy import Policies
    from governor.policy.conditions import Band, Condition
    from governor.policy.routes import Routes
    from governor.policy.shape import PolicyFile
    from governor.rehearsal.explanation import Explanation
    from governor.rehearsal.people import TierBook

SOMEBODY = "somebody@example.com"
"""Who stands for everybody whom no file names."""

Which = tuple[str, str, int]
"""Which rule: `mark`, `limit`, `floor`, `keep`, `warn`, `choose` or `band`; of which budget or department; at
how much."""


@dataclass(frozen=True, slots=True)
class RoutingGoal:
    """A rule of routing to reach, and a way to reach it.

    Attributes:
        which: What tells it from others.
        place: File and line it is written at.
        about: The rule in words.
        who: Somebody whom it concerns.
        complexity: How hard a request must be; `None`: it does not matter.
        load: How busy the API must be, percent.
        spent: How much must be spent of the budget *key*, percent; 0: nothing.
        key: Its short name; '' where none is needed.
    """

    which: Which
    place: str
    about: str
    who: Attribution
    complexity: int | None = None
    load: int = 0
    spent: int = 0
    key: str = ""


def routing_goals(policies: Policies, file: PolicyFile, book: TierBook) -> Iterator[RoutingGoal]:
    """The goals of a department's routing."""
    policy: Any = file.policy
    who = Attribution(policy.department, _somebody(policy, book))
    routes = policies.rules(who).routes
    yield from _choices(policies, file, routes, who)
    if routes.default == AUTO:
        yield from _bands(file, routes, who)


def reached(told: Explanation, department: str) -> Iterator[Which]:
    """The rules of routing that a decision went by."""
    if told.decision is not None:
        yield _choice(department, told.decision.tier_why)
    if told.band:
        yield _band(department, told.band)


def _choice(department: str, rule: str) -> Which:
    return "choose", f"{department} {rule}", 0


def _band(department: str, line: str) -> Which:
    return "band", f"{department} {line}", 0


def _choices(policies: Policies, file: PolicyFile, routes: Routes, who: Attribution) -> Iterator[RoutingGoal]:
    terms = policies.budgets(who, ())
    usd = next((term for term in reversed(terms) if counts(term)), None)
    key = "" if usd is None else short(usd.identity, [term.identity for term in terms])
    for index, (condition, tier) in enumerate(routes.choose):
        spent, load = _when(routes, index) or (0, 0)
        rule = "else" if condition is None else condition.text
        yield RoutingGoal(
            _choice(who.department, rule),
            _place(file, ("routing", "choose", index)),
            f"routing.choose: {tier} {'where nothing else holds' if condition is None else f'where {rule}'}",
            who,
            load=load,
            spent=spent,
            key=key if spent else "",
        )


def _bands(file: PolicyFile, routes: Routes, who: Attribution) -> Iterator[RoutingGoal]:
    for line, band in routes.complexity.items():
        yield RoutingGoal(
            _band(who.department, line),
            _place(file, ("routing", "complexity", line)),
            f"routing.complexity: {line} for {band.text}",
            who,
            complexity=_inside(band),
        )


def _inside(band: Band) -> int:
    return next((value for value in range(11) if band.holds(value)), band.high)


def _when(routes: Routes, index: int) -> tuple[int, int] | None:
    """How much must be spent and how busy the API must be, in percent, for the rule to be what chooses."""
    conditions = [condition for condition, _ in routes.choose]
    for spent, load in product(_percents(conditions, "budget"), _percents(conditions, "load")):
        shares = Shares(Fraction(spent, 100), Fraction(load, 100))
        first = next(i for i, one in enumerate(conditions) if one is None or one.holds(shares))
        if first == index:
            return spent, load
    return None


def _percents(conditions: list[Condition | None], name: str) -> list[int]:
    """Percentages at which, and beside which, conditions turn."""
    marks = (int(mark * 100) for one in conditions if one is not None for mark in one.marks(name))
    found = {0, 100, *(percent + by for percent in marks for by in (-1, 0, 1))}
    return sorted(percent for percent in found if 0 <= percent <= 100)


def _place(file: PolicyFile, path: tuple[object, ...]) -> str:
    line, _ = file.document.place(path)
    return f"{file.name}:{line}"


def _somebody(policy: Any, book: TierBook) -> str:
    """A user who may ask."""
    name = next(iter(policy.users or {"*": None}), "*")
    told = next(iter(sorted(filter(None, policy.user_tiers))), None)
    if name == "*" and policy.asks_application and told is not None:
        name = f"{told}@example.com"
        book.write(name, policy.department, told)
    return SOMEBODY if name == "*" else str(name)
