"""A call that its caller gives up, by Ctrl-C or by cancelling its task, is settled before it ends."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import CancelledError

import pytest
from support.between import between
from support.endings import CONCURRENT, closed, policy
from support.governed import NOON_MS, Stage, until
from support.stages import blocking, in_tasks, once

from governor.ledger.commands import Refused
from governor.testing import Reply, rate_limited


class GivenUp(BaseException):
    """What a signal's handler raises, as Ctrl-C raises `KeyboardInterrupt`."""


@blocking
def test_a_blocking_call_that_is_interrupted_is_settled(stage):
    """Ctrl-C while waiting for the answer goes on to the caller after the hold was settled."""

    def interrupt(_body):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
        return Reply(delay_ms=5000)

    def give_up(*_):
        raise GivenUp

    caller = stage.governor(policy(timeout=30))
    stage.api.replies(interrupt)
    before = signal.signal(signal.SIGUSR1, give_up)
    try:
        with pytest.raises(GivenUp):
            caller.call()
    finally:
        signal.signal(signal.SIGUSR1, before)
    ending = closed(stage)
    assert (ending["ended"], ending["uncertain"], ending["error"]) == ("silent", True, "GivenUp")
    stage.api.wait_idle()
    assert stage.api.billed_nanos <= ending["cost_nanos"]


def cancel(stage: Stage, begun) -> dict:
    """Start a call, cancel its task once *begun*, wait for the cancellation; return the record of the end."""
    caller = stage.governor(policy(timeout=30))
    task = caller.start(max_tokens=1000)
    until(begun)
    task.cancel()
    until(lambda: not stage.holds())
    with pytest.raises(CancelledError):
        task.result()
    ending = closed(stage)
    stage.api.wait_idle()
    assert ending["error"] == "CancelledError"
    assert stage.api.billed_nanos <= ending["cost_nanos"] <= ending["ceiling_nanos"]
    return ending


@in_tasks
def test_a_call_cancelled_before_its_answer_is_charged_whole(stage):
    """A task cancelled while it waits for the first byte settles the whole hold before it ends."""
    stage.api.next(Reply(delay_ms=5000))
    ending = cancel(stage, stage.sent)
    assert (ending["ended"], ending["cost_nanos"]) == ("silent", ending["ceiling_nanos"])


@in_tasks
def test_a_call_cancelled_in_its_answer_is_charged_for_what_came(stage, monkeypatch):
    """A task cancelled while the answer streams settles what was delivered before it ends."""
    monkeypatch.setattr("governor.story.sending.EXTEND_EVERY_S", 0.02)
    stage.api.replies(lambda _: stage.clock.forward(1) or Reply(output_tokens=500, event_delay_ms=30))
    ending = cancel(stage, lambda: extended(stage))
    assert (ending["ended"], ending["uncertain"]) == ("cut", True)
    assert ending["cost_nanos"] < ending["ceiling_nanos"]


@in_tasks
def test_a_call_cancelled_between_two_tries_costs_nothing(stage):
    """A task cancelled in the pause after a 429 gives its hold back at once, and is not sent again."""
    stage.api.inject(rate_limited(retry_after=30))
    stage.api.replies(lambda _: stage.clock.forward(1) or Reply())
    ending = cancel(stage, lambda: extended(stage))
    assert (ending["ended"], ending["cost_nanos"], ending["attempts"]) == ("refused", 0, 1)
    assert len(stage.sent()) == 1


def extended(stage: Stage) -> bool:
    """Whether the one open hold was given more time since the API's clock moved on."""
    return any(hold.expires_ms > NOON_MS + 90_000 for hold in stage.holds())


@once
def test_a_cancelled_wait_holds_nothing(stage):
    """A call given up while it waits for held money has held nothing."""
    team = policy(routing={"when_contended": {"max_wait": 60}})
    stage.is_async = True
    caller = stage.governor(team)
    said = between(caller)
    stage.hold(CONCURRENT, 4, 4)
    waiting = caller.start(request_id="waiting")
    until(lambda: said.told(Refused))
    waiting.cancel()
    until(waiting.done)
    assert [hold.id for hold in stage.holds()] == ["another-call"]
