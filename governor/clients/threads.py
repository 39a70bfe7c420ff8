"""How much of a conversation the API holds, where a request's body shows only the new messages."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

MOST_THREADS = 10_000
"""Threads that are kept in mind; the one least recently continued makes room for another."""


class Threads:
    """What this process knows of threads that the API holds: the tokens up to each one's last answer."""

    def __init__(self) -> None:
        self._tokens: OrderedDict[str, int] = OrderedDict()

    def held(self, thread: object) -> int | None:
        """Tokens that the API adds to a request with this `thread`; `None` where that is not known.

        A request without one, or that begins one, has nothing added to it: 0.
        """
        if not isinstance(thread, dict) or thread.get("type") == "create":
            return 0 if thread is None or isinstance(thread, dict) else None
        return self._tokens.get(str(thread.get("previous_message_id")))

    def note(self, message_id: str, tokens: int) -> None:
        """A turn of a thread was answered: *tokens* of prompt and answer together."""
        self._tokens.pop(message_id, None)
        self._tokens[message_id] = tokens
        if len(self._tokens) > MOST_THREADS:
            self._tokens.popitem(last=False)


def tokens_of(usage: Any) -> int:
    """Tokens of a turn's prompt, whatever was cached of it, and of its answer."""
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    return sum(value for name in names if isinstance(value := usage.get(name), int))
