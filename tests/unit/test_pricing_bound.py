"""The local bound on input tokens, and what counting would accept."""

from __future__ import annotations

import json
import unicodedata
from collections import OrderedDict
from datetime import date
from enum import Enum
from pathlib import Path

import pytest
from anthropic.types import TextBlock
from hypothesis import given
from hypothesis import strategies as st
from support.governed import NOON_MS
from support.prompts import bodies, parts, values

from governor.pricing import PriceTable, apart, ceiling, countable, earlier_thinking, local_bound
from governor.testing.fake_api import count_tokens


class Colour(str, Enum):  # noqa: UP042 - such as callers have
    RED = "red"


WINDOW = 1_000_000
PIXEL = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}
BY_URL = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
BY_FILE = {"type": "document", "source": {"type": "file", "file_id": "file_1"}}
PDF_BY_URL = {"type": "document", "source": {"type": "url", "url": "https://example.com/a.pdf"}}
PLAIN = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x" * 900}}
ENDLESS: dict = {}
ENDLESS["again"] = [ENDLESS, ENDLESS]


def fetched(document: dict) -> dict:
    page = {"type": "web_fetch_result", "url": "https://example.com", "content": document}
    return {"type": "web_fetch_tool_result", "tool_use_id": "srvtoolu_1", "content": page}


def body_of(*blocks, **more):
    return {
        "model": "claude-haiku-5-5",
        "max_tokens": 10,
        "messages": [{"role": "user", "content": list(blocks)}],
        **more,
    }


def text(value: str) -> dict:
    return {"type": "text", "text": value}


@given(value=st.text(max_size=200))
def test_bound_covers_every_byte(value):
    """The bound is at least the UTF-8 bytes of the text, normalised or not, and not far above for ASCII."""
    normal = unicodedata.normalize("NFKC", value)
    for body in (
        body_of(text(value)),
        body_of(system=value),
        {"messages": [{"role": "user", "content": value}]},
    ):
        got = local_bound(body, WINDOW)
        assert got >= max(len(form.encode("utf-8", "surrogatepass")) for form in (value, normal))
        assert not value.isascii() or got <= len(value) + 400


def test_lone_surrogates_do_not_break_the_bound():
    """Text that is no valid Unicode still has a bound."""
    assert 0 < local_bound(body_of(text("\ud800")), WINDOW) < 400


def test_bound_grows_with_every_part():
    """A system prompt, a further message, a tool, an output format and an image each raise the bound."""
    bare = local_bound(body_of(text("hi")), WINDOW)
    tool = {"name": "t", "description": "d" * 100, "input_schema": {"type": "object"}}
    parts = [
        {"system": "be brief"},
        {"tools": [tool]},
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
    ]
    for part in parts:
        assert local_bound(body_of(text("hi"), **part), WINDOW) >= bare + len(json.dumps(part)) // 2
    assert local_bound(body_of(text("hi"), PIXEL), WINDOW) >= bare + 8_464
    assert (
        local_bound(body_of(text("hi"), tools=[{"type": "bash_20250124", "name": "bash"}]), WINDOW)
        > bare + 2_000
    )


def test_conversations_with_tools_stay_bounded():
    """Tool uses, tool results, thinking and text documents are measured, nested content too."""
    long = "x" * 5_000
    blocks = [
        {"type": "thinking", "thinking": long, "signature": long},
        {"type": "redacted_thinking", "data": long},
        {"type": "tool_use", "id": "1", "name": "t", "input": {"q": long}},
        {"type": "tool_result", "tool_use_id": "1", "content": long},
        {"type": "tool_result", "tool_use_id": "1", "content": [text(long)]},
        {
            "type": "document",
            "title": long,
            "source": {"type": "text", "media_type": "text/plain", "data": long},
        },
        {"type": "document", "source": {"type": "content", "content": [text(long)]}},
        {"type": "search_result", "source": "s", "title": "t", "content": [text(long)]},
    ]
    assert 50_000 <= local_bound(body_of(*blocks), WINDOW) <= 52_000


def test_sdk_objects_in_content_are_read():
    """An answer's own content blocks may be sent back as they are."""
    block = TextBlock(type="text", text="x" * 500, citations=None)
    assert 500 <= local_bound(body_of(block), WINDOW) < 1_000
    assert (countable(body_of(block)) or {})["messages"][0]["content"] == [block]


@pytest.mark.parametrize(
    "body",
    [
        body_of(PDF),
        body_of(PDF_BY_URL),
        body_of(BY_FILE),
        body_of({"type": "tool_result", "tool_use_id": "1", "content": [PDF_BY_URL]}),
        body_of({"type": "document", "source": {"type": "content", "content": [BY_FILE]}}),
        body_of(
            {"type": "document", "citations": {"enabled": True}, "source": {"type": "text", "data": "x"}}
        ),
        body_of({"type": "hologram", "data": "x"}),
        body_of(42),
        body_of(tools=[{"type": "hologram_20270101", "name": "hologram"}]),
        body_of(tools=[{"type": "mcp_toolset", "mcp_server_name": "x"}]),
        body_of(tools=[{"type": ["custom"], "name": "t"}]),
        body_of(tools=[7]),
        body_of(container={"skills": [{"type": "anthropic", "skill_id": "pptx"}]}),
        body_of(container=7),
        body_of(holograms=True),
        body_of({"type": ["text"], "text": "x"}),
        body_of(fetched(PDF)),
        body_of(fetched({**PLAIN, "citations": {"enabled": True}})),
        body_of({"type": "text_editor_code_execution_view_result", "file_type": "image", "content": "iVBO"}),
        body_of({"type": "compaction", "content": "so far", "tool_changes": [{"type": "tool_addition"}]}),
        body_of({"type": "tool_addition", "tool": {"type": "tool_reference", "name": "t"}}),
        body_of({"type": "image", "source": {"type": "hologram"}}),
        body_of({"type": "tool_use", "id": "1", "name": "t", "input": ENDLESS}),
        body_of(tools=[{"type": "computer_toolset_20260801"}]),
        body_of(mcp_servers=[{"url": "https://example.com"}]),
        body_of(thread={"type": "continue", "previous_message_id": "msg_1"}),
        {"messages": [7]},
        body_of(text("x" * 2_000_000)),
        body_of({"type": "document", "citations": True, "source": {"type": "text", "data": "x"}}),
        body_of({"type": "document", "source": {"type": "text", "data": Path("/etc/hosts")}}),
        body_of({"type": "document", "source": object()}),
        body_of({"type": "tool_use", "id": "1", "name": "t", "input": {"rows": iter(["x" * 99])}}),
        body_of(tools=[{"name": "t", "input_schema": {"enum": map(str, range(9_999))}}]),
        body_of(text("hi"), output_config=object()),
        body_of(TextBlock),
    ],
)
def test_what_the_body_does_not_bound_takes_the_window(body):
    """PDFs, URLs, files, citations, unknown blocks, server tools, threads, huge texts: the whole window."""
    assert local_bound(body, WINDOW) == WINDOW


def test_every_list_the_sdk_sends_is_read():
    """Views, sets and objects inside a tool, and views of blocks, are measured as the lists they become."""
    view = dict.fromkeys(["x" * 500]).keys()
    block = TextBlock(type="text", text="x" * 500)
    for part in (
        body_of({"type": "tool_use", "id": "1", "name": "t", "input": {"rows": view}}),
        body_of({"type": "tool_use", "id": "1", "name": "t", "input": {"rows": {"x" * 500}}}),
        body_of({"type": "tool_use", "id": "1", "name": "t", "input": {"block": block, "on": date.max}}),
        {"messages": [{"role": "user", "content": {"a": block}.values()}]},
    ):
        assert 500 <= local_bound(part, WINDOW) < 1_100
    assert local_bound(body_of(text("hi"), tools={"a": {"name": "t"}}.values()), WINDOW) < 2_000


@given(body=bodies)
def test_bound_is_never_below_a_count(body):
    """Whatever a request holds, the fake API counts at most the bound, with either of its tokenizers."""
    bound = local_bound(body, 10**9)
    assert all(count_tokens(body, tokenizer) <= bound for tokenizer in (2024, 2026))


@given(body=bodies, part=parts)
def test_adding_anything_never_lowers_the_bound(body, part):
    """A further message, block, tool or parameter leaves the bound as it is or raises it."""
    block, tool, text_more = part
    first, *rest = body["messages"]
    content = first["content"]
    longer = content + text_more if isinstance(content, str) else [*content, block]
    for more in (
        {**body, "messages": [*body["messages"], {"role": "user", "content": [block]}]},
        {**body, "messages": [{**first, "content": longer}, *rest]},
        {**body, "tools": [*body.get("tools", []), tool]},
        {**body, "tool_choice": {"type": "auto"}},
        {**body, "container": {"skills": [{"skill_id": "pptx"}]}},
    ):
        assert local_bound(more, WINDOW) >= local_bound(body, WINDOW)


@given(value=values)
def test_json_is_covered_in_its_longest_form(value):
    """A tool's input weighs at least its JSON indented by two, escaped or not, and it as NFKC."""
    use = {"type": "tool_use", "id": "1", "name": "t"}
    weight = local_bound(body_of({**use, "input": [value]}), 10**9) - local_bound(body_of(use), 10**9)
    plain = json.dumps([value], indent=2, ensure_ascii=False)
    assert weight >= len(json.dumps([value], indent=2))
    for form in (plain, unicodedata.normalize("NFKC", plain)):
        assert weight >= len(form.encode("utf-8", "surrogatepass"))


def test_history_of_server_tools_is_measured():
    """What server tools did earlier weighs what the body shows of it: queries, pages, output, advice."""
    long = "x" * 5_000
    found = {"type": "web_search_result", "url": "u", "title": "t", "encrypted_content": long}
    ran = {"type": "code_execution_result", "stdout": long, "stderr": "", "return_code": 0, "content": []}
    kept = {"type": "bash_code_execution_output", "file_id": "file_1"}
    shell = {"type": "bash_code_execution_result", "stdout": long, "return_code": 0, "content": [kept]}
    view = {"type": "text_editor_code_execution_view_result", "file_type": "text", "content": long}
    blocks = [
        {"type": "server_tool_use", "id": "1", "name": "web_search", "input": {"query": long}},
        {"type": "web_search_tool_result", "tool_use_id": "1", "content": [found]},
        fetched({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": long}}),
        {"type": "code_execution_tool_result", "tool_use_id": "1", "content": ran},
        {"type": "bash_code_execution_tool_result", "tool_use_id": "1", "content": shell},
        {"type": "text_editor_code_execution_tool_result", "tool_use_id": "1", "content": view},
        {"type": "advisor_tool_result", "content": {"type": "advisor_result", "text": long}},
        {"type": "compaction", "content": long},
    ]
    assert 40_000 <= local_bound(body_of(*blocks), WINDOW) <= 44_500
    assert local_bound(body_of({**blocks[1], "content": TextBlock(type="text", text="x")}), WINDOW) < 1_000


def test_definitions_of_server_tools_have_an_allowance():
    """Search, fetch, code execution, tool search and the advisor weigh their JSON and 4,096 tokens each."""
    bare = local_bound(body_of(text("hi"), tools=[{"name": "t"}]), WINDOW)
    for kind in ("web_search_20260318", "web_fetch_20260318", "code_execution_20260521", "advisor_20260301"):
        got = local_bound(body_of(text("hi"), tools=[{"name": "t"}, {"type": kind, "name": "x"}]), WINDOW)
        assert bare + 4_096 < got < bare + 4_300


def test_images_are_bounded_wherever_they_are():
    """An image named by URL or file id is scaled like one in the body, and weighs as much."""
    by_file = {"type": "image", "source": {"type": "file", "file_id": "file_1"}}
    for image in (PIXEL, BY_URL, by_file):
        assert 8_464 <= local_bound(body_of(image), WINDOW) < 9_000


def test_references_weigh_a_definition_each():
    """A tool that is shown again by reference weighs its definition again, the largest if in doubt."""
    tools = [{"name": "small"}, {"name": "large", "description": "d" * 3_000, "defer_loading": True}]
    found = {
        "type": "tool_search_tool_search_result",
        "tool_references": [{"type": "tool_reference", "tool_name": "small"}] * 2,
    }
    result = {"type": "tool_search_tool_result", "tool_use_id": "1", "content": found}
    without = local_bound(body_of(tools=tools), WINDOW)
    assert without + 6_000 < local_bound(body_of(result, tools=tools), WINDOW) < without + 7_000


def test_definitions_weigh_once_for_each_caller():
    """A tool that code may call too is described to the model once more."""
    tool = {"name": "t", "description": "d" * 3_000}
    both = {**tool, "allowed_callers": ["direct", "code_execution_20260521"]}
    once = local_bound(body_of(tools=[tool]), WINDOW)
    assert once + 3_000 < local_bound(body_of(tools=[both]), WINDOW) < once + 3_500


def test_keys_that_json_rewrites_are_measured():
    """Numbers as keys, enum members and NaN weigh what they are written as."""
    odd = {1: "x" * 200, 2.5: Colour.RED, "n": float("-inf"), "deep": OrderedDict(a=("x" * 200,))}
    use = {"type": "tool_use", "id": "1", "name": "t"}
    weight = local_bound(body_of({**use, "input": odd}), WINDOW) - local_bound(body_of(use), WINDOW)
    assert len(json.dumps(odd, indent=2)) <= weight < 700


def test_long_prompts_stay_near_their_size():
    """400 KB in 200 messages with 20 tools are bounded by little more than their bytes."""
    tool = {"name": "t", "description": "d" * 500, "input_schema": {"type": "object", "properties": {}}}
    turns = [{"role": "user", "content": [text("x" * 2_000)]}] * 200
    assert 400_000 <= local_bound({"messages": turns, "tools": [tool] * 20}, WINDOW) < 440_000


def test_countable_keeps_what_counting_accepts():
    """Only keys of the count_tokens endpoint are kept, and `None`s are dropped."""
    body = body_of(PIXEL, PDF, system="s", tools=None, metadata={"user_id": "u"}, speed="fast", stream=True)
    assert countable(body) == {
        "model": "claude-haiku-5-5",
        "messages": body["messages"],
        "system": "s",
        "speed": "fast",
    }
    assert countable(body_of(text("hi"), thread={"type": "create"})) is not None


@pytest.mark.parametrize(
    "body",
    [
        body_of(BY_URL),
        body_of({"type": "tool_result", "tool_use_id": "1", "content": [BY_FILE]}),
        body_of(tools=[{"type": "web_fetch_20260318", "name": "web_fetch"}]),
        body_of(mcp_servers=[{"url": "https://example.com"}]),
        body_of(thread={"type": "continue", "previous_message_id": "msg_1"}),
        {"model": "claude-haiku-5-5"},
    ],
)
def test_countable_is_none_where_the_api_would_refuse(body):
    """Server tools, MCP, sources by URL or file, continued threads and a body without messages."""
    assert countable(body) is None


def test_the_advisor_can_be_counted():
    """Of all tools that run at the API, counting accepts the advisor alone."""
    advisor = {"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-5-5"}
    search = {"type": "web_search_20260318", "name": "web_search"}
    assert (countable(body_of(text("hi"), tools=[advisor])) or {})["tools"] == [advisor]
    assert countable(body_of(text("hi"), tools=[advisor, search])) is None


def test_tool_input_that_looks_like_a_source_is_data():
    """A tool's own input may say `url` without making the request uncountable."""
    use = {"type": "tool_use", "id": "1", "name": "get", "input": {"source": {"type": "url", "url": "u"}}}
    assert countable(body_of(use)) is not None
    assert local_bound(body_of(use), WINDOW) < 1_000


ADVISOR = {"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-5-5"}
SEARCH = {"type": "web_search_20260318", "name": "web_search", "max_uses": 2}
OWN_TOOL = {"name": "t", "input_schema": {"type": "object"}}


@pytest.mark.parametrize(
    ("tools", "kept"),
    [
        ([SEARCH], None),
        ([SEARCH, OWN_TOOL], [OWN_TOOL]),
        ([OWN_TOOL, SEARCH, ADVISOR], [OWN_TOOL, ADVISOR]),
        ([SEARCH, SEARCH, ADVISOR], [ADVISOR]),
    ],
)
def test_tools_that_cannot_be_counted_are_taken_apart(tools, kept):
    """The rest can be counted, `tool_choice` leaves with the last tool, and the request stays as it was."""
    body = body_of(text("hi"), tools=tools, tool_choice={"type": "auto"}, system="s")
    rest, tokens = apart(body)
    assert rest.get("tools") == kept
    assert ("tool_choice" in rest) == (kept is not None)
    assert countable(rest) is not None
    same = {"model", "max_tokens", "messages", "system"}
    assert {key: rest[key] for key in same} == {key: body[key] for key in same}
    assert body["tools"] == tools
    count = tools.count(SEARCH)
    assert count * (4_096 + len(json.dumps(SEARCH))) <= tokens - 1_024 <= count * 4_300


@pytest.mark.parametrize("tools", [None, [], [OWN_TOOL], [ADVISOR], [OWN_TOOL, ADVISOR]])
def test_what_can_be_counted_is_left_whole(tools):
    """Without a tool that counting refuses there is nothing to take apart, and nothing to add."""
    body = body_of(text("hi"), tools=tools, tool_choice={"type": "auto"})
    assert apart(body) == (body, 0)


@given(body=bodies, definitions=st.lists(st.sampled_from([SEARCH, OWN_TOOL, ADVISOR]), max_size=4))
def test_the_two_parts_bound_the_whole(body, definitions):
    """A count of the rest and the bound of what was taken out are at least a count of the request."""
    whole = {**body, "tools": definitions}
    rest, tokens = apart(whole)
    for tokenizer in (2024, 2026):
        assert count_tokens(rest, tokenizer) + tokens >= count_tokens(whole, tokenizer)


@pytest.mark.parametrize(
    ("blocks", "found"),
    [
        ([{"type": "thinking", "thinking": "hm", "signature": "s"}], True),
        ([text("hi"), {"type": "redacted_thinking", "data": "x"}], True),
        ([{"type": "tool_result", "tool_use_id": "1", "content": [text("thinking")]}], False),
        ([text("thinking")], False),
    ],
)
def test_thinking_of_earlier_turns_is_seen(blocks, found):
    """Blocks of thinking are found wherever they are; the word alone is none."""
    assert earlier_thinking(body_of(*blocks)) is found


@pytest.mark.parametrize(("tokens", "margin"), [(0, 64), (100, 64), (3_200, 64), (10_001, 201)])
@pytest.mark.parametrize("tools", [[], [OWN_TOOL]])
def test_a_count_with_tools_has_512_tokens_more_of_margin(tools, tokens, margin):
    """2 %, at least 64 tokens, and 512 more with tools; a bound is taken as it is."""
    body = body_of(text("hi"), tools=tools)
    prices, model = PriceTable.load(), "claude-sonnet-5-5"
    counted, bound = (
        ceiling(prices, model, input_tokens=tokens, counted=how, body=body, at_ms=NOON_MS)
        for how in (True, False)
    )
    assert counted.input_tokens == tokens + margin + (512 if tools else 0)
    assert bound.input_tokens == tokens
