"""What a department's file says of routing, compiled once: which lines, which tier when, and under load."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from governor.policy.conditions import Band, Condition
from governor.policy.terms import LINES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.policy.conditions import Shares
    from governor.policy.schema import Routing, Tier

TIERS = ("economy", "standard", "premium")
"""Every tier there is, the most modest first."""

_UNWRITTEN = 60.0, 2
"""Silence in seconds, and retries, where no standard tier is written."""


@dataclass(frozen=True, slots=True)
class TierTerms:
    """How requests of a tier are served.

    Attributes:
        name: `premium`, `standard` or `economy`.
        prefer: The line it starts from.
        context: Input tokens above which it does not serve, or `None`.
        timeout_s: Seconds of silence after which a call is given up.
        retries: How often a failed call is sent again.
    """

    name: str
    prefer: str
    context: int | None
    timeout_s: float
    retries: int


@dataclass(frozen=True, slots=True)
class LoadTerms:
    """What becomes of requests while the API is busy.

    Attributes:
        throttle_bp: The load above which requests are spaced out, basis points.
        open_bp: The load above which a model is left alone, basis points.
        max_wait_s: Seconds that a request waits for its turn at most.
    """

    throttle_bp: int = 8_000
    open_bp: int = 9_000
    max_wait_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Routes:
    """What a file says of routing.

    Attributes:
        lines: Line to model id, cheapest first.
        default: What `model="auto"` or no model means: `auto`, a line, or a model id.
        tiers: Name to tier; there is always one called `standard`.
        choose: When which tier serves, the first that holds; without a condition it always does.
        complexity: Line to the complexities it is for, cheapest first; none: complexity is not asked.
        quality: Line to the quality of its answers in percent, where lines are taken by value.
        worth: How many times its cost a call must be worth for a line.
        load: What becomes of requests while the API is busy.
        shrink_to: The smallest `max_tokens` offered before a request is refused, or `None`.
        defer: When work that can wait is offered the Batches API, or `None`: never.
        cached_s: Seconds for which an answer may be given again in place of a refusal; 0: never.
        successors: Model id to the line or model that takes its place.
    """

    lines: Mapping[str, str]
    default: str
    tiers: Mapping[str, TierTerms]
    choose: tuple[tuple[Condition | None, str], ...] = ()
    complexity: Mapping[str, Band] = field(default_factory=dict)
    quality: Mapping[str, int] = field(default_factory=dict)
    worth: int = 1
    load: LoadTerms = LoadTerms()
    shrink_to: int | None = None
    defer: Condition | None = None
    cached_s: float = 0.0
    successors: Mapping[str, str] = field(default_factory=dict)

    def asks(self, name: str) -> bool:
        """Whether the choice of a tier may turn on the `budget`, or the `load`."""
        return any(condition is not None and condition.asks(name) for condition, _ in self.choose)

    def defer_asks(self, name: str) -> bool:
        """Whether work that can wait is deferred by the `budget`, or the `load`."""
        return self.defer is not None and self.defer.asks(name)

    def tier_for(self, shares: Shares) -> tuple[TierTerms, str]:
        """The tier that the first rule which holds chooses, and that rule as written; '' without any."""
        for condition, name in self.choose:
            if condition is None or condition.holds(shares):
                return self.tiers[name], "else" if condition is None else condition.text
        return self.tiers["standard"], ""

    def line_for(self, complexity: float) -> str | None:
        """The line whose band holds *complexity*; in a gap between bands the next above, else the last."""
        fits = [line for line, band in self.complexity.items() if band.holds(complexity)]
        above = [line for line, band in self.complexity.items() if band.low >= complexity]
        return next(iter([*fits, *above, *reversed([*self.complexity])]), None)


def routes_of(routing: Routing) -> Routes:
    """Compile what a file's `routing` says."""
    written: dict[str, str] = {str(line): model for line, model in routing.lines.items()}
    lines = {line: written[line] for line in LINES if line in written}
    tiers = {name: _terms(name, getattr(routing.tiers, name), lines) for name in TIERS}
    bands = {str(line): Band.read(text) for line, text in routing.complexity.items()}
    load, value, cached = routing.load, routing.value, routing.cached_answers
    return Routes(
        lines=lines,
        default=routing.default,
        tiers={name: tier for name, tier in tiers.items() if tier is not None},
        choose=tuple((_read(choice.when), choice.tier) for choice in routing.choose),
        complexity={line: bands[line] for line in LINES if line in bands},
        quality={str(line): percent for line, percent in value.quality.items()} if value else {},
        worth=value.at_least if value else 1,
        load=LoadTerms(_basis_points(load.throttle), _basis_points(load.open), load.max_wait),
        shrink_to=routing.shrink.min_tokens if routing.shrink else None,
        defer=_read(routing.defer.when) if routing.defer else None,
        cached_s=cached.max_age if cached else 0.0,
        successors=dict(routing.successors),
    )


def _terms(name: str, tier: Tier | None, lines: Mapping[str, str]) -> TierTerms | None:
    if tier is None:
        return TierTerms(name, _middle(lines), None, *_UNWRITTEN) if name == "standard" else None
    return TierTerms(name, tier.prefer, tier.context, tier.timeout, tier.retries)


def _read(when: str | None) -> Condition | None:
    return None if when is None else Condition.read(when)


def _basis_points(percent: str) -> int:
    return int(percent.removesuffix("%")) * 100


def _middle(lines: Mapping[str, str]) -> str:
    """What the standard tier prefers where none is written: sonnet, or the line nearest below it, or any."""
    below = [line for line in lines if LINES.index(line) <= LINES.index("sonnet")]
    return below[-1] if below else next(iter(lines))
