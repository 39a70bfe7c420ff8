"""The Messages API's answers as bytes on the wire, read beside whoever they are for.

Bytes are pushed in as they pass and come out as the API's JSON events; nothing is held back or changed.
"""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING, Any, Protocol

import pydantic_core

from governor.clients.private import decoder_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    import httpx2

    from governor.clients.private import Decoder

log = logging.getLogger("governor")

WHOLE = "whole"
"""The type of the one event that an answer without a stream is read as; its `message` is the answer."""

_EVENT_STREAM = "application/vnd.amazon.eventstream"
_MOST_WHOLE_BYTES = 256 * 1024 * 1024
"""Of a plain answer that is put together here; a larger one is not the API's."""


def any_json(text: bytes) -> Any:
    """The value that *text* is, in all that the SDK takes: UTF-16, a byte order mark, half a surrogate pair.

    Some servers write half of a pair where a model broke off in the middle of a character.

    Raises:
        ValueError: It is no JSON, or nested too deep.
    """
    try:
        # Texts and ids come once: kept for a next time, they would crowd out what comes again.
        return pydantic_core.from_json(text, cache_strings="keys")
    except ValueError as error:
        if "recursion" in str(error):
            raise
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


class Reader(Protocol):
    """Makes the API's events of bytes: JSON values, or of a delta of text alone its bytes, an `int`."""

    def feed(self, data: bytes) -> Iterable[Any]:
        """The events that end in *data*."""
        ...

    def end(self) -> Iterable[Any]:
        """The events that the end of the body makes."""
        ...


def reader_of(response: httpx2.Response) -> Reader:
    """What reads the body of *response* as it passes."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    reader: Reader = Whole()
    if kind == "text/event-stream":
        reader = ServerSentEvents()
    elif kind == _EVENT_STREAM:
        reader = BedrockEvents()
    try:
        decoder = decoder_of(response)
    except LookupError as error:
        log.warning("an answer cannot be read (content-encoding: %s): its hold is charged whole", error)
        return Unreadable()
    return reader if decoder is None else Decoded(decoder, reader)


class ServerSentEvents:
    """Reads a stream of server-sent events, however its bytes are cut."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> Iterable[Any]:
        """The events whose last empty line is in *data*."""
        if not self._parts:
            delta = _DELTA(data)  # the API sends an event at a time
            if delta is not None:
                return (len(delta[1]),)
        return self._cut(data)

    def _cut(self, data: bytes) -> Iterable[Any]:
        if b"\n" not in data and b"\r" not in data:
            if data:
                self._parts.append(data)
            return ()
        text = b"".join((*self._parts, data)) if self._parts else data
        last = b""
        if b"\r" in text:
            if text.endswith(b"\r"):  # maybe the first half of a line's end
                text, last = text[:-1], b"\r"
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *events, rest = text.split(b"\n\n")
        self._parts = [part for part in (rest, last) if part]
        return [found for event in events for found in _event(event)]

    def end(self) -> Iterable[Any]:
        """The event that a last carriage return ends; one without its empty line is none."""
        return self._cut(b"\n") if self._parts and self._parts[-1] == b"\r" else ()


class BedrockEvents:
    """Reads the frames in which the legacy Bedrock client is sent its streams."""

    def __init__(self) -> None:
        from governor.clients.eventstream import EventStream  # noqa: PLC0415 - it needs botocore

        self._frames = EventStream()

    def feed(self, data: bytes) -> Iterable[Any]:
        """The events whose frames end in *data*."""
        for _, payload in self._frames.feed(data):
            try:
                yield any_json(payload)
            except ValueError:
                continue

    def end(self) -> Iterable[Any]:
        """Nothing: half a frame is none."""
        return ()


_DELTA = re.compile(
    rb'event: content_block_delta\ndata: \{"type": ?"content_block_delta", ?"index": ?\d+, ?"delta": ?\{'
    rb'"type": ?"(?:text_delta", ?"text|input_json_delta", ?"partial_json|thinking_delta", ?"thinking)": ?'
    rb'"([ !#-\[\]-\x7f]*)"\} *\} *\n\n'
).fullmatch
"""A delta of plain ASCII as the API writes it. Most events are one, and all that counts is how long it is, so
that it is not read as JSON. One that has other text, or is written in another way, is."""


def _event(text: bytes) -> Iterable[Any]:
    """What an event's data says, where it is JSON."""
    lines = [line[5:].lstrip(b" ") for line in text.split(b"\n") if line.startswith(b"data:")]
    try:
        return (any_json(lines[0] if len(lines) == 1 else b"\n".join(lines)),) if lines else ()
    except ValueError:
        return ()


_FIELDS = (b"e", b"d", b":", b"i", b"r")
"""What a stream of events begins with: `event`, `data`, a comment, `id` or `retry`."""


class Whole:
    """Reads an answer without a stream: one JSON document.

    Events that a gateway sends under another name are read as events, as the SDK does.
    """

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._bytes = 0
        self._events: ServerSentEvents | None = None

    def feed(self, data: bytes) -> Iterable[Any]:
        """Nothing before the end, or the events that end in *data*."""
        if not self._bytes and data[:1] in _FIELDS:
            self._events = ServerSentEvents()
        if self._events is not None:
            self._bytes += len(data)
            return self._events.feed(data)
        self._bytes += len(data)
        if self._bytes <= _MOST_WHOLE_BYTES:
            self._parts.append(data)
        return ()

    def end(self) -> Iterable[Any]:
        """The answer, if it is JSON."""
        if self._events is not None:
            return
        try:
            message = any_json(b"".join(self._parts))
        except ValueError:
            return
        yield {"type": WHOLE, "message": message}


class Decoded:
    """Reads a compressed body."""

    def __init__(self, decoder: Decoder, reader: Reader) -> None:
        self._decoder, self._reader = decoder, reader

    def feed(self, data: bytes) -> Iterable[Any]:
        """The events that end in the compressed *data*."""
        for part in self._decoder.decode(data):
            yield from self._reader.feed(part)

    def end(self) -> Iterable[Any]:
        """As the reader of what was compressed says."""
        return self._reader.end()


class Unreadable:
    """Reads nothing."""

    def feed(self, data: bytes) -> Iterable[Any]:  # noqa: ARG002 - the signature is a reader's
        """Nothing."""
        return ()

    def end(self) -> Iterable[Any]:
        """Nothing."""
        return ()
