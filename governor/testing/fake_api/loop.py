"""An event loop in a thread of its own, with a listening socket on loopback."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from governor.testing.fake_api.connection import Connection, Incoming

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

_BACKLOG = 1024
_START_TIMEOUT_S = 30


class ServerThread:
    """Serves a handler on `127.0.0.1` until it is stopped.

    Args:
        handler: Answers one request on its connection.
        max_body_bytes: Longer bodies are read and thrown away.
    """

    def __init__(
        self, handler: Callable[[Connection, Incoming], Awaitable[None]], *, max_body_bytes: int
    ) -> None:
        self.max_body_bytes = max_body_bytes
        self._handler = handler
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy = 0
        self._idle = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    def listen(self, port: int) -> int:
        """Start the thread and wait until it listens.

        Args:
            port: The port; 0 for a free one.

        Returns:
            The port it listens on.

        Raises:
            OSError: The port cannot be bound.
        """
        ready: Future[int] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._main(port, ready)), name="fake-claude-api", daemon=True
        )
        self._thread.start()
        return ready.result(_START_TIMEOUT_S)

    def close(self) -> None:
        """Close every connection and end the thread."""
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread is not None:
            self._thread.join()
        self._loop = self._stop = self._thread = None

    def wait_idle(self, timeout_s: float) -> bool:
        """Wait until no request is being answered; whether that came true within *timeout_s* seconds."""
        with self._idle:
            return self._idle.wait_for(lambda: self._busy == 0, timeout_s)

    async def _main(self, port: int, ready: Future[int]) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            server = await self._loop.create_server(
                lambda: Connection(self), "127.0.0.1", port, backlog=_BACKLOG
            )
        except OSError as error:
            ready.set_exception(error)
            return
        ready.set_result(server.sockets[0].getsockname()[1])
        await self._stop.wait()
        server.close()
        await self._end_tasks()
        for connection in list(self._connections):
            connection.abort()
            await connection.lost()

    async def _end_tasks(self) -> None:
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def opened(self, connection: Connection) -> None:
        """A client connected."""
        self._connections.add(connection)

    def closed(self, connection: Connection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run *work* as a task that `close` cancels and `wait_idle` waits for."""
        with self._idle:
            self._busy += 1
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        with self._idle:
            self._busy -= 1
            if not self._busy:
                self._idle.notify_all()

    async def serve(self, connection: Connection, request: Incoming) -> None:
        """Answer one request."""
        await self._handler(connection, request)


def unix_ms() -> int:
    """Now, in Unix milliseconds."""
    return time.time_ns() // 1_000_000
