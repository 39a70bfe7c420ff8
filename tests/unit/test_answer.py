"""The message that raw events make up: what the SDK's own helper would make of them."""

from __future__ import annotations

import pytest
from anthropic.types import RawMessageStreamEvent
from pydantic import TypeAdapter

from governor.clients.answer import Answer

EVENT = TypeAdapter(RawMessageStreamEvent)
START = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-5-5",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 19, "output_tokens": 1, "service_tier": "standard"},
    },
}
TEXT = {"type": "text", "text": "", "citations": None}
TOOL = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}


def answer(*events):
    """What has taken these events, given as the API sends them."""
    made = Answer()
    for event in events:
        made.take(EVENT.validate_python(event))
    return made


def begun(block):
    """The first block begins."""
    return {"type": "content_block_start", "index": 0, "content_block": block}


def piece(kind, **more):
    """A piece of the first block."""
    return {"type": "content_block_delta", "index": 0, "delta": {"type": kind, **more}}


def test_totals_overwrite_and_what_a_delta_leaves_out_stays():
    """The last counts are totals; the tier came with the first event only."""
    end = {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 9, "cache_read_input_tokens": None},
    }
    message = answer(START, end).whole()
    assert (message.stop_reason, message.usage.input_tokens, message.usage.output_tokens) == (
        "end_turn",
        19,
        9,
    )
    assert message.usage.service_tier == "standard"


@pytest.mark.parametrize(
    ("pieces", "given"),
    [
        (['{"place": ', '"Ulm", "days": [1, 2]}'], {"place": "Ulm", "days": [1, 2]}),
        (['{"place": "Ulm", "da', "ys"], {"place": "Ulm"}),
        ([""], {}),
        ([], {}),
    ],
)
def test_the_input_of_a_tool_comes_in_pieces(pieces, given):
    """The pieces are one JSON text; of one that was cut short by `max_tokens`, what is whole in it counts."""
    pieces = [piece("input_json_delta", partial_json=one) for one in pieces]
    (block,) = answer(START, begun(TOOL), *pieces).whole().content
    assert block.input == given


def test_an_input_that_is_no_json_is_an_error_at_the_end():
    """Reading goes on to the usage; only who asks for the message is told."""
    made = answer(START, begun(TOOL), piece("input_json_delta", partial_json="Ulm, please"))
    with pytest.raises(ValueError, match="expected value"):
        made.whole()


def test_citations_gather():
    """Each citation joins those before it."""
    cited = {
        "type": "char_location",
        "cited_text": "a",
        "document_index": 0,
        "document_title": None,
        "start_char_index": 0,
        "end_char_index": 1,
        "file_id": None,
    }
    two = [piece("citations_delta", citation=cited), piece("text_delta", text="So. ")] * 2
    (block,) = answer(START, begun(TEXT), *two).whole().content
    assert (block.text, [one.cited_text for one in block.citations]) == ("So. So. ", ["a", "a"])


def test_a_piece_for_another_kind_of_block_says_nothing():
    """What does not fit its block is left out, and what comes before the first event too."""
    stray = piece("thinking_delta", thinking="Hmm.")
    (block,) = answer(begun(TEXT), START, begun(TEXT), stray, piece("text_delta", text="So.")).whole().content
    assert block.model_dump(exclude_none=True) == {"type": "text", "text": "So."}
    assert answer(begun(TEXT)).whole() is None
