"""One attempt of an async client on its way through the chain, and the reading of its answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anthropic

from governor.clients import orders
from governor.clients.counting import uncounted
from governor.clients.driving import AsyncDrive, Undertaking, Waits
from governor.clients.passage import Passage, count_in
from governor.clients.tee import AsyncTee
from governor.errors import MoneySpent
from governor.flow import govern
from governor.story.effects import Abandon, Account, CountTokens, Ended, Resume, Running, Send
from governor.story.told import Tell

if TYPE_CHECKING:
    from anthropic import APIRequest

    from governor.clients.orders import Order
    from governor.clients.passage import AsyncEngine
    from governor.story.effects import CountLater


class AsyncPassing(Passage):
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
                return await count(self.request, self._next, effect)
            case Account() | Tell():
                self.say(effect)
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
        if self.is_ours():
            await self._engine.drops.finish(self._reported())

    async def _reported(self) -> None:
        try:
            await self._run(self.running())
        except MoneySpent as error:
            if not self.wanted(error):
                raise

    async def _end(self, ended: Ended) -> None:
        """Tell the end in a task of its own: who reads may be collected while it waits for the ledger."""
        if not self.ending and self.is_ours():
            self.ending = True
            await self._engine.drops.finish(self._told(ended))

    async def _told(self, ended: Ended) -> None:
        traceback = None if ended.error is None else ended.error.__traceback__
        try:
            await self._run(ended)
        except BaseException as error:
            if error is not ended.error:
                raise
            # Its frames lead to the caller's own, which would not let go of the caller's next stream.
            error.__traceback__ = traceback


async def count(request: APIRequest, call_next: Any, effect: CountTokens) -> int | CountLater | None:
    """As `passing.count`."""
    try:
        response = await call_next(orders.to_count(request, effect))
        await response.http_response.aread()
    except Exception as error:  # noqa: BLE001 - what cannot be counted is bounded
        return uncounted(error)
    return count_in(response.http_response)
