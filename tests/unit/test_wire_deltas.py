"""Deltas are read from the wire the short way or as JSON: what an ended call costs is the same."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.clients.streaming import Meter
from governor.clients.wire import ServerSentEvents

TEXTS = (
    st.text()
    | st.text(st.sampled_from('ab "\\\n\té€\U0001f600/{}'))
    | st.text(st.characters(max_codepoint=127))
)
KINDS = st.sampled_from(
    [("text_delta", "text"), ("input_json_delta", "partial_json"), ("thinking_delta", "thinking")]
)


def event(kind, field, text, *, ascii_only=False, spaced=False):
    """A delta as a server may write it."""
    delta = {"type": "content_block_delta", "index": 3, "delta": {"type": kind, field: text}}
    separators = (", ", ": ") if spaced else (",", ":")
    data = json.dumps(delta, ensure_ascii=ascii_only, separators=separators)
    return f"event: content_block_delta\ndata: {data}\n\n".encode(errors="replace")


def delivered(*chunks):
    """The bytes of output that a meter has seen in these chunks."""
    meter, reader = Meter(), ServerSentEvents()
    for chunk in chunks:
        for each in reader.feed(chunk):
            meter.heard(each)
    return meter.so_far().delivered_bytes


@given(KINDS, TEXTS, st.booleans(), st.booleans())
def test_the_bytes_of_a_delta_are_those_of_its_text(kind, text, ascii_only, spaced):
    """However the server writes its JSON: escaped or not, with blanks or without."""
    wire = event(*kind, text, ascii_only=ascii_only, spaced=spaced)
    assert delivered(wire) == len(text.encode(errors="replace"))


@given(st.lists(TEXTS, max_size=8), st.randoms(use_true_random=False), st.booleans())
def test_it_does_not_matter_how_the_bytes_are_cut(texts, chance, returns):
    """Several events in a part, an event in several parts, a line's end of two bytes cut between them."""
    wire = b"".join(event("text_delta", "text", text) for text in texts)
    if returns:
        wire = wire.replace(b"\n", b"\r\n")
    cuts = sorted(chance.randrange(len(wire) + 1) for _ in range(chance.randrange(20)))
    parts = [wire[start:end] for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    assert delivered(*parts) == sum(len(text.encode(errors="replace")) for text in texts)


@pytest.mark.parametrize("seed", range(300))
def test_a_damaged_delta_counts_as_its_json_says_or_not_at_all(seed):
    """One byte changed: the short way never takes for a delta what JSON would not read as that."""
    chance = random.Random(seed)
    wire = bytearray(event("text_delta", "text", "plain words"))
    place = chance.randrange(len(wire) - 2)
    wire[place] = chance.choice(b'"\\{}:, \tx\x00\x7f\xff0')
    _, _, line = bytes(wire).partition(b"\n")
    try:
        told = json.loads(line.removeprefix(b"data:").decode())
        expected = len(told["delta"]["text"].encode()) if told["type"] == "content_block_delta" else 0
    except (ValueError, KeyError, TypeError):
        expected = 0
    assert delivered(bytes(wire)) == expected, bytes(wire)
