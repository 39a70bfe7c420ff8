"""Batches of anybody's client with the middleware: held when made, settled once, whoever reads them."""

from __future__ import annotations

import asyncio

import anthropic
import pytest
from support.governed import HAIKU, HELLO, SONNET, department
from support.stages import on_sqlite

from governor import BudgetExceeded, PolicyViolation
from governor.testing import cut_before_head, cut_mid_stream, overloaded, rate_limited

LIFE = {"per": "department", "usd": 10, "window": "life"}
TEAM = department(LIFE)


def item(name, **params):
    """An item of a batch."""
    return {"custom_id": name, "params": {"model": "sonnet", "max_tokens": 100, "messages": HELLO, **params}}


class Client:
    """A client with the middleware of a stage's governor, blocking or async, used in one way."""

    def __init__(self, stage, team=TEAM, **options):
        self._caller = stage.governor(team)
        self._async = stage.is_async
        door = self._caller.governor.middleware(user="u", department="team")
        self.gov = self._caller.governor
        made = stage.api.async_client if self._async else stage.api.client
        self._client = made(middleware=[door], **options)

    def run(self, work):
        """What comes of *work*, which an async client is awaited for."""
        return self._caller.on_loop(work).result() if self._async else work

    def create(self, *items):
        """Make a batch."""
        return self.run(self._client.messages.batches.create(requests=list(items)))

    def retrieve(self, batch):
        """Look at it, by which the fake API ends it."""
        return self.run(self._client.messages.batches.retrieve(batch.id))

    def results(self, batch, *, most=None):
        """Read its results, all or the first few."""
        if self._async:
            return self.run(self._read(batch, most))
        found = []
        entries = self._client.messages.batches.results(batch.id)
        for entry in entries:
            found.append(entry)
            if len(found) == most:
                break
        entries.close()
        return found

    async def _read(self, batch, most):
        found = []
        entries = await self._client.messages.batches.results(batch.id)
        async with asyncio.timeout(20):
            async for entry in entries:
                found.append(entry)
                if len(found) == most:
                    break
        await entries.close()
        return found

    def close(self):
        """Close the client."""
        self.run(self._client.close())


@pytest.fixture
def client(stage):
    """A client with the middleware."""
    made = Client(stage)
    yield made
    made.close()


def items_held(stage):
    """How many items are held."""
    return sum(balance.held > 0 for balance in stage.balances().values()) and len(
        [hold for hold in stage.holds() if hold.balances]
    )


def test_a_batch_is_held_item_by_item_and_settled_by_whoever_reads(stage, client):
    """At half the price of calls; afterwards the ledger is the bill, and nothing is held."""
    batch = client.create(item("a"), item("b", model="haiku"), item("c", max_tokens=50))
    assert items_held(stage) == 3
    assert stage.posted() == 0
    client.retrieve(batch)
    results = client.results(batch)
    assert {entry.custom_id for entry in results} == {"a", "b", "c"}
    assert not stage.holds()
    assert stage.posted() == stage.api.billed_nanos > 0


@on_sqlite
def test_results_are_settled_once_however_often_they_are_read(stage, client):
    """Half of them, then all of them, then again: each item is posted once."""
    batch = client.create(*(item(f"i{number}") for number in range(8)))
    client.retrieve(batch)
    for most in (3, None, None):
        client.results(batch, most=most)
    assert not stage.holds()
    assert stage.posted() == stage.api.billed_nanos


@on_sqlite
def test_what_did_not_succeed_is_released(stage, client):
    """Expired, errored and canceled items cost nothing."""
    stage.api.batch_outcomes({"a": "expired", "b": "errored", "c": "canceled"})
    batch = client.create(*(item(name) for name in "abcd"))
    client.retrieve(batch)
    client.results(batch)
    assert not stage.holds()
    assert stage.posted() == stage.api.billed_nanos > 0


@on_sqlite
def test_an_item_that_no_budget_bears_refuses_the_whole_batch(stage):
    """Nothing is sent, and nothing stays held; the message names the item."""
    client = Client(stage, department({"per": "department", "usd": "0.002", "window": "life"}))
    with pytest.raises(BudgetExceeded) as refused:
        client.create(item("a"), item("big", max_tokens=60_000))
    assert "big" in str(refused.value)
    assert not stage.holds()
    assert stage.api.requests == stage.api.counts
    client.close()


@on_sqlite
def test_items_go_out_on_the_model_they_are_held_for(stage, client):
    """A line's name is the model's, and the policy's lines decide."""
    client.create(item("a"), item("b", model="haiku"))
    sent = stage.api.requests[-1].body["requests"]
    assert [one["params"]["model"] for one in sent] == [SONNET, HAIKU]
    assert [one["custom_id"] for one in sent] == ["a", "b"]


@on_sqlite
@pytest.mark.parametrize("fault", [rate_limited(0.01), overloaded()])
def test_a_batch_that_the_api_did_not_take_gives_everything_back(stage, fault):
    """Without the SDK's retries; with them, the next attempt is held anew and the batch is made."""
    once = Client(stage, max_retries=0)
    stage.api.batch_fault(fault, at="create", times=1)
    with pytest.raises(anthropic.APIStatusError):
        once.create(item("a"))
    assert not stage.holds()
    once.close()
    again = Client(stage, max_retries=1)
    stage.api.batch_fault(fault, at="create", times=1)
    batch = again.create(item("a"))
    assert items_held(stage) == 1
    again.retrieve(batch)
    again.results(batch)
    assert stage.posted() == stage.api.billed_nanos
    again.close()


@on_sqlite
def test_a_batch_whose_answer_was_lost_stays_held(stage):
    """It may have been made: its items wait for whoever drains it."""
    client = Client(stage, max_retries=0)
    stage.api.batch_fault(cut_before_head(billed=True), at="create", times=1)
    with pytest.raises(anthropic.APIConnectionError):
        client.create(item("a"), item("b"))
    assert items_held(stage) == 2
    stage.api.end_batches()
    client.run(client.gov.batches.drain())
    assert not stage.holds()
    assert stage.posted() == stage.api.billed_nanos > 0
    client.close()


@on_sqlite
def test_results_that_break_off_settle_what_was_read(stage, client):
    """The rest is settled by the next reader."""
    batch = client.create(*(item(f"i{number}") for number in range(6)))
    client.retrieve(batch)
    stage.api.batch_fault(cut_mid_stream(2), at="results", times=1)
    with pytest.raises(Exception, match=r"."):
        client.results(batch)
    assert 0 < items_held(stage) < 6
    client.results(batch)
    assert not stage.holds()
    assert stage.posted() == stage.api.billed_nanos


@on_sqlite
def test_malformed_batches_are_refused_before_anything_is_held(stage, client):
    """Two items of one id, none at all, and what a batch does not take."""
    for items in ([item("a"), item("a")], [], [item("a", stream=True)], [item("a", speed="fast")]):
        with pytest.raises(PolicyViolation):
            client.create(*items)
    assert not stage.holds()
    assert not stage.api.requests
