"""The doors of a governor beside `call()`: the middleware for clients of anybody's, and streams."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from governor.clients.middleware import AsyncGovernorMiddleware, GovernorMiddleware
from governor.clients.request import make_request
from governor.clients.streams import AsyncStreamManager, StreamManager

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import anthropic
    from anthropic import APIRequest

    from governor.clients.in_force import InForce
    from governor.clients.passage import AsyncEngine, Engine
    from governor.story.decision import Receipt


class Doors(ABC):
    """The doors of a blocking governor."""

    _engine: Engine
    _in_force: InForce

    def middleware(
        self,
        *,
        who: Callable[[APIRequest], object] | None = None,
        on_receipt: Callable[[Receipt], object] | None = None,
        **defaults: Any,
    ) -> GovernorMiddleware:
        """What governs every request of a client: `anthropic.Anthropic(middleware=[gov.middleware()])`.

        Whose a request is, is said by its headers (`governor-user` and so on, which are not sent), by *who*,
        by the `governor.attribute` around it, or by *defaults*; the first that says a part decides it.

        Args:
            who: Called with the SDK's `APIRequest`; answers a mapping of some of `user`, `department`,
                `feature`, `run`, `tags`, `priority`, `tier`, `pin`, or `None`. It may raise.
            on_receipt: Called with the receipt of each attempt, in the thread that read its answer; what it
                raises is logged.
            defaults: `user=…`, `department=…` and the others, for requests of which nothing else says them.

        Raises:
            PolicyViolation: A default is no part of an attribution.
        """
        return GovernorMiddleware(self._engine, who, on_receipt, defaults)

    def stream(
        self,
        *,
        user: str,
        department: str,
        feature: str | None = None,
        run: str | None = None,
        tags: Mapping[str, str] | None = None,
        priority: str | None = None,
        data: Mapping[str, Any] | None = None,
        model: str = "auto",
        max_tokens: int | None = None,
        pin: bool = False,
        tier: str | None = None,
        request_id: str | None = None,
        stop_when_spent: bool = False,
        **params: Any,
    ) -> StreamManager:
        """Send one request within its budgets, and read its answer as it comes.

        ```python
        with gov.stream(user="ada", department="engineering", max_tokens=1024, messages=[…]) as stream:
            for text in stream.text_stream:
                print(text, end="", flush=True)
        stream.receipt.cost
        ```

        The flow retries, and moves to another model, until an answer begins; from then on its events go to
        the caller as they come, as the SDK's own stream gives them. Whatever ends it, it is settled by what
        is known. An answer that streams is never given from what was kept.

        Args:
            user: As `call()` takes it.
            department: The same.
            feature: The same.
            run: The same.
            tags: The same.
            priority: The same.
            data: The same.
            model: The same.
            max_tokens: The same.
            pin: The same.
            tier: The same.
            request_id: The same.
            stop_when_spent: End the answer in good order when what was held for it is used up, or when a
                budget of its run is frozen or used up meanwhile; looked at once a second.
            params: The other arguments of `messages.stream`.

        Returns:
            What opens the stream on `with`; the errors of `call()` are raised there.

        Raises:
            PolicyViolation: An argument is malformed, or none that can be priced.
        """
        request = make_request(
            user=user,
            department=department,
            feature=feature,
            run=run,
            tags=tags,
            priority=priority,
            data=data,
            model=model,
            max_tokens=max_tokens,
            pin=pin,
            tier=tier,
            request_id=request_id,
            params=params,
        )
        return StreamManager(
            self._streamer(), request, lambda: self._in_force.house, stop_when_spent=stop_when_spent
        )

    @abstractmethod
    def _streamer(self) -> anthropic.Anthropic:
        """The client to stream with."""


class AsyncDoors(ABC):
    """The doors of an async governor."""

    _engine: AsyncEngine
    _in_force: InForce

    def middleware(
        self,
        *,
        who: Callable[[APIRequest], object] | None = None,
        on_receipt: Callable[[Receipt], object] | None = None,
        **defaults: Any,
    ) -> AsyncGovernorMiddleware:
        """As `Governor.middleware`, for async clients: `anthropic.AsyncAnthropic(middleware=[…])`."""
        return AsyncGovernorMiddleware(self._engine, who, on_receipt, defaults)

    def stream(
        self,
        *,
        user: str,
        department: str,
        feature: str | None = None,
        run: str | None = None,
        tags: Mapping[str, str] | None = None,
        priority: str | None = None,
        data: Mapping[str, Any] | None = None,
        model: str = "auto",
        max_tokens: int | None = None,
        pin: bool = False,
        tier: str | None = None,
        request_id: str | None = None,
        stop_when_spent: bool = False,
        **params: Any,
    ) -> AsyncStreamManager:
        """As `Governor.stream`, for `async with`."""
        request = make_request(
            user=user,
            department=department,
            feature=feature,
            run=run,
            tags=tags,
            priority=priority,
            data=data,
            model=model,
            max_tokens=max_tokens,
            pin=pin,
            tier=tier,
            request_id=request_id,
            params=params,
        )
        return AsyncStreamManager(
            self._streamer(), request, lambda: self._in_force.house, stop_when_spent=stop_when_spent
        )

    @abstractmethod
    def _streamer(self) -> anthropic.AsyncAnthropic:
        """The client to stream with."""
