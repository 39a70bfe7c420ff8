"""What processes tell each other of the models: together they know more, and nonsense changes nothing."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.traffic_told import BUSY, OK, OPUS, REFUSED, START_MS, Clock, hear, told, with_limits

from governor.routing.traffic import MOST_MODELS, Heard, Load, Traffic


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def traffic(clock):
    return Traffic("here", clock, random.Random(1))


def exchange(sender, receiver, clock, name):
    """What *sender* has to say reaches *receiver*."""
    text = sender.notice()
    if text is not None:
        receiver.learn([(name, clock.ms, text)], clock.ms)
    return text


def test_a_breaker_opened_there_is_open_here_and_closed_everywhere_by_one_probe(clock):
    """Told at once, with a time of its own in each process."""
    here, there = Traffic("here", clock, random.Random(1)), Traffic("there", clock, random.Random(2))
    hear(here, OK)
    here.notice()
    hear(here, BUSY, 5)
    assert exchange(here, there, clock, "here") is not None
    assert there.view(OPUS).state == "open"
    assert there.view(OPUS).opens_in_s != here.view(OPUS).opens_in_s
    clock.pass_s(60.5)
    there.departing(OPUS)
    there.ended(OPUS, Heard(200, latency_ms=0, answered=True))
    exchange(there, here, clock, "there")
    assert (here.view(OPUS).state, there.view(OPUS).state) == ("closed", "closed")


def test_an_old_line_does_not_open_it_again(clock):
    """The line that told of the opening is read again after the breaker was closed."""
    here, there = Traffic("here", clock, random.Random(1)), Traffic("there", clock, random.Random(2))
    hear(here, BUSY, 5)
    line = ("here", clock.ms, here.notice())
    clock.pass_s(1)
    there.learn([line], clock.ms)
    clock.pass_s(59.5)
    there.departing(OPUS)
    there.ended(OPUS, Heard(200, latency_ms=0, answered=True))
    there.learn([line], clock.ms)
    assert there.view(OPUS).state == "closed"


def test_counts_of_all_processes_add_up_and_the_newest_headers_hold(clock):
    """In flight and answers together; headers of whoever heard last."""
    here, there = Traffic("here", clock), Traffic("there", clock)
    hear(there, with_limits(100, 80))
    clock.pass_s(1)
    hear(here, with_limits(100, 40))
    hear(here, BUSY, 2)
    here.departing(OPUS)
    there.departing(OPUS)
    hear(there, OK, 3)
    exchange(here, there, clock, "here")
    view = there.view(OPUS)
    assert view.in_flight == 2
    assert view.pushed_back_bp == 10_000 * 2 // 7
    assert view.headers_bp >= 5900


def test_what_was_told_a_minute_ago_counts_no_more(clock):
    """A process that died is forgotten."""
    here, there = Traffic("here", clock), Traffic("there", clock)
    here.departing(OPUS)
    exchange(here, there, clock, "here")
    assert there.view(OPUS).in_flight == 1
    clock.pass_s(61)
    assert there.view(OPUS).in_flight == 0


def test_a_notice_is_said_when_something_happened_and_not_too_often(traffic, clock):
    """Nothing new: none; within 200 ms: none, but a first 429 at once."""
    assert traffic.notice() is None
    hear(traffic, OK)
    assert traffic.notice() is not None
    clock.pass_s(0.1)
    hear(traffic, OK)
    assert traffic.notice() is None
    clock.pass_s(0.1)
    assert traffic.notice() is not None
    assert traffic.notice() is None
    hear(traffic, REFUSED)
    assert traffic.notice() is not None


@pytest.mark.parametrize(
    "line",
    [
        None, "text", (), ("there", "now", "{}"), ("there", START_MS, "{"), ("there", START_MS, None),
        ("there", START_MS, "[" * 1400), ("there", START_MS, '{"claude-opus-5-5": 3}'),
        ("there", START_MS, '{"claude-opus-5-5": {"f": -1, "n": "5", "p": true, "l": [0], "b": ["ajar"]}}'),
        ("there", START_MS, '{"claude-opus-5-5": {"f": NaN, "l": [0, {"0": [1, 2, 3]}]}}'),
        ("there", START_MS + 3_600_000, '{"claude-opus-5-5": {"f": 7}}'),
        ("there", START_MS - 3_600_000, '{"claude-opus-5-5": {"f": 7}}'),
        ("here", START_MS, '{"claude-opus-5-5": {"f": 7}}'),
    ],
)  # fmt: skip
def test_malformed_old_future_and_own_lines_are_ignored(traffic, line):
    """They change nothing."""
    traffic.learn([line], START_MS)
    assert traffic.view(OPUS) == Load()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**13) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("fnpswytglb01"), inner),
    max_leaves=10,
)


@given(st.lists(st.tuples(st.integers(-(10**14), 10**14), st.dictionaries(st.just(OPUS), _JSON)), max_size=5))
def test_whatever_others_say_loads_stay_in_bounds_and_nobody_is_held_for_long(lines):
    """Nothing raises; every share is one; a ticket is told to come back within five seconds."""
    clock = Clock()
    traffic = Traffic("here", clock, random.Random(1))
    for age_ms, text in lines:
        traffic.learn([("there", clock.ms - age_ms % 70_000, json.dumps(text))], clock.ms)
        view = traffic.view(OPUS)
        assert all(0 <= bp <= 10_000 for bp in (view.headers_bp, view.in_flight_bp, view.pushed_back_bp))
        assert 0 <= view.opens_in_s <= 60
        assert 0 <= traffic.queue(OPUS, "ada").wait_s() <= 5
        clock.pass_s(0.3)


_HEARD = st.builds(
    Heard,
    st.sampled_from([0, 200, 429, 500, 529]),
    overloaded=st.booleans(),
    limited=st.booleans(),
    retry_after_s=st.none() | st.floats(),
    latency_ms=st.integers(-(10**6), 10**12),
    input_tokens=st.integers(-5, 10**12),
    output_tokens=st.integers(-5, 10**12),
    limits=st.none() | st.builds(told, st.integers(1, 10**6), st.integers(0, 10**6)),
    answered=st.booleans(),
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["sent", "ended", "asked", "notice"]), _HEARD, st.integers(-4_000_000, 4_000_000)
        ),
        max_size=40,
    )
)
def test_whatever_is_heard_and_however_the_clock_jumps_nobody_waits_for_ever(events):
    """Nothing raises, and a ticket whose owner keeps asking goes within three minutes and a half."""
    clock = Clock()
    traffic = Traffic("here", clock, random.Random(1))
    for what, heard, jump_ms in events:
        clock.ms += jump_ms
        if what == "sent":
            traffic.departing(OPUS)
        elif what == "ended":
            traffic.ended(OPUS, heard)
        elif what == "notice":
            assert len(traffic.notice() or "") < 1500
        else:
            assert 0 <= traffic.queue(OPUS, "ada").wait_s() <= 5
    turn, waited_s = traffic.queue(OPUS, "bob"), 0.0
    while (wait_s := turn.wait_s()) > 0 and waited_s < 300:
        waited_s += wait_s
        clock.pass_s(wait_s + 0.001)
    assert waited_s < 210


def test_names_that_others_make_up_push_out_no_model_in_use(traffic, clock):
    """However many models other processes speak of, what is known of those asked here stays."""
    hear(traffic, BUSY, 5)
    for number in range(2 * MOST_MODELS):
        clock.pass_s(0.01)
        traffic.learn([(f"p{number}", clock.ms, json.dumps({f"made-up-{number}": {"f": 1}}))], clock.ms)
    assert traffic.view(OPUS).state == "open"
    assert len(traffic._lanes) == MOST_MODELS
