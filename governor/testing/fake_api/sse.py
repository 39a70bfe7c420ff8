"""An answer as the server-sent events of the Messages API."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from governor.testing.fake_api.filler import CHARACTERS_PER_TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from governor.testing.fake_api.answers import Answer

_START_ONLY = ("cache_creation", "service_tier", "speed", "inference_geo")
_END_ONLY = ("server_tool_use", "iterations", "output_tokens_details", "fallback_credit")


@dataclass(frozen=True, slots=True)
class Event:
    """One event on the wire.

    Attributes:
        raw: Its bytes, blank line included.
        output_tokens: Output tokens generated once it is sent, from the start of the answer.
        final: Whether it carries the final usage (`message_delta`).
    """

    raw: bytes
    output_tokens: int
    final: bool = False


def encode(name: str, data: Mapping[str, Any]) -> bytes:
    """The bytes of one event."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()


def placeholder(answer: Answer) -> int:
    """The output tokens that `message_start` reports: 1 to 4, as the API does, never more than there are."""
    first = answer.passes[0].output_tokens if answer.passes else int(answer.usage["output_tokens"])
    return min(first, 1 + int(answer.opening_usage()["input_tokens"]) % 4)


def events(answer: Answer, tokens_per_delta: int) -> list[Event]:
    """Every event of *answer*.

    Output tokens are taken to be generated evenly over the deltas of each segment. The result of a server
    tool has no deltas: its block starts whole (documented).

    Args:
        answer: The whole answer.
        tokens_per_delta: How many tokens of text one delta carries.
    """
    total = answer.usage["output_tokens"]
    sent = placeholder(answer)
    stream = [Event(_start(answer, sent), sent), Event(b'event: ping\ndata: {"type": "ping"}\n\n', sent)]
    before = index = 0
    for segment in answer.segments:
        # What a reply overrides in the usage is the whole answer's; only the passes of a loop have their own.
        tokens = segment.tokens if answer.passes else total
        blocks = list(_blocks(segment.blocks, index, tokens_per_delta))
        deltas = sum(name == "content_block_delta" for name, _ in blocks)
        done = 0
        for name, raw in blocks:
            if name == "content_block_delta":
                done += 1
                sent = max(sent, before + tokens * done // deltas)
            stream.append(Event(raw, sent))
        before += tokens
        index += len(segment.blocks)
    stream.append(Event(_delta(answer), total, final=True))
    stream.append(Event(b'event: message_stop\ndata: {"type": "message_stop"}\n\n', total))
    return stream


def _start(answer: Answer, output_tokens: int) -> bytes:
    usage = {key: value for key, value in answer.opening_usage().items() if key not in _END_ONLY}
    usage["output_tokens"] = output_tokens
    message = {**answer.message(), "content": [], "stop_reason": None, "usage": usage}
    return encode("message_start", {"type": "message_start", "message": message})


def _delta(answer: Answer) -> bytes:
    usage = {key: value for key, value in answer.usage.items() if key not in _START_ONLY}
    delta = {"stop_reason": answer.stop_reason, "stop_sequence": None}
    return encode("message_delta", {"type": "message_delta", "delta": delta, "usage": usage})


def _blocks(
    blocks: Sequence[Mapping[str, Any]], first: int, tokens_per_delta: int
) -> Iterator[tuple[str, bytes]]:
    width = tokens_per_delta * CHARACTERS_PER_TOKEN
    for index, block in enumerate(blocks, first):
        opening, deltas = _opened(block, width)
        name = "content_block_start"
        yield name, encode(name, {"type": name, "index": index, "content_block": opening})
        name = "content_block_delta"
        for delta in deltas:
            yield name, encode(name, {"type": name, "index": index, "delta": delta})
        name = "content_block_stop"
        yield name, encode(name, {"type": name, "index": index})


def _opened(block: Mapping[str, Any], width: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """How a content block starts, and the deltas that complete it."""
    kind = block.get("type")
    if kind == "text":
        return {**block, "text": ""}, [
            {"type": "text_delta", "text": piece} for piece in _cut(block["text"], width)
        ]
    if kind == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in _cut(block["thinking"], width)]
        signature = {"type": "signature_delta", "signature": block.get("signature", "")}
        return {**block, "thinking": "", "signature": ""}, [*deltas, signature]
    if kind in ("tool_use", "server_tool_use"):
        pieces = _cut(json.dumps(block.get("input", {})), width)
        return {**block, "input": {}}, [
            {"type": "input_json_delta", "partial_json": piece} for piece in pieces
        ]
    return dict(block), []


def _cut(text: str, width: int) -> list[str]:
    return [text[start : start + width] for start in range(0, len(text), width)]
