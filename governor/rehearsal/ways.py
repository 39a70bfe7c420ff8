"""How a call of a journal would be routed: in which tier, to which candidates. Pure.

What a thousand calls have in common is worked out once: the rules of who asks; and for each tier, complexity
and model asked for, the candidates. All of it by the story's own rules.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from governor.clock import LedgerClock
from governor.errors import PolicyViolation, UnknownModel
from governor.policy import Attribution
from governor.policy.conditions import Shares
from governor.policy.terms import clean_id
from governor.routing import AUTO, LINES, roomy
from governor.story import succession
from governor.story.choosing import at_most, given, goes_by_it, in_tier
from governor.story.offers import by_value
from governor.story.planning import candidates_of, staying
from governor.story.request import House, bounds_of
from governor.story.route import Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.journal.calls import Began
    from governor.policy import Policies, Rules
    from governor.policy.routes import Routes, TierTerms
    from governor.pricing import Bounds, PriceTable
    from governor.routing import Candidate
    from governor.story.conversations import Standing

MOST_KEPT = 20_000
"""So many of each kind are remembered; then it begins anew."""

_DAY_MS = 86_400_000
_HALVES = 200
"""Conditions turn at whole percents: between two of them, all shares are alike."""


@dataclass(frozen=True, slots=True)
class Asker:
    """What does not depend on a single call: who asks, and for what.

    Attributes:
        rules: What the files say; `None` where they refuse whoever asks.
        refusal: Why they do; else ''.
        alike: What askers with the same candidates have in common.
        fixed: Whether all its calls go one way, whatever the budgets, the load, and how hard they are.
        by_value: Whether the line is taken by what a call is worth.
        free: Whether another model than the one asked for may serve.
    """

    rules: Rules | None
    refusal: str = ""
    alike: Any = None
    fixed: bool = False
    by_value: bool = False
    free: bool = False


@dataclass(frozen=True, slots=True)
class Way:
    """How a call is routed.

    Attributes:
        found: The tier, and what `auto` stands for in it; `None` where the files refuse.
        candidates: The models that would do, best first; none where the files refuse.
        bounds: What the rules add to a request's own bounds.
        refusal: Why the files refuse, or would if they were enforced; '' if they do not.
        told: The tier, and why it serves; '' where nothing chose it.
        stays: The candidates of conversations that go on, by where they stand.
    """

    found: Route | None = None
    candidates: tuple[Candidate, ...] = ()
    bounds: Bounds | None = None
    refusal: str = ""
    told: str = ""
    stays: dict[Any, tuple[Candidate, ...]] = field(default_factory=dict)


class Ways:
    """Finds how calls are routed under policies and prices."""

    def __init__(self, policies: Policies, prices: PriceTable) -> None:
        self._at_ms = 0
        self._house = House(policies, prices, LedgerClock(lambda: self._at_ms))
        self._askers: dict[Any, Asker] = {}
        self._ways: dict[Any, Way] = {}
        self._tiers: dict[Any, tuple[TierTerms, str, bool]] = {}
        self._dead: dict[tuple[int, int], tuple[str, ...]] = {}
        self._gone: dict[tuple[str, int], bool] = {}

    def asker(self, call: Began) -> Asker:
        """Who asks: of runs, only odd ones make a difference."""
        who = call.who
        run = None if who[3] is None or clean_id(who[3]) else who[3]
        key = (*who[:3], run, who[4], call.asked, call.pin, call.tier, self._is_gone(call))
        found = self._askers.get(key)
        if found is None:
            _make_room(self._askers)
            found = self._askers[key] = self._find_asker(call)
        return found

    def way(self, call: Began, asker: Asker, rules: Rules, spent_bp: Callable[[], int]) -> Way:
        """How a call is routed.

        Args:
            call: The call.
            asker: Who asks.
            rules: What the files say of it.
            spent_bp: Says how much is spent of its fullest usd budget, in half percents; see `half_percents`.
        """
        if asker.fixed:
            return self._kept(call, asker, rules, rules.routes.tiers["standard"], "", pressed=True)
        routes = rules.routes
        if call.tier is not None:
            tier, why, pressed = routes.tiers.get(call.tier), "asked for", False
            if tier is None:
                return Way(refusal=f"unknown tier {call.tier!r} in the department {call.who[0]!r}")
        else:
            spent = spent_bp() if routes.asks("budget") else 0
            tier, why, pressed = self._tier(routes, spent, half_percents(call.load_bp, 10_000))
        if tier.context is not None and call.input_tokens > tier.context:
            other = roomy(tier, list(routes.tiers.values()), call.input_tokens)
            if other is not tier:
                tier, why = other, f"above the {tier.name} tier's context"
        return self._kept(call, asker, rules, tier, why, pressed=pressed)

    def staying(self, call: Began, way: Way, rules: Rules, standing: Standing) -> tuple[Candidate, ...]:
        """The candidates of a conversation that goes on."""
        key = (standing.asked, standing.model, standing.line, standing.moves > 0)
        found = way.stays.get(key)
        if found is None:
            found = way.candidates
            if way.found is not None:
                found = staying(rules, self._house.prices, way.found, found, standing)
            found = way.stays[key] = self._living(call, rules, found)
        return found

    def _tier(self, routes: Routes, spent: int, load: int) -> tuple[TierTerms, str, bool]:
        key = (id(routes), spent, load)
        found = self._tiers.get(key)
        if found is None:
            _make_room(self._tiers)
            budget = Fraction(spent, _HALVES)
            tier, why = routes.tier_for(Shares(budget, Fraction(load, _HALVES)))
            idle, _ = routes.tier_for(Shares(budget, Fraction(0)))
            found = self._tiers[key] = (tier, why, idle is tier)
        return found

    def _kept(
        self, call: Began, asker: Asker, rules: Rules, tier: TierTerms, why: str, *, pressed: bool
    ) -> Way:
        dead = self._retired(call, rules.routes)
        key = (asker.alike, tier.name, why, pressed, None if asker.fixed else call.complexity, dead)
        found = self._ways.get(key)
        if found is None:
            _make_room(self._ways)
            found = self._ways[key] = self._find_way(call, asker, rules, Route(tier, why, pressed=pressed))
        return found

    def _find_asker(self, call: Began) -> Asker:
        policies = self._house.policies
        try:
            rules = policies.rules(Attribution(*call.who))
        except PolicyViolation as refused:
            return Asker(None, str(refused))
        routes, gone = rules.routes, self._is_gone(call)
        standard = routes.tiers["standard"]
        roomy_enough = standard.context is None or len(routes.tiers) == 1
        return Asker(
            rules,
            alike=(call.who[0], call.who[2], rules.user_tier, call.asked, call.pin, gone),
            fixed=call.tier is None
            and not routes.choose
            and roomy_enough
            and not goes_by_it(call.asked, rules),
            by_value=by_value(call.asked, rules, pin=call.pin),
            free=not (call.pin or rules.shadow),
        )

    def _find_way(self, call: Began, asker: Asker, rules: Rules, found: Route) -> Way:
        hard = given(call.complexity) if goes_by_it(call.asked, rules) else None
        route = in_tier(replace(found, complexity=hard), found.tier, found.tier_why, rules)
        meant = at_most(route, rules) if asker.by_value else route
        prices = self._house.prices
        try:
            candidates = candidates_of(rules, prices, self._heir(call, rules), pin=call.pin, found=meant)
            candidates = self._living(call, rules, candidates)
        except (PolicyViolation, UnknownModel) as refused:
            return Way(refusal=str(refused))
        told = f"the {route.tier.name} tier: {route.tier_why}" if route.tier_why else ""
        return Way(route, candidates, bounds_of(rules), told=told)

    def _heir(self, call: Began, rules: Rules) -> str:
        """What is asked for where the model that was is gone: its successor, if it has one."""
        if not self._is_gone(call) or call.pin or rules.shadow:
            return call.asked
        return succession.successor_of(self._house, rules, call.asked) or call.asked

    def _living(self, call: Began, rules: Rules, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """The candidates, with successors of those that are retired."""
        self._at_ms = call.at_ms
        request: Any = call  # of which only what it names, and `pin`, is asked
        story = succession.living(self._house, request, rules, candidates)
        try:
            while True:
                next(story)  # it only tells of models that are gone
        except StopIteration as done:
            found: tuple[Candidate, ...] = done.value
            return found

    def _retired(self, call: Began, routes: Routes) -> tuple[str, ...]:
        """The policy's models that are retired by the day of the call."""
        key = (id(routes), call.at_ms // _DAY_MS)
        found = self._dead.get(key)
        if found is None:
            _make_room(self._dead)
            self._at_ms = call.at_ms
            gone = (model for model in routes.lines.values() if succession.gone(self._house, model))
            found = self._dead[key] = tuple(gone)
        return found

    def _is_gone(self, call: Began) -> bool:
        """Whether the call asks for a model that is retired by its day, or has no price."""
        if call.asked == AUTO or call.asked in LINES:
            return False
        key = (call.asked, call.at_ms // _DAY_MS)
        found = self._gone.get(key)
        if found is None:
            _make_room(self._gone)
            self._at_ms = call.at_ms
            found = self._gone[key] = bool(succession.gone(self._house, call.asked))
        return found


def half_percents(amount: int, limit: int) -> int:
    """How much *amount* is of *limit*, in half percents: even at a whole percent exactly, else odd."""
    whole, rest = divmod(amount * 100, max(limit, 1))
    return 2 * whole + (rest > 0)


def _make_room(kept: dict[Any, Any]) -> None:
    if len(kept) >= MOST_KEPT:
        kept.clear()
