"""Who may send next: users take turns, at the pace that the API bears."""

from __future__ import annotations

import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.traffic_told import OK, OPUS, Clock, hear, with_limits

from governor.routing.traffic import MOST_MODELS, Heard, Traffic
from governor.routing.turns import FairQueue, Turn


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def traffic(clock):
    return Traffic("here", clock, random.Random(1))


def throttled(traffic, limit=60, remaining=2):
    """Let *traffic* know of a limit that is nearly used up: one request per second or so."""
    hear(traffic, with_limits(limit, remaining))


def play(turns, clock, for_s, step_s=0.05):
    """Ask for every ticket now and then; the owners in the order in which they went."""
    went, passed_s = [], 0.0
    while passed_s < for_s:
        for turn in list(turns):
            if turn.wait_s() == 0:
                went.append(turn.user)
                turns.remove(turn)
                turn.leave()
        clock.pass_s(step_s)
        passed_s += step_s
    return went


def test_users_take_turns(traffic, clock):
    """A user with ten tickets that came first goes once in each round."""
    throttled(traffic)
    turns = [traffic.queue(OPUS, user) for user in ["big"] * 10 + ["ada", "bob"] * 2]
    went = play(turns, clock, 30)
    assert went[0] == "big"  # nobody else was there yet
    assert sorted(went[1:7]) == sorted(["big", "ada", "bob"] * 2)
    assert len(went) == 14


def test_below_the_throttle_nobody_waits_and_above_it_they_are_spaced(traffic, clock):
    """At 70 % used all go until 80 % are; the others about as fast as the bucket refills."""
    hear(traffic, with_limits(600, 180))
    turns = [traffic.queue(OPUS, f"user-{number}") for number in range(400)]
    assert 55 <= sum(turn.wait_s() == 0 for turn in turns) <= 65
    for turn in turns:
        if not turn.sent:
            turn.leave()
    clock.pass_s(1)


def test_an_abandoned_ticket_does_not_keep_others_waiting(traffic, clock):
    """Whoever does not come back is passed over after the time it was told and a second."""
    throttled(traffic)
    for _ in range(20):
        traffic.queue(OPUS, "gone").wait_s()
    turn = traffic.queue(OPUS, "ada")
    assert play([turn], clock, 8) == ["ada"]


def test_a_turn_that_was_given_up_goes_to_the_next(traffic, clock):
    """Leaving twice is leaving once."""
    throttled(traffic)
    eve, first, second = (traffic.queue(OPUS, user) for user in ("eve", "ada", "bob"))
    assert [turn.wait_s() > 0 for turn in (eve, first, second)] == [False, True, True]
    first.leave()
    first.leave()
    assert play([second], clock, 8) == ["bob"]


def test_going_is_departing_once(traffic):
    """The ticket records it; asked again it says 0.0 and records nothing."""
    turn = traffic.queue(OPUS, "ada")
    assert (turn.wait_s(), turn.wait_s()) == (0, 0)
    turn.leave()
    assert traffic.view(OPUS).in_flight == 1


def test_a_retry_after_is_honoured_up_to_a_minute(traffic, clock):
    """Nobody goes before; `expected_s` says how long it will be."""
    traffic.departing(OPUS)
    traffic.ended(OPUS, Heard(429, limited=True, retry_after_s=20, latency_ms=10))
    turn = traffic.queue(OPUS, "ada")
    assert 0 < turn.wait_s() <= 5
    assert 20 <= turn.expected_s <= 30
    assert play([turn], clock, 19) == []
    assert play([turn], clock, 10) == ["ada"]
    traffic.departing(OPUS)
    traffic.ended(OPUS, Heard(429, limited=True, retry_after_s=1e9, latency_ms=0))
    late = traffic.queue(OPUS, "ada")
    assert play([late], clock, 59, 0.5) == []
    assert play([late], clock, 10) == ["ada"]


def test_ten_thousand_models_and_processes_are_not_all_kept_in_mind(traffic, clock):
    """The least recently used make room, and tickets of forgotten ones still go."""
    turn = traffic.queue("model-0", "ada")
    for number in range(10_000):
        traffic.departing(f"model-{number}")
        traffic.learn([(f"process-{number}", clock.ms, json.dumps({f"x-{number}": {"f": 1}}))], clock.ms)
    assert len(traffic._lanes) <= MOST_MODELS
    assert len(traffic._looked_s) <= MOST_MODELS
    assert len(traffic._board._told) <= 256
    assert len(traffic.notice()) < 1500
    assert turn.wait_s() == 0
    turn.leave()


def test_threads_may_share_it_where_it_has_a_lock(clock):
    """What eight threads begin and end adds up to nothing in flight."""
    traffic = Traffic("here", clock, random.Random(1), threading.Lock)

    def call(number):
        for _ in range(50):
            turn = traffic.queue(OPUS, f"user-{number}")
            assert turn.wait_s() == 0
            turn.leave()
            traffic.ended(OPUS, OK)
            traffic.notice()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(call, range(8)))
    assert traffic.view(OPUS).in_flight == 0


def test_who_comes_first_again_leaves_the_others_where_they_were():
    """A ticket whose turn was taken back goes before all; nobody behind thinks that it is next."""
    queue = FairQueue()
    turns = [Turn(user, 8000, lambda _: 1.0, queue.discard) for user in ["ada", "bob", "cy", "di"]]
    for turn in turns:
        turn.back_by_s = 60.0
        queue.add(turn)
    assert queue.next(0.0) is turns[0]
    queue.add(turns[0], first=True)
    assert [queue.ahead(turn) for turn in turns] == [0, 0, 1, 2]
    assert queue.next(0.0) is turns[0]
