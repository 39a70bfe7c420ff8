"""The fake Claude API charges what Anthropic's price list says, to the nano-dollar."""

from __future__ import annotations

from datetime import UTC, datetime

import anthropic
import pytest

from governor.testing import FakeClaude, Reply

NOV_2026_MS = int(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp() * 1000)
HELLO = [{"role": "user", "content": "Hello, Claude"}]
HAIKU, SONNET, OPUS = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"
PLAIN = {"input_tokens": 1000, "output_tokens": 100}
SEARCHED = {"server_tool_use": {"web_search_requests": 1}}
ONE_READ = {"input_tokens": 0, "output_tokens": 0, "cache_read_input_tokens": 1}


@pytest.fixture
def api():
    with FakeClaude(now_ms=lambda: NOV_2026_MS) as running:
        yield running


def ask(api, model, **overrides):
    client = api.client(max_retries=0)
    return client.messages.create(**{"model": model, "max_tokens": 1000, "messages": HELLO, **overrides})


@pytest.mark.parametrize(
    ("model", "usage", "nanos"),
    [
        (HAIKU, PLAIN, 100_000 + 50_000),
        (SONNET, PLAIN, 2_000_000 + 1_000_000),
        (OPUS, PLAIN, 4_000_000 + 2_000_000),
        (SONNET, {**PLAIN, "cache_read_input_tokens": 1000}, 3_000_000 + 100_000),
        (SONNET, {**PLAIN, "cache_creation_input_tokens": 1000}, 3_000_000 + 2_500_000),
        (SONNET, {**PLAIN, "cache_creation": {"ephemeral_1h_input_tokens": 1000}}, 3_000_000 + 4_000_000),
        (SONNET, {**PLAIN, "service_tier": "batch"}, 1_500_000),
        (SONNET, {**PLAIN, "inference_geo": "us"}, 3_300_000),
        (SONNET, {**PLAIN, "service_tier": "batch", "inference_geo": "us"}, 1_650_000),
        (SONNET, {**PLAIN, "server_tool_use": {"web_search_requests": 3}}, 3_000_000 + 30_000_000),
        (SONNET, {**PLAIN, **SEARCHED, "service_tier": "batch"}, 11_500_000),
        (OPUS, {**PLAIN, "speed": "fast"}, 8_000_000 + 4_000_000),
        (OPUS, {**PLAIN, "speed": "fast", "cache_read_input_tokens": 1000}, 12_000_000 + 400_000),
        (HAIKU, {"input_tokens": 100_000, "output_tokens": 100}, 10_000_000 + 50_000),
        (HAIKU, {"input_tokens": 100_001, "output_tokens": 100}, 50_000_500 + 250_000),
        (
            HAIKU,
            {"input_tokens": 1, "cache_read_input_tokens": 100_000, "output_tokens": 100},
            500 + 5_000_000 + 250_000,
        ),
        (HAIKU, {**ONE_READ, "service_tier": "batch"}, 5),
        (HAIKU, {**ONE_READ, "cache_read_input_tokens": 3, "inference_geo": "us"}, 33),
        (HAIKU, {**ONE_READ, "inference_geo": "us", "service_tier": "batch"}, 6),  # 5.5, rounded up
    ],
)
def test_every_category_of_usage_has_its_price(api, model, usage, nanos):
    """Input, output, cache, batch, geography, speed, searches and the long-prompt step cost as listed."""
    api.next(Reply(usage=usage))
    ask(api, model)
    (line,) = api.bill
    assert (line.model, line.nanos, line.complete) == (model, nanos, True)
    assert api.billed_nanos == nanos


def test_prices_follow_the_date():
    """A cache read of Sonnet 5.5 cost twice as much the day before its price was halved."""
    days = {(2026, 10, 6): 200_000, (2026, 10, 7): 100_000}
    usage = {**ONE_READ, "cache_read_input_tokens": 1000}
    for day, nanos in days.items():
        at_ms = int(datetime(*day, 23, 59, tzinfo=UTC).timestamp() * 1000)
        with FakeClaude(now_ms=lambda at_ms=at_ms: at_ms) as api:
            api.next(Reply(usage=usage))
            ask(api, SONNET)
            assert (api.bill[0].nanos, api.bill[0].at_ms) == (nanos, at_ms)


def test_a_model_without_a_price_yet_is_not_found():
    """Before its first price a model does not exist."""
    at_ms = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)
    with FakeClaude(now_ms=lambda: at_ms) as api, pytest.raises(anthropic.NotFoundError):
        ask(api, HAIKU)


def test_a_request_for_fast_or_us_service_is_billed_so(api):
    """What the body asks for is reported in the usage, and priced."""
    fast = ask(api, OPUS, speed="fast").usage
    us = ask(api, OPUS, inference_geo="us").usage
    plain = ask(api, OPUS).usage
    assert (fast.speed, us.inference_geo) == ("fast", "us")
    assert (plain.speed, plain.inference_geo) == ("standard", "global")
    first, second, third = (line.nanos for line in api.bill)
    assert (first, second * 10) == (third * 2, third * 11)


def test_each_line_is_rounded_up_on_its_own(api):
    """Two charges of 5.5 nano-dollars make 12, not 11."""
    usage = {**ONE_READ, "inference_geo": "us", "service_tier": "batch"}
    api.replies(Reply(usage=usage))
    ask(api, HAIKU)
    ask(api, HAIKU)
    assert api.billed_nanos == 12


def test_the_bill_names_the_model_that_served(api):
    """A reply that another model gave is billed at that model's price."""
    api.next(Reply(model=HAIKU, usage=PLAIN))
    assert ask(api, OPUS).model == HAIKU
    assert (api.bill[0].model, api.bill[0].nanos) == (HAIKU, 150_000)


def test_iterations_are_billed_instead_of_the_totals(api):
    """With iterations each part is charged at its own model, whatever the totals say."""
    parts = [{"type": "message", **PLAIN}, {"type": "advisor_message", "model": OPUS, **PLAIN}]
    api.next(Reply(usage={**PLAIN, "iterations": parts}))
    ask(api, HAIKU)
    assert api.bill[0].nanos == 150_000 + 6_000_000


def test_a_refusal_before_any_output_is_free(api):
    """A refusal that says nothing is listed at zero; one that had begun is charged."""
    api.next(
        Reply(stop_reason="refusal", usage={"input_tokens": 1000, "output_tokens": 0}),
        Reply(stop_reason="refusal", usage=PLAIN),
    )
    ask(api, HAIKU)
    ask(api, HAIKU)
    assert [line.nanos for line in api.bill] == [0, 150_000]


def test_plain_and_streamed_answers_cost_the_same(api):
    """Streaming changes nothing but the flag on the line, which also has the tag and the request's id."""
    tag = {"x-fake-tag": "team-a"}
    message = ask(api, SONNET, extra_headers=tag)
    list(ask(api, SONNET, stream=True, extra_headers=tag))
    plain, streamed = api.bill
    assert (plain.nanos, plain.usage) == (streamed.nanos, streamed.usage)
    assert (plain.streamed, streamed.streamed) == (False, True)
    assert (plain.tag, plain.request_id) == ("team-a", message._request_id)


def test_a_usage_without_a_price_is_reported_and_never_billed_at_zero(api):
    """A scripted usage that has no price is an error that says so, with no line on the bill."""
    api.next(Reply(usage={"speed": "fast"}))
    with pytest.raises(anthropic.InternalServerError, match="no fast price"):
        ask(api, SONNET)
    assert api.bill == []
