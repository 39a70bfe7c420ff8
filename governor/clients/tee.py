"""The body of an answer that its caller reads: every byte passes as it came, and is read beside.

Whatever ends the body ends the reading, once: its last byte, an error, a close, or that it was dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import httpx2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


class Reading(Protocol):
    """Who reads beside.

    Attributes:
        stopped: Why the body is to end now, in good order; '' while it is not.
    """

    stopped: str

    def take(self, data: bytes) -> bool:
        """Bytes pass; whether `report` is to be called before they do."""
        ...

    def report(self) -> None:
        """It is time to tell that the body is still coming. What it raises ends the body."""

    def over(self) -> None:
        """The body has ended by itself."""

    def failed(self, error: BaseException) -> None:
        """The body ended in *error*."""

    def closed(self) -> None:
        """The body was closed; it may have ended before."""

    def dropped(self) -> None:
        """Nobody has the body any more; it may have ended before. Called by the garbage collector."""


class AsyncReading(Protocol):
    """Who reads beside, on an event loop; as `Reading`."""

    stopped: str

    def take(self, data: bytes) -> bool:
        """Bytes pass; whether `report` is to be awaited before they do."""
        ...

    async def report(self) -> None:
        """It is time to tell that the body is still coming. What it raises ends the body."""

    async def over(self) -> None:
        """The body has ended by itself."""

    async def failed(self, error: BaseException) -> None:
        """The body ended in *error*."""

    async def closed(self) -> None:
        """The body was closed; it may have ended before."""

    def dropped(self) -> None:
        """Nobody has the body any more; it may have ended before. Called by the garbage collector."""


class _Tee:
    """What both kinds share: all else that the body has (`elapsed`, `stream_observer`) stays reachable."""

    def __init__(self, body: Any, reading: Any) -> None:
        self._body, self._reading = body, reading
        self._parts: Any = None
        self.stream_observer = getattr(body, "stream_observer", None)  # asked for at every event

    def __getattr__(self, name: str) -> Any:
        if name in ("_body", "_reading"):
            raise AttributeError(name)
        return getattr(self._body, name)

    def __del__(self) -> None:
        reading = self.__dict__.get("_reading")
        if reading is not None:
            reading.dropped()


class Tee(_Tee, httpx2.SyncByteStream):
    """A blocking client's body, read beside.

    Args:
        body: The original.
        reading: Who reads beside.
    """

    def __init__(self, body: httpx2.SyncByteStream, reading: Reading) -> None:
        super().__init__(body, reading)

    def __iter__(self) -> Iterator[bytes]:
        reading, parts = self._reading, iter(self._body)
        while not reading.stopped:
            try:
                data = next(parts)
            except StopIteration:
                reading.over()
                return
            except BaseException as error:
                reading.failed(error)
                raise
            if reading.take(data):
                reading.report()
            yield data

    def close(self) -> None:
        """Close the original, and end the reading."""
        try:
            self._body.close()
        finally:
            self._reading.closed()


class AsyncTee(_Tee, httpx2.AsyncByteStream):
    """An async client's body, read beside; as `Tee`."""

    def __init__(self, body: httpx2.AsyncByteStream, reading: AsyncReading) -> None:
        super().__init__(body, reading)

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._parts = aiter(self._body)
        return self

    async def __anext__(self) -> bytes:
        if self._parts is None:
            self._parts = aiter(self._body)
        if self._reading.stopped:
            raise StopAsyncIteration
        try:
            data: bytes = await anext(self._parts)
        except StopAsyncIteration:
            await self._reading.over()
            raise
        except BaseException as error:
            await self._reading.failed(error)
            raise
        if self._reading.take(data):
            await self._reading.report()
        return data

    async def aclose(self) -> None:
        """Close the original, and end the reading."""
        try:
            await self._close_parts()
            await self._body.aclose()
        finally:
            await self._reading.closed()

    async def _close_parts(self) -> None:
        """Close an original that is an async generator here, and not in a task of the loop's own, later."""
        close = getattr(self._parts, "aclose", None)
        read_elsewhere = getattr(self._parts, "ag_running", False)
        if close is not None and self._parts is not self._body and not read_elsewhere:
            await close()
