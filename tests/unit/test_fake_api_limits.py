"""The fake API's limits can be buckets, apart for each model, and silent; it can be overloaded; it counts."""

from __future__ import annotations

import anthropic
import pytest
from support.fixed_api import NOW_MS

from governor.testing import FakeClaude, RateLimits, hang_before_head, overloaded

HAIKU, SONNET = "claude-haiku-5-5", "claude-sonnet-5-5"
HELLO = [{"role": "user", "content": "Hello, Claude"}]
REQUESTS = "anthropic-ratelimit-requests"


class Asked:
    """A fake API whose clock is moved by hand, and answers as status and headers."""

    def __init__(self, **settings):
        self.now_ms = NOW_MS
        self.api = FakeClaude(now_ms=lambda: self.now_ms, **settings)

    def __enter__(self):
        self.api.start()
        self._create = self.api.client(max_retries=0).messages.with_raw_response.create
        return self

    def __exit__(self, *_):
        self.api.stop()

    def ask(self, model=HAIKU, prompt="Hello, Claude"):
        try:
            raw = self._create(model=model, max_tokens=10, messages=[{"role": "user", "content": prompt}])
        except anthropic.APIStatusError as error:
            return error.status_code, error.response.headers
        return 200, raw.headers

    def statuses(self, times, **request):
        return [self.ask(**request)[0] for _ in range(times)]


def test_a_bucket_refills_all_the_time():
    """A bucket of two at 60 a minute gives two at once, and then one for each second that passes."""
    with Asked(rate_limits=RateLimits(requests=60, bucket=True, burst=2)) as asked:
        assert asked.statuses(3) == [200, 200, 429]
        asked.now_ms += 999
        assert asked.statuses(1) == [429]
        asked.now_ms += 1
        assert asked.statuses(2) == [200, 429]
        asked.now_ms += 60_000
        assert asked.statuses(3) == [200, 200, 429]


def test_a_bucket_holds_five_seconds_unless_told_otherwise():
    """Of 120 a minute, ten may come at once; of so few that five seconds give none, one."""
    for limit, at_once in ((120, 10), (6, 1)):
        with Asked(rate_limits=RateLimits(requests=limit, bucket=True)) as asked:
            assert asked.statuses(at_once + 1) == [200] * at_once + [429]


def test_a_bucket_says_what_it_holds_and_when_it_is_full():
    """The headers give the limit of a minute, what is left in the bucket, and when it is full again."""
    with Asked(rate_limits=RateLimits(requests=6, bucket=True, burst=3)) as asked:
        _, first = asked.ask()
        assert (first[f"{REQUESTS}-limit"], first[f"{REQUESTS}-remaining"]) == ("6", "2")
        assert first[f"{REQUESTS}-reset"] == "2026-11-21T02:30:40Z"
        assert first["anthropic-ratelimit-tokens-reset"] == "2026-11-21T02:30:31Z"
        asked.statuses(2)
        asked.now_ms += 1_000
        status, refused = asked.ask()
        assert (status, refused["retry-after"], refused[f"{REQUESTS}-remaining"]) == (429, "9", "0")
        assert refused[f"{REQUESTS}-reset"] == "2026-11-21T02:31:00Z"


def test_a_bucket_of_tokens_lends_to_a_prompt_that_is_larger_than_it():
    """A prompt beyond a full bucket is admitted when that is full, and paid back before the next one."""
    with Asked(rate_limits=RateLimits(requests=60, input_tokens=600, bucket=True, burst=5)) as asked:
        large = {"prompt": "a" * 4 * 100}
        assert asked.statuses(2, **large) == [200, 429]
        asked.now_ms += 10_000
        assert asked.statuses(1, **large) == [429]
        asked.now_ms += 10_000
        assert asked.statuses(2, **large) == [200, 429]


def test_a_bucket_of_output_tokens_counts_what_was_served():
    """Ten tokens of output from a bucket of one: the next call waits until they are paid back."""
    with Asked(rate_limits=RateLimits(requests=60, output_tokens=60, bucket=True, burst=1)) as asked:
        assert asked.statuses(2) == [200, 429]
        asked.now_ms += 9_000
        assert asked.statuses(1) == [429]
        asked.now_ms += 1_000
        assert asked.statuses(1) == [200]


@pytest.mark.parametrize("bucket", [False, True])
def test_a_429_need_not_say_when_to_come_back(bucket):
    """Without retry-after the other headers are there; without headers, none is on any answer."""
    quiet = RateLimits(requests=1, bucket=bucket, retry_after=False)
    mute = RateLimits(requests=1, bucket=bucket, headers=False, retry_after=False)
    for limits, told in ((quiet, True), (mute, False)):
        with Asked(rate_limits=limits) as asked:
            for expected in (200, 429):
                status, headers = asked.ask()
                assert (status, "retry-after" in headers) == (expected, False)
                assert any(name.startswith("anthropic-ratelimit") for name in headers) is told


def test_each_model_may_have_limits_of_its_own():
    """A model's own limit is met alone, by all its names together; the others share the default."""
    of_haiku = {"claude-haiku-4-5": RateLimits(requests=2)}
    with Asked(rate_limits=RateLimits(requests=1), model_rate_limits=of_haiku) as asked:
        assert asked.statuses(1, model="claude-haiku-4-5") == [200]
        assert asked.statuses(2, model="claude-haiku-4-5-20251001") == [200, 429]
        assert asked.statuses(2, model=SONNET) == [200, 429]
        assert asked.statuses(1, model=HAIKU) == [429]
        asked.api.reset()
        assert asked.statuses(3, model="claude-haiku-4-5") == [200, 200, 429]


def test_overload_takes_a_share_of_the_requests_and_no_limit():
    """About a tenth is answered 529, the same ones for the same seed; the limit is left to the rest."""

    def told(seed):
        with Asked(rate_limits=RateLimits(requests=150), overload_share_bp=1000, seed=seed) as asked:
            statuses = asked.statuses(200)
            traffic = asked.api.traffic
            assert traffic.overloads == statuses.count(529) == traffic.statuses[529]
            assert statuses.count(200) == 150
            asked.api.reset()
            assert asked.statuses(50) == statuses[:50]
            return statuses

    first = told(1)
    assert 8 <= first.count(529) <= 32
    assert told(1) == first != told(2)


def test_traffic_is_counted_while_it_comes(api, client):
    """Every request counts when it has arrived, by path and model; its answer by status, if there is one."""
    client.messages.create(model=HAIKU, max_tokens=10, messages=HELLO)
    client.messages.count_tokens(model=SONNET, messages=HELLO)
    api.inject(overloaded(), hang_before_head())
    for error in (anthropic.OverloadedError, anthropic.APITimeoutError):
        with pytest.raises(error):
            client.with_options(timeout=0.2).messages.create(model=HAIKU, max_tokens=10, messages=HELLO)
    with pytest.raises(anthropic.NotFoundError):
        client.models.list()
    traffic = api.traffic
    assert traffic.received == len(api.requests) == 5
    assert traffic.statuses == {200: 2, 529: 1, 404: 1}
    assert traffic.models == {HAIKU: 3, SONNET: 1, "": 1}
    assert traffic.paths == {"/v1/messages": 3, "/v1/messages/count_tokens": 1, "/v1/models": 1}
    assert traffic.overloads == 0
    api.reset()
    assert (api.traffic.received, api.traffic.statuses) == (0, {})


def test_limits_out_of_range_are_refused():
    """A bucket that gives nothing, a model that is not served, a share beyond the whole: refused at once."""
    for nonsense in ({"bucket": True, "burst": 0}, {"bucket": True, "requests": 0}, {"burst": 3}):
        with pytest.raises(ValueError, match=r"at least 1|bucket=True"):
            RateLimits(**nonsense)
    with pytest.raises(ValueError, match="claude-haiku-9"):
        FakeClaude(model_rate_limits={"claude-haiku-9": RateLimits()})
    twice = {"claude-haiku-4-5": RateLimits(), "claude-haiku-4-5-20251001": RateLimits()}
    with pytest.raises(ValueError, match="once"):
        FakeClaude(model_rate_limits=twice)
    with pytest.raises(ValueError, match="basis points"):
        FakeClaude(overload_share_bp=10_001)
