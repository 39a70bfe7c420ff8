"""A first tests file for a policy file: it passes, and reaches every threshold."""

from __future__ import annotations

import json
import re
from datetime import datetime
from itertools import chain, count, groupby
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from governor.budgets import Unit, window_at
from governor.ledger.admission import mark
from governor.ledger.commands import FULL_MARK_BP
from governor.money import Money
from governor.rehearsal.explanation import shadow_of
from governor.rehearsal.given import Given
from governor.rehearsal.goals import Goal, reached
from governor.rehearsal.keys import short
from governor.rehearsal.language import AT, INPUT_TOKENS, MAX_TOKENS
from governor.rehearsal.routing_goals import RoutingGoal
from governor.rehearsal.runner import instant_ms
from governor.rehearsal.stage import Stage, made_up, usual_max_tokens
from governor.story.decision import show

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from governor.policy import Attribution, Policies
    from governor.policy.shape import PolicyFile
    from governor.pricing import PriceTable
    from governor.rehearsal.explanation import Explanation

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_@./=%+-]*|[0-9]+(\.[0-9]+)?%?")
_HEAD = 2
"""Lines of a series before its first step."""

_WORDS = {"true", "false", "null"}


def of_file(file: PolicyFile, wanted: Sequence[Goal | RoutingGoal]) -> list[Goal | RoutingGoal]:
    """The goals that are written in one policy file."""
    return [goal for goal in wanted if goal.place.rpartition(":")[0] == file.name]


def starter(
    policies: Policies, prices: PriceTable, file: PolicyFile, wanted: Sequence[Goal | RoutingGoal]
) -> str:
    """The text of a first tests file for *file*.

    Args:
        policies: The policies it is among.
        prices: The price table.
        file: What is tested.
        wanted: Its goals; one that cannot be reached with a plain request is left out.
    """
    department: str | None = getattr(file.policy, "department", None)
    stage = Stage(policies, prices, instant_ms(AT, file.policy.timezone))
    name = file.name.replace("\\", "/").rpartition("/")[2]
    blocks = [f"# Tests of {name}: run them with `governor policy test`.\nversion: 1\ntests:"]
    named: set[str] = set()
    of_budgets = [goal for goal in wanted if isinstance(goal, Goal)]
    refusing = [goal for goal in of_budgets if goal.which[0] != "warn"]
    blocks += filter(None, (_request(stage, goal, department, named) for goal in refusing))
    routing = [goal for goal in wanted if isinstance(goal, RoutingGoal)]
    blocks += filter(None, (_routed(stage, goal, department, named) for goal in routing))
    warning = [goal for goal in of_budgets if goal.which[0] == "warn"]
    for _, group in groupby(warning, key=lambda goal: goal.term.identity):
        blocks.append(_series(stage, list(group), department, named))
    return "\n\n".join(blocks).replace("tests:\n\n", "tests:\n", 1) + "\n"


def _name(about: str, goal: Goal | RoutingGoal, named: set[str]) -> str:
    """The name of a test; where there is one of that name already, with the budget's limit."""
    limit = f"{about}, of {show(goal.term.unit, goal.term.limit)}" if isinstance(goal, Goal) else about
    numbers = (f"{limit} ({number})" for number in count(2))
    name = next(each for each in chain((about, limit), numbers) if each not in named)
    named.add(name)
    return _scalar(name)


def _request(stage: Stage, goal: Goal, department: str | None, named: set[str]) -> str:
    """A test whose request the goal's rule refuses, and that expects what then comes of it."""
    filled = {goal.key: _share(goal)}
    given = "held" if goal.term.unit is Unit.CONCURRENT else "spent"
    most = usual_max_tokens(stage.house.policies, goal.who, MAX_TOKENS)
    request = made_up(goal.who, model=goal.model, input_tokens=INPUT_TOKENS, max_tokens=most)
    at = _begins(goal)
    stage.now_ms = instant_ms(at or AT, goal.term.timezone)
    told = stage.explain(request, Given(**{given: filled}))  # type: ignore[arg-type]
    if goal.which not in set(reached(told, goal.who.department)):
        return ""
    asked = {**_who(stage.house.policies, goal.who, department), "model": goal.model}
    lines = (
        f"  - name: {_name(goal.about, goal, named)}",
        *([f"    at: {at}"] if at else []),
        f"    {given}: {_flow(filled)}",
        f"    request: {_flow(asked)}",
        f"    expect: {_flow(dict(_expected(goal, told)))}",
    )
    return "\n".join(lines)


def _routed(stage: Stage, goal: RoutingGoal, department: str | None, named: set[str]) -> str:
    """A test whose request goes by the goal's rule, and expects the tier and the line that then serve."""
    filled = {goal.key: f"{goal.spent}%"} if goal.spent else {}
    most = usual_max_tokens(stage.house.policies, goal.who, MAX_TOKENS)
    request = made_up(
        goal.who,
        input_tokens=INPUT_TOKENS,
        max_tokens=most,
        complexity=goal.complexity,
        load_bp=goal.load * 100,
    )
    stage.now_ms = instant_ms(AT, stage.house.policies.files[0].policy.timezone)
    told = stage.explain(request, Given(filled))
    if told.decision is None or goal.which not in set(reached(told, goal.who.department)):
        return ""
    asked = _who(stage.house.policies, goal.who, department)
    if goal.complexity is not None:
        asked["complexity"] = goal.complexity
    lines = (
        f"  - name: {_name(goal.about, goal, named)}",
        *([f"    spent: {_flow(filled)}"] if filled else []),
        *([f"    load: {goal.load}%"] if goal.load else []),
        f"    request: {_flow(asked)}",
        f"    expect: {_flow({'tier': told.decision.tier, **_served(told)})}",
    )
    return "\n".join(lines)


def _served(told: Explanation) -> dict[str, str]:
    line = None if told.decision is None else told.decision.line
    return {"decision": told.outcome} if line is None else {"line": line}


def _expected(goal: Goal, told: Explanation) -> Iterator[tuple[str, str]]:
    yield "decision", told.outcome
    if told.decision is None:
        return
    if told.decision.line is not None:
        yield "line", told.decision.line
    if told.binding is not None:
        yield "budget", short(told.binding, [view.identity for view in told.decision.budgets])
    would = shadow_of(told.decision)
    if would is not None:
        yield "shadow", would
    kind, _, amount = goal.which
    words = {"mark": f"{amount / 100:g} %", "floor": f"all but {Money(amount)}", "keep": "are kept for"}
    why = words.get(kind)
    if why is not None and why in told.reason:
        yield "reason", why


def _series(stage: Stage, group: Sequence[Goal], department: str | None, named: set[str]) -> str:
    """A test in which one budget fills up, warning after warning."""
    key = group[0].key
    lines = [f"  - name: {_name(f'{key} warns', group[0], named)}", "    steps:"]
    for goal in sorted(group, key=lambda goal: goal.which[2]):
        share = f"{goal.which[2] / 100:g}%"
        model = {"model": goal.model} if goal.term.model is not None else {}
        at = _begins(goal)
        when = {"at": at} if at and len(lines) == _HEAD else {}
        step = {
            **when,
            **_who(stage.house.policies, goal.who, department),
            **model,
            "spent": {key: share},
            "warns": [f"{key} {share}"],
        }
        lines.append(f"      - {_flow(step)}")
    return "\n".join(lines)


def _begins(goal: Goal) -> str:
    """Of a paced budget, when its window begins, so that pace holds no step back; of any other, ''."""
    if not goal.term.paced:
        return ""
    zone = goal.term.timezone
    window = window_at(goal.term.period, zone, instant_ms(AT, zone))
    return f"{datetime.fromtimestamp(window.start_ms / 1000, ZoneInfo(zone)):%Y-%m-%dT%H:%M}"


def _share(goal: Goal) -> str:
    """Where the goal's rule stands: a share of the limit if it is one, else an amount."""
    kind, _, amount = goal.which
    bp = amount if kind in ("mark", "keep") else FULL_MARK_BP
    if goal.top == mark(goal.term.limit, bp):
        return f"{bp / 100:g}%"
    return str(Money(goal.top)).removeprefix("$").replace(",", "").removesuffix(".00")


def _who(policies: Policies, who: Attribution, department: str | None) -> dict[str, Any]:
    told = policies.directory(who.user, who.department) if policies.directory is not None else None
    named = {"department": None if who.department == department else who.department}
    named |= {"user": who.user, "feature": who.feature, "run": who.run, "priority": who.priority}
    named |= told or {}
    said: dict[str, Any] = {key: value for key, value in named.items() if value is not None}
    return {**said, "tags": dict(who.tags)} if who.tags else said


def _flow(value: object) -> str:
    """A value in YAML's flow style."""
    if isinstance(value, dict):
        pairs: Mapping[str, object] = value
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(inner)}" for key, inner in pairs.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(str(value))


def _scalar(text: str) -> str:
    plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    return text if plain else json.dumps(text, ensure_ascii=False)
