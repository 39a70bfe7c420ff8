"""What a department's `routing` says that cannot be meant."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise, product
from typing import TYPE_CHECKING

from governor.policy.conditions import Band, Condition, Shares
from governor.policy.shape import dotted
from governor.policy.terms import LINES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from governor.errors import Problem
    from governor.policy.schema import DepartmentPolicy, Routing
    from governor.policy.shape import PolicyFile

_BEYOND = Fraction(3, 2)
"""A share above every percentage: more than the whole may be spent."""


def routing_problems(file: PolicyFile, policy: DepartmentPolicy) -> Iterator[Problem]:
    """Floors, choices, bands, value, load and successors that cannot be meant; each with its place."""
    routing = policy.routing
    yield from _floors(file, routing)
    yield from _choices(file, routing)
    yield from _bands(file, routing)
    yield from _value(file, policy)
    yield from _load(file, routing)
    yield from _successors(file, routing)


def _floors(file: PolicyFile, routing: Routing) -> Iterator[Problem]:
    cheapest = min(routing.lines, key=LINES.index)
    if cheapest in routing.floors:
        message = f"a floor under {cheapest!r}, the cheapest line, would leave nothing to fall back to"
        yield file.document.problem(("routing", "floors", cheapest), message, "remove it", on_key=True)


def _choices(file: PolicyFile, routing: Routing) -> Iterator[Problem]:
    for index, choice in enumerate(routing.choose):
        path = ("routing", "choose", index)
        if choice.when is None and index < len(routing.choose) - 1:
            message = f"{dotted(path)} always holds, so the choices after it are never looked at"
            yield file.document.problem(path, message, "give it a `when`, or put it last")
        if choice.when is not None and index == len(routing.choose) - 1:
            message = "the last choice must always hold"
            yield file.document.problem(path, message, "end with one that has no `when`: {tier: standard}")
        if getattr(routing.tiers, choice.tier) is None:
            message = f"the tier {choice.tier!r} is not in routing.tiers"
            yield file.document.problem((*path, "tier"), message, "add it there")
    conditions = [Condition.read(choice.when) for choice in routing.choose if choice.when is not None]
    if len(conditions) >= len(routing.choose) - 1 and all(one.when for one in routing.choose[:-1]):
        yield from _never_chosen(file, conditions)


def _never_chosen(file: PolicyFile, conditions: list[Condition]) -> Iterator[Problem]:
    """Choices of which the ones before them, or their own words, leave nothing."""
    first = {_first(conditions, shares) for shares in _every(conditions)}
    for index, condition in enumerate(conditions):
        if index not in first:
            path = ("routing", "choose", index, "when")
            alone = any(condition.holds(shares) for shares in _every(conditions))
            why = "whenever it holds, a choice before it does" if alone else "no budget and load meet it"
            message = f"{condition.text!r} is never what chooses: {why}"
            yield file.document.problem(path, message, "change it, or remove the choice")


def _first(conditions: list[Condition], shares: Shares) -> int | None:
    return next((index for index, one in enumerate(conditions) if one.holds(shares)), None)


def _every(conditions: list[Condition]) -> Iterator[Shares]:
    """A budget and a load for every way in which the comparisons can turn out together."""
    budgets = _between({mark for one in conditions for mark in one.marks("budget")}, _BEYOND)
    loads = _between({mark for one in conditions for mark in one.marks("load")}, Fraction(1))
    return (Shares(budget, load) for budget, load in product(budgets, loads))


def _between(marks: Iterable[Fraction], highest: Fraction) -> list[Fraction]:
    """Each mark, and one share between each two of them, from 0 to *highest*."""
    ends = sorted({Fraction(0), highest, *marks})
    return sorted({*ends, *((low + high) / 2 for low, high in pairwise(ends))})


def _bands(file: PolicyFile, routing: Routing) -> Iterator[Problem]:
    """Bands that share a complexity, or that leave a dearer line the easier requests."""
    written: Mapping[str, str] = {str(line): text for line, text in routing.complexity.items()}
    bands = [(line, Band.read(written[line])) for line in LINES if line in written]
    tenths = [tenth / 10 for tenth in range(101)]
    for (low_line, low), (high_line, high) in pairwise(bands):
        shared = [value for value in tenths if low.holds(value) and high.holds(value)]
        if shared:
            message = f"{low_line} {low.text!r} and {high_line} {high.text!r} both hold {shared[0]:g}"
            path = ("routing", "complexity", high_line)
            yield file.document.problem(path, message, "give each complexity one line")
        elif (high.low, high.high) < (low.low, low.high):
            message = f"{high_line}, the dearer line, is for easier requests than {low_line}"
            yield file.document.problem(("routing", "complexity", high_line), message, "swap the bands")


def _value(file: PolicyFile, policy: DepartmentPolicy) -> Iterator[Problem]:
    routing = policy.routing
    if routing.value is not None:
        for line in routing.lines:
            if line not in routing.value.quality:
                message = f"routing.value.quality says nothing of {line!r}"
                yield file.document.problem(("routing", "value", "quality"), message, f"add {line}: 1 to 100")
        if not any(feature.value for feature in policy.features.values()):
            message = "routing.value is never looked at: no feature says what a call of it is worth"
            hint = "add it: features: {review: {value: 0.50}}"
            yield file.document.problem(("routing", "value"), message, hint, on_key=True)
        return
    for name, feature in policy.features.items():
        if feature.value is not None:
            message = "nothing goes by what a call is worth without the quality of the lines"
            hint = "add it: routing: {value: {quality: {haiku: 60, sonnet: 85}}}"
            yield file.document.problem(("features", name, "value"), message, hint, on_key=True)


def _load(file: PolicyFile, routing: Routing) -> Iterator[Problem]:
    throttle, opens = (int(share.removesuffix("%")) for share in (routing.load.throttle, routing.load.open))
    if opens < throttle:
        message = f"a model is left alone at {opens} %, before its requests are spaced at {throttle} %"
        path = ("routing", "load", "open" if file.document.find(("routing", "load", "open")) else "throttle")
        yield file.document.problem(path, message, "let throttle be the smaller one")


def _successors(file: PolicyFile, routing: Routing) -> Iterator[Problem]:
    """Successors in a circle; a model's own is priced, or `check` refuses it."""
    for model in routing.successors:
        path, seen, name = ("routing", "successors", model), {model}, model
        while name in routing.successors:
            name = routing.successors[name]
            if name in seen:
                message = f"{model!r} comes back to itself through its successors"
                yield file.document.problem(path, message, "name a model that is there")
                break
            seen.add(name)
