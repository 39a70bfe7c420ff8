"""However a call ends, its hold is closed: at the bill, at nothing, or at what may have been billed."""

from __future__ import annotations

import asyncio

import anthropic
import pytest
from support.endings import TOKENS, USD, closed, policy
from support.governed import until
from support.pauses import pauses
from support.redis_server import free_port
from support.stages import on_sqlite

from governor import GovernorError
from governor.testing import (
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

TEXT = Reply(text="It is what it is. " * 20)
THINKING = [
    {"type": "thinking", "thinking": "Hmm. " * 40, "signature": "abcd"},
    {"type": "text", "text": "Yes. " * 20},
]
TOOL_USE = [{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"place": "Ulm " * 20}}]


REFUSALS = [
    pytest.param(status_error(400), anthropic.BadRequestError, id="400"),
    pytest.param(status_error(401), anthropic.AuthenticationError, id="401"),
    pytest.param(status_error(403), anthropic.PermissionDeniedError, id="403"),
    pytest.param(status_error(404), anthropic.NotFoundError, id="404"),
    pytest.param(status_error(413), anthropic.ContentTooLargeError, id="413"),
    pytest.param(spend_limit_reached(), anthropic.RateLimitError, id="spend-cap"),
    pytest.param(rate_limited(retry_after=600), anthropic.RateLimitError, id="429-for-too-long"),
]


@pytest.mark.parametrize(("fault", "error"), REFUSALS)
def test_what_the_api_refuses_costs_nothing(stage, fault, error):
    """An error status before any processing is raised as the SDK's error, once, and the money comes back."""
    stage.api.inject(fault)
    with pytest.raises(error):
        stage.governor(policy()).call()
    ending = closed(stage)
    assert (ending["ended"], ending["outcome"], ending["status"]) == ("refused", "released", fault.status)
    assert (ending["cost_nanos"], ending["uncertain"], ending["attempts"]) == (0, False, 1)
    assert stage.balances()[TOKENS].posted == 0
    assert len(stage.sent()) == 1


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(rate_limited(retry_after=0), id="429"),
        pytest.param(status_error(503, retry_after=0), id="503"),
        pytest.param(status_error(500, retry_after=0), id="500"),
    ],
)
def test_a_passing_trouble_is_tried_again(stage, fault):
    """429, 503 and 500 are sent again on the same hold; one request is counted and the bill is posted."""
    stage.api.inject(fault, fault)
    caller = stage.governor(policy())
    pauses(caller)
    receipt = caller.call().receipt
    ending = closed(stage)
    assert (receipt.attempts, ending["attempts"], ending["ended"]) == (3, 3, "answered")
    assert ending["cost_nanos"] == receipt.cost.nanos == stage.api.billed_nanos
    assert [request.attempt for request in stage.api.requests] == [0, 0, 0, 0]


@on_sqlite
def test_a_lasting_trouble_is_given_back(stage):
    """Once the policy's retries are used up, the SDK's error is raised and nothing is charged."""
    stage.api.inject(*[status_error(503, retry_after=0)] * 3)
    with pytest.raises(anthropic.InternalServerError):
        stage.governor(policy(retries=2)).call()
    ending = closed(stage)
    assert (ending["attempts"], ending["cost_nanos"]) == (3, 0)
    assert len(stage.sent()) == 3


@on_sqlite
def test_a_lasting_overload_is_given_back(stage):
    """Once the policy's retries are used up on every model, the SDK's error is raised, nothing is charged."""
    stage.api.inject(*[overloaded()] * 2)
    with pytest.raises(anthropic.InternalServerError):
        stage.governor(policy(retries=1)).call()
    ending = closed(stage)
    assert (ending["attempts"], ending["cost_nanos"]) == (1, 0)
    assert len(stage.sent()) == 2


SILENT = [
    pytest.param(hang_before_head(), anthropic.APITimeoutError, id="time-out"),
    pytest.param(hang_before_head(billed=True), anthropic.APITimeoutError, id="time-out-billed"),
    pytest.param(cut_before_head(), anthropic.APIConnectionError, id="cut"),
    pytest.param(cut_before_head(billed=True), anthropic.APIConnectionError, id="cut-billed"),
    pytest.param(status_error(504, retry_after=0), anthropic.InternalServerError, id="504"),
]


@pytest.mark.parametrize(("fault", "error"), SILENT)
def test_a_request_never_answered_is_charged_whole(stage, fault, error):
    """Sent and silent: it may have been billed, so the whole hold is charged, marked, and not sent again."""
    stage.api.inject(fault)
    with pytest.raises(error):
        stage.governor(policy()).call()
    ending = closed(stage)
    assert (ending["ended"], ending["uncertain"], ending["attempts"]) == ("silent", True, 1)
    assert stage.api.billed_nanos <= ending["cost_nanos"] == ending["ceiling_nanos"]
    assert len(stage.sent()) == 1


CUTS = [
    pytest.param(cut_mid_stream(5, reply=TEXT), anthropic.APIConnectionError, id="cut"),
    pytest.param(cut_mid_stream(2, reply=TEXT), anthropic.APIConnectionError, id="cut-before-any-text"),
    pytest.param(
        cut_mid_stream(5, reply=Reply(content=TOOL_USE)), anthropic.APIConnectionError, id="tool-use"
    ),
    pytest.param(error_mid_stream(reply=TEXT), anthropic.APIStatusError, id="in-stream-error"),
    pytest.param(stall_mid_stream(5, reply=TEXT), anthropic.APITimeoutError, id="stall"),
    pytest.param(clean_end_without_stop(reply=TEXT), anthropic.APIConnectionError, id="clean-end"),
]


@pytest.mark.parametrize(("fault", "error"), CUTS)
def test_a_broken_answer_is_charged_for_what_came(stage, fault, error):
    """A stream that broke is raised as the SDK's error, and charged between the bill and the hold."""
    stage.api.inject(fault)
    with pytest.raises(error):
        stage.governor(policy()).call(max_tokens=1000)
    ending = closed(stage)
    assert (ending["ended"], ending["uncertain"], ending["attempts"]) == ("cut", True, 1)
    stage.api.wait_idle()
    assert 0 < stage.api.billed_nanos <= ending["cost_nanos"] < ending["ceiling_nanos"]
    assert len(stage.sent()) == 1


@pytest.mark.parametrize("events", [4, 8])
@on_sqlite
def test_a_cut_while_thinking_is_charged_whole(stage, events):
    """Thinking does not show in what was delivered, so a cut of it is charged the whole hold."""
    stage.api.inject(cut_mid_stream(events, reply=Reply(content=THINKING)))
    with pytest.raises(anthropic.APIConnectionError):
        stage.governor(policy()).call(max_tokens=1000)
    ending = closed(stage)
    assert ending["cost_nanos"] == ending["ceiling_nanos"] >= stage.api.billed_nanos


@on_sqlite
def test_a_cut_is_never_charged_above_the_hold(stage):
    """An answer cut near its end with all of its tokens delivered is charged at most the hold."""
    stage.api.inject(clean_end_without_stop(reply=Reply(output_tokens=100)))
    with pytest.raises(anthropic.APIConnectionError, match="ended before its last event"):
        stage.governor(policy()).call(max_tokens=100)
    ending = closed(stage)
    assert stage.api.billed_nanos <= ending["cost_nanos"] == ending["ceiling_nanos"]


@on_sqlite
def test_a_cut_after_the_last_usage_costs_its_usage(stage):
    """Once the final usage has come, a missing last event changes nothing: exact, not uncertain."""
    stage.api.inject(cut_mid_stream(6, reply=Reply(output_tokens=10)))
    with pytest.raises(anthropic.APIConnectionError):
        stage.governor(policy()).call()
    ending = closed(stage)
    assert (ending["ended"], ending["uncertain"]) == ("answered", False)
    assert ending["cost_nanos"] == stage.api.billed_nanos


@on_sqlite
def test_a_connection_refused_costs_nothing(stage):
    """No connection, no bill: after its retries the error is raised and all is given back."""
    make = stage.api.async_client if stage.is_async else stage.api.client
    client = make(base_url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(anthropic.APIConnectionError):
        stage.governor(policy(retries=0), client=client).call()
    ending = closed(stage)
    assert (ending["ended"], ending["cost_nanos"], ending["outcome"]) == ("refused", 0, "released")
    if stage.is_async:
        asyncio.run(client.close())


@on_sqlite
def test_a_client_without_a_key_is_told(stage, monkeypatch):
    """Without credentials the error says which variable to set, and nothing was held or sent."""
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(stage.folder))
    monkeypatch.setenv("ANTHROPIC_BASE_URL", stage.api.url)
    with pytest.raises(GovernorError, match="set ANTHROPIC_API_KEY"):
        stage.governor(policy(), client=None).call()
    assert stage.api.requests == []
    assert stage.balances() == {}


def test_a_long_stream_keeps_its_hold(stage, monkeypatch):
    """While a stream runs, its hold is extended, so that only a dead process lets it expire."""
    monkeypatch.setattr("governor.story.sending.EXTEND_EVERY_S", 0.02)
    expiries = []

    def look(_body):
        expiries.append(stage.holds()[0].expires_ms)
        return Reply(output_tokens=200, event_delay_ms=20)

    caller = stage.governor(policy(timeout=5))
    stage.api.replies(look)
    call = caller.start(max_tokens=1000)
    until(lambda: expiries)
    stage.clock.forward(50)
    until(lambda: any(hold.expires_ms == expiries[0] + 50_000 for hold in stage.holds()))
    stage.clock.forward(60)
    receipt = call.result().receipt
    assert (receipt.settled, receipt.late, receipt.overrun) == (True, False, False)
    assert closed(stage)["cost_nanos"] == stage.api.billed_nanos
    assert stage.journal("expire") == []


@on_sqlite
def test_a_call_that_outlived_its_hold_settles_late(stage):
    """A hold that expired while its call was still running is charged, then corrected to the bill."""

    def sleep_through(_body):
        stage.clock.forward(3600)
        return Reply(delay_ms=150)

    caller = stage.governor(policy(timeout=5))
    stage.api.replies(sleep_through)
    call = caller.start()
    until(stage.sent)
    ceiling = caller.decide().candidates[0].ceiling
    stage.api.replies(Reply())
    other = caller.call(user="v").receipt
    receipt = call.result().receipt
    assert (receipt.late, receipt.settled, other.late) == (True, True, False)
    assert [entry.outcome for entry in stage.journal(identifier=receipt.request_id)] == [
        "held",
        "expired",
        "settled_late",
    ]
    assert receipt.cost < ceiling
    assert stage.posted(USD) == stage.api.billed_nanos
    assert stage.holds() == ()
