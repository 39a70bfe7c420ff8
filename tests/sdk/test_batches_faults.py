"""Batches that could be taken for one another, and those of which the API has no results any more."""

from __future__ import annotations

import asyncio

import anthropic
import pytest
from support.batched import USD, batched, held, item, policy, settled_once, whole
from support.stages import on_sqlite, once

from governor.testing import cut_before_head, spend_limit_reached, status_error

THREE = [item("a"), item("b"), item("c")]
HOUR_S, DAY_S = 3600, 24 * 3600


def by_client(stage, one, use, max_retries=0):
    """What *use* makes of a client with the middleware, which it may await."""
    options = {"middleware": [one.door()], "max_retries": max_retries}
    if not stage.is_async:
        with stage.api.client(**options) as client:
            return use(client)

    async def used():
        async with stage.api.async_client(**options) as client, asyncio.timeout(20):
            return await use(client)

    return one.run(used())


def read_by_client(stage, one, batch_id):
    """How many results a client with the middleware reads."""

    async def read(client):
        return len([entry async for entry in await client.messages.batches.results(batch_id)])

    if stage.is_async:
        return by_client(stage, one, read)
    return by_client(stage, one, lambda client: len(list(client.messages.batches.results(batch_id))))


def lost_and_stranger(stage, one):
    """The ids of a batch that was made and never answered, and of one that others made hours before.

    Their items are called alike.
    """
    outside = stage.api.client().messages.batches
    stranger = outside.create(requests=THREE).id
    stage.clock.forward(3 * HOUR_S)
    stage.api.batch_fault(cut_before_head(billed=True), at="create")
    with pytest.raises(anthropic.APIConnectionError):
        one.create(THREE)
    (lost,) = {batch.id for batch in outside.list()} - {stranger}
    for batch_id in (lost, stranger):
        outside.retrieve(batch_id)
    return lost, stranger


@on_sqlite
def test_a_client_that_reads_a_strangers_batch_takes_no_holds_of_another(stage):
    """With the middleware, too, the batch that was never heard of keeps its holds for its own results."""
    stage.meet()
    one = batched(stage, policy())
    lost, stranger = lost_and_stranger(stage, one)
    assert read_by_client(stage, one, stranger) == 3
    assert (held(stage), whole(stage), stage.balances()[USD].posted) == (["a", "b", "c"], ["batch.new"], 0)
    assert read_by_client(stage, one, lost) == 3
    assert stage.holds() == ()
    assert stage.balances()[USD].posted == sum(line.nanos for line in stage.api.bill if line.batch_id == lost)


@on_sqlite
def test_what_the_api_does_not_tell_of_a_batch_is_the_readers_error(stage):
    """Whose a batch is that the ledger does not know cannot be told without the API: read it again."""
    stage.meet()
    one = batched(stage, policy())
    lost, _ = lost_and_stranger(stage, one)
    stage.api.batch_fault(status_error(500), at="retrieve")
    path = f"/v1/messages/batches/{lost}/results"
    with pytest.raises(anthropic.InternalServerError):
        by_client(stage, one, lambda client: client.get(path, cast_to=str))
    assert held(stage) == ["a", "b", "c"]


@on_sqlite
def test_a_drain_passes_over_batches_whose_results_are_gone(stage):
    """After 29 days the API has a batch without results: it is named, and newer batches are settled."""
    stage.meet()
    one = batched(stage, policy())
    old = one.create(THREE)
    one.ask("retrieve", old.id)
    stage.clock.forward(29 * DAY_S + HOUR_S)
    one.create(THREE)
    drained = one.drain()
    assert (drained.gone, drained.batches, drained.settled) == ((old.id,), 1, 3)
    assert one.drain().gone == (old.id,)


@on_sqlite
def test_a_client_without_a_key_holds_nothing(stage):
    """The SDK refuses to send the batch, so it was not made: every hold is given back."""
    one = batched(stage, policy())

    def create(client):
        client.api_key = client.auth_token = None
        return client.messages.batches.create(requests=THREE)

    with pytest.raises(TypeError, match="authentication"):
        by_client(stage, one, create)
    assert (stage.holds(), stage.balances()[USD].held) == ((), 0)


@on_sqlite
def test_a_batch_is_not_sent_again_at_a_spend_cap(stage):
    """No retry heals it: the SDK is told not to, as for calls."""
    one = batched(stage, policy())
    stage.api.batch_fault(spend_limit_reached(), at="create", times=3)
    with pytest.raises(anthropic.RateLimitError, match="spend limit"):
        by_client(stage, one, lambda client: client.messages.batches.create(requests=THREE), max_retries=2)
    assert stage.api.traffic.received == 1
    assert stage.holds() == ()


@once
def test_a_batch_that_is_read_before_its_maker_hears_of_it_is_still_made(stage):
    """Taken for one like it that was never answered, it leaves its holds to that; its maker has its id."""
    stage.meet()
    one = batched(stage, policy())
    stage.api.batch_fault(cut_before_head(billed=True), at="create")
    with pytest.raises(anthropic.APIConnectionError):
        one.create(THREE)
    (lost,) = (batch.id for batch in stage.api.client().messages.batches.list())

    def read_at_once(request, call_next):
        response = call_next(request)
        response.http_response.read()
        batch_id = response.http_response.json()["id"]
        one.ask("retrieve", batch_id)
        assert len(one.results(batch_id)) == 3
        return response

    with stage.api.client(middleware=[one.door(), read_at_once], max_retries=0) as client:
        made = client.messages.batches.create(requests=THREE)
    assert made.id != lost
    assert one.drain().settled == 3
    settled_once(stage)
