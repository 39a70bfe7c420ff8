"""An application as gunicorn serves it: the governor is loaded, and used, before the workers are forked."""

from __future__ import annotations

import os

import anthropic

import governor

ASKED = {"model": "claude-haiku-5-5", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}


def client_of(gov):
    """A client of this process's own."""
    return anthropic.Anthropic(
        base_url=os.environ["API_URL"],
        api_key="fake-key",
        max_retries=0,
        middleware=[gov.middleware(department="team")],
        http_client=anthropic.DefaultHttpxClient(trust_env=False),
    )


def ask(client, user):
    """One answer for *user*, whose name the fake API's bill bears, too."""
    with governor.attribute(user=user) as work:
        client.messages.create(**ASKED, extra_headers={"x-fake-tag": user})
    return work.receipts[-1].request_id


GOV = governor.Governor.load(os.environ["POLICIES"], ledger=os.environ["LEDGER"])
MASTERS = client_of(GOV)
ask(MASTERS, "master")
CLIENTS: dict[int, anthropic.Anthropic] = {}


def app(environ, start_response):
    """Ask for whom the path names; answer this worker's process id and the id of the request."""
    client = CLIENTS.setdefault(os.getpid(), CLIENTS.get(os.getpid()) or client_of(GOV))
    request_id = ask(client, environ["PATH_INFO"].strip("/"))
    start_response("200 OK", [("content-type", "text/plain")])
    return [f"{os.getpid()} {request_id}".encode()]
