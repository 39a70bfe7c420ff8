"""What the fake API answers: the default reply, and a queue of answers to give first."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from governor.testing.fake_api.faults import Fault

DEFAULT_OUTPUT_TOKENS = 100


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer of `/v1/messages`.

    Everything is optional: `Reply()` is a text of 100 tokens, or of `max_tokens` where that is less.

    Attributes:
        text: The answer's text; its tokens are its characters / 4, rounded up. It is cut at `max_tokens`.
        output_tokens: Output tokens to report, at most `max_tokens`; without *text*, a filler of that
            length is made (4 characters a token).
        content: Content blocks as the API spells them, for example a `tool_use`; replaces *text*. They are
            never cut; their tokens are their characters / 4 unless *output_tokens* says otherwise.
        usage: Merged over the reported usage as it is, unchecked: `{"cache_read_input_tokens": 800}`,
            `{"cache_creation": {"ephemeral_1h_input_tokens": 500}}`, `{"output_tokens": 7}`,
            `{"service_tier": "batch"}`, `{"speed": "fast"}`, `{"inference_geo": "us"}`,
            `{"server_tool_use": {"web_search_requests": 2}}`, `{"iterations": [...]}`. What the bill
            charges follows from it.
        stop_reason: Default: `max_tokens` if cut, else `tool_use` if *content* has one, else `end_turn`.
        delay_ms: Silence before the head of the answer, in milliseconds.
        event_delay_ms: Silence between two events of a stream, in milliseconds. With 0, the whole stream
            leaves in one piece; with more, a client that goes away leaves a partial bill.
        model: The model that answers and is billed; default: the one asked for.
    """

    text: str | None = None
    output_tokens: int | None = None
    content: Sequence[Mapping[str, Any]] | None = None
    usage: Mapping[str, Any] = field(default_factory=dict[str, Any])
    stop_reason: str | None = None
    delay_ms: int = 0
    event_delay_ms: int = 0
    model: str | None = None


ReplyMaker = Callable[[dict[str, Any]], Reply]
"""Makes a reply from a request's body. It runs in the server's thread and must not block."""


class Script:
    """The default reply and the queue before it; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: deque[Reply | Fault] = deque()
        self._default: Reply | ReplyMaker = Reply(output_tokens=DEFAULT_OUTPUT_TOKENS)
        self._count_fault: Fault | None = None
        self._count_faults_left: int | None = None

    def set_default(self, default: Reply | ReplyMaker) -> None:
        """Answer with *default* whenever the queue is empty."""
        with self._lock:
            self._default = default

    def push(self, steps: Sequence[Reply | Fault]) -> None:
        """Queue *steps* behind what is queued already."""
        with self._lock:
            self._queue.extend(steps)

    def take(self, body: dict[str, Any]) -> tuple[Reply, Fault | None]:
        """The next answer, and what goes wrong with it."""
        with self._lock:
            step = self._queue.popleft() if self._queue else self._default
            default = self._default
        if isinstance(step, Fault):
            return step.reply or made(default, body), step
        return made(step, body), None

    def set_count_fault(self, fault: Fault | None, times: int | None) -> None:
        """Answer the next *times* counts with *fault*, every one where *times* is `None`."""
        with self._lock:
            self._count_fault, self._count_faults_left = fault, times

    def take_count_fault(self) -> Fault | None:
        """What goes wrong with the next count, if anything."""
        with self._lock:
            if self._count_faults_left is not None:
                if self._count_faults_left <= 0:
                    return None
                self._count_faults_left -= 1
            return self._count_fault


def made(step: Reply | ReplyMaker, body: dict[str, Any]) -> Reply:
    """A reply as it is, or the one that a callable makes of *body*."""
    return step if isinstance(step, Reply) else step(body)
