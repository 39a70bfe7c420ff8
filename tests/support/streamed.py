"""One stream of `gov.stream()`, blocking or async, read in the way a test asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from support.governed import HELLO, AsyncCaller

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.governed import Caller


@dataclass
class Read:
    """What came of a stream.

    Attributes:
        events: The types of the events that were read, in order.
        text: The text that came.
        costs: What the live meter said after each event, in nano-dollars.
        message: The final message; `None` where it was left or failed.
        error: What was raised.
        stream: The stream itself.
    """

    events: list[str] = field(default_factory=list)
    text: str = ""
    costs: list[int] = field(default_factory=list)
    message: Any = None
    error: BaseException | None = None
    stream: Any = None

    def saw(self, event: Any) -> None:
        """An event came."""
        self.events.append(event.type)
        self.costs.append(self.stream.meter.cost.nanos)
        if event.type == "text":
            self.text += event.text


def read(
    caller: Caller,
    *,
    leave_after: int | None = None,
    at: Callable[[Read], None] | None = None,
    **request: Any,
) -> Read:
    """Read a stream to its end, or leave it after so many events; *at* is called after each event."""
    whole = {"user": "u", "department": "team", "messages": HELLO, "max_tokens": 100, **request}
    if isinstance(caller, AsyncCaller):
        return caller.on_loop(_awaited(caller.governor, whole, leave_after, at)).result()
    return _blocking(caller.governor, whole, leave_after, at)


def _goes_on(found: Read, event: Any, leave_after: int | None, at: Callable[[Read], None] | None) -> bool:
    found.saw(event)
    if at is not None:
        at(found)
    return leave_after is None or len(found.events) < leave_after


def _blocking(governor: Any, request: Any, leave_after: int | None, at: Any) -> Read:
    found = Read()
    try:
        with governor.stream(**request) as found.stream:
            for event in found.stream:
                if not _goes_on(found, event, leave_after, at):
                    return found
            found.message = found.stream.get_final_message()
    except Exception as error:  # noqa: BLE001 - the test looks at it
        found.error = error
    return found


async def _awaited(governor: Any, request: Any, leave_after: int | None, at: Any) -> Read:
    found = Read()
    try:
        async with governor.stream(**request) as found.stream:
            async for event in found.stream:
                if not _goes_on(found, event, leave_after, at):
                    return found
            found.message = await found.stream.get_final_message()
    except Exception as error:  # noqa: BLE001 - the test looks at it
        found.error = error
    return found
