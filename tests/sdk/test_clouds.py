"""The SDK's clients of the clouds, unmodified, against the fake API over HTTP, blocking and async."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import anthropic
import pytest
from support.cloud_doors import (
    AWS,
    BEDROCK,
    BEDROCK_HAIKU,
    FOUNDRY,
    GOOGLE_CLOUD,
    MANTLE,
    VERTEX,
    Door,
    each_door,
)
from support.governed import HAIKU, HELLO, Clock

from governor.testing import FakeClaude, Reply, error_mid_stream, overloaded, rate_limited

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

both_ways = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])


@pytest.fixture(scope="module")
def shared() -> Iterator[FakeClaude]:
    """One fake API for the module; `api` resets it."""
    with FakeClaude(now_ms=Clock()) as running:
        yield running


@pytest.fixture
def api(shared: FakeClaude) -> FakeClaude:
    """The fake API as if just started."""
    shared.reset()
    return shared


def with_client(
    door: Door,
    api: FakeClaude,
    use: Callable[[Any], Coroutine[Any, Any, Any]],
    *,
    is_async: bool,
    **options: Any,
) -> Any:
    """Let *use* work with a client of the door."""

    async def run() -> Any:
        client = door.client(api, is_async=is_async, **options)
        try:
            return await use(client)
        finally:
            await _maybe(client.close())

    return asyncio.run(run())


async def _maybe(answer: Any) -> Any:
    return await answer if hasattr(answer, "__await__") else answer


def create(door: Door, api: FakeClaude, *, is_async: bool = False, **options: Any) -> Any:
    """The message that `messages.create` gives."""
    body = {"model": door.model, "max_tokens": 100, "messages": HELLO, **options.pop("body", {})}

    async def use(client: Any) -> Any:
        return await _maybe(client.messages.create(**body))

    return with_client(door, api, use, is_async=is_async, **options)


def stream(door: Door, api: FakeClaude, *, is_async: bool = False, **options: Any) -> Any:
    """The final message of `messages.stream`, and its text as it came."""
    body = {"model": door.model, "max_tokens": 100, "messages": HELLO}

    async def use(client: Any) -> Any:
        if not is_async:
            with client.messages.stream(**body) as blocking:
                return "".join(blocking.text_stream), blocking.get_final_message()
        async with client.messages.stream(**body) as streaming:
            return "".join(
                [text async for text in streaming.text_stream]
            ), await streaming.get_final_message()

    return with_client(door, api, use, is_async=is_async, **options)


@each_door
@both_ways
def test_create(door: Door, is_async: bool, api: FakeClaude) -> None:
    """The client's plain call comes by the cloud's path, is answered, and is billed for what it reports."""
    api.next(Reply("Good morning.", output_tokens=5))
    message = create(door, api, is_async=is_async)
    assert message.content[0].text == "Good morning."
    [received] = api.requests
    assert (received.sent_to, received.path) == (door.path, "/v1/messages")
    assert received.body == {"model": door.model, "max_tokens": 100, "messages": HELLO}
    [line] = api.bill
    assert line.usage["input_tokens"] == message.usage.input_tokens
    assert line.usage["output_tokens"] == message.usage.output_tokens == 5
    assert api.billed_nanos > 0


@each_door
@both_ways
def test_stream(door: Door, is_async: bool, api: FakeClaude) -> None:
    """The stream helper reads the cloud's stream to its end, with the usage that was billed."""
    api.next(Reply(output_tokens=64))
    text, message = stream(door, api, is_async=is_async)
    assert message.content[0].text == text
    assert len(text) > 64
    assert api.requests[0].sent_to == (door.streamed_path or door.path)
    assert api.requests[0].body["stream"] is True
    [line] = api.bill
    assert line.complete
    assert line.usage["output_tokens"] == message.usage.output_tokens == 64


@each_door
@both_ways
def test_a_refusal_has_the_clouds_status(door: Door, is_async: bool, api: FakeClaude) -> None:
    """A rate limit is a RateLimitError at every cloud, a crowd a 529 or Bedrock's 503; nothing is billed."""
    api.inject(rate_limited(retry_after=7), overloaded())
    with pytest.raises(anthropic.RateLimitError) as limited:
        create(door, api, is_async=is_async)
    assert limited.value.response.headers["retry-after"] == "7"
    with pytest.raises(anthropic.InternalServerError) as crowded:
        create(door, api, is_async=is_async)
    assert crowded.value.status_code == (503 if door is BEDROCK else 529)
    assert api.bill == []


@each_door
@both_ways
def test_an_error_inside_a_stream_reaches_the_caller(door: Door, is_async: bool, api: FakeClaude) -> None:
    """The SDK raises it out of the stream, and what was sent before it is billed."""
    api.inject(error_mid_stream(after_events=5, reply=Reply(output_tokens=64)))
    with pytest.raises(anthropic.APIStatusError) as found:
        stream(door, api, is_async=is_async)
    assert found.value.body["error"]["type"] == (
        "serviceUnavailableException" if door is BEDROCK else "overloaded_error"
    )
    api.wait_idle()
    assert [line.complete for line in api.bill] == [False]


WRONG = {
    "bedrock": {"aws_access_key": "other", "aws_secret_key": "fake-secret"},
    "mantle": {"api_key": "other"},
    "aws": {"api_key": "other"},
    "vertex": {"access_token": "other"},
    "foundry": {"api_key": "other"},
    "google_cloud": {"token_provider": lambda: "other"},
}


@each_door
def test_a_wrong_credential_is_refused(door: Door, api: FakeClaude) -> None:
    """What the client authenticates with is looked at, and refused as the cloud does it."""
    kind = anthropic.PermissionDeniedError if door is BEDROCK else anthropic.AuthenticationError
    with pytest.raises(kind):
        create(door, api, **WRONG[door.name])


@pytest.mark.parametrize("door", [BEDROCK, MANTLE, AWS], ids=lambda door: door.name)
@pytest.mark.parametrize("way", ["signature", "key"])
def test_aws_clients_may_sign_or_send_a_key(door: Door, way: str, api: FakeClaude) -> None:
    """Both ways of AWS to authenticate are taken; a signature by its access key."""
    keys = {"aws_access_key": api.api_key, "aws_secret_key": "fake-secret"}
    create(door, api, **(keys if way == "signature" else {"api_key": api.api_key}))
    signed = api.requests[0].headers.get("authorization", "").startswith("AWS4-HMAC-SHA256 ")
    assert signed is (way == "signature")


def test_azure_tokens_are_taken(api: FakeClaude) -> None:
    """Foundry's client may ask a provider for its token in place of a key."""
    assert create(FOUNDRY, api, azure_ad_token_provider=lambda: api.api_key).content


@pytest.mark.parametrize("door", [MANTLE, AWS, VERTEX, FOUNDRY, GOOGLE_CLOUD], ids=lambda door: door.name)
@both_ways
def test_counting_tokens(door: Door, is_async: bool, api: FakeClaude) -> None:
    """The clients that can count tokens do, and the fake knows it for a count."""
    body = {"model": door.model, "messages": HELLO}

    async def use(client: Any) -> Any:
        return await _maybe(client.messages.count_tokens(**body))

    counted = with_client(door, api, use, is_async=is_async)
    assert counted.input_tokens == api.count_tokens(body)
    assert len(api.counts) == 1
    assert api.bill == []


def test_bedrocks_older_client_counts_nothing(api: FakeClaude) -> None:
    """The SDK itself refuses token counts and batches there, before anything is sent."""
    client = api.bedrock_client()
    with pytest.raises(anthropic.AnthropicError, match="not supported in Bedrock"):
        client.messages.count_tokens(model=BEDROCK_HAIKU, messages=HELLO)
    with pytest.raises(anthropic.AnthropicError, match="not supported in Bedrock"):
        client.messages.batches.list()
    assert api.requests == []


@pytest.mark.parametrize("door", [BEDROCK, VERTEX], ids=lambda door: door.name)
@both_ways
def test_answers_name_the_bare_model(door: Door, is_async: bool, api: FakeClaude) -> None:
    """Bedrock and Vertex AI answer with the model's id, whatever the endpoint's name of it was."""
    assert create(door, api, is_async=is_async).model == HAIKU
    assert stream(door, api, is_async=is_async)[1].model == HAIKU


def test_the_place_that_was_asked_decides_the_price(api: FakeClaude) -> None:
    """Regional endpoints are billed dearer than global ones, by Bedrock's prefix and Vertex AI's location."""
    api.replies(output_tokens=5)
    regional = Door("bedrock", "eu.anthropic.claude-haiku-5-5", "")
    create(BEDROCK, api)
    create(regional, api)
    create(VERTEX, api)
    create(VERTEX, api, region="europe-west1")
    create(Door("vertex", HAIKU, ""), api, region="europe-west1")
    worldwide, europe, *vertex = [line.nanos for line in api.bill]
    assert europe > worldwide
    assert vertex == [worldwide, europe, europe]


@pytest.mark.parametrize(
    ("door", "status"),
    [
        (Door("bedrock", HAIKU, ""), 400),
        (Door("bedrock", "anthropic.claude-nobody", ""), 404),
        (Door("vertex", BEDROCK_HAIKU, ""), 404),
        (Door("foundry", "claude-nobody", ""), 404),
    ],
    ids=lambda value: value.model if isinstance(value, Door) else None,
)
def test_a_name_of_another_cloud_is_refused(door: Door, status: int, api: FakeClaude) -> None:
    """A model must be named as the cloud names it, so a wrong line of a policy shows in tests."""
    with pytest.raises(anthropic.APIStatusError) as found:
        create(door, api)
    assert found.value.status_code == status
    assert api.bill == []


def test_bedrock_takes_arns(api: FakeClaude) -> None:
    """An inference profile's ARN stands for the model in its last part."""
    arn = f"arn:aws:bedrock:us-east-1:123456789012:inference-profile/{BEDROCK_HAIKU}"
    assert create(Door("bedrock", arn, ""), api).model == HAIKU


def test_bedrock_answers_in_awss_forms(api: FakeClaude) -> None:
    """A stream is AWS frames, a refusal an AWS exception, and ids and limits go by AWS's headers only."""
    client = api.bedrock_client(max_retries=0)
    body = {"model": BEDROCK_HAIKU, "max_tokens": 100, "messages": HELLO}
    raw = client.messages.with_raw_response.create(**body, stream=True)
    assert raw.headers["content-type"] == "application/vnd.amazon.eventstream"
    assert raw.headers["x-amzn-requestid"].startswith("req_")
    assert not [name for name in raw.headers if name.startswith("anthropic-") or name == "request-id"]
    raw.http_response.read()
    api.inject(rate_limited())
    with pytest.raises(anthropic.RateLimitError) as found:
        client.messages.create(**body)
    assert found.value.response.headers["x-amzn-errortype"] == "ThrottlingException"
    assert json.loads(found.value.response.content).keys() == {"message"}


def test_betas_and_profiles_in_the_body_are_taken(api: FakeClaude) -> None:
    """What Bedrock's clients move from headers into the body is no unknown parameter there."""
    for door in (BEDROCK, MANTLE):
        headers = {"anthropic-beta": "some-beta", "anthropic-user-profile-id": "profile"}
        create(door, api, default_headers=headers)
        assert api.requests[-1].body.keys() == {"model", "max_tokens", "messages"}


@pytest.mark.parametrize("door", [AWS, GOOGLE_CLOUD], ids=lambda door: door.name)
@both_ways
def test_batches_of_the_gateways(door: Door, is_async: bool, api: FakeClaude) -> None:
    """The two clients of Anthropic's whole API make, read and are billed batches as it does."""
    item = {"custom_id": "one", "params": {"model": HAIKU, "max_tokens": 100, "messages": HELLO}}

    async def use(client: Any) -> Any:
        batches = client.messages.batches
        made = await _maybe(batches.create(requests=[item]))
        await _maybe(batches.retrieve(made.id))
        results = await _maybe(batches.results(made.id))
        return [result async for result in results] if is_async else list(results)

    [result] = with_client(door, api, use, is_async=is_async)
    assert result.result.type == "succeeded"
    [line] = api.bill
    assert line.usage["service_tier"] == "batch"
