"""Redis is emptied, loses its scripts, or is full, with calls in flight."""

from __future__ import annotations

import pytest
from support.bad_line import BadLine, Fault
from support.invariants import TTL_MS, policy, sound, tagged

from governor import LedgerUnavailable
from governor.ledger import commands as c
from governor.testing import Reply, status_error

STREAM = Reply(output_tokens=200, event_delay_ms=2)


def say(server, *words):
    """One command to the server itself."""
    with server.client() as client:
        return client.execute_command(*words)


def while_it_is_answered(stage, *acts):
    """The reply to the next call, before which *acts* happen."""

    def reply(_body):
        stage.api.replies(STREAM)
        for act in acts:
            act()
        return STREAM

    stage.api.replies(reply)


@pytest.fixture(autouse=True)
def _extended_at_every_event(monkeypatch):
    monkeypatch.setattr("governor.story.sending.EXTEND_EVERY_S", 0.0)


def outcomes(stage, name="call"):
    """What the journal says became of a call."""
    return [entry.outcome for entry in stage.journal(identifier=name)]


@pytest.mark.parametrize("word", ["FLUSHALL", "FLUSHDB"])
def test_an_emptied_redis_refuses_and_forgets_no_call_in_flight(down, own_redis, word):
    """Nothing is sent until it is created anew; then the call in flight is posted, those before are lost."""
    caller = down.governor(policy())
    caller.call(**tagged("before"))
    while_it_is_answered(down, lambda: say(own_redis, word))
    assert not caller.call(**tagged("call", max_tokens=1000)).receipt.settled
    for gov in (caller, down.governor(None, create_ledger=False)):
        with pytest.raises(LedgerUnavailable, match=r"emptied or never created; .*governor ledger create"):
            gov.call(**tagged("refused"))
    assert len(down.sent()) == 2
    down.ledger.execute(c.Create("another"))
    assert caller.call(**tagged("after")).receipt.settled
    (entry,) = down.journal(identifier="call")
    assert (entry.outcome, "unknown=1" in entry.detail) == ("settled", True)
    books = sound(down, lost=["before"])
    assert books.excess == -books.billed["before"]


def test_a_redis_created_anew_while_a_call_is_in_flight_is_told_of_it(down, own_redis):
    """A settle that finds another ledger under its name posts there, at the first try."""
    caller = down.governor(policy())
    while_it_is_answered(
        down, lambda: say(own_redis, "FLUSHALL"), lambda: down.ledger.execute(c.Create("another"))
    )
    assert caller.call(**tagged("call", max_tokens=1000)).receipt.settled
    assert sound(down).excess == 0


def test_scripts_lost_at_any_step_are_sent_again(down, own_redis):
    """SCRIPT FLUSH before each command of a call, and of an ending by hand: nobody notices."""
    with BadLine(own_redis.port) as line:
        caller = down.governor(policy(), ledger=line.url)
        for verb in ("reserve", "extend", "settle", "release", "expire"):
            caller.call(**tagged(f"warm-{verb}"))
            down.api.inject(status_error(400)) if verb == "release" else down.api.next(STREAM)
            if verb == "expire":
                down.hold("department=team/usd/life", 1000, 10**9, name="dead")
                down.clock.forward(3600)
            line.befalls(verb, Fault.CUT, act=lambda: say(own_redis, "SCRIPT", "FLUSH"))
            if verb == "release":
                with pytest.raises(Exception, match="400"):
                    caller.call(**tagged("call-release"))
            else:
                assert caller.call(**tagged(f"call-{verb}", max_tokens=1000)).receipt.settled
            assert line.befallen[-1] == verb
    sound(down, guessed=["dead"])


def test_a_full_redis_refuses_who_comes_and_lets_out_who_is_in(down, own_redis):
    """Without memory no hold is opened; holds are extended, settled, released and expired as ever."""
    caller, fresh = down.governor(policy()), down.governor(None, create_ledger=False)
    caller.call(**tagged("before"))
    down.hold("department=team/usd/life", 1000, 10**9, name="dead")
    down.clock.forward(3600)
    released = down.hold("department=team/usd/life", 500, 10**9, name="given-back")
    while_it_is_answered(down, lambda: say(own_redis, "CONFIG", "SET", "maxmemory", "1"))
    assert caller.call(**tagged("call", max_tokens=1000)).receipt.settled
    assert down.ledger.execute(c.Extend("given-back", TTL_MS)).state == "open"
    assert down.ledger.execute(released).state == "released"
    assert [hold.id for hold in down.holds()] == []
    assert (outcomes(down, "dead"), outcomes(down)) == (["held", "expired"], ["held", "settled"])
    for gov in (caller, fresh):
        with pytest.raises(LedgerUnavailable, match=r"redis://.* is full: raise its maxmemory"):
            gov.call(**tagged("refused"))
    assert len(down.sent()) == 2
    say(own_redis, "CONFIG", "SET", "maxmemory", "0")
    for gov in (caller, fresh):
        assert gov.call(**tagged(f"after-{len(down.sent())}")).receipt.settled
    sound(down, guessed=["dead"])


def test_a_late_settle_is_posted_to_a_full_redis(down, own_redis):
    """A hold that expired while memory was full, and is settled after that, is charged its bill."""
    caller = down.governor(policy())
    caller.call(**tagged("before"))
    assert down.holds() == ()

    def expire():
        say(own_redis, "CONFIG", "SET", "maxmemory", "1")
        down.clock.forward(3600)
        due = tuple(c.DueHold(hold.id, hold.balances) for hold in down.holds())
        assert down.ledger.execute(c.Expire(due)).ids == ("call",)

    while_it_is_answered(down, expire)
    assert caller.call(**tagged("call", max_tokens=1000)).receipt.settled
    assert outcomes(down) == ["held", "expired", "settled_late"]
    say(own_redis, "CONFIG", "SET", "maxmemory", "0")
    assert sound(down).excess == 0
