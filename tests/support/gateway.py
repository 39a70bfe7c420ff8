"""A gateway that answers over HTTP exactly what a test writes down, right or wrong."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import anthropic

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

COUNT = b'{"input_tokens": 19}'


@dataclass
class Gateway:
    """What is answered; to be changed between calls, and ended by `close` or `with`.

    Attributes:
        model: The model that answers; '' for the one asked for.
        begun: The usage in `message_start`.
        ended: The usage in `message_delta`.
        count: Status, headers and body of the answer of count_tokens.
        headers: What each answer to `/v1/messages` says in its headers besides.
        bodies: Every request's body, oldest first, with its path under `path`.
    """

    model: str = ""
    begun: Mapping[str, Any] = field(default_factory=lambda: {"input_tokens": 19, "output_tokens": 1})
    ended: Mapping[str, Any] = field(default_factory=lambda: {"output_tokens": 9})
    count: tuple[int, Mapping[str, str], bytes] = (200, {"content-type": "application/json"}, COUNT)
    headers: Mapping[str, str] = field(default_factory=dict)
    bodies: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin to listen on a port of loopback that is free."""
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                body = json.loads(self.rfile.read(length))
                status, headers, content = gateway.answer(self.path.partition("?")[0], body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and content for one request."""
        self.bodies.append({**body, "path": path})
        if path.endswith("count_tokens"):
            return self.count
        return 200, {"content-type": "text/event-stream", **self.headers}, b"".join(self._events(body))

    @property
    def counts(self) -> list[dict[str, Any]]:
        """The bodies that were to be counted."""
        return [body for body in self.bodies if body["path"].endswith("count_tokens")]

    def client(self, *, is_async: bool) -> Any:
        """A client of this gateway."""
        kind = anthropic.AsyncAnthropic if is_async else anthropic.Anthropic
        return kind(api_key="none", base_url=f"http://127.0.0.1:{self._server.server_port}")

    def _events(self, body: Mapping[str, Any]) -> list[bytes]:
        message = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": self.model or body["model"],
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": self.begun,
        }
        block, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hello."}
        end = {"stop_reason": "end_turn", "stop_sequence": None}
        events: list[dict[str, Any]] = [
            {"type": "message_start", "message": message},
            {"type": "content_block_start", "index": 0, "content_block": block},
            {"type": "content_block_delta", "index": 0, "delta": delta},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": end, "usage": self.ended},
            {"type": "message_stop"},
        ]
        return [f"event: {one['type']}\ndata: {json.dumps(one)}\n\n".encode() for one in events]

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
