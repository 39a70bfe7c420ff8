"""Redis dies and comes back, calls in flight: what it had synced is there, what it had not is as stated."""

from __future__ import annotations

import pytest
from support.bad_line import ALWAYS, BadLine, Fault
from support.governed import Stage, until
from support.invariants import TTL_MS, policy, sound, tagged
from support.redis_server import RedisServer

from governor.testing import Reply

SLOW = Reply(output_tokens=60, delay_ms=150)
"""An answer that is still to come when Redis dies."""


@pytest.fixture(params=["always", "everysec"])
def synced(request, shared_api, tmp_path, org, redis_available):
    """A stage on a Redis with an append-only file that is synced so; blocking and async in turns."""
    shared_api.reset()
    with RedisServer(appendonly=True, appendfsync=request.param) as server:
        made = Stage(shared_api, tmp_path, server.url, org, is_async=request.param == "always")
        made.server = server
        yield made
        made.close()
    shared_api.wait_idle()


@pytest.mark.parametrize("orderly", [True, False], ids=["orderly", "killed"])
def test_it_restarts_while_calls_are_in_flight(synced, orderly):
    """A process of Redis that ends loses nothing that it answered: every call is charged its bill, once."""
    caller = synced.governor(policy())
    for number in range(8):
        caller.call(**tagged(f"before-{number}"))
    synced.api.replies(SLOW)
    calls = [caller.start(**tagged(f"in-flight-{number}", user=f"u-{number}")) for number in range(4)]
    until(lambda: len(synced.sent()) == 12)
    if orderly:
        synced.server.stop()
    else:
        synced.server.kill()
    synced.server.start()
    for call in calls:
        assert call.result().content
    synced.api.replies(Reply())
    caller.call(**tagged("after"))
    assert sound(synced).excess == 0


@pytest.fixture
def caller(down):
    """A governor on a Redis of its own, with one call behind it."""
    made = down.governor(policy())
    made.call(**tagged("before"))
    return made


def lose_power(down, own_redis, kept):
    """Let Redis come back without what it wrote after its file had *kept* bytes."""
    own_redis.lose_power(kept)
    own_redis.start()


def outcomes(stage, name="call"):
    """What the journal says became of a call."""
    return [entry.outcome for entry in stage.journal(identifier=name)]


def cut_in_flight(down, own_redis, kept):
    """From now on, Redis loses power while the API has a request."""

    def cut(_body):
        own_redis.lose_power(kept)
        own_redis.start()
        return Reply()

    down.api.replies(cut)


def test_a_call_that_was_lost_whole_is_not_in_the_ledger(down, own_redis, caller):
    """Begun and ended in what was lost: its bill, and nothing else, is missing."""
    kept = own_redis.written()
    caller.call(**tagged("call"))
    lose_power(down, own_redis, kept)
    books = sound(down, lost=["call"])
    assert books.excess == -books.billed["call"] < 0


def test_a_settle_that_was_lost_leaves_its_hold(down, own_redis, caller):
    """The hold stands again, though its caller was told that it is settled: it expires, charged whole."""
    written = []

    def note(_body):
        written.append(own_redis.written())
        return Reply()

    down.api.replies(note)
    assert caller.call(**tagged("call")).receipt.settled
    down.api.replies(Reply())
    lose_power(down, own_redis, written[0])
    books = sound(down, guessed=["call"])
    assert outcomes(down) == ["held", "expired"]
    assert books.excess > 0


def test_a_hold_that_was_lost_is_posted_by_its_settle(down, own_redis, caller):
    """A call in flight whose hold is gone is charged its bill all the same, flagged as unknown."""
    cut_in_flight(down, own_redis, own_redis.written())
    assert caller.call(**tagged("call")).receipt.settled
    down.api.replies(Reply())
    (entry,) = down.journal(identifier="call")
    assert (entry.outcome, "unknown=1" in entry.detail) == ("settled", True)
    assert sound(down).excess == 0


def test_an_extension_that_was_lost_lets_a_hold_expire_early(down, own_redis, caller, monkeypatch):
    """The hold of a stream that runs is closed as if its process were dead; its settle puts that right."""
    monkeypatch.setattr("governor.story.sending.EXTEND_EVERY_S", 0.0)
    written = []

    def note(_body):
        written.append(own_redis.written())
        down.clock.forward(TTL_MS / 1000 - 10)
        return Reply(output_tokens=200, event_delay_ms=20)

    down.api.replies(note)
    with BadLine(own_redis.port) as line:
        streaming = down.governor(None, ledger=line.url)
        line.befalls("extend", Fault.CUT, times=ALWAYS, skip=1)
        call = streaming.start(**tagged("call", max_tokens=1000))
        until(lambda: line.befallen)  # so the one before has come
        lose_power(down, own_redis, written[0])
        down.clock.forward(20)
        down.api.replies(Reply())
        caller.call(**tagged("living"))
        assert outcomes(down) == ["held", "expired"]
        assert call.result().receipt.settled
    assert outcomes(down) == ["held", "expired", "settled_late"]
    assert sound(down).excess == 0


def test_an_expiry_that_was_lost_happens_again(down, own_redis, caller):
    """A dead process's hold that stands again is closed again; it counts once."""
    down.hold("department=team/usd/life", 1000, 10**9, name="dead")
    kept = own_redis.written()
    down.clock.forward(3600)
    caller.call(**tagged("call"))
    assert outcomes(down, "dead") == ["held", "expired"]
    lose_power(down, own_redis, kept)
    books = sound(down, guessed=["dead"], lost=["call"])
    assert outcomes(down, "dead") == ["held", "expired"]
    assert books.charged["dead"] == 1000
