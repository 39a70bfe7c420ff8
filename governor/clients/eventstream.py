"""The Messages events in a binary AWS event stream, as Bedrock's InvokeModel sends them."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

UNNAMED = "exception"
"""The type of an error that does not name its own."""


class EventStream:
    """Reads an AWS event stream as its bytes arrive, split wherever they are.

    It reads a copy of what its caller reads, so it must not fail: bytes that are no event stream end the
    reading, and the caller's own decoder says what is wrong with them.

    Attributes:
        broken: Whether bytes came that are no event stream; nothing is read from then on.

    Raises:
        ImportError: botocore is not installed; the SDK's Bedrock clients need it too.
    """

    def __init__(self) -> None:
        from botocore.eventstream import (  # type: ignore[import-untyped] # noqa: PLC0415 - Bedrock's users have it
            EventStreamBuffer,
            ParserError,
        )

        self._buffer = EventStreamBuffer()
        self._parser_error: type[Exception] = ParserError
        self.broken = False

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        """Take the next bytes of the stream.

        Returns:
            For each event that they complete, in order: its name (the `type` of its data, for example
            `message_delta`) and its JSON. An exception or error of AWS is named `error`, its JSON shaped as
            the SDK shapes it: `{"type": "error", "error": {"type": …, "message": …}}`.
        """
        events: list[tuple[str, bytes]] = []
        if self.broken:
            return events
        self._buffer.add_data(data)
        try:
            for message in self._buffer:
                event = _event(message.headers, message.payload)
                if event is not None:
                    events.append(event)
        except (self._parser_error, struct.error, ValueError, LookupError, TypeError):
            self.broken = True
        return events


def _event(headers: dict[str, Any], payload: bytes) -> tuple[str, bytes] | None:
    kind = headers.get(":message-type")
    if kind == "event":
        return _chunk(payload) if headers.get(":event-type") == "chunk" else None
    if kind == "exception":
        return _error(headers.get(":exception-type"), _message(payload))
    if kind == "error":
        return _error(headers.get(":error-code"), headers.get(":error-message"))
    return None


def _chunk(payload: bytes) -> tuple[str, bytes] | None:
    """The event in a frame's `bytes`; what names no type is none of the Messages API's."""
    data = base64.b64decode(json.loads(payload)["bytes"])
    try:
        event = json.loads(data)
    except ValueError:
        return None
    name = event.get("type") if isinstance(event, dict) else None
    return (name, data) if isinstance(name, str) else None


def _message(payload: bytes) -> str:
    try:
        said = json.loads(payload)
    except ValueError:
        return payload.decode(errors="replace")
    return str(said.get("message", "")) if isinstance(said, dict) else str(said)


def _error(code: object, message: object) -> tuple[str, bytes]:
    error = {"type": str(code or UNNAMED), "message": str(message or "")}
    return "error", json.dumps({"type": "error", "error": error}).encode()
