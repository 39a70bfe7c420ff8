"""How many input tokens can a request have? What counting accepts, and a local bound where it does not."""

from __future__ import annotations

import datetime as dt
import json
import unicodedata
from collections.abc import Iterator, Mapping, MappingView, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

_ANY = 1 << 60
"""More tokens than any context window: for what cannot be bounded from the body alone."""
_REQUEST_TOKENS = 256
_MESSAGE_TOKENS = 16
_BLOCK_TOKENS = 16
_TOOL_TOKENS = 64
_TOOL_PROMPT_TOKENS = 1_024
_CLIENT_TOOL_TOKENS = 2_048
_FORMAT_TOKENS = 1_024
_IMAGE_TOKENS = 92 * 92

_COUNT_KEYS = (
    "messages",
    "model",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "speed",
    "cache_control",
)
_CLIENT_TOOLS = ("bash_", "text_editor_", "computer_", "memory_", "browser_")
_MEASURED_BLOCKS = frozenset(
    {
        "text",
        "image",
        "document",
        "search_result",
        "tool_use",
        "tool_result",
        "thinking",
        "redacted_thinking",
    }
)


def local_bound(body: Mapping[str, Any], context_tokens: int) -> int:
    """An upper bound on the input tokens of a request, from its body alone.

    For when counting is impossible (`countable` is `None`, the endpoint is down) or pointless. It rests on:

    - A byte-level tokenizer never makes more tokens than the text has UTF-8 bytes. The larger of the text as
      it is and its NFKC form is taken, for tokenizers that normalise first. Encrypted thinking is taken to
      stand for no more tokens than it has characters.
    - Tool definitions and tool inputs are measured as JSON indented by two with ASCII escapes, the longest
      form JSON writers usually give.
    - What the API adds is covered by an allowance: 256 tokens a request, 16 a message and a content block,
      64 a tool definition, 1,024 for the system prompt of tool use (about 350 are documented), 2,048 for each
      tool whose definition Anthropic supplies (at most some 1,200 are documented), 1,024 for a JSON output
      format.
    - A base64 image is scaled to at most 2,576 pixels a side and billed one token per 28 x 28 patch: 8,464.
    - All else has no such bound and takes the whole context window: PDFs, sources named by URL or file id,
      documents with citations, blocks of server tools, toolsets, MCP servers, a continued thread, and any
      type this version does not know.

    Args:
        body: The request as sent to `/v1/messages`; content may also hold the SDK's own block objects.
        context_tokens: The model's context window, more than which no request can have.

    Returns:
        Tokens, at most *context_tokens*.
    """
    if continues_thread(body) or body.get("mcp_servers"):
        return context_tokens
    bound = _REQUEST_TOKENS + _tools_tokens(body) + _format_tokens(body)
    bound += _MESSAGE_TOKENS * len(as_items(body.get("messages")))
    bound += sum(_block_tokens(block) for block in _blocks(body))
    return min(bound, context_tokens)


def countable(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """The part of a request that the count_tokens endpoint accepts, or `None` where it would refuse.

    It refuses server tools, MCP servers, and images or documents named by URL or file id; a continued
    thread it would count without the turns the server holds. All as documented for API version 2026-10-21.

    Args:
        body: The request as sent to `/v1/messages`.

    Returns:
        A new dictionary for `client.messages.count_tokens(**it)`; values are shared with *body*.
    """
    if continues_thread(body) or body.get("mcp_servers") or body.get("messages") is None:
        return None
    if any(is_server_tool(tool) for tool in as_items(body.get("tools"))):
        return None
    for block in _blocks(body):
        source = as_mapping((block or {}).get("source"))
        if source is not None and source.get("type") in ("url", "file"):
            return None
    return {key: body[key] for key in _COUNT_KEYS if body.get(key) is not None}


def is_server_tool(tool: Any) -> bool:
    """Whether a tool runs at the API, and so as often as the model likes; what is unreadable does."""
    definition = as_mapping(tool)
    if definition is None:
        return True
    kind = definition.get("type")
    return not (kind in (None, "custom") or (isinstance(kind, str) and kind.startswith(_CLIENT_TOOLS)))


def continues_thread(body: Mapping[str, Any]) -> bool:
    """Whether the server holds earlier turns that the body does not show."""
    thread = body.get("thread")
    return thread is not None and (as_mapping(thread) or {}).get("type") != "create"


def as_mapping(value: Any) -> Mapping[str, Any] | None:
    """*value* as a mapping: itself, or a pydantic object as the SDK sends it; `None` for anything else."""
    if isinstance(value, Mapping):
        return value
    dump = None if isinstance(value, type) else getattr(value, "model_dump", None)
    if not callable(dump):
        return None
    dumped = dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)
    return dumped if isinstance(dumped, Mapping) else None


def is_list(value: Any) -> bool:
    """Whether the SDK sends *value* as a list, and reading it does not use it up, as it would an iterator."""
    if isinstance(value, (str, bytes, bytearray, memoryview)):
        return False
    return isinstance(value, (Sequence, AbstractSet, MappingView))


def as_items(value: Any) -> Sequence[Any]:
    """*value* as a list: its items, none for `None`, and for anything else one item nobody can read."""
    if value is None:
        return ()
    return tuple(value) if is_list(value) else (value,)


def _blocks(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any] | None]:
    """Every content block of the system prompt and the messages, nested ones too; `None`: unreadable."""
    yield from _content(body.get("system"))
    for message in as_items(body.get("messages")):
        known = as_mapping(message)
        if known is None:
            yield None
        else:
            yield from _content(known.get("content"))


def _content(content: Any) -> Iterator[Mapping[str, Any] | None]:
    if isinstance(content, str):
        yield {"type": "text", "text": content}
        return
    for item in as_items(content):
        block = as_mapping(item)
        yield block
        if block is None or block.get("type") not in _MEASURED_BLOCKS:
            continue
        yield from _content(block.get("content"))
        source = as_mapping(block.get("source"))
        if source is not None and source.get("type") == "content":
            yield from _content(source.get("content"))


def _block_tokens(block: Mapping[str, Any] | None) -> int:
    if block is None or block.get("type") not in _MEASURED_BLOCKS:
        return _ANY
    if _cites(block.get("citations")):
        return _ANY
    source = as_mapping(block.get("source"))
    total = _BLOCK_TOKENS + (0 if source is None else _source_tokens(source))
    for key, value in block.items():
        if key == "content" or (key == "source" and source is not None):
            continue  # measured as blocks of their own, and above
        total += _text_tokens(value) if isinstance(value, str) else _json_tokens(value)
    return total


def _cites(citations: Any) -> bool:
    """Whether a document asks for citations; a list of them is those an answer had."""
    if citations is None or is_list(citations):
        return False
    known = as_mapping(citations)
    return known is None or bool(known.get("enabled"))


def _source_tokens(source: Mapping[str, Any]) -> int:
    kind = source.get("type")
    if kind == "base64" and str(source.get("media_type")).startswith("image/"):
        return _IMAGE_TOKENS
    if kind == "text" and isinstance(source.get("data"), str):
        return _text_tokens(source["data"])
    return 0 if kind == "content" else _ANY


def _tools_tokens(body: Mapping[str, Any]) -> int:
    tools = as_items(body.get("tools"))
    return sum(map(_tool_tokens, tools)) + (_TOOL_PROMPT_TOKENS if tools else 0)


def _tool_tokens(tool: Any) -> int:
    definition = as_mapping(tool)
    if definition is None or is_server_tool(definition):
        return _ANY
    kind = str(definition.get("type") or "custom")
    if "toolset" in kind:
        return _ANY
    return _json_tokens(definition) + (_TOOL_TOKENS if kind == "custom" else _CLIENT_TOOL_TOKENS)


def _format_tokens(body: Mapping[str, Any]) -> int:
    given = body.get("output_config")
    config = as_mapping(given)
    if config is None:
        return 0 if given is None else _ANY
    if config.get("format") is None:
        return 0
    return _FORMAT_TOKENS + _json_tokens(config)


def _text_tokens(text: str) -> int:
    if text.isascii():
        return len(text)
    normal = unicodedata.normalize("NFKC", text)
    return max(len(form.encode("utf-8", "surrogatepass")) for form in (text, normal))


def _json_tokens(value: Any) -> int:
    try:
        return len(json.dumps(value, indent=2, default=_plain))
    except TypeError:
        return _ANY  # such as an iterator, which the SDK sends as a list of whatever length


def _plain(value: Any) -> Any:
    """What `json` cannot write, as the SDK sends it."""
    if isinstance(value, dt.date):
        return value.isoformat()
    if is_list(value):
        return list(value)
    plain = as_mapping(value)
    if plain is None:
        raise TypeError(f"{type(value).__name__} is of unknown length")
    return dict(plain)
