"""One attempt of a blocking client on its way through the chain, and the reading of its answer."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

import anthropic

from governor.clients import orders
from governor.clients.counting import uncounted
from governor.clients.driving import Drive, Waits
from governor.clients.passage import Passage, count_in
from governor.clients.tee import Tee
from governor.errors import MoneySpent
from governor.flow import govern
from governor.story.effects import Abandon, Account, CountTokens, Ended, Resume, Running, Send
from governor.story.told import Tell

if TYPE_CHECKING:
    from anthropic import APIRequest

    from governor.clients.orders import Order
    from governor.clients.passage import Engine
    from governor.story.effects import CountLater


class Passing(Passage):
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
                return count(self.request, self._next, effect)
            case Account() | Tell():
                self.say(effect)
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
        traceback = None if ended.error is None else ended.error.__traceback__
        try:
            self._run(ended)
        except BaseException as error:
            if error is not ended.error:
                raise
            # Its frames lead to the caller's own, which would not let go of the caller's next stream.
            error.__traceback__ = traceback


def count(request: APIRequest, call_next: Any, effect: CountTokens) -> int | CountLater | None:
    """Count a prompt by the client that *request* is of, further on in its chain."""
    try:
        response = call_next(orders.to_count(request, effect))
        response.http_response.read()
    except Exception as error:  # noqa: BLE001 - what cannot be counted is bounded
        return uncounted(error)
    return count_in(response.http_response)
