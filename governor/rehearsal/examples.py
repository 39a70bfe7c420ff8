"""Requests that two policies treat differently: each decided by the real story under both. Pure.

Nothing here is asserted: a request is an example because both decisions were made, and differ.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from governor.budgets import Unit
from governor.errors import PolicyViolation
from governor.ledger import admission
from governor.ledger.commands import Balance
from governor.policy.routes import TIERS
from governor.policy.terms import FULL_BP
from governor.pricing import Unbounded
from governor.rehearsal.differences import Way
from governor.rehearsal.sides import Side
from governor.rehearsal.stage import Refusal, Stage, made_up
from governor.routing import rank

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from governor.ledger.commands import BudgetRow as LedgerRow
    from governor.policy import Attribution, BudgetRow, Policies
    from governor.pricing import PriceTable
    from governor.rehearsal.compare import Compared
    from governor.rehearsal.differences import Difference

REFUSED = -1
"""How a refused request is treated; of a served one it is the rank of its line."""

Spent = tuple[int, int]
"""What is spent and what is held."""

MOST_PROBES = 1_000
"""So many requests are tried for one change; whoever has no example by then has none."""

_SIZES = ((100, 16), (5_000, 1_000), (60_000, 4_096), (180_000, 8_192))
"""Tokens of the prompt, and `max_tokens`."""

_MOSTLY_OUTPUT = (100, 8_192)
_LEFT = tuple(1_000_000 * 2**step for step in range(13))
"""What is left of a budget, nano-dollars: from $0.001 to $4.10, each twice the one before."""


_ROUTING = ("routing.", "the line that `auto`")
_COMPLEXITIES = (0, 5, 9)
_WHOLE = 100


class Treatment(NamedTuple):
    """What policies do with a request: how dear a line serves it, and the sentence that says why."""

    rank: int
    told: str


@dataclass(frozen=True, slots=True)
class Probe:
    """A request at some balances.

    Attributes:
        who: Who asks.
        asked: `auto`, a line or a model id.
        input_tokens: Tokens of the prompt.
        max_tokens: As asked for.
        spent: By a budget's identity, what is spent and held; of every other budget nothing is.
        pin: Never swap the model.
        complexity: How hard it is, 0 to 10; `None`: as hard as a prompt of one word.
        load_bp: How busy the API is, basis points.
        tier: The tier that is asked for, or `None`.
        deferrable: Whether it can wait.
    """

    who: Attribution
    asked: str
    input_tokens: int
    max_tokens: int
    spent: Mapping[str, Spent]
    pin: bool = False
    complexity: float | None = None
    load_bp: int = 0
    tier: str | None = None
    deferrable: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """A request that is treated differently, and both treatments."""

    probe: Probe
    old: Treatment
    new: Treatment

    @property
    def way(self) -> Way:
        """Which way it is treated under the new policies."""
        return Way.LOOSER if self.new.rank > self.old.rank else Way.TIGHTER


def treat(stage: Stage, probe: Probe) -> Treatment:
    """What the stage's policies do with a request."""
    request = made_up(
        probe.who,
        model=probe.asked,
        input_tokens=probe.input_tokens,
        max_tokens=probe.max_tokens,
        pin=probe.pin,
        complexity=probe.complexity,
        load_bp=probe.load_bp,
        tier=probe.tier,
        deferrable=probe.deferrable,
    )
    try:
        told = stage.decide(request, _balances(probe.spent))
    except Unbounded as error:
        return Treatment(REFUSED, str(error))
    if isinstance(told, Refusal):
        return Treatment(REFUSED, f"refused: {told.reason}")
    return Treatment(REFUSED if told.line is None else rank(told.line), told.reason)


def _balances(spent: Mapping[str, Spent]) -> Callable[[LedgerRow], Balance]:
    return lambda row: Balance(*spent.get(row.identity, (0, 0)), row.limit)


class Examples:
    """Looks for examples of what differs between two sets of policies.

    Args:
        old: The policies before.
        new: The policies after.
        prices: The price table, the same for both.
        now_ms: When the requests are made, Unix milliseconds.
    """

    def __init__(self, old: Policies, new: Policies, prices: PriceTable, now_ms: int) -> None:
        self._policies = (old, new)
        self._stages = (Stage(old, prices, now_ms), Stage(new, prices, now_ms))

    def find(self, compared: Compared, difference: Difference) -> tuple[Example, ...]:
        """At most one example of each way that a change goes: of one that has a way, of that only."""
        wanted = {difference.way} if difference.way is not Way.NEITHER else {Way.TIGHTER, Way.LOOSER}
        found: dict[Way, Example] = {}
        for number, probe in enumerate(self._probes(compared.department, difference)):
            if number >= MOST_PROBES or wanted <= set(found):
                break
            old, new = (treat(stage, probe) for stage in self._stages)
            if old.rank != new.rank:
                example = Example(probe, old, new)
                found.setdefault(example.way, example)
        return tuple(found[way] for way in (Way.TIGHTER, Way.LOOSER) if way in found and way in wanted)

    def _probes(self, department: str, difference: Difference) -> Iterator[Probe]:
        yield from self._routed(difference)
        asked = [*self._asked(department)]
        for one in self._askers(difference.who, difference.rows):
            for tokens, most in self._sizes(difference):
                for model in asked:
                    for spent in self._spent(one, difference.rows):
                        yield Probe(one, model, tokens, most, spent)
                        if not difference.rows and model != "auto":
                            yield Probe(one, model, tokens, most, spent, pin=True)
        if not difference.rows:  # what it changes may show where little is left
            for one in self._askers(difference.who, ()):
                for spent in self._nearly_spent(one):
                    yield Probe(one, asked[-2], *_MOSTLY_OUTPUT, spent)
                    yield Probe(one, "auto", *_MOSTLY_OUTPUT, spent)

    def _routed(self, difference: Difference) -> Iterator[Probe]:
        """Of a change of routing: requests that it may show in."""
        if difference.what.startswith(_ROUTING):
            for one in self._askers(difference.who, ()):
                yield from self._for_auto(one)

    def _for_auto(self, who: Attribution) -> Iterator[Probe]:
        """Requests for `auto`, easy and hard, in every tier, at idle and busy times, with fuller budgets."""
        for tier, complexity, load in product((None, *TIERS), _COMPLEXITIES, self._turns(who, "load")):
            for input_tokens, max_tokens in (_SIZES[1], _SIZES[3]) if tier else (_SIZES[1],):
                for spent in [{}] if tier else self._fuller(who):
                    for deferrable in (False, True) if not tier else (False,):
                        yield Probe(
                            who,
                            "auto",
                            input_tokens,
                            max_tokens,
                            spent,
                            complexity=complexity,
                            load_bp=100 * load,
                            tier=tier,
                            deferrable=deferrable,
                        )

    def _fuller(self, who: Attribution) -> Iterator[Mapping[str, Spent]]:
        """Nothing spent; then of the last budget in dollars, more and more, up to next to nothing left."""
        yield {}
        policies = self._policies[0]
        rows = [
            row for row in policies.all_terms() if row.unit is Unit.USD and row.department == who.department
        ]
        for row in rows[-1:]:
            for identity in self._identities(policies, who, row):
                for percent in self._turns(who, "budget"):
                    yield {identity: (row.limit * percent // 100, 0)}
                yield {identity: (max(row.limit - _LEFT[3], 0), 0)}

    def _turns(self, who: Attribution, name: str) -> list[int]:
        """Percentages of `budget` or `load` beside which conditions of either policies turn."""
        found = {0}
        for policies in self._policies:
            with suppress(PolicyViolation):
                routes = policies.rules(who).routes
                conditions = (*(condition for condition, _ in routes.choose), routes.defer)
                marks = {mark for one in conditions if one is not None for mark in one.marks(name)}
                found |= {int(mark * 100) + by for mark in marks for by in (-1, 1)}
        return sorted(percent for percent in found if 0 <= percent <= _WHOLE)

    def _asked(self, department: str) -> Iterator[str]:
        """The lines of either, dearest first, then `auto`."""
        lines: set[str] = set()
        for policies in self._policies:
            if department in policies.departments:
                lines.update(Side(department, policies).own.routing.lines)
        yield from sorted(lines, key=rank, reverse=True)
        yield "auto"

    def _askers(self, who: Attribution, rows: tuple[BudgetRow, ...]) -> Iterator[Attribution]:
        """Who could feel it: with the feature and tags that the budgets name, and a feature that may ask."""
        names = {scope: name for row in rows for scope, name in row.names.items()}
        tags = tuple(
            sorted(
                (scope.removeprefix("tag:"), names.get(scope, "any"))
                for scope in {scope for row in rows for scope in row.scopes}
                if scope.startswith("tag:")
            )
        )
        features: list[str | None] = [who.feature] if who.feature else [*self._features(who.department), None]
        if names.get("feature"):
            features = [names["feature"]]
        for feature in features:
            yield replace(who, feature=feature, run="run-1", tags=tags)

    def _features(self, department: str) -> list[str]:
        found: dict[str, None] = {}
        for policies in self._policies:
            if department in policies.departments:
                found |= dict.fromkeys(Side(department, policies).own.features)
        found.pop("*", None)
        return [*found]

    @staticmethod
    def _sizes(difference: Difference) -> Iterator[tuple[int, int]]:
        if difference.size and "input_tokens" in difference.what:
            yield difference.size + 1, 16
        yield from _SIZES

    def _spent(self, who: Attribution, rows: tuple[BudgetRow, ...]) -> Iterator[Mapping[str, Spent]]:
        """Nothing spent; then each budget just as full as one of the policies allows."""
        if not rows:
            yield {}
        for row in rows:
            for policies in self._policies:
                if who.department not in policies.departments:
                    continue
                side = Side(who.department, policies)
                for identity in self._identities(policies, who, row):
                    for cap in sorted(set(side.caps(row, who.user)), reverse=True):
                        yield {identity: (max(cap, 0), 0)}
                    yield {identity: (0, row.limit)}
                    if row.keep_bp:
                        yield {identity: (admission.mark(row.limit, FULL_BP - row.keep_bp), 0)}

    def _nearly_spent(self, who: Attribution) -> Iterator[Mapping[str, Spent]]:
        """Each budget in dollars of the old policies with as little left as `_LEFT` has it."""
        policies = self._policies[0]
        for row in policies.all_terms():
            if row.unit is Unit.USD and row.department in (None, who.department):
                for identity in self._identities(policies, who, row):
                    for left in _LEFT:
                        yield {identity: (max(row.limit - left, 0), 0)}

    @staticmethod
    def _identities(policies: Policies, who: Attribution, row: BudgetRow) -> Iterator[str]:
        try:
            rules = policies.rules(who)
            terms = policies.budgets(who, tuple(rules.lines.values()))
        except PolicyViolation:
            return
        for term in terms:
            if (term.source, term.unit, term.period) == (row.source, row.unit, row.period):
                yield term.identity
