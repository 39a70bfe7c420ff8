"""Counts of a prompt: remembered, within the endpoint's own limit, given up for a bound where they fail."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import anthropic
import pytest
from anthropic.lib.bedrock import AnthropicBedrock
from support.governed import HAIKU, HELLO, LINES, OPUS, SONNET, Clock, department
from support.stages import on_sqlite

from governor.testing import FakeClaude, cut_before_head, hang_before_head, rate_limited, status_error

TEAM = {"per": "department", "usd": "1", "window": "life"}
OTHER = [{"role": "user", "content": "Good evening, Claude"}]
OLD_HAIKU = "claude-haiku-4-5"


def own_client(stage, kind=None, **options):
    """A client of the stage's own kind that a test makes itself."""
    if kind is not None:
        return kind(base_url=stage.api.url, **options)
    return (stage.api.async_client if stage.is_async else stage.api.client)(**options)


def close(caller, client):
    """Close a client that a test made, where its connections are."""
    if isinstance(client, anthropic.Anthropic | AnthropicBedrock):
        client.close()
    else:
        caller.on_loop(client.close()).result()


# Counts are remembered.


@on_sqlite
def test_a_prompt_is_counted_once(stage):
    """The same content is not counted again, whatever else differs; other content is."""
    caller = stage.governor(department(TEAM))
    tools = [{"name": "t", "input_schema": {"type": "object"}}]
    same: list[dict[str, Any]] = [{}, {"max_tokens": 7}, {"model": "haiku"}, {"stop_sequences": ["END"]}]
    assert {caller.call(**request).receipt.decision.input_tokens for request in same} == {19}
    assert len(stage.api.counts) == 1
    for number, request in enumerate(({"messages": OTHER}, {"system": "Be brief."}, {"tools": tools}), 2):
        caller.call(**request)
        assert len(stage.api.counts) == number


@on_sqlite
def test_each_tokenizer_is_asked_once(stage):
    """A line of an older tokenizer is counted by its own model, and each count is remembered."""
    team = department(TEAM, routing={"lines": {**LINES, "haiku": OLD_HAIKU}})
    caller = stage.governor(team)
    for _ in range(2):
        caller.call(model="sonnet")
    assert [count.body["model"] for count in stage.api.counts] == [SONNET, OLD_HAIKU]


@on_sqlite
@pytest.mark.parametrize(
    "thought",
    [
        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
        {"type": "redacted_thinking", "data": "x"},
    ],
    ids=lambda block: block["type"],
)
def test_each_model_is_asked_where_earlier_turns_were_thought_over(stage, thought):
    """Not every model keeps earlier thinking in its prompt: one count per model then, each remembered."""
    caller = stage.governor(department(TEAM))
    said = {"type": "text", "text": "Hello."}
    for content, models in (([thought, said], [OPUS, SONNET, HAIKU]), ([said], [OPUS])):
        before = len(stage.api.counts)
        talk = [*HELLO, {"role": "assistant", "content": content}, *OTHER]
        for _ in range(2):
            assert caller.call(model="opus", messages=talk).receipt.decision.estimate == "count_tokens"
        assert [count.body["model"] for count in stage.api.counts[before:]] == models


@on_sqlite
def test_a_conversation_is_counted_without_the_tools_that_cannot_be(stage):
    """Of a request with a web search only its definition is bounded; the prompt around it is counted."""
    caller = stage.governor(department(TEAM))
    plain = caller.call(model="sonnet").receipt.decision.input_tokens
    search = {"type": "web_search_20260318", "name": "web_search", "max_uses": 1}
    decision = caller.call(model="sonnet", tools=[search], tool_choice={"type": "auto"}).receipt.decision
    assert decision.estimate == "count_tokens"
    assert plain + 4_096 < decision.input_tokens < plain + 6_000
    assert all(count.body.keys() == {"model", "messages"} for count in stage.api.counts)
    assert stage.sent()[-1]["tools"] == [search]


@on_sqlite
def test_a_prompt_in_objects_is_remembered_by_what_is_sent(stage):
    """Blocks of an earlier answer, as the SDK's objects, are the same prompt as their dictionaries."""
    caller = stage.governor(department(TEAM))
    answer = caller.call()
    talk = [*HELLO, {"role": "assistant", "content": answer.content}, *OTHER]
    plain = [*HELLO, {"role": "assistant", "content": [one.to_dict() for one in answer.content]}, *OTHER]
    counts = {caller.call(messages=prompt).receipt.decision.input_tokens for prompt in (talk, plain)}
    assert len(counts) == 1
    assert len(stage.api.counts) == 2


@on_sqlite
@pytest.mark.parametrize("given", ["path", "open file"])
@pytest.mark.parametrize("estimate", ["auto", "count", "local"])
def test_a_prompt_with_a_file_is_served(stage, estimate, given):
    """An image given as a path or as an open file is measured, and sent whole as it is at that moment."""
    caller = stage.governor(department(TEAM, estimate=estimate))
    path = stage.folder / "a.png"
    for content in (b"old", b"new"):
        path.write_bytes(content)
        data = path if given == "path" else io.BytesIO(content)
        source = {"type": "base64", "media_type": "image/png", "data": data}
        prompt = [{"role": "user", "content": [{"type": "image", "source": source}]}]
        receipt = caller.call(messages=prompt).receipt
        assert receipt.cost.nanos <= receipt.ceiling.nanos
        (block,) = stage.sent()[-1]["messages"][0]["content"]
        assert block["source"]["data"] == base64.b64encode(content).decode()


# The count endpoint: its own limit, silence, keys and middleware.


@on_sqlite
@pytest.mark.parametrize(("retry_after", "pause_s"), [(20, 20), (None, 5), (0, 1), (86_400, 60)])
def test_an_api_that_is_asked_too_often_is_left_alone(stage, retry_after, pause_s):
    """After a 429 nobody asks for as long as it says, within a second and a minute; calls go on, bounded."""
    caller = stage.governor(department(TEAM))
    stage.api.count_fault(rate_limited(retry_after), times=1)
    seen = []
    for wait_s in (0, 0, pause_s - 0.001, 0.001):
        stage.clock.forward(wait_s)
        receipt = caller.call().receipt
        assert receipt.cost.nanos <= receipt.ceiling.nanos
        seen.append((receipt.decision.estimate, len(stage.api.counts)))
    assert seen == [("local bound", 1), ("local bound", 1), ("local bound", 1), ("count_tokens", 2)]
    assert stage.posted() == stage.api.billed_nanos


@on_sqlite
def test_a_limit_of_counts_a_minute_refuses_no_call(stage):
    """With one count a minute, other prompts are bounded; remembered ones are still known."""
    with FakeClaude(count_requests_per_minute=1, now_ms=Clock()) as api:
        stage.api = api
        caller = stage.governor(department(TEAM))
        prompts = [[{"role": "user", "content": f"question {number}"}] for number in range(4)]
        estimates = [
            caller.call(messages=prompt).receipt.decision.estimate for prompt in (*prompts, prompts[0])
        ]
        assert estimates == ["count_tokens", *["local bound"] * 3, "count_tokens"]
        assert len(api.counts) == 2
        assert stage.posted() == api.billed_nanos


@on_sqlite
@pytest.mark.parametrize(
    "fault", [status_error(400), status_error(500), cut_before_head()], ids=["refused", "failed", "cut"]
)
def test_a_count_that_fails_is_asked_for_once(stage, fault):
    """A failed count is not asked for again by the same call for its other candidates of that tokenizer."""
    stage.api.count_fault(fault)
    caller = stage.governor(department(TEAM))
    assert caller.call(model="opus").receipt.decision.estimate == "local bound"
    assert len(stage.api.counts) == 1


@on_sqlite
def test_a_count_that_hangs_is_given_up_for_the_bound(stage):
    """An endpoint that never answers costs one short time-out, and is then left alone for a while."""
    stage.api.count_fault(hang_before_head(), times=1)
    caller = stage.governor(department(TEAM, timeout=30))
    assert caller.call().receipt.decision.estimate == "local bound"
    assert caller.call().receipt.decision.estimate == "local bound"
    assert len(stage.api.counts) == 1
    stage.clock.forward(5)
    assert caller.call().receipt.decision.estimate == "count_tokens"


@on_sqlite
def test_only_what_the_endpoint_accepts_is_sent_to_it(stage):
    """Parameters of messages alone stay out of a count; those of the prompt are in it."""
    extra = {"metadata": {"user_id": "x"}, "stop_sequences": ["END"], "inference_geo": "us"}
    prompt = {"system": "Be brief.", "thinking": {"type": "adaptive"}, "messages": HELLO}
    receipt = stage.governor(department(TEAM)).call(**extra, **prompt).receipt
    assert receipt.decision.estimate == "count_tokens"
    (count,) = stage.api.counts
    assert count.body == {"model": SONNET, **prompt}
    assert {key: stage.sent()[0][key] for key in extra} == extra


class Watching(anthropic.Middleware):
    """A user's own middleware: it notes every request, and signs it."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def handle(self, request, call_next):
        return call_next(self.signed(request))

    async def handle_async(self, request, call_next):
        return await call_next(self.signed(request))

    def signed(self, request):
        self.seen.append(request.url)
        return request.copy(headers={**request.headers, "x-team": "blue"})


@on_sqlite
def test_a_users_own_middleware_sees_the_count_too(stage):
    """What a company puts around its client is around counts as around calls, once each."""
    watching = Watching()
    client = own_client(stage, middleware=[watching])
    caller = stage.governor(department(TEAM), client=client)
    assert caller.call().receipt.decision.estimate == "count_tokens"
    close(caller, client)
    assert watching.seen == ["/v1/messages/count_tokens", "/v1/messages"]
    assert [request.headers["x-team"] for request in stage.api.requests] == ["blue", "blue"]


@on_sqlite
@pytest.mark.parametrize("estimate", ["auto", "count"])
def test_a_client_that_cannot_count_is_bounded(stage, estimate):
    """Bedrock's older client raises an error of the SDK for every count: the local bound is held instead."""
    client = stage.api.async_bedrock_client() if stage.is_async else stage.api.bedrock_client()
    caller = stage.governor(department(TEAM, estimate=estimate), client=client)
    caller.call(model="us.anthropic.claude-sonnet-5-5")
    close(caller, client)
    assert json.loads(stage.journal("reserve")[-1].record)["estimate"] == "local bound"
    assert not stage.api.counts
    assert stage.posted() == stage.api.billed_nanos > 0
    assert stage.holds() == ()
