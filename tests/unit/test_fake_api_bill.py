"""The fake Claude API charges what Anthropic's price list says, to the nano-dollar."""

from __future__ import annotations

from datetime import UTC, date, datetime

import anthropic
import httpx2
import pytest

from governor.testing import FakeClaude, Reply, cut_mid_stream
from governor.testing.fake_api.catalogue import Catalogue
from governor.testing.fake_api.rates import Unpriced

NOV_2026_MS = int(datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp() * 1000)
HELLO = [{"role": "user", "content": "Hello, Claude"}]
HAIKU, SONNET, OPUS = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"
PLAIN = {"input_tokens": 1000, "output_tokens": 100}
SEARCHED = {"server_tool_use": {"web_search_requests": 1}}
WRITTEN = {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 30}
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


def part(kind, input_tokens, output_tokens, model=None, **more):
    """One of `usage.iterations`."""
    part = {"type": kind, "input_tokens": input_tokens, "output_tokens": output_tokens, **more}
    return part if model is None else {**part, "model": model}


@pytest.mark.parametrize(
    ("model", "usage", "iterations", "nanos"),
    [
        (HAIKU, PLAIN, [part("message", 1000, 100), part("advisor_message", 1000, 100, OPUS)], 6_150_000),
        (HAIKU, PLAIN, [part("compaction", 2000, 200), part("message", 1000, 100)], 300_000 + 150_000),
        (
            HAIKU,
            {"input_tokens": 120_000, "output_tokens": 200},
            [part("message", 60_000, 100), part("message", 60_000, 100)],
            12_000_000 + 100_000,
        ),
        (
            HAIKU,
            {"input_tokens": 100_002, "output_tokens": 200},
            [part("message", 1, 100), part("message", 100_001, 100)],
            100 + 50_000 + 50_000_500 + 250_000,
        ),
        (
            OPUS,
            {**PLAIN, "speed": "fast"},
            [part("message", 1000, 100), part("compaction", 1000, 0), part("advisor_message", 1000, 0, OPUS)],
            12_000_000 + 8_000_000 + 4_000_000,
        ),
        (
            HAIKU,
            {**PLAIN, "service_tier": "batch", "inference_geo": "us"},
            [part("message", 1000, 100), part("advisor_message", 1000, 0, OPUS)],
            150_000 * 55 // 100 + 4_000_000 * 55 // 100,
        ),
        (
            SONNET,
            PLAIN,
            [part("message", 9000, 0, OPUS), part("fallback_message", 1000, 100, SONNET)],
            3_000_000,
        ),
        (
            SONNET,
            {**PLAIN, "input_tokens": 1500},
            [part("message", 500, 0, SONNET), part("fallback_message", 1000, 100, SONNET)],
            4_000_000,
        ),
        (
            SONNET,
            {"input_tokens": 10_000, "output_tokens": 100},
            [part("message", 9000, 1, OPUS), part("fallback_message", 1000, 99, SONNET)],
            36_000_000 + 20_000 + 2_000_000 + 990_000,
        ),
        (SONNET, PLAIN, [part("message", 1000, 0, OPUS), part("message", 0, 100)], 4_000_000 + 1_000_000),
        (SONNET, {**PLAIN, **SEARCHED}, [part("message", 400, 60)], 3_000_000 + 10_000_000),
        (SONNET, {**PLAIN, "cache_read_input_tokens": 1000}, [part("message", 1000, 100)], 3_100_000),
        (
            SONNET,
            {"input_tokens": 0, "output_tokens": 0, "cache_creation": WRITTEN},
            [part("message", 0, 0, cache_creation_input_tokens=10)],
            10 * 2500 + 30 * 4000,
        ),
    ],
    ids=[
        "advisor beside the totals", "compaction beside the totals", "each below the step",
        "one above the step", "advisor at standard speed", "advisor in the same batch and geography",
        "declined hop", "pass of the model that served", "hop that said something", "no fallback",
        "totals above the parts", "cache beyond the parts", "writes without a split",
    ],
)  # fmt: skip
def test_each_iteration_is_billed_at_its_own_model_and_step(api, model, usage, iterations, nanos):
    """Iterations cost what their own model and prompt cost; what only the totals show is billed besides."""
    api.next(Reply(usage={**usage, "iterations": iterations}))
    ask(api, model)
    assert api.bill[0].nanos == nanos


def test_a_refusal_before_output_bills_only_what_ran_beside_it(api):
    """A refusal without output is free but for the compaction and the advisor that had run."""
    beside = [part("compaction", 1000, 100), part("advisor_message", 1000, 100, SONNET)]
    api.next(
        Reply(
            stop_reason="refusal",
            usage={
                "input_tokens": 1000,
                "output_tokens": 0,
                "iterations": [*beside, part("message", 1000, 0)],
            },
        )
    )
    ask(api, HAIKU)
    assert api.bill[0].nanos == 150_000 + 3_000_000


def test_a_refusal_that_breaks_off_is_as_free_as_a_whole_one(api):
    """A stream that breaks before a refusal without output costs nothing, either."""
    api.inject(cut_mid_stream(1, reply=Reply(stop_reason="refusal", output_tokens=0)))
    with pytest.raises(httpx2.RemoteProtocolError):
        list(ask(api, HAIKU, stream=True))
    assert [(line.complete, line.nanos) for line in api.bill] == [(False, 0)]


def test_a_broken_stream_is_billed_its_compaction(api):
    """Of a stream that broke off, a compaction is billed beside the prompt and the output sent."""
    iterations = [part("compaction", 1000, 100), part("message", 1000, 100)]
    api.inject(cut_mid_stream(0, reply=Reply(usage={**PLAIN, "iterations": iterations})))
    with pytest.raises(httpx2.RemoteProtocolError):
        list(ask(api, HAIKU, stream=True))
    assert api.bill[0].nanos == 150_000 + 100_000


@pytest.mark.parametrize(
    ("model", "percent"),
    [
        ("anthropic.claude-sonnet-5-5", 110),
        ("global.anthropic.claude-sonnet-5-5", 100),
        ("eu.anthropic.claude-sonnet-5-5", 110),
        ("us-gov.anthropic.claude-sonnet-5-5", 120),
        ("claude-sonnet-5-5@default", 100),
        ("claude-sonnet-5-5", 100),
    ],
)
def test_a_name_of_a_cloud_is_billed_at_its_endpoint(api, model, percent):
    """A Bedrock name costs what its prefix stands for, a Vertex name the worldwide price unless told."""
    api.next(
        Reply(usage=PLAIN), Reply(usage={**PLAIN, "service_tier": "batch"}), Reply(model=SONNET, usage=PLAIN)
    )
    for _ in range(3):
        ask(api, model)
    assert [line.nanos for line in api.bill] == [30_000 * percent, 15_000 * percent, 30_000 * percent]


def test_vertex_names_may_stand_for_a_regional_endpoint():
    """With vertex_endpoint="regional" a Vertex name costs a tenth more; Bedrock's names are as they are."""
    with FakeClaude(now_ms=lambda: NOV_2026_MS, vertex_endpoint="regional") as api:
        api.replies(Reply(usage=PLAIN))
        usage = ask(api, "claude-haiku-5-5@default").usage
        ask(api, "global.anthropic.claude-haiku-5-5")
        assert [line.nanos for line in api.bill] == [165_000, 150_000]
    assert usage.inference_geo == "not_available"


def test_the_workspaces_geography_is_billed_where_none_is_asked_for():
    """A workspace in the USA serves and bills there what says nothing else; older models have no choice."""
    with FakeClaude(now_ms=lambda: NOV_2026_MS, workspace_geo="us") as api:
        api.replies(Reply(usage=PLAIN))
        told = [
            ask(api, SONNET).usage.inference_geo,
            ask(api, SONNET, inference_geo="global").usage.inference_geo,
            ask(api, "claude-haiku-4-5").usage.inference_geo,
            ask(api, "anthropic.claude-sonnet-5-5").usage.inference_geo,
        ]
        assert told == ["us", "global", "not_available", "not_available"]
        assert [line.nanos for line in api.bill] == [3_300_000, 3_000_000, 1_500_000, 3_300_000]


def test_a_search_costs_the_fee_of_its_day():
    """A search costs the fee in force on its day; before the first fee it has no price."""
    fees = [
        {"from": date(2026, 2, 1), "web_search_per_thousand": "12.50"},
        {"from": date(2026, 1, 1), "web_search_per_thousand": "10"},
    ]
    catalogue = Catalogue({"fees": fees, "models": [], "bedrock_prefixes": {}})
    usage = {"server_tool_use": {"web_search_requests": 2}}
    january, february = (
        int(datetime(2026, *day, tzinfo=UTC).timestamp() * 1000) for day in ((1, 31), (2, 1))
    )
    assert catalogue.charge("any", usage, january) == 20_000_000
    assert catalogue.charge("any", usage, february) == 25_000_000
    with pytest.raises(Unpriced, match="2025-12-31"):
        catalogue.charge("any", usage, january - 31 * 86_400_000)


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
