"""The governor in the SDK's own chain: every request of a client, held before it leaves and settled after.

The SDK runs the chain once for each attempt, so each attempt is held by itself; the SDK retries. An answer
that streams is passed on as it comes, and its story goes on when it ends.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import anthropic

from governor.clients import batch_door, orders
from governor.clients.attempts import is_under_way
from governor.clients.attribution import PARTS
from governor.clients.driving import AsyncDrive, Drive, Undertaking, Waits
from governor.clients.passage import Passage
from governor.clients.tee import AsyncTee, Tee
from governor.errors import MoneySpent, PolicyViolation
from governor.flow import govern
from governor.story.effects import Abandon, Account, CountTokens, Ended, Resume, Running, Send

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
            return batch_door.read(self._engine, batch_id, call_next(orders.unnamed(request)))
        if request.method.lower() != "post":
            return call_next(orders.unnamed(request))
        endpoint = orders.endpoint_of(request)
        if is_under_way(self._engine.attempts, request.options.idempotency_key):
            return call_next(request)
        if endpoint == orders.BATCHES:
            return batch_door.make(self._engine, request, call_next, self._order(request))
        if endpoint == orders.MESSAGES:
            return _Passing(self._engine, request, call_next, self._order(request)).go()
        if endpoint == orders.COMPLETIONS:
            refuse_completions()
        return call_next(orders.unnamed(request))


class _Passing(Passage):
    """One attempt on its way through the chain, and the reading of its answer."""

    def __init__(self, engine: Engine, request: APIRequest, call_next: Any, order: Order) -> None:
        super().__init__(engine, request, order)
        self._engine, self._next = engine, call_next
        self._turn = threading.Lock()  # whoever closes an answer may not be who reads it
        self._drive: Drive | None = Drive(govern(engine.house_for(self.asked), self.asked), self._perform)

    def go(self) -> Any:
        """The response to return to the SDK, whatever its status; what the flow refuses it with is raised."""
        try:
            outcome = self._run(None)
        except BaseException as error:
            if self.answers(error):
                return self.response
            raise
        if outcome is Waits.READER:
            self._engine.drops.watch(self)
            http = self.response.http_response
            http.stream = Tee(http.stream, self)
        return self.let_go()

    def _run(self, reply: Ended | Running | None) -> Any:
        """Go on with the story; once it is over, nothing of it is kept."""
        with self._turn:
            drive, outcome = self._drive, None
            if drive is None:
                return None
            try:
                outcome = drive.run(reply)
            finally:
                if outcome is not Waits.READER:
                    self._drive, self.done = None, True
                    self._engine.drops.forget(self)
            return outcome

    def _perform(self, effect: Any) -> Any:
        match effect:
            case Send():
                return self._send(effect)
            case Resume():
                self.report_after(effect.report_after_s)
                return Waits.READER
            case Abandon():
                return self.broken_off(effect.error)
            case CountTokens():
                return self._count(effect)
            case Account():
                self.account(effect.receipt)
                return None
            case _:
                return self._engine.perform(effect)

    def _send(self, effect: Send) -> Ended | Waits:
        self.leaving(effect)
        try:
            with self.under_way():
                response = self._next(orders.to_send(self.request, effect, self.asked))
            if isinstance(response, anthropic.APIResponse) and not response.http_response.is_success:
                response.http_response.read()
        except BaseException as error:  # noqa: BLE001 - an interrupted attempt must still be settled
            return self.raised(error)
        return self.answered(response)

    def _count(self, effect: CountTokens) -> Any:
        try:
            response = self._next(orders.to_count(self.request, effect))
            response.http_response.read()
        except Exception as error:  # noqa: BLE001 - what cannot be counted is bounded
            return self.uncounted(error)
        return self.counted(response.http_response)

    # The reading of an answer that streams

    def over(self) -> None:
        """The body has ended by itself."""
        self.hear_end()
        self._end(self.meter.ended())

    def failed(self, error: BaseException) -> None:
        """The body ended in *error*."""
        self._end(self.meter.left(error))

    def closed(self) -> None:
        """The caller closed the body, or has read it; or the garbage collector closes who was reading it.

        It throws `GeneratorExit` into a generator wherever this thread is, in the ledger's own work too; so
        then the end is told elsewhere.
        """
        if not self.is_ours():
            return
        if isinstance(sys.exception(), GeneratorExit):
            self._engine.drops.put(self._left)
        else:
            self._left()

    def dropped(self) -> None:
        """Nobody has the body any more."""
        if self.is_ours():
            self._engine.drops.put(self._left)

    def _left(self) -> None:
        self._end(self.meter.left())

    def report(self) -> None:
        """Tell the story that the answer is still coming; it may break it off.

        Raises:
            BaseException: It does, for this reason.
        """
        if not self.is_ours():
            return
        try:
            self._run(self.running())
        except MoneySpent as error:
            if not self.wanted(error):
                raise

    def _end(self, ended: Ended) -> None:
        if self.ending or not self.is_ours():
            return
        self.ending = True
        try:
            self._run(ended)
        except BaseException as error:
            if error is not ended.error:
                raise


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
            return batch_door.read_async(self._engine, batch_id, await call_next(orders.unnamed(request)))
        if request.method.lower() != "post":
            return await call_next(orders.unnamed(request))
        endpoint = orders.endpoint_of(request)
        if is_under_way(self._engine.attempts, request.options.idempotency_key):
            return await call_next(request)
        if endpoint == orders.BATCHES:
            return await batch_door.make_async(self._engine, request, call_next, self._order(request))
        if endpoint == orders.MESSAGES:
            return await _AsyncPassing(self._engine, request, call_next, self._order(request)).go()
        if endpoint == orders.COMPLETIONS:
            refuse_completions()
        return await call_next(orders.unnamed(request))


class _AsyncPassing(Passage):
    """One attempt on its way through the chain, and the reading of its answer."""

    def __init__(self, engine: AsyncEngine, request: APIRequest, call_next: Any, order: Order) -> None:
        super().__init__(engine, request, order)
        self._engine, self._next = engine, call_next
        self._turn = asyncio.Lock()  # whoever closes an answer may not be who reads it
        self._task = Undertaking()
        self._drive: AsyncDrive | None = None

    async def go(self) -> Any:
        """The response to return to the SDK, whatever its status; what the flow refuses it with is raised."""
        house = await self._engine.house_for(self.asked)
        self._drive = AsyncDrive(govern(house, self.asked), self._perform, self._task)
        try:
            outcome = await self._run(None)
        except BaseException as error:
            if self.answers(error):
                return self.response
            raise
        if outcome is Waits.READER:
            self._engine.drops.watch(self)
            http = self.response.http_response
            http.stream = AsyncTee(http.stream, self)
        return self.let_go()

    async def _run(self, reply: Ended | Running | None) -> Any:
        """Go on with the story; once it is over, nothing of it is kept."""
        async with self._turn:
            drive, outcome = self._drive, None
            if drive is None:
                return None
            try:
                outcome = await drive.run(reply)
            finally:
                if outcome is not Waits.READER:
                    self._drive, self.done = None, True
                    self._engine.drops.forget(self)
            return outcome

    async def _perform(self, effect: Any) -> Any:
        match effect:
            case Send():
                return await self._send(effect)
            case Resume():
                self.report_after(effect.report_after_s)
                return Waits.READER
            case Abandon():
                return self.broken_off(effect.error)
            case CountTokens():
                return await self._count(effect)
            case Account():
                self.account(effect.receipt)
                return None
            case _:
                return await self._engine.perform(effect, self._task)

    async def _send(self, effect: Send) -> Ended | Waits:
        self.leaving(effect)
        if self._task.cancelled is not None:
            return self.unsent(self._task.cancelled)
        try:
            with self.under_way():
                response = await self._next(orders.to_send(self.request, effect, self.asked))
            if isinstance(response, anthropic.AsyncAPIResponse) and not response.http_response.is_success:
                await response.http_response.aread()
        except BaseException as error:  # noqa: BLE001 - an interrupted attempt must still be settled
            return self.raised(error)
        return self.answered(response)

    async def _count(self, effect: CountTokens) -> Any:
        try:
            response = await self._next(orders.to_count(self.request, effect))
            await response.http_response.aread()
        except Exception as error:  # noqa: BLE001 - what cannot be counted is bounded
            return self.uncounted(error)
        return self.counted(response.http_response)

    # The reading of an answer that streams

    async def over(self) -> None:
        """The body has ended by itself."""
        self.hear_end()
        await self._end(self.meter.ended())

    async def failed(self, error: BaseException) -> None:
        """The body ended in *error*."""
        await self._end(self.meter.left(error))

    async def closed(self) -> None:
        """The caller closed the body, or has read it."""
        if self.is_ours():
            await self._end(self.meter.left())

    def dropped(self) -> None:
        """Nobody has the body any more."""
        if self.is_ours():
            self._engine.drops.put(self.closed)

    async def report(self) -> None:
        """Tell the story that the answer is still coming; it may break it off.

        Raises:
            BaseException: It does, for this reason; or the task was cancelled meanwhile.
        """
        if not self.is_ours():
            return
        try:
            await self._run(self.running())
        except MoneySpent as error:
            if not self.wanted(error):
                raise
        if self._task.cancelled is not None:  # while the ledger extended the hold
            await self._end(self.meter.left(self._task.cancelled))
            raise self._task.cancelled

    async def _end(self, ended: Ended) -> None:
        if self.ending or not self.is_ours():
            return
        self.ending = True
        try:
            await self._run(ended)
        except BaseException as error:
            if not self.done:  # cancelled while another task had the turn: the story has heard nothing
                self.ending = False
                self._engine.drops.put(partial(self._end, ended))
            if error is not ended.error:
                raise
