"""The fake API compresses its answers where it is told to and the client takes it."""

from __future__ import annotations

import contextlib
import gzip
import json
import zlib

import anthropic
import httpx2
import pytest
from support.fixed_api import NOW_MS

from governor.testing import FakeClaude, Reply, cut_mid_stream, error_mid_stream, overloaded, stall_mid_stream

HAIKU = "claude-haiku-5-5"
BODY = {"model": HAIKU, "max_tokens": 100, "messages": [{"role": "user", "content": "Hello, Claude"}]}


@pytest.fixture
def api():
    """A fake API that compresses."""
    with FakeClaude(compress="gzip", now_ms=lambda: NOW_MS) as running:
        yield running


@contextlib.contextmanager
def opened(api, accept, **overrides):
    headers = {"x-api-key": api.api_key, "accept-encoding": accept}
    with (
        httpx2.Client(trust_env=False) as client,
        client.stream(
            "POST", f"{api.url}/v1/messages", json={**BODY, **overrides}, headers=headers
        ) as response,
    ):
        yield response


@pytest.mark.parametrize(
    ("accept", "compressed"),
    [
        ("gzip, deflate", True),
        ("br;q=1, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("deflate", False),
        ("", False),
    ],
)
def test_only_a_client_that_takes_gzip_gets_it(api, accept, compressed):
    """The answer is gzip exactly where accept-encoding has it with a quality above 0, and says so."""
    with opened(api, accept) as response:
        raw = b"".join(response.iter_raw())
    assert (response.headers.get("content-encoding") == "gzip") is compressed
    assert json.loads(gzip.decompress(raw) if compressed else raw)["type"] == "message"


def test_an_api_without_the_setting_compresses_nothing():
    """By default bodies leave as they are."""
    with FakeClaude() as api, opened(api, "gzip") as response:
        assert "content-encoding" not in response.headers
        assert json.loads(b"".join(response.iter_raw()))["type"] == "message"


def test_the_sdk_reads_the_same_plain_streamed_and_refused(api):
    """Compressed answers, streams and errors arrive as the same answers uncompressed, on one connection."""
    client = api.client(max_retries=0)
    whole = client.messages.create(**BODY)
    with client.messages.stream(**BODY) as stream:
        assert stream.get_final_message().content[0].text == whole.content[0].text
    assert stream.response.headers["content-encoding"] == "gzip"
    api.inject(overloaded())
    with pytest.raises(anthropic.OverloadedError, match="Overloaded"):
        client.messages.create(**BODY)
    assert client.messages.create(**BODY).usage.output_tokens == 100


def test_an_event_can_be_read_before_the_next_is_sent(api):
    """Every event of a stream that stalls can be decompressed, though the body has not ended."""
    api.inject(stall_mid_stream(4))
    unzip, text = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS), b""
    with opened(api, "gzip", stream=True) as response:
        for raw in response.iter_raw():
            text += unzip.decompress(raw)
            if text.count(b"\n\n") == 4:
                break
    assert text.startswith(b"event: message_start")
    assert text.endswith(b"\n\n")


def test_events_sent_together_are_flushed_one_by_one(api):
    """A stream that leaves in one piece still has a flush after each event."""
    api.next(Reply(output_tokens=50, tokens_per_delta=1))
    with opened(api, "gzip", stream=True) as response:
        raw = b"".join(response.iter_raw())
    assert raw.count(b"\x00\x00\xff\xff") >= gzip.decompress(raw).count(b"event: ")


def test_broken_streams_break_when_compressed_too(api):
    """A cut is a cut, and an error event can still be read."""
    client = api.client(max_retries=0)
    api.inject(cut_mid_stream(4), error_mid_stream(after_events=4))
    with pytest.raises(httpx2.RemoteProtocolError):
        list(client.messages.create(**BODY, stream=True))
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        list(client.messages.create(**BODY, stream=True))


def test_batch_results_are_compressed_lines(api):
    """JSON lines arrive whole through the SDK."""
    client = api.client()
    requests = [{"custom_id": f"r{number}", "params": BODY} for number in range(30)]
    batch = client.messages.batches.create(requests=requests)
    results = client.messages.batches.results(batch.id)
    assert len({line.custom_id for line in results}) == 30
    assert results.http_response.headers["content-encoding"] == "gzip"


def test_another_coding_is_a_mistake_of_the_test():
    """The setting takes gzip only, and says so."""
    with pytest.raises(ValueError, match="compress is 'br'; give 'gzip' or None"):
        FakeClaude(compress="br")


def test_a_reply_sets_the_length_of_its_own_deltas():
    """One token a delta makes as many deltas as tokens, whatever the API's setting; below 1 is refused."""
    with FakeClaude(tokens_per_delta=50) as api:
        api.next(Reply(output_tokens=60, tokens_per_delta=1))
        with api.client().messages.create(**BODY, stream=True) as events:
            assert sum(event.type == "content_block_delta" for event in events) == 60
    with pytest.raises(ValueError, match="tokens_per_delta is 0"):
        Reply(tokens_per_delta=0)
