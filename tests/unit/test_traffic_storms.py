"""How much of what an API permits callers get who ask before they send, in virtual time.

The bare SDK's figures in the same weather stand beside some of them. Everything follows from the seed.
"""

from __future__ import annotations

import pytest
from support.traffic_world import MODEL, Api, World, crowd

from governor.routing.traffic import Heard

STORM = Api(limit=2400, burst=40, latency_s=(0.5, 0.55))
"""200 callers need 24,000 requests per minute; a tenth is permitted, and a full bucket holds one second."""


@pytest.mark.parametrize("processes", [1, 4])
@pytest.mark.parametrize(
    "api",
    [
        STORM,
        Api(),
        Api(burst=200),
        Api(retry_after=True),
        Api(headers=False),
        Api(headers=False, retry_after=True),
        Api(limit=600),
        Api(limit=600, headers=False),
        Api(limit=300, latency_s=(5, 40)),
        Api(limit=300, latency_s=(5, 40), headers=False),
        Api(fixed_window=True),
        Api(fixed_window=True, headers=False),
        Api(fixed_window=True, retry_after=True),
        Api(fixed_window=True, headers=False, retry_after=True),
    ],
    ids=[
        "a second's bucket",
        "a minute's bucket",
        "five seconds' bucket",
        "retry-after",
        "silent",
        "silent but for retry-after",
        "low limit",
        "low limit, silent",
        "slow answers",
        "slow answers, silent",
        "clock minutes",
        "clock minutes, silent",
        "clock minutes, retry-after",
        "clock minutes, silent but for retry-after",
    ],
)
def test_what_is_permitted_is_used_without_hammering(api, processes):
    """97 % of the permitted requests are admitted, at most 15 % more are sent, and no user is starved."""
    world = World(api, processes=processes)
    outcome = world.play()
    assert outcome.used >= 0.97
    assert outcome.cost <= 1.16 if not api.headers else outcome.cost <= 1.05
    assert outcome.least_share(world.callers) >= 0.5


def test_a_small_bucket_without_any_word_of_it_is_still_used():
    """A second's bucket and no header: each pause after a 429 costs something, but most is used."""
    world = World(Api(limit=2400, burst=40, headers=False))
    outcome = world.play()
    assert outcome.used >= 0.93
    assert outcome.cost <= 1.1
    assert outcome.least_share(world.callers) >= 0.5


@pytest.mark.parametrize("seed", range(3))
def test_a_storm_costs_the_bare_sdk_many_times_as_much(seed):
    """As much is admitted as the bare SDK gets by hammering, at less than a fifth of its requests."""
    bare, governed = World(STORM, processes=0, seed=seed).play(), World(STORM, seed=seed).play()
    assert governed.used >= 0.99 * bare.used
    assert 5 * governed.cost <= bare.cost


def test_ten_seconds_are_enough_to_learn():
    """60 callers and a bucket of twelve: from the first second on, what refills is used."""
    callers = crowd(18, 42, 9)
    outcome = World(Api(limit=720, burst=12, latency_s=(0.5, 0.55)), callers, for_s=10).play()
    assert outcome.used >= 0.95
    assert outcome.least_share(callers) >= 0.5


def test_a_user_with_many_callers_gets_no_more_turns_than_one_with_few():
    """60 callers against 7: with everybody waiting all the time, they get about the same."""
    world = World(Api(limit=600, burst=10, latency_s=(0.1, 0.2)))
    outcome = world.play()
    others = [count for user, count in outcome.by_user.items() if user != "big"]
    assert outcome.by_user["big"] <= 1.3 * sum(others) / len(others)


def test_without_a_limit_nobody_waits():
    """An API that bears everything is asked at once, 529s and all, and each ticket asks once."""
    world = World(Api(limit=1_000_000))
    outcome = world.play()
    assert max(world.longest_s.values()) == 0
    assert outcome.asked == pytest.approx(outcome.statuses.total(), abs=len(world.callers))


@pytest.mark.parametrize("jump_s", [3600, -3600, -5, 86_400 * 365])
@pytest.mark.parametrize("api", [STORM, Api(headers=False, burst=400), Api(retry_after=True)])
def test_a_clock_that_jumps_holds_nobody_up(api, jump_s):
    """Whichever way it jumps in mid-storm, most of what is permitted goes on being used."""
    world = World(api)
    world.at(20.0, lambda: setattr(world, "skew_ms", world.skew_ms + jump_s * 1000))
    world.at(35.0, lambda: setattr(world, "skew_ms", world.skew_ms - jump_s * 1000 // 2))
    assert world.play().used >= 0.9


@pytest.mark.parametrize(
    "lie",
    [
        {"remaining": "999999999"},
        {"remaining": "2400"},
        {"limit": "1", "remaining": "0"},
        {"limit": "999999999", "remaining": "999999999"},
        {"limit": "-1"},
        {"limit": "NaN", "remaining": "nan"},
        {"remaining": "0", "reset": "2999-01-01T00:00:00Z"},
        {"reset": "1999-01-01T00:00:00Z"},
        {"limit": "2400, 2400", "remaining": "7, 8"},
    ],
)
def test_headers_that_lie_neither_starve_nor_hammer(lie):
    """They are found out, or what they say is not believed; the 429s then teach the pace."""
    name = "anthropic-ratelimit-requests-"
    api = Api(burst=400, lie=lambda told: told | {f"{name}{field}": value for field, value in lie.items()})
    outcome = World(api).play()
    assert outcome.used >= 0.9
    assert outcome.cost <= 1.2


def test_a_pace_of_quiet_times_is_soon_left():
    """One caller is refused once; then 200 come, and within half a minute what is permitted is used."""
    world = World(Api(headers=False, burst=40))
    quiet = world.traffics[0]
    quiet.departing(MODEL)
    quiet.ended(MODEL, Heard(429, limited=True, latency_ms=10))
    assert world.play().used >= 0.6
