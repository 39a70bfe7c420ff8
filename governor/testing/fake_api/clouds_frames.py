"""Answers in the forms of Bedrock's InvokeModel: AWS event stream frames, and AWS errors.

The layout of a frame is that of AWS's event stream encoding (source: `botocore.eventstream`, which reads it).
The exceptions, their statuses and which of them a stream may carry are those of the service model of
`bedrock-runtime` in botocore; which of them stands for which error of the Claude API is assumed.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTENT_TYPE = "application/vnd.amazon.eventstream"
"""The content type of a stream of frames."""

_STRING = 7
_PRELUDE_BYTES = 12
_CRC_BYTES = 4

_EXCEPTIONS = {
    "authentication_error": ("AccessDeniedException", 403),
    "permission_error": ("AccessDeniedException", 403),
    "billing_error": ("AccessDeniedException", 403),
    "not_found_error": ("ResourceNotFoundException", 404),
    "rate_limit_error": ("ThrottlingException", 429),
    "overloaded_error": ("ServiceUnavailableException", 503),
    "timeout_error": ("ModelTimeoutException", 408),
    "invalid_request_error": ("ValidationException", 400),
    "request_too_large": ("ValidationException", 400),
}
_ANY_OTHER = ("InternalServerException", 500)

_STREAMED = {
    "rate_limit_error": "throttlingException",
    "overloaded_error": "serviceUnavailableException",
    "timeout_error": "modelTimeoutException",
    "invalid_request_error": "validationException",
    "api_error": "internalServerException",
}
_ANY_OTHER_STREAMED = "modelStreamErrorException"


def frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message of an event stream, with headers of strings."""
    head = b"".join(_header(name, value) for name, value in headers.items())
    total_bytes = _PRELUDE_BYTES + len(head) + len(payload) + _CRC_BYTES
    prelude = struct.pack("!II", total_bytes, len(head))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + head + payload
    return message + struct.pack("!I", zlib.crc32(message))


def _header(name: str, value: str) -> bytes:
    data = value.encode()
    return struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", _STRING, len(data)) + data


def chunk(event: bytes) -> bytes:
    """The frame of one Messages event, given as its JSON."""
    payload = json.dumps({"bytes": base64.b64encode(event).decode("ascii")}).encode()
    headers = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}
    return frame(headers, payload)


def exception(kind: str, message: str) -> bytes:
    """The frame of an error inside a stream, for the `error.type` that the Claude API would give."""
    headers = {
        ":exception-type": _STREAMED.get(kind, _ANY_OTHER_STREAMED),
        ":content-type": "application/json",
        ":message-type": "exception",
    }
    return frame(headers, json.dumps({"message": message}).encode())


def refusal(kind: str, message: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an error answer, for the `error.type` that the Claude API would give."""
    name, status = _EXCEPTIONS.get(kind, _ANY_OTHER)
    headers = {"content-type": "application/json", "x-amzn-errortype": name}
    return status, headers, json.dumps({"message": message}).encode()


def from_sse(events: bytes) -> bytes:
    """The frames of whole server-sent events, in the same order."""
    frames = []
    for event in events.split(b"\n\n"):
        data = event.partition(b"\ndata: ")[2]
        if event.startswith(b"event: error\n"):
            error = json.loads(data)["error"]
            frames.append(exception(error["type"], error["message"]))
        elif data:
            frames.append(chunk(data))
    return b"".join(frames)
