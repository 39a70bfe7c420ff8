"""However the bytes of an answer are cut, compressed or broken, the same events are read of them."""

from __future__ import annotations

import json
import zlib
from itertools import pairwise

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.clients.streaming import Meter
from governor.clients.wire import WHOLE, ServerSentEvents, Whole, reader_of

SSE = "text/event-stream; charset=utf-8"
GZIP_BITS, DEFLATE_BITS = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS
TEXTS = st.text(st.sampled_from('ab "\\\n\r\té\u2028\x85€\U0001f600/{}'), max_size=30)

STARTED = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5-5",
        "content": [],
        "stop_reason": None,
        "usage": {"input_tokens": 19, "cache_read_input_tokens": 7, "output_tokens": 1},
    },
}
ENDED = {
    "type": "message_delta",
    "delta": {"stop_reason": "end_turn", "stop_sequence": None},
    "usage": {"output_tokens": 40},
}
STOPPED = {"type": "message_stop"}


def delta(text, kind="text_delta", name="text"):
    """A delta of a content block."""
    return {"type": "content_block_delta", "index": 0, "delta": {"type": kind, name: text}}


def written(event, *, ascii_only=False):
    """The lines of an event as the API writes them."""
    return [f"event: {event['type']}", f"data: {json.dumps(event, ensure_ascii=ascii_only)}"]


def over_lines(event):
    """The lines of an event whose data is spread over several, some without the blank."""
    lines = json.dumps(event, indent=1, ensure_ascii=False).split("\n")
    return [f"data:{' ' * (number % 2)}{line}" for number, line in enumerate(lines)]


EVENTS = st.one_of(
    TEXTS.map(delta),
    TEXTS.map(lambda text: delta(text, "thinking_delta", "thinking")),
    TEXTS.map(lambda text: delta(text, "input_json_delta", "partial_json")),
    st.just({"type": "ping"}),
    TEXTS.map(lambda text: {"type": "hologram_start", "of": [text, None, {"data": text}]}),
    st.integers(60_000, 200_000).map(lambda size: delta("wörds " * (size // 7))),
)
"""Events that the API sends or might come to send, a huge one among them."""

TOLD = st.one_of(
    EVENTS.map(lambda event: (written(event), [event])),
    EVENTS.map(lambda event: (written(event, ascii_only=True), [event])),
    EVENTS.map(lambda event: (over_lines(event), [event])),
    EVENTS.map(lambda event: ([": keep-alive", *written(event), "id: 7", "retry: 10"], [event])),
)
NOTHING = st.sampled_from(
    [
        ([": a comment"], []),
        (["event: ping"], []),
        (["data: [DONE]"], []),
        (['data: {"type": "content_block_delta", "ind'], []),
        (["data"], []),
        (["no field at all: of ours"], []),
        ([""], []),
    ]
)


@st.composite
def bodies(draw):
    """The bytes of a stream, and the events in it."""
    between = draw(st.lists(TOLD | NOTHING, max_size=6))
    pieces = [
        (written(STARTED), [STARTED]),
        *between,
        (written(ENDED), [ENDED]),
        (written(STOPPED), [STOPPED]),
    ]
    wire, events = "", []
    for lines, found in pieces:
        end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
        wire += "".join(line + end for line in (*lines, ""))
        events += found
    return wire.encode(), events


@st.composite
def cuts_of(draw, data):
    """*data* in parts, some of them a byte long, some empty."""
    places = draw(st.lists(st.integers(0, len(data)), max_size=12))
    places += [place + 1 for place in places if place < len(data) and draw(st.booleans())]
    return [data[start:end] for start, end in pairwise([0, *sorted(places), len(data)])]


def packed(data, *, bits, flushes):
    """*data* compressed; *flushes* after every so many bytes, 0 for never."""
    packer = zlib.compressobj(wbits=bits)
    size = flushes or len(data)
    parts = [
        packer.compress(data[start : start + size]) + (packer.flush(zlib.Z_SYNC_FLUSH) if flushes else b"")
        for start in range(0, len(data), size)
    ]
    return b"".join(parts) + packer.flush()


def answer(kind=SSE, coding=""):
    """A response with this head."""
    return httpx2.Response(
        200, headers={"content-type": kind, **({"content-encoding": coding} if coding else {})}
    )


def read(reader, parts):
    """All that a reader makes of these parts, and of their end."""
    return [event for part in parts for event in reader.feed(part)] + list(reader.end())


def plainly(event):
    """An event, or what counts of it where it was read the short way."""
    if isinstance(event, int):
        return event
    told = event["delta"] if event["type"] == "content_block_delta" else {}
    text = told.get("text") or told.get("partial_json") or told.get("thinking")
    return len((text or "").encode()) if told else event


def metered(events):
    """What a meter has of these events in the end."""
    meter = Meter()
    for event in events:
        meter.heard(event)
    ended = meter.ended()
    return ended.kind, dict(ended.usage), ended.delivered_bytes, ended.model, ended.message


@given(st.data(), bodies())
def test_a_stream_cut_anywhere_has_the_events_of_the_whole(data, body):
    """Ends of lines of all three kinds, comments, pings, data on several lines, unknown events, garbage."""
    wire, events = body
    found = read(ServerSentEvents(), data.draw(cuts_of(wire)))
    assert [plainly(event) for event in found] == [plainly(event) for event in events]


@given(bodies())
def test_a_stream_that_comes_byte_by_byte_has_them_too(body):
    """No event is as short as a byte, so that each is put together."""
    wire, events = body
    if len(wire) > 20_000:
        wire, events = b"", []
    found = read(ServerSentEvents(), [bytes([byte]) for byte in wire])
    assert [plainly(event) for event in found] == [plainly(event) for event in events]


@given(st.data(), bodies(), st.sampled_from(["", "gzip", "deflate", "identity", " GZIP "]))
def test_the_meter_has_the_same_whatever_the_coding_and_the_cuts(data, body, coding):
    """Usage, bytes, model, message and end; flushed after a few bytes, or compressed in one go."""
    wire, events = body
    flushes = data.draw(st.sampled_from([0, 7_000, len(wire)]))
    bits = {"gzip": GZIP_BITS, "deflate": DEFLATE_BITS}.get(coding.strip().lower())
    sent = wire if bits is None else packed(wire, bits=bits, flushes=flushes)
    found = metered(read(reader_of(answer(coding=coding)), data.draw(cuts_of(sent))))
    assert found == metered(events)
    assert found[0] == "answered"
    assert found[1] == {"input_tokens": 19, "cache_read_input_tokens": 7, "output_tokens": 40}


@given(st.data(), bodies(), st.sampled_from(["", "gzip"]))
def test_a_stream_that_breaks_off_has_the_first_events(data, body, coding):
    """What is read of a part of the body is the beginning of what is read of the whole."""
    wire, events = body
    sent = packed(wire, bits=GZIP_BITS, flushes=len(wire)) if coding else wire
    kept = sent[: data.draw(st.integers(0, len(sent)))]
    found = [plainly(event) for event in read(reader_of(answer(coding=coding)), data.draw(cuts_of(kept)))]
    assert found == [plainly(event) for event in events][: len(found)]


@given(st.binary(max_size=300), st.sampled_from([SSE, "application/json"]))
def test_bytes_of_any_kind_end_nothing(noise, kind):
    """What is neither events nor JSON is read as little or nothing, and never raises."""
    for event in read(reader_of(answer(kind)), [noise[:40], noise[40:]]):
        Meter().heard(event)


@given(st.data(), TEXTS, st.sampled_from(["", "gzip", "deflate"]))
def test_a_plain_answer_cut_anywhere_is_read_whole(data, text, coding):
    """One JSON document, compressed or not, is one event at its end."""
    message = {**STARTED["message"], "content": [{"type": "text", "text": text}], "stop_reason": "end_turn"}
    sent = json.dumps(message, ensure_ascii=False).encode()
    if coding:
        sent = packed(sent, bits=GZIP_BITS if coding == "gzip" else DEFLATE_BITS, flushes=0)
    reader = reader_of(answer("application/json", coding))
    assert read(reader, data.draw(cuts_of(sent))) == [{"type": WHOLE, "message": message}]


@pytest.mark.parametrize("reader", [ServerSentEvents, Whole])
def test_half_a_character_is_read_as_the_sdk_reads_it(reader):
    r"""A surrogate without its other half, as Python's own JSON writes it (`\ud83d`), hides no usage."""
    message = {
        **STARTED["message"],
        "content": [{"type": "text", "text": "\ud83d"}],
        "stop_reason": "end_turn",
    }
    if reader is Whole:
        events = read(Whole(), [json.dumps(message).encode()])
        assert metered(events)[0] == "answered"
        return
    wire = "".join("\n".join([*written(delta("\ud83d"), ascii_only=True), "", ""]) for _ in range(3))
    assert [plainly_replaced(event) for event in read(ServerSentEvents(), [wire.encode()])] == [1, 1, 1]


def plainly_replaced(event):
    """The bytes that a meter counts of one event."""
    meter = Meter()
    meter.heard(event)
    return meter.so_far().delivered_bytes


@pytest.mark.parametrize("coding", ["zip", "gzip, gzip", "br2"])
def test_a_coding_that_is_not_known_reads_nothing(coding, caplog):
    """One line of the log says so, and no event is made up."""
    reader = reader_of(answer(coding=coding))
    assert read(reader, [b"data: {}\n\n"]) == []
    (line,) = caplog.records
    assert "content-encoding" in line.getMessage()


@pytest.mark.parametrize("deep", [b"[" * 100_000, b'{"a":' * 100_000, b'["\\ud83d",' * 100_000])
@pytest.mark.parametrize("kind", [SSE, "application/json"])
def test_json_nested_without_end_is_garbage(kind, deep):
    """It is not read, and raises nothing."""
    assert read(reader_of(answer(kind)), [b"data: " + deep + b"\n\n" if kind == SSE else deep]) == []
