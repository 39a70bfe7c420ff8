"""Conversations that the API holds: each turn is held for the whole of it, though its body shows the end."""

from __future__ import annotations

import anthropic
import pytest
from anthropic import beta_async_tool, beta_tool
from support.doors import Doorway, entered, got, read
from support.endings import USD
from support.governed import HAIKU, HELLO, SONNET, department
from support.stages import on_sqlite

from governor.errors import PolicyViolation
from governor.testing import Reply, clean_end_without_stop

POLICY = department({"per": "department", "usd": 100, "window": "life"})
BETAS = ["message-threads-2026-08-12"]
LONG = "A sentence of some length that says little. " * 400
MORE = {"role": "user", "content": "And now?"}
OLDER = "claude-haiku-4-5"
"""Of the older tokenizer, which makes fewer tokens of the same text."""

WINDOW_NANOS = 1_000_000 * 2_000
"""What a prompt as long as Sonnet's window costs."""


@beta_tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"Sunny in {city}. " * 200


@beta_async_tool
async def weather_later(city: str) -> str:
    """The weather of a city."""
    return f"Sunny in {city}. " * 200


def call_of(name, number):
    """An answer that asks for a tool."""
    return Reply(
        content=[{"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": {"city": "Ulm"}}]
    )


def is_async(client):
    """Whether its methods are awaited."""
    return isinstance(client, anthropic.AsyncAnthropic)


async def tools(client, *, stream):
    """A tool runner, as the SDK runs it by default: three turns."""
    tool = weather_later if is_async(client) else weather
    runner = client.beta.messages.tool_runner(
        model=SONNET, max_tokens=200, messages=HELLO, tools=[tool], stream=stream, system=LONG
    )
    if not stream:
        return await read(runner)
    if is_async(client):
        return [await turn.get_final_message() async for turn in runner]
    return [turn.get_final_message() for turn in runner]


async def talk(client, *, stream):
    """A thread of the SDK: three turns."""
    thread = client.beta.messages.thread(model=SONNET, max_tokens=200, system=LONG)
    for message in (HELLO[0], MORE, MORE):
        if not stream:
            await got(thread.send(message))
            continue
        async with entered(thread.stream(message)) as turn:
            await got(turn.until_done())
    return thread.messages


def ask(client, thread, *messages, **over):
    """One turn, by hand."""
    given = {"model": SONNET, "max_tokens": 50, "betas": BETAS, "messages": list(messages), "thread": thread}
    return client.beta.messages.create(**{**given, **over})


def after(message_id):
    """The thread that goes on from an answer."""
    return {"type": "continue", "previous_message_id": message_id}


def check(stage, doorway, turns):
    """Every turn was held for at least its bill, the ledger has the bill, and nothing is open."""
    receipts = doorway.receipts
    assert len(receipts) == len(stage.api.bill) == turns
    for receipt, line in zip(receipts, stage.api.bill, strict=True):
        assert receipt.cost.nanos == line.nanos <= receipt.ceiling.nanos
        assert not receipt.overrun
        assert not receipt.uncertain
    assert stage.holds() == ()
    assert stage.posted() == stage.api.billed_nanos


def kinds(stage):
    """What each request that was sent said of its thread."""
    return [body.get("thread", {}).get("type") for body in stage.sent()]


@pytest.mark.parametrize("stream", [False, True])
@on_sqlite
def test_every_turn_of_a_tool_runner_is_held_whole(stage, stream):
    """What the runner does not send again is counted all the same, and not as a full window."""
    doorway = Doorway(stage, stage.governor(POLICY))
    name = "weather_later" if stage.is_async else "weather"
    stage.api.next(call_of(name, 1), call_of(name, 2), Reply("Sunny, twice."))
    turns = doorway.run(lambda client: tools(client, stream=stream))
    assert turns[-1].content[0].text == "Sunny, twice."
    stage.api.wait_idle()
    check(stage, doorway, 3)
    assert kinds(stage) == ["create", "continue", "continue"]
    assert max(receipt.ceiling.nanos for receipt in doorway.receipts) < WINDOW_NANOS // 10


@pytest.mark.parametrize("stream", [False, True])
@on_sqlite
def test_every_turn_of_a_thread_is_held_whole(stage, stream):
    """A thread of the SDK's own, whose system prompt is sent once."""
    doorway = Doorway(stage, stage.governor(POLICY))
    doorway.run(lambda client: talk(client, stream=stream))
    stage.api.wait_idle()
    check(stage, doorway, 3)
    assert kinds(stage) == ["create", "continue", "continue"]
    assert max(receipt.ceiling.nanos for receipt in doorway.receipts) < WINDOW_NANOS // 10


@on_sqlite
def test_a_turn_of_a_thread_begun_elsewhere_is_held_for_a_full_window(stage):
    """Another process had the earlier turns; the next turn here knows them."""
    first, second = (Doorway(stage, stage.governor(POLICY)) for _ in range(2))
    begun = first.run(lambda client: got(ask(client, {"type": "create"}, HELLO[0], system=LONG)))
    going = second.run(lambda client: got(ask(client, after(begun.id), MORE)))
    assert second.receipts[0].ceiling.nanos >= WINDOW_NANOS
    second.run(lambda client: got(ask(client, after(going.id), MORE)))
    assert second.receipts[1].ceiling.nanos < WINDOW_NANOS // 10
    for doorway in (first, second):
        for receipt in doorway.receipts:
            assert receipt.cost.nanos <= receipt.ceiling.nanos
    assert stage.holds() == ()
    assert stage.posted() == stage.api.billed_nanos


@on_sqlite
def test_a_thread_that_the_api_lost_is_sent_again_whole(stage):
    """The refused turn costs nothing; the SDK's replay is counted by what it shows."""
    doorway = Doorway(stage, stage.governor(POLICY))

    async def run(client):
        thread = client.beta.messages.thread(model=SONNET, max_tokens=50, system=LONG)
        await got(thread.send(HELLO[0]))
        stage.api.forget_threads()
        await got(thread.send(MORE))
        await got(thread.send(MORE))

    doorway.run(run)
    assert kinds(stage) == ["create", "continue", "create", "continue"]
    lost = doorway.receipts.pop(1)
    assert lost.cost.nanos == 0
    check(stage, doorway, 3)


@on_sqlite
def test_what_a_thread_holds_counts_for_the_limit_of_input(stage):
    """A turn whose body is short is refused, and not sent, when the conversation is longer than allowed."""
    doorway = Doorway(stage, stage.governor({**POLICY, "limits": {"input_tokens": 7_000}}))

    async def run(client):
        begun = await got(ask(client, {"type": "create"}, HELLO[0], system=LONG))
        going = await got(ask(client, after(begun.id), MORE))
        await got(ask(client, after(going.id), {"role": "user", "content": LONG}))

    with pytest.raises(PolicyViolation) as caught:
        doorway.run(run)
    assert "input_tokens" in str(caught.value)
    assert len(stage.sent()) == 2
    assert stage.holds() == ()
    assert stage.posted() == stage.api.billed_nanos


@on_sqlite
def test_a_conversation_goes_on_at_a_model_with_another_tokenizer(stage):
    """What one tokenizer counted is more tokens for the newer one, and is held as such."""
    doorway = Doorway(stage, stage.governor(POLICY))

    async def run(client):
        begun = await got(ask(client, {"type": "create"}, HELLO[0], system=LONG * 10, model=OLDER))
        going = await got(ask(client, after(begun.id), MORE, model=SONNET))
        await got(ask(client, after(going.id), MORE, model=HAIKU))

    doorway.run(run)
    check(stage, doorway, 3)


@on_sqlite
def test_an_answer_that_was_not_seen_to_its_end_is_no_known_turn(stage):
    """Who goes on from it, where the API let that happen, is held for a full window."""
    doorway = Doorway(stage, stage.governor(POLICY))
    stage.api.inject(clean_end_without_stop())
    ids = []

    async def run(client):
        events = await read(await got(ask(client, {"type": "create"}, HELLO[0], system=LONG, stream=True)))
        ids.append(events[0].message.id)
        await got(ask(client, after(ids[0]), MORE))

    with pytest.raises(anthropic.NotFoundError):
        doorway.run(run)
    cut, lost = doorway.receipts
    assert cut.uncertain
    assert lost.ceiling.nanos >= WINDOW_NANOS
    assert lost.cost.nanos == 0
    assert stage.balances()[USD].held == 0
