"""What may be given to `call()`: nothing that bills past the price, and each thing counted as it is sent."""

from __future__ import annotations

import anthropic
import pytest
from support.governed import HELLO, SONNET, department
from support.stages import on_sqlite

from governor import PolicyViolation

TEAM = {"per": "department", "usd": "100", "window": "life"}
TOOL = {"name": "weather", "input_schema": {"type": "object", "properties": {}}}
PAST_THE_PRICE = [
    {"extra_body": {"speed": "fast"}},
    {"extra_body": {"max_tokens": 64_000}},
    {"extra_query": {"beta": "true"}},
    {"output_format": {"type": "json_schema", "schema": {}}},
    {"timeout": 600},
    {"timeout": 0.01},
    {"stream": True},
    {"extra_headers": {"anthropic-beta": "context-1m-2025-08-07"}},
    {"extra_headers": {"Anthropic-Beta": "context-1m-2025-08-07"}},
]
NO_VALUES = [
    ({"model": None}, "model is None: give `auto`, a line or a model id"),
    ({"model": 5}, "model is 5"),
    ({"model": [SONNET]}, "model is"),
    ({"max_tokens": "many"}, "max_tokens is 'many': give a whole number"),
    ({"max_tokens": 100.0}, r"max_tokens is 100\.0"),
    ({"max_tokens": True}, "max_tokens is True"),
    ({"max_tokens": -1}, "max_tokens is -1"),
    ({"max_tokens": 10**30}, "max_tokens is 1000"),
    ({"messages": "Hello"}, "messages is missing"),
    ({"messages": {"role": "user", "content": "Hello"}}, "messages is missing"),
    ({"messages": None}, "messages is missing"),
    ({"messages": anthropic.omit}, "messages is missing"),
    ({"request_id": "a b"}, "use 1 to 128 of A-Z"),
    ({"request_id": b"x"}, "use 1 to 128 of A-Z"),
    ({"request_id": ""}, "use 1 to 128 of A-Z"),
]


def refused(stage, match, request):
    """Neither `call` nor `decide` takes the request; nothing was counted, held or sent."""
    caller = stage.governor(department(TEAM))
    with pytest.raises(PolicyViolation, match=match):
        caller.call(**request)
    if "request_id" not in request:
        with pytest.raises(PolicyViolation, match=match):
            caller.decide(**request)
    assert stage.balances() == {}
    assert stage.holds() == ()
    assert stage.api.requests == []


@pytest.mark.parametrize("request_", PAST_THE_PRICE, ids=str)
@on_sqlite
def test_what_would_not_be_priced_is_refused(stage, request_):
    """What the SDK would add to the request past its price, or past the policy, is a violation."""
    refused(stage, "cannot be given to call", request_)


@pytest.mark.parametrize(("request_", "match"), NO_VALUES, ids=[next(iter(given)) for given, _ in NO_VALUES])
@on_sqlite
def test_a_value_of_the_wrong_kind_is_refused(stage, request_, match):
    """A model, bound, conversation or id that is none is a violation which says what to give."""
    refused(stage, match, request_)


@on_sqlite
def test_other_headers_are_sent(stage):
    """A header that changes no price goes to the API as it is."""
    stage.governor(department(TEAM)).call(extra_headers={"x-fake-tag": "mine"})
    assert [line.tag for line in stage.api.bill] == ["mine"]


@on_sqlite
def test_parameters_may_be_left_out_the_sdks_way(stage):
    """`omit` and `NOT_GIVEN` mean what they mean to the SDK: the parameter is not sent."""
    left_out = {
        "system": anthropic.omit,
        "tools": anthropic.NOT_GIVEN,
        "temperature": anthropic.omit,
        "stream": anthropic.omit,
        "extra_body": anthropic.omit,
        "timeout": anthropic.NOT_GIVEN,
    }
    stage.governor(department(TEAM)).call(**left_out)
    (body,) = stage.sent()
    assert body == {"model": SONNET, "max_tokens": 100, "messages": HELLO, "stream": True}


@on_sqlite
@pytest.mark.parametrize("nothing", [anthropic.omit, anthropic.NOT_GIVEN], ids=["omit", "not-given"])
def test_max_tokens_may_be_left_out_the_sdks_way(stage, nothing):
    """Left out, `max_tokens` is the feature's; without one it is missing."""
    team = department(TEAM, features={"review": {"max_tokens": 50}})
    caller = stage.governor(team)
    assert caller.call(feature="review", max_tokens=nothing).receipt.decision.max_tokens == 50
    with pytest.raises(PolicyViolation, match="max_tokens is missing"):
        caller.call(max_tokens=nothing)


def once(*items):
    """An iterable that can be read a single time."""
    yield from items


WORDS = {"type": "text", "text": "Say it again. " * 40}
ONE_SHOT = {
    "messages": lambda: {"messages": once({"role": "user", "content": [WORDS]})},
    "content": lambda: {"messages": [{"role": "user", "content": once(WORDS, WORDS)}]},
    "a message of items": lambda: {"messages": [{"role": "user", "content": {0: WORDS}.values()}]},
    "system": lambda: {"system": once(WORDS), "messages": HELLO},
    "tools": lambda: {"tools": once(TOOL, {**TOOL, "name": "other"}), "messages": HELLO},
}


@pytest.mark.parametrize("name", ONE_SHOT)
@on_sqlite
def test_what_can_be_read_once_is_counted_and_sent_alike(stage, name):
    """An iterator in the request is read once: what was counted is what is sent and billed."""
    receipt = stage.governor(department(TEAM)).call(**ONE_SHOT[name]()).receipt
    count, sent = [request.body for request in stage.api.requests]
    for key in ("messages", "system", "tools"):
        assert count.get(key) == sent.get(key), key
    assert sent["messages"][0]["content"]
    assert receipt.decision.input_tokens == receipt.usage["input_tokens"] > 0
    assert receipt.cost.nanos == stage.api.billed_nanos <= receipt.ceiling.nanos


@on_sqlite
def test_the_callers_own_values_are_not_changed(stage):
    """Lists and dictionaries that the caller gives are as they were after the call."""
    messages = [{"role": "user", "content": [dict(WORDS)]}]
    tools = [dict(TOOL)]
    stage.governor(department(TEAM)).call(messages=messages, tools=tools)
    assert messages == [{"role": "user", "content": [WORDS]}]
    assert tools == [TOOL]
