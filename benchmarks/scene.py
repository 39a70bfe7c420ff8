"""What is asked: one request with six budgets and three candidates, and the commands it makes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from governor.clients.request import make_request
from governor.clients.setup import load_house
from governor.journal import records
from governor.ledger import commands as c
from governor.story.effects import Ended, Sent
from governor.story.matrix import build
from governor.story.planning import prepare
from governor.story.request import Admitted
from governor.story.settlement import Outcome

if TYPE_CHECKING:
    from governor.policy import BudgetTerm
    from governor.story.request import House, Plan

POLICIES = Path(__file__).parent / "policies"
PROMPT = "Review this diff and say what could go wrong with it. " * 20
BUDGETS, CANDIDATES = 6, 3

WHO: dict[str, Any] = {"user": "ada@example.com", "department": "team", "feature": "review", "run": "pr-1"}


def house() -> House:
    """Policies and prices of the benchmarks; a new one, which remembers no call."""
    return load_house(POLICIES, None, None, "sqlite:///unused.db", None)


@cache
def _known_house() -> House:
    return house()


@dataclass(frozen=True, slots=True)
class Pair:
    """A reserve and the settle of its hold; `at` gives them fresh ids."""

    reserve: c.Reserve
    settle: c.Settle

    def at(self, identifier: str) -> Pair:
        """The same two commands for another request."""
        return Pair(replace(self.reserve, id=identifier), replace(self.settle, id=identifier))


def pair(user: str = WHO["user"], budgets: int | None = None) -> Pair:
    """The commands that a governed call makes, with journal records of their real size.

    Args:
        user: Who calls.
        budgets: How many budgets it touches; `None`: the six of the policy file.
    """
    at_home = _known_house()
    planned = _plan(at_home, user)
    terms = at_home.policies.budgets(planned.request.who, [o.candidate.model for o in planned.offers])
    if (len(terms), len(planned.offers)) != (BUDGETS, CANDIDATES):
        raise RuntimeError(f"the scene has {len(terms)} budgets and {len(planned.offers)} candidates")
    table = build(_some(terms, budgets), planned.offers, at_home.clock.now_ms())
    offer = table.offers[0]
    outcome = Outcome(offer.ceiling.nanos // 2, offer.ceiling.tokens // 2, {"output_tokens": 100})
    ended = Ended("answered", status=200, latency_ms=2000, first_token_ms=400, api_request_id="req_1")
    reserve = c.Reserve(
        "scene", table.rows, table.asks, ttl_ms=120_000, record=records.reserve(at_home, planned, table)
    )
    held = c.Held(0, (), "open", 0, 0)
    used = table.postings(0, lambda unit, ask: 0 if unit == "concurrent" else ask.amount // 2)
    record = records.closing(at_home, planned, offer, outcome, ended, Sent(1), Admitted(table, held))
    return Pair(reserve, c.Settle("scene", used, record))


def _some(terms: tuple[BudgetTerm, ...], budgets: int | None) -> tuple[BudgetTerm, ...]:
    """As many budgets as are asked for: copies of the department's, each with a balance of its own."""
    if budgets is None:
        return terms
    department, (_, _, rest) = terms[0], terms[0].identity.partition("/")
    return tuple(replace(department, identity=f"department=team-{n}/{rest}") for n in range(budgets))


def _plan(at_home: House, user: str) -> Plan:
    request = make_request(
        **{**WHO, "user": user},
        model="auto",
        max_tokens=1024,
        pin=False,
        request_id=None,
        tags=None,
        priority=None,
        params={"messages": [{"role": "user", "content": PROMPT}]},
    )
    story = prepare(at_home, request)
    try:
        next(story)
        while True:
            story.send(300)  # the answer to CountTokens
    except StopIteration as done:
        plan: Plan = done.value
        return plan
