"""What went wrong at the doors once: middleware that sends again, odd gateways, odd scopes, odd closings."""

from __future__ import annotations

import asyncio
import contextvars
import json
import threading
from concurrent.futures import CancelledError

import anthropic
import pytest
from anthropic.lib.middleware import BetaFallbackState, BetaRefusalFallbackMiddleware
from support.doors import BY_NAME, PARAMS, Doorway, endings, read
from support.gateway import Gateway
from support.governed import OPUS, SONNET, department
from support.stages import blocking, in_tasks, on_sqlite, once

import governor
from governor import PolicyViolation
from governor.clients.attribution import current
from governor.ledger import commands as c
from governor.testing import Reply

TEAM = department({"per": "department", "usd": "100", "window": "life"})
CREATE, STREAM = BY_NAME["create"], BY_NAME["raw-stream"]


# Other middleware in the chain.


class Twice(anthropic.Middleware):
    """Sends what was answered once more, as a middleware does that is not content with an answer."""

    def handle(self, request, call_next):
        """As the blocking client calls it."""
        call_next(request).parse()
        return call_next(request)

    async def handle_async(self, request, call_next):
        """As the async client calls it."""
        await (await call_next(request)).parse()
        return await call_next(request)


@on_sqlite
@pytest.mark.parametrize("door", [CREATE, STREAM], ids=lambda door: door.name)
def test_what_a_middleware_sends_again_is_held_again(stage, door):
    """An answered request that comes a second time is a leg of its own, and both are charged."""
    doorway = Doorway(stage, stage.governor(TEAM), outside=(Twice(),))
    doorway.go(door)
    records = endings(stage, doorway, 2)
    assert [record["kind"] for record in records] == ["settle", "settle"]
    assert len({record["id"] for record in records}) == 2
    if door is CREATE:  # the first stream was left unread
        assert stage.posted() == stage.api.billed_nanos


@on_sqlite
def test_the_sdks_own_fallback_for_refusals_passes(stage):
    """A refused request that the SDK's middleware sends to the next model is held and charged by itself."""
    stage.api.next(Reply(stop_reason="refusal"), Reply("Gladly."))
    outside = BetaRefusalFallbackMiddleware([{"model": OPUS}])
    doorway = Doorway(stage, stage.governor(TEAM), outside=(outside,))
    with BetaFallbackState():
        message = doorway.go(BY_NAME["beta-create"])
    assert message.content[-1].text == "Gladly."
    endings(stage, doorway, 2)
    assert stage.posted() == stage.api.billed_nanos


@on_sqlite
@pytest.mark.parametrize("door", [CREATE, STREAM], ids=lambda door: door.name)
def test_a_door_that_stands_twice_in_a_chain_charges_once(stage, door):
    """What the outer door holds, the inner door of the same governor lets pass."""
    caller = stage.governor(TEAM)
    second = caller.governor.middleware(user="u", department="team")
    doorway = Doorway(stage, caller, inside=(second,))
    doorway.go(door)
    assert len(endings(stage, doorway, 1)) == 1
    assert stage.posted() == stage.api.billed_nanos


@once
def test_a_stream_that_a_middleware_further_in_has_read_whole_costs_its_usage(stage):
    """A middleware that logs answers may read a stream before the governor sees it; its events are read."""

    def logs(request, call_next):
        response = call_next(request)
        response.http_response.read()
        return response

    doorway = Doorway(stage, stage.governor(TEAM), inside=(logs,))
    doorway.go(STREAM)
    assert [record["kind"] for record in endings(stage, doorway, 1)] == ["settle"]
    assert stage.posted() == stage.api.billed_nanos


@on_sqlite
def test_what_a_governor_further_in_refuses_costs_nothing(stage):
    """A refusal by another governor in the chain is no sending: the hold of the outer one is released."""
    outer, inner = stage.governor(TEAM), stage.governor(TEAM)
    refusing = inner.governor.middleware(user="u", department="nobody")
    doorway = Doorway(stage, outer, inside=(refusing,))
    with pytest.raises(PolicyViolation):
        doorway.go(CREATE)
    assert [record["kind"] for record in endings(stage, doorway, 1)] == ["release"]
    assert stage.posted() == 0
    assert not stage.api.bill


@on_sqlite
def test_a_path_without_its_slash_is_governed_too(stage):
    """`client.post` to the endpoint as the SDK also takes it is held and charged."""

    async def post(client):
        answer = client.post("v1/messages", body=PARAMS, cast_to=dict[str, object])
        return await answer if stage.is_async else answer

    doorway = Doorway(stage, stage.governor(TEAM))
    doorway.run(post)
    assert len(endings(stage, doorway, 1)) == 1
    assert stage.posted() == stage.api.billed_nanos > 0


@on_sqlite
def test_a_batch_is_counted_by_its_own_client_and_held_once(stage, monkeypatch):
    """A governor without a client holds others' batches; once, though it stands twice."""
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    caller = stage.governor(TEAM, client=None)
    second = caller.governor.middleware(user="u", department="team")
    doorway = Doorway(stage, caller, inside=(second,))

    async def make(client):
        answer = client.messages.batches.create(requests=[{"custom_id": "a", "params": PARAMS}])
        return await answer if stage.is_async else answer

    assert doorway.run(make).processing_status
    assert len([hold for hold in stage.holds() if hold.balances]) == 1
    assert stage.api.counts


@on_sqlite
def test_a_header_for_the_governor_is_not_sent_with_what_is_free(stage):
    """Who asks is no business of the API's, when tokens are counted either."""

    async def count(client):
        answer = client.messages.count_tokens(
            model=SONNET, messages=PARAMS["messages"], extra_headers={"governor-user": "ada"}
        )
        return await answer if stage.is_async else answer

    Doorway(stage, stage.governor(TEAM)).run(count)
    assert not [name for name in stage.api.counts[-1].headers if name.startswith("governor-")]


# Answers that gateways change.


class Relabelled(Gateway):
    """Sends events under another content type, or one document in another encoding."""

    content_type, document = "text/event-stream", b""

    def answer(self, path, body):
        """As the gateway answers, but for that."""
        status, headers, content = super().answer(path, body)
        if path.endswith("count_tokens"):
            return status, headers, content
        return status, {**headers, "content-type": self.content_type}, self.document or content


@pytest.fixture
def gateway(stage):
    """A gateway and a blocking client of it that is governed."""
    receipts = []
    with Relabelled() as made:
        door = stage.governor(TEAM).governor.middleware(
            user="u", department="team", on_receipt=receipts.append
        )
        with made.client(is_async=False).with_options(middleware=[door], max_retries=0) as client:
            yield made, client, receipts


@once
@pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream", "application/json"])
def test_events_under_another_content_type_are_read_as_the_sdk_reads_them(gateway, content_type):
    """A gateway that names a stream otherwise does not have the whole hold charged."""
    made, client, receipts = gateway
    made.content_type = content_type
    kinds = [event.type for event in client.messages.create(stream=True, **PARAMS)]
    assert kinds[-1] == "message_stop"
    assert not receipts[0].uncertain
    assert receipts[0].usage["output_tokens"] == made.ended["output_tokens"]


@once
@pytest.mark.parametrize(
    "changed",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("Hi", "\\ud83d").encode(),
    ],
    ids=["byte-order-mark", "utf-16", "half-a-surrogate-pair"],
)
def test_json_that_only_the_sdk_takes_is_read(gateway, changed):
    """A whole answer that Python's own reader takes has its usage read, and not its hold charged."""
    made, client, receipts = gateway
    made.content_type = "application/json"
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": SONNET,
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "content": [{"type": "text", "text": "Hi"}],
        "usage": {"input_tokens": 9, "output_tokens": 2},
    }
    made.document = changed(json.dumps(message))
    assert client.messages.create(**PARAMS).usage.output_tokens == 2
    assert not receipts[0].uncertain


@once
def test_a_document_too_deep_to_read_charges_the_hold_and_raises_nothing_of_ours(gateway):
    """What cannot be read beside the caller ends no answer; its hold is charged."""
    made, client, receipts = gateway
    made.content_type, made.document = "application/json", b"[" * 100_000
    with client.messages.with_streaming_response.create(**PARAMS) as response:
        assert response.read() == made.document
    assert receipts[0].uncertain
    assert receipts[0].cost == receipts[0].ceiling


# Scopes of attribution.


def test_one_attribute_is_entered_by_many_threads_at_once():
    """An `attribute` that is kept and shared holds in each thread, and each leaves its own."""
    shared, both, seen = governor.attribute(user="ada"), threading.Barrier(2), []

    def work(first):
        with shared:
            both.wait(5)
            if first:
                both.wait(5)
        if not first:
            both.wait(5)
        seen.append(current())

    threads = [threading.Thread(target=work, args=(first,)) for first in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert seen == [None, None]


def test_generators_that_leave_in_another_order_leave_nothing_behind():
    """Two generators that are read in turns and end first in, first out attribute nothing after their end."""

    def attributed(user):
        with governor.attribute(user=user):
            yield

    first, second = attributed("ada"), attributed("bob")
    next(first)
    next(second)
    next(first, None)
    assert current().part("user") == "bob"
    next(second, None)
    assert current() is None


def test_a_scope_that_is_left_in_another_context_raises_nothing():
    """A web framework may enter and leave a dependency in two contexts; each is as it was."""
    scope = governor.attribute(user="ada")
    context = contextvars.copy_context()
    context.run(scope.__enter__)
    scope.__exit__(None, None, None)
    assert current() is None
    context.run(scope.__exit__, None, None, None)
    assert context.run(current) is None


def test_a_task_that_outlives_its_scope_keeps_it():
    """A task that was started inside is attributed after its starter has left."""

    async def main():
        left = asyncio.Event()

        async def work():
            await left.wait()
            return current().part("user")

        with governor.attribute(user="ada"):
            task = asyncio.create_task(work())
        left.set()
        return await task, current()

    assert asyncio.run(main()) == ("ada", None)


def test_a_decorated_generator_is_refused_with_what_to_do():
    """The code of a generator runs when it is read, where a decorator would hold no more."""

    async def answers():
        yield

    for function in (answers, lambda: (yield)):
        with pytest.raises(PolicyViolation, match=r"put `with governor\.attribute"):
            governor.attribute(user="ada")(function)


# Closings.


@in_tasks
def test_a_close_that_is_cancelled_while_another_task_has_the_turn_is_told_all_the_same(stage):
    """The hold of a stream does not stay open because who closed it was cancelled while it waited."""
    caller = stage.governor(TEAM)
    doorway = Doorway(stage, caller)
    stage.api.next(Reply(event_delay_ms=20))

    async def work(client):
        stream = await client.messages.create(stream=True, **PARAMS)
        await anext(stream)
        (passage,) = caller.governor._engine.drops._reading
        async with passage._turn:
            closing = asyncio.create_task(stream.close())
            for _ in range(100):  # until it waits
                await asyncio.sleep(0)
            closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing

    doorway.run(work)
    assert [record["kind"] for record in endings(stage, doorway, 1)] == ["settle"]
    assert not caller.governor._engine.drops._reading


@in_tasks
def test_a_task_that_is_cancelled_while_its_hold_is_extended_ends(stage):
    """The cancellation is not lost: the answer is not read on, uncharged, by a task that was to end."""
    caller = stage.governor(TEAM)
    doorway = Doorway(stage, caller)
    stage.api.next(Reply(event_delay_ms=5))

    async def work(client):
        reader = asyncio.current_task()

        async def cancelling(effect, task):
            if isinstance(effect, c.Extend):
                asyncio.get_running_loop().call_soon(reader.cancel)
            return await perform(effect, task)

        stream = await client.messages.create(stream=True, **PARAMS)
        await anext(stream)
        (passage,) = caller.governor._engine.drops._reading
        perform = passage._engine.perform
        passage._engine = passage._engine._replace(perform=cancelling)
        passage.report_after(0)
        return await read(stream)

    with pytest.raises(CancelledError):
        doorway.run(work)
    assert [record["kind"] for record in endings(stage, doorway, 1)] == ["settle"]


@once
def test_a_pin_that_is_no_flag_is_refused(stage):
    """`pin="no"` does not pin: it is refused."""
    doorway = Doorway(stage, stage.governor(TEAM), door={"user": "u", "department": "team", "pin": "no"})
    with pytest.raises(PolicyViolation, match="pin is 'no': give True or False"):
        doorway.go(CREATE)


@blocking
def test_whoever_is_told_the_receipt_may_close_the_answer_that_a_deadline_broke_off(stage):
    """Closing inside `on_receipt` does not wait for itself."""
    stage.clock.run()
    caller = stage.governor({**TEAM, "deadline": 0.3})
    streams, told = [], []

    def listen(receipt):
        told.append(receipt)
        for stream in streams:
            stream.close()

    doorway = Doorway(stage, caller, door={"user": "u", "department": "team", "on_receipt": listen})
    stage.api.next(Reply(event_delay_ms=50, tokens_per_delta=1))

    def read():
        streams.append(doorway.client.messages.create(stream=True, **PARAMS))
        try:
            list(streams[0])
        except Exception as error:  # noqa: BLE001 - which one it is, is tested elsewhere
            streams.append(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert len(told) == 1
    assert stage.holds() == ()
