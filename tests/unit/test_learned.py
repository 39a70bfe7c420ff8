"""What a call will probably cost, by what calls of its kind really used."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.pricing import Ceiling
from governor.story.learned import MOST_KEYS, WINDOW_CALLS, Learned

KEY = ("team", "review", "claude-sonnet-5-5", True)


def ceiling(prompt_nanos=1_000, max_tokens=100, per_token=10):
    """A ceiling whose prompt and output cost this."""
    output_nanos = max_tokens * per_token
    return Ceiling(prompt_nanos + output_nanos, 0, 0, max_tokens, output_nanos)


def taught(*calls, key=KEY):
    """What is learned from calls of a prompt's and an output's cost, each held with `ceiling()`."""
    learned = Learned()
    for prompt_nanos, output_tokens in calls:
        learned.observe(key, ceiling(), prompt_nanos + output_tokens * 10, output_tokens)
    return learned


def test_nothing_is_expected_before_the_first_call():
    """Without a call of its kind there is no expectation, rather than a guess."""
    assert Learned().expected_nanos(KEY, ceiling()) is None


@pytest.mark.parametrize("index", range(4))
def test_each_kind_is_learned_apart(index):
    """Another department, feature, model or way of measuring the prompt says nothing of this one."""
    other = tuple("another" if place == index else part for place, part in enumerate(KEY))
    assert taught((500, 20), key=other).expected_nanos(KEY, ceiling()) is None


def test_one_call_teaches_its_prompt_share_and_its_output():
    """Half of the prompt's ceiling and 20 tokens of output are expected of the next, larger call."""
    learned = taught((500, 20))
    assert learned.expected_nanos(KEY, ceiling()) == 500 + 200
    assert learned.expected_nanos(KEY, ceiling(prompt_nanos=8_000, max_tokens=50)) == 4_000 + 200
    assert learned.expected_nanos(KEY, ceiling(per_token=30)) == 500 + 600


def test_no_more_output_is_expected_than_is_allowed():
    """A smaller `max_tokens` bounds what will come; none at all is a warming of the cache."""
    learned = taught((500, 80))
    assert learned.expected_nanos(KEY, ceiling(max_tokens=30)) == 500 + 300
    assert learned.expected_nanos(KEY, ceiling(max_tokens=0)) == 500


def test_a_mean_of_several_calls_is_expected():
    """Outputs of 10 and 30 tokens make some 20, prompts of 200 and 600 of 1,000 make some 400."""
    found = taught((200, 10), (600, 30)).expected_nanos(KEY, ceiling())
    assert found == pytest.approx(400 + 200, rel=0.03)


def test_old_calls_fade():
    """After a change of habit the old calls weigh less and less."""
    learned = taught(*[(1_000, 100)] * 10, *[(100, 10)] * (4 * WINDOW_CALLS))
    assert learned.expected_nanos(KEY, ceiling()) == pytest.approx(200, rel=0.1)


def test_a_call_that_cost_less_than_its_output_teaches_a_free_prompt():
    """Where a batch or an unbilled part made it cheap, the prompt's share is none, never below."""
    learned = Learned()
    learned.observe(KEY, ceiling(), 0, 20)
    assert learned.expected_nanos(KEY, ceiling()) == 200


def test_a_free_prompt_is_expected_at_its_ceiling_where_nothing_else_is_known():
    """A call whose prompt had no ceiling teaches no share of one."""
    learned = Learned()
    learned.observe(KEY, ceiling(prompt_nanos=0), 200, 20)
    assert learned.expected_nanos(KEY, ceiling()) == 1_000 + 200


COUNTS = st.integers(0, 10**12)


@given(
    calls=st.lists(st.tuples(COUNTS, COUNTS, st.integers(0, 10**6)), min_size=1, max_size=30),
    prompt_nanos=COUNTS,
    max_tokens=st.integers(0, 10**6),
)
def test_the_expected_is_never_above_the_ceiling(calls, prompt_nanos, max_tokens):
    """Whatever was used before, overruns too, no more is expected than is held, and nothing below zero."""
    learned = Learned()
    for held, cost, output_tokens in calls:
        learned.observe(KEY, ceiling(held), cost, output_tokens)
    most = ceiling(prompt_nanos, max_tokens)
    found = learned.expected_nanos(KEY, most)
    assert found is not None
    assert 0 <= found <= most.nanos


@given(prompt=st.integers(0, 1_000), output=st.integers(0, 100), times=st.integers(1, 200))
def test_the_same_call_again_is_expected_to_cost_the_same(prompt, output, times):
    """However often one call was made, its like is expected at its cost, to the rounding of one token."""
    found = taught(*[(prompt, output)] * times).expected_nanos(KEY, ceiling())
    assert abs(found - (prompt + output * 10)) <= 11


def test_memory_is_bounded():
    """However many kinds of calls there are, only so many are remembered; the newest is."""
    learned = Learned()
    for number in range(MOST_KEYS + 1):
        learned.observe(("team", str(number), "m", True), ceiling(), 700, 20)
    assert learned.expected_nanos(("team", "0", "m", True), ceiling()) is None
    assert learned.expected_nanos(("team", str(MOST_KEYS), "m", True), ceiling()) == 700
