"""How the fake API counts input tokens, and what it refuses to count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

REQUEST_OVERHEAD = 3
MESSAGE_OVERHEAD = 4
TOOLS_OVERHEAD = 346
"""Tokens of the system prompt that tool use adds, once per request with tools."""
IMAGE_TOKENS = 1568
"""Tokens of any image sent in the body: the largest that is not scaled down."""
PAGE_TOKENS = 3000
"""Tokens of one page of a PDF; a page is taken to be 50 kB."""

CLIENT_TOOLS = ("bash_", "text_editor_", "computer_", "memory_", "advisor_", "browser_toolset_")
"""Types of tools that the caller runs; with `advisor_`, the only server tool that can be counted."""

_COUNTED = ("system", "messages", "tools")
_PAGE_CHARACTERS = 50_000 * 4 // 3


def count_tokens(body: Mapping[str, Any], tokenizer: int) -> int:
    """Input tokens of a request, as the fake API counts them: the one rule for counting and for billing.

    UTF-8 bytes of every key and value in `system`, `messages` and `tools`, four to a token; plus 3 for the
    request, 4 for each message, 346 if there are tools, 1,568 for an image and 3,000 for each 50 kB of a
    PDF. `cache_control` weighs nothing. The tokenizer of 2026 (models 4.7 and later, every 5.x) makes 30 %
    more of all that. Rounded up.

    Args:
        body: A body of `/v1/messages` or `/v1/messages/count_tokens`.
        tokenizer: The model's tokenizer family in the price file: 2024 or 2026.
    """
    weight = sum(_weight(body[key]) for key in _COUNTED if body.get(key))
    tokens = -(-weight // 4) + REQUEST_OVERHEAD + MESSAGE_OVERHEAD * len(body.get("messages") or ())
    if body.get("tools"):
        tokens += TOOLS_OVERHEAD
    return -(-tokens * 13 // 10) if tokenizer >= 2026 else tokens


def _weight(node: Any) -> int:
    if isinstance(node, str):
        return len(node) if node.isascii() else len(node.encode("utf-8", "surrogatepass"))
    if isinstance(node, Mapping):
        if node.get("type") == "base64" and isinstance(node.get("data"), str):
            return _media_weight(node)
        return sum(
            len(key) + _weight(value) for key, value in node.items() if key not in ("cache_control", "type")
        )
    if isinstance(node, list):
        return sum(map(_weight, node))
    return len(str(node))


def _media_weight(source: Mapping[str, Any]) -> int:
    if str(source.get("media_type", "")).startswith("image/"):
        return 4 * IMAGE_TOKENS
    return 4 * PAGE_TOKENS * (1 + len(source["data"]) // _PAGE_CHARACTERS)


def uncountable(body: Mapping[str, Any]) -> str | None:
    """Why the count endpoint refuses *body*, or `None` if it counts it.

    The API refuses server tools (all but the advisor), the MCP connector, and images and documents that it
    would have to fetch.
    """
    if body.get("mcp_servers"):
        return "mcp_servers: token counting is not supported with the MCP connector"
    for index, tool in enumerate(body.get("tools") or ()):
        kind = tool.get("type") if isinstance(tool, Mapping) else None
        if kind not in (None, "custom") and not str(kind).startswith(CLIENT_TOOLS):
            return f"tools.{index}.type: token counting is not supported with the server tool '{kind}'"
    for source in _sources([body.get("system"), body.get("messages")]):
        if source.get("type") in ("url", "file"):
            return f"messages: token counting is not supported for content with a {source['type']} source"
    return None


def _sources(node: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, list):
        for item in node:
            yield from _sources(item)
    elif isinstance(node, Mapping):
        if node.get("type") in ("image", "document") and isinstance(node.get("source"), Mapping):
            yield node["source"]
        yield from _sources(node.get("content"))
