"""How often a ledger that was away is asked again, by a clock that the test moves."""

from __future__ import annotations

import pytest

from governor.story.breaker import AGAIN_S, LONGEST_TURN_S, Breaker


class Seconds:
    """A clock that never goes back."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def seconds():
    return Seconds()


@pytest.fixture
def breaker(seconds):
    return Breaker(seconds)


def test_a_ledger_that_answers_is_asked_by_everybody(breaker):
    """Nothing is kept back while it is there."""
    assert all(breaker.turn() for _ in range(3))


def test_one_at_a_time_asks_again(breaker, seconds):
    """After a failure nobody asks for a second; then one does, and the others wait for what it finds."""
    breaker.away("no route")
    assert (breaker.turn(), breaker.why) == (False, "no route")
    seconds.now += AGAIN_S[0]
    assert [breaker.turn() for _ in range(3)] == [True, False, False]
    breaker.there()
    assert all(breaker.turn() for _ in range(3))


def test_a_turn_that_nobody_ends_goes_to_another(breaker, seconds):
    """Whoever was given up while it asked does not keep the others from asking for ever."""
    breaker.away("")
    seconds.now += AGAIN_S[0]
    assert breaker.turn()
    seconds.now += LONGEST_TURN_S - 1
    assert not breaker.turn()
    seconds.now += 1
    assert breaker.turn()


@pytest.mark.parametrize(("took", "pause"), [(0.0, 1), (0.05, 1), (0.5, 5), (10.0, 30)])
def test_a_long_silence_is_asked_less_often(breaker, seconds, took, pause):
    """Where asking takes long, a time-out say, at most a tenth of the time is spent on it, up to a bound."""
    breaker.away("")
    seconds.now += AGAIN_S[0]
    assert breaker.turn()
    seconds.now += took
    breaker.away("")
    seconds.now += pause - 0.01
    assert not breaker.turn()
    seconds.now += 0.02
    assert breaker.turn()
