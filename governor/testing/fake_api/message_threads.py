"""Conversations that the server holds (beta): `thread` in a body of `/v1/messages`.

Sources: the SDK's `lib/threads`, its types of `thread` and of the errors, and Anthropic's documentation of
message threads: each request needs the beta header; a continued turn sends new messages only, without
`system` and `tools`; a thread is gone five minutes after its last request; prices and rate limits are those
of the whole conversation. Assumed: an answer is held once it was generated whole, and one that broke leaves
its turn to be continued again; what is sent although the thread keeps it is a plain 400; nothing else is
refused as unsupported; nothing of the prompt is cached, unless a `Reply` says so.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from governor.testing.fake_api.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

    from governor.testing.fake_api.answers import Answer

BETA = "message-threads-2026-08-12"
HELD_FOR_MS = 300_000
"""How long a thread is held after its last request (documented)."""

_KEPT = ("system", "tools")


@dataclass(slots=True)
class _Held:
    """A conversation up to one of its answers.

    Attributes:
        kept: The fields that the thread keeps from the turn that created it.
        messages: Every message so far, the answer among them.
        used_ms: When the answer was given, Unix milliseconds.
        state: Whether nobody goes on from here, or somebody is about to, or has.
    """

    kept: dict[str, Any]
    messages: list[Any]
    used_ms: int
    state: str = "open"


@dataclass(slots=True)
class MessageThreads:
    """The conversations held, by the id of each answer; safe to use from several threads."""

    now_ms: Callable[[], int]
    _held: dict[str, _Held] = field(default_factory=dict[str, _Held])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def turn(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Turn:
        """The turn that a request is; one without `thread` is its own conversation.

        Raises:
            ApiError: 400 for what a thread does not take, 404 `thread_not_found`.
        """
        thread = body.get("thread")
        if thread is None:
            return Turn(self, dict(body))
        _check_thread(thread, body, headers)
        if thread["type"] == "create":
            return Turn(self, dict(body), held=True)
        with self._lock:
            previous = self._previous(thread["previous_message_id"])
            previous.state = "continuing"
        whole = {**body, **previous.kept, "messages": [*previous.messages, *body["messages"]]}
        return Turn(self, whole, held=True, previous=previous)

    def _previous(self, message_id: str) -> _Held:
        held = self._held.get(message_id)
        if held is None or self.now_ms() > held.used_ms + HELD_FOR_MS:
            message = f"thread: no thread was found for previous_message_id {message_id}"
            raise ApiError(404, message, error_code="thread_not_found")
        if held.state == "continued":
            message = f"thread: the response {message_id} was continued already"
            raise ApiError(400, message, error_code="thread_already_continued")
        if held.state == "continuing":
            message = f"thread: another request is continuing the response {message_id}"
            raise ApiError(400, message, error_code="thread_continue_in_flight")
        return held

    def keep(self, turn: Turn, answer: Answer) -> None:
        """Hold the conversation of *turn* under the id of its answer.

        What a fallback model wrote is not held (SDK).
        """
        if any(part.get("type") == "fallback_message" for part in answer.usage.get("iterations") or ()):
            return
        reply = {"role": "assistant", "content": answer.message()["content"]}
        kept = {key: turn.body[key] for key in _KEPT if key in turn.body}
        with self._lock:
            self._held[answer.id] = _Held(kept, [*turn.body["messages"], reply], self.now_ms())
            if turn.previous is not None:
                turn.previous.state = "continued"

    def release(self, previous: _Held) -> None:
        """Let a turn that came to nothing be tried again."""
        with self._lock:
            if previous.state == "continuing":
                previous.state = "open"

    def clear(self) -> None:
        """Forget every conversation."""
        with self._lock:
            self._held.clear()


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation, from its request to its answer.

    Attributes:
        threads: Where conversations are held.
        body: The request with the whole conversation: what is checked, counted, answered and billed.
        held: Whether its answer is to be held.
        previous: What it goes on from, if anything.
    """

    threads: MessageThreads
    body: dict[str, Any]
    held: bool = False
    previous: _Held | None = None

    def answered(self, answer: Answer) -> None:
        """The answer was generated whole."""
        if self.held:
            self.threads.keep(self, answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.previous is not None:
            self.threads.release(self.previous)


def _check_thread(thread: Any, body: Mapping[str, Any], headers: Mapping[str, str]) -> None:
    """Refuse what is no thread, and what a thread does not take."""
    if BETA not in headers.get("anthropic-beta", ""):
        raise ApiError(400, "thread: Extra inputs are not permitted")
    kind = thread.get("type") if isinstance(thread, dict) else None
    if kind not in ("create", "continue"):
        raise ApiError(400, "thread.type: Input should be 'create' or 'continue'")
    if kind == "create":
        return
    if not isinstance(thread.get("previous_message_id"), str):
        raise ApiError(400, "thread.previous_message_id: Field required")
    if not isinstance(body.get("messages"), list):
        raise ApiError(400, "messages: Input should be a valid list")
    for key in _KEPT:
        if key in body:
            raise ApiError(400, f"{key}: the thread keeps the {key} it was created with; leave it out")
