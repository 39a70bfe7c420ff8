"""One department under one set of policies, as a comparison asks of it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.errors import PolicyViolation
from governor.ledger import admission
from governor.policy import LINES, Attribution
from governor.pricing import Ceiling
from governor.routing import Candidate
from governor.story.matrix import Offer, ask_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.policy import BudgetRow, Policies, Rules

_ONE = Ceiling(nanos=1, tokens=1, input_tokens=1, max_tokens=0)


class Side:
    """One department under one of the policies."""

    def __init__(self, name: str, policies: Policies) -> None:
        self.name, self.policies = name, policies
        files = {getattr(file.policy, "department", None): file.policy for file in policies.files}
        self.own: Any = files[name]
        self.shared: Any = files.get(None)

    def tier(self, user: str) -> tuple[str | None] | None:
        """The user's tier, in brackets; `None`: the user may not ask."""
        try:
            return (self.policies.rules(Attribution(self.name, user)).user_tier,)
        except PolicyViolation:
            return None

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
        """The floors of a user, by the identity of the budget that bears them."""
        terms = self.policies.budgets(Attribution(self.name, user), ())
        return {term.identity: term.floors for term in terms if term.floors}

    def caps(self, row: BudgetRow, user: str) -> tuple[int, ...]:
        """How far each line may fill a budget, cheapest first; last the limit itself."""
        values = {scope: row.names.get(scope, user if scope == "user" else "any") for scope in row.inner}
        floors = self.floors(user) if row.scopes == ("user",) else {}
        term = row.term(values, floors.get(row.identity(values), {}))
        model = term.model or "any"
        asks = [ask_for(Offer(Candidate(line, model, "", model), _ONE), term) for line in LINES]
        return (*(admission.cap(row.limit, ask) for ask in asks if ask is not None), row.limit)
