"""Choose the tier of a request and the line that `auto` stands for."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from governor.budgets import Unit, window_at
from governor.errors import LedgerUnavailable, PolicyViolation, nearest
from governor.ledger import commands as c
from governor.policy.conditions import Shares
from governor.routing import AUTO, Complexity, line_of
from governor.routing.lines import rank
from governor.story import books, matrix, scoring
from governor.story.orders import TIERS, by
from governor.story.route import Route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.policy import BudgetTerm, Rules
    from governor.policy.routes import TierTerms
    from governor.story.books import Story
    from governor.story.request import House, Request

PREMIUM = "premium"

_NOTHING = Fraction(0)


def route(house: House, request: Request, rules: Rules) -> Story:
    """Choose the tier of a request and the line that `auto` stands for; returns a `Route`.

    Raises:
        PolicyViolation: It asks for a tier that the policy does not have.
    """
    found = yield from _chosen(house, request, rules)
    if request.tier is not None:
        found = replace(found, tier=_asked_tier(request.tier, rules), tier_why="asked for", pressed=False)
    found = _tightened(house, request, rules, found)
    hard = None
    if goes_by_it(request.asked, rules):
        hard = given(request.complexity) or (yield from scoring.complexity_of(house, request, request.body))
    return in_tier(replace(found, complexity=hard), found.tier, found.tier_why, rules)


def _tightened(house: House, request: Request, rules: Rules, found: Route) -> Route:
    """The same, or in the tier that a standing order leaves it; a file in shadow is altered by none.

    Where the policy has no such tier, its cheapest line serves in the terms of the one that was chosen. No
    prompt is too long for it, lest a run whose context grows outgrow its order.
    """
    order = house.orders.tightest(request.who, house.clock.now_ms())
    if order is None or rules.shadow or order.setting == PREMIUM:
        return found
    tier, lower = found.tier, TIERS.index(order.setting) < TIERS.index(found.tier.name)
    if lower:
        cheapest = next(iter(rules.lines), tier.prefer)
        tier = rules.routes.tiers.get(order.setting) or replace(tier, name=order.setting, prefer=cheapest)
    if tier.name == order.setting and tier.context is not None:
        tier = replace(tier, context=None)
    lowered = lower or (rules.user_tier == PREMIUM and tier.name != "economy")
    why = f"tightened {by(order)}" if lowered else found.tier_why
    return replace(found, tier=tier, tier_why=why, pressed=lower or found.pressed, tightened=True)


def given(value: float | None) -> Complexity | None:
    """The complexity of a request of which it is known beforehand; `None` where it is not."""
    if value is None:
        return None
    points = int(value) if value == int(value) else value
    return Complexity(points, (("given", points),))


def plain(rules: Rules) -> Route:
    """How a call is served of which nothing is known: in the standard tier."""
    tier = rules.routes.tiers["standard"]
    return Route(tier, line=tier.prefer, line_why=f"the {tier.name} tier's line")


def in_tier(found: Route, tier: TierTerms, why: str, rules: Rules) -> Route:
    """The same in *tier*, with the line that `auto` stands for there."""
    line, line_why = line_of(
        tier, rules.lines, band=_band(rules, found.complexity), premium=_premium(found, rules)
    )
    if why and line_why.endswith("tier's line"):
        line_why = f"{line_why} ({why})"
    return replace(found, tier=tier, tier_why=why, line=line, line_why=line_why)


def at_most(found: Route, rules: Rules) -> Route:
    """The same with the dearest line that its tier lets a call be worth: economy's own, else any."""
    dearest = found.tier.prefer if found.tier.name == "economy" else list(rules.lines)[-1]
    return replace(found, line=dearest, line_why="the dearest line")


def load_of(house: House, rules: Rules) -> int:
    """How busy the API is, basis points: the busiest model of the lines above the cheapest.

    Of the cheapest line it is not asked, for there is nothing to relieve it by; unless it is the only one.
    """
    models = list(rules.lines.values())
    return house.traffic.load_bp(models[1:] or models)


def _asked_tier(name: str, rules: Rules) -> TierTerms:
    tier = rules.routes.tiers.get(name)
    if tier is None:
        hint = nearest(name, rules.routes.tiers)
        department = rules.attribution.department
        raise PolicyViolation(f"unknown tier {name!r} in the department {department!r}: {hint}")
    return tier


def _chosen(house: House, request: Request, rules: Rules) -> Story:
    """The tier that the policy's rules choose."""
    routes = rules.routes
    load_bp = load_of(house, rules) if request.load_bp is None else request.load_bp
    budget, age_ms = None, None
    spent: Fraction | None = _NOTHING
    wanted = request.tier is None and routes.asks("budget")
    if wanted or (request.deferrable and routes.defer_asks("budget")):
        terms = [term for term in house.policies.budgets(rules.attribution, ()) if counts(term)]
        if terms:
            budget, age_ms = yield from _fullest(house, terms)
            spent = budget
    busy = Fraction(load_bp, 10_000) if load_bp else _NOTHING
    tier, why = routes.tier_for(Shares(spent, busy))
    return Route(
        tier,
        why,
        budget=budget,
        budget_age_ms=age_ms,
        load_bp=load_bp,
        pressed=not load_bp or routes.tier_for(Shares(spent, _NOTHING))[0] is tier,
        heard=house.orders.version,
    )


def _fullest(house: House, terms: Sequence[BudgetTerm]) -> Story:
    """The largest spent share of the budgets *terms*, and its age in milliseconds.

    By what the ledger last said of them, if that is not a minute old; else it is asked. Where it does not
    answer, what it said last counts, however old; `None` twice if that is not known.
    """
    now_ms = house.clock.now_ms()
    refs = [(term.identity, window_at(term.period, term.timezone, now_ms).id) for term in terms]
    known = house.hints.balances(refs, now_ms)
    if known is None and not house.breaker.is_away:
        try:
            rows = matrix.rows_of(terms, now_ms)
            readings = yield from books.ask(house, c.Read(rows))
            house.clock.learn(readings.now_ms)
            house.hints.note(rows, readings.balances, readings.now_ms)
            known = readings.balances, 0
        except LedgerUnavailable:
            known = None
    known = known or house.hints.balances(refs, now_ms, oldest_ms=None)
    if known is None:
        return None, None
    balances, age_ms = known
    fullest = balances[0]
    for one in balances[1:]:
        if one.posted * max(fullest.limit, 1) > fullest.posted * max(one.limit, 1):
            fullest = one
    return Fraction(fullest.posted, max(fullest.limit, 1)), age_ms


def counts(term: BudgetTerm) -> bool:
    """Whether a budget is one of those that `budget` in a condition is the fullest of."""
    return term.unit is Unit.USD and not term.shadow


def goes_by_it(asked: str, rules: Rules) -> bool:
    """Whether the complexity of a request for *asked* decides anything."""
    by_name = asked != AUTO or rules.routes.default != AUTO
    by_feature = bool(rules.feature_lines) and not rules.shadow
    return bool(rules.routes.complexity) and not by_name and not by_feature


def _band(rules: Rules, hard: Complexity | None) -> tuple[str, str] | None:
    line = None if hard is None else rules.routes.line_for(hard.value)
    if hard is None or line is None:
        return None
    band = rules.routes.complexity[line]
    held = "is" if band.holds(hard.value) else "is in no line's band, the next is"
    return line, f"complexity {hard} {held} {line}'s ({band.text})"


def _premium(found: Route, rules: Rules) -> tuple[str, str] | None:
    """What a premium user is raised to: the premium tier's line; without such a tier, opus if it is there."""
    if rules.user_tier != PREMIUM or found.tightened:
        return None
    tier = rules.routes.tiers.get(PREMIUM)
    line = tier.prefer if tier else "opus"
    return (line, "a premium user's line") if tier or line in rules.lines else None


def rises(found: Route, rules: Rules, current: str) -> bool:
    """Whether a request is so much harder than *current* line's band that its conversation may move up.

    By a whole point more than the band holds, so that one that wavers at its edge stays where it is.
    """
    band = rules.routes.complexity.get(current)
    if found.complexity is None or band is None or rank(found.line) <= rank(current):
        return False
    return found.complexity.value >= band.high + 1
