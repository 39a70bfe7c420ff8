"""Every door of the SDK, written once for the blocking and the async client, with the governor in its chain.

A door is an `async` function that awaits only what the client makes it await: with a blocking client it never
waits, so it runs to its end at the first step.
"""

from __future__ import annotations

import asyncio
import enum
import gc
import inspect
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from anthropic import beta_async_tool, beta_tool

from governor.ledger.detail import read_closing
from governor.testing import Reply
from support.governed import HELLO, SONNET, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
    from concurrent.futures import Future

    from governor.story.decision import Receipt
    from support.governed import Caller, Stage

PARAMS = {"model": SONNET, "max_tokens": 1000, "messages": HELLO}
TOOL_USE = [{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"place": "Ulm"}}]


class Kind(enum.Enum):
    """Who reads an answer, and in what shape it comes."""

    PLAIN = "one JSON document, read by the SDK before the caller has it"
    UNREAD = "one JSON document, read by the caller"
    STREAM = "server-sent events, read by the caller"


class Interrupted(BaseException):
    """What interrupts a caller who reads."""


class Leave(enum.Enum):
    """How a caller leaves an answer before its end."""

    CLOSE = "closes it"
    DROP = "lets go of it without a word"
    INTERRUPT = "is interrupted while it reads"


@dataclass(frozen=True)
class Visit:
    """How a caller behaves at a door.

    Attributes:
        leave: How the answer is left; `None`: it is read to its end.
        items: How many events, lines or chunks are read before that.
        params: Over `PARAMS`.
    """

    leave: Leave | None = None
    items: int = 4
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def request(self) -> dict[str, Any]:
        """What the SDK's method is given."""
        return {**PARAMS, **self.params}


@dataclass(frozen=True)
class SdkDoor:
    """One way through the SDK.

    Attributes:
        name: For the test's id.
        go: Goes through it; returns what the caller has in the end.
        kind: Of its answers.
        before: Answers that come before the one that a test is about.
        beta: Whether it is of the SDK's beta half.
    """

    name: str
    go: Callable[[Any, Visit], Coroutine[Any, Any, Any]]
    kind: Kind
    before: tuple[Reply, ...] = ()
    beta: bool = False


async def got(value: Any) -> Any:
    """*value*, awaited where it must be."""
    return await value if inspect.isawaitable(value) else value


async def read(items: Any, most: int | None = None) -> list[Any]:
    """The items of an iterable of either kind, at most *most*."""
    taken: list[Any] = []
    if most == 0:
        return taken
    if hasattr(items, "__aiter__"):
        async for item in items:
            taken.append(item)
            if len(taken) == most:
                break
        return taken
    for item in items:
        taken.append(item)
        if len(taken) == most:
            break
    return taken


@asynccontextmanager
async def entered(manager: Any) -> AsyncIterator[Any]:
    """Inside a context manager of either kind."""
    if hasattr(manager, "__aenter__"):
        async with manager as inside:
            yield inside
    else:
        with manager as inside:
            yield inside


async def _read_in(manager: Any, visit: Visit, items: Callable[[Any], Any]) -> Any:
    """Read what a context manager gives, or leave it as *visit* says."""
    if visit.leave is Leave.DROP:
        await read(items(await _enter(manager)), visit.items)
        return None
    async with entered(manager) as inside:
        if visit.leave is None:
            return await read(items(inside))
        await read(items(inside), visit.items)
        if visit.leave is Leave.INTERRUPT:
            raise Interrupted
        return None


async def _enter(manager: Any) -> Any:
    if hasattr(manager, "__aenter__"):
        return await manager.__aenter__()
    return manager.__enter__()


async def _read_stream(stream: Any, visit: Visit) -> Any:
    """Read a raw stream of events, or leave it as *visit* says."""
    if visit.leave is Leave.DROP:
        await read(stream, visit.items)
        return None
    return await _read_in(stream, visit, lambda inside: inside)


async def create(client: Any, visit: Visit) -> Any:
    """`messages.create`."""
    return await got(client.messages.create(**visit.request))


async def beta_create(client: Any, visit: Visit) -> Any:
    """`beta.messages.create`."""
    return await got(client.beta.messages.create(**visit.request))


async def raw_response(client: Any, visit: Visit) -> Any:
    """`messages.with_raw_response.create`."""
    response = await got(client.messages.with_raw_response.create(**visit.request))
    return await got(response.parse())


async def post(client: Any, visit: Visit) -> Any:
    """`client.post`, for what the SDK has no method for."""
    return await got(client.post("/v1/messages", body=visit.request, cast_to=dict[str, Any]))


async def stream(client: Any, visit: Visit) -> Any:
    """`messages.stream`."""
    return await _read_in(client.messages.stream(**visit.request), visit, lambda inside: inside)


async def stream_text(client: Any, visit: Visit) -> Any:
    """`messages.stream`, of which only the text is read."""
    return await _read_in(client.messages.stream(**visit.request), visit, lambda inside: inside.text_stream)


async def beta_stream(client: Any, visit: Visit) -> Any:
    """`beta.messages.stream`."""
    return await _read_in(client.beta.messages.stream(**visit.request), visit, lambda inside: inside)


async def raw_stream(client: Any, visit: Visit) -> Any:
    """`messages.create(stream=True)`."""
    return await _read_stream(await got(client.messages.create(stream=True, **visit.request)), visit)


async def raw_response_stream(client: Any, visit: Visit) -> Any:
    """`messages.with_raw_response.create(stream=True)`."""
    response = await got(client.messages.with_raw_response.create(stream=True, **visit.request))
    return await _read_stream(await got(response.parse()), visit)


async def streaming_response(client: Any, visit: Visit) -> Any:
    """`messages.with_streaming_response.create`, whose body the caller reads."""
    manager = client.messages.with_streaming_response.create(**visit.request)
    return await _read_in(manager, visit, lambda inside: inside.iter_bytes())


async def streaming_response_stream(client: Any, visit: Visit) -> Any:
    """`messages.with_streaming_response.create(stream=True)`, read by lines."""
    manager = client.messages.with_streaming_response.create(stream=True, **visit.request)
    return await _read_in(manager, visit, lambda inside: inside.iter_lines())


def _weather(place: str) -> str:
    """The weather.

    Args:
        place: Where.
    """
    return f"It rains in {place}."


async def _weather_async(place: str) -> str:
    """The weather.

    Args:
        place: Where.
    """
    return _weather(place)


def _runner(client: Any, visit: Visit, **more: Any) -> Any:
    is_async = inspect.iscoroutinefunction(client.post)
    tool = (
        beta_async_tool(_weather_async, name="weather") if is_async else beta_tool(_weather, name="weather")
    )
    return client.beta.messages.tool_runner(tools=[tool], thread=False, **more, **visit.request)


async def tool_runner(client: Any, visit: Visit) -> Any:
    """`beta.messages.tool_runner`: two turns, of which the first asks for a tool."""
    turns = await read(_runner(client, visit), None if visit.leave is None else 1)
    if visit.leave is Leave.INTERRUPT:
        raise Interrupted
    return turns[-1]


async def tool_runner_stream(client: Any, visit: Visit) -> Any:
    """The same, each of its turns a stream; the last is the one that may be left."""
    runner, turns = _runner(client, visit, stream=True), 0
    events: Any = []
    if hasattr(runner, "__aiter__"):
        async for turn in runner:
            turns += 1
            events = await _read_stream(turn, visit if turns > 1 else Visit())
            if turns > 1:
                break
        return events
    for turn in runner:
        turns += 1
        events = await _read_stream(turn, visit if turns > 1 else Visit())
        if turns > 1:
            break
    return events


_FIRST_TURN = (Reply(content=TOOL_USE),)

DOORS = [
    SdkDoor("create", create, Kind.PLAIN),
    SdkDoor("raw-response", raw_response, Kind.PLAIN),
    SdkDoor("post", post, Kind.PLAIN),
    SdkDoor("beta-create", beta_create, Kind.PLAIN, beta=True),
    SdkDoor("tool-runner", tool_runner, Kind.PLAIN, _FIRST_TURN, beta=True),
    SdkDoor("streaming-response", streaming_response, Kind.UNREAD),
    SdkDoor("stream", stream, Kind.STREAM),
    SdkDoor("stream-text", stream_text, Kind.STREAM),
    SdkDoor("raw-stream", raw_stream, Kind.STREAM),
    SdkDoor("raw-response-stream", raw_response_stream, Kind.STREAM),
    SdkDoor("streaming-response-stream", streaming_response_stream, Kind.STREAM),
    SdkDoor("beta-stream", beta_stream, Kind.STREAM, beta=True),
    SdkDoor("tool-runner-stream", tool_runner_stream, Kind.STREAM, _FIRST_TURN, beta=True),
]
BY_NAME = {door.name: door for door in DOORS}


class Doorway:
    """A client of a stage's API with the governor's middleware in its chain; the stage closes it.

    Args:
        stage: Whose API, and whose manner of waiting.
        caller: The governor's; async clients live on its loop.
        outside: Middleware around the governor's.
        inside: Middleware within it.
        door: Arguments of `middleware()`; default: user u of the team.
        client: Arguments of the client.
    """

    def __init__(
        self,
        stage: Stage,
        caller: Caller,
        *,
        outside: tuple[Any, ...] = (),
        inside: tuple[Any, ...] = (),
        door: dict[str, Any] | None = None,
        **client: Any,
    ) -> None:
        self.receipts: list[Receipt] = []
        self._caller, self._is_async = caller, stage.is_async
        told = {"user": "u", "department": "team"} if door is None else door
        governed = caller.governor.middleware(**{"on_receipt": self.receipts.append, **told})
        options = {"max_retries": 0, "middleware": [*outside, governed, *inside], **client}
        make = stage.api.async_client if stage.is_async else stage.api.client
        self.client: Any = make(**options)
        stage._open.append(self)

    def go(self, door: SdkDoor, visit: Visit | None = None) -> Any:
        """Go through *door*; returns what the caller has in the end."""
        return self.run(lambda client: door.go(client, visit or Visit()))

    def run(self, work: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
        """What *work* makes of the client."""
        if self._is_async:
            return self.start(work).result(timeout=15)
        return blocking(work(self.client))

    def start(self, work: Callable[[Any], Awaitable[Any]]) -> Future[Any]:
        """The same in a task, of an async client."""
        return asyncio.run_coroutine_threadsafe(work(self.client), self._caller._loop)

    def close(self) -> None:
        """Close an async client; the API closes a blocking one."""
        if self._is_async:
            self.start(lambda client: client.close()).result()


def blocking(work: Coroutine[Any, Any, Any]) -> Any:
    """What *work* returns, which waits for nothing but a blocking client."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    work.close()
    raise AssertionError("a blocking client's door awaited something")


def endings(stage: Stage, doorway: Doorway, attempts: int) -> list[dict[str, Any]]:
    """The records of the ends of every attempt, oldest first, once so many receipts have been told.

    The ledger is not asked meanwhile: on SQLite who asks again and again keeps others from writing.
    """
    # A dropped answer may be in a cycle, whose async generators come back to be closed on their loop.
    until(lambda: len(doorway.receipts) >= attempts or (gc.collect() and False), 10)
    stage.api.wait_idle()
    assert stage.holds() == ()
    closed = [entry for entry in stage.journal() if entry.kind in ("settle", "release", "expire")]
    return [
        {"id": entry.id, "kind": entry.kind, **json.loads(entry.record), **read_closing(entry.detail)}
        for entry in closed
    ]
