"""Receivers of alerts on loopback: HTTP as told to behave, TLS for any host behind a proxy, and SMTP."""

from __future__ import annotations

import json
import ssl
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import trustme
from aiosmtpd.controller import Controller

from support.redis_server import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_S = 30.0


@dataclass(frozen=True)
class Got:
    """One request: its host, path, headers (lower case) and body."""

    host: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Answer:
    """What a receiver says: a status, headers, a body; or, with *hang*, nothing until the test lets go."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    hang: threading.Event | None = None
    endless: bool = False


class Receiver:
    """An HTTP server; *answers* are given in turn, then 200. It also plays a proxy: any host is itself."""

    def __init__(self, authority: trustme.CA | None = None) -> None:
        self.got: list[Got] = []
        self.answers: list[Answer] = []
        self.always: Callable[[Got], Answer] | None = None
        self._arrived = threading.Condition()
        self._authority = authority
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait(self, count: int) -> list[Got]:
        """The requests, once there are so many."""
        with self._arrived:
            enough = self._arrived.wait_for(lambda: len(self.got) >= count, MOST_S)
            assert enough, f"{len(self.got)} of {count} requests came"
            return list(self.got)

    def take(self, request: Got) -> Answer:
        with self._arrived:
            self.got.append(request)
            number = len(self.got) - 1
            self._arrived.notify_all()
        if self.always is not None:
            return self.always(request)
        return self.answers[number] if number < len(self.answers) else Answer()

    def context_for(self, host: str) -> ssl.SSLContext:
        assert self._authority is not None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._authority.issue_cert(host).configure_cert(context)
        return context

    def _handler(self) -> type[_Handler]:
        return type("Handler", (_Handler,), {"receiver": self})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    receiver: Receiver
    tunnelled = ""

    def handle(self) -> None:
        with suppress(ConnectionError):  # clients of these tests may die
            super().handle()

    def do_CONNECT(self) -> None:
        self.tunnelled = self.path.partition(":")[0]
        self.send_response(200)
        self.end_headers()
        context = self.receiver.context_for(self.tunnelled)
        self.connection = context.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb", -1)
        self.wfile = self.connection.makefile("wb", 0)
        self.close_connection = False

    def do_POST(self) -> None:
        size = int(self.headers.get("content-length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        host = self.tunnelled or self.headers.get("host", "")
        answer = self.receiver.take(Got(host, self.path, headers, self.rfile.read(size)))
        if answer.hang is not None:
            answer.hang.wait(MOST_S)
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.endless:
            self.end_headers()
            self._pour(answer.body)
            return
        self.send_header("content-length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def do_GET(self) -> None:
        self.do_POST()

    def _pour(self, body: bytes) -> None:
        self.close_connection = True
        with suppress(OSError):  # the client has had enough
            while True:
                self.wfile.write(body)

    def finish(self) -> None:
        super().finish()
        if self.tunnelled:
            self.connection.close()

    def log_message(self, *_: object) -> None:
        pass


class Services:
    """Slack, PagerDuty and Opsgenie as the SDKs reach them: through a proxy, with certificates one trusts.

    *environment* is what a process needs, so that all its HTTPS comes here.
    """

    def __init__(self) -> None:
        self._authority = trustme.CA()
        self._folder = tempfile.TemporaryDirectory()
        bundle = Path(self._folder.name) / "ca.pem"
        self._authority.cert_pem.write_to_path(str(bundle))
        self.receiver = Receiver(self._authority)
        proxy = self.receiver.url
        self.environment = {"HTTPS_PROXY": proxy, "REQUESTS_CA_BUNDLE": str(bundle), "NO_PROXY": "127.0.0.1"}

    def __enter__(self) -> Self:
        self.receiver.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.receiver.__exit__()
        self._folder.cleanup()


class Mail:
    """An SMTP server that keeps what it gets."""

    def __init__(self) -> None:
        self.got: list[Any] = []
        self._controller = Controller(self, hostname="127.0.0.1", port=free_port())

    async def handle_DATA(self, server: object, session: object, envelope: Any) -> str:  # noqa: N802
        self.got.append(envelope)
        return "250 OK"

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop()

    @property
    def port(self) -> int:
        return int(self._controller.port)
