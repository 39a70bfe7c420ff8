"""Message Batches of the fake API behave as the SDK's types and the documentation say, through the SDK."""

from __future__ import annotations

import asyncio

import anthropic
import httpx2
import pytest
from support.fixed_api import NOW_MS

from governor.testing import (
    FakeClaude,
    Reply,
    cut_before_head,
    cut_mid_stream,
    error_mid_stream,
    overloaded,
    status_error,
)

HAIKU, OLD_HAIKU = "claude-haiku-5-5", "claude-haiku-4-5"
HELLO = [{"role": "user", "content": "Hello, Claude"}]
HOUR_MS = 3_600_000


def item(custom_id, **overrides):
    return {
        "custom_id": custom_id,
        "params": {"model": HAIKU, "max_tokens": 50, "messages": HELLO, **overrides},
    }


def endings(batches, batch_id):
    return {line.custom_id: line.result.type for line in batches.results(batch_id)}


@pytest.fixture
def later():
    """A fake API that ends batches when told, and its clock in Unix milliseconds."""
    clock = [NOW_MS]
    with FakeClaude(batches="when_told", now_ms=lambda: clock[0]) as api:
        yield api, clock


def test_a_batch_is_answered_and_billed_item_by_item_at_the_batch_price(api, client):
    """Each succeeded item has one bill line with its custom_id, at half of what the same message costs."""
    client.messages.create(**item("x")["params"])
    single = api.billed_nanos
    batch = client.messages.batches.create(requests=[item("a"), item("b")])
    results = {line.custom_id: line.result for line in client.messages.batches.results(batch.id)}
    assert {one.message.usage.service_tier for one in results.values()} == {"batch"}
    lines = [line for line in api.bill if line.batch_id == batch.id]
    assert sorted(line.tag for line in lines) == ["a", "b"]
    assert all(2 * line.nanos - single in (0, 1) for line in lines)
    assert len({line.request_id for line in lines}) == 2


def test_the_beta_client_finds_the_same_batches(api, client):
    """A batch made by one door is read at the other, and the query that says beta changes nothing."""
    batch = client.beta.messages.batches.create(
        requests=[item("a")], betas=["output-300k-2026-03-24"], extra_query={"beta": "true"}
    )
    assert batch.processing_status == "in_progress"
    assert endings(client.beta.messages.batches, batch.id) == {"a": "succeeded"}
    assert endings(client.messages.batches, batch.id) == {"a": "succeeded"}
    assert len(api.bill) == 1


def test_an_async_client_runs_a_batch(api):
    """Create, retrieve and results work for the async client, too."""

    async def run():
        async with api.async_client() as client:
            batch = await client.messages.batches.create(requests=[item("a")])
            return [line.custom_id async for line in await client.messages.batches.results(batch.id)]

    assert asyncio.run(run()) == ["a"]


def test_counts_stay_zero_until_the_whole_batch_has_ended(later):
    """While it runs every item is processing, without results or a bill; then all is counted at once."""
    api, _ = later
    api.batch_outcomes({"b": "errored", "c": "canceled", "d": "expired"})
    batches = api.client().messages.batches
    batch = batches.create(requests=[item(name) for name in "abcd"])
    running = batches.retrieve(batch.id)
    assert running.request_counts.to_dict() == {
        "processing": 4,
        "succeeded": 0,
        "errored": 0,
        "canceled": 0,
        "expired": 0,
    }
    assert (running.processing_status, running.results_url, running.ended_at) == ("in_progress", None, None)
    with pytest.raises(anthropic.AnthropicError, match="finished processing"):
        batches.results(batch.id)
    assert api.bill == []
    api.end_batches(batch.id)
    ended = batches.retrieve(batch.id)
    assert (ended.processing_status, ended.results_url) == (
        "ended",
        f"{api.url}/v1/messages/batches/{batch.id}/results",
    )
    assert ended.request_counts.to_dict() == {
        "processing": 0,
        "succeeded": 1,
        "errored": 1,
        "canceled": 1,
        "expired": 1,
    }
    assert [line.tag for line in api.bill] == ["a"]


def test_reading_results_again_bills_nothing(api, client):
    """An item is worked on once, however often its batch is retrieved and read."""
    batch = client.messages.batches.create(requests=[item("a")])
    for _ in range(3):
        assert endings(client.messages.batches, batch.id) == {"a": "succeeded"}
    assert len(api.bill) == 1


def test_outcomes_say_how_items_end(api, client):
    """A reply answers the item, a status error is shown as its error, and only answers are billed."""
    api.replies(lambda body: Reply(f"default for {body['max_tokens']}"))
    api.batch_outcomes({"b": Reply("Guten Tag"), "c": status_error(529, message="Too busy")})
    batch = client.messages.batches.create(requests=[item("a", max_tokens=77), item("b"), item("c")])
    results = {line.custom_id: line.result for line in client.messages.batches.results(batch.id)}
    assert results["a"].message.content[0].text == "default for 77"
    assert results["b"].message.content[0].text == "Guten Tag"
    assert (results["c"].error.error.type, results["c"].error.error.message) == (
        "overloaded_error",
        "Too busy",
    )
    assert sorted(line.tag for line in api.bill) == ["a", "b"]


@pytest.mark.parametrize(
    ("params", "complaint"),
    [
        ({"stream": True}, "stream"),
        ({"speed": "fast", "model": "claude-opus-5"}, "speed"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": None}, "max_tokens"),
        ({"model": "claude-nobody"}, "claude-nobody"),
        ({"messages": []}, "messages"),
        ({"billing_policy": {"type": "billing_policy", "bill_to": "user_profile"}}, "billing_policy"),
        ({"temperature": 1}, "temperature"),
    ],
)
def test_an_invalid_item_is_errored_and_the_others_run(api, client, params, complaint):
    """Params are checked when the item is worked on: the create succeeds, the item tells the mistake."""
    batch = client.messages.batches.create(requests=[item("bad", **params), item("good")])
    results = {line.custom_id: line.result for line in client.messages.batches.results(batch.id)}
    assert (results["bad"].type, results["good"].type) == ("errored", "succeeded")
    assert complaint in results["bad"].error.error.message
    assert results["bad"].error.request_id
    assert [line.tag for line in api.bill] == ["good"]


@pytest.mark.parametrize(
    ("requests", "complaint"),
    [
        ([], "at least one request"),
        ([item("a"), item("a")], "requests.1.custom_id: a is not unique"),
        ([item("a b")], "should match pattern"),
        ([item("")], "should match pattern"),
        ([item("x" * 65)], "should match pattern"),
        ([{"params": {}}], "requests.0.custom_id: Field required"),
        ([{"custom_id": "a"}], "requests.0.params: Field required"),
        ([{"custom_id": "a", "params": {}, "tags": []}], "requests.0.tags: Extra inputs"),
    ],
)
def test_a_malformed_batch_is_refused_whole(api, client, requests, complaint):
    """A mistake outside of the params is a 400 that names its place, and no batch comes of it."""
    with pytest.raises(anthropic.BadRequestError, match=complaint):
        client.messages.batches.create(requests=requests)
    assert client.messages.batches.list().data == []
    assert api.bill == []


def test_more_than_100000_requests_are_refused(api):
    """One request beyond the documented most makes a 400."""
    requests = [{"custom_id": str(number), "params": {}} for number in range(100_001)]
    with pytest.raises(anthropic.BadRequestError, match="100001 > 100000"):
        api.client().messages.batches.create(requests=requests)


def test_cancel_makes_what_was_not_worked_on_canceled(later):
    """A cancelled batch is canceling until it ends; an item with an outcome of its own keeps it."""
    api, _ = later
    api.batch_outcomes({"b": Reply("Too late to stop")})
    batches = api.client().messages.batches
    batch = batches.create(requests=[item("a"), item("b")])
    canceling = batches.cancel(batch.id)
    assert (canceling.processing_status, canceling.request_counts.processing) == ("canceling", 2)
    assert canceling.cancel_initiated_at is not None
    api.end_batches()
    assert endings(batches, batch.id) == {"a": "canceled", "b": "succeeded"}
    assert [line.tag for line in api.bill] == ["b"]
    with pytest.raises(anthropic.BadRequestError, match="already ended"):
        batches.cancel(batch.id)


def test_a_batch_expires_after_24_hours_and_its_results_go_after_29_days(later):
    """At 24 hours what is not answered is expired and free; after 29 days no results are kept."""
    api, clock = later
    batches = api.client().messages.batches
    batch = batches.create(requests=[item("a")])
    clock[0] = NOW_MS + 24 * HOUR_MS - 1
    assert batches.retrieve(batch.id).processing_status == "in_progress"
    clock[0] += 1
    ended = batches.retrieve(batch.id)
    assert ended.processing_status == "ended"
    assert ended.ended_at == ended.expires_at
    assert endings(batches, batch.id) == {"a": "expired"}
    assert api.bill == []
    clock[0] = NOW_MS + 29 * 24 * HOUR_MS
    archived = batches.retrieve(batch.id)
    assert (archived.results_url, archived.archived_at is None) == (None, False)


def test_results_asked_for_too_early_are_not_found(later):
    """Whoever makes the address of the results up before the batch has ended gets a 404."""
    api, _ = later
    client = api.client()
    batch = client.messages.batches.create(requests=[item("a")])
    with pytest.raises(anthropic.NotFoundError, match="no results yet"):
        client.get(f"/v1/messages/batches/{batch.id}/results", cast_to=httpx2.Response)


def test_only_an_ended_batch_can_be_deleted(later):
    """A running batch refuses to be deleted; an ended one is gone for every request about it."""
    api, _ = later
    batches = api.client().messages.batches
    batch = batches.create(requests=[item("a")])
    with pytest.raises(anthropic.BadRequestError, match="cancel it"):
        batches.delete(batch.id)
    api.end_batches()
    assert batches.delete(batch.id).type == "message_batch_deleted"
    for request in (batches.retrieve, batches.cancel, batches.delete, batches.results):
        with pytest.raises(anthropic.NotFoundError, match=batch.id):
            request(batch.id)


def test_the_list_has_the_newest_first_and_pages_both_ways(api, client):
    """Paging forwards meets every batch once, newest first; before_id gives the next newer ones."""
    made = [client.messages.batches.create(requests=[item("a")]).id for _ in range(5)]
    newest = made[::-1]
    first = client.messages.batches.list(limit=2)
    assert ([one.id for one in first.data], first.has_more) == (newest[:2], True)
    assert [one.id for one in client.messages.batches.list(limit=2)] == newest
    before = client.messages.batches.list(limit=2, before_id=newest[3])
    assert ([one.id for one in before.data], before.has_more) == (newest[1:3], True)
    first_page = client.messages.batches.list(limit=2, before_id=newest[2])
    assert ([one.id for one in first_page.data], first_page.has_more) == (newest[:2], False)
    with pytest.raises(anthropic.BadRequestError, match="limit"):
        client.messages.batches.list(limit=0)
    with pytest.raises(anthropic.BadRequestError, match="cursor"):
        client.messages.batches.list(after_id="msgbatch_none")


def test_faults_break_requests_about_batches(api):
    """A refused create leaves nothing, one whose reply is lost may leave a batch, results may break off."""
    client = api.client(max_retries=0)
    api.batch_fault(overloaded())
    with pytest.raises(anthropic.OverloadedError):
        client.messages.batches.create(requests=[item("a")])
    api.batch_fault(cut_before_head())
    with pytest.raises(anthropic.APIConnectionError):
        client.messages.batches.create(requests=[item("a")])
    assert client.messages.batches.list().data == []
    api.batch_fault(cut_before_head(billed=True))
    with pytest.raises(anthropic.APIConnectionError):
        client.messages.batches.create(requests=[item(name) for name in "abc"])
    (batch,) = client.messages.batches.list().data
    api.batch_fault(cut_mid_stream(2), at="results")
    with pytest.raises(httpx2.RemoteProtocolError):
        list(client.messages.batches.results(batch.id))
    assert sorted(endings(client.messages.batches, batch.id)) == ["a", "b", "c"]


def test_mistakes_of_a_test_are_told(api):
    """An outcome, a door, a fault or a batch that does not exist is refused with what to give instead."""
    with pytest.raises(ValueError, match="the outcome of 'a' is 'failed'; give 'errored'"):
        api.batch_outcomes({"a": "failed"})
    with pytest.raises(ValueError, match="at is 'read'; give one of create"):
        api.batch_fault(overloaded(), at="read")
    with pytest.raises(ValueError, match="no meaning at create"):
        api.batch_fault(error_mid_stream())
    with pytest.raises(ValueError, match="no batch 'msgbatch_none'"):
        api.end_batches("msgbatch_none")
    with pytest.raises(ValueError, match="batches is 'never'"):
        FakeClaude(batches="never")


def test_reset_forgets_batches(api, client):
    """After a reset there is no batch, no outcome and no fault."""
    client.messages.batches.create(requests=[item("a")])
    api.batch_outcomes({"a": "errored"})
    api.batch_fault(overloaded())
    api.reset()
    assert client.messages.batches.list().data == []
    batch = client.messages.batches.create(requests=[item("a")])
    assert endings(client.messages.batches, batch.id) == {"a": "succeeded"}


def test_the_traffic_counts_batches_by_path_without_their_ids(api, client):
    """Paths in the traffic do not grow with the batches."""
    for _ in range(2):
        batch = client.messages.batches.create(requests=[item("a")])
        endings(client.messages.batches, batch.id)
    assert api.traffic.paths == {
        "/v1/messages/batches": 2,
        "/v1/messages/batches/ID": 2,
        "/v1/messages/batches/ID/results": 2,
    }
