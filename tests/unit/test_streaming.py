"""What is seen of an answer decides how it ended: the SDK's own events, in odd orders."""

from __future__ import annotations

import anthropic
import httpx2
import pytest
from anthropic.types import RawMessageDeltaEvent, RawMessageStartEvent

from governor.clients.streaming import Meter

START = RawMessageStartEvent.model_validate(
    {
        "type": "message_start",
        "message": {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-5-5",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 19, "output_tokens": 1},
        },
    }
)
REQUEST = httpx2.Request("POST", "https://api.anthropic.com/v1/messages")


def delta(stop_reason, tokens):
    """A `message_delta` event."""
    return RawMessageDeltaEvent.model_validate(
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop_reason, "stop_sequence": None},
            "usage": {"output_tokens": tokens},
        }
    )


def meter(*events, left=True):
    """A meter that has seen these events of an answer."""
    made = Meter()
    if left:
        made.leaving()
    if events:
        made.opened({"request-id": "req_1"})
    for event in events:
        made.saw(event)
    return made


def test_a_usage_in_passing_is_not_the_last():
    """A `message_delta` without a stop reason is news, not the end: what ends after it was cut."""
    passing = meter(START, delta(None, 5)).finished(None)
    assert (passing.kind, passing.usage["output_tokens"], passing.model) == ("cut", 5, "claude-sonnet-5-5")
    final = meter(START, delta(None, 5), delta("end_turn", 9)).finished(None)
    assert (final.kind, final.usage["output_tokens"]) == ("answered", 9)


@pytest.mark.parametrize(("stop_reason", "kind"), [(None, "cut"), ("end_turn", "answered")])
def test_a_break_after_a_usage(stop_reason, kind):
    """A break is exact only if a stop reason had come before it."""
    error = httpx2.ReadError("gone", request=REQUEST)
    ended = meter(START, delta(stop_reason, 5)).failed(error)
    assert (ended.kind, ended.hidden_output) == (kind, False)
    assert isinstance(ended.error, anthropic.APIConnectionError)


def test_an_error_of_the_reader_hides_what_came_after():
    """An error that is not the API's came from reading: the rest of the answer went on unseen."""
    assert meter(START).failed(ValueError("no JSON")).hidden_output
    assert not meter(START).failed(KeyboardInterrupt()).hidden_output


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (httpx2.ConnectError("no"), "refused"),
        (httpx2.LocalProtocolError("no"), "refused"),
        (httpx2.ProxyError("no"), "refused"),
        (httpx2.RemoteProtocolError("gone"), "silent"),
        (httpx2.ReadTimeout("silence"), "silent"),
        (httpx2.WriteError("gone"), "silent"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_what_the_http_library_says_of_sending(cause, kind):
    """Only an error that says that nothing was sent is free."""
    error = anthropic.APIConnectionError(request=REQUEST)
    error.__cause__ = cause
    ended = meter().failed(error)
    assert (ended.kind, ended.retriable) == (kind, kind == "refused")


def test_what_never_left_is_free():
    """Whatever went wrong before the request was handed to the HTTP library, it was not sent."""
    for error in (
        ValueError("middleware"),
        KeyboardInterrupt(),
        anthropic.APIConnectionError(request=REQUEST),
    ):
        assert meter(left=False).failed(error).kind == "refused"
        assert meter().failed(error).kind == "silent"
