"""Everything that can go wrong with the fake Claude API goes wrong as told, and is billed as documented."""

from __future__ import annotations

import anthropic
import httpx2
import pytest

from governor.testing import (
    FakeClaude,
    Reply,
    clean_end_without_stop,
    cut_before_head,
    cut_mid_stream,
    error_mid_stream,
    hang_before_head,
    overloaded,
    rate_limited,
    spend_limit_reached,
    stall_mid_stream,
    status_error,
)

HAIKU = "claude-haiku-5-5"
HELLO = [{"role": "user", "content": "Hello, Claude"}]


@pytest.fixture
def api():
    with FakeClaude() as running:
        yield running


@pytest.fixture
def client(api):
    return api.client(max_retries=0)


@pytest.fixture
def impatient(api):
    return api.client(max_retries=0, timeout=0.2)


def ask(client, **overrides):
    return client.messages.create(**{"model": HAIKU, "max_tokens": 1000, "messages": HELLO, **overrides})


def read(client):
    """Every event of a stream until it ends, and the error it ended with."""
    events = []
    try:
        events.extend(iter_into(events, ask(client, stream=True)))
    except (anthropic.APIError, httpx2.HTTPError) as error:
        return events, error
    return events, None


def iter_into(events, stream):
    for event in stream:
        events.append(event)
    return []


@pytest.mark.parametrize(
    ("fault", "error", "kind"),
    [
        (status_error(400), anthropic.BadRequestError, "invalid_request_error"),
        (status_error(401), anthropic.AuthenticationError, "authentication_error"),
        (status_error(403), anthropic.PermissionDeniedError, "permission_error"),
        (status_error(404), anthropic.NotFoundError, "not_found_error"),
        (status_error(413), anthropic.ContentTooLargeError, "request_too_large"),
        (status_error(422), anthropic.UnprocessableEntityError, "invalid_request_error"),
        (rate_limited(), anthropic.RateLimitError, "rate_limit_error"),
        (status_error(500), anthropic.InternalServerError, "api_error"),
        (status_error(503), anthropic.InternalServerError, "api_error"),
        (overloaded(), anthropic.InternalServerError, "overloaded_error"),
    ],
    ids=lambda value: str(value.status) if hasattr(value, "status") else "",
)
def test_status_errors_arrive_typed_and_free(api, client, fault, error, kind):
    """An injected status raises the SDK's error for it, with its type and request id, and costs nothing."""
    api.inject(fault)
    with pytest.raises(error) as raised:
        ask(client)
    assert (raised.value.status_code, raised.value.type) == (fault.status, kind)
    assert raised.value.request_id == api.requests[0].request_id
    assert api.bill == []


def test_rate_limited_tells_when_to_come_back_if_asked_to(api, client):
    """A 429 carries retry-after in seconds, or none, and always the rate-limit headers."""
    api.inject(rate_limited(retry_after=7), rate_limited(retry_after=None))
    with pytest.raises(anthropic.RateLimitError) as told:
        ask(client)
    with pytest.raises(anthropic.RateLimitError) as untold:
        ask(client)
    assert told.value.response.headers["retry-after"] == "7"
    assert "retry-after" not in untold.value.response.headers
    assert "anthropic-ratelimit-requests-limit" in untold.value.response.headers


@pytest.mark.parametrize("code", ["enforced_spend_limit_reached", "contract_spend_limit_reached"])
def test_a_spend_limit_is_told_from_a_rate_limit_by_its_code(api, client, code):
    """A reached spend limit is a 429 with its error code, which the SDK reads."""
    api.inject(spend_limit_reached(code))
    with pytest.raises(anthropic.RateLimitError) as raised:
        ask(client)
    assert raised.value.error_code == code
    assert type(raised.value) is not anthropic.RateLimitError


def test_the_sdk_retries_and_the_attempts_are_numbered(api):
    """A client with retries gets through two failures; the record numbers its attempts."""
    api.inject(rate_limited(retry_after=0.01), cut_before_head())
    message = ask(api.client(max_retries=2))
    assert message.role == "assistant"
    assert [request.attempt for request in api.requests] == [0, 1, 2]
    assert len(api.bill) == 1


@pytest.mark.parametrize("billed", [False, True])
def test_a_hang_ends_with_the_clients_patience(api, impatient, billed):
    """A hang before the head times out; it is billed in full only when told to be."""
    api.inject(hang_before_head(billed=billed))
    with pytest.raises(anthropic.APITimeoutError):
        ask(impatient)
    assert api.wait_idle()
    assert [line.complete for line in api.bill] == [True] * billed


@pytest.mark.parametrize("billed", [False, True])
def test_a_cut_before_the_head_loses_the_reply(api, client, billed):
    """A cut connection raises; it is billed only when told to be, and then as the full answer."""
    api.inject(cut_before_head(billed=billed, reply=Reply(output_tokens=33)))
    with pytest.raises(anthropic.APIConnectionError):
        ask(client)
    assert [(line.usage["output_tokens"], line.complete) for line in api.bill] == [(33, True)] * billed


def test_a_stream_cut_in_the_middle_is_billed_for_what_was_sent(api, client):
    """A cut stream raises after the events sent, and is billed its input and the output so far."""
    api.replies(output_tokens=100)
    api.inject(cut_mid_stream(after_events=6))  # message_start, ping, block start and three deltas
    events, error = read(client)
    assert isinstance(error, httpx2.RemoteProtocolError)
    assert [event.type for event in events].count("content_block_delta") == 3
    (line,) = api.bill
    assert (line.complete, line.streamed, line.usage["output_tokens"]) == (False, True, 30)
    assert line.usage["input_tokens"] == events[0].message.usage.input_tokens


def test_a_stream_cut_after_its_final_usage_is_complete(api, client):
    """A cut that comes after message_delta is billed with the final usage."""
    api.inject(cut_mid_stream(after_events=15, reply=Reply(output_tokens=100)))
    events, error = read(client)
    assert events[-1].type == "message_delta"
    assert isinstance(error, httpx2.RemoteProtocolError)
    assert [line.complete for line in api.bill] == [True]


def test_a_stream_cut_before_its_first_event_costs_its_input(api, client):
    """A stream cut right after the head is billed its input and no output."""
    api.inject(cut_mid_stream(after_events=0))
    events, error = read(client)
    assert (events, type(error)) == ([], httpx2.RemoteProtocolError)
    assert [line.usage["output_tokens"] for line in api.bill] == [0]


def test_an_error_event_raises_in_the_middle_of_a_stream(api, client):
    """An SSE error event raises with status 200 and its own type; what was sent is billed."""
    api.inject(error_mid_stream("overloaded_error", after_events=4, reply=Reply(output_tokens=100)))
    events, error = read(client)
    assert len(events) == 3
    assert isinstance(error, anthropic.APIStatusError)
    assert (error.status_code, error.type) == (200, "overloaded_error")
    assert [(line.complete, line.usage["output_tokens"]) for line in api.bill] == [(False, 10)]


def test_a_stalled_stream_ends_with_the_clients_patience(api, impatient):
    """A stream that falls silent times out after the events sent, and these are billed."""
    api.inject(stall_mid_stream(after_events=5, reply=Reply(output_tokens=100)))
    events, error = read(impatient)
    assert len(events) == 4
    assert isinstance(error, httpx2.ReadTimeout)
    assert [(line.complete, line.usage["output_tokens"]) for line in api.bill] == [(False, 20)]
    assert api.wait_idle()


def test_a_stream_can_end_cleanly_without_its_stop(api, client):
    """A body that ends in good order without message_stop raises nothing, and is billed as partial."""
    api.inject(clean_end_without_stop(reply=Reply(output_tokens=100)), clean_end_without_stop(3))
    whole, first_error = read(client)
    part, second_error = read(client)
    assert (first_error, second_error) == (None, None)
    assert whole[-1].type == "content_block_stop"
    assert part[-1].type == "content_block_start"
    assert [line.complete for line in api.bill] == [False, False]


@pytest.mark.parametrize("fault", [cut_mid_stream(), stall_mid_stream()], ids=["cut", "stall"])
def test_a_plain_answer_broken_in_its_body_was_generated_and_is_billed(api, impatient, fault):
    """A plain answer that breaks on its way raises, and is on the bill in full."""
    api.inject(fault)
    with pytest.raises((anthropic.APIConnectionError, httpx2.HTTPError)):
        ask(impatient)
    assert [line.complete for line in api.bill] == [True]


def test_a_mid_stream_error_of_a_plain_answer_is_its_status(api, client):
    """Where nothing is streamed, the error event becomes the status of its type, free of charge."""
    api.inject(error_mid_stream("overloaded_error"), clean_end_without_stop())
    with pytest.raises(anthropic.InternalServerError) as raised:
        ask(client)
    assert raised.value.status_code == 529
    assert ask(client).stop_reason == "end_turn"
    assert len(api.bill) == 1


def test_a_client_that_leaves_a_stream_is_billed_for_what_was_sent(api, client):
    """A client that closes a slow stream is billed its input and the output sent by then, once."""
    api.next(Reply(output_tokens=1000, event_delay_ms=20))
    stream = ask(client, stream=True)
    for event in stream:
        if event.type == "content_block_delta":
            break
    stream.close()
    assert api.wait_idle()
    (line,) = api.bill
    assert line.complete is False
    assert 10 <= line.usage["output_tokens"] < 1000


def test_a_client_that_leaves_before_the_head_is_billed_its_input(api, impatient):
    """A reply slower than its client is billed the prompt only."""
    api.next(Reply(delay_ms=60_000))
    with pytest.raises(anthropic.APITimeoutError):
        ask(impatient)
    assert api.wait_idle()
    assert [(line.complete, line.usage["output_tokens"]) for line in api.bill] == [(False, 0)]


def test_a_client_that_leaves_during_latency_was_never_processed():
    """Latency comes before processing: who leaves during it is neither answered nor billed."""
    with FakeClaude(latency_ms=60_000) as api:
        with pytest.raises(anthropic.APITimeoutError):
            ask(api.client(max_retries=0, timeout=0.2))
        assert api.wait_idle()
        assert (len(api.requests), api.bill) == (1, [])


def test_stopping_the_server_bills_streams_under_way():
    """A server that stops in the middle of a stream bills what it had sent."""
    with FakeClaude() as api:
        client = anthropic.Anthropic(base_url=api.url, api_key=api.api_key, max_retries=0)
        api.next(Reply(output_tokens=1000, event_delay_ms=50))
        stream = ask(client, stream=True)
        assert next(stream).type == "message_start"
    client.close()
    assert [line.complete for line in api.bill] == [False]


def test_counting_can_fail_for_a_while(api, client):
    """The count endpoint fails as often as told, then counts again; messages are not affected."""
    api.count_fault(overloaded(), times=1)
    with pytest.raises(anthropic.InternalServerError):
        client.messages.count_tokens(model=HAIKU, messages=HELLO)
    assert client.messages.count_tokens(model=HAIKU, messages=HELLO).input_tokens > 0
    api.count_fault(cut_before_head())
    for _ in range(2):
        with pytest.raises(anthropic.APIConnectionError):
            client.messages.count_tokens(model=HAIKU, messages=HELLO)
    assert ask(client).role == "assistant"
    api.count_fault(None)
    assert client.messages.count_tokens(model=HAIKU, messages=HELLO).input_tokens > 0


def test_counting_can_hang(api, impatient):
    """A hanging count ends with the client's patience."""
    api.count_fault(hang_before_head())
    with pytest.raises(anthropic.APITimeoutError):
        impatient.messages.count_tokens(model=HAIKU, messages=HELLO)
