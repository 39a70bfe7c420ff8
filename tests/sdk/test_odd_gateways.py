"""Answers of gateways that leave things out, make things up, or answer a count with no count."""

from __future__ import annotations

import json
import logging

import anthropic
import pytest
from support.gateway import Gateway
from support.governed import HELLO, SONNET, department
from support.stages import on_sqlite

from governor.testing import Reply

TEAM = {"per": "department", "usd": "100", "window": "life"}
TOKENS = {"per": "department", "tokens": 10**9, "window": "life"}
INPUT, OUTPUT = 2_000, 10_000
"""Nano-dollars a token of Sonnet 5.5."""
PLAIN = {"input_tokens": 19, "output_tokens": 1}


@pytest.fixture
def gateway():
    """A gateway, until the test ends."""
    with Gateway() as made:
        yield made


@pytest.fixture
def caller(stage, gateway):
    """A governor in front of the gateway, counting."""
    client = gateway.client(is_async=stage.is_async)
    made = stage.governor(department(TEAM, TOKENS), client=client)
    yield made
    if isinstance(client, anthropic.AsyncAnthropic):
        made.on_loop(client.close()).result()
    else:
        client.close()


# Usage that is told late, or not at all.


@on_sqlite
@pytest.mark.parametrize(("ttl", "price"), [("1h", 4_000), ("5m", 2_500)])
def test_writes_told_only_at_the_end_have_the_lifetime_asked_for(caller, gateway, stage, ttl, price):
    """Cache writes that the delta reports without a split cost what the request's own lifetime costs."""
    split = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}
    gateway.count = (*gateway.count[:2], b'{"input_tokens": 1010}')
    gateway.begun = {"input_tokens": 10, "output_tokens": 1, "cache_creation": split}
    gateway.ended = {"output_tokens": 9, "cache_creation_input_tokens": 1_000}
    kept = {"type": "text", "text": "x" * 4_000, "cache_control": {"type": "ephemeral", "ttl": ttl}}
    receipt = caller.call(model="sonnet", messages=[{"role": "user", "content": [kept]}]).receipt
    assert receipt.cost.nanos == 10 * INPUT + 9 * OUTPUT + 1_000 * price == stage.posted()
    assert stage.posted("department=team/tokens/life") == 1_019
    assert not receipt.overrun


@on_sqlite
def test_counts_that_a_delta_takes_back_are_charged(caller, gateway):
    """A gateway that ends a stream with a prompt of 0 tokens gets no free prompt."""
    gateway.begun = {"input_tokens": 5, "output_tokens": 1, "cache_read_input_tokens": 14}
    gateway.ended = {"input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 9}
    receipt = caller.call(model="sonnet").receipt
    assert receipt.cost.nanos == 5 * INPUT + 14 * 100 + 9 * OUTPUT


@on_sqlite
def test_silence_on_the_region_is_the_region_asked_for(caller, gateway, stage):
    """A usage without `inference_geo` costs what the region of the request costs, and one with it that."""
    said = [caller.call(model="sonnet", inference_geo="us").receipt.cost.nanos]
    gateway.begun = {**gateway.begun, "inference_geo": "global"}
    said.append(caller.call(model="sonnet", inference_geo="us").receipt.cost.nanos)
    plain = 19 * INPUT + 9 * OUTPUT
    assert said == [plain * 11 // 10, plain]
    assert stage.posted() == sum(said)


# Usage without a price.


@on_sqlite
@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"begun": {**PLAIN, "inference_geo": "mars"}}, "'mars'"),
        ({"model": "claude-nova-9"}, "'claude-nova-9'"),
        ({"ended": {"output_tokens": 9, "hologram_tokens": 3}}, "hologram_tokens"),
    ],
    ids=["region", "model", "unit"],
)
def test_what_has_no_price_is_charged_the_hold_and_told(caller, gateway, stage, caplog, changed, told):
    """The receipt and one warning name it, nothing is learned of it, and the journal keeps it."""
    vars(gateway).update(changed)
    with caplog.at_level(logging.WARNING, logger="governor"):
        receipt = caller.call(model="sonnet", request_id="odd-one").receipt
    assert receipt.cost == receipt.ceiling
    assert len(receipt.unpriced) == 1
    assert told in receipt.unpriced[0]
    (warning,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert "odd-one" in warning.getMessage()
    assert told in warning.getMessage()
    assert stage.last_ending()["unpriced"] == list(receipt.unpriced)
    assert caller.decide(model="sonnet").candidates[0].expected is None
    vars(gateway).update(model="", begun=PLAIN, ended={"output_tokens": 9})
    assert caller.call(model="sonnet").receipt.unpriced == ()
    assert caller.decide(model="sonnet").candidates[0].expected is not None


@on_sqlite
def test_a_usage_without_a_price_is_uncertain_in_the_receipt(caller, gateway):
    """A receipt says `uncertain` where the cost is by rule, and not where it was read."""
    assert not caller.call(model="sonnet").receipt.uncertain
    gateway.model = "claude-nova-9"
    assert caller.call(model="sonnet").receipt.uncertain


@on_sqlite
def test_a_large_usage_without_a_price_is_charged_beyond_the_hold(caller, gateway, stage):
    """What would cost more than the hold on the model asked for is charged so, and all its tokens count."""
    gateway.model = "claude-nova-9"
    gateway.begun = {"input_tokens": 1_000_000, "output_tokens": 1}
    receipt = caller.call(model="sonnet").receipt
    assert receipt.cost.nanos == 10**6 * INPUT + 9 * OUTPUT == stage.posted() > receipt.ceiling.nanos
    assert stage.posted("department=team/tokens/life") == 1_000_009
    assert receipt.overrun


@pytest.mark.parametrize("tokens", [100_000_001, 10**30])
def test_a_count_that_no_request_has_is_not_believed(stage, tokens):
    """Such a usage is charged its hold; its caller gets the answer, the next call works, no hold is left."""
    caller = stage.governor(department(TEAM))
    stage.api.next(Reply(text="Hello.", usage={"input_tokens": tokens}))
    message = caller.call(model="sonnet")
    assert message.content[0].text == "Hello."
    assert message.receipt.cost == message.receipt.ceiling
    assert message.receipt.uncertain
    assert "usage.input_tokens must be a whole number from 0 to 100,000,000" in message.receipt.unpriced[0]
    assert stage.holds() == ()
    following = caller.call(model="sonnet").receipt
    assert not following.uncertain
    assert stage.posted() == message.receipt.cost.nanos + following.cost.nanos


# Counts that are none.

HTML = {"content-type": "text/html"}
JSON = {"content-type": "application/json"}


@on_sqlite
@pytest.mark.parametrize(
    "answer",
    [
        (200, HTML, b"<html>Please sign in.</html>"),
        (200, JSON, b'{"input_tokens": 1'),
        (200, JSON, b"\xff\xfe"),
        (200, JSON, b"[]"),
        (200, JSON, b'{"tokens": 19}'),
        (200, JSON, b'{"input_tokens": "19"}'),
        (200, JSON, b'{"input_tokens": -19}'),
        (200, JSON, b'{"input_tokens": 19.5}'),
        (200, JSON, b'{"input_tokens": true}'),
        (200, JSON, b'{"input_tokens": null}'),
    ],
    ids=lambda answer: answer[2].decode(errors="replace"),
)
def test_an_answer_that_is_no_count_is_none(caller, gateway, stage, answer):
    """HTML, broken JSON, a text, a negative number: the local bound is held, and the call goes on."""
    gateway.count = answer
    receipt = caller.call(model="sonnet").receipt
    assert receipt.decision.estimate == "local bound"
    assert receipt.cost.nanos == 19 * INPUT + 9 * OUTPUT == stage.posted()
    assert len(gateway.counts) == 1
    assert stage.holds() == ()


@on_sqlite
@pytest.mark.parametrize("header", ["retry-after", "retry-after-ms"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "soon"])
def test_a_pause_that_is_no_time_is_the_usual_one(caller, gateway, stage, header, value):
    """A 429 that asks to wait for ever, or for no number, is left alone for five seconds; calls go on."""
    error = {"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down."}}
    fine = gateway.count
    gateway.count = (429, {**JSON, header: value}, json.dumps(error).encode())
    seen = []
    for wait_s in (0, 4.999, 0.001):
        stage.clock.forward(wait_s)
        seen.append(caller.call(model="sonnet").receipt.decision.estimate)
        gateway.count = fine
    assert seen == ["local bound", "local bound", "count_tokens"]
    assert [count["model"] for count in gateway.counts] == [SONNET, SONNET]
    assert [count["messages"] for count in gateway.counts] == [HELLO, HELLO]
