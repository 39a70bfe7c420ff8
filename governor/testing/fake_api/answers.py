"""From a reply and a request to the message that the API answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from governor.testing.fake_api.script import Reply

CHARACTERS_PER_TOKEN = 4
_WORDS = (
    "the red fox ran out for one new day and saw the big old oak sit low but not too far off its own way "
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer, before it is written as JSON or as a stream.

    Attributes:
        id: The message's id.
        model: The model that answers.
        content: Its content blocks.
        stop_reason: Why it ended.
        usage: The final usage, as reported.
    """

    id: str
    model: str
    content: list[dict[str, Any]]
    stop_reason: str
    usage: dict[str, Any]

    def message(self) -> dict[str, Any]:
        """The message object of the API."""
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": self.content,
            "stop_reason": self.stop_reason,
            "stop_sequence": None,
            "usage": self.usage,
        }

    def partial_usage(self, output_tokens: int) -> dict[str, Any]:
        """The usage of an answer that broke off: all the input, and *output_tokens* of the output."""
        known = {
            key: value for key, value in self.usage.items() if key not in ("iterations", "server_tool_use")
        }
        return {**known, "output_tokens": min(output_tokens, self.usage["output_tokens"])}


def compose(reply: Reply, body: Mapping[str, Any], message_id: str, input_tokens: int) -> Answer:
    """Make the answer that *reply* means for a request.

    Args:
        reply: What to answer.
        body: The request's body, already checked.
        message_id: The id to give it.
        input_tokens: Input tokens to bill, before what *reply* overrides.
    """
    content, wanted = _content(reply)
    output_tokens = min(wanted, body["max_tokens"])
    if reply.content is None:
        text = (
            filler(output_tokens)
            if reply.text is None
            else reply.text[: output_tokens * CHARACTERS_PER_TOKEN]
        )
        content = [{"type": "text", "text": text}] if output_tokens else []
    return Answer(
        id=message_id,
        model=reply.model or body["model"],
        content=content,
        stop_reason=reply.stop_reason
        or _stop_reason(content, cut=wanted > output_tokens or not body["max_tokens"]),
        usage=_usage(reply, body, input_tokens, output_tokens),
    )


def _content(reply: Reply) -> tuple[list[dict[str, Any]], int]:
    """The content that is given as it is, and the output tokens the whole reply wants."""
    content = [dict(block) for block in reply.content or ()]
    if reply.output_tokens is not None:
        return content, reply.output_tokens
    if reply.content is not None:
        return content, tokens_of(json.dumps(content, ensure_ascii=False))
    return content, 100 if reply.text is None else tokens_of(reply.text)


def _stop_reason(content: Sequence[Mapping[str, Any]], *, cut: bool) -> str:
    if cut:
        return "max_tokens"
    return "tool_use" if any(block.get("type") == "tool_use" for block in content) else "end_turn"


def _usage(reply: Reply, body: Mapping[str, Any], input_tokens: int, output_tokens: int) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "input_tokens": input_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output_tokens,
        "service_tier": "standard",
        "speed": body.get("speed") or "standard",
        "inference_geo": body.get("inference_geo") or "global",
    }
    usage.update(reply.usage)
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


def tokens_of(text: str) -> int:
    """Output tokens of a text: four characters each, rounded up."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


@lru_cache(maxsize=64)
def filler(tokens: int) -> str:
    """A text of exactly that many output tokens; always the same for the same number."""
    characters = tokens * CHARACTERS_PER_TOKEN
    return (_WORDS * (characters // len(_WORDS) + 1))[:characters].rstrip()
