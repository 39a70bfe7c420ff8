"""Counts that are remembered, and how long the API is left alone."""

from __future__ import annotations

import pytest

from governor.story.counter import MOST_COUNTS, PAUSE_MS, Counter

NOW_MS = 1_795_176_000_000


def test_a_count_is_remembered_for_its_content_and_its_tokenizer():
    """The same words have other counts in another tokenizer, and other words have their own."""
    counter = Counter()
    counter.keep(2026, b"hello", 13)
    assert counter.find(2026, b"hello") == 13
    assert counter.find(2024, b"hello") is None
    assert counter.find(2026, b"other") is None


def test_a_count_of_nothing_is_a_count():
    """Zero tokens are remembered as zero, not as unknown."""
    counter = Counter()
    counter.keep(2026, b"", 0)
    assert counter.find(2026, b"") == 0


def test_content_that_has_no_digest_is_not_remembered():
    """What cannot be told apart from other content is counted every time."""
    counter = Counter()
    counter.keep(2026, None, 13)
    assert counter.find(2026, None) is None


def test_memory_is_bounded():
    """However many prompts are counted, only so many are remembered; the newest is."""
    counter = Counter()
    for number in range(MOST_COUNTS + 1):
        counter.keep(2026, str(number).encode(), number)
    assert counter.find(2026, b"0") is None
    assert counter.find(2026, str(MOST_COUNTS).encode()) == MOST_COUNTS


def test_a_counter_starts_unpaused():
    """Nobody waits before the API has said anything."""
    assert not Counter().paused(0)


@pytest.mark.parametrize(
    ("seconds", "pause_ms"), [(0, PAUSE_MS[0]), (0.2, PAUSE_MS[0]), (7.5, 7_500), (86_400, PAUSE_MS[1])]
)
def test_a_pause_lasts_as_long_as_the_api_asks_within_bounds(seconds, pause_ms):
    """At least a second, so that it is a pause, and at most a minute, which is the limit's own."""
    counter = Counter()
    counter.pause(NOW_MS, seconds)
    assert counter.paused(NOW_MS)
    assert counter.paused(NOW_MS + pause_ms - 1)
    assert not counter.paused(NOW_MS + pause_ms)


def test_counts_are_found_during_a_pause():
    """Remembered counts need no API."""
    counter = Counter()
    counter.keep(2026, b"hello", 13)
    counter.pause(NOW_MS, 5)
    assert counter.find(2026, b"hello") == 13
