"""How many input tokens can a request have? What counting accepts, and a local bound where it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.pricing.written import ANY, as_items, as_mapping, is_list, json_tokens, text_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = [
    "apart",
    "as_items",
    "as_mapping",
    "continues_thread",
    "countable",
    "earlier_thinking",
    "is_list",
    "is_server_tool",
    "local_bound",
]

_REQUEST_TOKENS = 256
_MESSAGE_TOKENS = 64
_BLOCK_TOKENS = 16
_FIELDS_OF_TEXT = 2
_TOOL_TOKENS = 64
_TOOL_PROMPT_TOKENS = 1_024
_CLIENT_TOOL_TOKENS = 2_048
_SERVER_TOOL_TOKENS = 4_096
_FORMAT_TOKENS = 1_024
_SUMMARY_TOKENS = 4_096
_FILE_NAME_TOKENS = 2_048
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
_PROMPT_KEYS = frozenset({"messages", "system", "tools"})
_JSON_KEYS = {
    "tool_choice": 0,
    "thinking": 0,
    "output_config": _FORMAT_TOKENS,
    "output_format": _FORMAT_TOKENS,
    "context_management": _SUMMARY_TOKENS,
    "compaction": _SUMMARY_TOKENS,
}
"""Keys that may put something into the prompt, and the allowance for what the API says around it."""
_SILENT_KEYS = frozenset(
    {
        *("model", "max_tokens", "metadata", "stop_sequences", "stream", "temperature", "top_k", "top_p"),
        *("service_tier", "speed", "inference_geo", "cache_control", "billing_policy", "workspace_id"),
        *("user_profile_id", "diagnostics", "fallbacks", "fallback_credit_token"),
        *("thread", "mcp_servers", "container"),  # looked at before
        *("betas", "extra_headers", "timeout"),  # arguments of the SDK
    }
)
_CLIENT_TOOLS = ("bash_", "text_editor_", "computer_", "memory_", "browser_")
_ADVISOR = "advisor_"
_SERVER_TOOLS = ("web_search_", "web_fetch_", "code_execution_", "tool_search_tool_", _ADVISOR)
_BLOCK_ALLOWANCES = dict.fromkeys(
    ("container_upload", "code_execution_output", "bash_code_execution_output"), _FILE_NAME_TOKENS
)
_OPEN_BLOCKS = frozenset(
    {"document", "search_result", "text_editor_code_execution_view_result", "compaction"}
)
"""Blocks with a field that lets them stand for more than their words."""
_MEASURED_BLOCKS = _OPEN_BLOCKS | {
    *_BLOCK_ALLOWANCES,
    *("text", "image", "thinking", "redacted_thinking", "fallback"),
    *("tool_use", "tool_result", "tool_reference", "server_tool_use", "mcp_tool_use", "mcp_tool_result"),
    *("web_search_tool_result", "web_search_result", "web_search_tool_result_error"),
    *("web_fetch_tool_result", "web_fetch_result", "web_fetch_tool_result_error"),
    *("code_execution_tool_result", "code_execution_result", "code_execution_tool_result_error"),
    "encrypted_code_execution_result",
    *("bash_code_execution_tool_result", "bash_code_execution_result"),
    "bash_code_execution_tool_result_error",
    *("text_editor_code_execution_tool_result", "text_editor_code_execution_tool_result_error"),
    *("text_editor_code_execution_create_result", "text_editor_code_execution_str_replace_result"),
    *("tool_search_tool_result", "tool_search_tool_search_result", "tool_search_tool_result_error"),
    *("advisor_tool_result", "advisor_result", "advisor_redacted_result", "advisor_tool_result_error"),
}
"""Blocks whose words are all in the body (the SDK's `types/*_block_param.py`)."""
_NESTED = ("content", "tool_references")


def local_bound(body: Mapping[str, Any], context_tokens: int) -> int:
    """An upper bound on the input tokens of a request, from its body alone and without network.

    For when counting is impossible (`countable` is `None`, a client without count_tokens, a time-out) or
    pointless. The bound is of the prompt as sent; what server tools add while the API runs is not in it.

    Premises:

    1. The tokenizer works on UTF-8 bytes and no token is empty. It may normalise the text to NFKC first.
    2. The model sees tool definitions, tool inputs and other objects as JSON no longer than the form
       indented by two with a space after each colon, with ASCII escapes or without; a definition once for
       each of its `allowed_callers`. It sees no key or value of a content block twice.
    3. What it sees of encrypted text (thinking, search results, advice) has no more tokens than the
       encryption has characters.
    4. A `tool_reference` shows the definition of one tool of the request; a file that is only named by a
       block of code execution shows its name, of at most 255 characters (Files API), and its path.
    5. An image, whatever its source, is scaled to at most 2,576 pixels a side and billed one token per patch
       of 28 x 28: 92 x 92 = 8,464.
    6. What the API adds of its own stays within these allowances, in tokens: 256 a request; 64 a message
       (with the notices of how much context is left); 16 a content block; 64 a tool definition; 1,024 for
       the system prompt of tool use (some 350 are documented); 2,048 for a tool that the caller runs and
       Anthropic describes (at most some 1,200 are documented) and 4,096 for one that the API runs; 1,024
       for an output format; 4,096 for the instructions of a compaction.

    Proof. By 1, a text has at most as many tokens as the longer of its two forms, as sent and NFKC, has
    bytes, and so has any text cut out of it. By 2, JSON has at most the larger of its escaped form's
    characters and its plain form's bytes, plus the white space of indenting, which is computed level by
    level: an item of a container that is *d* deep stands on a line of its own behind 2 d spaces, and the
    container's end behind 2 (d - 1). By 3 to 5, encrypted text, references, files and images are bounded by
    what the body shows. Whatever else the prompt holds is of the API, and bounded by 6. The prompt is made
    of these parts, so their sum bounds it.

    What no premise covers takes the whole context window: PDFs, documents named by URL or file id,
    documents with citations (cut into numbered sentences), file views that are no text, MCP servers and
    toolsets, skills, a continued thread, tool changes, and every key, block, tool or value that is unknown to
    this version or cannot be read.

    Args:
        body: The request as sent to `/v1/messages`; content may also hold the SDK's own block objects.
        context_tokens: The model's context window in tokens, more than which no request can have.

    Returns:
        Tokens, at most *context_tokens*. Adding something to a body never lowers them.
    """
    if _holds_more(body):
        return context_tokens
    prompt = _Prompt()
    prompt.messages(as_items(body.get("messages")))
    prompt.content(body.get("system"))
    prompt.settings(body)
    prompt.tools(as_items(body.get("tools")))
    if prompt.tokens >= context_tokens:  # also spares writing JSON that changes nothing
        return context_tokens
    return min(prompt.tokens + json_tokens(prompt.values), context_tokens)


def countable(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """The part of a request that the count_tokens endpoint accepts, or `None` where it would refuse.

    It refuses server tools but the advisor, MCP servers, and images or documents named by URL or file id; a
    continued thread it would count without the turns the server holds. All as documented for API version
    2026-10-21.

    Args:
        body: The request as sent to `/v1/messages`.

    Returns:
        A new dictionary for `client.messages.count_tokens(**it)`; values are shared with *body*.
    """
    if continues_thread(body) or body.get("mcp_servers") or body.get("messages") is None:
        return None
    if any(is_server_tool(tool) and not _is_advisor(tool) for tool in as_items(body.get("tools"))):
        return None
    for block in _blocks(body):
        source = as_mapping(block.get("source"))
        if source is not None and source.get("type") in ("url", "file"):
            return None
    return {key: body[key] for key in _COUNT_KEYS if body.get(key) is not None}


def apart(body: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """A request without the tools that the count_tokens endpoint refuses, and a bound on what they add to it.

    So the conversation can be counted where only its tools cannot. The bound rests on the premises of
    `local_bound`: each definition's JSON, its allowance, and the system prompt of tool use.

    Args:
        body: The request as sent to `/v1/messages`.

    Returns:
        A new dictionary, and tokens: 0 where the request has no such tool. `tool_choice` goes with the last
        tool, for the endpoint refuses it alone.
    """
    tools = as_items(body.get("tools"))
    refused = [tool for tool in tools if is_server_tool(tool) and not _is_advisor(tool)]
    if not refused:
        return dict(body), 0
    rest = {key: value for key, value in body.items() if key != "tools"}
    kept = [tool for tool in tools if not any(tool is other for other in refused)]
    if kept:
        rest["tools"] = kept
    else:
        rest.pop("tool_choice", None)
    added = _Prompt()
    added.tokens = 0
    added.tools(refused)
    return rest, added.tokens + json_tokens(added.values)


def earlier_thinking(body: Mapping[str, Any]) -> bool:
    """Whether the conversation has thinking of earlier turns, which not every model keeps in its prompt."""
    return any(block.get("type") in ("thinking", "redacted_thinking") for block in _blocks(body))


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


class _Prompt:
    """Adds up the tokens of a prompt; what is measured as JSON is kept in `values`, to be written at once."""

    def __init__(self) -> None:
        self.tokens = _REQUEST_TOKENS
        self.values: list[Any] = []
        self.references = 0

    def messages(self, messages: Sequence[Any]) -> None:
        """Add the messages."""
        self.tokens += _MESSAGE_TOKENS * len(messages)
        for message in messages:
            known = message if type(message) is dict else as_mapping(message)
            if known is None:
                self.tokens += ANY
            else:
                self.content(known.get("content"))

    def content(self, content: Any) -> None:
        """Add the content of a message, a block, or the system prompt: a text or a list of blocks."""
        if isinstance(content, str):
            self.tokens += _BLOCK_TOKENS + (len(content) if content.isascii() else text_tokens(content))
            return
        for item in content if type(content) is list else as_items(content):
            text = item.get("text") if type(item) is dict and len(item) == _FIELDS_OF_TEXT else None
            if type(text) is str and text.isascii() and item.get("type") == "text":
                self.tokens += _BLOCK_TOKENS + len(text)  # as `_block` has it, and faster: the usual block
            else:
                self._block(as_mapping(item))

    def settings(self, body: Mapping[str, Any]) -> None:
        """Add what other keys of the request put into the prompt."""
        for key, value in body.items():
            if value is None or key in _SILENT_KEYS or key in _PROMPT_KEYS:
                continue
            self.tokens += _JSON_KEYS.get(key, ANY)
            self.values.append(value)

    def tools(self, tools: Sequence[Any]) -> None:
        """Add the tool definitions, once more for each reference to one."""
        if tools:
            self.tokens += _TOOL_PROMPT_TOKENS
        largest = 0
        for tool in tools:
            definition = as_mapping(tool) or {}
            shown = [definition] * max(1, len(as_items(definition.get("allowed_callers"))))
            allowance = _tool_allowance(tool, definition.get("type"))
            self.tokens += allowance
            self.values += shown
            if self.references:
                largest = max(largest, allowance + json_tokens(shown))
        self.tokens += self.references * largest

    def _block(self, block: Mapping[str, Any] | None) -> None:
        if block is None or _is_open(block):
            self.tokens += ANY
            return
        kind = block["type"]
        tokens = _BLOCK_TOKENS + _BLOCK_ALLOWANCES.get(kind, 0)
        if kind == "tool_reference":
            self.references += 1
        for key, value in block.items():
            if key in _NESTED:
                self.content(value)
            elif isinstance(value, str):
                tokens += len(value) if value.isascii() else text_tokens(value)
            elif key == "source":
                self._source(kind, as_mapping(value))
            elif value is not None:
                self.values.append(value)
        self.tokens += tokens

    def _source(self, kind: str, source: Mapping[str, Any] | None) -> None:
        given = (source or {}).get("type")
        if source is None:
            self.tokens += ANY
        elif kind == "image" and given in ("base64", "url", "file"):
            self.tokens += _IMAGE_TOKENS
            self.values += [value for key, value in source.items() if key != "data"]
        elif given == "text" and isinstance(source.get("data"), str):
            self.tokens += text_tokens(source["data"])
        elif given == "content":
            self.content(source.get("content"))
        else:
            self.tokens += ANY


def _holds_more(body: Mapping[str, Any]) -> bool:
    """Whether the prompt has parts, known to the API, that the body does not show."""
    if continues_thread(body) or body.get("mcp_servers"):
        return True
    container = body.get("container")
    if container is None or isinstance(container, str):
        return False
    known = as_mapping(container)
    return known is None or bool(known.get("skills"))


def _is_open(block: Mapping[str, Any]) -> bool:
    """Whether a block stands for more than its words, or for what this version does not know."""
    kind = block.get("type")
    if not isinstance(kind, str) or kind not in _MEASURED_BLOCKS:
        return True
    return kind in _OPEN_BLOCKS and (
        _cites(block.get("citations"))
        or block.get("file_type") not in (None, "text")
        or bool(block.get("tool_changes"))
    )


def _cites(citations: Any) -> bool:
    """Whether a document asks for citations; a list of them is those an answer had."""
    if citations is None or is_list(citations):
        return False
    known = as_mapping(citations)
    return known is None or bool(known.get("enabled"))


def _tool_allowance(tool: Any, kind: Any) -> int:
    if as_mapping(tool) is None:
        return ANY
    if kind in (None, "custom"):
        return _TOOL_TOKENS
    if not isinstance(kind, str) or "toolset" in kind:
        return ANY
    if kind.startswith(_CLIENT_TOOLS):
        return _CLIENT_TOOL_TOKENS
    return _SERVER_TOOL_TOKENS if kind.startswith(_SERVER_TOOLS) else ANY


def _is_advisor(tool: Any) -> bool:
    return str((as_mapping(tool) or {}).get("type")).startswith(_ADVISOR)


def _blocks(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every content block of the system prompt and the messages, nested ones too, that can be read."""
    yield from _content(body.get("system"))
    for message in as_items(body.get("messages")):
        yield from _content((as_mapping(message) or {}).get("content"))


def _content(content: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(content, str):
        return
    for item in as_items(content):
        block = as_mapping(item)
        if block is None:
            continue
        yield block
        yield from _content(block.get("content"))
        source = as_mapping(block.get("source"))
        if source is not None and source.get("type") == "content":
            yield from _content(source.get("content"))
