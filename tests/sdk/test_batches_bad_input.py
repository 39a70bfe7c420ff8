"""What cannot be in a batch is refused before anything is held, and the message says which item."""

from __future__ import annotations

import anthropic
import pytest
from support.batched import USD, batched, forget, held, item, policy, settled_once
from support.stages import on_sqlite, once

from governor import PolicyViolation, UnknownModel
from governor.errors import LedgerUnavailable
from governor.ledger.detail import read_closing

LONG = "x" * 65

BAD = [
    pytest.param([], "1 to 100,000 requests, this one has 0", id="empty"),
    pytest.param([item("a"), item("a")], "the custom_id 'a' is taken", id="twice"),
    pytest.param([item("a b")], r"requests\[0\]: 'a b' is no custom_id: use 1 to 64", id="blank"),
    pytest.param([item(LONG)], "is no custom_id", id="long"),
    pytest.param([item("")], "is no custom_id", id="no-name"),
    pytest.param([item("a"), {"custom_id": 7, "params": {}}], r"requests\[1\]: 7 is no", id="number"),
    pytest.param(["a"], r"requests\[0\] is 'a': give {'custom_id'", id="string"),
    pytest.param([{"custom_id": "a"}], "give {'custom_id'", id="no-params"),
    pytest.param([{**item("a"), "model": "opus"}], r"requests\[0\] has model: an item takes", id="odd-key"),
    pytest.param([item("a", stream=True)], "item 'a' of the batch: `stream` cannot", id="stream"),
    pytest.param([item("a", speed="fast")], "no fast mode", id="fast"),
    pytest.param([item("a", max_tokens=0)], "max_tokens is 0", id="nothing"),
    pytest.param([item("a", max_tokens="many")], "item 'a' .* max_tokens is 'many'", id="no-count"),
    pytest.param([item("a", messages=...)], "item 'a' of the batch: messages is missing", id="no-messages"),
    pytest.param([item("a", extra_body={"x": 1})], "item 'a' .*`extra_body`", id="extra"),
    pytest.param([item("a", extra_headers={"x": "1"})], "item 'a' .*`extra_headers`", id="headers"),
    pytest.param([item("a"), item("b", max_tokens=...)], r"item 'b' \(2 of 2 .* is missing", id="no-max"),
    pytest.param([{**item("a"), "department": "x"}], "item 'a' .*unknown department 'x'", id="department"),
    pytest.param([{**item("a"), "tags": "x"}], "item 'a' .*tags is 'x'", id="tags"),
]


@on_sqlite
@pytest.mark.parametrize(("requests", "told"), BAD)
def test_a_batch_that_cannot_be_is_refused(stage, requests, told):
    """Nothing is held and nothing sent, and the message names the item and what is wrong with it."""
    one = batched(stage, policy())
    with pytest.raises(PolicyViolation, match=told):
        one.create(requests)
    assert stage.holds() == ()
    assert stage.api.requests == []


@on_sqlite
def test_an_unpriced_model_is_refused_by_its_item(stage):
    """A model without a price is never sent, in a batch either."""
    one = batched(stage, policy())
    with pytest.raises(UnknownModel, match=r"item 'b' \(2 of 2"):
        one.create([item("a"), item("b", model="claude-next")])
    assert stage.holds() == ()


@on_sqlite
def test_results_of_a_batch_that_is_not_there(stage):
    """The API's own error is raised, and nothing is posted."""
    one = batched(stage, policy())
    with pytest.raises(anthropic.NotFoundError):
        one.results("msgbatch_never")
    assert stage.balances() == {}


@on_sqlite
def test_results_of_a_batch_that_has_not_ended(stage):
    """The SDK's own error is raised; every item stays held."""
    stage.meet(batches="when_told")
    one = batched(stage, policy())
    batch = one.create([item("a")])
    with pytest.raises(anthropic.AnthropicError, match="finished processing"):
        one.results(batch.id)
    assert held(stage) == ["a"]


def _made_outside(stage):
    made = stage.api.client().messages.batches.create(requests=[item("a"), item("b")])
    return made.id


@pytest.mark.parametrize("who", [{}, {"user": "u", "department": "team"}], ids=["nobody", "named"])
def test_a_batch_the_ledger_does_not_know_is_posted_and_flagged(stage, who):
    """Made past the governor, it is posted once: to whom the reader names, else to the organisation alone."""
    shared = {"budgets": [{"per": "organization", "usd": 100, "window": "life"}]}
    stage.write(policy(), shared=shared)
    one = batched(stage)
    batch_id = _made_outside(stage)
    for _ in range(2):
        assert one.results(batch_id, **who) == ["a succeeded", "b succeeded"]
    posted = {name: balance.posted for name, balance in stage.balances().items()}
    assert posted["org/usd/life"] == stage.api.billed_nanos
    assert posted.get(USD) == (stage.api.billed_nanos if who else None)
    assert [read_closing(entry.detail)["unknown"] for entry in stage.journal("settle")] == ["1", "1"]


@once
def test_half_an_attribution_is_refused(stage):
    """A user without a department says nothing of whose the batch is."""
    one = batched(stage, policy())
    with pytest.raises(PolicyViolation, match="both user and department"):
        one.results("msgbatch_1", user="u")


@once
def test_an_item_of_a_known_batch_that_was_never_held(stage):
    """A line that no hold belongs to is posted and flagged; the others are settled as ever."""
    one = batched(stage, policy())
    batch = one.create([item("a"), item("b")])
    (hold,) = [each.id for each in stage.holds() if each.id.endswith(".b")]
    with stage.ledger._lock:  # as if the hold had been lost
        stage.ledger._open(create=False).execute("DELETE FROM hold WHERE id = ?", (hold,))
    assert one.results(batch.id) == ["a succeeded", "b succeeded"]
    unknown = [entry for entry in stage.journal("settle") if read_closing(entry.detail)["unknown"] == "1"]
    assert [entry.id for entry in unknown] == [f"batch.of.{batch.id}.b"]


@once
def test_a_hold_of_somebody_elses_that_is_called_like_a_batchs(stage):
    """A call whose id begins like a batch's own holds is none: a drain passes over it."""
    one = batched(stage, policy())
    stage.hold(USD, 1000, 10**11, name="batch.of.mine")
    stage.hold(USD, 1000, 10**11, name="batch.new.mine")
    assert one.drain().items == 0
    assert len(stage.holds()) == 2


@once
def test_a_ledger_that_is_away_lets_no_batch_go(stage):
    """Without its ledger no batch is made, whatever `if_ledger_is_down` says of calls."""
    one = batched(
        stage, policy(if_ledger_is_down="allow"), ledger="redis://127.0.0.1:1/0", create_ledger=False
    )
    with pytest.raises(LedgerUnavailable):
        one.create([item("a")])
    assert [request.path for request in stage.api.requests if "batches" in request.path] == []


@once
def test_a_batch_whose_own_holds_have_ended_is_still_known(stage):
    """What a batch's own holds note is found for as long as they are remembered, ended or not."""
    one = batched(stage, policy())
    batch = one.create([item("a")])
    forget(stage, "batch.of.", "batch.new.")
    assert one.results(batch.id) == ["a succeeded"]
    assert [read_closing(entry.detail)["unknown"] for entry in stage.journal("settle")][:1] == ["0"]
    settled_once(stage)
