"""What is used of the SDK that it does not promise: one file, and a clear word when a release changes it."""

from __future__ import annotations

import ast
import gzip
from importlib.metadata import version
from pathlib import Path

import anthropic
import httpx2
import pytest
from anthropic import types
from anthropic._models import FinalRequestOptions, add_response_ids

import governor
from governor.clients import private

HOME = Path(governor.__path__[0])
PRIVATE_FILE = HOME / "clients" / "private.py"
FOREIGN = ("anthropic", "httpx2")
RELEASE = f"anthropic {version('anthropic')}, httpx2 {version('httpx2')}"


def message():
    """A message of the SDK's."""
    return types.Message.model_validate(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-haiku-5-5",
            "content": [],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }
    )


def test_a_message_still_bears_the_apis_id_of_its_request():
    """`_request_id` of the SDK's messages is what the governor sets."""
    answered = anthropic.BaseModel.construct()
    try:
        add_response_ids(answered, request_id="req_0", workspace_id=None)
        said = answered._request_id
    except (AttributeError, TypeError) as error:
        pytest.fail(
            f"{RELEASE}: messages bear the request's id elsewhere ({error}): see governor/clients/private.py"
        )
    assert said == "req_0"
    given = message()
    private.set_request_id(given, "req_1")
    assert given._request_id == "req_1"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "identity", ""])
def test_the_http_librarys_decoders_are_where_they_were(coding):
    """A decoder of its own reads a body beside; a body that is not compressed needs none."""
    headers = {"content-encoding": coding} if coding else {}
    try:
        decoder = private.decoder_of(httpx2.Response(200, headers=headers))
    except (ImportError, AttributeError) as error:
        pytest.fail(f"{RELEASE}: the decoders have moved ({error}): see governor/clients/private.py")
    assert (decoder is None) == (coding in ("identity", ""))
    if coding == "gzip":
        assert b"".join(decoder.decode(gzip.compress(b"twelve words"))) == b"twelve words"


def test_the_sdk_still_lists_its_deprecated_models():
    """`governor prices check` reads it; without it, it says so."""
    assert private.deprecated_models(), f"{RELEASE}: the list has moved: see governor/clients/private.py"


def test_codings_that_the_http_library_does_not_read_are_refused():
    """What the caller's own client cannot read is not read beside either."""
    for coding in ("rot13", "gzip, br"):
        with pytest.raises(LookupError):
            private.decoder_of(httpx2.Response(200, headers={"content-encoding": coding}))


@pytest.mark.parametrize(
    "name", ["method", "url", "headers", "params", "json_data", "extra_json", "timeout", "idempotency_key"]
)
def test_the_options_of_a_request_have_the_parts_that_are_rewritten(name):
    """The door copies a request's options with other parts: a part that is gone would be lost in silence."""
    assert name in FinalRequestOptions.model_fields, f"{RELEASE}: requests have no `{name}` any more"


def test_requests_and_responses_of_the_chain_have_what_the_door_uses():
    """The chain's own classes, which the SDK exports, keep the names that the door reads and sets."""
    for name in ("method", "url", "headers", "json", "timeout", "options", "copy"):
        known = hasattr(anthropic.APIRequest, name) or name == "options"
        assert known, f"{RELEASE}: APIRequest has no `{name}` any more"
    for kind in (anthropic.APIResponse, anthropic.AsyncAPIResponse):
        assert "http_response" in kind.__mro__[1].__annotations__, (
            f"{RELEASE}: {kind.__name__} lost its response"
        )


def test_no_other_file_touches_private_parts_of_the_sdk():
    """Private modules are imported, and private attributes of foreign objects set, in `private.py` only."""
    found = []
    for path in HOME.rglob("*.py"):
        if path == PRIVATE_FILE or "testing" in path.relative_to(HOME).parts:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                package, *rest = name.split(".")
                if package in FOREIGN and any(part.startswith("_") for part in rest):
                    found.append(f"{path.relative_to(HOME)}: {name}")
    assert not found
