"""Two independent tables of what models take agree, and a fitted request is accepted, over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime

import anthropic
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from support.fixed_api import NOW_MS

from governor.accepts import ALWAYS, EFFORTS, OFF, THINKING, WITHOUT_THINKING
from governor.pricing import PriceTable
from governor.routing import Unfit, fit
from governor.testing import FakeClaude
from governor.testing.fake_api.capabilities import REFUSES

TABLE = PriceTable.load()
SERVED = [model.id for model in TABLE.models() if not TABLE.retired(model.id, NOW_MS)]
PREVIEW, PREVIEW_MS = "claude-mythos-preview", int(datetime(2026, 5, 1, tzinfo=UTC).timestamp() * 1000)
TOOL = {"name": "get_weather", "input_schema": {"type": "object"}}
HELLO = [{"role": "user", "content": "Hello, Claude"}]
PREFILLED = [*HELLO, {"role": "assistant", "content": "{"}]
THOUGHT = [
    *HELLO,
    {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}]},
    *HELLO,
]
FORCED = ({"type": "any"}, {"type": "tool", "name": "get_weather"})


def of_kind(kind, budget_tokens=1024):
    return {"type": kind, "budget_tokens": budget_tokens} if kind == "enabled" else {"type": kind}


def takes(client, model, **parts):
    """Whether the fake API answers such a request."""
    body = {"model": model, "max_tokens": 2000, "messages": HELLO, **parts}
    try:
        client.post("/v1/messages", body=body, cast_to=object)
    except anthropic.BadRequestError as refused:
        if refused.type != "invalid_request_error":
            raise
        return False
    return True


def claims(accepts):
    """What the price file says of a model: parts of a request, and whether it takes them."""
    kinds = [None, *(kind for kind in THINKING if accepts.takes_thinking(kind))]
    for kind in THINKING:
        yield {"thinking": of_kind(kind)}, accepts.takes_thinking(kind)
    for kind in kinds:
        thinking = {"thinking": of_kind(kind)} if kind else {}
        for effort in EFFORTS:
            yield thinking | {"output_config": {"effort": effort}}, effort in accepts.efforts_for(kind)
        for choice in FORCED if accepts.forced_tool_choice else ():
            unthinking = kind is None or kind in OFF
            taken = accepts.forced_tool_choice == ALWAYS or (
                accepts.forced_tool_choice == WITHOUT_THINKING and unthinking
            )
            yield thinking | {"tools": [TOOL], "tool_choice": choice}, taken
    yield {"messages": PREFILLED}, accepts.prefill
    for geo in ("us", "global") if accepts.inference_geo is not None else ():
        yield {"inference_geo": geo}, accepts.inference_geo


@pytest.mark.parametrize("model", [*SERVED, PREVIEW])
def test_the_price_file_and_the_fake_api_agree(model):
    """What the price file says that a model takes or does not take is so at the fake API."""
    at_ms = PREVIEW_MS if model == PREVIEW else NOW_MS
    with FakeClaude(now_ms=lambda: at_ms) as api:
        client = api.client(max_retries=0)
        for parts, taken in claims(TABLE.model(model).accepts):
            assert takes(client, model, **parts) is taken, parts
        fast = TABLE.price_at(model, at_ms).fast is not None
        assert takes(client, model, speed="fast") is takes(client, model, speed="standard") is fast


def test_both_tables_have_every_model_that_is_served():
    """No model is forgotten in one of them; what is retired needs no entry."""
    assert set(SERVED) | {PREVIEW} == set(REFUSES)


def test_the_sdk_has_the_same_words():
    """Types of thinking and efforts are those of the installed SDK."""
    kinds = anthropic.types.ThinkingTypes.model_fields
    efforts = anthropic.types.EffortCapability.model_fields
    assert set(kinds) == set(THINKING)
    assert set(efforts) - {"supported"} == set(EFFORTS)


@pytest.fixture(scope="module")
def shared():
    """A client of one fake API for all examples."""
    with FakeClaude(now_ms=lambda: NOW_MS) as api:
        yield api.client(max_retries=0)


@st.composite
def accepted(draw):
    """A body for one model, most often one that it takes."""
    asked = draw(st.sampled_from(SERVED))
    refuses = REFUSES[asked]
    kinds = [kind for kind in THINKING if kind not in refuses.thinking]
    efforts = [effort for effort in EFFORTS if effort not in refuses.efforts]
    choices = [{"type": "auto"}, *(() if refuses.forced else FORCED)]
    optional = {
        "thinking": [of_kind(kind, draw(st.sampled_from([1024, 63_000]))) for kind in kinds],
        "output_config": [{"effort": effort} for effort in efforts],
        "tool_choice": choices,
        "speed": ["fast", "standard"],
        "inference_geo": ["us", "global"],
    }
    chosen = {
        key: draw(st.sampled_from(some)) for key, some in optional.items() if some and draw(st.booleans())
    }
    most = draw(st.sampled_from([0, 1, 1025, 3000, 64_000, 128_000]))
    messages = draw(st.sampled_from([HELLO, THOUGHT, THOUGHT if refuses.prefill else PREFILLED]))
    return {"model": asked, "max_tokens": most, "messages": messages, "tools": [TOOL], **chosen}


def corner(asked, **parts):
    """A request of parts that seldom meet."""
    return {"model": asked, "max_tokens": 100_000, "messages": THOUGHT, "tools": [TOOL], **parts}


OFF_AT_MOST = corner("claude-opus-4-8", thinking=of_kind("disabled"), output_config={"effort": "max"})
WITH_BUDGET = corner("claude-opus-4-6", thinking=of_kind("enabled", 90_000))


@given(body=accepted(), served=st.sampled_from(SERVED), full=st.booleans())
@example(body=OFF_AT_MOST, served="claude-haiku-5-5", full=False)
@example(body=OFF_AT_MOST, served="claude-sonnet-5-5", full=False)
@example(body=WITH_BUDGET, served="claude-haiku-4-5", full=False)
@example(body=WITH_BUDGET, served="claude-sonnet-4-5", full=True)
@example(
    body=corner("claude-sonnet-5", thinking=of_kind("adaptive"), tool_choice=FORCED[0]),
    served="claude-sonnet-4-6",
    full=False,
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
def test_a_request_that_one_model_takes_is_taken_by_another_or_unfit(shared, body, served, full):
    """Fitted for another model, a request that was accepted is accepted again, or there is a reason."""
    assume(takes(shared, **body))
    model = TABLE.model(served)
    got = fit(
        body,
        model.accepts,
        model=served,
        context=model.context_tokens,
        max_output=model.max_output_tokens,
        prompt_tokens=model.context_tokens - 2000 if full else 50,
        fast=TABLE.price_at(served, NOW_MS).fast is not None,
    )
    if isinstance(got, Unfit):
        assert got.why
        return
    assert takes(shared, **got.body), got.changes
    assert bool(got.changes) is ({**body, "model": served} != got.body)


def test_a_model_can_be_declared_retired():
    """A model declared retired is not found under any of its names; an unknown one cannot be declared so."""
    with FakeClaude(now_ms=lambda: NOW_MS, retired={"claude-haiku-4-5"}) as api:
        client = api.client(max_retries=0)
        for name in ("claude-haiku-4-5", "claude-haiku-4-5-20251001", "anthropic.claude-haiku-4-5"):
            with pytest.raises(anthropic.NotFoundError, match=f"model: {name}") as refused:
                client.messages.create(model=name, max_tokens=5, messages=HELLO)
            assert refused.value.type == "not_found_error"
        assert takes(client, "claude-haiku-5-5")
    with pytest.raises(ValueError, match="no model 'claude-haiku-4'"):
        FakeClaude(retired={"claude-haiku-4"})
