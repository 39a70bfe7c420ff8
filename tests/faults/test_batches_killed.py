"""kill -9 at every step of a batch: nothing is lost, and nothing is posted twice."""

from __future__ import annotations

import pytest
from support.bad_line import BadLine, Fault
from support.batch_victims import ITEMS, victim
from support.batched import USD, batched, held, item, policy, settled_once, whole
from support.governed import until
from support.stages import on_redis

from governor.testing import hang_before_head

ASKED, DONE = Fault.STALL, Fault.SWALLOW
"""The process dies when its command has left it; or when it is carried out, and before the reply is read."""

WHEN = pytest.mark.parametrize("when", [ASKED, DONE], ids=["asked", "done"])
TWO_DAYS_S = 2 * 24 * 3600 + 61


@pytest.fixture
def line(stage, redis_server):
    """A line between the process that dies and Redis: it sees every command of it, and strikes there."""
    stage.meet(batches="when_told")
    stage.write(policy())
    stage.holds()  # this makes the ledger; the dying process does not
    with BadLine(redis_server.port, timeout_s=20) as made:
        yield made


@pytest.fixture
def dies_at(stage, line):
    """Lets a process work on a batch, and kills it with a command on its way."""
    started = []

    def die(verb, when, work, skip=0):
        process = victim(stage, line.url, work)
        started.append(process)
        line.befalls(verb, when, skip=skip, act=process.kill)
        process.start()
        process.join()
        assert (process.exitcode, line.befallen[-1]) == (-9, verb)

    yield die
    for process in started:
        process.kill()
        process.join()


def made(stage):
    """The ids of the batches that the API has made."""
    return [batch.id for batch in stage.api.client().messages.batches.list()]


def ended(stage):
    """Every batch ends, two days pass, and another process drains and makes a call."""
    stage.api.end_batches()
    stage.clock.forward(TWO_DAYS_S)
    other = stage.governor()
    other.call()
    return batched(stage).drain()


@on_redis
@WHEN
@pytest.mark.parametrize("skip", range(4), ids=["first", "second", "last", "note"])
def test_dead_before_it_is_sent(stage, dies_at, skip, when):
    """What was held for a batch that was never sent is charged when its time is over, and then it is over."""
    dies_at("reserve", when, "create", skip=skip)
    assert made(stage) == []
    count = min(skip + (when is DONE), len(ITEMS))
    assert held(stage) == list(ITEMS[:count])
    charged = sum(stage.balances()[name].held for name in stage.balances() if name == USD)
    drained = ended(stage)
    assert drained.items == 0
    assert stage.posted(USD) == charged + stage.api.billed_nanos
    assert held(stage) == []


@on_redis
def test_dead_while_the_api_makes_it(stage, line):
    """A batch whose maker died before it heard of it is found by a drain, and settled once."""
    stage.api.batch_fault(hang_before_head(billed=True))
    process = victim(stage, line.url, "create")
    process.start()
    until(lambda: made(stage))
    process.kill()
    process.join()
    assert (held(stage), whole(stage)) == (list(ITEMS), ["batch.new"])
    stage.api.end_batches()
    drained = batched(stage).drain()
    assert (drained.settled, drained.unknown) == (len(ITEMS), 0)
    settled_once(stage)


@on_redis
@WHEN
@pytest.mark.parametrize("verb", ["reserve", "release"], ids=["before-its-note", "after-its-note"])
def test_dead_after_it_is_made(stage, dies_at, verb, when):
    """Killed around the note of which batch it is, its items are settled at what they cost."""
    dies_at(verb, when, "create", skip=4 if verb == "reserve" else 0)
    assert len(made(stage)) == 1
    drained = ended(stage)
    assert (drained.settled, drained.unknown) == (len(ITEMS), 0)
    assert stage.posted(USD) == stage.api.billed_nanos
    assert held(stage) == []
    again = batched(stage).drain()
    assert again.settled == 0
    assert stage.posted(USD) == stage.api.billed_nanos


@on_redis
@WHEN
@pytest.mark.parametrize("skip", range(4), ids=["first", "second", "last", "batch"])
def test_a_reader_dies_between_lines(stage, dies_at, skip, when):
    """Whatever a drain had done when it was killed, the next one does the rest, and no more."""
    batched(stage).create([item(name) for name in ITEMS])
    stage.api.end_batches()
    dies_at("settle", when, "drain", skip=skip)
    drained = batched(stage).drain()
    assert drained.settled + drained.known in (0, len(ITEMS))
    settled_once(stage)
