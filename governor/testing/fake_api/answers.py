"""From a reply and a request to the message that the API answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from governor.testing.fake_api.filler import CHARACTERS_PER_TOKEN, filler, tokens_of
from governor.testing.fake_api.server_tools import (
    CALL_TOKENS,
    Pass,
    begun,
    blocks_of,
    loop_usage,
    passes_of,
    tool_uses,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from governor.testing.fake_api.script import Reply
    from governor.testing.fake_api.server_tools import ToolUse

_ASIDE = ("compaction", "advisor_message")


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of an answer that was generated in one go.

    Attributes:
        blocks: Its content blocks.
        tokens: Its output tokens.
    """

    blocks: list[dict[str, Any]]
    tokens: int


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer, before it is written as JSON or as a stream.

    Attributes:
        id: The message's id.
        model: The model that answers.
        segments: Its content, in order.
        stop_reason: Why it ended.
        usage: The final usage, as reported.
        passes: The passes of a loop over server tools; empty where none ran.
    """

    id: str
    model: str
    segments: list[Segment]
    stop_reason: str
    usage: dict[str, Any]
    passes: list[Pass]

    def message(self) -> dict[str, Any]:
        """The message object of the API."""
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": [block for segment in self.segments for block in segment.blocks],
            "stop_reason": self.stop_reason,
            "stop_sequence": None,
            "usage": self.usage,
        }

    def opening_usage(self) -> dict[str, Any]:
        """The usage when the first pass has read its prompt and said nothing.

        Of a loop it has the first pass's prompt; the sum comes with the final usage (documented by an example
        of a streamed web search).
        """
        if not self.passes:
            return {**self.usage, "output_tokens": 0}
        return {**self.usage, "input_tokens": self.passes[0].input_tokens, "output_tokens": 0}

    def partial_usage(self, output_tokens: int) -> dict[str, Any]:
        """What is charged of an answer that broke off after *output_tokens* of output (assumed).

        Of a loop: the passes begun by then and the tools that had run. Otherwise: all the input, and of
        scripted `iterations` only those that the totals leave out.
        """
        sent = min(output_tokens, self.usage["output_tokens"])
        if self.passes:
            found = begun(self.passes, sent)
            ran = sum(part.output_tokens == one.output_tokens for part, one in zip(found, self.passes))  # noqa: B905 - the passes not begun are left out
            return {**self.usage, **loop_usage(found, ran)}
        known = {key: value for key, value in self.usage.items() if key != "server_tool_use"}
        aside = [part for part in known.pop("iterations", None) or () if part.get("type") in _ASIDE]
        return {**known, "output_tokens": sent, **({"iterations": aside} if aside else {})}


def compose(
    reply: Reply,
    body: Mapping[str, Any],
    message_id: str,
    *,
    input_tokens: int,
    context_tokens: int,
    inference_geo: str,
    service_tier: str = "standard",
) -> Answer:
    """Make the answer that *reply* means for a request.

    Args:
        reply: What to answer.
        body: The request's body, already checked.
        message_id: The id to give it.
        input_tokens: Input tokens to bill, before what *reply* overrides.
        context_tokens: The model's context window; see `server_tools.passes_of`.
        inference_geo: Where it is served.
        service_tier: How it is served: `standard`, or `batch`.

    Raises:
        ValueError: The reply uses a server tool that the request does not have.
    """
    uses = tool_uses(reply, body.get("tools") or ())
    wanted = _wanted(reply, uses)
    output_tokens = min(wanted, body["max_tokens"])
    passes = passes_of(uses, input_tokens, output_tokens, context_tokens) if uses else []
    segments = [
        Segment(blocks_of(one.use, number, message_id), one.output_tokens)
        for number, one in enumerate(passes)
        if one.use is not None
    ]
    exceeded = len(segments) == len(passes) > 0
    if not exceeded:
        left = passes[-1].output_tokens if passes else output_tokens
        segments.append(Segment(_final_blocks(reply, left), left))
    served = {"service_tier": service_tier, "inference_geo": inference_geo}
    usage = _usage(reply, body, input_tokens, output_tokens, served)
    if passes:
        usage |= loop_usage(passes, len(passes))
    cut = wanted > output_tokens or not body["max_tokens"]
    reason = "model_context_window_exceeded" if exceeded else reply.stop_reason
    return Answer(
        id=message_id,
        model=reply.model or body["model"],
        segments=segments,
        stop_reason=reason or _stop_reason(segments, cut=cut),
        usage=usage,
        passes=passes,
    )


def _wanted(reply: Reply, uses: Sequence[ToolUse]) -> int:
    """The output tokens that the whole reply wants."""
    if reply.output_tokens is not None:
        return reply.output_tokens
    calls = CALL_TOKENS * len(uses)
    if reply.content is not None:
        return calls + tokens_of(json.dumps([dict(block) for block in reply.content], ensure_ascii=False))
    return calls + (100 if reply.text is None else tokens_of(reply.text))


def _final_blocks(reply: Reply, output_tokens: int) -> list[dict[str, Any]]:
    """The content that is no call of a server tool: as given, or a text of *output_tokens*."""
    if reply.content is not None:
        return [dict(block) for block in reply.content]
    if not output_tokens:
        return []
    full = filler(output_tokens) if reply.text is None else reply.text[: output_tokens * CHARACTERS_PER_TOKEN]
    return [{"type": "text", "text": full}]


def _stop_reason(segments: Sequence[Segment], *, cut: bool) -> str:
    if cut:
        return "max_tokens"
    blocks = [block for segment in segments for block in segment.blocks]
    return "tool_use" if any(block.get("type") == "tool_use" for block in blocks) else "end_turn"


def _usage(
    reply: Reply, body: Mapping[str, Any], input_tokens: int, output_tokens: int, served: Mapping[str, str]
) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "input_tokens": input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output_tokens,
        "speed": body.get("speed") or "standard",
        **served,
        **reply.usage,
    }
    split = {
        "ephemeral_5m_input_tokens": 0,
        "ephemeral_1h_input_tokens": 0,
        **(usage["cache_creation"] or {}),
    }
    if "cache_creation_input_tokens" not in reply.usage:
        usage["cache_creation_input_tokens"] = sum(split.values())
    elif "cache_creation" not in reply.usage:
        split["ephemeral_5m_input_tokens"] = usage["cache_creation_input_tokens"] or 0
    if usage["cache_creation"] is not None:
        usage["cache_creation"] = split
    return usage
