"""Anthropic's figures as they are read: what is no page of figures is one clear error."""

from __future__ import annotations

import json
import threading
from datetime import date
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from governor.clients.usage import FiguresError, read_figures

DAY = date(2026, 11, 12)
COST = {"currency": "USD", "amount": "1.5", "list_amount": "2.00000000125"}
ROW = {"starting_at": "2026-11-12T00:00:00Z", "group": {"model": "m"}, "cost": COST}


class Server:
    """Answers every GET with one body, and remembers what it was asked."""

    def __init__(self) -> None:
        self.body, self.type, self.status = b"{}", "application/json", 200
        self.asked: list[tuple[str, dict[str, str]]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append(
                    (self.path, {name.lower(): value for name, value in self.headers.items()})
                )
                self.send_response(server.status)
                self.send_header("content-type", server.type)
                self.send_header("content-length", str(len(server.body)))
                self.end_headers()
                self.wfile.write(server.body)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))
        self.thread.start()

    def read(self, **options):
        return read_figures("key", DAY, DAY, base_url=f"http://127.0.0.1:{self.http.server_port}", **options)


@pytest.fixture
def server():
    made = Server()
    yield made
    made.http.shutdown()
    made.thread.join()
    made.http.server_close()


def page(**changed: object) -> bytes:
    row = {**ROW, "usage": {"total_tokens": 7}, **changed}
    return json.dumps({"data": [row], "has_more": False, "next_page": None}).encode()


def test_amounts_are_exact(server):
    """Text in fractions of a cent becomes nano-dollars unrounded; at list price, unless it is negotiated."""
    server.body = page()
    assert server.read().charged[0].nanos == Fraction(20_000_000) + Fraction(125, 10_000)
    figures = server.read(negotiated=True)
    assert figures.charged[0].nanos == 15_000_000
    assert figures.tokens == {(DAY, "m"): 7}
    assert figures.refreshed_ms is None


def test_one_key_goes_out_and_no_other(server, monkeypatch):
    """The keys of the environment stay there."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-of-messages")
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "token-of-somebody")
    server.body = page()
    server.read()
    for _, headers in server.asked:
        assert "sk-ant-of-messages" not in str(headers)
        assert "token-of-somebody" not in str(headers)
        assert "key" in (headers.get("x-api-key"), headers.get("authorization", "").removeprefix("Bearer "))


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[]",
        b"null",
        b'{"data": 5}',
        b"<html>a gateway</html>",
        page(cost={**COST, "currency": "EUR"}),
        page(cost={**COST, "list_amount": "much"}),
        page(cost={**COST, "list_amount": "NaN"}),
        page(cost={**COST, "list_amount": "1e999999"}),
        page(cost={}),
        page(starting_at="yesterday"),
        page(group=None),
        json.dumps({"data": [ROW], "data_refreshed_at": 5}).encode(),
        json.dumps({"data": [], "has_more": True, "next_page": "again"}).encode(),
    ],
    ids=lambda body: body.decode()[:60],
)
def test_what_is_no_page_of_figures(server, body):
    """It names the path and the page, and says what to do."""
    server.body = body
    with pytest.raises(FiguresError, match="no page of figures, at page") as error:
        server.read()
    assert error.value.advice


def test_an_error_that_repeats_the_key(server):
    """What the server says is passed on without the key in it; an answer that is no JSON has no reason."""
    server.status, server.body = 401, b'{"error": {"message": "key is not known: key"}}'
    with pytest.raises(FiguresError, match="answered 401 at page 1: … is not known: …"):
        server.read()
    server.status, server.body, server.type = 404, b"nothing here", "text/plain"
    with pytest.raises(FiguresError, match="answered 404 at page 1: no reason") as error:
        server.read()
    assert "--admin-url" in error.value.advice


@pytest.mark.parametrize("key", ["", "two words", "line\nline", "schlüssel"])
def test_what_is_no_key_is_not_sent(server, key):
    """A key that no header can carry is refused before anything is sent, and not repeated."""
    with pytest.raises(FiguresError, match="no key has") as error:
        read_figures(key, DAY, DAY, base_url=f"http://127.0.0.1:{server.http.server_port}")
    assert not key or key not in str(error.value)
    assert server.asked == []


def test_ranges_that_cannot_be_asked_for():
    """1 to 31 days."""
    for first, last in ((DAY, date(2026, 12, 13)), (DAY, date(2026, 11, 11))):
        with pytest.raises(ValueError, match="no range of 1 to 31 days"):
            read_figures("key", first, last)
