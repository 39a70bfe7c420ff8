"""Answers that were dropped unread: their ends are told from a place where nothing else is under way."""

from __future__ import annotations

import asyncio
import logging
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

from governor.ledger.forks import renew_in_children

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

log = logging.getLogger("governor")


class Drops:
    """Tells ends in a thread of its own, which the first answer that is read elsewhere starts.

    The garbage collector may drop an answer anywhere, in the middle of the ledger's own work too; so it only
    puts what is to be done into a queue. Whoever reads an answer is kept here meanwhile: collected along with
    it, the story that is to be told the end would be closed first.
    """

    def __init__(self) -> None:
        self._reading: set[object] = set()
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def put(self, end: Callable[[], None]) -> None:
        """Have *end* called soon; may be called by the garbage collector."""
        self._queue.put(end)

    def watch(self, reading: object) -> None:
        """Be ready for what *reading* reads, which may be dropped from now on."""
        self._reading.add(reading)
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._work, name="governor-drops", daemon=True)
                    self._thread.start()

    def forget(self, reading: object) -> None:
        """What *reading* read has ended."""
        self._reading.discard(reading)

    def close(self) -> None:
        """Tell what is left, and end the thread."""
        with self._lock:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
            thread.join()
        while not self._queue.empty():
            _tell(self._queue.get())

    def renew(self) -> None:
        """Begin anew, as a forked child does: what was dropped is its parent's to tell."""
        self._queue, self._thread, self._lock = SimpleQueue(), None, threading.Lock()
        self._reading = set()

    def _work(self) -> None:
        queue = self._queue
        while (end := queue.get()) is not None:
            _tell(end)


class AsyncDrops:
    """As `Drops`, in tasks of the loop that the answers were read on."""

    def __init__(self) -> None:
        self._reading: set[object] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        renew_in_children(self.renew)

    def put(self, end: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have *end* awaited soon; where the loop has ended, the hold expires."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._begin, end)

    def watch(self, reading: object) -> None:
        """Be ready for what *reading* reads, which may be dropped from now on."""
        self._reading.add(reading)
        self._loop = asyncio.get_running_loop()

    def renew(self) -> None:
        """As `Drops.renew`: the loop is the parent's, and its tasks never end here."""
        self._loop, self._tasks, self._reading = None, set(), set()

    def forget(self, reading: object) -> None:
        """What *reading* read has ended."""
        self._reading.discard(reading)

    async def finish(self, end: Coroutine[Any, Any, None]) -> None:
        """Have *end* awaited to its end, whatever becomes of who waits for it here."""
        task = asyncio.ensure_future(end)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        cancelled: asyncio.CancelledError | None = None
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError as error:
                cancelled = error
            except GeneratorExit:
                raise
            except BaseException:  # noqa: BLE001, S110 - the task's own error is raised below
                pass
        if cancelled is not None and not task.cancelled():
            raise cancelled
        task.result()

    async def aclose(self) -> None:
        """Wait for what is being told."""
        await asyncio.sleep(0)
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _begin(self, end: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = asyncio.ensure_future(_told(end))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _told(end: Callable[[], Coroutine[Any, Any, None]]) -> None:
    try:
        await end()
    except Exception:
        log.exception("the end of an answer that was dropped could not be told")


def _tell(end: Callable[[], None] | None) -> None:
    if end is None:
        return
    try:
        end()
    except Exception:
        log.exception("the end of an answer that was dropped could not be told")
