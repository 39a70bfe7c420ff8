"""Policies that route as the reference policy does, and what a routed call must leave behind."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from governor.testing import RateLimits
from support.governed import LINES, department

if TYPE_CHECKING:
    from collections.abc import Mapping

    from support.governed import Caller, Stage

FABLE, MYTHOS = "claude-fable-5-2", "claude-mythos-5-2"
USD = "department=team/usd/life"
USER_USD = "department=team/user=u/usd/life"
DOLLAR = 1_000_000_000
MINUTE = RateLimits(input_tokens=1_000_000)
"""What an API takes in a minute whose load a test sets by percent: see `loaded`."""
CLOSE = 0.1
"""The API rounds what is left to thousands of tokens: a tenth of a percent of that."""
LIMIT = 1_000 * DOLLAR
BUDGET = {"per": "department", "usd": 1000, "window": "life"}
BANDS = {"haiku": "<3", "sonnet": "3-7", "opus": ">7"}
TIERS: Mapping[str, Mapping[str, Any]] = {
    "premium": {"prefer": "opus", "context": 200_000, "timeout": 60, "retries": 3},
    "standard": {"prefer": "sonnet", "context": 100_000, "timeout": 30, "retries": 2},
    "economy": {"prefer": "haiku", "context": 50_000, "timeout": 15, "retries": 1},
}
CHOOSE = [
    {"when": "budget > 90% or load > 85%", "tier": "economy"},
    {"when": "budget < 50% and load < 30%", "tier": "premium"},
    {"tier": "standard"},
]
BUSY, IDLE = CHOOSE[0]["when"], CHOOSE[1]["when"]


def team(*budgets: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A department of $1,000, unless *budgets* say otherwise, with every tier; `routing` goes over that."""
    routing = {"tiers": TIERS, **more.pop("routing", {})}
    return department(*(budgets or [BUDGET]), routing=routing, **more)


def row(name: str, *cells: Any) -> Any:
    """A row of a table under the requirement's id."""
    return pytest.param(*cells, id=name)


def journalled(stage: Stage, message: Any) -> dict[str, Any]:
    """The journal's record of the decision on the last call, which agrees with its receipt and the API.

    The model is the one that the API was sent last; tier, reason, load, complexity and changes are the same
    in the decision as in the record, and nothing is held any more.
    """
    decision, sent = message.receipt.decision, stage.sent()[-1]
    record = json.loads(stage.journal("reserve")[-1].record)
    ending = stage.last_ending()
    assert sent["model"] == decision.model == message.receipt.model == ending["model"]
    assert sent["max_tokens"] == decision.max_tokens == record["max_tokens"]
    assert (record["tier"], record["tier_why"]) == (decision.tier, decision.tier_why)
    assert (record["preferred"], record["load"]) == (decision.preferred, round(decision.load * 10_000))
    assert decision.downgraded == (decision.preferred != sent["model"])
    told = decision.complexity.partition(" ")[0]
    assert told == ("" if record["complexity"] is None else str(record["complexity"]))
    served = next(one for one in record["candidates"] if one["model"] == sent["model"])
    assert tuple(served.get("changes", ())) == decision.changes
    assert stage.holds() == ()
    return record


def prompt(tokens: int) -> list[dict[str, Any]]:
    """Messages of some ten tokens more than *tokens*, for models of the newer tokenizer."""
    return [{"role": "user", "content": "x" * (tokens * 40 // 13)}]


def loaded(stage: Stage, caller: Caller, percent: float) -> None:
    """Let *caller* hear from sonnet's API that *percent* of its input tokens per minute (`MINUTE`) are used.

    Somebody else's requests have used them; the headers of the caller's own answers tell. To within 0.1:
    what refills while an answer is under way is used, too.
    """
    seen, client = -1.0, stage.api.client()
    for _ in range(20):
        lacking = percent - max(seen, 0)
        if abs(lacking) <= CLOSE:
            return
        messages = prompt(max(int(lacking * 10_000), 1))
        client.messages.create(model=LINES["sonnet"], max_tokens=1, messages=messages)
        caller.call(model="sonnet", pin=True, max_tokens=1, user="somebody-else")
        seen = caller.decide(user="somebody-else").load * 100
    raise AssertionError(f"the load is {seen} %, not {percent} %")
