"""What a process has heard of the ledger's standing orders, and what follows for a request. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.budgets import Unit, span_of
from governor.ledger.orders import FREEZE_RUN, OPEN_BREAKER, SLOW, TIGHTEN
from governor.policy import BudgetTerm
from governor.story.decision import instant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.ledger.orders import Order, Reordered
    from governor.policy import Attribution
    from governor.routing import Candidate

TIERS = ("economy", "standard", "premium")
"""From the tightest on."""

FREE = 1_000_000_000_000
"""The limit of the budget by which a run is frozen: it counts, and only the freeze refuses."""


class Orders:
    """The newest that this process was told.

    Attributes:
        version: What it says of them to the ledger.
    """

    def __init__(self) -> None:
        self.version = ""
        self._all: tuple[Order, ...] = ()

    def learn(self, told: Reordered) -> None:
        """Take in the newest."""
        self._all = told.orders
        self.version = told.version  # last: a thread that reads it has these orders before it

    def terms(self, who: Attribution, now_ms: int, *, shadow: bool) -> tuple[BudgetTerm, ...]:
        """The budgets that they add to a request's own, each once; *shadow*: they only count."""
        if not self._all:
            return ()
        found: dict[str, BudgetTerm] = {}
        for order in (*self._of(FREEZE_RUN, who, now_ms), *self._of(SLOW, who, now_ms)):
            limit = FREE if order.kind == FREEZE_RUN else int(order.setting)
            known = found.get(order.identity)
            if known is None or limit < known.limit:
                found[order.identity] = _term(order, limit, shadow=shadow)
        return tuple(found.values())

    def frozen(self, who: Attribution, now_ms: int) -> Order | None:
        """The order that freezes the run of a request, or `None`."""
        return next(self._of(FREEZE_RUN, who, now_ms), None)

    def tightest(self, who: Attribution, now_ms: int) -> Order | None:
        """The order that leaves a request the worst tier, or `None`."""
        found = [one for one in self._of(TIGHTEN, who, now_ms) if one.setting in TIERS]
        return min(found, key=lambda one: TIERS.index(one.setting), default=None)

    def breaker(self, candidate: Candidate, who: Attribution, now_ms: int) -> str:
        """Why a candidate comes last, in words; '' if no order says so."""
        for order in self._of(OPEN_BREAKER, who, now_ms, candidate):
            return f"its breaker is open {by(order)}"
        return ""

    def _of(
        self, kind: str, who: Attribution, now_ms: int, candidate: Candidate | None = None
    ) -> Iterator[Order]:
        for order in self._all:
            if order.kind == kind and order.in_force(now_ms) and concerns(order, who, candidate):
                yield order


def concerns(order: Order, who: Attribution, candidate: Candidate | None = None) -> bool:
    """Whether an order is one of a request's, or of its *candidate*: all that its subject says is so."""
    said: dict[str, set[str | None]] = {
        "department": {who.department},
        "user": {who.user},
        "feature": {who.feature},
        "run": {who.run},
        **{f"tag:{name}": {value} for name, value in who.tags},
    }
    if candidate is not None:
        said |= {"model": {candidate.model, candidate.priced_as}, "line": {candidate.line}}
    return all(value in said.get(name, ()) for name, value in order.subject)


def by(order: Order) -> str:
    """By whose order, until when and why: `by alert context_growth… until 2026-11-20 13:00 UTC: it grows`."""
    whose = f"alert {order.alert}" if order.alert else order.actor or "somebody"
    until = instant(order.until_ms)
    ends = "" if until is None else f" until {until:%Y-%m-%d %H:%M} UTC"
    return f"by {whose}{ends}" + (f": {order.reason}" if order.reason else "")


def _term(order: Order, limit: int, *, shadow: bool) -> BudgetTerm:
    return BudgetTerm(
        identity=order.identity,
        scope="order",
        unit=Unit.REQUESTS,
        period=span_of(order.identity),
        timezone="UTC",
        limit=limit,
        steps=(),
        warn_steps=(),
        caps={},
        floors={},
        model=None,
        source=f"order {order.id}",
        shadow=shadow,
    )
