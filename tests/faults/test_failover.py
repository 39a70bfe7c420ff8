"""Calls in flight while a replica takes over, or while their organisation's slot moves to another node."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest
from support.bad_line import BadLine
from support.governed import Clock, Stage, until
from support.invariants import policy, sound, tagged
from support.redis_fleet import ClusterOfThree, UnderSentinel, wait_until
from support.redis_server import HOST

from governor.errors import LedgerUnavailable
from governor.ledger import commands as c
from governor.ledger.keys import Keys
from governor.testing import FakeClaude, Reply

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.deep, pytest.mark.usefixtures("redis_available")]
SLOW = Reply(delay_ms=200)


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def stage(request, tmp_path, org) -> Iterator[Stage]:
    """A stage without a place for its ledger yet."""
    with FakeClaude(now_ms=Clock()) as api:
        made = Stage(api, tmp_path, "", org, request.param)
        yield made
        made.close()


@pytest.fixture
def servers(stage) -> Iterator[UnderSentinel]:
    """A primary, its replica and a sentinel: the stage's ledger is there."""
    with UnderSentinel() as made:
        stage.url = made.url
        yield made
        stage.close()
        stage._open.clear()


def served(caller, name):
    """A call that is made again while the ledger is away."""

    def attempt():
        try:
            return caller.call(**tagged(name))
        except LedgerUnavailable:
            return None

    return until(attempt)


def answers(stage):
    """Whether the ledger answers the stage, which has connections of its own to the dead primary."""
    try:
        return stage.ledger.execute(c.Inspect()).created
    except LedgerUnavailable:
        return False


def test_a_call_in_flight_outlives_a_failover(stage, servers):
    """What was replicated is all there: every call is charged its bill on the new primary, once."""
    caller = stage.governor(policy())
    caller.call(**tagged("before"))
    stage.api.replies(SLOW)
    calls = [caller.start(**tagged(f"in-flight-{number}", user=f"u-{number}")) for number in range(4)]
    until(lambda: len(stage.sent()) == 5)
    servers.fail_over()
    for call in calls:
        assert call.result().content
    stage.api.replies(Reply())
    for name in ("after", "and-again"):  # by now the ledger is told of those that could not be settled
        served(caller, name)
    until(lambda: answers(stage))
    assert stage.holds() == ()
    assert sound(stage).excess == 0


def test_what_was_not_replicated_is_lost(stage, servers):
    """A call that the dead primary did not pass on is missing; a hold it had settled is charged whole."""
    caller = stage.governor(policy())
    with BadLine(servers.primary.port) as link, servers.replica.client() as replica:
        replica.execute_command("REPLICAOF", HOST, link.port)
        wait_until(lambda: replica.info("replication")["master_link_status"] == "up")
        caller.call(**tagged("before"))
        stage.api.replies(SLOW)
        call = caller.start(**tagged("settled"))
        until(lambda: len(stage.sent()) == 2)
        with servers.primary.client() as primary:
            assert primary.execute_command("WAIT", 1, 5000) == 1
        link.fall_silent()
        assert call.result().receipt.settled
        stage.api.replies(Reply())
        caller.call(**tagged("missing"))
        servers.primary.kill()
        wait_until(lambda: servers.primary_port() == servers.replica.port)
    served(caller, "after")
    until(lambda: answers(stage))
    books = sound(stage, guessed=["settled"], lost=["missing"])
    assert "missing" not in books.charged
    assert books.charged["settled"] > books.billed["settled"]


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_calls_go_on_while_their_slot_moves(stage):
    """Every call of a team whose slot moves to and fro is served, and charged its bill once."""
    with ClusterOfThree() as cluster:
        stage.url = cluster.url
        caller = stage.governor(policy())
        caller.call(**tagged("before"))
        for round_number in range(3):
            stage.api.replies(SLOW)
            calls = [
                caller.start(**tagged(f"call-{round_number}-{number}", user=f"u-{number}"))
                for number in range(12)
            ]
            until(lambda seen=12 * round_number: len(stage.sent()) > 1 + seen)
            cluster.move_slot_of(Keys(stage.org).meta)
            for call in calls:
                assert call.result().receipt.settled
        stage.api.replies(Reply())
        assert sound(stage).excess == 0
        stage.close()
        stage._open.clear()
    gc.collect()  # redis-py's async cluster forgets connections that a refresh of its nodes met half open
