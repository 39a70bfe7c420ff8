"""What the holds of a batch are called and note, what a line of results says, and what an item is held at."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.governed import HAIKU, HELLO, SONNET

from governor.errors import PolicyViolation, UnknownModel
from governor.journal.calls import Other, Reader
from governor.journal.records import batch as batch_record
from governor.ledger import commands as c
from governor.ledger.values import check_id
from governor.policy import Attribution
from governor.pricing import PriceTable, ceiling
from governor.story import batches
from governor.story.batches import BatchNote, Note

NOW_MS = 1_795_176_000_000
DAY_MS = 24 * 3600 * 1000
PRICES = PriceTable.load()
CUSTOM = st.from_regex(batches.CUSTOM_ID, fullmatch=True)
TEXT = st.text(min_size=1, max_size=40)


def bound(model, tokens, *, batch, **body):
    """The ceiling of a prompt of so many tokens."""
    asked = {"messages": HELLO, "max_tokens": 100, **body}
    return ceiling(PRICES, model, input_tokens=tokens, counted=False, body=asked, at_ms=NOW_MS, batch=batch)


@given(st.sampled_from([HAIKU, SONNET, "claude-opus-5-5"]), st.integers(1, 400_000), st.integers(1, 64_000))
def test_an_item_is_held_at_half_of_a_call(model, tokens, most):
    """Batch prices are half of everything, so half of a call's ceiling rounded up is an item's."""
    item = bound(model, tokens, batch=True, max_tokens=most)
    call = bound(model, tokens, batch=False, max_tokens=most)
    assert item.nanos == -(-call.nanos // 2)
    assert (item.tokens, item.way) == (call.tokens, call.way._replace(batch=True))


def test_an_item_has_no_fast_mode():
    """No price is taken for what a batch cannot be: the message says what to leave out."""
    with pytest.raises(UnknownModel, match="leave `speed` out"):
        bound("claude-opus-5-5", 100, batch=True, speed="fast")


@given(CUSTOM, st.text(max_size=80))
def test_every_id_is_one_that_a_ledger_keeps(custom_id, batch_id):
    """Whatever an item and a batch are called, the ids of their holds are good ones, and tell them apart."""
    held_as = batches.new_hold()
    ids = [
        batches.item_id(held_as, custom_id),
        batches.new_of(held_as),
        batches.sent_of(batch_id),
        batches.sent_of(batch_id, custom_id),
        batches.sent_of(batch_id, custom_id + " "),
    ]
    assert len({check_id(one) for one in ids}) == len(ids)
    assert all(one.startswith(c.BATCH) for one in ids)


@given(st.tuples(TEXT, TEXT, st.none() | TEXT, st.none() | TEXT, st.none() | TEXT), TEXT)
def test_a_note_says_what_it_was_told(who, tag):
    """Whose an item is, its offers and when it was priced come back from its note as they were."""
    department, user, feature, run, priority = who
    note = Note(
        Attribution(department, user, feature, run, (("job", tag),), priority),
        "auto",
        (batches.unnoted(SONNET, "sonnet"), batches.unnoted(HAIKU)),
        "",
        NOW_MS,
        "abc",
    )
    text = json.dumps(
        {
            "who": [department, user, feature, run, {"job": tag}, priority],
            "asked": "auto",
            "offers": [[SONNET, "sonnet", 0, 0, 0, False, None], [HAIKU, "", 0, 0, 0, False, None]],
            "endpoint": "",
            "at": NOW_MS,
            "policy": "abc",
        }
    )
    assert batches.read_note(text) == note


@given(
    st.text(max_size=60)
    | st.sampled_from(["[]", "{}", "null", '{"who": []}', "[1, 2]", '["a", 1, 2, "", 5]'])
)
def test_a_note_that_is_none_is_none(text):
    """What somebody else wrote beside a hold is no note, and no error."""
    assert batches.read_note(text) is None
    read = batches.read_batch_note(text)
    assert read is None or isinstance(read, BatchNote)


def test_a_batchs_note_comes_back():
    """A batch's own note is read as it was written."""
    noted = BatchNote(batches.new_hold(), 3, NOW_MS, "msgbatch_1")
    assert batches.read_batch_note(noted.text()) == noted


@pytest.mark.parametrize(
    ("later_ms", "items", "may_be"),
    [
        (0, 3, True),
        (-5 * 60_000, 3, True),
        (-5 * 60_000 - 1, 3, False),
        (60 * 60_000, 3, True),
        (60 * 60_000 + 1, 3, False),
        (0, 2, False),
        (None, 3, False),
        (0, None, False),
        (None, None, False),
    ],
)
def test_which_batch_may_be_the_one_that_was_noted(later_ms, items, may_be):
    """One made from five minutes before its note to an hour after, of as many items; no other."""
    noted = BatchNote("batch.x", 3, NOW_MS)
    made_ms = None if later_ms is None else NOW_MS + later_ms
    assert noted.may_be(made_ms, items) is may_be


@pytest.mark.parametrize(
    "line",
    [
        {},
        {"custom_id": "a"},
        {"custom_id": "a", "result": None},
        {"custom_id": "a", "result": {"type": "succeeded"}},
        {"custom_id": "a", "result": {"type": "succeeded", "message": {"model": SONNET}}},
        {"custom_id": "a", "result": {"type": "errored", "error": "x"}},
        {"custom_id": "a", "result": {"type": "postponed"}},
    ],
)
def test_a_line_that_is_not_as_documented_is_told(line):
    """Such a line ends nothing: the error says what is wrong with it."""
    with pytest.raises(ValueError, match=r"not as documented|unknown type"):
        batches.read_result(line)


def test_lines_of_every_kind():
    """A succeeded item was answered with its usage; every other one was refused, with its error's type."""
    message = {"model": SONNET, "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 2}}
    done = batches.read_result({"custom_id": "a", "result": {"type": "succeeded", "message": message}})
    assert (done.ended.kind, done.ended.model, done.ended.usage) == ("answered", SONNET, message["usage"])
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": "no"}}
    failed = batches.read_result({"custom_id": "a", "result": {"type": "errored", "error": error}})
    assert (failed.ended.kind, failed.error) == ("refused", "invalid_request_error")
    for kind in ("canceled", "expired"):
        assert batches.read_result({"custom_id": "a", "result": {"type": kind}}).ended.kind == "refused"


def test_a_batch_too_large_is_refused():
    """More items than the API takes are refused before anything else is looked at."""
    with pytest.raises(PolicyViolation, match="1 to 100,000 requests, this one has 100,001"):
        batches.check(["a"] * 100_001)


@pytest.mark.parametrize("kind", ["reserve", "settle", "release"])
def test_a_batch_as_a_whole_is_no_call(kind):
    """The records of a batch's own holds are told from calls', so that no back-test counts them."""
    entry = c.JournalEntry(
        "1", kind, "batch.of.x", NOW_MS, "held", "0 ", batch_record(BatchNote("batch.y", 3, 0, "x"))
    )
    ended = replace(entry, detail="overrun=0 unknown=0 posted= crossed=")
    assert Reader().read(entry if kind == "reserve" else ended) == Other(NOW_MS, "batch")
