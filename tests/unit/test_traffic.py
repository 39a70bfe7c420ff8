"""Headers, load and breaker of what a model's API can still take, by a clock that the test moves."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.traffic_told import BUSY, OK, OPUS, REFUSED, START_MS, Clock, hear, told, with_limits

from governor.routing import limits
from governor.routing.traffic import Heard, Load, Traffic


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def traffic(clock):
    return Traffic("here", clock, random.Random(1))


# Headers


def test_headers_are_read_by_kind():
    """Each limit with what remains and its reset in Unix milliseconds; names in any case."""
    reset = "2027-01-15T08:00:05Z"
    read = limits.read(
        {
            "Anthropic-RateLimit-Input-Tokens-Limit": "50000",
            "anthropic-ratelimit-input-tokens-remaining": "12000",
            "anthropic-ratelimit-input-tokens-reset": reset,
        },
        START_MS,
    )
    assert read == limits.RateLimits(input_tokens=limits.RateLimit(50_000, 12_000, START_MS + 5000))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"limit": "100", "remaining": "101"}, limits.RateLimit(100)),
        ({"limit": "100", "remaining": "-1"}, limits.RateLimit(100)),
        ({"limit": "100", "remaining": "nan"}, limits.RateLimit(100)),
        ({"limit": "100", "remaining": "5, 5"}, limits.RateLimit(100)),
        ({"limit": "100", "remaining": "5", "reset": "2055-01-01T00:00:00Z"}, limits.RateLimit(100, 5)),
        ({"limit": "100", "remaining": "5", "reset": "2020-01-01T00:00:00Z"}, limits.RateLimit(100, 5)),
        ({"limit": "100", "remaining": "5", "reset": "soon"}, limits.RateLimit(100, 5)),
        ({"limit": "100", "remaining": "5", "reset": "2027-01-15T08:00:00"}, limits.RateLimit(100, 5)),
        ({"limit": "0", "remaining": "0"}, None),
        ({"limit": "9" * 40, "remaining": "0"}, None),
        ({"limit": "١٢", "remaining": "0"}, None),
        ({"remaining": "5"}, None),
    ],
)
def test_what_cannot_be_true_is_left_out_field_by_field(headers, expected):
    """Negative, above the limit, not a number, absurd, doubled or of another time: as if it was not there."""
    read = limits.read({f"anthropic-ratelimit-requests-{k}": v for k, v in headers.items()}, START_MS)
    assert (read.requests if read else None) == expected


def test_remaining_tokens_may_be_rounded_above_the_limit():
    """They are rounded to thousands, so a limit of 1,500 may have 2,000 remaining."""
    assert told(1500, 2000, "tokens").tokens.remaining == 1500
    assert told(1500, 2001, "tokens").tokens.remaining is None


@given(
    st.dictionaries(
        st.sampled_from(
            [
                f"anthropic-ratelimit-{k}-{f}"
                for k in ("requests", "tokens")
                for f in ("limit", "remaining", "reset")
            ]
        ),
        st.text() | st.integers().map(str) | st.floats().map(str) | st.datetimes().map(str),
    ),
    st.integers(0, 10**15),
)
def test_reading_never_raises(headers, now_ms):
    """Whatever the headers hold; and what is believed is within its bounds."""
    read = limits.read(headers, now_ms)
    for one in read.told().values() if read else ():
        assert one.limit > 0
        assert one.remaining is None or 0 <= one.remaining <= one.limit


# Load


def test_a_model_of_which_nothing_is_known_is_not_loaded(traffic):
    """It is available, and a ticket may go at once."""
    assert traffic.view(OPUS) == Load()
    assert (traffic.load_bp([OPUS]), traffic.load_bp([]), traffic.available(OPUS)) == (0, 0, "")
    assert traffic.queue(OPUS, "ada").wait_s() == 0


def test_headers_are_a_bucket_that_refills_and_are_forgotten_after_a_minute(traffic, clock):
    """70 % used; 50 % after twelve seconds; what is sent since counts; after a minute nothing is known."""
    hear(traffic, with_limits(100, 30))
    assert traffic.view(OPUS).headers_bp == pytest.approx(7000, abs=100)
    clock.pass_s(12)
    assert traffic.view(OPUS).headers_bp == pytest.approx(5000, abs=100)
    for _ in range(10):
        traffic.departing(OPUS)
    assert traffic.view(OPUS).headers_bp == pytest.approx(6000, abs=100)
    clock.pass_s(49)
    assert traffic.view(OPUS).headers_bp == 0


def test_the_fullest_of_the_limits_counts(traffic):
    """Output tokens nearly used up are load, however many requests are left."""
    both = limits.RateLimits(requests=limits.RateLimit(100, 90), output_tokens=limits.RateLimit(1000, 100))
    hear(traffic, Heard(200, answered=True, input_tokens=1, output_tokens=1, limits=both))
    assert traffic.view(OPUS).headers_bp == pytest.approx(9000, abs=50)


def test_an_older_answer_does_not_replace_a_newer_ones_headers(traffic, clock):
    """A request that left earlier and ends later knows less."""
    traffic.departing(OPUS)
    clock.pass_s(5)
    hear(traffic, with_limits(100, 20))
    late = Heard(200, latency_ms=5000, answered=True, limits=told(100, 99))
    traffic.ended(OPUS, late)
    assert traffic.view(OPUS).headers_bp >= 7900


def test_in_flight_is_measured_by_littles_law(traffic):
    """50 in flight for 2 s each are 1,500 per minute: three quarters of a limit of 2,000."""
    hear(traffic, Heard(200, latency_ms=2000, answered=True, limits=told(2000, 2000)))
    for _ in range(50):
        traffic.departing(OPUS)
    view = traffic.view(OPUS)
    assert (view.in_flight, view.in_flight_bp) == (50, 7500)


def test_in_flight_says_nothing_where_the_limit_is_unknown(traffic):
    """Requests are in flight, but of how many is not known."""
    hear(traffic, OK)
    traffic.departing(OPUS)
    assert (traffic.view(OPUS).in_flight, traffic.view(OPUS).in_flight_bp) == (1, 0)


def test_push_back_counts_from_five_answers_on(traffic, clock):
    """Two of four say nothing; two of five are 40 %; a minute later they are forgotten."""
    hear(traffic, OK, 2)
    hear(traffic, BUSY)
    hear(traffic, REFUSED)
    assert traffic.view(OPUS).pushed_back_bp == 0
    hear(traffic, OK)
    assert traffic.view(OPUS).pushed_back_bp == 4000
    clock.pass_s(61)
    assert traffic.view(OPUS).pushed_back_bp == 0


def test_the_load_is_that_of_the_fullest_model(traffic):
    """Of those that were named."""
    hear(traffic, with_limits(100, 30))
    hear(traffic, with_limits(100, 60), model="haiku")
    assert traffic.load_bp(["haiku", "unheard-of"]) == pytest.approx(4000, abs=100)
    assert traffic.load_bp(["haiku", OPUS]) == pytest.approx(7000, abs=100)


# Breaker


def test_a_model_nearly_used_up_is_not_chosen_until_it_has_room(traffic, clock):
    """From 90 % used on, and again below 80 %: not at 83 % on the way down."""
    hear(traffic, with_limits(100, 7))
    assert traffic.available(OPUS) == "rate limit 93 % used"
    assert traffic.view(OPUS).state == "open"
    clock.pass_s(6)
    assert traffic.available(OPUS) == "rate limit 83 % used"
    clock.pass_s(6)
    assert (traffic.available(OPUS), traffic.view(OPUS).state) == ("", "closed")


def test_repeated_overload_opens_the_breaker_and_a_probe_closes_it(traffic, clock):
    """For 30 to 60 s nothing is sent; then one request at a time; its answer closes the breaker."""
    hear(traffic, OK)
    hear(traffic, BUSY, 5)
    view = traffic.view(OPUS)
    assert view.state == "open"
    assert 30 <= view.opens_in_s <= 60
    assert traffic.available(OPUS).startswith("its breaker is open: 5 of its last 6 answers were 529; tried")
    assert traffic.queue(OPUS, "ada").wait_s() > 0
    clock.pass_s(view.opens_in_s + 0.01)
    assert (traffic.view(OPUS).state, traffic.available(OPUS)) == ("half open", "")
    turns = [traffic.queue(OPUS, "ada") for _ in range(3)]
    assert [turn.wait_s() == 0 for turn in turns] == [True, False, False]
    assert "a probe is under way" in traffic.available(OPUS)
    traffic.ended(OPUS, Heard(200, latency_ms=0, answered=True))
    assert traffic.view(OPUS).state == "closed"
    assert [turn.wait_s() for turn in turns[1:]] == [0, 0]


def test_a_probe_answered_529_opens_it_again(traffic, clock):
    """For as long as the first time."""
    hear(traffic, BUSY, 5)
    clock.pass_s(61)
    traffic.departing(OPUS)
    traffic.ended(OPUS, Heard(529, overloaded=True, latency_ms=0))
    assert traffic.view(OPUS).opens_in_s >= 30


def test_a_probe_that_is_never_heard_of_makes_room_for_another(traffic, clock):
    """After a minute it is thought to be lost."""
    hear(traffic, BUSY, 5)
    clock.pass_s(61)
    traffic.departing(OPUS)
    assert traffic.available(OPUS)
    clock.pass_s(61)
    assert traffic.available(OPUS) == ""


@pytest.mark.parametrize("seed", range(10))
def test_one_overload_in_ten_opens_nothing(clock, seed):
    """At random, at any pace, with good answers that take long."""
    chance, traffic = random.Random(seed), Traffic("here", clock, random.Random(seed))
    for _ in range(3000):
        clock.pass_s(chance.choice((0.01, 0.1, 1.0)))
        hear(traffic, BUSY if chance.random() < 0.1 else OK)
        assert traffic.view(OPUS).state == "closed"


def test_overloads_are_not_counted_before_the_good_answers_had_time_to_come(traffic):
    """Of 100 requests that left together ten are answered 529 at once; the others are still on their way."""
    for _ in range(100):
        traffic.departing(OPUS)
    for _ in range(10):
        traffic.ended(OPUS, Heard(529, overloaded=True, latency_ms=0))
    assert traffic.view(OPUS).state == "closed"
