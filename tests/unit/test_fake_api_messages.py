"""The fake Claude API answers and counts as the real one does, seen through the real SDK."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import anthropic
import pytest

from governor.testing import FakeClaude, Reply, count_tokens

HAIKU, SONNET = "claude-haiku-5-5", "claude-sonnet-5-5"
HELLO = [{"role": "user", "content": "Hello, Claude"}]
TOOL = {"name": "get_weather", "description": "Weather of a city", "input_schema": {"type": "object"}}


def ask(client, **overrides):
    return client.messages.create(**{"model": HAIKU, "max_tokens": 1000, "messages": HELLO, **overrides})


def test_a_reply_has_as_many_tokens_and_characters_as_configured(api, client):
    """A filler answer has the configured number of output tokens, four characters each."""
    api.replies(output_tokens=120)
    message = ask(client)
    assert message.usage.output_tokens == 120
    assert message.stop_reason == "end_turn"
    assert -(-len(message.content[0].text) // 4) == 120


def test_a_reply_is_cut_at_max_tokens(api, client):
    """An answer longer than max_tokens stops there, and says so."""
    api.replies(output_tokens=120)
    message = ask(client, max_tokens=7)
    assert (message.usage.output_tokens, message.stop_reason) == (7, "max_tokens")
    assert len(message.content[0].text) <= 28


def test_max_tokens_zero_only_reads_the_prompt(client):
    """A pre-warming request with max_tokens 0 is answered without content or output tokens."""
    message = ask(client, max_tokens=0)
    assert (message.content, message.usage.output_tokens) == ([], 0)


def test_scripted_replies_come_in_order_then_the_default_returns(api, client):
    """Queued replies answer the next calls in order; afterwards the default answers again."""
    api.next(Reply("Good morning."), Reply(output_tokens=3, stop_reason="stop_sequence"))
    first, second, third = ask(client), ask(client), ask(client)
    assert first.content[0].text == "Good morning."
    assert first.usage.output_tokens == 4
    assert (second.usage.output_tokens, second.stop_reason) == (3, "stop_sequence")
    assert third.usage.output_tokens == 100


def test_a_callable_makes_replies_from_requests(api, client):
    """A callable default sees each request's body and decides the answer."""
    api.replies(lambda body: Reply(body["messages"][0]["content"].upper()))
    assert ask(client).content[0].text == "HELLO, CLAUDE"


def test_a_failing_callable_is_reported_to_the_client_once(api):
    """An error in a test's own callable arrives as a 500 that names it and is not retried."""
    api.replies(lambda body: Reply(body["no such key"]))
    with pytest.raises(anthropic.InternalServerError, match="KeyError: 'no such key'"):
        ask(api.client())
    assert len(api.requests) == 1


def test_tool_use_blocks_reach_the_client_plain_and_streamed(api, client):
    """A tool_use block arrives with its input, and stops the turn, in both kinds of answer."""
    block = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Köln " * 20}}
    api.replies(Reply(content=[{"type": "text", "text": "Let me look."}, block]))
    plain = ask(client, tools=[TOOL])
    with client.messages.stream(model=HAIKU, max_tokens=1000, messages=HELLO, tools=[TOOL]) as stream:
        streamed = stream.get_final_message()
    for message in (plain, streamed):
        assert message.content[0].text == "Let me look."
        assert message.content[1].input == block["input"]
        assert message.stop_reason == "tool_use"
    assert plain.usage.output_tokens == streamed.usage.output_tokens > 20


def test_thinking_blocks_are_streamed(api, client):
    """A thinking block arrives whole over a stream, with its signature."""
    thought = {"type": "thinking", "thinking": "First, add. " * 10, "signature": "c2ln"}
    api.next(Reply(content=[thought, {"type": "text", "text": "4"}]))
    with client.messages.stream(model=HAIKU, max_tokens=1000, messages=HELLO) as stream:
        message = stream.get_final_message()
    assert (message.content[0].thinking, message.content[0].signature) == (thought["thinking"], "c2ln")


def test_a_stream_starts_with_a_placeholder_and_ends_with_final_usage(api, client):
    """A stream opens with all the input but 1 to 4 output tokens; message_delta has the final count."""
    api.replies(Reply(output_tokens=95, usage={"cache_read_input_tokens": 40}))
    events = list(ask(client, stream=True))
    kinds = [event.type for event in events]
    start, delta = events[0].message.usage, events[-2].usage
    assert kinds == [
        "message_start", "content_block_start", *["content_block_delta"] * 10,
        "content_block_stop", "message_delta", "message_stop",
    ]  # fmt: skip
    assert 1 <= start.output_tokens <= 4
    assert (start.cache_read_input_tokens, start.service_tier, start.speed) == (40, "standard", "standard")
    assert (delta.output_tokens, delta.input_tokens) == (95, start.input_tokens)
    assert "service_tier" not in delta.model_extra


def test_a_streamed_answer_equals_the_plain_one(api, client):
    """Plain and streamed answers to one request have the same text, usage and stop reason."""
    plain = ask(client)
    with client.messages.stream(model=HAIKU, max_tokens=1000, messages=HELLO) as stream:
        streamed = stream.get_final_message()
    assert streamed.content[0].text == plain.content[0].text
    assert streamed.usage.to_dict() == plain.usage.to_dict()
    assert streamed.stop_reason == plain.stop_reason


def test_usage_overrides_are_reported(api, client):
    """Overridden usage is reported as given, with the cache-write split kept consistent."""
    api.next(
        Reply(usage={"cache_creation": {"ephemeral_1h_input_tokens": 500}, "inference_geo": "us"}),
        Reply(usage={"cache_creation_input_tokens": 30, "server_tool_use": {"web_search_requests": 2}}),
    )
    first, second = ask(client).usage, ask(client).usage
    assert (first.cache_creation_input_tokens, first.inference_geo) == (500, "us")
    assert (
        first.cache_creation.ephemeral_5m_input_tokens,
        first.cache_creation.ephemeral_1h_input_tokens,
    ) == (0, 500)
    assert second.cache_creation.ephemeral_5m_input_tokens == 30
    assert second.server_tool_use.web_search_requests == 2


def test_the_count_is_what_is_billed(api, client):
    """count_tokens and a message's usage agree for text, system prompts, tools and images."""
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGVsbG8="}}
    body = {
        "model": SONNET,
        "system": "You are brief. Größe zählt.",
        "tools": [TOOL],
        "messages": [{"role": "user", "content": [image, {"type": "text", "text": "What is it?"}]}],
    }
    counted = client.messages.count_tokens(**body).input_tokens
    assert counted == ask(client, **body).usage.input_tokens == api.count_tokens(body)
    assert counted > 1568 + 346


def test_newer_tokenizers_make_30_percent_more(client):
    """A model of the 2026 tokenizer counts 30 % more tokens than an older one, rounded up."""
    messages = [{"role": "user", "content": "word " * 4000}]
    old, new = (
        client.messages.count_tokens(model=model, messages=messages).input_tokens
        for model in ("claude-haiku-4-5", HAIKU)
    )
    assert old == count_tokens({"messages": messages}, 2024) == 20_015 // 4 + 1 + 3 + 4
    assert new == -(-old * 13 // 10)


def test_drift_bills_a_little_more_than_was_counted():
    """With count_drift, billed input lies between the count and that share above it, and repeats itself."""
    with FakeClaude(count_drift=0.01, seed=3) as api:
        client = api.client()
        asked = [[{"role": "user", "content": f"{n} " + "word " * 4000}] for n in range(20)]
        counted = [client.messages.count_tokens(model=HAIKU, messages=m).input_tokens for m in asked]
        billed = [ask(client, messages=m).usage.input_tokens for m in asked]
        again = [ask(client, messages=m).usage.input_tokens for m in asked]
    assert all(c <= b <= c * 1.01 for c, b in zip(counted, billed, strict=True))
    assert billed != counted
    assert billed == again


def test_requests_are_recorded(api, client):
    """Every request is kept with path, headers, body and the SDK's attempt number."""
    ask(client, extra_headers={"x-fake-tag": "run-1"})
    client.messages.count_tokens(model=HAIKU, messages=HELLO)
    message, count = api.requests
    assert (message.path, count.path) == ("/v1/messages", "/v1/messages/count_tokens")
    assert message.headers["x-fake-tag"] == "run-1"
    assert (message.body["max_tokens"], message.attempt) == (1000, 0)
    assert message.at.isoformat() == "2026-11-21T02:30:30+00:00"


def test_reset_forgets_everything_but_goes_on(api, client):
    """After reset there is no script, bill or request, and the server still answers on its port."""
    api.next(Reply("one"), Reply("two"))
    ask(client)
    api.reset()
    assert (api.bill, api.billed_nanos, api.requests) == ([], 0, [])
    assert ask(client).usage.output_tokens == 100


def test_200_concurrent_async_calls_are_all_answered_and_billed(api):
    """200 calls at once, plain and streamed, each get an answer and a bill line of their own."""

    async def run():
        async with api.async_client(max_retries=0) as client:

            async def streamed():
                async with client.messages.stream(model=HAIKU, max_tokens=50, messages=HELLO) as stream:
                    return await stream.get_final_message()

            calls = [ask(client, max_tokens=50) if n % 2 else streamed() for n in range(200)]
            return await asyncio.gather(*calls)

    api.replies(Reply(output_tokens=50, delay_ms=20))
    messages = asyncio.run(run())
    assert {message.usage.output_tokens for message in messages} == {50}
    assert len({line.request_id for line in api.bill}) == 200
    assert api.billed_nanos == sum(line.nanos for line in api.bill)


def test_threads_share_one_client(api, client):
    """Many threads on one keep-alive client get their own answers."""
    api.replies(lambda body: Reply(body["messages"][0]["content"]))
    texts = [f"text number {n}" for n in range(60)]
    with ThreadPoolExecutor(20) as pool:
        answers = list(
            pool.map(lambda text: ask(client, messages=[{"role": "user", "content": text}]), texts)
        )
    assert [answer.content[0].text for answer in answers] == texts


def test_stop_frees_the_port_and_start_serves_again():
    """A stopped server refuses connections and has no URL; started again, it answers."""
    api = FakeClaude()
    with api:
        client = anthropic.Anthropic(base_url=api.url, api_key=api.api_key, max_retries=0)
        assert ask(client).role == "assistant"
    with pytest.raises(RuntimeError, match="not running"):
        _ = api.url
    with client, pytest.raises(anthropic.APIConnectionError):
        ask(client)
    with api:
        assert ask(api.client()).role == "assistant"
    assert len(api.bill) == 2


def test_importing_the_plugin_loads_neither_sdk_nor_server():
    """The pytest plugin loads neither the SDK nor the server; the server loads without pytest."""
    code = "import sys, json, {}; print(json.dumps(sorted(sys.modules)))"
    bare, plugin, server = (
        set(json.loads(subprocess.check_output([sys.executable, "-c", code.format(module)])))
        for module in ("governor", "governor.testing.plugin", "governor.testing.fake_api")
    )
    assert not {"anthropic", "h11", "ruamel.yaml", "governor.testing.fake_api"} & (plugin - bare)
    assert not {"pytest", "_pytest", "anthropic"} & (server - bare)


def test_the_plugin_gives_a_running_server(fake_claude):
    """The fixture fake_claude is a running fake API."""
    assert ask(fake_claude.client()).role == "assistant"
