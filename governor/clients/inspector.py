"""The application's own inspector of what is sent, on the same short lead as its scorer."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, cast

from governor.clients.scorer import LIMIT_S, AsyncScorer, Scorer, _Watch
from governor.errors import PolicyViolation
from governor.findings import Findings, read_findings
from governor.story.effects import Inspected

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from governor.policy import Attribution

    Look = Callable[[Mapping[str, Any], Attribution], Findings | Mapping[str, Any] | None]
    """Given the parameters of `messages.create` and who asks: what is in them, as `data` of `call()`."""
    AsyncLook = Callable[[Mapping[str, Any], Attribution], Awaitable[Findings | Mapping[str, Any] | None]]
    """The same, awaited."""


class _Inspecting(_Watch):
    """What an inspector's answers are worth."""

    name = "inspector"
    instead = "so the record says that the call was not inspected"

    def _judged(self, answer: Any) -> Any:
        value, error = answer
        if error is not None:
            return self._failed(f"it raised {type(error).__name__}")
        if inspect.iscoroutine(value):
            value.close()
        try:
            return Inspected(read_findings(value))
        except PolicyViolation:
            return self._failed("it answered what are no findings")


class Inspector(_Inspecting, Scorer):
    """An inspector for calls that block.

    Args:
        look: The callable, or `None`.
        limit_s: How long to wait for an answer; only tests give one.

    Raises:
        TypeError: It cannot be called, or is an `async` one, for which there is no event loop.
    """

    def __init__(self, look: Look | None, limit_s: float = LIMIT_S) -> None:
        super().__init__(cast("Any", look), limit_s=limit_s)


class AsyncInspector(_Inspecting, AsyncScorer):
    """An inspector for calls on an event loop, blocking or async.

    Args:
        look: The callable, or `None`.
        limit_s: How long to wait for an answer; only tests give one.

    Raises:
        TypeError: It cannot be called.
    """

    def __init__(self, look: Look | AsyncLook | None, limit_s: float = LIMIT_S) -> None:
        super().__init__(cast("Any", look), limit_s=limit_s)
