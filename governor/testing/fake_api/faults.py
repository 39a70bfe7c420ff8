"""What can go wrong between a client and the Claude API, as values to inject."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from governor.testing.fake_api.script import Reply

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    500: "api_error",
    503: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""The `error.type` that goes with each status; any other status is an `api_error`."""


class FaultKind(enum.StrEnum):
    """Where an answer breaks."""

    STATUS = "status"
    HANG = "hang_before_head"
    CUT = "cut_before_head"
    CUT_STREAM = "cut_mid_stream"
    ERROR_STREAM = "error_mid_stream"
    STALL_STREAM = "stall_mid_stream"
    CLEAN_END = "clean_end_without_stop"


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing going wrong; made by the functions of this module.

    Attributes:
        kind: Where the answer breaks.
        status: HTTP status of a `STATUS` fault.
        type: `error.type` of a `STATUS` or `ERROR_STREAM` fault.
        message: `error.message` of the same; empty for a default.
        error_code: `error.details.error_code`, which selects the SDK's error class; `None`: no details.
        retry_after: Seconds for the `retry-after` header; `None`: no header.
        after_events: Events of the stream sent before it breaks, `message_start` and `ping` included. What
            is beyond the end of the stream breaks at its end.
        billed: Whether the full answer is billed although the client never sees it.
        reply: The answer that breaks; default: what would have been answered.
    """

    kind: FaultKind
    status: int = 0
    type: str = ""
    message: str = ""
    error_code: str | None = None
    retry_after: float | None = None
    after_events: int = 0
    billed: bool = False
    reply: Reply | None = None


def status_error(
    status: int,
    *,
    type: str | None = None,  # noqa: A002 - the name of the field in the API's error body
    message: str = "",
    error_code: str | None = None,
    retry_after: float | None = None,
) -> Fault:
    """An error status before any processing; never billed.

    Args:
        status: For example 400, 401, 403, 404, 413, 422, 429, 500, 503 or 529.
        type: `error.type`; default: the API's for that status.
        message: `error.message`; default: a sentence that says it was injected.
        error_code: `error.details.error_code`, for example `ramp_limit_exceeded`.
        retry_after: Seconds for the `retry-after` header; `None`: no header.
    """
    kind = ERROR_TYPES.get(status, "api_error") if type is None else type
    return Fault(
        FaultKind.STATUS,
        status=status,
        type=kind,
        message=message,
        error_code=error_code,
        retry_after=retry_after,
    )


def rate_limited(retry_after: float | None = 1) -> Fault:
    """A plain 429 `rate_limit_error`; *retry_after* in seconds, `None` for no header."""
    message = "This request would exceed your organization's rate limit. Please try again later."
    return status_error(429, message=message, retry_after=retry_after)


def spend_limit_reached(error_code: str = "enforced_spend_limit_reached") -> Fault:
    """A 429 that no retry can heal: the month's spend limit is reached. No `retry-after`.

    Args:
        error_code: `enforced_spend_limit_reached` or `contract_spend_limit_reached`.
    """
    message = "Your organization has reached its monthly spend limit."
    return status_error(429, message=message, error_code=error_code)


def overloaded() -> Fault:
    """A 529 `overloaded_error`."""
    return status_error(529, message="Overloaded")


def hang_before_head(*, billed: bool = False, reply: Reply | None = None) -> Fault:
    """Take the request and never answer, until the client goes away or the server stops.

    Args:
        billed: Bill the full answer, as when the model ran and the way back was lost.
        reply: The answer to bill; default: what would have been answered.
    """
    return Fault(FaultKind.HANG, billed=billed, reply=reply)


def cut_before_head(*, billed: bool = False, reply: Reply | None = None) -> Fault:
    """Read the whole request, then close the connection without a byte.

    Args:
        billed: Bill the full answer: a lost reply.
        reply: The answer to bill; default: what would have been answered.
    """
    return Fault(FaultKind.CUT, billed=billed, reply=reply)


def cut_mid_stream(after_events: int = 5, *, reply: Reply | None = None) -> Fault:
    """Close the connection after *after_events* events of the stream.

    A plain answer is cut in the middle of its body; it is billed in full, since it was generated whole.
    """
    return Fault(FaultKind.CUT_STREAM, after_events=after_events, reply=reply)


def error_mid_stream(
    type: str = "overloaded_error",  # noqa: A002 - the name of the field in the API's error event
    after_events: int = 5,
    *,
    message: str = "Overloaded",
    reply: Reply | None = None,
) -> Fault:
    """Send an SSE `error` event after *after_events* events, and end the stream.

    A plain answer becomes the error status that belongs to *type*, and is not billed.
    """
    return Fault(FaultKind.ERROR_STREAM, type=type, message=message, after_events=after_events, reply=reply)


def stall_mid_stream(after_events: int = 5, *, reply: Reply | None = None) -> Fault:
    """Fall silent after *after_events* events, until the client goes away or the server stops.

    A plain answer stalls in the middle of its body; it is billed in full, since it was generated whole.
    """
    return Fault(FaultKind.STALL_STREAM, after_events=after_events, reply=reply)


def clean_end_without_stop(after_events: int | None = None, *, reply: Reply | None = None) -> Fault:
    """End the stream's body in good order, but before `message_delta` and `message_stop`.

    Args:
        after_events: Events sent first; default, and at most: every event before `message_delta`.
        reply: The answer that ends early; default: what would have been answered. A plain answer is sent
            whole, having no events.
    """
    events = 1_000_000_000 if after_events is None else after_events
    return Fault(FaultKind.CLEAN_END, after_events=events, reply=reply)
