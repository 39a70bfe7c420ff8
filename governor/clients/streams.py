"""`gov.stream(…)`: the SDK's stream of one answer, held before it begins and settled when it ends."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from governor.clients.orders import ORDER, Order
from governor.clients.request import with_receipt
from governor.money import Money
from governor.story.request import Door

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from types import TracebackType

    import anthropic
    from anthropic import types

    from governor.clients.passage import Passage
    from governor.clients.request import Message
    from governor.story.decision import Receipt
    from governor.story.request import House, Request


class LiveMeter:
    """What an answer has come to while it streams; read it whenever you like, it costs nothing until then.

    All figures are estimates until the last event: the API counts output only there.
    """

    def __init__(self, house: Callable[[], House]) -> None:
        self._house = house
        self._passage: Passage | None = None
        self._receipt: Receipt | None = None
        self._began = time.monotonic()

    @property
    def cost(self) -> Money:
        """What would be charged if the answer ended now: its input, what came of it and the rules' margin.

        Once it has ended: what was charged.
        """
        if self._receipt is not None:
            return self._receipt.cost
        return Money(0 if self._passage is None else self._passage.cost_so_far(self._house()))

    @property
    def ceiling(self) -> Money:
        """What is held for it: the most it can cost."""
        return Money(0 if self._passage is None else self._passage.ceiling_nanos)

    @property
    def output_tokens(self) -> int:
        """Tokens of output so far: as the API counted them where it has, else one for four bytes of text."""
        return 0 if self._passage is None else self._passage.meter.output_tokens

    @property
    def elapsed_ms(self) -> int:
        """Since the stream was asked for."""
        return round((time.monotonic() - self._began) * 1000)


class _Streamed:
    """What a stream and its async twin share.

    Attributes:
        meter: What it has come to so far.
        receipt: What it cost and why it went where it went; `None` until its end.
    """

    def __init__(self, request: Request, house: Callable[[], House], *, stop_when_spent: bool) -> None:
        self.meter = LiveMeter(house)
        self.receipt: Receipt | None = None
        self._stream: Any = None
        self._passage: Passage | None = None
        self.order = Order(
            request.who,
            tier=request.tier,
            pin=request.pin,
            request_id=request.id,
            door=Door.STREAM,
            accounts=(self._account,),
            max_tokens=request.max_tokens,
            stop_when_spent=stop_when_spent,
            opened=self._opened,
            findings=request.findings,
        )

    @property
    def stopped(self) -> str:
        """Why `stop_when_spent` ended it; '' if it did not."""
        return "" if self._passage is None else self._passage.stopped

    @property
    def response(self) -> Any:
        """The HTTP response, as the SDK's stream has it."""
        return self._stream.response

    @property
    def request_id(self) -> str | None:
        """The API's own id of the request."""
        found: str | None = self._stream.request_id
        return found

    @property
    def current_message_snapshot(self) -> Any:
        """The message so far, as the SDK's stream puts it together."""
        return self._stream.current_message_snapshot

    def opens(self, stream: Any) -> None:
        """The SDK's stream has begun."""
        self._stream = stream

    def _opened(self, passage: Passage) -> None:
        self._passage = self.meter._passage = passage  # noqa: SLF001 - made here

    def _account(self, receipt: Receipt) -> None:
        self.receipt = self.meter._receipt = receipt  # noqa: SLF001 - made here

    def _with_receipt(self, message: types.Message) -> Message:
        if self.receipt is None:
            raise RuntimeError("the stream has not ended")
        return with_receipt(message, self.receipt)


class Stream(_Streamed):
    """The answer as it comes: iterate over the SDK's events, or over `text_stream`.

    Attributes:
        meter: What it has come to so far.
        receipt: What it cost and why it went where it went; `None` until its end.
    """

    def __iter__(self) -> Iterator[Any]:
        return iter(self._stream)

    def __next__(self) -> Any:
        return next(self._stream)

    @property
    def text_stream(self) -> Iterator[str]:
        """The text, piece by piece."""
        pieces: Iterator[str] = self._stream.text_stream
        return pieces

    def until_done(self) -> None:
        """Read to the end."""
        self._stream.until_done()

    def get_final_message(self) -> Message:
        """Read to the end; the message, with its `receipt`.

        A stream that `stop_when_spent` ended gives what came of it, without a stop reason.
        """
        return self._with_receipt(self._stream.get_final_message())

    def get_final_text(self) -> str:
        """Read to the end; its text."""
        text: str = self._stream.get_final_text()
        return text

    def close(self) -> None:
        """Leave it; what came is charged by the rules of an answer that ended early."""
        self._stream.close()


class AsyncStream(_Streamed):
    """As `Stream`, awaited."""

    def __aiter__(self) -> AsyncIterator[Any]:
        return aiter(self._stream)

    async def __anext__(self) -> Any:
        return await anext(self._stream)

    @property
    def text_stream(self) -> AsyncIterator[str]:
        """The text, piece by piece."""
        pieces: AsyncIterator[str] = self._stream.text_stream
        return pieces

    async def until_done(self) -> None:
        """Read to the end."""
        await self._stream.until_done()

    async def get_final_message(self) -> Message:
        """As `Stream.get_final_message`."""
        return self._with_receipt(await self._stream.get_final_message())

    async def get_final_text(self) -> str:
        """Read to the end; its text."""
        text: str = await self._stream.get_final_text()
        return text

    async def close(self) -> None:
        """As `Stream.close`."""
        await self._stream.close()


class _Manager:
    """What a manager and its async twin share: a checked request, and when it is to end."""

    def __init__(self, request: Request, house: Callable[[], House], *, stop_when_spent: bool) -> None:
        self._request, self._house, self._stop = request, house, stop_when_spent

    def _arguments(self) -> dict[str, Any]:
        """The SDK's arguments; the policy decides on model and `max_tokens` when they pass the door."""
        request = self._request
        return {**request.body, "model": request.asked, "max_tokens": request.max_tokens or 1}


class StreamManager(_Manager):
    """Opens a `Stream` on `with`, and closes it."""

    def __init__(
        self,
        client: anthropic.Anthropic,
        request: Request,
        house: Callable[[], House],
        *,
        stop_when_spent: bool,
    ) -> None:
        super().__init__(request, house, stop_when_spent=stop_when_spent)
        self._client = client

    def __enter__(self) -> Stream:
        """Have it held, and begin.

        Raises:
            GovernorError: It was refused; nothing was sent.
            anthropic.APIError: What the API answered, after the flow's retries.
        """
        stream = Stream(self._request, self._house, stop_when_spent=self._stop)
        self._manager = self._client.messages.stream(**self._arguments())
        token = ORDER.set(stream.order)
        try:
            stream.opens(self._manager.__enter__())
        finally:
            ORDER.reset(token)
        return stream

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._manager.__exit__(kind, error, trace)


class AsyncStreamManager(_Manager):
    """Opens an `AsyncStream` on `async with`, and closes it."""

    def __init__(
        self,
        client: anthropic.AsyncAnthropic,
        request: Request,
        house: Callable[[], House],
        *,
        stop_when_spent: bool,
    ) -> None:
        super().__init__(request, house, stop_when_spent=stop_when_spent)
        self._client = client

    async def __aenter__(self) -> AsyncStream:
        """As `StreamManager`."""
        stream = AsyncStream(self._request, self._house, stop_when_spent=self._stop)
        self._manager = self._client.messages.stream(**self._arguments())
        token = ORDER.set(stream.order)
        try:
            stream.opens(await self._manager.__aenter__())
        finally:
            ORDER.reset(token)
        return stream

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._manager.__aexit__(kind, error, trace)
