"""A line to Redis that cuts, stalls and swallows replies: at every verb, one time and for long."""

from __future__ import annotations

import pytest
from support.bad_line import ALWAYS, BadLine, Fault
from support.endings import REQUESTS
from support.governed import until
from support.invariants import charges, policy, sound, tagged
from support.stages import on_redis

from governor import LedgerUnavailable
from governor.ledger import commands as c
from governor.testing import Reply, status_error

FAULTS = pytest.mark.parametrize("fault", list(Fault), ids=lambda fault: fault.name.lower())
deep = pytest.mark.deep
LONG = Reply(output_tokens=60, event_delay_ms=2)
"""Some events, at each of which the hold is extended."""


@pytest.fixture
def line(stage, redis_server, monkeypatch):
    """A line to the stage's Redis, which every governor of a test is given."""
    monkeypatch.setattr("governor.story.sending.EXTEND_EVERY_S", 0.0)
    with BadLine(redis_server.port) as made:
        yield made


def dead_hold(stage):
    """The hold of a process that died long ago, of 1,000 nano-dollars."""
    stage.hold("department=team/usd/life", 1000, 10**9, name="dead")
    stage.clock.forward(3600)


@FAULTS
@pytest.mark.parametrize(
    "verb",
    ["reserve", "extend", "settle", *(pytest.param(verb, marks=deep) for verb in ("release", "expire"))],
)
@on_redis
def test_one_fault_changes_nothing(stage, line, verb, fault):
    """A command or a reply lost once is said again: the call ends as ever, charged to the nano-dollar."""
    caller = stage.governor(policy(), ledger=line.url)
    line.befalls(verb, fault)
    if verb == "expire":
        dead_hold(stage)
    if verb == "release":
        stage.api.inject(status_error(400))
        with pytest.raises(Exception, match="400"):
            caller.call(**tagged("call"))
    else:
        stage.api.next(LONG)
        assert caller.call(**tagged("call"), max_tokens=1000).receipt.settled
    assert line.befallen == [verb]
    line.deliver_late()  # a command that comes after its repetition does nothing
    sound(stage, guessed=["dead"])


@FAULTS
@on_redis
def test_a_ledger_that_does_not_answer_a_reserve_sends_nothing(stage, line, fault):
    """Nothing is sent without a hold that is known; one opened unknown to the caller ends in time."""
    caller = stage.governor(policy(), ledger=line.url)
    caller.call(**tagged("before"))
    line.befalls("reserve", fault, times=2)
    with pytest.raises(LedgerUnavailable, match="cannot be reached"):
        caller.call(**tagged("unheard"))
    assert len(stage.sent()) == 1
    assert [hold.id for hold in stage.holds()] == (["unheard"] if fault.arrives else [])
    assert caller.call(**tagged("after")).receipt.settled
    sound(stage, guessed=["unheard"])
    assert stage.balances()[REQUESTS].posted == 2 + fault.arrives


@on_redis
def test_a_reserve_that_arrives_late_holds_until_its_time_is_over(stage, line):
    """A reserve that arrives after its caller gave up is a hold like a dead process's."""
    caller = stage.governor(policy(), ledger=line.url)
    line.befalls("reserve", Fault.STALL, times=2)
    with pytest.raises(LedgerUnavailable):
        caller.call(**tagged("unheard"))
    assert stage.holds() == ()
    line.deliver_late()
    assert [hold.id for hold in stage.holds()] == ["unheard"]
    sound(stage, guessed=["unheard"])
    assert stage.sent()[1:] == []


@FAULTS
@on_redis
def test_a_ledger_that_does_not_answer_a_settle_is_told_before_the_next_call(stage, line, fault):
    """The answer is returned, `settled` only if the ledger said so; what it did not hear it is told next."""
    caller = stage.governor(policy(), ledger=line.url)
    line.befalls("settle", fault, times=3)
    receipt = caller.call(**tagged("unheard")).receipt
    assert (receipt.settled, receipt.cost.nanos) == (False, stage.api.billed_nanos)
    assert [hold.id for hold in stage.holds()] == ([] if fault.arrives else ["unheard"])
    line.heal()
    assert caller.call(**tagged("next")).receipt.settled
    line.deliver_late()
    assert sound(stage).excess == 0


@pytest.mark.parametrize("fault", [Fault.CUT, Fault.SWALLOW], ids=["cut", "swallow"])
@on_redis
def test_a_settle_that_is_heard_after_the_hold_expired_replaces_the_charge(stage, line, fault):
    """A ledger that was away for longer than the hold lives posts the true cost in the end."""
    caller = stage.governor(policy(), ledger=line.url)
    line.befalls("settle", fault, times=3)
    receipt = caller.call(**tagged("unheard")).receipt
    stage.clock.forward(3600)
    stage.governor(None).call(**tagged("living"))
    expected = receipt.cost if fault.arrives else receipt.ceiling
    assert charges(stage.journal())["unheard"] == expected.nanos
    caller.call(**tagged("next"))
    assert sound(stage).excess == 0


@FAULTS
@on_redis
def test_a_stream_whose_hold_cannot_be_extended_is_settled(stage, line, fault):
    """A stream goes on while no extension is heard; if its hold expires meanwhile, it settles late."""
    caller = stage.governor(policy(), ledger=line.url)
    line.befalls("extend", fault, times=2)
    expired = []

    def let_it_expire():
        stage.clock.forward(3600)
        due = tuple(c.DueHold(hold.id, hold.balances) for hold in stage.holds())
        expired.extend(stage.ledger.execute(c.Expire(due)).ids)

    line.befalls("extend", Fault.CUT, act=let_it_expire)
    stage.api.next(LONG)
    assert caller.call(**tagged("long"), max_tokens=1000).receipt.settled
    assert expired == ["long"]
    outcomes = [entry.outcome for entry in stage.journal(identifier="long")]
    assert outcomes == ["held", "expired", "settled_late"]
    assert sound(stage).excess == 0


@pytest.mark.parametrize("command", ["info", "reserve"])
@on_redis
def test_a_server_that_says_nothing_is_away(stage, line, command):
    """A server that accepts and is silent is one that cannot be reached, at the greeting and after it."""
    caller = stage.governor(policy(), ledger=line.url)
    line.befalls(command, Fault.STALL, times=ALWAYS)
    with pytest.raises(LedgerUnavailable, match=r"redis://127.0.0.1:.* cannot be reached: Timeout"):
        caller.call(**tagged("unheard"))
    assert stage.sent() == []
    line.heal()
    assert caller.call(**tagged("heard")).receipt.settled
    assert sound(stage).excess == 0


@pytest.fixture
def patient(redis_server):
    """A line whose time-out leaves time to open many connections."""
    with BadLine(redis_server.port, timeout_s=1) as made:
        yield made


@pytest.fixture
def idle(stage, patient, redis_server):
    """A governor with a dozen idle connections."""
    caller = stage.governor(policy(), ledger=patient.url)
    caller.call(**tagged("before"))
    with redis_server.client() as server:
        server.client_pause(10_000, all=False)  # scripts wait, connecting does not
        calls = [caller.start(**tagged(f"idle-{number}", user=f"u-{number}")) for number in range(12)]
        until(lambda: patient.open >= 12)
        server.client_unpause()
    for call in calls:
        assert call.result().receipt.settled
    return caller


@on_redis
def test_connections_that_were_cut_while_idle_are_made_anew(stage, patient, idle):
    """However many connections died between two calls, nobody is refused for it."""
    patient.cut()
    for number in range(12):
        assert idle.call(**tagged(f"second-{number}")).receipt.settled
    assert sound(stage).excess == 0


@on_redis
def test_connections_that_died_without_a_word_cost_one_time_out(stage, patient, idle):
    """Where nothing passes any more on idle connections, a call meets one of them at most, and is served."""
    patient.fall_silent()
    for call in [idle.start(**tagged(f"second-{number}", user=f"u-{number}")) for number in range(8)]:
        assert call.result().receipt.settled
    assert sound(stage).excess == 0
