"""Ceilings: never below what the answer can cost, refused where there is no bound."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from anthropic import BaseModel
from anthropic.types import Message
from hypothesis import assume, event, given
from hypothesis import strategies as st
from pydantic import Field

from governor.errors import PolicyViolation, UnknownModel
from governor.pricing import (
    Bounds,
    PriceTable,
    Unbounded,
    bounded,
    ceiling,
    cost_nanos,
    countable,
    local_bound,
    read_usage,
)
from governor.testing import Reply, count_tokens
from governor.testing.fake_api.answers import compose
from governor.testing.fake_api.catalogue import shipped_catalogue

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
        {"context_management": {"edits": [{"type": "rewrite_20270101"}]}},
        {"context_management": part(edits=[part(type="rewrite_20270101")])},
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
    """Endless server tools, MCP, fallbacks, unknown edits, odd speeds and no max_tokens are violations."""
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


@pytest.mark.parametrize(
    ("body", "summaries"),
    [
        ({"compaction": {"type": "summarize"}}, 1),
        ({"context_management": {"edits": [{"type": "compact_20260112"}]}}, 1),
        ({"context_management": part(edits=[part(type="compact_20260112")])}, 1),
        ({"context_management": {"edits": [{"type": "clear_thinking_20251015"}]}}, 0),
    ],
)
def test_a_compaction_is_one_more_pass(body, summaries):
    """A summary reads the whole prompt once more, and may put out all that the model can."""
    assert (
        mtok(("4", 10_000 * (1 + summaries)), ("20", 1_000 + 128_000 * summaries)) == ceiling_of(**body).nanos
    )


def test_a_compaction_may_come_before_every_pass_of_a_loop():
    """Without a pause each pass of a loop may be preceded by a summary; with one, the loop ends there."""
    tools = [{"type": "web_fetch_20260318", "name": "f", "max_uses": 2}]
    plain = ceiling_of(tools=tools).tokens
    largest = 10_000 + 1_000 + 256 + 2 * 25_000
    for pause, summaries in ((False, 4), (True, 1)):
        edit = {"type": "compact_20260112", "pause_after_compaction": pause}
        got = ceiling_of(tools=tools, context_management={"edits": [edit]})
        assert got.tokens == plain + summaries * (largest + 128_000)


def test_the_workspaces_region_is_priced_where_a_request_does_not_say():
    """The default region reaches models that have one; a request's own word wins over it."""
    us = Bounds(geo="us")
    whole = {"max_tokens": 1_000, "messages": HELLO}

    def nanos(model, **more):
        body = {**whole, **more}
        return ceiling(
            TABLE, model, input_tokens=10_000, counted=False, body=body, at_ms=NOW_MS, bounds=us
        ).nanos

    assert nanos("claude-opus-5-5") == mtok(("4.4", 10_000), ("22", 1_000))
    assert nanos("claude-opus-5-5", inference_geo="global") == mtok(("4", 10_000), ("20", 1_000))
    assert nanos("claude-haiku-4-5") == mtok(("1", 10_000), ("5", 1_000))


@pytest.mark.parametrize(
    ("name", "endpoint", "percent"),
    [
        ("global.anthropic.claude-opus-5-5", "", 100),
        ("anthropic.claude-opus-5-5", "", 110),
        ("eu.anthropic.claude-opus-5-5", "", 110),
        ("us-gov.anthropic.claude-opus-5-5", "", 120),
        ("claude-opus-5-5@default", "global", 100),
        ("claude-opus-5-5@default", "regional", 110),
    ],
)
def test_a_clouds_endpoint_is_priced_by_the_name_or_by_the_policy(name, endpoint, percent):
    """A Bedrock name tells its endpoint; a name of Vertex AI takes the policy's, whatever region is asked."""
    body = {"max_tokens": 1_000, "messages": HELLO, "inference_geo": "us"}
    bounds = Bounds(endpoint=endpoint, geo="us")
    got = ceiling(TABLE, name, input_tokens=10_000, counted=False, body=body, at_ms=NOW_MS, bounds=bounds)
    assert got.nanos == mtok(("4", 100 * percent), ("20", 10 * percent))


def test_a_name_of_vertex_ai_without_an_endpoint_is_refused():
    """What does not tell where it is served has no price until the policy says."""
    with pytest.raises(UnknownModel, match=r"workspace: \{endpoint: global\}"):
        ceiling_of("claude-opus-5-5@default")


@given(
    model=st.sampled_from(TABLE.models()),
    prompt=st.integers(0, 300_000),
    output=st.integers(0, 60_000),
    geo=st.sampled_from([None, "us"]),
)
def test_a_counted_ceiling_is_close(model, prompt, output, geo):
    """Where a plain text uses all its max_tokens, its counted ceiling is at most 1.25 x its cost.

    This needs a prompt of 256 tokens or an output of 52 (each costs as much as five of input): below that,
    the margin of 64 tokens is more than a quarter of what there is. And it needs a count that is not within
    its margin of a price step, where the ceiling has the price above the step.
    """
    price = TABLE.price_at(model.id, NOW_MS)
    assume(prompt >= 256 or output >= 52)
    assume(prompt <= model.context_tokens and output <= model.max_output_tokens)
    body = {"max_tokens": output, "messages": HELLO}
    if geo and price.us_percent:
        body["inference_geo"] = geo
    most = ceiling(TABLE, model.id, input_tokens=prompt, counted=True, body=body, at_ms=NOW_MS)
    assume(price.step_tokens is None or not prompt <= price.step_tokens < most.input_tokens)
    raw = {"input_tokens": prompt, "output_tokens": output, "inference_geo": body.get("inference_geo")}
    assert 4 * most.nanos <= 5 * cost_nanos(TABLE, model.id, read_usage(raw), NOW_MS)


# Against the fake API's own loop and bill.

CATALOGUE = shipped_catalogue()
SERVER_TOOLS = {
    "searches": {"type": "web_search_20260318", "name": "web_search"},
    "fetches": {"type": "web_fetch_20260318", "name": "web_fetch"},
    "tool_searches": {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"},
}
"""By the field of `Reply` that uses it."""


@st.composite
def loops(draw):
    """A model's name, a body with some server tools, what the policy adds, and a reply that uses them."""
    served = [model for model in TABLE.models() if model.lifecycle != "retired"]
    model = draw(st.sampled_from(served))
    name = draw(st.sampled_from([model.id, *(f"us.{cloud}" for cloud in model.bedrock)]))
    uses = draw(st.integers(1, 4))
    bounds = Bounds(
        geo=draw(st.sampled_from([None, "us"])),
        tool_result_tokens=draw(st.integers(1, 30_000)),
        tool_uses=uses,
        strict=draw(st.booleans()),
    )
    kinds = draw(st.sets(st.sampled_from(sorted(SERVER_TOOLS))))
    body = bounded(
        {
            "model": name,
            "max_tokens": draw(st.integers(0, 400)),
            "messages": [
                {"role": "user", "content": draw(st.text(max_size=40)) * draw(st.integers(0, 2000))}
            ],
            "tools": [SERVER_TOOLS[kind] for kind in sorted(kinds)],
        },
        bounds,
    )
    # What takes `max_uses` fails beyond it; the others may run as often as the policy counts.
    beyond = {kind: 0 if kind == "tool_searches" else 3 for kind in kinds}
    wanted = {kind: draw(st.integers(0, uses + beyond[kind])) for kind in sorted(kinds)}
    largest = model.context_tokens if bounds.strict else bounds.tool_result_tokens
    size = draw(st.one_of(st.just(largest), st.integers(0, largest)))
    return name, body, bounds, Reply(tool_result_tokens=size, **wanted)


@given(case=loops())
def test_the_fake_apis_bill_is_below_the_ceiling(case):
    """Whatever the fake API's loop does with a request within its bounds is billed at most the ceiling.

    The prompt is counted where the API would count it, else bounded; the bill shares no arithmetic with the
    ceiling, nor with the cost, to which it is equal.
    """
    name, body, bounds, reply = case
    model, price = TABLE.model(name), TABLE.price_at(name, NOW_MS)
    prompt = count_tokens(body, model.tokenizer)
    assume(prompt <= model.context_tokens)
    counted = countable(body) is not None
    known = prompt if counted else local_bound(body, model.context_tokens)
    most = ceiling(TABLE, name, input_tokens=known, counted=counted, body=body, at_ms=NOW_MS, bounds=bounds)
    in_usa = bounds.geo == "us" and price.us_percent and TABLE.endpoint(name) == ""
    answer = compose(
        reply,
        body,
        "msg_0",
        input_tokens=prompt,
        context_tokens=model.context_tokens,
        inference_geo="us" if in_usa else "not_available",
    )
    billed = math.ceil(CATALOGUE.charge(name, answer.usage, NOW_MS, stop_reason=answer.stop_reason))
    used = read_usage(answer.usage)
    event(f"passes: {len(answer.passes)}")
    assert cost_nanos(TABLE, name, used, NOW_MS) == billed <= most.nanos
    assert used.total_tokens <= most.tokens
