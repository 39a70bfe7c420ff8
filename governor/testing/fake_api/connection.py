"""HTTP/1.1 on an asyncio transport, with h11 doing the protocol."""

from __future__ import annotations

import asyncio
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import parse_qsl

import h11

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping

_GZIP = 16 + zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Incoming:
    """One request, read to its end.

    Attributes:
        method: `POST`, `GET` and so on.
        path: The target without its query.
        headers: By lower-case name.
        body: The bytes; empty where there were too many.
        too_large: Whether the body was longer than the server takes.
        query: The target's query, decoded; of a key that is given twice the last value.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    too_large: bool
    query: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def takes_gzip(self) -> bool:
        """Whether its `accept-encoding` has gzip, and not with a quality of 0."""
        for coding in self.headers.get("accept-encoding", "").lower().split(","):
            name, _, quality = coding.replace(" ", "").partition(";q=")
            if name == "gzip":
                return quality.strip("0.") != "" or not quality
        return False


class Host(Protocol):
    """What a connection needs from its server."""

    max_body_bytes: int

    def opened(self, connection: Connection) -> None:
        """A client connected."""
        ...

    def closed(self, connection: Connection) -> None:
        """The connection is gone."""
        ...

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Run *work* as a task of the server."""
        ...

    async def serve(self, connection: Connection, request: Incoming) -> None:
        """Answer *request* on *connection*."""
        ...


class Squeeze:
    """A body as gzip, of which every part is flushed: it can be read as soon as it has arrived."""

    def __init__(self) -> None:
        self._gzip = zlib.compressobj(level=1, wbits=_GZIP)

    def part(self, body: bytes) -> bytes:
        """The bytes that *body* becomes."""
        return self._gzip.compress(body) + self._gzip.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        """The bytes that end the body."""
        return self._gzip.flush(zlib.Z_FINISH)


class Connection(asyncio.Protocol):
    """One client's connection, kept alive over many requests.

    Attributes:
        on_head: Told the status of every answer before it leaves; `None`: nobody is.
        gzip: Whether the answer under way is to be compressed; set before its head.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._h11 = h11.Connection(h11.SERVER)
        self._transport: asyncio.Transport
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request: h11.Request | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._out: list[bytes] = []
        self.on_head: Callable[[int], None] | None = None
        self.gzip = False
        self._squeeze: Squeeze | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._host.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the signature is asyncio's
        """The client, or this side, closed the connection."""
        if not self._gone.done():
            self._gone.set_result(None)
        self._host.closed(self)

    def data_received(self, data: bytes) -> None:
        """Bytes arrived."""
        self._h11.receive_data(data)
        self._advance()

    def _advance(self) -> None:
        try:
            while True:
                event = self._h11.next_event()
                if isinstance(event, h11.Request):
                    self._request, self._body, self._body_bytes = event, [], 0
                elif isinstance(event, h11.Data):
                    self._take(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    self._host.start(self._host.serve(self, self._incoming()))
                else:
                    return
        except h11.RemoteProtocolError as error:
            self._refuse(error)

    def _take(self, data: bytes) -> None:
        self._body_bytes += len(data)
        if self._body_bytes <= self._host.max_body_bytes:
            self._body.append(bytes(data))

    def _refuse(self, error: h11.RemoteProtocolError) -> None:
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.respond(error.error_status_hint, {"connection": "close"}, str(error).encode())
        self.cut()

    def _incoming(self) -> Incoming:
        request = cast("h11.Request", self._request)
        too_large = self._body_bytes > self._host.max_body_bytes
        path, _, query = request.target.decode("latin-1").partition("?")
        return Incoming(
            method=request.method.decode("ascii"),
            path=path,
            headers={name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers},
            body=b"" if too_large else b"".join(self._body),
            too_large=too_large,
            query=dict(parse_qsl(query)),
        )

    @property
    def gone(self) -> bool:
        """Whether nothing that is sent can arrive any more."""
        return self._gone.done() or self._transport.is_closing()

    @property
    def head_sent(self) -> bool:
        """Whether the answer under way has begun."""
        return self._h11.our_state is not h11.SEND_RESPONSE

    async def pause(self, seconds: float | None) -> bool:
        """Wait, but not longer than the client does.

        Args:
            seconds: How long; `None`: until the client goes away.

        Returns:
            Whether the client is still there.
        """
        self.flush()
        if not self.gone:
            await asyncio.wait({self._gone}, timeout=seconds)
        return not self.gone

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """Queue the head of an answer; without a `content-length`, or compressed, its body is chunked."""
        if self.on_head is not None:
            self.on_head(status)
        if self.gzip:
            self._squeeze = Squeeze()
            headers = {name: value for name, value in headers.items() if name != "content-length"}
            headers["content-encoding"] = "gzip"
        self._send(h11.Response(status_code=status, headers=list(headers.items())))

    def data(self, body: bytes) -> None:
        """Queue a part of the body."""
        self.pieces([body])

    def pieces(self, parts: Iterable[bytes]) -> None:
        """Queue parts of the body in one chunk; compressed, each can be read without those behind it."""
        squeezed = parts if self._squeeze is None else map(self._squeeze.part, parts)
        self._send(h11.Data(data=b"".join(squeezed)))

    def flush(self) -> None:
        """Send what is queued, in one piece."""
        if self._out and not self.gone:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def end(self) -> None:
        """End the answer, and take the connection's next request."""
        if self._squeeze is not None:
            self._send(h11.Data(data=self._squeeze.end()))
            self._squeeze = None
        self._send(h11.EndOfMessage())
        self.flush()
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
            self._advance()
        else:
            self._transport.close()

    def respond(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """A whole answer in one piece."""
        self.head(status, {**headers, "content-length": str(len(body))})
        self.data(body)
        self.end()

    def cut(self) -> None:
        """Send what is queued, and close without ending the answer."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once, without waiting for what is still to be sent."""
        self._transport.abort()

    async def lost(self) -> None:
        """Wait until the connection is gone."""
        await asyncio.wait({self._gone})

    def _send(self, event: h11.Response | h11.Data | h11.EndOfMessage) -> None:
        data = self._h11.send(event)
        if data:
            self._out.append(data)
