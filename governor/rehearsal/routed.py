"""What two policies say of routing, compared: which line `auto` stands for, and what else is done. Pure.

The line depends on how full the budgets are, the load, how long the prompt is and how hard. Conditions,
contexts and bands turn at known numbers, so all ways in which they can turn out are tried.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

from governor.policy.conditions import Shares
from governor.policy.routes import TIERS
from governor.rehearsal.differences import Difference, Way, together
from governor.routing import Complexity, rank, roomy
from governor.story.choosing import in_tier
from governor.story.route import Route

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from governor.policy import Attribution, Rules
    from governor.policy.routes import TierTerms

CHOOSING = ("choose", "complexity", "tiers")
"""What the line that `auto` stands for comes from."""
APART = (*CHOOSING, "shrink", "cached_answers", "defer", "load", "successors", "value")
"""Keys of `routing` that are compared here."""

_REFUSED = -1
_HALVES = 21
_BEYOND = Fraction(3, 2)


def of_lines(old: Rules, new: Rules) -> Way:
    """Which way the line goes that `auto`, or a named tier, stands for; neither, where that is not all."""
    if set(old.lines) != set(new.lines) or old.routes.quality or new.routes.quality:
        return Way.NEITHER if _chosen_by(old) != _chosen_by(new) else Way.SAME
    found, then, now = [], _ranks(old), _ranks(new)
    for one in _circumstances(old, new):
        before, after = then(*one), now(*one)
        if before != after:
            found.append(Way.TIGHTER if after < before else Way.LOOSER)
    return together(found)


def turns_back(rules: Rules) -> bool:
    """Whether a fuller budget may mean a dearer line, or that work is not deferred any more."""
    routes, rank_of = rules.routes, _ranks(rules)
    budgets, loads = (_between([rules], name) for name in ("budget", "load"))
    for load, tokens, value in product(loads, _lengths([rules]), _complexities()):
        ranks = [rank_of(None, budget, load, tokens, value) for budget in budgets]
        if any(after > before for before, after in pairwise(ranks)):
            return True
    defer = routes.defer
    if defer is None:
        return False
    marks = sorted({*budgets, *_spread(defer.marks("budget"), _BEYOND)})
    return any(
        defer.holds(Shares(before, load)) and not defer.holds(Shares(after, load))
        for load in _spread(defer.marks("load"), Fraction(1))
        for before, after in pairwise(marks)
    )


def of_routing(old: Any, new: Any, lines: Way, who: Attribution) -> Iterator[Difference]:
    """What two files say of routing otherwise; *lines* is which way the lines go, for all users together."""
    for key in APART:
        before, after = getattr(old, key), getattr(new, key)
        if before == after:
            continue
        way = _way(key, before, after)
        if key in CHOOSING and lines is not Way.SAME:
            way = lines
        beside = ", cannot be compared" if way is Way.NEITHER else ""
        for text in _told(key, before, after):
            yield Difference(f"routing.{text}{beside}", way, who)


def _shrink(before: Any, after: Any) -> Way:
    """A call that is made smaller would have been refused: the smaller, the looser."""
    if before is None or after is None:
        return Way.LOOSER if before is None else Way.TIGHTER
    return Way.LOOSER if after.min_tokens < before.min_tokens else Way.TIGHTER


def _answers(before: Any, after: Any) -> Way:
    """A refused call that is answered from before: the older the answer may be, the looser."""
    if before is None or after is None:
        return Way.LOOSER if before is None else Way.TIGHTER
    return Way.LOOSER if after.max_age > before.max_age else Way.TIGHTER


def _defer(before: Any, after: Any) -> Way:
    """What is deferred is not served now."""
    if before is None or after is None:
        return Way.TIGHTER if before is None else Way.LOOSER
    return Way.NEITHER


_ORDERS = {"shrink": _shrink, "cached_answers": _answers, "defer": _defer}


def _way(key: str, before: Any, after: Any) -> Way:
    order = _ORDERS.get(key)
    return Way.NEITHER if order is None else order(before, after)


def _told(key: str, before: Any, after: Any) -> Iterator[str]:
    """A change as it is told: of what has parts, each part."""
    old, new = _words(before), _words(after)
    if isinstance(old, str) or isinstance(new, str):
        yield f"{key}: {_flat(old)} → {_flat(new)}"
        return
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) != new.get(name):
            yield f"{key}.{name}: {old.get(name, 'nothing')} → {new.get(name, 'nothing')}"


def _words(value: Any) -> dict[str, str] | str:
    if value is None:
        return "nothing"
    if isinstance(value, list):
        told = (f"{one.tier} if {one.when}" if one.when else f"{one.tier}" for one in value)
        return "; ".join(told) or "nothing"
    said = value if isinstance(value, dict) else value.model_dump(mode="json", exclude_none=True)
    found: dict[str, str] = {}
    for name, part in said.items():
        inner = part if isinstance(part, dict) else {"": part}
        found |= {".".join(filter(None, (str(name), key))): str(one) for key, one in inner.items()}
    return found


def _flat(words: dict[str, str] | str) -> str:
    return words if isinstance(words, str) else ", ".join(f"{key} {value}" for key, value in words.items())


def _chosen_by(rules: Rules) -> tuple[Any, ...]:
    routes = rules.routes
    return routes.tiers, routes.choose, routes.complexity, rules.user_tier == "premium"


def _circumstances(old: Rules, new: Rules) -> Iterable[tuple[str | None, Fraction, Fraction, int, float]]:
    """A named tier or none, the fullest budget, the load, the prompt's tokens and the complexity."""
    budgets, loads = (_between([old, new], name) for name in ("budget", "load"))
    lengths, values = _lengths([old, new]), _complexities()
    yield from product((None,), budgets, loads, lengths, values)
    yield from product(TIERS, (Fraction(0),), (Fraction(0),), lengths, values)


def _ranks(rules: Rules) -> Callable[[str | None, Fraction, Fraction, int, float], int]:
    """What tells the rank of the line that `auto` stands for; `_REFUSED` where the named tier is not there.

    Budget and load choose the tier, the prompt and its complexity the line in it: each is asked once.
    """
    routes = rules.routes

    @cache
    def tier_of(named: str | None, budget: Fraction, load: Fraction) -> str | None:
        tier = routes.tiers.get(named) if named else routes.tier_for(Shares(budget, load))[0]
        return None if tier is None else tier.name

    @cache
    def line_in(tier: str, tokens: int, value: float) -> int:
        fits: TierTerms = roomy(routes.tiers[tier], list(routes.tiers.values()), tokens)
        hard = Complexity(value, ()) if routes.complexity else None
        return rank(in_tier(Route(fits, complexity=hard), fits, "", rules).line)

    def rank_of(named: str | None, budget: Fraction, load: Fraction, tokens: int, value: float) -> int:
        tier = tier_of(named, budget, load)
        return _REFUSED if tier is None else line_in(tier, tokens, value)

    return rank_of


def _between(rules: Sequence[Rules], name: str) -> list[Fraction]:
    conditions = (condition for one in rules for condition, _ in one.routes.choose if condition is not None)
    marks = {mark for condition in conditions for mark in condition.marks(name)}
    return _spread(marks, _BEYOND if name == "budget" else Fraction(1))


def _spread(marks: Iterable[Fraction], highest: Fraction) -> list[Fraction]:
    """Each mark, and one share between each two of them."""
    ends = sorted({Fraction(0), highest, *marks})
    return sorted({*ends, *((low + high) / 2 for low, high in pairwise(ends))})


def _lengths(rules: Sequence[Rules]) -> list[int]:
    """A prompt for each context, and one that is longer."""
    contexts = {tier.context or 0 for one in rules for tier in one.routes.tiers.values()}
    return sorted({0, *contexts, *(context + 1 for context in contexts)})


@cache
def _complexities() -> tuple[float, ...]:
    return tuple(half / 2 for half in range(_HALVES))
