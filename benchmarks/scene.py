"""What is asked: one request with six budgets and three candidates, and the commands it makes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from governor.clients.request import make_request
from governor.clients.setup import load_house
from governor.journal import records
from governor.ledger import commands as c
from governor.story.effects import Ended
from governor.story.matrix import build
from governor.story.planning import prepare
from governor.story.settlement import Outcome

if TYPE_CHECKING:
    from governor.story.request import House, Plan

POLICIES = Path(__file__).parent / "policies"
PROMPT = "Review this diff and say what could go wrong with it. " * 20
BUDGETS, CANDIDATES = 6, 3

WHO: dict[str, Any] = {"user": "ada@example.com", "department": "team", "feature": "review", "run": "pr-1"}


def house() -> House:
    """Policies and prices of the benchmarks."""
    return load_house(POLICIES, None, None, "sqlite:///unused.db", None)


@dataclass(frozen=True, slots=True)
class Pair:
    """A reserve and the settle of its hold; `at` gives them fresh ids."""

    reserve: c.Reserve
    settle: c.Settle

    def at(self, identifier: str) -> Pair:
        """The same two commands for another request."""
        return Pair(replace(self.reserve, id=identifier), replace(self.settle, id=identifier))


def pair() -> Pair:
    """The commands that a governed call makes, with journal records of their real size."""
    at_home = house()
    planned = _plan(at_home)
    table = build(
        at_home.policies.budgets(planned.request.who, [o.candidate.model for o in planned.offers]),
        planned.offers,
        at_home.clock.now_ms(),
    )
    if (len(table.rows), len(table.offers)) != (BUDGETS, CANDIDATES):
        raise RuntimeError(f"the scene has {len(table.rows)} budgets and {len(table.offers)} candidates")
    offer = table.offers[0]
    outcome = Outcome(offer.ceiling.nanos // 2, offer.ceiling.tokens // 2, {"output_tokens": 100})
    ended = Ended("answered", status=200, latency_ms=2000, first_token_ms=400, api_request_id="req_1")
    reserve = c.Reserve(
        "scene", table.rows, table.asks, ttl_ms=120_000, record=records.reserve(at_home, planned, table)
    )
    used = table.postings(0, lambda unit, ask: 0 if unit == "concurrent" else ask.amount // 2)
    return Pair(
        reserve, c.Settle("scene", used, records.closing(at_home, planned, offer, outcome, ended, 1, "held"))
    )


def _plan(at_home: House) -> Plan:
    request = make_request(
        **WHO,
        model="auto",
        max_tokens=1024,
        pin=False,
        request_id=None,
        params={"messages": [{"role": "user", "content": PROMPT}]},
    )
    story = prepare(at_home, request)
    next(story)
    try:
        while True:
            story.send(300)  # the answer to CountTokens
    except StopIteration as done:
        plan: Plan = done.value
        return plan
