"""Models that are retired, or that nobody knows: what takes their place, and that it is told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from governor.routing import AUTO, LINES
from governor.story.decision import ModelReplaced
from governor.story.effects import Notify

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.policy import Rules
    from governor.routing import Candidate
    from governor.story.books import Story
    from governor.story.request import House, Request


def heir(house: House, request: Request, rules: Rules) -> Story:
    """The request, asking for the successor of a model that is gone; returns it.

    A successor is the policy's (`routing.successors`); of a retired model of which it says nothing, the
    policy's model of its line. What is pinned, or has no successor, stays as it is: it is refused here if it
    has no price, or by the API.
    """
    name = request.asked
    if name == AUTO or name in LINES or rules.shadow:
        return request
    why = gone(house, name)
    if not why:
        yield from _warn_of(house, name)
        return request
    successor = None if request.pin else successor_of(house, rules, name)
    if successor is None:
        return request
    yield from tell(house, name, successor, why)
    return replace(request, asked=successor, gone=name)


def living(house: House, request: Request, rules: Rules, candidates: Sequence[Candidate]) -> Story:
    """The candidates with each retired one's successor in its place; returns them.

    One without a successor is left out where there are others. What the caller named itself was `heir`'s.
    """
    if rules.shadow or request.pin:
        return tuple(candidates)
    found: dict[str, Candidate] = {}
    lost = ""
    for one in candidates:
        why = "" if one.model == request.named else gone(house, one.model)
        successor = successor_of(house, rules, one.model) if why else None
        if not why:
            yield from _warn_of(house, one.model)
            found.setdefault(one.priced_as, replace(one, why=lost) if lost and not found else one)
        elif successor is not None:
            yield from tell(house, one.model, successor, why)
            line = next((line for line, model in rules.lines.items() if model == successor), one.line)
            canonical, told = house.prices.canonical(successor), f"the successor of {one.model}"
            new = replace(one, line=line, model=successor, priced_as=canonical, why=told)
            found.setdefault(canonical, new)
        else:
            lost = f"instead of {one.model}: {why}"
    return tuple(found.values()) or tuple(candidates)


def successor_of(house: House, rules: Rules, name: str) -> str | None:
    """The model that takes the place of *name*, which is gone; `None` where the policy has none."""
    seen = {name}
    while name in rules.successors:
        name = rules.successors[name]
        name = rules.lines.get(name, name)
        if name in seen:
            return None
        if not gone(house, name):
            return name
        seen.add(name)
    line = house.prices.line_of(name) if house.prices.knows(name) else ""
    same = rules.lines.get(line)
    return same if same is not None and same not in seen and not gone(house, same) else None


def gone(house: House, name: str) -> str:
    """Why a model cannot be asked for; '' if it can."""
    if not house.prices.knows(name):
        return "it has no price"
    if not house.prices.retired(name, house.clock.now_ms()):
        return ""
    day = house.prices.model(name).retires
    return "it is retired" if day is None else f"it was retired on {day}"


def _warn_of(house: House, name: str) -> Story:
    """Say so where a model that is asked for will soon be gone."""
    day = house.prices.retires_soon(name, house.clock.now_ms())
    if day is not None:
        yield from tell(house, name, None, f"it will be retired on {day}")


def tell(house: House, model: str, successor: str | None, why: str) -> Story:
    """Tell once in a process of a model that is gone, or soon will be."""
    event = ModelReplaced(model, successor, why)
    if event.key not in house.told:
        house.told.add(event.key)
        yield Notify(event)
