"""What is seen of an answer while it streams, and what its end means.

Reads the SDK's own events and errors; decides nothing about money.
"""

from __future__ import annotations

import math
import time
from contextvars import ContextVar
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

import anthropic
import httpx2

from governor.errors import GovernorError, MoneySpent
from governor.pricing import merge_usage
from governor.story.effects import Ended

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_NEVER_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.UnsupportedProtocol,
    httpx2.LocalProtocolError,
    httpx2.ProxyError,
)
_NO_JSON = "is not JSON serializable"
"""What `json` says of a value that it cannot write."""
_RETRIED_STATUS = frozenset({408, 409, 429, 500, 503, 529})
_SPEND_CAPS = frozenset(
    {"enforced_spend_limit_reached", "contract_spend_limit_reached", "ramp_limit_exceeded"}
)
_NEVER_SERVED_STATUS = frozenset({500, 501, 503, 529})
"""Of the server errors, those by which the API itself says that it did not serve the request."""

_GIVEN_UP_STATUS = frozenset({408, 499})
"""Client errors by which something between says that it did not wait for the answer."""

_LIMITED_STATUS, _OVERLOADED_STATUS = 429, 529
_OVERLOADED = "overloaded_error"
_NOT_FOUND_STATUS, _NOT_FOUND = 404, "not_found_error"
_RATE_LIMITS = "anthropic-ratelimit-"
_BYTES_PER_TOKEN = 4
"""About what a token is in English text."""

_BEDROCK_REQUEST_ID = "x-amzn-requestid"
"""What the legacy Bedrock endpoint calls the request's id."""

_THINKING = frozenset({"thinking", "redacted_thinking"})


LONGEST_CONNECT_S = 10.0
"""Getting and making a connection, and each write, take no longer, however patient the policy is: so that the
time before the first event stays within the hold's time to live."""


def silence(seconds: float) -> httpx2.Timeout:
    """The HTTP time-outs that make *seconds* the longest silence: to the first event and between events."""
    short = min(seconds, LONGEST_CONNECT_S)
    return httpx2.Timeout(connect=short, pool=short, write=short, read=seconds)


class LeftEarly(GovernorError):  # noqa: N818 - nobody erred
    """The caller left an answer before its end. Nobody is told of it: it stands in the record of the call."""


@dataclass(frozen=True, slots=True)
class Said:
    """What is kept of an answer whose caller reads it.

    Attributes:
        id: The message's id at the API.
        stop_reason: Why it ended; `None` where it did not say so.
    """

    id: str
    stop_reason: str | None


class Meter:
    """Watches one sending: times, usage and bytes as they come, and how it ends.

    Args:
        departs: Called when its request leaves, inside the SDK's own chain.
    """

    def __init__(self, departs: Callable[[], None] | None = None) -> None:
        self._departs = departs
        self._started = time.monotonic()
        self._first_event: float | None = None
        self._usage: dict[str, Any] = {}
        self._bytes = 0
        self._hidden = False
        self._final = False
        self._opened = False
        self._api_request_id: str | None = None
        self._headers: Mapping[str, str] = {}
        self._model = ""
        self._left = False
        self._broken = ""
        self.message: Any = None

    def leaving(self) -> None:
        """The request is handed to the HTTP library: from here on it may reach the API."""
        self._left = True
        if self._departs is not None:
            self._departs()

    def opened(self, headers: Mapping[str, str]) -> None:
        """The head of the answer has come: it bears the API's id of the request, and its rate limits."""
        self._opened = True
        self._api_request_id = headers.get("request-id") or headers.get(_BEDROCK_REQUEST_ID)
        self._headers = rate_limits(headers)

    def saw(self, event: Any) -> None:
        """An event of the SDK's stream has come; the SDK's derived events (`text`, …) say nothing new."""
        if self._first_event is None:
            self._first_event = time.monotonic()
        if event.type == "content_block_delta":
            self._bytes += _delta_bytes(event.delta)
        elif event.type == "content_block_start":
            self._hidden |= event.content_block.type in _THINKING
        elif event.type == "message_start":
            self._usage = merge_usage(None, event.message.usage.model_dump())
            self._model = event.message.model
        elif event.type == "message_delta":
            self._usage = merge_usage(self._usage, event.usage.model_dump())
            counted = getattr(event.usage, "output_tokens", None) is not None
            self._final |= counted and event.delta.stop_reason is not None

    def heard(self, event: Any) -> None:
        """An event of the wire has come, as its reader gives it; what is none of the API's says nothing."""
        if self._first_event is None:
            self._first_event = time.monotonic()
        if type(event) is int:
            self._bytes += event
            return
        kind = event.get("type") if isinstance(event, dict) else None
        if kind == "content_block_delta":
            self._bytes += _wire_bytes(_part(event, "delta"))
        elif kind == "content_block_start":
            self._hidden |= _part(event, "content_block").get("type") in _THINKING
        elif kind == "message_start":
            self._began(_part(event, "message"))
        elif kind == "message_delta":
            counted = _part(event, "usage")
            self._usage = merge_usage(self._usage, counted)
            self._stopped(_part(event, "delta").get("stop_reason"), counted)
        elif kind == "whole":
            message = _part(event, "message")
            self._began(message)
            self._stopped(message.get("stop_reason"), self._usage)
        elif kind == "error":
            self._broken = str(_part(event, "error").get("type"))

    def unseen(self) -> None:
        """What is still to come cannot be read: how much of it was delivered is not known."""
        self._hidden = True

    def _began(self, message: dict[str, Any]) -> None:
        self._usage = merge_usage(None, _part(message, "usage"))
        self._model = str(message.get("model") or "")
        self.message = Said(str(message.get("id") or ""), None)

    def _stopped(self, reason: object, counted: dict[str, Any]) -> None:
        """The answer says why it ended; its usage is final if the output was *counted* with that."""
        if isinstance(reason, str):
            self._final = counted.get("output_tokens") is not None
            self.message = Said("" if self.message is None else self.message.id, reason)

    @property
    def output_tokens(self) -> int:
        """Tokens of output so far: as the API counted them where it has, else about one for four bytes."""
        counted = self._usage.get("output_tokens")
        counted = counted if isinstance(counted, int) else 0
        return counted if self._final else max(counted, self._bytes // _BYTES_PER_TOKEN)

    def so_far(self) -> Ended:
        """How it would end if it broke off now."""
        return self._end("answered" if self._final else "cut", status=200)

    def ended(self) -> Ended:
        """The body of an answer that its caller reads has ended by itself."""
        return replace(self._over() or self.finished(self.message), handed=True)

    def left(self, error: BaseException | None = None) -> Ended:
        """The caller who reads an answer has left it, or *error* ended it; its last events may have come."""
        if error is None or isinstance(error, MoneySpent):
            error = error or LeftEarly("the answer was left before its end")
            cut = None if self._final else self._end("cut", error=error, status=200)
        else:
            cut = self.failed(error)
        return replace(self._over() or cut or self.finished(self.message), handed=True)

    def _over(self) -> Ended | None:
        """The end that an error event has told; `None` where none came."""
        if not self._broken or self._final:
            return None
        error = anthropic.APIConnectionError(
            message=f"the answer broke off: {self._broken}", request=_request()
        )
        return self._end("cut", error=error, status=200, overloaded=self._broken == _OVERLOADED)

    def finished(self, message: Any) -> Ended:
        """The stream has ended by itself; without its last events it was cut all the same."""
        self.message = message
        if self._final:
            return self._end("answered", status=200)
        error = anthropic.APIConnectionError(
            message="the answer ended before its last event", request=_request()
        )
        return self._end("cut", error=error, status=200)

    def failed(self, error: BaseException, *, sent: bool = True) -> Ended:
        """The sending ended in *error*; *sent* is false if it was given up before anything was sent."""
        error = _as_the_sdk_says(error)
        unsent = not self._opened and (_never_reached(error))
        if not sent or not self._left or unsent:
            told = explained(error) if isinstance(error, TypeError) else error
            return self._end("refused", error=told, retriable=isinstance(told, anthropic.APIConnectionError))
        if self._final:
            return self._end("answered", error=error, status=200)
        if self._opened:
            self._hidden |= _of_the_reader(error)
            return self._end("cut", error=error, status=200, overloaded=_says_overloaded(error))
        if isinstance(error, anthropic.APIStatusError):
            return self._status(error)
        return self._end("silent", error=error)

    def _status(self, error: anthropic.APIStatusError) -> Ended:
        kind = "silent" if _maybe_served(error.status_code) else "refused"
        status, spend_cap = error.status_code, error.error_code in _SPEND_CAPS
        self._headers = rate_limits(error.response.headers)
        return self._end(
            kind,
            error=error,
            status=status,
            retriable=kind == "refused" and status in _RETRIED_STATUS and not spend_cap,
            overloaded=kind == "refused" and (status == _OVERLOADED_STATUS or _says_overloaded(error)),
            limited=status == _LIMITED_STATUS and not spend_cap,
            not_found=str(error) if status == _NOT_FOUND_STATUS and error.type == _NOT_FOUND else "",
            retry_after_s=retry_after_s(error.response.headers),
            api_request_id=error.request_id,
        )

    def _end(self, kind: str, **more: Any) -> Ended:
        first = None if self._first_event is None else round((self._first_event - self._started) * 1000)
        more.setdefault("api_request_id", self._api_request_id)
        return Ended(
            kind=kind,
            message=self.message,
            usage=self._usage,
            model=self._model,
            delivered_bytes=self._bytes,
            headers=self._headers,
            hidden_output=self._hidden,
            latency_ms=round((time.monotonic() - self._started) * 1000),
            first_token_ms=first,
            **more,
        )


def rate_limits(headers: Mapping[str, str]) -> dict[str, str]:
    """Those of an answer's headers that tell of rate limits, their names in lower case."""
    lower = ((name.lower(), value) for name, value in headers.items())
    return {name: value for name, value in lower if name.startswith(_RATE_LIMITS)}


def _says_overloaded(error: BaseException) -> bool:
    """Whether the API says that it is overloaded; in a stream only the error's type tells (status 200)."""
    return isinstance(error, anthropic.APIStatusError) and error.type == _OVERLOADED


def _maybe_served(status: int) -> bool:
    """Whether the API behind a gateway may have served, and billed, what was answered with *status*."""
    return status in _GIVEN_UP_STATUS or (status >= 500 and status not in _NEVER_SERVED_STATUS)


def explained(error: TypeError) -> Exception:
    """What to raise for a `TypeError` of the SDK: with what to do, if the client has no credentials."""
    if "authentication method" not in str(error):
        return error
    told = GovernorError(
        "the Anthropic client has no API key: set ANTHROPIC_API_KEY, or give "
        "Governor.load(..., client=anthropic.Anthropic(api_key=...))"
    )
    told.__cause__ = error
    return told


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """What the API asks to wait: `retry-after-ms`, else `retry-after` in seconds or as an HTTP date."""
    try:
        if "retry-after-ms" in headers:
            return _finite(float(headers["retry-after-ms"]) / 1000)
        if "retry-after" in headers:
            return _finite(_seconds(headers["retry-after"]))
    except (ValueError, TypeError):
        return None
    return None


def _finite(seconds: float) -> float | None:
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = parsedate_to_datetime(value).timestamp() - time.time()
    return seconds


def _part(event: dict[str, Any], name: str) -> dict[str, Any]:
    """A part of an event that is an object; an empty one where it is not."""
    value = event.get(name)
    return value if isinstance(value, dict) else {}


def _wire_bytes(delta: dict[str, Any]) -> int:
    text = delta.get("text") or delta.get("partial_json") or delta.get("thinking")
    return len(text.encode(errors="replace")) if isinstance(text, str) else 0


def _delta_bytes(delta: Any) -> int:
    text = (
        getattr(delta, "text", None)
        or getattr(delta, "partial_json", None)
        or getattr(delta, "thinking", None)
    )
    return len(text.encode()) if isinstance(text, str) else 0


def _as_the_sdk_says(error: BaseException) -> BaseException:
    """The SDK lets the HTTP library's errors through once a stream has begun; callers expect its own."""
    if not isinstance(error, httpx2.TransportError):
        return error
    if isinstance(error, httpx2.TimeoutException):
        told: anthropic.APIConnectionError = anthropic.APITimeoutError(request=_request())
    else:
        told = anthropic.APIConnectionError(message=f"the answer broke off: {error}", request=_request())
    told.__cause__ = error
    return told


def _request() -> httpx2.Request:
    return httpx2.Request("POST", "https://api.anthropic.com/v1/messages")


def _never_reached(error: BaseException) -> bool:
    """Whether no connection was made, or the request could not be written, or not be sent as it was."""
    if isinstance(error, UnicodeEncodeError) or (isinstance(error, TypeError) and _NO_JSON in str(error)):
        return True
    return isinstance(error, anthropic.APIConnectionError) and isinstance(error.__cause__, _NEVER_SENT)


def _of_the_reader(error: BaseException) -> bool:
    """Whether an error came from reading the answer, not from the API: then the answer went on unseen."""
    return isinstance(error, Exception) and not isinstance(error, anthropic.APIError)


class Departure(anthropic.Middleware):
    """The innermost middleware: tells the meter of the sending that its request leaves."""

    def handle(self, request: Any, call_next: Any) -> Any:
        """As the blocking client calls it."""
        _tell_departure()
        return call_next(request)

    async def handle_async(self, request: Any, call_next: Any) -> Any:
        """As the async client calls it."""
        _tell_departure()
        return await call_next(request)


SENDING: ContextVar[Meter | None] = ContextVar("SENDING", default=None)
"""The meter of the sending under way in this context; a count has none."""


def _tell_departure() -> None:
    meter = SENDING.get()
    if meter is not None:
        meter.leaving()
