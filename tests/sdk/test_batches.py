"""Batches: every item is held when a batch is made, and settled once, when its result is read."""

from __future__ import annotations

import json

import pytest
from support.batched import REQUESTS, TOKENS, USD, batched, held, item, policy, settled_once, whole
from support.governed import HAIKU, HELLO, LADDER, NOON_MS, SONNET, department
from support.stages import on_sqlite, once

from governor import BudgetContended, BudgetExceeded, Money, PolicyViolation
from governor.testing import Reply, overloaded, status_error

DAY_S = 24 * 3600
THREE = [item("a"), item("b"), item("c")]
NO_RETRY = status_error(529, retry_after=0)


def journalled(stage, kind):
    """The records of one kind that are of items, by custom id."""
    records = {entry.id.rsplit(".", 1)[1]: json.loads(entry.record) for entry in stage.journal(kind)}
    return {custom_id: record for custom_id, record in records.items() if "batch" not in record}


def test_items_are_held_at_the_batch_price_and_settled_at_what_they_cost(stage):
    """Every item has a hold of its own; read to the end, what is posted is the API's bill to the nano."""
    one = batched(stage, policy())
    batch = one.create(THREE)
    assert held(stage) == ["a", "b", "c"]
    assert batch.receipt.ceiling.nanos == stage.balances()[USD].held
    assert one.results(batch.id) == ["a succeeded", "b succeeded", "c succeeded"]
    settled_once(stage)
    assert stage.balances()[REQUESTS].posted == 3
    assert journalled(stage, "settle")["a"]["usage"]["service_tier"] == "batch"


def test_the_ceiling_is_half_of_a_calls_of_the_same_bound(stage):
    """Of the same prompt, bounded in the same way, an item is held at exactly half of what a call is."""
    one = batched(stage, policy(estimate="local"))
    receipt = one.create([item("a")]).receipt
    caller = stage.governor()
    caller.call(model=SONNET)
    asked = [
        json.loads(entry.record)["candidates"][0] for entry in stage.journal("reserve") if "." not in entry.id
    ]
    assert 2 * receipt.ceiling.nanos - asked[0]["ceiling_nanos"] in (0, 1)
    assert receipt.items[0].reason.startswith(SONNET)


def test_reading_again_posts_nothing_twice(stage):
    """Results read twice, and by another process, post once."""
    one = batched(stage, policy())
    batch = one.create(THREE)
    for reader in (one, one, batched(stage)):
        assert len(reader.results(batch.id)) == 3
    settled_once(stage)
    assert len(journalled(stage, "settle")) == 3


def test_a_reader_that_stops_leaves_the_rest_open(stage):
    """What was handed over is settled, the rest stays held; another process settles that."""
    one = batched(stage, policy())
    batch = one.create(THREE)
    (first,) = one.results(batch.id, most=1)
    assert (held(stage), whole(stage)) == (sorted({*"abc"} - {first[0]}), ["batch.of"])
    batched(stage).results(batch.id)
    settled_once(stage)


def test_items_without_an_answer_are_given_back(stage):
    """Errored, cancelled and expired items cost nothing; as after any release their requests stay counted."""
    one = batched(stage, policy())
    stage.api.batch_outcomes({"a": "errored", "b": "canceled", "c": "expired", "d": overloaded()})
    batch = one.create([*THREE, item("d"), item("e")])
    assert one.results(batch.id)[:3] == ["a errored", "b canceled", "c expired"]
    settled_once(stage)
    released = journalled(stage, "release")
    assert {name: record["result"] for name, record in released.items()} == {
        "a": "errored",
        "b": "canceled",
        "c": "expired",
        "d": "errored",
    }
    assert released["d"]["error"] == "overloaded_error"
    assert stage.balances()[REQUESTS].posted == 5
    assert stage.balances()[TOKENS].posted == sum(
        record["usage"]["input_tokens"] + record["usage"]["output_tokens"]
        for record in journalled(stage, "settle").values()
    )


def test_what_says_how_fast_the_api_is_asked_does_not_bind_a_batch(stage):
    """A user with two requests a minute and two at once makes a batch of three."""
    one = batched(stage, policy())
    one.create(THREE)
    touched = {identity for hold in stage.holds() for identity, _ in hold.balances}
    assert touched == {USD, TOKENS, REQUESTS}


def test_an_item_that_is_refused_refuses_the_batch(stage):
    """All or nothing: the message names the item, nothing is sent, and the earlier holds are given back."""
    one = batched(stage, department({"per": "department", "usd": "0.002", "window": "life"}, estimate="auto"))
    with pytest.raises(BudgetExceeded, match=r"item 'b' \(2 of 3 in the batch\)") as refused:
        one.create([item("a"), item("b", max_tokens=2000), item("c")], pin=True)
    assert refused.value.budget.identity == USD
    assert stage.holds() == ()
    assert (stage.balances()[USD].posted, stage.balances()[USD].held) == (0, 0)
    assert [request.path for request in stage.api.requests if "batches" in request.path] == []


def test_a_batch_that_alone_holds_all_there_is_is_not_told_to_wait(stage):
    """Where a budget is held by the batch's own items only, it is exceeded: no call in flight would help."""
    one = batched(stage, department({"per": "department", "usd": "0.0012", "window": "life"}))
    with pytest.raises(BudgetExceeded, match="make smaller batches"):
        one.create(THREE, pin=True)
    assert stage.holds() == ()


def test_items_step_down_as_calls_do(stage):
    """Past a threshold a batch's items go to the next line, and the receipt says so."""
    team = department({"per": "department", "usd": 10, "window": "life"}, thresholds=LADDER, estimate="auto")
    one = batched(stage, team)
    stage.spend(USD, 9_200_000_000, 10_000_000_000)
    receipt = one.create([item("a", model="opus"), item("b", model=HAIKU)]).receipt
    assert [(one.custom_id, one.asked, one.model) for one in receipt.items] == [
        ("a", "opus", HAIKU),
        ("b", HAIKU, HAIKU),
    ]
    assert "claude-haiku-5-5 instead" in receipt.items[0].reason
    sent = [request.body for request in stage.api.requests if request.path.endswith("/batches")][-1]
    assert [one["params"]["model"] for one in sent["requests"]] == [HAIKU, HAIKU]


def test_an_item_may_say_whose_it_is(stage):
    """What an item says of itself goes over what is said of the batch: user, feature, run, tags, pin."""
    team = policy(features={"classify": {"max_tokens": 50}})
    one = batched(stage, team)
    requests = [
        item("a"),
        {**item("b", max_tokens=...), "user": "v", "feature": "classify", "tags": {"job": "x"}},
    ]
    batch = one.create(requests, run="night")
    one.results(batch.id)
    ended = journalled(stage, "settle")
    assert [(ended[name]["user"], ended[name]["feature"], ended[name]["run"]) for name in "ab"] == [
        ("u", None, "night"),
        ("v", "classify", "night"),
    ]
    assert ended["b"]["tags"] == {"job": "x"}


def test_no_item_is_counted_where_its_bound_is_enough(stage):
    """A batch asks the API for no counts, unless the policy says `count`."""
    one = batched(stage, policy())
    one.create(THREE)
    assert stage.api.counts == []
    counting = batched(stage, policy(estimate="count"))
    counting.create(THREE[:1])
    assert len(stage.api.counts) == 1


@once
def test_an_item_is_counted_before_it_is_refused(stage):
    """A prompt whose bound is too much for the budget is counted, and held by its count."""
    words = [{"role": "user", "content": "a" * 4000}]
    team = department({"per": "department", "usd": "0.0025", "window": "life"}, estimate="auto")
    one = batched(stage, team)
    one.create([item("a", messages=words, max_tokens=10)], pin=True)
    assert len(stage.api.counts) == 1
    assert [entry.outcome for entry in stage.journal("reserve") if entry.id.endswith(".a")] == ["held"]


def test_a_batch_that_the_api_refuses_gives_everything_back(stage):
    """A 400 releases every hold, the requests too: nothing was ever asked of the API."""
    one = batched(stage, policy())
    stage.api.batch_fault(status_error(400))
    with pytest.raises(Exception, match="400"):
        one.create(THREE)
    assert stage.holds() == ()
    assert {name: balance.posted for name, balance in stage.balances().items()} == dict.fromkeys(
        stage.balances(), 0
    )


def test_a_batch_is_sent_again_where_the_api_pushes_back(stage):
    """After two 529s the third sending is taken, on the same holds."""
    one = batched(stage, policy())
    stage.api.batch_fault(NO_RETRY, times=2)
    batch = one.create(THREE)
    assert len(journalled(stage, "reserve")) == 3
    one.results(batch.id)
    settled_once(stage)


def test_a_batch_that_the_api_never_takes_gives_everything_back(stage):
    """Where every sending is pushed back the SDK's error is raised, and nothing stays held."""
    one = batched(stage, policy())
    stage.api.batch_fault(NO_RETRY, times=3)
    with pytest.raises(Exception, match=r"529"):
        one.create(THREE)
    assert stage.holds() == ()


def test_a_drain_settles_every_batch_that_has_ended(stage):
    """Ended batches are settled, one that runs is left, and the drain says so; again, nothing happens."""
    stage.meet(batches="when_told")
    one = batched(stage, policy())
    first, second, third = one.create(THREE), one.create(THREE[:1]), one.create(THREE[:2])
    stage.api.batch_outcomes({"b": "expired"})
    stage.api.end_batches(first.id, third.id)
    seen = []
    drained = one.drain(seen.append)
    assert (drained.batches, drained.waiting, drained.settled, drained.released) == (2, 1, 3, 2)
    assert drained.cost == Money(stage.api.billed_nanos)
    assert [each.items for each in seen] in ([3, 3, 5], [3, 5, 5])
    assert (held(stage), whole(stage)) == (["a"], ["batch.of"])
    again = batched(stage).drain()
    assert (again.batches, again.waiting, again.items) == (0, 1, 0)
    stage.api.end_batches(second.id)
    assert batched(stage).drain().settled == 1
    settled_once(stage)


def test_a_drain_after_the_holds_expired_replaces_their_charge(stage):
    """Items not drained for two days are charged whole; a drain weeks later posts what they cost instead."""
    stage.meet(batches="when_told")
    one = batched(stage, policy())
    batch = one.create(THREE)
    ceiling = stage.balances()[USD].held
    stage.api.end_batches(batch.id)
    stage.clock.forward(2 * DAY_S + 61)
    other = stage.governor()
    other.call()
    called = stage.api.billed_nanos - sum(line.nanos for line in stage.api.bill if line.batch_id == batch.id)
    assert stage.posted(USD) == ceiling + called
    stage.clock.forward(20 * DAY_S)
    drained = one.drain()
    assert (drained.settled, drained.known) == (3, 0)
    settled_once(stage)
    outcomes = {entry.outcome for entry in stage.journal("settle") if entry.id.endswith((".a", ".b", ".c"))}
    assert outcomes == {"settled_late"}


def test_items_are_posted_to_the_windows_they_were_held_in(stage):
    """Results read the next month are posted to the month in which the batch was made."""
    one = batched(stage, department({"per": "department", "usd": 100, "window": "day"}))
    stage.meet(batches="when_told")
    one = batched(stage)
    batch = one.create(THREE)
    stage.clock.forward(1.5 * DAY_S)
    stage.api.end_batches(batch.id)
    one.results(batch.id)
    (window,) = {window for entry in stage.journal("reserve") for window in _windows(entry)}
    assert window == "2026-11-20"
    assert stage.posted("department=team/usd/day") == stage.api.billed_nanos


def _windows(entry):
    return [budget["window"] for budget in json.loads(entry.record)["budgets"]]


def test_a_batch_that_is_cancelled_costs_what_was_done(stage):
    """Cancelled through the governor, what the API had not begun is given back when the results are read."""
    stage.meet(batches="when_told")
    one = batched(stage, policy())
    stage.api.batch_outcomes({"a": Reply(output_tokens=20)})
    batch = one.create(THREE)
    assert one.ask("cancel", batch.id).processing_status == "canceling"
    stage.api.end_batches(batch.id)
    assert one.ask("retrieve", batch.id).processing_status == "ended"
    assert one.results(batch.id) == ["a succeeded", "b canceled", "c canceled"]
    settled_once(stage)


def test_a_drain_says_which_batches_are_gone(stage):
    """A batch that was deleted at the API is named; its items are charged when their holds expire."""
    one = batched(stage, policy())
    batch = one.create(THREE)
    stage.api.client().messages.batches.retrieve(batch.id)
    stage.api.client().messages.batches.delete(batch.id)
    assert one.drain().gone == (batch.id,)
    assert held(stage) == ["a", "b", "c"]


@on_sqlite
def test_thresholds_crossed_by_results_are_told(stage):
    """An item's settlement that crosses a threshold is reported to `on_event`, once."""
    team = department({"per": "department", "usd": "0.01", "window": "life"}, thresholds={"20%": "warn"})
    one = batched(stage, team)
    batch = one.create([item(f"i{index}") for index in range(5)])
    one.results(batch.id)
    one.results(batch.id)
    assert [(event.identity, event.percent) for event in stage.events] == [(USD, 20)]


@once
def test_a_file_in_shadow_never_refuses_a_batch(stage):
    """In shadow a batch beyond every budget is made as it was asked for, and counted."""
    team = department({"per": "department", "usd": "0.0001", "window": "life"}, mode="shadow")
    one = batched(stage, team)
    batch = one.create([item("a", model="opus"), item("b")])
    one.results(batch.id)
    settled_once(stage)
    assert batch.receipt.items[0].model == "claude-opus-5-5"


@once
def test_a_run_is_held_over_all_its_batches(stage):
    """A run's budget binds the batches of the run together."""
    one = batched(stage, department({"per": "run", "usd": "0.0013"}))
    one.create(THREE[:2], run="r", pin=True)
    with pytest.raises(BudgetContended, match="run=r"):
        one.create(THREE[:1], run="r", pin=True)
    one.create(THREE[:2], run="another", pin=True)


@once
def test_what_the_policy_forbids_is_refused_by_the_item(stage):
    """An item above the policy's limits is refused as a call would be, and named."""
    one = batched(stage, policy(limits={"cost_per_request": "0.0006"}))
    with pytest.raises(PolicyViolation, match=r"item 'big' .*cost_per_request"):
        one.create([item("a"), item("big", max_tokens=90_000, messages=HELLO)])
    assert stage.holds() == ()


@once
def test_the_receipt_goes_with_the_sdks_batch(stage):
    """The SDK's fields are all there, and the receipt names the holds as the journal does."""
    batch = batched(stage, policy()).create(THREE)
    assert (batch.processing_status, batch.request_counts.processing) == ("in_progress", 3)
    assert batch.receipt.batch_id == batch.id
    assert int(batch.created_at.timestamp() * 1000) == NOON_MS
    assert {one.request_id for one in batch.receipt.items} == {
        hold.id for hold in stage.holds() if hold.balances
    }
