"""Conversations that the fake API holds behave as the SDK's helpers expect, and are billed whole."""

from __future__ import annotations

import asyncio

import anthropic
import pytest
from anthropic import beta_async_tool, beta_tool
from support.fixed_api import NOW_MS

from governor.testing import (
    FakeClaude,
    Reply,
    clean_end_without_stop,
    cut_before_head,
    overloaded,
    status_error,
)

HAIKU = "claude-haiku-5-5"
BETAS = ["message-threads-2026-08-12"]
HELLO = {"role": "user", "content": "Hello, Claude"}
MORE = {"role": "user", "content": "Tell me more"}


@beta_tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"Sunny in {city}"


@beta_async_tool
async def weather_later(city: str) -> str:
    """The weather of a city."""
    return f"Sunny in {city}"


def ask(client, thread, *messages, **overrides):
    settings = {"model": HAIKU, "max_tokens": 50, "betas": BETAS, **overrides}
    return client.beta.messages.create(messages=list(messages), thread=thread, **settings)


def after(message):
    return {"type": "continue", "previous_message_id": message.id}


def call_of(name, number):
    return Reply(
        content=[{"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": {"city": "Ulm"}}]
    )


def _mode(threaded):
    return {} if threaded else {"thread": False}


def run_tools(api, *, stream, threaded):
    """Let a tool runner take three turns; the texts of its last answer."""
    api.next(call_of("weather", 1), call_of("weather", 2), Reply("Sunny, twice."))
    runner = api.client(max_retries=0).beta.messages.tool_runner(
        model=HAIKU, max_tokens=100, messages=[HELLO], tools=[weather], stream=stream, **_mode(threaded)
    )
    if not stream:
        return runner.until_done().content[0].text
    return [turn.get_final_message() for turn in runner][-1].content[0].text


async def run_tools_async(api, *, stream, threaded):
    """The same with the async client."""
    api.next(call_of("weather_later", 1), call_of("weather_later", 2), Reply("Sunny, twice."))
    async with api.async_client(max_retries=0) as client:
        runner = client.beta.messages.tool_runner(
            model=HAIKU,
            max_tokens=100,
            messages=[HELLO],
            tools=[weather_later],
            stream=stream,
            **_mode(threaded),
        )
        if not stream:
            return (await runner.until_done()).content[0].text
        return [await turn.get_final_message() async for turn in runner][-1].content[0].text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("use_async", [False, True])
def test_a_tool_runner_costs_the_same_with_and_without_a_thread(api, stream, use_async):
    """Its turns send only what is new, and are billed as if each had sent the whole conversation."""
    bills = []
    for threaded in (True, False):
        before = len(api.bill)
        if use_async:
            last = asyncio.run(run_tools_async(api, stream=stream, threaded=threaded))
        else:
            last = run_tools(api, stream=stream, threaded=threaded)
        assert last == "Sunny, twice."
        bills.append([(line.usage["input_tokens"], line.nanos) for line in api.bill[before:]])
    assert bills[0] == bills[1]
    assert len(bills[0]) == 3
    kinds = [request.body.get("thread", {}).get("type") for request in api.requests]
    assert kinds == ["create", "continue", "continue", None, None, None]
    assert [len(request.body["messages"]) for request in api.requests] == [1, 1, 1, 1, 3, 5]
    assert "tools" not in api.requests[1].body


@pytest.mark.parametrize("stream", [False, True])
def test_the_sdks_thread_goes_on_turn_by_turn(api, client, stream):
    """A thread of the SDK sends each turn alone; each prompt billed has all the turns before it."""
    thread = client.beta.messages.thread(model=HAIKU, max_tokens=50, system="Be brief")
    for _ in range(3):
        if stream:
            with thread.stream(HELLO) as turn:
                turn.until_done()
        else:
            thread.send(HELLO)
    assert [request.body["thread"]["type"] for request in api.requests] == ["create", "continue", "continue"]
    prompts = [line.usage["input_tokens"] for line in api.bill]
    assert prompts[2] - prompts[1] == pytest.approx(prompts[1] - prompts[0], abs=1)
    assert prompts[1] > prompts[0]
    whole = {"model": HAIKU, "system": "Be brief", "messages": [dict(one) for one in thread.messages[:5]]}
    whole["messages"] = [
        {**one, "content": [{"type": "text", "text": block.text} for block in one["content"]]}
        if one["role"] == "assistant"
        else one
        for one in whole["messages"]
    ]
    assert prompts[2] == api.count_tokens(whole)


def test_the_sdks_async_thread_goes_on(api):
    """The async thread continues from its last answer, streamed after plain."""

    async def run():
        async with api.async_client(max_retries=0) as client:
            thread = client.beta.messages.thread(model=HAIKU, max_tokens=50)
            await thread.send(HELLO)
            async with thread.stream(MORE) as turn:
                await turn.until_done()

    asyncio.run(run())
    assert [request.body["thread"]["type"] for request in api.requests] == ["create", "continue"]


def test_an_unknown_answer_cannot_be_continued_and_the_sdk_replays(api, client):
    """A lost thread is a 404 thread_not_found; the SDK's thread then sends the whole conversation again."""
    with pytest.raises(anthropic.NotFoundError) as caught:
        ask(client, {"type": "continue", "previous_message_id": "msg_none"}, MORE)
    assert caught.value.error_code == "thread_not_found"
    assert api.bill == []
    thread = client.beta.messages.thread(model=HAIKU, max_tokens=50)
    thread.send(HELLO)
    api.forget_threads()
    thread.send(MORE)
    sent = [(one.body["thread"]["type"], len(one.body["messages"])) for one in api.requests[1:]]
    assert sent == [("create", 1), ("continue", 1), ("create", 3)]


def test_a_thread_is_gone_five_minutes_after_its_last_request():
    """Until then it can be continued, and each turn begins the five minutes anew."""
    clock = [NOW_MS]
    with FakeClaude(now_ms=lambda: clock[0]) as api:
        client = api.client(max_retries=0)
        message = ask(client, {"type": "create"}, HELLO)
        for _ in range(2):
            clock[0] += 300_000
            message = ask(client, after(message), MORE)
        clock[0] += 300_001
        with pytest.raises(anthropic.NotFoundError) as caught:
            ask(client, after(message), MORE)
        assert caught.value.error_code == "thread_not_found"


def test_an_answer_can_be_continued_once(api, client):
    """A second turn from the same answer is a 400 thread_already_continued."""
    first = ask(client, {"type": "create"}, HELLO)
    ask(client, after(first), MORE)
    with pytest.raises(anthropic.BadRequestError) as caught:
        ask(client, after(first), MORE)
    assert caught.value.error_code == "thread_already_continued"


def test_two_turns_cannot_continue_one_answer_at_once(api):
    """While one turn is being answered, another from the same answer is a 400 thread_continue_in_flight."""

    async def run():
        async with api.async_client(max_retries=0) as client:
            first = await ask(client, {"type": "create"}, HELLO)
            return await asyncio.gather(
                *(ask(client, after(first), MORE) for _ in range(2)), return_exceptions=True
            )

    api.next(Reply("Hi"), Reply("One", delay_ms=300))
    codes = [getattr(one, "error_code", None) for one in asyncio.run(run())]
    assert sorted(codes, key=str) == [None, "thread_continue_in_flight"]


@pytest.mark.parametrize("fault", [overloaded(), cut_before_head(), clean_end_without_stop()])
def test_a_turn_that_came_to_nothing_can_be_sent_again(api, client, fault):
    """What was refused or broke off leaves the thread where it was."""
    first = ask(client, {"type": "create"}, HELLO)
    api.inject(fault)
    try:
        with ask(client, after(first), MORE, stream=True) as events:
            list(events)
    except anthropic.APIError:
        pass
    assert ask(client, after(first), MORE).stop_reason in ("end_turn", "max_tokens")


def test_a_turn_whose_answer_was_lost_on_the_way_is_held(api, client):
    """An answer that was generated and billed but never arrived has continued the thread."""
    first = ask(client, {"type": "create"}, HELLO)
    api.inject(cut_before_head(billed=True))
    with pytest.raises(anthropic.APIConnectionError):
        ask(client, after(first), MORE)
    with pytest.raises(anthropic.BadRequestError, match="continued already"):
        ask(client, after(first), MORE)


def test_a_paused_turn_goes_on_from_no_message(api, client):
    """After pause_turn the server resumes from an empty list of messages."""
    block = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
    api.next(Reply(content=[block], stop_reason="pause_turn"))
    first = ask(client, {"type": "create"}, HELLO)
    assert ask(client, after(first)).stop_reason == "max_tokens"


def test_an_answer_of_a_fallback_model_is_not_held(api, client):
    """The SDK starts a new thread after one, because the server has none."""
    part = {"type": "fallback_message", "model": HAIKU, "input_tokens": 10, "output_tokens": 5}
    api.next(Reply(output_tokens=5, usage={"iterations": [part]}))
    first = ask(client, {"type": "create"}, HELLO)
    with pytest.raises(anthropic.NotFoundError):
        ask(client, after(first), MORE)


@pytest.mark.parametrize(
    ("thread", "overrides", "complaint"),
    [
        ({"type": "create"}, {"betas": []}, "thread: Extra inputs"),
        ({"type": "resume"}, {}, "thread.type"),
        ({"type": "continue"}, {}, "thread.previous_message_id: Field required"),
        ({"type": "continue", "previous_message_id": "msg_1"}, {"system": "Hi"}, "system: the thread keeps"),
        ({"type": "continue", "previous_message_id": "msg_1"}, {"tools": []}, "tools: the thread keeps"),
    ],
)
def test_what_is_no_turn_is_refused(client, thread, overrides, complaint):
    """A thread without its beta header, of another type, without its id or with what it keeps is a 400."""
    with pytest.raises(anthropic.BadRequestError, match=complaint):
        ask(client, thread, HELLO, **overrides)


def test_the_error_of_an_unsupported_request_can_be_injected(api, client):
    """The SDK's thread goes on without threading when the API says that it cannot thread the request."""
    thread = client.beta.messages.thread(
        model=HAIKU, max_tokens=50, unsupported_request_behavior="continue_unthreaded"
    )
    api.inject(status_error(400, error_code="thread_unsupported_request"))
    thread.send(HELLO)
    assert ["thread" in one.body for one in api.requests] == [True, False]
