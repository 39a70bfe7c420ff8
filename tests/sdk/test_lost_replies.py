"""Whatever happens between governor and ledger, before or after a command took effect: right books."""

from __future__ import annotations

import asyncio
from concurrent.futures import CancelledError

import pytest
from support.between import between
from support.endings import CONCURRENT, REQUESTS, USD, closed, policy
from support.governed import until
from support.stages import blocking, in_tasks, on_sqlite

from governor import LedgerUnavailable
from governor.ledger import commands as c
from governor.testing import Reply, rate_limited

LOST = LedgerUnavailable("no reply came")
WHEN = pytest.mark.parametrize("after", [False, True], ids=["before", "after"])


def nothing_held(stage):
    """No hold is open, and nothing was posted."""
    assert stage.holds() == ()
    for balance in stage.balances().values():
        assert (balance.posted, balance.held) == (0, 0)


@WHEN
def test_a_reserve_without_a_reply_is_asked_again(stage, after):
    """A hold whose reply was lost is served on the second asking: one hold, one call, its cost."""
    caller = stage.governor(policy())
    said = between(caller)
    said.raises(c.Reserve, LOST, after=after)
    receipt = caller.call().receipt
    assert closed(stage)["cost_nanos"] == receipt.cost.nanos == stage.api.billed_nanos
    assert len(stage.sent()) == 1
    asked = {command.payload() for command, _ in said.answers if isinstance(command, c.Reserve)}
    assert len(asked) == 1


@on_sqlite
def test_a_reserve_without_any_reply_is_an_error(stage):
    """A ledger that is silent twice is unavailable; nothing is sent."""
    caller = stage.governor(policy())
    between(caller).raises(c.Reserve, LOST, times=2)
    with pytest.raises(LedgerUnavailable, match="no reply came"):
        caller.call()
    nothing_held(stage)
    assert stage.sent() == []


@WHEN
@pytest.mark.parametrize("kind", [c.Settle, c.Release])
def test_an_ending_without_a_reply_is_said_again(stage, kind, after):
    """A settle or release whose reply was lost is repeated, and posts once."""
    caller = stage.governor(policy(retries=0))
    between(caller).raises(kind, LOST, after=after)
    if kind is c.Release:
        stage.api.inject(rate_limited())
        with pytest.raises(Exception, match="rate limit"):
            caller.call()
    else:
        assert caller.call().receipt.settled
    assert closed(stage)["cost_nanos"] == stage.api.billed_nanos


@WHEN
@blocking
def test_an_interrupted_reserve_holds_nothing(stage, after):
    """Ctrl-C while a hold is asked for goes on to the caller once nothing is held; nothing is sent."""
    caller = stage.governor(policy())
    between(caller).raises(c.Reserve, KeyboardInterrupt(), after=after)
    with pytest.raises(KeyboardInterrupt):
        caller.call()
    nothing_held(stage)
    assert stage.sent() == []


@WHEN
@pytest.mark.parametrize("times", [1, 2])
@blocking
def test_an_interrupted_settle_posts_the_bill(stage, after, times):
    """Ctrl-C while the cost is posted, even twice, goes on to the caller once it is posted."""
    caller = stage.governor(policy())
    between(caller).raises(c.Settle, KeyboardInterrupt(), after=after, times=times)
    with pytest.raises(KeyboardInterrupt):
        caller.call()
    ending = closed(stage)
    assert (ending["ended"], ending["uncertain"]) == ("answered", False)
    assert ending["cost_nanos"] == stage.api.billed_nanos > 0


@WHEN
@blocking
def test_an_interrupted_extension_breaks_the_answer_off(stage, monkeypatch, after):
    """Ctrl-C while a running stream's hold is extended is charged what came, and goes on to the caller."""
    monkeypatch.setattr("governor.story.sending.EXTEND_EVERY_S", 0.0)
    stage.api.next(Reply(output_tokens=500, event_delay_ms=20))
    caller = stage.governor(policy())
    between(caller).raises(c.Extend, KeyboardInterrupt(), after=after)
    with pytest.raises(KeyboardInterrupt):
        caller.call(max_tokens=1000)
    ending = closed(stage)
    assert (ending["ended"], ending["uncertain"], ending["error"]) == ("cut", True, "KeyboardInterrupt")
    stage.api.wait_idle()
    assert stage.api.billed_nanos <= ending["cost_nanos"] < ending["ceiling_nanos"]


@WHEN
@blocking
def test_an_extension_interrupted_between_two_tries_gives_the_hold_back(stage, after):
    """Ctrl-C in the pause after a 429 is not sent again, and costs nothing."""
    stage.api.inject(rate_limited(retry_after=0))
    caller = stage.governor(policy())
    between(caller).raises(c.Extend, KeyboardInterrupt(), after=after)
    with pytest.raises(KeyboardInterrupt):
        caller.call()
    ending = closed(stage)
    assert (ending["ended"], ending["cost_nanos"]) == ("refused", 0)
    assert len(stage.sent()) == 1


@on_sqlite
def test_an_extension_the_ledger_did_not_hear_is_no_matter(stage, monkeypatch):
    """A stream goes on though its hold could not be extended."""
    monkeypatch.setattr("governor.story.sending.EXTEND_EVERY_S", 0.0)
    stage.api.next(Reply(output_tokens=60, event_delay_ms=2))
    caller = stage.governor(policy())
    said = between(caller)
    said.raises(c.Extend, LOST, times=2)
    assert caller.call().receipt.settled
    assert closed(stage)["cost_nanos"] == stage.api.billed_nanos


@pytest.mark.parametrize("on_expiry", ["charge", "release"])
@on_sqlite
def test_what_the_ledger_did_not_hear_is_said_before_the_next_call(stage, on_expiry):
    """An ending that three tries could not tell is told first thing in the next call, once."""
    caller = stage.governor(policy(on_expiry=on_expiry))
    said = between(caller)
    said.raises(c.Settle, LOST, times=3)
    first = caller.call().receipt
    assert (first.settled, first.cost.nanos) == (False, stage.api.billed_nanos)
    assert [hold.id for hold in stage.holds()] == [first.request_id]
    second = caller.call().receipt
    assert stage.holds() == ()
    assert stage.posted(USD) == first.cost.nanos + second.cost.nanos == stage.api.billed_nanos
    caller.call()
    endings = [command.id for command, _ in said.answers if isinstance(command, c.Settle)]
    assert endings[:2] == [first.request_id, second.request_id]
    assert len(endings) == 3
    assert stage.balances()[REQUESTS].posted == 3


@pytest.mark.parametrize("on_expiry", ["charge", "release"])
def test_what_the_ledger_did_not_hear_is_said_at_close(stage, on_expiry):
    """A governor that is closed first says what its ledger has not heard."""
    caller = stage.governor(policy(on_expiry=on_expiry))
    between(caller).raises(c.Settle, LOST, times=3)
    assert not caller.call().receipt.settled
    assert len(stage.holds()) == 1
    caller.close()
    stage._open.remove(caller)
    assert closed(stage)["cost_nanos"] == stage.api.billed_nanos


def cancel_everything_else():
    """Cancel every task of this loop but the one that runs."""
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


@WHEN
@in_tasks
def test_a_call_cancelled_in_a_reserve_that_is_refused_is_cancelled(stage, after):
    """Cancelled while the ledger decides, and then refused: the caller is told of the cancellation."""
    caller = stage.governor(policy())
    stage.hold(CONCURRENT, 4, 4)
    said = between(caller)
    said.does(c.Reserve, cancel_everything_else, after=after)
    with pytest.raises(CancelledError):
        caller.call()
    until(lambda: said.told(c.Refused))
    assert [hold.id for hold in stage.holds()] == ["another-call"]
    assert stage.sent() == []


@WHEN
@in_tasks
def test_a_call_cancelled_in_a_reserve_that_is_granted_is_cancelled(stage, after):
    """Cancelled while the ledger decides, and then held: the hold is given back, and nothing is sent."""
    caller = stage.governor(policy())
    between(caller).does(c.Reserve, cancel_everything_else, after=after)
    with pytest.raises(CancelledError):
        caller.call()
    assert stage.holds() == ()
    assert stage.posted(USD) == 0
    assert stage.sent() == []
