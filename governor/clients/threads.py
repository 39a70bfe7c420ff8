"""How much of a conversation the API holds, where a request's body shows only the new messages."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

MOST_THREADS = 10_000
"""Threads that are kept in mind; the one least recently continued makes room for another."""


class Held(NamedTuple):
    """What the API adds to a turn.

    Attributes:
        tokens: Of the conversation up to its last answer; `None`: that is not known.
        model: By whose tokenizer they were counted; '' where there are none.
    """

    tokens: int | None
    model: str = ""


_NOTHING, _NOT_KNOWN = Held(0), Held(None)


class Threads:
    """What this process knows of threads that the API holds: the tokens up to each one's last answer."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, Held] = OrderedDict()

    def held(self, thread: object) -> Held:
        """What the API adds to a request with this `thread`.

        A request without one, or that begins one, has nothing added to it.
        """
        if not isinstance(thread, dict) or thread.get("type") == "create":
            return _NOTHING if thread is None or isinstance(thread, dict) else _NOT_KNOWN
        return self._held.get(str(thread.get("previous_message_id")), _NOT_KNOWN)

    def note(self, message_id: str, tokens: int, model: str) -> None:
        """A turn of a thread was answered by *model*: *tokens* of prompt and answer together."""
        self._held.pop(message_id, None)
        self._held[message_id] = Held(tokens, model)
        if len(self._held) > MOST_THREADS:
            self._held.popitem(last=False)


def tokens_of(usage: Any) -> int:
    """Tokens of a turn's prompt, whatever was cached of it, and of its answer."""
    names = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    return sum(value for name in names if isinstance(value := usage.get(name), int))
