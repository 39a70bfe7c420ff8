"""Ceilings: never below what the answer can cost, refused where there is no bound."""

from __future__ import annotations

from decimal import Decimal

import pytest
from anthropic import BaseModel
from anthropic.types import Message
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from governor.errors import PolicyViolation, UnknownModel
from governor.pricing import PriceTable, Unbounded, Usage, ceiling, cost_nanos

TABLE = PriceTable.load()
NOW_MS = 1_795_219_200_000  # 2026-11-21
HELLO = [{"role": "user", "content": "hello"}]


def mtok(*parts: tuple[str, int]) -> Decimal:
    return sum((Decimal(rate) * tokens * 1000 for rate, tokens in parts), Decimal(0))


def ceiling_of(model: str = "claude-opus-5-5", tokens: int = 10_000, *, counted: bool = False, **body):
    whole = {"max_tokens": 1_000, "messages": HELLO, **body}
    return ceiling(TABLE, model, input_tokens=tokens, counted=counted, body=whole, at_ms=NOW_MS)


def test_bound_is_priced_as_it_is():
    """A local bound takes no margin: input and max_tokens at their rates."""
    got = ceiling_of()
    assert (got.input_tokens, got.max_tokens, got.tokens) == (10_000, 1_000, 11_000)
    assert mtok(("4", 10_000), ("20", 1_000)) == got.nanos


@pytest.mark.parametrize(("count", "bound"), [(0, 64), (100, 164), (3_200, 3_264), (10_001, 10_202)])
def test_count_takes_a_margin(count, bound):
    """A count is raised by 2 % rounded up, and by at least 64 tokens."""
    assert bound == ceiling_of(tokens=count, counted=True).input_tokens


@pytest.mark.parametrize("counted", [True, False])
def test_bound_stops_at_the_context_window(counted):
    """No request can have more input than the model's window, whatever was counted."""
    assert ceiling_of("claude-haiku-4-5", 10**9, counted=counted).input_tokens == 200_000


@pytest.mark.parametrize(
    ("body", "rate"),
    [
        ({}, "4"),
        ({"cache_control": {"type": "ephemeral"}}, "5"),
        ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, "8"),
        (
            {"system": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral", "ttl": "5m"}}]},
            "5",
        ),
        ({"tools": [{"name": "t", "input_schema": {}, "cache_control": {"ttl": "1h"}}]}, "8"),
        ({"cache_control": {"ttl": "a week"}}, "8"),
        ({"cache_control": None}, "4"),
    ],
)
def test_input_is_priced_at_the_dearest_cache_write_asked_for(body, rate):
    """A cache breakpoint anywhere in the body prices the prompt as written for its lifetime."""
    assert mtok((rate, 10_000), ("20", 1_000)) == ceiling_of(**body).nanos


class Part(BaseModel):
    """Any block, tool, message or setting as an object of the SDK."""


def part(**fields) -> Part:
    return Part.model_construct(None, **fields)


class Aliased(BaseModel):
    """A block whose breakpoint has another name in Python than in the request."""

    type: str
    text: str
    breakpoint: dict = Field(alias="cache_control")


HOUR = {"type": "ephemeral", "ttl": "1h"}
CACHED = part(type="text", text="x", cache_control=HOUR)
ANSWER = Message.model_construct(
    None, id="m", type="message", role="assistant", content=[CACHED], model="m", usage=None
)


@pytest.mark.parametrize(
    "body",
    [
        {"system": [CACHED]},
        {"system": (CACHED,)},
        {"messages": [{"role": "user", "content": [CACHED]}]},
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": [CACHED]}]}]},
        {"messages": [ANSWER]},
        {"messages": {"first": {"role": "user", "content": [CACHED]}}.values()},
        {"messages": iter([{"role": "user", "content": [CACHED]}])},
        {"messages": [{"role": "user", "content": map(dict, [{"cache_control": HOUR}])}]},
        {"tools": [part(name="t", input_schema={}, cache_control=part(type="ephemeral", ttl="1h"))]},
        {"system": [Aliased(type="text", text="x", cache_control=HOUR)]},
        {"cache_control": part(type="ephemeral", ttl="1h")},
        {"cache_control": object()},
    ],
)
def test_a_breakpoint_is_priced_however_it_is_written(body):
    """Objects of the SDK count as the mappings they are sent as; what cannot be read may ask for an hour."""
    assert mtok(("8", 10_000), ("20", 1_000)) == ceiling_of(**body).nanos


def test_objects_without_a_breakpoint_cost_no_more(tmp_path):
    """Objects, files and empty settings that ask for nothing are priced as plain input."""
    source = {"type": "base64", "media_type": "image/png", "data": tmp_path / "a.png"}
    blocks = [part(type="text", text="x"), {"type": "image", "source": source}]
    body = {"messages": [{"role": "user", "content": blocks}], "context_management": {}, "tools": []}
    assert ceiling_of(**body).nanos == ceiling_of().nanos
    assert mtok(("5", 10_000), ("20", 1_000)) == ceiling_of(cache_control={}).nanos


def test_long_prompt_step_follows_the_bound():
    """Haiku 5.5 pays the higher rates once the bound, with its margin, passes 100,000 tokens."""
    assert mtok(("0.10", 100_000), ("0.50", 1_000)) == ceiling_of("claude-haiku-5-5", 100_000).nanos
    assert mtok(("0.50", 100_001), ("2.50", 1_000)) == ceiling_of("claude-haiku-5-5", 100_001).nanos
    assert (
        mtok(("0.50", 101_000), ("2.50", 1_000)) < ceiling_of("claude-haiku-5-5", 99_999, counted=True).nanos
    )


def test_speed_and_region_asked_for_are_priced():
    """Fast mode doubles Opus 5.5 and `us` adds a tenth."""
    assert mtok(("8", 10_000), ("40", 1_000)) == ceiling_of(speed="fast").nanos
    assert mtok(("4.4", 10_000), ("22", 1_000)) == ceiling_of(inference_geo="us").nanos
    with pytest.raises(UnknownModel, match="fast mode"):
        ceiling_of("claude-sonnet-5-5", speed="fast")


@pytest.mark.parametrize(
    "body",
    [
        {"tools": [{"type": "web_search_20260318", "name": "web_search"}]},
        {"tools": [{"name": "mine", "input_schema": {}}, {"type": "code_execution_20260521", "name": "c"}]},
        {"tools": [{"type": "tool_search_tool_bm25", "name": "s"}]},
        {"tools": ["not a tool"]},
        {"mcp_servers": [{"type": "url", "url": "https://example.com", "name": "m"}]},
        {"fallbacks": [{"model": "claude-opus-5-5"}]},
        {"compaction": {"type": "summarize"}},
        {"context_management": {"edits": [{"type": "compact_20260112"}]}},
        {"context_management": part(edits=[part(type="compact_20260112")])},
        {"context_management": object()},
        {"tools": [part(type="web_search_20260318", name="web_search")]},
        {"tools": {"a": part(type="web_search_20260318", name="web_search")}.values()},
        {"tools": [Part]},
        {"speed": part(value="fast")},
        {"speed": "turbo"},
        {"inference_geo": part(value="us")},
        {"inference_geo": ["us"]},
        {"max_tokens": None},
        {"max_tokens": -1},
        {"max_tokens": True},
        {"max_tokens": 10.0},
    ],
)
def test_what_has_no_bound_is_refused(body):
    """Server tools, MCP, fallbacks, compaction, odd speeds and a missing max_tokens are violations."""
    with pytest.raises(Unbounded) as caught:
        ceiling_of(**body)
    assert isinstance(caught.value, PolicyViolation)


def test_client_tools_have_a_bound():
    """Tools of one's own, and Anthropic's client tools, are priced like any input."""
    tools = [
        {"name": "mine", "input_schema": {}},
        {"type": "custom", "name": "mine2", "input_schema": {}},
        {"type": "bash_20250124", "name": "bash"},
        {"type": "text_editor_20250728", "name": "e"},
        {"type": "memory_20250818", "name": "memory"},
        {"type": "computer_20251124", "name": "c"},
    ]
    clear = {"edits": [{"type": "clear_tool_uses_20250919"}]}
    assert ceiling_of().nanos == ceiling_of(tools=tools, context_management=clear).nanos
    objects = {"tools": [part(**tool) for tool in tools], "context_management": part(**clear)}
    assert ceiling_of().nanos == ceiling_of(**objects).nanos


def test_zero_max_tokens_is_a_cache_warming():
    """max_tokens 0 is a request that bills input only."""
    assert mtok(("4", 10_000)) == ceiling_of(max_tokens=0).nanos


def test_negative_count_is_refused():
    """A negative input is a programming error, named."""
    with pytest.raises(ValueError, match="input_tokens"):
        ceiling_of(tokens=-1)


@st.composite
def requests_and_usages(draw):
    """A model, a request body, an input bound, and any usage within what was asked for."""
    model = draw(st.sampled_from(TABLE.models()))
    price = TABLE.price_at(model.id, NOW_MS)
    bound = draw(st.integers(0, model.context_tokens))
    body = {"messages": HELLO, "max_tokens": draw(st.integers(0, model.max_output_tokens))}
    lifetime = draw(st.sampled_from([None, "5m", "1h"]))
    if lifetime:
        body["cache_control"] = {"type": "ephemeral", "ttl": lifetime}
    if price.fast and draw(st.booleans()):
        body["speed"] = "fast"
    if price.us_percent and draw(st.booleans()):
        body["inference_geo"] = "us"
    prompt = draw(st.integers(0, bound))
    cut = sorted(draw(st.tuples(*[st.integers(0, prompt)] * 2)))
    written = cut[0] if lifetime else 0
    used = Usage(
        input_tokens=prompt - cut[1],
        output_tokens=draw(st.integers(0, body["max_tokens"])),
        cache_write_5m_tokens=written if lifetime == "5m" else 0,
        cache_write_1h_tokens=written if lifetime == "1h" else 0,
        cache_read_tokens=cut[1] - written,
        fast="speed" in body,
        batch=draw(st.booleans()) and "speed" not in body and price.batch_percent is not None,
        geo=body.get("inference_geo"),
    )
    return model.id, bound, body, used


@given(case=requests_and_usages(), counted=st.booleans())
def test_no_answer_costs_more_than_its_ceiling(case, counted):
    """Any usage within the bound, max_tokens and what was asked for costs at most the ceiling."""
    model, bound, body, used = case
    most = ceiling(TABLE, model, input_tokens=bound, counted=counted, body=body, at_ms=NOW_MS)
    assert cost_nanos(TABLE, model, used, NOW_MS) <= most.nanos
    assert used.total_tokens <= most.tokens
