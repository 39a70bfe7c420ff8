"""One department under one set of policies, as a comparison asks of it. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from governor.errors import PolicyViolation
from governor.ledger import admission
from governor.policy import LINES, Attribution
from governor.policy.terms import FULL_BP
from governor.pricing import Ceiling
from governor.routing import Candidate
from governor.story.matrix import Offer, ask_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.policy import BudgetRow, Policies, Rules

_ONE = Ceiling(nanos=1, tokens=1, input_tokens=1, max_tokens=0)
_TOLD = "somebody-of-the-tier-"
TOLD_WITHOUT = "somebody-without-a-tier@example.com"
"""A user whom the application knows, and of whom it tells no tier."""


def told_user(tier: str | None) -> str:
    """A user of whom the application says this tier."""
    return TOLD_WITHOUT if tier is None else f"{_TOLD}{tier}@example.com"


def _tells(user: str, department: str) -> Mapping[str, str] | None:  # noqa: ARG001 - a directory is asked so
    """What an application would say of the users that `told_user` names; of no other it knows anything."""
    if user == TOLD_WITHOUT:
        return {}
    told = user.startswith(_TOLD)
    return {"user_tier": user.removeprefix(_TOLD).removesuffix("@example.com")} if told else None


class Side:
    """One department under one of the policies.

    Policies that ask the application for users, and were given nobody to ask, are told of `told_user`s.
    """

    def __init__(self, name: str, policies: Policies) -> None:
        self.name, self.policies = name, policies
        policies.directory = policies.directory or _tells
        files = {getattr(file.policy, "department", None): file.policy for file in policies.files}
        self.own: Any = files[name]
        self.shared: Any = files.get(None)

    def tier(self, user: str) -> tuple[str | None] | None:
        """The user's tier, in brackets; `None`: the user may not ask."""
        try:
            return (self.policies.rules(Attribution(self.name, user)).user_tier,)
        except PolicyViolation:
            return None

    def told(self) -> set[str]:
        """A user of each tier that the application may tell of; none where it is not asked."""
        if not self.own.asks_application:
            return set()
        mine = (row for row in self.policies.all_terms() if row.department in (None, self.name))
        return {told_user(tier) for tier in (*self.own.user_tiers, *(row.user_tier for row in mine))}

    def rules(self, user: str, feature: str | None) -> Rules | None:
        """The rules for a feature; `None`: it may not be used."""
        try:
            return self.policies.rules(Attribution(self.name, user, feature))
        except PolicyViolation:
            return None

    def rows(self, tier: str | None) -> list[BudgetRow]:
        """The budgets that users of a tier touch."""
        mine = (row for row in self.policies.all_terms() if row.department in (None, self.name))
        return [row for row in mine if row.user_tier in (None, tier)]

    def floors(self, user: str) -> dict[str, Mapping[str, int]]:
        """The floors of a user, by the identity of the budget that bears them; none of who may not ask."""
        if self.tier(user) is None:
            return {}
        terms = self.policies.budgets(Attribution(self.name, user), ())
        return {term.identity: term.floors for term in terms if term.floors}

    def caps(self, row: BudgetRow, user: str) -> tuple[int, ...]:
        """How far each line may fill a budget, cheapest first, and the limit itself.

        An even pace lifts marks, but neither floors, nor a block, nor the organisation's marks: so of a paced
        budget, these come by themselves after the limit.
        """
        values = {scope: row.names.get(scope, user if scope == "user" else "any") for scope in row.inner}
        floors = self.floors(user) if row.scopes == ("user",) else {}
        term = row.term(values, floors.get(row.identity(values), {}))
        model = term.model or "any"
        asks = [ask_for(Offer(Candidate(line, model, "", model), _ONE), term) for line in LINES]
        found = [ask for ask in asks if ask is not None]
        if not row.paced:
            return (*(admission.cap(row.limit, ask) for ask in found), row.limit)
        marks = (admission.cap(row.limit, replace(ask, floor=0)) for ask in found)
        above = (row.limit - ask.floor for ask in found)
        shared = (row.block_bp, *(row.floor_caps.get(line, FULL_BP) for line in LINES))
        return (*marks, row.limit, *above, *(admission.mark(row.limit, bp) for bp in shared))
