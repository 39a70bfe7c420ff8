"""A rolling budget counts what was spent lately: room comes back bucket by bucket, not at midnight."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from support.governed import NOON_MS, SONNET, department, until
from support.stages import blocking, on_sqlite

from governor import BudgetExceeded
from governor.testing import Reply

TEAM = {"per": "department", "usd": 1000, "window": "life"}
PINNED = {"model": "sonnet", "pin": True}
IDENTITY = "department=team/usd/rolling-2d"
TWO_DAYS_S = 2 * 86_400
BUCKET_S = TWO_DAYS_S // 48
"""One hour; every test begins with the first millisecond of one."""


def rolling(usd="0.0025", window="rolling 2d", **more):
    """A department with a rolling budget that two calls as `spend` makes them fill."""
    return department({"per": "department", "usd": usd, "window": window}, **more)


def spend(stage, caller, **request):
    """One pinned Sonnet call that costs some $0.001."""
    stage.api.replies(Reply(output_tokens=100))
    return caller.call(**PINNED, **request)


@blocking
def test_room_comes_back_bucket_by_bucket(stage):
    """Spend counts until the window has passed it by a whole bucket, and then only that spend is gone."""
    caller = stage.governor(rolling())
    first = spend(stage, caller).receipt.cost.nanos
    stage.clock.forward(10 * BUCKET_S)
    second = spend(stage, caller).receipt.cost.nanos
    assert stage.posted(IDENTITY) == first + second
    with pytest.raises(BudgetExceeded):
        spend(stage, caller)
    # The first spend's bucket is the 49th back, counted whole, until its end has left the two days.
    stage.clock.forward(TWO_DAYS_S - 10 * BUCKET_S)
    with pytest.raises(BudgetExceeded):
        spend(stage, caller)
    stage.clock.forward(BUCKET_S)
    spend(stage, caller)
    with pytest.raises(BudgetExceeded):
        spend(stage, caller)
    stage.clock.forward(10 * BUCKET_S)
    assert spend(stage, caller).receipt.settled


@blocking
def test_a_refusal_names_when_it_first_frees(stage):
    """A spent rolling budget says when its oldest spend leaves it, and never that it does not reset."""
    caller = stage.governor(rolling())
    spend(stage, caller)
    spend(stage, caller)
    with pytest.raises(BudgetExceeded, match=r"it first frees at 2026-11-22 13:00 UTC") as refused:
        spend(stage, caller)
    frees = datetime.fromtimestamp(NOON_MS / 1000 + TWO_DAYS_S + BUCKET_S, UTC)
    assert refused.value.resets_at == refused.value.budget.resets_at == frees
    assert refused.value.budget.identity == IDENTITY
    stage.clock.forward(TWO_DAYS_S + BUCKET_S)
    assert spend(stage, caller).receipt.settled


@on_sqlite
def test_what_is_larger_than_the_budget_never_frees(stage):
    """A request above the whole limit is told no instant, as waiting would not help it."""
    caller = stage.governor(rolling(usd="0.0001"))
    with pytest.raises(BudgetExceeded) as refused:
        spend(stage, caller)
    assert refused.value.resets_at is None


@on_sqlite
def test_room_that_comes_back_in_time_is_waited_for(stage):
    """A call whose room frees within `max_wait` waits for it instead of being refused."""
    routing = {"when_contended": {"max_wait": 30}}
    caller = stage.governor(rolling(usd="0.0015", window="rolling 48m", routing=routing))
    spend(stage, caller)
    stage.clock.forward(49 * 60 - 0.7)
    stage.api.replies(Reply(output_tokens=100))
    waiting = caller.start(**PINNED, request_id="patient")
    until(lambda: stage.journal("reserve", "patient"))
    stage.clock.forward(1)
    assert waiting.result().receipt.decision.waited_s > 0


@blocking
def test_a_combination_rolls_too(stage):
    """Each user and model has a rolling balance of its own, which no other user's spend fills."""
    own = {"per": ["user", "model"], "usd": "0.0015", "window": "rolling 2d"}
    caller = stage.governor(department(TEAM, own))
    spend(stage, caller, user="ada")
    with pytest.raises(BudgetExceeded, match=f"user=ada/model={SONNET}/usd/rolling-2d"):
        spend(stage, caller, user="ada")
    spend(stage, caller, user="bob")
    stage.clock.forward(TWO_DAYS_S + BUCKET_S)
    assert spend(stage, caller, user="ada").receipt.settled
