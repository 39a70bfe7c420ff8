"""What the blocking and the async door share of one attempt: nothing here waits."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import anthropic

from governor.clients import orders
from governor.clients.counting import LATER_S, counted, uncounted
from governor.clients.driving import Waits
from governor.clients.streaming import Meter, retry_after_s
from governor.clients.threads import tokens_of
from governor.clients.wire import Unreadable, Whole, reader_of
from governor.story.effects import CountLater, Ended

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import httpx2
    from anthropic import APIRequest

    from governor.clients.driving import Undertaking
    from governor.clients.drops import AsyncDrops, Drops
    from governor.clients.orders import Order
    from governor.clients.threads import Threads
    from governor.clients.wire import Reader
    from governor.story.decision import Receipt
    from governor.story.effects import Send
    from governor.story.request import House, Request

log = logging.getLogger("governor")

_TOO_OFTEN = 429
_AUTHENTICATION = "authentication method"


class MoneySpent(Exception):  # noqa: N818 - it ends a stream in good order; nobody is told of it
    """What was held for an answer, or what its run may spend, is used up: its caller wants it to end then."""


class Engine(NamedTuple):
    """What a governor lends to the doors that it stands in.

    Attributes:
        house_for: What a request consults.
        perform: Carries out one effect of a story, but for those of the sending.
        threads: What is known of conversations that the API holds.
        drops: Where the ends of answers go that were dropped unread.
    """

    house_for: Callable[[Request], House]
    perform: Callable[[Any], Any]
    threads: Threads
    drops: Drops


class AsyncEngine(NamedTuple):
    """As `Engine`, awaited."""

    house_for: Callable[[Request], Awaitable[House]]
    perform: Callable[[Any, Undertaking], Awaitable[Any]]
    threads: Threads
    drops: AsyncDrops


class Passage:
    """One attempt: what is asked, what came of it, and the reading of an answer that streams.

    Attributes:
        asked: The request, as the governor's flow knows it.
        response: The SDK's response to the last sending; `None` where none came.
        done: Whether the story has been told the end.
        ending: Whether the story is being told the end: once, though a dropped answer's body is closed too.
        stopped: Whether the body is to end now, in good order.
    """

    meter: Meter

    def __init__(self, engine: Engine | AsyncEngine, request: APIRequest, order: Order) -> None:
        self._threads, self.request, self._order = engine.threads, request, order
        self.asked = orders.asked_for(request, order, engine.threads)
        self.response: Any = None
        self.done = self.ending = self.stopped = False
        self._ended: Ended | None = None
        self._reader: Reader = Unreadable()
        self._sent: Send | None = None
        self._report_at = 0.0

    # Sending

    def leaving(self, effect: Send) -> None:
        """A request is handed on in the chain."""
        self.meter, self.response, self._sent = Meter(), None, effect
        self.meter.leaving()
        self.report_after(effect.report_after_s)

    def raised(self, error: BaseException) -> Ended:
        """The chain raised *error*; it goes to the caller as it is."""
        self._ended = replace(self.meter.failed(error, sent=_may_have_left(error)), error=error)
        return self._ended

    def answered(self, response: Any) -> Ended | Waits:
        """The chain returned *response*: how the sending ended, or that its answer is being read."""
        self.response = response
        if not isinstance(response, (anthropic.APIResponse, anthropic.AsyncAPIResponse)):
            self._ended = Ended("refused")  # another middleware answered; nothing was sent
            return self._ended
        http = response.http_response
        if not http.is_success:
            self._ended = self._refused(http)
            return self._ended
        self.meter.opened(http.headers)
        if http.is_stream_consumed or http.is_closed:
            self._ended = self._read(http)
            return self._ended
        self._reader = reader_of(http)
        if self._order.opened is not None and self._sent is not None:
            self._order.opened(self, self._sent)
        return Waits.READER

    def _refused(self, http: httpx2.Response) -> Ended:
        """The end of a sending that was answered by an error; the SDK is told not to retry a spend cap."""
        try:
            body = http.json()
        except ValueError:
            body = None
        error = anthropic.APIStatusError(http.text[:200], response=http, body=body)
        ended = self.meter.failed(error)
        if http.status_code == _TOO_OFTEN and not ended.limited:
            http.headers["x-should-retry"] = "false"
        return ended

    def _read(self, http: httpx2.Response) -> Ended:
        """The end of a sending whose whole answer is there."""
        reader = Whole()
        for event in (*reader.feed(http.content), *reader.end()):
            self.meter.heard(event)
        return self.meter.ended()

    def unsent(self, error: BaseException) -> Ended:
        """It was given up before it was handed on."""
        self._ended = replace(self.meter.failed(error, sent=False), error=error)
        return self._ended

    def let_go(self) -> Any:
        """The response, for its caller: kept by who reads it beside, it could not be dropped."""
        response, self.response = self.response, None
        return response

    def answers(self, error: BaseException) -> bool:
        """Whether *error* is the end of the last sending, for which the SDK has a response."""
        return self.response is not None and self._ended is not None and error is self._ended.error

    def account(self, receipt: Receipt) -> None:
        """Tell the receipt to whoever is to know, and keep how long a thread is now."""
        said = getattr(self, "meter", None) and self.meter.message
        if said is not None and self.asked.body.get("thread") is not None:
            self._threads.note(said.id, tokens_of(receipt.usage))
        for tell in self._order.accounts:
            try:
                tell(receipt)
            except Exception:
                log.exception("the listener for receipts failed on request %s", receipt.request_id)

    # Counting

    def uncounted(self, error: Exception) -> CountLater | None:
        """What a count that raised means."""
        return uncounted(error)

    def counted(self, http: httpx2.Response) -> int | CountLater | None:
        """The tokens in the answer to a count."""
        if http.status_code == _TOO_OFTEN:
            asked_s = retry_after_s(http.headers)
            return CountLater(LATER_S if asked_s is None else asked_s)
        if not http.is_success:
            return None
        try:
            return counted(_Count(http.json().get("input_tokens")))
        except (ValueError, AttributeError):
            return None

    # Reading

    def report_after(self, seconds: float) -> None:
        """Be due again so many seconds from now."""
        self._report_at = time.monotonic() + (min(seconds, 1.0) if self._order.spent else seconds)

    def is_due(self) -> bool:
        """Whether the story is to be told that the answer is still coming."""
        if self.done:
            return False
        return time.monotonic() >= self._report_at or (self._order.spent is not None and self._used_up())

    def hear(self, data: bytes) -> None:
        """Read what passes. What cannot be read ends no answer: its hold is charged whole."""
        if self.done:
            return
        try:
            for event in self._reader.feed(data):
                self.meter.heard(event)
        except Exception:
            log.exception("the answer to request %s cannot be read beside", self.asked.id)
            self._reader = Unreadable()

    def hear_end(self) -> None:
        """Read what the end of the body makes."""
        if not self.done:
            for event in self._reader.end():
                self.meter.heard(event)

    def spent(self) -> MoneySpent | None:
        """Why the answer is to end now; `None`: it goes on."""
        if self._order.spent is None:
            return None
        if self._used_up():
            return MoneySpent("what was held for the answer is used up")
        return MoneySpent("what its run may spend is used up") if self._order.spent() else None

    def _used_up(self) -> bool:
        return False


class _Count:
    """A count as the SDK's own answer has it."""

    def __init__(self, input_tokens: object) -> None:
        self.input_tokens = input_tokens


def _may_have_left(error: BaseException) -> bool:
    """Whether a request may have reached the API though the chain raised *error*."""
    if isinstance(error, anthropic.AnthropicError) and not isinstance(error, anthropic.APIError):
        return False
    return not (isinstance(error, TypeError) and _AUTHENTICATION in str(error))
