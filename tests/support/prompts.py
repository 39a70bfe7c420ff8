"""Drawn requests of all that a body of `/v1/messages` may hold: for bounds and for ceilings."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

Drawn = SearchStrategy[Any]

texts: Drawn = st.text(max_size=60)
"""Any text, lone surrogates too."""
scalars: Drawn = st.none() | st.booleans() | st.integers() | st.floats() | texts
values: Drawn = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
"""Any value that JSON can write."""
objects: Drawn = st.dictionaries(texts, values, max_size=4)


def typed(kind: str, /, optional: dict[str, Drawn] | None = None, **fields: Drawn) -> Drawn:
    """A dictionary with this `type`, all of *fields* and any of *optional*."""
    return st.fixed_dictionaries({"type": st.just(kind), **fields}, optional=optional or {})


_breakpoint: dict[str, Drawn] = {"cache_control": typed("ephemeral")}
_base64 = st.sampled_from(("", "iVBORw0KGgo=", "QUJD" * 999))
_named = typed("url", url=texts) | typed("file", file_id=texts)
text_blocks = typed("text", _breakpoint, text=texts)
images = typed(
    "image",
    _breakpoint,
    source=typed("base64", media_type=st.sampled_from(("image/png", "image/webp")), data=_base64) | _named,
)
documents = typed(
    "document",
    {"title": texts, "context": texts, "citations": st.fixed_dictionaries({"enabled": st.booleans()})},
    source=st.one_of(
        typed("text", media_type=st.just("text/plain"), data=texts),
        typed("base64", media_type=st.just("application/pdf"), data=_base64),
        typed("content", content=texts | st.lists(text_blocks, max_size=3)),
        _named,
    ),
)
_search_results = typed("search_result", source=texts, title=texts, content=st.lists(text_blocks, max_size=3))
_references = typed("tool_reference", tool_name=texts)
_results = typed(
    "tool_result",
    {"is_error": st.booleans()},
    tool_use_id=texts,
    content=texts
    | st.lists(st.one_of(text_blocks, images, documents, _search_results, _references), max_size=3),
)
_found = typed(
    "web_search_tool_result",
    tool_use_id=texts,
    content=typed("web_search_tool_result_error", error_code=texts)
    | st.lists(
        typed("web_search_result", {"page_age": texts}, url=texts, title=texts, encrypted_content=texts),
        max_size=3,
    ),
)
_fetched = typed(
    "web_fetch_tool_result",
    tool_use_id=texts,
    content=typed("web_fetch_result", url=texts, content=documents),
)
_files = st.lists(typed("code_execution_output", file_id=texts), max_size=2)
_ran = typed(
    "code_execution_tool_result",
    tool_use_id=texts,
    content=st.one_of(
        typed("code_execution_result", stdout=texts, stderr=texts, return_code=st.integers(), content=_files),
        typed("encrypted_code_execution_result", encrypted_stdout=texts, stderr=texts, content=_files),
    ),
)
_advised = typed(
    "advisor_tool_result",
    tool_use_id=texts,
    content=typed("advisor_result", text=texts) | typed("advisor_redacted_result", encrypted_content=texts),
)
blocks: Drawn = st.one_of(
    text_blocks,
    images,
    documents,
    _search_results,
    _results,
    _found,
    _fetched,
    _ran,
    _advised,
    typed("thinking", thinking=texts, signature=texts),
    typed("redacted_thinking", data=texts),
    typed("tool_use", id=texts, name=texts, input=objects),
    typed("server_tool_use", id=texts, name=texts, input=objects),
    typed(
        "tool_search_tool_result",
        content=typed("tool_search_tool_search_result", tool_references=st.lists(_references)),
    ),
    typed("compaction", {"encrypted_content": texts}, content=st.none() | texts),
    typed("container_upload", file_id=texts),
    typed("hologram", data=values),
)
"""Content blocks of every known type, and one of none."""
_server_tools = st.sampled_from(
    ("web_search_20260318", "web_fetch_20260318", "code_execution_20260521", "tool_search_tool_bm25_20251119")
).flatmap(lambda kind: typed(kind, {"max_uses": st.integers(1, 9)}, name=texts))
tools: Drawn = st.one_of(
    st.fixed_dictionaries(
        {"name": texts, "input_schema": objects},
        optional={
            "description": texts,
            "strict": st.booleans(),
            "allowed_callers": st.lists(st.sampled_from(("direct", "code_execution_20260521")), max_size=2),
        },
    ),
    _server_tools,
    typed("bash_20250124", name=st.just("bash")),
    typed("advisor_20260301", name=st.just("advisor"), model=st.just("claude-opus-5-5")),
    typed("mcp_toolset", mcp_server_name=texts),
)
"""Tool definitions: the caller's own, Anthropic's for the caller to run, and those that run at the API."""
messages: Drawn = st.fixed_dictionaries(
    {"role": st.sampled_from(("user", "assistant")), "content": texts | st.lists(blocks, max_size=4)}
)
bodies: Drawn = st.fixed_dictionaries(
    {
        "model": st.just("claude-haiku-5-5"),
        "max_tokens": st.integers(1, 4_096),
        "messages": st.lists(messages, min_size=1, max_size=4),
    },
    optional={
        "system": texts | st.lists(text_blocks, max_size=2),
        "tools": st.lists(tools, max_size=4),
        "output_config": st.fixed_dictionaries({"format": typed("json_schema", schema=objects)}),
        "thinking": typed("adaptive"),
    },
)
"""Requests: plain ones, and with anything of the above."""
parts: Drawn = st.tuples(blocks, tools, st.text("abc ", max_size=9))
"""A block, a tool definition and a piece of text to add to a request."""
