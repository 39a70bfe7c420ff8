"""Nothing of an answer is changed on its way through the governor, whatever it is and whoever reads it."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from contextlib import closing

import anthropic
import httpx2
import pytest
from support.doors import PARAMS, Doorway, blocking, endings, entered, got, read
from support.endings import BUDGETS
from support.gateway import Gateway
from support.governed import department
from support.stages import on_sqlite

from governor.testing import Reply

POLICY = department(*BUDGETS, estimate="local")
TEXT = Reply(text="It is what it is. " * 40, tokens_per_delta=3)
OF_ALL_KINDS = Reply(
    content=[
        {"type": "thinking", "thinking": "Hm. " * 30, "signature": "sig"},
        {"type": "text", "text": 'It is "what" it is: 50 € {\n\U0001f600}. ' * 20},
        {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"place": "Ulm \\ é"}},
    ]
)


async def stream_events(client):
    """The events of the stream helper, the SDK's derived ones among them."""
    async with entered(client.messages.stream(**PARAMS)) as events:
        return [event.to_json() for event in await read(events)]


async def raw_events(client):
    """The events of `create(stream=True)`."""
    return [event.to_json() for event in await read(await got(client.messages.create(stream=True, **PARAMS)))]


async def beta_events(client):
    """The events of `beta.messages.create(stream=True)`."""
    events = await read(await got(client.beta.messages.create(stream=True, **PARAMS)))
    return [event.to_json() for event in events]


def streaming(client, *, stream=True):
    """A response whose body is not read."""
    return client.messages.with_streaming_response.create(stream=stream, **PARAMS)


async def response_bytes(client):
    """The decoded bytes of a response, in the chunks that come."""
    async with entered(streaming(client)) as response:
        return b"".join(await read(response.iter_bytes()))


async def response_lines(client):
    """The lines of a response."""
    async with entered(streaming(client)) as response:
        return await read(response.iter_lines())


async def response_text(client):
    """The text of a response."""
    async with entered(streaming(client)) as response:
        return "".join(await read(response.iter_text()))


async def raw_bytes(client):
    """The bytes as they came over the wire, compressed where they are."""
    async with entered(streaming(client)) as response:
        http = response.http_response
        return b"".join(await read(http.aiter_raw() if _is_async(client) else http.iter_raw()))


async def plain_bytes(client):
    """The wire's bytes of an answer without a stream."""
    async with entered(streaming(client, stream=False)) as response:
        http = response.http_response
        return b"".join(await read(http.aiter_raw() if _is_async(client) else http.iter_raw()))


async def plain_message(client):
    """A message."""
    return (await got(client.messages.create(**PARAMS))).to_json()


def _is_async(client):
    return isinstance(client, anthropic.AsyncAnthropic)


READERS = [
    stream_events,
    raw_events,
    beta_events,
    response_bytes,
    response_lines,
    response_text,
    raw_bytes,
    plain_bytes,
    plain_message,
]


@on_sqlite
@pytest.mark.parametrize("compress", [None, "gzip"])
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_what_is_read_is_what_the_bare_client_reads(stage, compress, reader):
    """Every event, line and byte, in order, compressed or not; and the ledger has the bill."""
    stage.meet(compress=compress)
    stage.api.replies(OF_ALL_KINDS)
    expected = without(stage, stage.api.url, reader)
    stage.meet(compress=compress).replies(OF_ALL_KINDS)  # another that numbers its answers from 1
    doorway = Doorway(stage, stage.governor(POLICY))
    assert doorway.run(reader) == expected
    assert len(expected) > 0
    (ended,) = endings(stage, doorway, 1)
    assert (ended["uncertain"], ended["cost_nanos"]) == (False, stage.api.billed_nanos)
    headers = stage.api.requests[0].headers
    assert "gzip" in headers["accept-encoding"]


@on_sqlite
@pytest.mark.parametrize("compress", [None, "gzip"])
def test_parts_come_as_the_api_cut_them(stage, compress):
    """Nothing is gathered or held back: what one part of the body is at the API is one at the caller."""
    stage.meet(compress=compress)
    below = []
    stage.api.replies(TEXT)
    doorway = Doorway(stage, stage.governor(POLICY), inside=(Between(below),))

    async def parts(client):
        async with entered(streaming(client)) as response:
            body = response.http_response.stream
            return [part async for part in body] if stage.is_async else list(body)

    found = doorway.run(parts)
    assert found == below
    assert len(found) > 1
    endings(stage, doorway, 1)


class Between(anthropic.Middleware):
    """Within the governor's middleware: notes the parts of the body as they come from the HTTP library."""

    def __init__(self, parts):
        self.parts = parts

    def handle(self, request, call_next):
        response = call_next(request)
        response.http_response.stream = Noted(response.http_response.stream, self.parts)
        return response

    async def handle_async(self, request, call_next):
        response = await call_next(request)
        response.http_response.stream = AsyncNoted(response.http_response.stream, self.parts)
        return response


class Noted(httpx2.SyncByteStream):
    """A blocking client's body whose parts are noted."""

    def __init__(self, body, parts):
        self.body, self.parts = body, parts

    def __iter__(self):
        for part in self.body:
            self.parts.append(part)
            yield part

    def close(self):
        self.body.close()


class AsyncNoted(httpx2.AsyncByteStream):
    """The same of an async client's."""

    def __init__(self, body, parts):
        self.body, self.parts = body, parts

    async def __aiter__(self):
        async for part in self.body:
            self.parts.append(part)
            yield part

    async def aclose(self):
        await self.body.aclose()


# Answers that nobody can read beside: charged whole, uncertain, and passed on as they are.

SSE, JSON = "text/event-stream", "application/json"


class Says(Gateway):
    """A gateway that answers one content, with one head."""

    said: tuple[dict[str, str], bytes] = ({}, b"")

    def answer(self, path, body):
        """What it was told to say."""
        self.bodies.append({**body, "path": path})
        return 200, *self.said


def event(**told):
    """One server-sent event."""
    return f"event: {told['type']}\ndata: {json.dumps(told)}\n\n".encode()


def stream_of(**changed):
    """A stream as the API sends it, with some of its events in another way."""
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": PARAMS["model"], "content": []}
    message |= {"stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 19, "output_tokens": 1}}
    parts = {
        "message_start": {"message": message},
        "content_block_start": {"index": 0, "content_block": {"type": "text", "text": ""}},
        "content_block_delta": {"index": 0, "delta": {"type": "text_delta", "text": "Hello."}},
        "content_block_stop": {"index": 0},
        "message_delta": {"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 9}},
        "message_stop": {},
    }
    return b"".join(event(type=name, **{**part, **changed.get(name, {})}) for name, part in parts.items())


def message_with(**changed):
    """A message as the API sends it, with some of its fields in another way."""
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": PARAMS["model"], "content": []}
    message |= {"stop_reason": "end_turn", "usage": {"input_tokens": 19, "output_tokens": 9}}
    return json.dumps({**message, **changed}).encode()


PACKED = gzip.compress(stream_of(), mtime=0)
NOBODY_READS = {
    "no-json": (JSON, "", b"<html>It works</html>"),
    "nothing": (JSON, "", b""),
    "half-json": (JSON, "", message_with()[:-20]),
    "a-list": (JSON, "", b"[1, 2]"),
    "usage-of-words": (JSON, "", message_with(usage={"input_tokens": "many", "output_tokens": "few"})),
    "usage-below-nothing": (JSON, "", message_with(usage={"input_tokens": -5, "output_tokens": 9})),
    "usage-a-list": (JSON, "", message_with(usage=[1])),
    "model-a-list": (JSON, "", message_with(model=["x"], usage=None)),
    "nested-deep": (JSON, "", b"[" * 100_000),
    "html-for-a-stream": ("text/html", "", b"<html>It works</html>"),
    "type-of-a-stream": (SSE, "", message_with()),
    "unknown-coding": (SSE, "zip", stream_of()),
    "two-codings": (SSE, "gzip, gzip", gzip.compress(PACKED, mtime=0)),
    "not-packed": (SSE, "gzip", stream_of()),
    "half-packed": (SSE, "gzip", PACKED[:20]),
    "deflated-for-packed": (SSE, "gzip", zlib.compress(stream_of())),
    "kind-a-list": (SSE, "", stream_of(content_block_start={"content_block": {"type": ["text"]}})),
    "usage-of-words-in-a-stream": (SSE, "", stream_of(message_delta={"usage": {"output_tokens": "few"}})),
    "usage-endless": (SSE, "", stream_of(message_delta={"usage": {"output_tokens": float("inf")}})),
}


def says(gateway, name):
    """Have *gateway* say what nobody can read."""
    kind, coding, content = NOBODY_READS[name]
    gateway.said = (
        {**({"content-type": kind} if kind else {}), **({"content-encoding": coding} if coding else {})},
        content,
    )


@pytest.mark.parametrize("name", NOBODY_READS)
@on_sqlite
def test_what_cannot_be_read_is_charged_whole_and_passed_on(stage, name):
    """The caller has the same bytes, and no error of the governor's; the whole hold is posted, uncertain."""
    with closing(Says()) as gateway:
        says(gateway, name)
        url = f"http://127.0.0.1:{gateway._server.server_port}"
        doorway = Doorway(stage, stage.governor(POLICY), base_url=url)
        assert doorway.run(raw_bytes) == gateway.said[1]
        (ended,) = endings(stage, doorway, 1)
    assert ended["uncertain"]
    assert ended["cost_nanos"] == ended["ceiling_nanos"] > 0


@pytest.mark.parametrize("name", NOBODY_READS)
@pytest.mark.parametrize("reader", [plain_message, raw_events], ids=lambda one: one.__name__)
@on_sqlite
def test_what_cannot_be_read_ends_as_for_the_bare_client(stage, name, reader):
    """What the SDK makes of it, an answer or an error, is what it makes of it without a governor."""
    with closing(Says()) as gateway:
        says(gateway, name)
        url = f"http://127.0.0.1:{gateway._server.server_port}"
        doorway = Doorway(stage, stage.governor(POLICY), base_url=url)
        assert tried(doorway.run, reader) == tried(without, stage, url, reader)
        (ended,) = endings(stage, doorway, 1)
    assert 0 < ended["cost_nanos"] <= ended["ceiling_nanos"]


def tried(run, *given):
    """What comes of it: what is returned, or the error's type and words."""
    try:
        return run(*given)
    except Exception as error:  # noqa: BLE001 - whatever it is
        return type(error), str(error)


def without(stage, url, reader):
    """What *reader* has of another API without a governor."""
    options = {"base_url": url, "max_retries": 0}
    if not stage.is_async:
        return blocking(reader(stage.api.client(**options)))

    async def run():
        async with stage.api.async_client(**options) as client:
            return await reader(client)

    return asyncio.run(run())
