"""The governor in the SDK's own chain: every request of a client, held before it leaves and settled after.

The SDK runs the chain once for each attempt, so each attempt is held by itself; the SDK retries. An answer
that streams is passed on as it comes, and its story goes on when it ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import anthropic

from governor.clients import batch_door, orders
from governor.clients.apassing import AsyncPassing
from governor.clients.attempts import is_under_way
from governor.clients.attribution import PARTS, check_tags
from governor.clients.passing import Passing
from governor.errors import PolicyViolation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from anthropic import APIRequest

    from governor.clients.orders import Order
    from governor.clients.passage import AsyncEngine, Engine
    from governor.story.decision import Receipt


ClientT = TypeVar("ClientT", anthropic.Anthropic, anthropic.AsyncAnthropic)


class Door(anthropic.Middleware):
    """What stands in a client's chain, blocking or async; a governor takes it out of its own client's.

    Args:
        engine: Of the governor whose policies and ledger it goes by.
        who: Says whose a request is; `None`: nobody does.
        on_receipt: Told the receipt of each.
        defaults: Parts of an attribution that hold where nothing else says them.
    """

    def __init__(
        self,
        engine: Any,
        who: Callable[[APIRequest], object] | None = None,
        on_receipt: Callable[[Receipt], object] | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        self._engine = engine
        self._who, self._on_receipt, self._defaults = who, on_receipt, dict(defaults or {})
        unknown = sorted(self._defaults.keys() - set(PARTS))
        if unknown:
            raise PolicyViolation(
                f"middleware({unknown[0]}=…) is no part of an attribution: {', '.join(PARTS)}"
            )
        check_tags(self._defaults.get("tags"))

    def _order(self, request: APIRequest) -> Order:
        """The order that the governor itself gave with the request, or one by its attribution."""
        order = orders.ORDER.get()
        if order is not None:
            return order
        told = None if self._who is None else self._who(request)
        return orders.order_of(request, told, self._defaults, self._on_receipt)


def without_doors(client: ClientT) -> ClientT:
    """*client* without what a governor put in its chain: what `call()` sends is held already."""
    kept = [entry for entry in client.middleware if not isinstance(entry, Door)]
    return client if len(kept) == len(client.middleware) else client.with_options(middleware=kept)


def refuse_completions() -> None:
    """Refuse the legacy endpoint.

    Raises:
        PolicyViolation: Always.
    """
    raise PolicyViolation(
        f"{orders.COMPLETIONS} is not governed: its models have no price; use client.messages.create"
    )


class GovernorMiddleware(Door):
    """For `anthropic.Anthropic(middleware=[…])` and the SDK's blocking clients of the clouds."""

    _engine: Engine

    def handle(self, request: APIRequest, call_next: Any) -> Any:
        """As the blocking client calls it, once for each attempt.

        Raises:
            GovernorError: It was refused; nothing was sent, and the SDK does not try again.
        """
        batch_id = batch_door.batch_of(request)
        if batch_id is not None:
            return batch_door.read(self._engine, orders.ungoverned(request), call_next, batch_id)
        if request.method.lower() != "post":
            return call_next(orders.ungoverned(request))
        endpoint = orders.endpoint_of(request)
        if is_under_way(self._engine.attempts, request.options.idempotency_key):
            return call_next(request)
        if endpoint == orders.BATCHES:
            return batch_door.make(self._engine, request, call_next, self._order(request))
        if endpoint == orders.MESSAGES:
            return Passing(self._engine, request, call_next, self._order(request)).go()
        if endpoint == orders.COMPLETIONS:
            refuse_completions()
        return call_next(orders.ungoverned(request))


class AsyncGovernorMiddleware(Door):
    """For `anthropic.AsyncAnthropic(middleware=[…])` and the SDK's async clients of the clouds."""

    _engine: AsyncEngine

    async def handle_async(self, request: APIRequest, call_next: Any) -> Any:
        """As the async client calls it, once for each attempt.

        Raises:
            GovernorError: It was refused; nothing was sent, and the SDK does not try again.
        """
        batch_id = batch_door.batch_of(request)
        if batch_id is not None:
            return await batch_door.read_async(self._engine, orders.ungoverned(request), call_next, batch_id)
        if request.method.lower() != "post":
            return await call_next(orders.ungoverned(request))
        endpoint = orders.endpoint_of(request)
        if is_under_way(self._engine.attempts, request.options.idempotency_key):
            return await call_next(request)
        if endpoint == orders.BATCHES:
            return await batch_door.make_async(self._engine, request, call_next, self._order(request))
        if endpoint == orders.MESSAGES:
            return await AsyncPassing(self._engine, request, call_next, self._order(request)).go()
        if endpoint == orders.COMPLETIONS:
            refuse_completions()
        return await call_next(orders.ungoverned(request))
