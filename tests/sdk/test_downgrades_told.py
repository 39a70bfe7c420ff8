"""Whatever keeps the preferred model from serving, the decision of the call that was served names it."""

from __future__ import annotations

import pytest
from support.governed import HAIKU, OPUS, SONNET, department
from support.stages import on_sqlite

from governor.routing import Heard, rate_limits

MONTH = {"per": "department", "usd": "0.001", "window": "life"}
GONE = "claude-mythos-preview"
FORCED = {
    "tools": [{"name": "search", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "tool", "name": "search"},
}


@on_sqlite
def test_a_call_made_smaller_tells_which_budgets_refused_the_others(stage):
    """With a smaller max_tokens the last line serves, and each other candidate has its budget beside it."""
    team = department(MONTH, routing={"shrink": {"min_tokens": 16}})
    receipt = stage.governor(team).call(model="opus", max_tokens=8_000).receipt
    decision = receipt.decision
    assert (receipt.model, decision.downgraded) == (HAIKU, True)
    assert decision.max_tokens < 8_000
    assert decision.reason.startswith(f"{HAIKU} instead: {OPUS} is refused: department=team/usd/life: ")
    told = {view.model: (view.verdict, "is refused" in view.why) for view in decision.candidates}
    assert told == {OPUS: ("skipped", True), SONNET: ("skipped", True), HAIKU: ("fits", False)}


@on_sqlite
def test_what_stands_in_for_a_busy_model_tells_so_past_one_that_cannot(stage):
    """Opus is busy and sonnet takes no forced tool: it is told of haiku that opus is busy."""
    team = department({"per": "department", "usd": 10, "window": "life"}, thresholds={"90%": "warn"})
    caller = stage.governor(team)
    full = {"anthropic-ratelimit-requests-limit": "100", "anthropic-ratelimit-requests-remaining": "1"}
    house = caller.governor._in_force.house
    traffic, now_ms = house.traffic, house.clock.now_ms()
    traffic.departing(OPUS)
    traffic.ended(OPUS, Heard(200, latency_ms=10, limits=rate_limits(full, now_ms), answered=True))
    receipt = caller.call(model=OPUS, **FORCED).receipt
    assert receipt.model == HAIKU
    assert receipt.decision.reason.startswith(f"{HAIKU}: instead of {OPUS}: rate limit 9")


@on_sqlite
@pytest.mark.parametrize("known", [GONE, "claude-nobody-knows"])
def test_a_model_that_is_gone_is_named_beside_its_successor(stage, known):
    """Every receipt says what was asked for and whose successor serves, not only the one event."""
    routing = {"successors": {known: "opus"}}
    caller = stage.governor(department({"per": "department", "usd": 10, "window": "life"}, routing=routing))
    for _ in range(2):
        receipt = caller.call(model=known).receipt
        assert (receipt.model, receipt.decision.asked) == (OPUS, known)
        assert receipt.decision.reason == f"{OPUS}: the successor of {known}"
    assert len(stage.events) == 1
