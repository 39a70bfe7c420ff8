"""A policy's `deadline` bounds a whole call, and `uncertain: hold` charges a cut stream its whole hold."""

from __future__ import annotations

import pytest
from support.governed import Clock, department, until
from support.stages import blocking, on_sqlite, once

from governor import BudgetContended
from governor.testing import Reply, cut_mid_stream, hang_before_head, rate_limited


class Ticking(Clock):
    """A clock that goes on by 50 ms whenever it is read."""

    def __call__(self) -> int:
        self.forward(0.05)
        return super().__call__()


TEAM = {"per": "department", "usd": "1", "window": "life"}


@on_sqlite
def test_a_call_is_not_sent_again_past_its_deadline(stage):
    """A wait that would go beyond it is not begun: the API's error is raised, and nothing is charged."""
    stage.api.inject(rate_limited(retry_after=30))
    caller = stage.governor(department(TEAM, deadline=20))
    with pytest.raises(Exception, match="429"):
        caller.call()
    assert len(stage.sent()) == 1
    assert stage.posted() == 0
    assert stage.holds() == ()


@blocking
def test_a_wait_for_held_money_ends_with_the_deadline(stage):
    """Contended money is waited for no longer than the whole call may take."""
    stage.clock.run()
    routing = {"when_contended": {"max_wait": 300}}
    caller = stage.governor(department(TEAM, deadline=0.4, routing=routing))
    stage.hold("department=team/usd/life", 999_999_999, 1_000_000_000)
    with pytest.raises(BudgetContended):
        caller.call()


@on_sqlite
def test_a_stream_that_runs_past_its_deadline_is_given_up_and_settled(stage):
    """What came until then is charged, the caller gets a TimeoutError that names the deadline."""
    stage.clock.run()
    stage.api.next(Reply(text="word " * 400, event_delay_ms=20))
    caller = stage.governor(department(TEAM, deadline=0.5))
    with pytest.raises(TimeoutError, match=r"deadline of 0\.5 s"):
        caller.call(max_tokens=2000)
    ending = until(stage.last_ending)
    assert ending["uncertain"]
    assert 0 < ending["cost_nanos"] <= ending["ceiling_nanos"]
    assert stage.holds() == ()


@once
def test_a_silent_answer_is_given_up_at_the_deadline(stage):
    """The silence that is borne is no longer than what is left of the deadline."""
    stage.clock.run()
    stage.api.inject(hang_before_head())
    caller = stage.governor(department(TEAM, deadline=0.3, timeout=60))
    with pytest.raises(TimeoutError, match=r"deadline of 0\.3 s"):
        caller.call()
    assert stage.last_ending()["cost_nanos"] == stage.last_ending()["ceiling_nanos"]


@on_sqlite
def test_a_call_whose_deadline_is_over_before_it_is_sent_is_not_sent(stage):
    """Counting the prompt took too long: nothing is sent or charged, and nothing stays held."""
    stage.clock = Ticking()
    caller = stage.governor(department(TEAM, deadline=0.1))
    with pytest.raises(TimeoutError, match=r"deadline of 0\.1 s"):
        caller.call()
    assert stage.sent() == []
    assert stage.posted() == 0
    assert stage.holds() == ()


@on_sqlite
@pytest.mark.parametrize(("uncertain", "whole"), [("charge", False), ("hold", True)])
def test_a_cut_stream_costs_what_the_policy_says(stage, uncertain, whole):
    """By default what came and a margin; with `uncertain: hold` all that was held for it."""
    stage.api.inject(cut_mid_stream(5, reply=Reply(text="It is. " * 40)))
    with pytest.raises(Exception, match="broke off"):
        stage.governor(department(TEAM, uncertain=uncertain)).call(max_tokens=1000)
    ending = stage.last_ending()
    assert ending["uncertain"]
    assert (ending["cost_nanos"] == ending["ceiling_nanos"]) is whole
    assert stage.api.billed_nanos <= ending["cost_nanos"]
