"""Which thresholds a policy has, and which of them tests have reached.

A goal is one rule that can change what becomes of a request: of one budget a mark, the limit, a floor, or a
warning; of routing a rule that chooses a tier, or a band of complexity. It is reached by a test that sees it
act: a candidate refused by it, the warning told, the tier chosen, a request as hard as the band.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.budgets import Unit
from governor.ledger.admission import mark
from governor.ledger.commands import FULL_MARK_BP
from governor.money import Money
from governor.policy import Attribution
from governor.rehearsal.keys import short
from governor.rehearsal.people import TierBook
from governor.rehearsal.routing_goals import SOMEBODY, RoutingGoal, Which, routing_goals
from governor.rehearsal.routing_goals import reached as routing_goals_reached
from governor.story.decision import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from governor.policy import BudgetRow, BudgetTerm, Policies
    from governor.policy.schema import DepartmentPolicy, Feature, User
    from governor.policy.shape import PolicyFile
    from governor.pricing import PriceTable
    from governor.rehearsal.explanation import Explanation, Need
    from governor.story.decision import ThresholdCrossed


@dataclass(frozen=True, slots=True)
class Goal:
    """One rule to reach, and a way to reach it.

    Attributes:
        which: What tells it from others.
        place: File and line it is written at: `policies/engineering.yaml:8`.
        about: The rule in words: `department/month: opus may fill it to 80 %`.
        who: Somebody whom it concerns.
        model: The line or model to ask for.
        term: The budget as *who* touches it.
        top: Where the rule stands, in the budget's unit.
        key: The budget's short name, among those that *who* touches.
    """

    which: Which
    place: str
    about: str
    who: Attribution
    model: str
    term: BudgetTerm
    top: int
    key: str


def goals(policies: Policies, prices: PriceTable) -> list[Goal | RoutingGoal]:
    """Every goal of these policies, each once, in the order of the files.

    Of a department whose users the application tells of, somebody of every tier is made up.
    """
    policies.directory = book = TierBook()
    found: dict[Which, Goal | RoutingGoal] = {}
    for row in policies.all_terms():
        for file in policies.files:
            department = getattr(file.policy, "department", None)
            if department is None or row.department not in (None, department):
                continue
            for who in _people(row, file.policy, book):  # type: ignore[arg-type]
                for goal in _goals(policies, prices, row, file, who):
                    found.setdefault(goal.which, goal)
    for file in policies.files:
        if hasattr(file.policy, "department"):
            found |= {goal.which: goal for goal in routing_goals(policies, file, book)}
    return list(found.values())


def reached(told: Explanation, department: str) -> Iterator[Which]:
    """What a decision has reached: rules of routing, and those that refuse a candidate or would."""
    yield from routing_goals_reached(told, department)
    for weight, need in told.needs():
        if need.said == "contended":
            yield _contended(need)
        elif need.said == "exhausted":
            yield _exhausted(need, weight.candidate.line, department)


def warned(term: BudgetTerm, crossing: ThresholdCrossed) -> Which:
    """What a warning has reached."""
    return ("warn", _name(term), crossing.percent * 100)


def _exhausted(need: Need, line: str, department: str) -> Which:
    """The rule that keeps a candidate from what is not spent yet."""
    if need.by == "mark":  # of a paced budget, as it is written and not as it is now
        return ("mark", _name(need.term), need.term.caps.get(line, need.mark_bp))
    if need.by == "floor":
        return ("floor", department, need.floor)
    if need.by == "keep":
        return ("keep", _name(need.term), need.share_bp)
    return ("limit", _name(need.term), need.term.limit)


def _contended(need: Need) -> Which:
    """The rule that keeps a candidate from what is held: the limit, or the share of it."""
    if need.share_bp == FULL_MARK_BP:
        return ("limit", _name(need.term), need.term.limit)
    return ("mark" if need.by == "mark" else "keep", _name(need.term), need.share_bp)


def _name(budget: BudgetTerm | BudgetRow) -> str:
    """What tells one budget of the files from another, whoever touches it."""
    return f"{budget.source} {budget.scope} {budget.unit} {budget.period} {budget.limit}"


def _goals(
    policies: Policies, prices: PriceTable, row: BudgetRow, file: PolicyFile, who: Attribution
) -> Iterator[Goal]:
    rules = policies.rules(who)
    lines = {
        line: model for line, model in rules.lines.items() if line in (rules.feature_lines or rules.lines)
    }
    named = row.names.get("model")
    asked = {prices.model(named).line: named} if named is not None else {line: line for line in lines}
    ids = [prices.model(name).id for name in (*([named] if named else []), *rules.lines.values())]
    terms = policies.budgets(who, tuple(dict.fromkeys(ids)))
    identities = [term.identity for term in terms]
    for line, model in asked.items():
        term = _term(terms, row, prices.model(rules.lines.get(model, model)).id)
        if term is not None:
            key = short(term.identity, identities)
            yield _rule(file, who, line, model, term, key)
            if row.unit is not Unit.CONCURRENT:  # of calls in flight nothing is ever spent
                yield from _warnings(who, model, term, key)


def _term(terms: Sequence[BudgetTerm], row: BudgetRow, model: str) -> BudgetTerm | None:
    return next((t for t in terms if _name(t) == _name(row) and t.model in (None, model)), None)


def _rule(file: PolicyFile, who: Attribution, line: str, model: str, term: BudgetTerm, key: str) -> Goal:
    """The rule that bounds how far *line* may fill the budget, where pace holds nothing back."""
    bp, floor = term.caps.get(line, FULL_MARK_BP), term.floors.get(line, 0)
    tops = {
        "limit": term.limit,
        "keep": mark(term.limit, term.share_bp),
        "mark": mark(term.limit, bp),
        "floor": term.limit - floor,
    }
    kind = min(tops, key=lambda name: tops[name])  # of equals the first, as a refusal says it
    name, place = _name(term), term.source
    if kind == "limit":
        which, about = ("limit", name, term.limit), f"the limit, {show(term.unit, term.limit)}"
    elif kind == "keep":
        which, about = ("keep", name, term.share_bp), f"what is kept for {', '.join(term.kept_for)}"
    elif kind == "mark":
        which, about = ("mark", name, bp), f"{line} may fill it to {bp / 100:g} %"
    else:
        which, about = ("floor", who.department, floor), f"{line} only above {Money(floor)} left"
        place = _floor_place(file, line, floor)
    return Goal(which, place, f"{key}: {about}", who, model, term, tops[kind], key)


def _floor_place(file: PolicyFile, line: str, floor: int) -> str:
    """Where a floor is written; a line's may be that of a line below it."""
    policy: DepartmentPolicy = file.policy  # type: ignore[assignment]
    written: dict[str, int] = {str(name): nanos for name, nanos in policy.routing.floors.items()}
    named = next((name for name in (line, *written) if written.get(name) == floor), line)
    at, _ = file.document.place(("routing", "floors", named), on_key=True)
    return f"{file.name}:{at}"


def _warnings(who: Attribution, model: str, term: BudgetTerm, key: str) -> Iterator[Goal]:
    for step in term.warn_steps:
        about = f"{key}: warns at {step / 100:g} %"
        top = mark(term.limit, step)
        yield Goal(("warn", _name(term), step), term.source, about, who, model, term, top, key)


def _people(row: BudgetRow, policy: DepartmentPolicy, book: TierBook) -> Iterator[Attribution]:
    """Somebody of every tier that the budget may be for, with whatever else it counts per."""
    everybody: Mapping[str, User | None] = {} if policy.asks_application else {"*": None}
    users = policy.users or everybody
    tiers: dict[str | None, str] = {}
    for name, user in users.items():
        tier = None if user is None else user.user_tier
        tiers.setdefault(tier, SOMEBODY if name == "*" else name)
    for told in sorted(filter(None, policy.user_tiers)) if policy.asks_application else ():
        if told not in tiers:
            tiers[told] = f"{told}@example.com"
            book.write(tiers[told], policy.department, told)
    feature = row.names.get("feature") or _feature(policy.features)
    values = {scope: row.names.get(scope, "example") for scope in row.inner if scope.startswith("tag:")}
    for tier, name in tiers.items():
        for priority in (None, *row.kept_for[:1]):
            if row.user_tier in (None, tier):
                yield Attribution(
                    department=policy.department,
                    user=name,
                    feature=feature if "feature" in row.inner else None,
                    run="run-1" if "run" in row.inner else None,
                    tags=tuple(
                        sorted((scope.removeprefix("tag:"), value) for scope, value in values.items())
                    ),
                    priority=priority,
                )


def _feature(features: Mapping[str, Feature]) -> str:
    """A feature that a request may name, best one that may use every line."""
    free = [name for name, feature in features.items() if not feature.lines]
    name = next(iter([*free, *features]), "*")
    return "example" if name == "*" else name
