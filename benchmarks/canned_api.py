"""Answers made beforehand and served as they are, from a process of its own: the client alone is measured.

The first part of the path says what is answered: `/long` and `/gzip` stream 20,000 events, `/short` a few,
`/paused` the same with a pause between the head and the first token. A request without a stream gets a whole
message.
"""

from __future__ import annotations

import json
import multiprocessing
import re
import socket
import threading
import time
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

EVENTS = 20_000
FEW = 8
PAUSE_S = 0.005
STOP_TIMEOUT_S = 10.0

_WORDS = ("the ", "diff ", "looks ", "right ", "but for ", "an off-by-one ", "in its loop, ", "which ")
_USAGE = {"input_tokens": 300, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
_LAST = b"0\r\n\r\n"
_COUNT = b'{"input_tokens": 300}'
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@contextmanager
def canned_api() -> Iterator[str]:
    """The URL of the server, to which a client's base URL adds the name of an answer."""
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(theirs,))
    process.start()
    theirs.close()  # so that a server that fails to start is an error here and not a wait
    try:
        yield ours.recv()
    finally:
        ours.close()
        process.join(STOP_TIMEOUT_S)
        if process.is_alive():
            process.kill()


def events(count: int) -> list[bytes]:
    """A stream of *count* events as the Messages API sends it, most of them deltas of text."""
    deltas = count - 5
    message: dict[str, object] = {
        "id": "msg_01canned",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5-5",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {**_USAGE, "output_tokens": 1},
    }
    ended: dict[str, object] = {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {**_USAGE, "output_tokens": deltas},
    }
    block: dict[str, object] = {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "text", "text": ""},
    }
    words = (_WORDS[number % len(_WORDS)] for number in range(deltas))
    return [
        _event({"type": "message_start", "message": message}),
        _event(block),
        *(
            _event({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}})
            for word in words
        ),
        _event({"type": "content_block_stop", "index": 0}),
        _event(ended),
        _event({"type": "message_stop"}),
    ]


def _event(data: dict[str, object]) -> bytes:
    return f"event: {data['type']}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def _head(kind: bytes, more: bytes) -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\nrequest-id: req_01canned\r\n"
        b"anthropic-ratelimit-requests-limit: 4000\r\nanthropic-ratelimit-requests-remaining: 3999\r\n"
        b"anthropic-ratelimit-requests-reset: 2026-11-22T00:00:00Z\r\n%b\r\n"
    ) % (kind, more)


def _chunks(parts: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part) + _LAST


def _zipped(parts: list[bytes]) -> list[bytes]:
    """Each event flushed by itself, as one that streams is."""
    packer = zlib.compressobj(wbits=31)
    flushed = [packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH) for part in parts]
    return [*flushed, packer.flush()]


def _answers() -> dict[bytes, tuple[bytes, bytes]]:
    """By their names: the head, and the rest, which comes later for `paused`."""
    stream = _head(b"text/event-stream", b"transfer-encoding: chunked\r\n")
    zipped = _head(b"text/event-stream", b"transfer-encoding: chunked\r\ncontent-encoding: gzip\r\n")
    few = events(FEW)
    opening, later = _chunks(few[:2]).removesuffix(_LAST), _chunks(few[2:])
    long = events(EVENTS)
    return {
        b"long": (stream, _chunks(long)),
        b"gzip": (zipped, _chunks(_zipped(long))),
        b"short": (stream, opening + later),
        b"paused": (stream + opening, later),
    }


def _whole() -> bytes:
    message: dict[str, object] = {
        "id": "msg_01canned",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5-5",
        "content": [{"type": "text", "text": "".join(_WORDS)}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {**_USAGE, "output_tokens": 100},
    }
    return json.dumps(message).encode()


def _plain(body: bytes) -> bytes:
    return _head(b"application/json", b"content-length: %d\r\n" % len(body)) + body


def _serve(pipe: Connection) -> None:
    answers, whole = _answers(), _plain(_whole())
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        threading.Thread(target=_accept, args=(listening, answers, whole), daemon=True).start()
        pipe.send(f"http://127.0.0.1:{listening.getsockname()[1]}")
        try:
            pipe.recv()
        except EOFError:  # the benchmark is over
            return


def _accept(listening: socket.socket, answers: dict[bytes, tuple[bytes, bytes]], whole: bytes) -> None:
    while True:
        connection, _ = listening.accept()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_answer, args=(connection, answers, whole), daemon=True).start()


def _answer(connection: socket.socket, answers: dict[bytes, tuple[bytes, bytes]], whole: bytes) -> None:
    """Serve one connection until the client closes it."""
    kept = b""
    with connection:
        while True:
            while b"\r\n\r\n" not in kept:
                data = connection.recv(1 << 16)
                if not data:
                    return
                kept += data
            head, _, kept = kept.partition(b"\r\n\r\n")
            found = _LENGTH.search(head)
            length = int(found[1]) if found else 0
            while len(kept) < length:
                kept += connection.recv(1 << 16)
            body, kept = kept[:length], kept[length:]
            try:
                _send(connection, head, body, answers, whole)
            except ConnectionError:
                return


def _send(
    connection: socket.socket,
    head: bytes,
    body: bytes,
    answers: dict[bytes, tuple[bytes, bytes]],
    whole: bytes,
) -> None:
    path = head.split(b" ", 2)[1]
    if path.partition(b"?")[0].endswith(b"/count_tokens"):
        connection.sendall(_plain(_COUNT))
    elif not json.loads(body).get("stream"):
        connection.sendall(whole)
    else:
        name = path.split(b"/")[1]
        first, rest = answers[name]
        connection.sendall(first if name == b"paused" else first + rest)
        if name == b"paused":
            time.sleep(PAUSE_S)
            connection.sendall(rest)
