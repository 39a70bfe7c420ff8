"""The tools that the API runs itself, in a loop of passes of the model, before it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from governor.testing.fake_api.filler import filler

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from governor.testing.fake_api.script import Reply

CALL_TOKENS = 30
"""Output tokens of a pass that only asks for a tool (assumed), where `max_tokens` leaves as many."""
FAILED_RESULT_TOKENS = 20
"""Tokens of a result that says only that the tool failed (assumed)."""

_PREFIXES = {
    "searches": "web_search_",
    "fetches": "web_fetch_",
    "code_runs": "code_execution_",
    "tool_searches": "tool_search_tool_",
}
"""By the field of `Reply`: how the types of the tools begin (SDK types)."""
LIMITED = ("web_search_", "web_fetch_")
"""The tools that take `max_uses` (SDK types)."""
SERVER_TOOLS = tuple(_PREFIXES.values())


@dataclass(frozen=True, slots=True)
class ToolUse:
    """One use of a tool that the API ran.

    Attributes:
        kind: The field of `Reply` that asked for it.
        name: The tool's name.
        result_tokens: Tokens of its result in the prompt of every later pass.
        failed: Whether it was one more than the tool's `max_uses`; it is answered by an error, and is neither
            counted nor billed as a search (documented).
    """

    kind: str
    name: str
    result_tokens: int
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Pass:
    """One sampling of the model.

    Attributes:
        input_tokens: Its whole prompt.
        output_tokens: What it said.
        use: The tool it asked for, which ran after it; `None` for the pass that answers.
    """

    input_tokens: int
    output_tokens: int
    use: ToolUse | None


def tool_uses(reply: Reply, tools: Sequence[Mapping[str, Any]]) -> list[ToolUse]:
    """The uses that *reply* asks for, in the order of its fields.

    A tool is used at most `max_uses` times; where *reply* asks for more, one further use fails, after which
    the model asks no more for it (assumed). A fetch brings at most `max_content_tokens` (SDK types: about).

    Args:
        reply: What to answer.
        tools: The request's `tools`.

    Raises:
        ValueError: The request has no tool of a kind that is asked for; the test is at fault.
    """
    uses: list[ToolUse] = []
    for kind, prefix in _PREFIXES.items():
        wanted: int = getattr(reply, kind)
        if not wanted:
            continue
        tool = next((tool for tool in tools if str(tool.get("type")).startswith(prefix)), None)
        if tool is None:
            raise ValueError(f"the Reply has {kind}={wanted}, but the request has no tool of type {prefix}*")
        name = str(tool.get("name") or prefix.rstrip("_"))
        limit = tool.get("max_uses")
        granted = wanted if limit is None else min(wanted, limit)
        uses += [ToolUse(kind, name, _result_tokens(tool, reply.tool_result_tokens))] * granted
        if wanted > granted:
            uses.append(ToolUse(kind, name, FAILED_RESULT_TOKENS, failed=True))
    return uses


def _result_tokens(tool: Mapping[str, Any], tokens: int) -> int:
    most = tool.get("max_content_tokens")
    return min(tokens, most) if isinstance(most, int) else tokens


def passes_of(
    uses: Sequence[ToolUse], input_tokens: int, output_tokens: int, context_tokens: int
) -> list[Pass]:
    """The passes of an answer: one for each use and one that answers.

    A pass reads the request, all output and all results before it (SDK types: token accumulation across
    server-side tool loops). Each says at least one token, so of few output tokens the last uses are left out.
    A pass whose prompt would exceed the context window is not made: the loop ends with the use before it,
    which ran and is billed, and whose `use` is then the last pass's (documented as the stop reason
    `model_context_window_exceeded`; that it ends there is assumed).

    Args:
        uses: What the model asks for.
        input_tokens: The request's own prompt.
        output_tokens: Output of all passes together (assumed: `max_tokens` bounds the sum).
        context_tokens: The model's context window.
    """
    uses = uses[: max(output_tokens - 1, 0)]
    call_tokens = min(CALL_TOKENS, (output_tokens - 1) // len(uses)) if uses else 0
    passes: list[Pass] = []
    prompt = input_tokens
    for use in uses:
        passes.append(Pass(prompt, call_tokens, use))
        prompt += call_tokens + use.result_tokens
        if prompt > context_tokens:
            return passes
    return [*passes, Pass(prompt, output_tokens - call_tokens * len(uses), None)]


def begun(passes: Sequence[Pass], output_tokens: int) -> list[Pass]:
    """The passes begun when *output_tokens* were said; the last one as far as it came.

    A pass begins as soon as the one before it is over and its tool has run.
    """
    found: list[Pass] = []
    for one in passes:
        found.append(Pass(one.input_tokens, min(output_tokens, one.output_tokens), one.use))
        if output_tokens < one.output_tokens:
            break
        output_tokens -= one.output_tokens
    return found


def loop_usage(passes: Sequence[Pass], ran: int) -> dict[str, Any]:
    """What a usage reports of a loop: totals over the passes, the passes, and the requests that were made.

    Args:
        passes: The passes begun.
        ran: How many of them were said to the end, so that their tool ran.
    """
    done = [one.use.kind for one in passes[:ran] if one.use is not None and not one.use.failed]
    return {
        "input_tokens": sum(one.input_tokens for one in passes),
        "output_tokens": sum(one.output_tokens for one in passes),
        "server_tool_use": {
            "web_search_requests": done.count("searches"),
            "web_fetch_requests": done.count("fetches"),
        },
        "iterations": [
            {
                "type": "message",
                "input_tokens": one.input_tokens,
                "output_tokens": one.output_tokens,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            }
            for one in passes
        ],
    }


def blocks_of(use: ToolUse, number: int, message_id: str) -> list[dict[str, Any]]:
    """The two content blocks of a use, as the SDK's types spell them: the call and its result.

    A result carries a text of its tokens, so that a conversation that sends it back is counted so.

    Args:
        use: The use.
        number: Its place in the answer, from 0.
        message_id: The answer's id.
    """
    call_id = f"srvtoolu_{message_id[4:]}{number:03d}"
    call = {"type": "server_tool_use", "id": call_id, "name": use.name, **_call(use.kind, number)}
    kind = {
        "searches": "web_search_tool_result",
        "fetches": "web_fetch_tool_result",
        "code_runs": "code_execution_tool_result",
        "tool_searches": "tool_search_tool_result",
    }[use.kind]
    if use.failed:
        content: Any = {"type": f"{kind}_error", "error_code": "max_uses_exceeded"}
    else:
        content = _RESULTS[use.kind](number, filler(use.result_tokens))
    return [call, {"type": kind, "tool_use_id": call_id, "content": content}]


def _call(kind: str, number: int) -> dict[str, Any]:
    inputs = {
        "searches": {"query": f"question {number}"},
        "fetches": {"url": _url(number)},
        "code_runs": {"code": f"print({number})"},
        "tool_searches": {"query": f"tool {number}"},
    }
    return {"input": inputs[kind]}


def _url(number: int) -> str:
    return f"https://example.com/{number}"


def _searched(number: int, text: str) -> list[dict[str, Any]]:
    result = {"type": "web_search_result", "title": f"Page {number}", "url": _url(number), "page_age": None}
    return [{**result, "encrypted_content": text}]


def _fetched(number: int, text: str) -> dict[str, Any]:
    source = {"type": "text", "media_type": "text/plain", "data": text}
    document = {"type": "document", "source": source, "title": f"Page {number}", "citations": None}
    return {"type": "web_fetch_result", "url": _url(number), "content": document, "retrieved_at": None}


def _executed(number: int, text: str) -> dict[str, Any]:
    del number
    return {"type": "code_execution_result", "stdout": text, "stderr": "", "return_code": 0, "content": []}


def _tools_found(number: int, text: str) -> dict[str, Any]:
    del number, text
    return {"type": "tool_search_tool_search_result", "tool_references": []}


_RESULTS: dict[str, Callable[[int, str], Any]] = {
    "searches": _searched,
    "fetches": _fetched,
    "code_runs": _executed,
    "tool_searches": _tools_found,
}
