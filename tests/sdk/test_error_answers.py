"""What a call costs that fails before, at, or while reading its answer: never less than may be billed."""

from __future__ import annotations

import asyncio

import anthropic
import pytest
from support.endings import TOKENS, closed, policy
from support.stages import on_sqlite

from governor.testing import Reply, status_error

DEEP = 300
"""Lists in lists: more than the 200 levels at which the SDK's reader of a tool's input gives up."""


class Broken(Exception):  # noqa: N818 - a middleware's own word
    """What a user's middleware raises."""


class Raising(anthropic.Middleware):
    """A user's middleware that fails at `/v1/messages`, before sending or once the answer is there."""

    def __init__(self, *, after):
        self._after = after

    @staticmethod
    def _fails(request):
        return str(request.url).endswith("/v1/messages")

    def handle(self, request, call_next):
        if not self._fails(request):
            return call_next(request)
        if self._after:
            call_next(request)
        raise Broken

    async def handle_async(self, request, call_next):
        if not self._fails(request):
            return await call_next(request)
        if self._after:
            await call_next(request)
        raise Broken


def failed_call(stage, error, client=None, **request):
    """Make one call that raises *error*, without retries; return the record of how it ended."""
    options = {} if client is None else {"client": client}
    caller = stage.governor(policy(retries=0, timeout=5), **options)
    with pytest.raises(error):
        caller.call(**request)
    if client is not None and stage.is_async:
        asyncio.run_coroutine_threadsafe(client.close(), caller._loop).result()
    return closed(stage)


def made(stage, **options):
    """A client of the stage's kind."""
    return (stage.api.async_client if stage.is_async else stage.api.client)(**options)


def free(stage, ending):
    """Nothing was charged but the request."""
    assert (ending["ended"], ending["outcome"], ending["cost_nanos"]) == ("refused", "released", 0)
    assert ending["uncertain"] is False
    assert stage.balances()[TOKENS].posted == 0
    assert stage.api.billed_nanos == 0


def charged_whole(stage, ending, ended):
    """The whole hold was charged, marked uncertain, and the request was sent once."""
    assert (ending["ended"], ending["uncertain"], ending["attempts"]) == (ended, True, 1)
    stage.api.wait_idle()
    assert stage.api.billed_nanos <= ending["cost_nanos"] == ending["ceiling_nanos"]
    assert len(stage.sent()) == 1


@pytest.mark.parametrize("status", [408, 499, 502, 504, 520, 522, 524])
@on_sqlite
def test_a_gateway_that_gave_up_is_charged_whole(stage, status):
    """The API behind it may have served: the hold is charged, and nothing is sent again."""
    stage.api.inject(status_error(status, retry_after=0))
    caller = stage.governor(policy())
    with pytest.raises(anthropic.APIStatusError):
        caller.call()
    charged_whole(stage, closed(stage), "silent")


@pytest.mark.parametrize("status", [400, 409, 422, 429, 500, 501, 503, 529])
@on_sqlite
def test_what_the_api_says_it_did_not_serve_is_free(stage, status):
    """An error answer by the API itself costs nothing."""
    stage.api.inject(status_error(status))
    free(stage, failed_call(stage, anthropic.APIStatusError))


@on_sqlite
def test_a_key_that_no_header_can_bear_is_free(stage):
    """A request that the HTTP library would not send was never billed."""
    client = made(stage, api_key="fake\nkey")
    free(stage, failed_call(stage, anthropic.APIConnectionError, client))
    assert stage.api.requests == []


@on_sqlite
def test_a_proxy_that_refuses_is_free(stage):
    """A proxy that makes no tunnel lets nothing through to the API."""
    kind = anthropic.DefaultAsyncHttpxClient if stage.is_async else anthropic.DefaultHttpxClient
    through = kind(proxy=stage.api.url, trust_env=False)
    client = made(stage, base_url="https://api.example.invalid", http_client=through)
    free(stage, failed_call(stage, anthropic.APIConnectionError, client))
    assert stage.sent() == []


@on_sqlite
def test_a_middleware_that_fails_before_sending_is_free(stage):
    """The user's own code failed before the request left: nothing can have been billed."""
    ending = failed_call(stage, Broken, made(stage, middleware=[Raising(after=False)]))
    free(stage, ending)
    assert stage.sent() == []


@on_sqlite
def test_a_middleware_that_fails_after_the_answer_is_charged_whole(stage):
    """The user's own code failed with the answer in its hands: it was served, at a cost nobody read."""
    ending = failed_call(stage, Broken, made(stage, middleware=[Raising(after=True)]))
    charged_whole(stage, ending, "silent")


@on_sqlite
def test_an_answer_that_cannot_be_read_is_charged_what_it_used(stage):
    """A tool's input that is no JSON is raised once the answer has come to its end: its usage is known."""
    deep: list = []
    for _ in range(DEEP):
        deep = [deep]
    call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"place": deep}}
    stage.api.next(Reply(content=[call]))
    ending = failed_call(stage, ValueError, max_tokens=1000)
    assert (ending["ended"], ending["uncertain"], ending["attempts"]) == ("answered", False, 1)
    stage.api.wait_idle()
    assert 0 < stage.api.billed_nanos == ending["cost_nanos"]


@on_sqlite
def test_a_refusal_before_any_output_costs_nothing(stage):
    """The API lists the prompt of such an answer and bills nothing; the caller has the message."""
    stage.api.next(Reply(output_tokens=0, stop_reason="refusal"))
    message = stage.governor(policy()).call()
    assert message.stop_reason == "refusal"
    assert message.usage.input_tokens > 0
    ending = closed(stage)
    assert (ending["ended"], ending["cost_nanos"], ending["uncertain"]) == ("answered", 0, False)
    assert message.receipt.cost.nanos == stage.api.billed_nanos == 0
    assert stage.balances()[TOKENS].posted == message.usage.input_tokens


@on_sqlite
def test_a_refusal_in_mid_answer_is_billed(stage):
    """A refusal that comes after some output is an answer like any other."""
    stage.api.next(Reply(output_tokens=7, stop_reason="refusal"))
    receipt = stage.governor(policy()).call().receipt
    assert receipt.cost.nanos == closed(stage)["cost_nanos"] == stage.api.billed_nanos > 0
