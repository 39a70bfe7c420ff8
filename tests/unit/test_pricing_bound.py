"""The local bound on input tokens, and what counting would accept."""

from __future__ import annotations

import json
import unicodedata
from datetime import date
from pathlib import Path

import pytest
from anthropic.types import TextBlock
from hypothesis import given
from hypothesis import strategies as st

from governor.pricing import countable, local_bound

WINDOW = 1_000_000
PIXEL = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}
BY_URL = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
BY_FILE = {"type": "document", "source": {"type": "file", "file_id": "file_1"}}


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
    assert countable(body_of(block))["messages"][0]["content"] == [block]


@pytest.mark.parametrize(
    "body",
    [
        body_of(PDF),
        body_of(BY_URL),
        body_of(BY_FILE),
        body_of({"type": "tool_result", "tool_use_id": "1", "content": [BY_URL]}),
        body_of({"type": "document", "source": {"type": "content", "content": [BY_URL]}}),
        body_of(
            {"type": "document", "citations": {"enabled": True}, "source": {"type": "text", "data": "x"}}
        ),
        body_of({"type": "hologram", "data": "x"}),
        body_of(42),
        body_of(tools=[{"type": "web_search_20260318", "name": "web_search"}]),
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
        assert 500 <= local_bound(part, WINDOW) < 1_000
    assert local_bound(body_of(text("hi"), tools={"a": {"name": "t"}}.values()), WINDOW) < 2_000


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


def test_tool_input_that_looks_like_a_source_is_data():
    """A tool's own input may say `url` without making the request uncountable."""
    use = {"type": "tool_use", "id": "1", "name": "get", "input": {"source": {"type": "url", "url": "u"}}}
    assert countable(body_of(use)) is not None
    assert local_bound(body_of(use), WINDOW) < 1_000
