"""kill -9 at every step of a call: once its hold is over, its bill is in the ledger."""

from __future__ import annotations

import pytest
from support.bad_line import BadLine, Fault
from support.governed import until
from support.invariants import every_bill_is_in_the_ledger, policy, sound
from support.stages import on_redis
from support.victims import victim

from governor.testing import (
    Reply,
    cut_mid_stream,
    hang_before_head,
    rate_limited,
    stall_mid_stream,
    status_error,
)

LONG = Reply(output_tokens=200, event_delay_ms=2)
ASKED, DONE = Fault.STALL, Fault.SWALLOW
"""The process dies when its command has left it; or when it is carried out, and before the reply is read."""

WHEN = pytest.mark.parametrize("when", [ASKED, DONE], ids=["asked", "done"])


@pytest.fixture
def line(stage, redis_server):
    """A line between the process that dies and Redis: it sees every command of it, and strikes there."""
    stage.write(policy())
    stage.holds()  # this makes the ledger; the dying process does not
    with BadLine(redis_server.port, timeout_s=20) as made:
        yield made


@pytest.fixture
def processes():
    """The processes that a test starts; none is left behind."""
    started = []
    yield started
    for process in started:
        process.kill()
        process.join()


@pytest.fixture
def dies_at(stage, line, processes):
    """Lets a process call, and kills it with a command on its way."""

    def die(verb, when, *names, skip=0):
        process = victim(stage, line.url, *(names or ("victim",)))
        processes.append(process)
        line.befalls(verb, when, skip=skip, act=process.kill)
        process.start()
        process.join()
        assert (process.exitcode, line.befallen[-1]) == (-9, verb)

    return die


@pytest.fixture
def dies_once(stage, line, processes):
    """Lets a process call, and kills it once something has come true."""

    def die(holds):
        process = victim(stage, line.url, "victim")
        processes.append(process)
        process.start()
        until(holds)
        process.kill()
        process.join()

    return die


def outcomes(stage, name="victim"):
    """What the journal says became of a call."""
    return [entry.outcome for entry in stage.journal(identifier=name)]


@on_redis
def test_while_its_prompt_is_counted(stage, dies_once):
    """Nothing is held yet, nothing was sent: nothing is charged."""
    stage.api.count_fault(hang_before_head())
    dies_once(lambda: stage.api.counts)
    stage.api.count_fault(None)
    assert outcomes(stage) == []
    sound(stage)


@WHEN
@on_redis
def test_at_its_reserve(stage, dies_at, when):
    """A hold that was opened is charged when it expires: nobody else can know that nothing was sent."""
    dies_at("reserve", when)
    assert len(stage.holds()) == when.arrives
    books = sound(stage, guessed=["victim"])
    assert outcomes(stage) == (["held", "expired"] if when.arrives else [])
    assert (books.excess > 0, "victim" in books.billed) == (when.arrives, False)


@on_redis
def test_while_the_api_answers(stage, dies_once):
    """The API bills an answer that nobody reads: the whole hold covers it."""
    stage.api.inject(hang_before_head(billed=True, reply=LONG))
    dies_once(stage.sent)
    books = sound(stage, guessed=["victim"])
    assert 0 < books.billed["victim"] <= books.charged["victim"]
    assert outcomes(stage) == ["held", "expired"]


@on_redis
def test_in_the_middle_of_a_stream(stage, line, dies_once):
    """A stream whose reader is gone is billed for what was sent: the whole hold covers it."""
    stage.api.inject(stall_mid_stream(after_events=8, reply=LONG))
    dies_once(lambda: "extend" in line.seen)
    books = sound(stage, guessed=["victim"])
    assert 0 < books.billed["victim"] <= books.charged["victim"]
    assert outcomes(stage) == ["held", "expired"]


@WHEN
@pytest.mark.parametrize("skip", [0, 3], ids=["first", "later"])
@on_redis
def test_at_an_extension(stage, dies_at, when, skip):
    """An extended hold, too, ends a time to live after its last extension."""
    stage.api.next(LONG)
    dies_at("extend", when, skip=skip)
    books = sound(stage, guessed=["victim"])
    assert 0 < books.billed["victim"] <= books.charged["victim"]
    assert outcomes(stage) == ["held", "expired"]


@WHEN
@pytest.mark.parametrize("skip", [0, 1], ids=["before-the-pause", "after-it"])
@on_redis
def test_between_two_tries(stage, dies_at, when, skip):
    """Refused by the API and not yet sent again: not billed, and charged as every dead one."""
    stage.api.inject(rate_limited(retry_after=0))
    dies_at("extend", when, skip=skip)
    books = sound(stage, guessed=["victim"])
    assert "victim" not in books.billed
    assert outcomes(stage) == ["held", "expired"]


@WHEN
@on_redis
def test_at_its_settle(stage, dies_at, when):
    """A settle that arrived is exact; else the hold is charged whole, which covers the bill."""
    stage.api.next(LONG)
    dies_at("settle", when)
    books = sound(stage, guessed=[] if when.arrives else ["victim"])
    assert outcomes(stage) == ["held", "settled" if when.arrives else "expired"]
    assert (books.excess > 0) == (not when.arrives)


@WHEN
@on_redis
def test_at_the_settle_of_a_cut_stream(stage, dies_at, when):
    """What is charged by rule, and the whole hold, both cover the bill of a cut stream."""
    stage.api.inject(cut_mid_stream(after_events=8, reply=LONG))
    dies_at("settle", when)
    sound(stage, guessed=["victim"])
    assert outcomes(stage) == ["held", "settled" if when.arrives else "expired"]


@WHEN
@on_redis
def test_at_its_release(stage, dies_at, when):
    """A release that arrived gives all back; else the hold is charged as every dead one."""
    stage.api.inject(status_error(400))
    dies_at("release", when)
    books = sound(stage, guessed=["victim"])
    assert outcomes(stage) == ["held", "released" if when.arrives else "expired"]
    assert (books.excess > 0) == (not when.arrives)


@WHEN
@on_redis
def test_while_it_closes_the_hold_of_a_dead_one(stage, dies_at, when):
    """A hold whose closer dies as well is closed all the same, and once."""
    stage.hold("department=team/usd/life", 1000, 10**9, name="dead")
    stage.clock.forward(3600)
    dies_at("expire", when)
    sound(stage, guessed=["victim", "dead"])
    assert outcomes(stage, "dead") == ["held", "expired"]


@WHEN
@on_redis
def test_while_it_tells_what_the_ledger_had_not_heard(stage, line, dies_at, when):
    """An ending that the dying tells counts if it arrived; else the expiry of its hold does."""
    line.befalls("settle", Fault.CUT, times=3)
    dies_at("settle", when, "unheard", "victim")
    every_bill_is_in_the_ledger(stage, guessed=["unheard"], lost=[] if when.arrives else ["unheard"])
    books = sound(stage, guessed=[] if when.arrives else ["unheard"])
    assert outcomes(stage, "unheard") == ["held", "settled" if when.arrives else "expired"]
    assert "victim" not in books.charged


@on_redis
def test_after_its_settle(stage, dies_at):
    """The next call of a process that died counts for itself: what was settled before stays as it was."""
    dies_at("reserve", DONE, "first", "victim", skip=1)
    books = sound(stage, guessed=["victim"])
    assert books.charged["first"] == books.billed["first"] > 0
    assert outcomes(stage, "first") == ["held", "settled"]
