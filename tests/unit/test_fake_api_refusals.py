"""The fake Claude API refuses what the real one refuses, with the same errors and limits."""

from __future__ import annotations

from datetime import UTC, datetime

import anthropic
import pytest
from support.fixed_api import NOW_MS, SEARCH

from governor.testing import FakeClaude, RateLimits

HAIKU = "claude-haiku-5-5"
HELLO = [{"role": "user", "content": "Hello, Claude"}]
TOOL = {"name": "get_weather", "description": "Weather of a city", "input_schema": {"type": "object"}}


def fetched(kind, source):
    """A conversation with one block that the API would have to fetch."""
    return [{"role": "user", "content": [{"type": kind, "source": source}]}]


def ask(client, **overrides):
    return client.messages.create(**{"model": HAIKU, "max_tokens": 1000, "messages": HELLO, **overrides})


@pytest.mark.parametrize(
    "extra",
    [
        {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
        {
            "messages": [
                {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "http://x"}}]}
            ]
        },
        {
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "document", "source": {"type": "file", "file_id": "f"}}],
                }
            ]
        },
        {"extra_body": {"max_tokens": 10}},
        {"extra_body": {"mcp_servers": [{"type": "url", "url": "http://x", "name": "x"}]}},
    ],
    ids=["server tool", "url image", "file document", "max_tokens", "mcp"],
)
def test_counting_refuses_what_the_api_cannot_count(client, extra):
    """The count endpoint answers 400 for server tools, fetched sources, MCP and keys of other endpoints."""
    with pytest.raises(anthropic.BadRequestError) as refused:
        client.messages.count_tokens(**{"model": HAIKU, "messages": HELLO, **extra})
    assert refused.value.type == "invalid_request_error"


def test_client_tools_are_counted(client):
    """Tools that the caller runs are counted, whatever their type is called."""
    tools = [TOOL, {"type": "bash_20250124", "name": "bash"}, {**TOOL, "type": "custom"}]
    assert client.messages.count_tokens(model=HAIKU, messages=HELLO, tools=tools).input_tokens > 346


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"model": "claude-sonet-5-5"}, anthropic.NotFoundError, "model: claude-sonet-5-5"),
        ({"max_tokens": 128_001, "stream": True}, anthropic.BadRequestError, "128001 > 128000"),
        (
            {"extra_body": {"max_tokens": "many"}},
            anthropic.BadRequestError,
            "max_tokens: Input should be a valid integer",
        ),
        ({"max_tokens": -1}, anthropic.BadRequestError, "greater than or equal to 0"),
        ({"messages": []}, anthropic.BadRequestError, "at least one message"),
        ({"messages": [{"role": "robot", "content": "x"}]}, anthropic.BadRequestError, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, anthropic.BadRequestError, "messages.0.content"),
        ({"extra_body": {"user": "ada"}}, anthropic.BadRequestError, "user: Extra inputs are not permitted"),
        ({"speed": "fast"}, anthropic.BadRequestError, "speed: 'fast' is not supported"),
        ({"model": "claude-haiku-4-5", "inference_geo": "us"}, anthropic.BadRequestError, "inference_geo"),
        (
            {"model": "claude-haiku-4-5", "inference_geo": "global"},
            anthropic.BadRequestError,
            "inference_geo",
        ),
        (
            {"model": "anthropic.claude-opus-5-5", "inference_geo": "us"},
            anthropic.BadRequestError,
            "inference_geo: 'us' is not supported",
        ),
        (
            {"model": "global.anthropic.claude-opus-5-5", "speed": "fast"},
            anthropic.BadRequestError,
            "speed: 'fast' is not supported",
        ),
        ({"model": "mars.anthropic.claude-opus-5-5"}, anthropic.NotFoundError, "model: mars.anthropic"),
        ({"model": "us-gov.anthropic.claude-opus-4-7"}, anthropic.NotFoundError, "model: us-gov.anthropic"),
        (
            {"extra_body": {"tools": [{**SEARCH, "max_uses": 0}]}},
            anthropic.BadRequestError,
            "tools.0.max_uses: Input should be greater than or equal to 1",
        ),
        (
            {"extra_body": {"tools": [TOOL, {**SEARCH, "max_uses": "3"}]}},
            anthropic.BadRequestError,
            "tools.1.max_uses: Input should be a valid integer",
        ),
        (
            {"extra_body": {"tools": [{**SEARCH, "max_uses": True}]}},
            anthropic.BadRequestError,
            "tools.0.max_uses: Input should be a valid integer",
        ),
        (
            {"extra_body": {"tools": [{"type": "code_execution_20260521", "name": "x", "max_uses": 1}]}},
            anthropic.BadRequestError,
            "tools.0.max_uses: Extra inputs are not permitted",
        ),
        (
            {"extra_body": {"tools": ["search"]}},
            anthropic.BadRequestError,
            "tools.0: Input should be a valid",
        ),
        (
            {"model": "claude-haiku-4-5", "messages": [{"role": "user", "content": "a" * 1_000_000}]},
            anthropic.BadRequestError,
            "prompt is too long: 250011 tokens > 200000 maximum",
        ),
    ],
)
def test_invalid_requests_are_refused_like_by_the_api(api, client, change, error, said):
    """What the API does not accept gets its status and message, an id, and no line on the bill."""
    with pytest.raises(error) as refused:
        ask(client, **change)
    assert said in refused.value.api_message
    assert refused.value.request_id == api.requests[0].request_id
    assert api.bill == []


@pytest.mark.parametrize(
    ("model", "day", "served"),
    [
        ("claude-opus-4-1", (2026, 1, 1), False),
        ("claude-mythos-preview", (2026, 6, 29), True),
        ("claude-mythos-preview", (2026, 6, 30), False),
        ("claude-sonnet-4-5", (2026, 11, 29), True),
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", (2026, 11, 30), False),
    ],
)
def test_a_retired_model_is_not_found(model, day, served):
    """From its day of retirement a model is answered and counted no more, whatever it is called."""
    at_ms = int(datetime(*day, 12, tzinfo=UTC).timestamp() * 1000)
    with FakeClaude(now_ms=lambda: at_ms) as api:
        client = api.client(max_retries=0)
        for path, extra in (("/v1/messages", {"max_tokens": 5}), ("/v1/messages/count_tokens", {})):
            body = {"model": model, "messages": HELLO, **extra}
            if served:
                assert client.post(path, body=body, cast_to=object)
                continue
            with pytest.raises(anthropic.NotFoundError, match=f"model: {model}") as refused:
                client.post(path, body=body, cast_to=object)
            assert refused.value.type == "not_found_error"


@pytest.mark.parametrize("limit", [None, 1, 5])
def test_a_server_tool_may_have_a_limit_of_uses_or_none(client, limit):
    """A max_uses of null or of at least 1 is accepted."""
    assert ask(client, tools=[{**SEARCH, "max_uses": limit}]).role == "assistant"


@pytest.mark.parametrize("missing", ["max_tokens", "messages", "model"])
def test_required_fields_are_required(client, missing):
    """A body without max_tokens, messages or model is a 400 that names the field."""
    body = {"model": HAIKU, "max_tokens": 10, "messages": HELLO}
    del body[missing]
    with pytest.raises(anthropic.BadRequestError, match=f"{missing}: Field required"):
        client.post("/v1/messages", body=body, cast_to=object)


def test_a_wrong_or_missing_key_is_refused(api):
    """An unknown key is a 401 authentication_error; both headers that may carry the key are read."""
    with pytest.raises(anthropic.AuthenticationError) as refused:
        ask(api.client(api_key="wrong", max_retries=0))
    assert refused.value.type == "authentication_error"
    without = api.client(max_retries=0, default_headers={"Authorization": anthropic.Omit()})
    with pytest.raises(anthropic.AuthenticationError, match="x-api-key header is required"):
        ask(without)
    either = api.client(default_headers={"Authorization": anthropic.Omit(), "x-api-key": api.api_key})
    assert ask(either).role == "assistant"


def test_a_body_above_the_limit_is_refused():
    """A body longer than the server takes is a 413, and the connection goes on."""
    with FakeClaude(max_body_bytes=10_000) as api:
        client = api.client(max_retries=0)
        with pytest.raises(anthropic.ContentTooLargeError) as refused:
            ask(client, messages=[{"role": "user", "content": "a" * 200_000}])
        assert refused.value.type == "request_too_large"
        assert ask(client).role == "assistant"


def test_other_paths_are_not_found(client):
    """A path that the fake does not serve is a 404 that names it."""
    with pytest.raises(anthropic.NotFoundError, match="GET /v1/models"):
        client.models.list()


def test_rate_limits_count_down_and_refuse_until_the_next_minute():
    """Headers tell what is left of the minute; beyond it comes a 429 until the minute turns."""
    now = [NOW_MS]
    with FakeClaude(rate_limits=RateLimits(requests=2), now_ms=lambda: now[0]) as api:
        client = api.client(max_retries=0)
        left = "anthropic-ratelimit-requests-remaining"
        create = client.messages.with_raw_response.create
        first = create(model=HAIKU, max_tokens=10, messages=HELLO)
        second = create(model=HAIKU, max_tokens=10, messages=HELLO)
        assert (first.headers[left], second.headers[left]) == ("1", "0")
        assert first.headers["anthropic-ratelimit-requests-limit"] == "2"
        assert first.headers["anthropic-ratelimit-requests-reset"] == "2026-11-21T02:31:00Z"
        with pytest.raises(anthropic.RateLimitError) as refused:
            ask(client)
        assert refused.value.response.headers["retry-after"] == "30"
        now[0] += 30_000
        assert ask(client).role == "assistant"


@pytest.mark.parametrize(
    "limits", [RateLimits(input_tokens=20), RateLimits(output_tokens=100)], ids=["input", "output"]
)
def test_token_limits_refuse_the_second_call(limits):
    """Input tokens count on arrival and output tokens when served; each limit refuses alone."""
    with FakeClaude(rate_limits=limits, now_ms=lambda: NOW_MS) as api:
        client = api.client(max_retries=0)
        ask(client)
        with pytest.raises(anthropic.RateLimitError):
            ask(client)


def test_counts_have_a_limit_of_their_own():
    """Counts beyond their limit of a minute are answered 429 until it turns; messages are not affected."""
    now = [NOW_MS]
    with FakeClaude(count_requests_per_minute=1, now_ms=lambda: now[0]) as api:
        client = api.client(max_retries=0)
        asked = {"model": HAIKU, "messages": HELLO}
        client.messages.count_tokens(**asked)
        with pytest.raises(anthropic.RateLimitError, match="1 requests per minute") as refused:
            client.messages.count_tokens(**asked)
        assert refused.value.response.headers["retry-after"] == "30"
        assert ask(client).role == "assistant"
        now[0] += 30_000
        counted = client.messages.count_tokens(**asked)
        assert counted.input_tokens > 0
        assert [count.body["model"] for count in api.counts] == [HAIKU] * 3
        with pytest.raises(anthropic.RateLimitError):
            client.messages.count_tokens(**asked)
        api.reset()
        assert (client.messages.count_tokens(**asked), len(api.counts)) == (counted, 1)


def test_limits_that_are_not_enforced_only_show_in_headers():
    """With enforce=False no call is refused, and the headers stand at zero."""
    with FakeClaude(rate_limits=RateLimits(requests=1, enforce=False), now_ms=lambda: NOW_MS) as api:
        client = api.client(max_retries=0)
        ask(client)
        raw = client.messages.with_raw_response.create(model=HAIKU, max_tokens=10, messages=HELLO)
    assert raw.headers["anthropic-ratelimit-requests-remaining"] == "0"


def test_arguments_out_of_range_are_refused():
    """Nonsense settings are refused with what to give instead."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        FakeClaude(count_drift=2)
    with pytest.raises(ValueError, match="at least 1"):
        FakeClaude(tokens_per_delta=0)
    with pytest.raises(ValueError, match="at least 0"):
        FakeClaude(count_requests_per_minute=-1)
    with pytest.raises(ValueError, match="'global' or 'us'"):
        FakeClaude(workspace_geo="eu")
    with pytest.raises(ValueError, match="'global' or 'regional'"):
        FakeClaude(vertex_endpoint="us")
    with FakeClaude() as api, pytest.raises(ValueError, match="either"):
        api.replies()
