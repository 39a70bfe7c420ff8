"""Bedrock's binary event stream: every split reads alike, and nothing that arrives makes the reader fail."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from anthropic.lib.bedrock._stream_decoder import AWSEventStreamDecoder
from hypothesis import given
from hypothesis import strategies as st

from governor.clients.eventstream import EventStream
from governor.testing.fake_api import clouds_frames as frames

if TYPE_CHECKING:
    from collections.abc import Iterable

START = b'{"type": "message_start", "message": {"usage": {"input_tokens": 3}}}'
TEXT = json.dumps(
    {"type": "content_block_delta", "delta": {"text": "gr\u00fcn"}}, ensure_ascii=False
).encode()
STOP = b'{"type": "message_stop"}'
MESSAGES = [frames.chunk(START), frames.chunk(TEXT), frames.chunk(STOP)]
EVENTS = [("message_start", START), ("content_block_delta", TEXT), ("message_stop", STOP)]


def read(parts: Iterable[bytes]) -> list[tuple[str, bytes]]:
    """What a fresh reader makes of *parts*."""
    stream = EventStream()
    return [event for part in parts for event in stream.feed(part)]


def by_the_sdk(data: bytes) -> list[tuple[str, bytes]]:
    """What the SDK's own decoder makes of *data*."""
    return [
        (event.event or "", event.data.encode()) for event in AWSEventStreamDecoder().iter_bytes(iter([data]))
    ]


@pytest.mark.parametrize("at", range(len(b"".join(MESSAGES)) + 1))
def test_a_split_at_any_byte_changes_nothing(at: int) -> None:
    """Two pieces give the events of the whole, in order, with their bytes unchanged."""
    data = b"".join(MESSAGES)
    assert read([data[:at], data[at:]]) == EVENTS


def test_single_bytes_give_each_event_as_its_frame_ends() -> None:
    """An event is given with the last byte of its frame, neither sooner nor later."""
    stream = EventStream()
    for message, event in zip(MESSAGES, EVENTS, strict=True):
        given_ = [stream.feed(message[index : index + 1]) for index in range(len(message))]
        assert given_ == [[] for _ in message[1:]] + [[event]]


def test_reads_as_the_sdk_reads() -> None:
    """Events and an exception come out as the SDK's decoder gives them to its stream."""
    data = b"".join([*MESSAGES, frames.exception("overloaded_error", "Come back later")])
    assert read([data]) == by_the_sdk(data)
    assert read([data])[-1][0] == "error"


@pytest.mark.parametrize(
    ("headers", "payload", "kind", "message"),
    [
        (
            {":message-type": "exception", ":exception-type": "throttlingException"},
            b'{"message": "Too many"}',
            "throttlingException",
            "Too many",
        ),
        ({":message-type": "exception", ":exception-type": "xException"}, b"oops", "xException", "oops"),
        ({":message-type": "exception"}, b"[1]", "exception", "[1]"),
        (
            {":message-type": "error", ":error-code": "500", ":error-message": "broke"},
            b"",
            "500",
            "broke",
        ),
    ],
)
def test_errors_of_aws_are_error_events(
    headers: dict[str, str], payload: bytes, kind: str, message: str
) -> None:
    """An exception or error frame is an `error` event with its type and its message, whatever its payload."""
    [(name, data)] = read([frames.frame(headers, payload)])
    assert name == "error"
    assert json.loads(data) == {"type": "error", "error": {"type": kind, "message": message}}


@pytest.mark.parametrize(
    "other",
    [
        frames.frame({":message-type": "event", ":event-type": "metadata"}, b"{}"),
        frames.frame({":event-type": "chunk"}, b"{}"),
        frames.chunk(b"no JSON"),
        frames.chunk(b"[]"),
        frames.chunk(b'{"completion": "old"}'),
    ],
)
def test_what_is_no_messages_event_is_passed_over(other: bytes) -> None:
    """A frame of another kind gives nothing, and the events around it are read."""
    assert read([MESSAGES[0], other, *MESSAGES[1:]]) == EVENTS


@pytest.mark.parametrize(
    "broken",
    [
        b"event: message_start\ndata: {}\n\n",
        bytes(MESSAGES[1][:-1]) + b"\x00",
        frames.frame({":message-type": "event", ":event-type": "chunk"}, b"{}"),
        frames.frame({":message-type": "event", ":event-type": "chunk"}, b'{"bytes": "abc"}'),
    ],
)
def test_bytes_that_are_no_event_stream_end_the_reading(broken: bytes) -> None:
    """What came before is kept, nothing is raised, and nothing that follows is taken for an event."""
    stream = EventStream()
    assert stream.feed(MESSAGES[0] + broken) == EVENTS[:1]
    assert stream.broken
    assert stream.feed(MESSAGES[1]) == []


@given(st.lists(st.binary(max_size=64), max_size=8))
def test_no_bytes_make_it_raise(parts: list[bytes]) -> None:
    """Whatever arrives, feeding it gives a list."""
    assert isinstance(read([*MESSAGES[:1], *parts]), list)
