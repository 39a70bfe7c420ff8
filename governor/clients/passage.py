"""What the blocking and the async door share of one attempt: nothing here waits."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import anthropic

from governor.clients import orders
from governor.clients.attempts import under_way
from governor.clients.counting import LATER_S, counted
from governor.clients.driving import Waits
from governor.clients.streaming import Meter, retry_after_s
from governor.clients.threads import tokens_of
from governor.clients.wire import Unreadable, Whole, reader_of
from governor.errors import GovernorError, MoneySpent
from governor.story.effects import Account, CountLater, Ended, Running
from governor.story.request import Door
from governor.story.settlement import actual
from governor.telemetry.spans import tell_sending

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from contextlib import AbstractContextManager

    import httpx2
    from anthropic import APIRequest

    from governor.clients.attempts import Attempts
    from governor.clients.driving import Undertaking
    from governor.clients.drops import AsyncDrops, Drops
    from governor.clients.orders import Order
    from governor.clients.threads import Threads
    from governor.clients.wire import Reader
    from governor.story.decision import Receipt
    from governor.story.effects import Send
    from governor.story.request import House, Request
    from governor.story.told import Tell
    from governor.telemetry.teller import Teller

log = logging.getLogger("governor")

_TOO_OFTEN = 429
_AUTHENTICATION = "authentication method"


class Engine(NamedTuple):
    """What a governor lends to the doors that it stands in.

    Attributes:
        house_for: What a request consults.
        perform: Carries out one effect of a story, but for those of the sending.
        threads: What is known of conversations that the API holds.
        attempts: What is known of calls that the SDK may try again.
        drops: Where the ends of answers go that were dropped unread.
        teller: Tells how calls ended.
    """

    house_for: Callable[[Request | None], House]
    perform: Callable[[Any], Any]
    threads: Threads
    attempts: Attempts
    drops: Drops
    teller: Teller


class AsyncEngine(NamedTuple):
    """As `Engine`, awaited."""

    house_for: Callable[[Request | None], Awaitable[House]]
    perform: Callable[[Any, Undertaking], Awaitable[Any]]
    threads: Threads
    attempts: Attempts
    drops: AsyncDrops
    teller: Teller


class Passage:
    """One attempt: what is asked, what came of it, and the reading of an answer that streams.

    Attributes:
        asked: The request, as the governor's flow knows it.
        response: The SDK's response to the last sending; `None` where none came.
        done: Whether the story has been told the end.
        ending: Whether the story is being told the end: once, though a dropped answer's body is closed too.
        stopped: Why the body is to end now, in good order; '' while it is not.
    """

    meter: Meter

    def __init__(self, engine: Engine | AsyncEngine, request: APIRequest, order: Order) -> None:
        self._threads, self._attempts = engine.threads, engine.attempts
        self._teller, self._span = engine.teller, engine.teller.span()
        self.request, self._order = request, order
        self.asked = orders.asked_for(request, order, engine.threads, engine.attempts)
        self.response: Any = None
        self.done, self.ending, self.stopped = False, False, ""
        self._process = os.getpid()
        self._ended: Ended | None = None
        self._reader: Reader = Unreadable()
        self._sent: Send | None = None
        self._report_at = 0.0

    # Sending

    def leaving(self, effect: Send) -> None:
        """A request is handed on in the chain."""
        if self._span is not None:
            tell_sending(self._span, effect)
        self.meter, self.response, self._sent = Meter(), None, effect
        self.meter.leaving()
        self.report_after(effect.report_after_s)

    def under_way(self) -> AbstractContextManager[None]:
        """Inside, the request is on its way; another door of this governor's lets it pass."""
        return under_way(self._attempts, self.request.options.idempotency_key)

    def raised(self, error: BaseException) -> Ended:
        """The chain raised *error*; it goes to the caller as it is."""
        self._ended = replace(self.meter.failed(error, sent=may_have_left(error)), error=error)
        return self._ended

    def answered(self, response: Any) -> Ended | Waits:
        """The chain returned *response*: how the sending ended, or that its answer is being read."""
        self.response = response
        if not isinstance(response, (anthropic.APIResponse, anthropic.AsyncAPIResponse)):
            self._ended = Ended("refused")  # another middleware answered; nothing was sent
            return self._ended
        http = response.http_response
        if not http.is_success:
            self._ended = refused(self.meter, http)
            return self._ended
        self.meter.opened(http.headers)
        if http.is_stream_consumed or http.is_closed:
            self._ended = self._read(http)
            return self._ended
        self._reader = reader_of(http)
        if self._order.opened is not None:
            self._order.opened(self)
        return Waits.READER

    def _read(self, http: httpx2.Response) -> Ended:
        """The end of a sending whose whole answer is there."""
        self._reader = Whole()
        self._hear(partial(self._reader.feed, http.content))
        self._hear(self._reader.end)
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

    def say(self, effect: Account | Tell) -> None:
        """Tell how it ended to whoever is to know; its span is the SDK's, wherever the end is told from."""
        if isinstance(effect, Account):
            self.account(effect.receipt)
        else:
            self._teller.tell(effect, self._span)

    def account(self, receipt: Receipt) -> None:
        """Tell the receipt to whoever is to know, and keep how long a thread is now.

        How long an answer is that was not seen to its end is not known, though the API may hold it.
        """
        said = getattr(self, "meter", None) and self.meter.message
        threaded = self.asked.body.get("thread") is not None
        if threaded and said is not None and said.stop_reason is not None:
            self._threads.note(said.id, tokens_of(receipt.usage), receipt.model)
        if self.asked.door is Door.SDK:
            self._attempts.reached(self.asked.call_id, self.asked.leg + len(receipt.legs) - 1)
        for tell in self._order.accounts:
            try:
                tell(receipt)
            except Exception:
                log.exception("the listener for receipts failed on request %s", receipt.request_id)

    # Reading

    def report_after(self, seconds: float) -> None:
        """Be due again so many seconds from now."""
        self._report_at = time.monotonic() + seconds

    def take(self, data: bytes) -> bool:
        """Read what passes; whether the story is to be told now that the answer is still coming.

        What cannot be read ends no answer: its hold is charged whole.
        """
        if self.done:
            return False
        self._hear(partial(self._reader.feed, data))
        return time.monotonic() >= self._report_at

    def _hear(self, events: Callable[[], Iterable[Any]]) -> None:
        try:
            for event in events():
                self.meter.heard(event)
        except Exception:
            log.exception("the answer to request %s cannot be read beside", self.asked.id)
            self.meter.unseen()
            self._reader = Unreadable()

    def hear_end(self) -> None:
        """Read what the end of the body makes."""
        if not self.done:
            self._hear(self._reader.end)

    def is_ours(self) -> bool:
        """Whether the end is still to be told, and by this process: in a forked child it is its parent's."""
        if os.getpid() != self._process:
            self.done = True
        return not self.done

    def running(self) -> Running:
        """What the story is told of an answer that is still coming."""
        return Running(self.meter.so_far() if self.asked.stop_when_spent else None)

    def broken_off(self, error: BaseException) -> Ended:
        """The story breaks the answer off; the caller is told *error*, unless it wanted that."""
        self.ending = True  # whoever is told the receipt may close the answer
        self.stopped = str(error) if isinstance(error, MoneySpent) else ""
        self._ended = self.meter.left(error)
        return self._ended

    def wanted(self, error: BaseException) -> bool:
        """Whether the answer ended in *error* because its caller wanted it to."""
        return bool(self.stopped) and self._ended is not None and error is self._ended.error

    @property
    def ceiling_nanos(self) -> int:
        """What is held for the answer."""
        return 0 if self._sent is None or self._sent.offer is None else self._sent.offer.ceiling.nanos

    def cost_so_far(self, house: House) -> int:
        """What would be charged if the answer broke off now, in nano-dollars."""
        if self._sent is None or self._sent.offer is None:
            return 0
        offer, now_ms = self._sent.offer, house.clock.now_ms()
        return actual(house.prices, offer, self.meter.so_far(), now_ms, offer.ceiling.way.endpoint).nanos


def count_in(http: httpx2.Response) -> int | CountLater | None:
    """The tokens in the answer to a count; what stands for them where there are none."""
    if http.status_code == _TOO_OFTEN:
        asked_s = retry_after_s(http.headers)
        return CountLater(LATER_S if asked_s is None else asked_s)
    if not http.is_success:
        return None
    try:
        return counted(_Count(http.json().get("input_tokens")))
    except (ValueError, AttributeError):
        return None


class _Count:
    """A count as the SDK's own answer has it."""

    def __init__(self, input_tokens: object) -> None:
        self.input_tokens = input_tokens


def refused(meter: Meter, http: httpx2.Response) -> Ended:
    """The end of a sending that was answered by an error; the SDK is told not to retry a spend cap."""
    try:
        body = http.json()
    except ValueError:
        body = None
    error = anthropic.APIStatusError(http.text[:200], response=http, body=body)
    ended = meter.failed(error)
    if http.status_code == _TOO_OFTEN and not ended.limited:
        http.headers["x-should-retry"] = "false"
    return ended


def may_have_left(error: BaseException) -> bool:
    """Whether a request may have reached the API though the chain raised *error*."""
    if isinstance(error, GovernorError):  # another governor's, further in, refused it
        return False
    if isinstance(error, anthropic.AnthropicError) and not isinstance(error, anthropic.APIError):
        return False
    return not (isinstance(error, TypeError) and _AUTHENTICATION in str(error))
