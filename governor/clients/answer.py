"""The message that the events of a streamed answer make up.

The SDK's stream helper makes it too, and for nearly every event a second one and a snapshot: a quarter of its
CPU time for a short answer. Nobody sees them here, so the message is put together once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

if TYPE_CHECKING:
    from anthropic import types

_PIECES = {
    "text_delta": ("text", ("text",)),
    "thinking_delta": ("thinking", ("thinking",)),
    "input_json_delta": ("partial_json", ("tool_use", "server_tool_use")),
}
"""Deltas that come in pieces of one text: where a piece stands in them, and the blocks that take it."""


class Answer:
    """Takes the SDK's raw events in the order in which they came."""

    def __init__(self) -> None:
        self._message: Any = None
        self._pieces: dict[tuple[int, str], list[str]] = {}

    def take(self, event: Any) -> None:
        """An event has come; what is of no known kind, or before the first one, says nothing."""
        kind = event.type
        if kind == "message_start":
            self._message = event.message
        elif self._message is None:
            return
        elif kind == "content_block_delta":
            self._take_delta(event.index, event.delta)
        elif kind == "content_block_start":
            self._message.content.append(event.content_block)
        elif kind == "message_delta":
            _overwrite(self._message, event.delta)
            _overwrite(self._message.usage, event.usage)

    def whole(self) -> types.Message | None:
        """The message, once the last event was taken; `None` if none began.

        Raises:
            ValueError: The input of a tool is no JSON, not even the beginning of some.
            IndexError: A piece came of a block that never began.
        """
        for (index, name), pieces in self._pieces.items():
            block, text = self._message.content[index], "".join(pieces)
            if name == "partial_json":
                block.input = from_json(text, allow_partial=True) if text else block.input
            else:
                setattr(block, name, getattr(block, name) + text)
        self._pieces.clear()
        message: types.Message | None = self._message
        return message

    def _take_delta(self, index: int, delta: Any) -> None:
        block = self._message.content[index]
        if delta.type in _PIECES:
            name, takers = _PIECES[delta.type]
            if block.type in takers:
                self._pieces.setdefault((index, name), []).append(getattr(delta, name))
        elif delta.type == "citations_delta" and block.type == "text":
            block.citations = [*(block.citations or []), delta.citation]
        elif delta.type == "signature_delta" and block.type == "thinking":
            block.signature = delta.signature


def _overwrite(before: Any, after: Any) -> None:
    """Put in place what *after* says; its counts are totals, and what it leaves out stays."""
    for name in after.model_fields_set:
        value = getattr(after, name)
        if value is not None:
            setattr(before, name, value)
