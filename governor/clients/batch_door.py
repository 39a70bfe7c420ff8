"""Batches of anybody's client, in the SDK's chain: held when they are made, settled as they are read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from anthropic.types.messages import MessageBatch

from governor.batch_reading import Reading, end_batch, end_item, is_known
from governor.batching import create
from governor.clients import apassing, orders, passing
from governor.clients.attempts import under_way
from governor.clients.batch_items import make_items, reading_of
from governor.clients.driving import AsyncDrive, Drive, Undertaking
from governor.clients.passage import may_have_left, refused
from governor.clients.private import decoder_of
from governor.clients.streaming import Meter
from governor.clients.tee import AsyncTee, Tee
from governor.clients.wire import any_json
from governor.story.batches import new_hold
from governor.story.effects import BatchMade, CountTokens, Ended, SendBatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import httpx2
    from anthropic import APIRequest

    from governor.clients.orders import Order
    from governor.clients.passage import AsyncEngine, Engine
    from governor.story.request import House


def batch_of(request: APIRequest) -> str | None:
    """The id of the batch whose results *request* asks for; `None` if it asks for something else."""
    endpoint = orders.endpoint_of(request)
    if not (endpoint.startswith(orders.BATCHES + "/") and endpoint.endswith(orders.RESULTS)):
        return None
    return endpoint.removeprefix(orders.BATCHES + "/").removesuffix(orders.RESULTS) or None


class _Making:
    """What the making of a batch needs at both doors."""

    def __init__(self, request: APIRequest, order: Order) -> None:
        self.request, self.response = request, None
        self.held_as = new_hold()
        who = order.who
        usual = {
            "user": who.user,
            "department": who.department,
            "feature": who.feature,
            "run": who.run,
            "tags": dict(who.tags),
            "priority": who.priority,
            "pin": order.pin,
            "tier": order.tier,
            "data": order.findings,
        }
        self.items = make_items(self.held_as, orders.body_of(request).get("requests") or (), usual)
        self.first = self.items[0].request
        self._ended: Ended | None = None

    def to_send(self, effect: SendBatch) -> APIRequest:
        """The request as it goes out: its items as they were held for."""
        body = {**orders.body_of(self.request), "requests": list(effect.requests)}
        return orders.rewritten(self.request, body)

    def made(self, response: Any) -> BatchMade | Ended:
        """The chain returned *response*, which was read."""
        self.response = response
        http = response.http_response
        if not http.is_success:
            meter = Meter()
            meter.leaving()
            self._ended = refused(meter, http)
            return self._ended
        return BatchMade(str(http.json()["id"]), response)

    def raised(self, error: BaseException) -> Ended:
        """The chain raised *error*; it goes to the caller as it is."""
        meter = Meter()
        meter.leaving()
        self._ended = replace(meter.failed(error, sent=may_have_left(error)), error=error)
        return self._ended

    def answers(self, error: BaseException) -> bool:
        """Whether *error* is the API's, for which the SDK has a response."""
        return self.response is not None and self._ended is not None and error is self._ended.error


def make(engine: Engine, request: APIRequest, call_next: Any, order: Order) -> Any:
    """Hold every item of a batch, have it made, and return the SDK's response.

    Raises:
        GovernorError: An item was refused; nothing was sent.
    """
    making = _Making(request, order)

    def perform(effect: Any) -> Any:
        if isinstance(effect, CountTokens):  # by the client whose batch it is: the governor may have none
            return passing.count(request, call_next, effect)
        if not isinstance(effect, SendBatch):
            return engine.perform(effect)
        try:
            with under_way(engine.attempts, request.options.idempotency_key):
                response = call_next(making.to_send(effect))
            response.http_response.read()
        except BaseException as error:  # noqa: BLE001 - the story decides what an error means
            return making.raised(error)
        return making.made(response)

    house = engine.house_for(making.first)
    try:
        response, _ = Drive(create(house, making.held_as, making.items, 0), perform).run()
    except BaseException as error:
        if making.answers(error):
            return making.response
        raise
    return response


async def make_async(engine: AsyncEngine, request: APIRequest, call_next: Any, order: Order) -> Any:
    """As `make`."""
    making, task = _Making(request, order), Undertaking()

    async def perform(effect: Any) -> Any:
        """Carry out an effect of the batch's story."""
        if isinstance(effect, CountTokens):
            return await apassing.count(request, call_next, effect)
        if not isinstance(effect, SendBatch):
            return await engine.perform(effect, task)
        if task.cancelled is not None:
            return Meter().failed(task.cancelled, sent=False)
        try:
            with under_way(engine.attempts, request.options.idempotency_key):
                response = await call_next(making.to_send(effect))
            await response.http_response.aread()
        except BaseException as error:  # noqa: BLE001 - the story decides what an error means
            return making.raised(error)
        return making.made(response)

    house = await engine.house_for(making.first)
    try:
        response, _ = await AsyncDrive(create(house, making.held_as, making.items, 0), perform, task).run()
    except BaseException as error:
        if making.answers(error):
            return making.response
        raise
    return response


class _Lines:
    """Reads the lines of a batch's results as their bytes pass."""

    def __init__(self, http: httpx2.Response) -> None:
        try:
            self._decoder, self._readable = decoder_of(http), True
        except LookupError:
            self._decoder, self._readable = None, False
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Mapping[str, Any]]:
        """The lines that end in *data*."""
        if not self._readable:
            return
        for part in (data,) if self._decoder is None else self._decoder.decode(data):
            *lines, self._rest = (self._rest + part).split(b"\n")
            for line in lines:
                yield from _parsed(line)

    def end(self) -> Iterator[Mapping[str, Any]]:
        """The last line, where no line feed ends it."""
        yield from _parsed(self._rest)


def _parsed(line: bytes) -> Iterator[Mapping[str, Any]]:
    try:
        value = any_json(line)
    except ValueError:
        return
    if isinstance(value, dict):
        yield value


class _Results:
    """A blocking reading of a batch's results: each item is settled before its line is passed on."""

    stopped = ""

    def __init__(self, engine: Engine, house: House, reading: Reading, http: httpx2.Response) -> None:
        self._engine, self._house = engine, house
        self._reading, self._lines = reading, _Lines(http)
        self._due: list[Mapping[str, Any]] = []

    def take(self, data: bytes) -> bool:
        """Bytes pass; whether lines end in them."""
        self._due += self._lines.feed(data)
        return bool(self._due)

    def report(self) -> None:
        """Settle the items of the lines that have ended."""
        due, self._due = self._due, []
        for line in due:
            Drive(end_item(self._house, self._reading, line), self._engine.perform).run()

    def over(self) -> None:
        """The results have ended."""
        self._due += self._lines.end()
        self.report()
        Drive(end_batch(self._house, self._reading), self._engine.perform).run()

    def failed(self, error: BaseException) -> None:
        """The results broke off: what was not read stays open, until it is read again."""

    def closed(self) -> None:
        """The reader has left, or is done."""

    def dropped(self) -> None:
        """Nobody reads."""


class _AsyncResults:
    """As `_Results`, on an event loop."""

    stopped = ""

    def __init__(self, engine: AsyncEngine, reading: Reading, http: httpx2.Response) -> None:
        self._engine = engine
        self._reading, self._lines = reading, _Lines(http)
        self._due: list[Mapping[str, Any]] = []

    async def _run(self, story: Any) -> None:
        task = Undertaking()
        await AsyncDrive(story, lambda effect: self._engine.perform(effect, task), task).run()

    def take(self, data: bytes) -> bool:
        """Bytes pass; whether lines end in them."""
        self._due += self._lines.feed(data)
        return bool(self._due)

    async def report(self) -> None:
        """Settle the items of the lines that have ended."""
        house = await self._engine.house_for(None)
        due, self._due = self._due, []
        for line in due:
            await self._run(end_item(house, self._reading, line))

    async def over(self) -> None:
        """The results have ended."""
        self._due += self._lines.end()
        await self.report()
        await self._run(end_batch(await self._engine.house_for(None), self._reading))

    async def failed(self, error: BaseException) -> None:
        """The results broke off: what was not read stays open, until it is read again."""

    async def closed(self) -> None:
        """The reader has left, or is done."""

    def dropped(self) -> None:
        """Nobody reads."""


def _told(batch_id: str, http: httpx2.Response) -> Reading:
    """The reading of a batch as *http* tells of it; of one that is nobody's, where that tells nothing."""
    try:
        return reading_of(MessageBatch.model_validate(http.json()))
    except ValueError:
        return Reading(batch_id)


def read(engine: Engine, request: APIRequest, call_next: Any, batch_id: str) -> Any:
    """The response with a batch's results, each item of which is settled as it passes.

    Of a batch that the ledger does not know the API is asked first when it was made, and how large it is:
    else it could be taken for one that was sent and never heard of, whose items are called alike.
    """
    house, reading = engine.house_for(None), Reading(batch_id)
    if not Drive(is_known(house, batch_id), engine.perform).run():
        response = call_next(orders.to_retrieve_batch(request))
        http = response.http_response
        http.read()
        if not http.is_success:
            return response
        reading = _told(batch_id, http)
    response = call_next(request)
    http = response.http_response
    if _streams(http):
        http.stream = Tee(http.stream, _Results(engine, house, reading, http))
    return response


async def read_async(engine: AsyncEngine, request: APIRequest, call_next: Any, batch_id: str) -> Any:
    """As `read`."""
    house, task, reading = await engine.house_for(None), Undertaking(), Reading(batch_id)
    asking = AsyncDrive(is_known(house, batch_id), lambda effect: engine.perform(effect, task), task)
    if not await asking.run():
        response = await call_next(orders.to_retrieve_batch(request))
        http = response.http_response
        await http.aread()
        if not http.is_success:
            return response
        reading = _told(batch_id, http)
    response = await call_next(request)
    http = response.http_response
    if _streams(http):
        http.stream = AsyncTee(http.stream, _AsyncResults(engine, reading, http))
    return response


def _streams(http: httpx2.Response) -> bool:
    """Whether *http* is results that are yet to be read."""
    return http.is_success and not http.is_stream_consumed and not http.is_closed
