"""What the fake API answers: the default reply, and a queue of answers to give first."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from governor.testing.fake_api.faults import Fault

DEFAULT_OUTPUT_TOKENS = 100
DEFAULT_RESULT_TOKENS = 3000

_SET_BY_USES = {"input_tokens", "output_tokens", "iterations", "server_tool_use"}


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
            charges follows from it; see `Catalogue.charge`.
        stop_reason: Default: `max_tokens` if cut, else `tool_use` if *content* has one, else `end_turn`.
        delay_ms: Silence before the head of the answer, in milliseconds.
        event_delay_ms: Silence between two events of a stream, in milliseconds. With 0, the whole stream
            leaves in one piece; with more, a client that goes away leaves a partial bill.
        tokens_per_delta: Tokens of text in one event of a stream; default: the fake API's setting. With 1, a
            text of 20,000 tokens is a stream of 20,000 events.
        model: The model that answers and is billed; default: the one asked for. Of a request to a cloud's
            endpoint, a model without an endpoint in its name is billed at the one asked for.
        searches: How often the model uses a `web_search_*` tool before it answers; see below.
        fetches: The same for a `web_fetch_*` tool.
        code_runs: The same for a `code_execution_*` tool.
        tool_searches: The same for a `tool_search_tool_*` tool.
        tool_result_tokens: Tokens of each result of these.

    The API runs those tools itself, in a loop. Each use is one pass of the model, and one more pass answers;
    the usage is the sum over the passes, and lists them as `iterations`. *output_tokens* is then the sum over
    the passes, too; without it each use adds 30 tokens to the text's. Uses beyond a tool's `max_uses` become
    one use that fails, with a pass of its own. If the results no longer fit the context window, the answer
    ends after the last that ran, with `model_context_window_exceeded` and no text. A request without such a
    tool is a mistake of the test, and answered 500 with the reason. The rules and what is assumed in them:
    `governor.testing.fake_api.server_tools`.

    Raises:
        ValueError: A number of uses or of tokens is negative, *tokens_per_delta* is below 1, or *usage*
            sets what the uses determine.
    """

    text: str | None = None
    output_tokens: int | None = None
    content: Sequence[Mapping[str, Any]] | None = None
    usage: Mapping[str, Any] = field(default_factory=dict[str, Any])
    stop_reason: str | None = None
    delay_ms: int = 0
    event_delay_ms: int = 0
    tokens_per_delta: int | None = None
    model: str | None = None
    searches: int = 0
    fetches: int = 0
    code_runs: int = 0
    tool_searches: int = 0
    tool_result_tokens: int = DEFAULT_RESULT_TOKENS

    def __post_init__(self) -> None:
        """Refuse what no answer can be made of."""
        uses = (self.searches, self.fetches, self.code_runs, self.tool_searches)
        if min(*uses, self.tool_result_tokens) < 0:
            raise ValueError(
                "searches, fetches, code_runs, tool_searches, tool_result_tokens: give at least 0"
            )
        if self.tokens_per_delta is not None and self.tokens_per_delta < 1:
            raise ValueError(f"tokens_per_delta is {self.tokens_per_delta}; give at least 1")
        fixed = sorted(self.usage.keys() & _SET_BY_USES) if any(uses) else []
        if fixed:
            raise ValueError(f"usage sets {fixed[0]}, which follows from the server tools the Reply uses")


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

    def default(self, body: dict[str, Any]) -> Reply:
        """What *body* is answered where nothing is queued."""
        with self._lock:
            default = self._default
        return made(default, body)

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
