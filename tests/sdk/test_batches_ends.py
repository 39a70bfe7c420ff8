"""Batches whose making is not answered or is given up, ledgers that go away, and several who read at once."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import anthropic
import pytest
from support.batched import USD, batched, held, item, policy, settled_once, whole
from support.governed import department
from support.stages import blocking, in_tasks, on_sqlite, once

from governor.errors import BudgetContended, BudgetExceeded, GovernorError, LedgerUnavailable
from governor.journal import rebuild
from governor.journal.archive import open_archive
from governor.journal.archiving import copy_new
from governor.ledger import commands as c
from governor.ledger import open_ledger
from governor.testing import cut_before_head, hang_before_head

THREE = [item("a"), item("b"), item("c")]
LOST = cut_before_head(billed=True)
DAY_S = 24 * 3600


def unanswered(one, requests=THREE):
    """Make a batch that the API makes and does not answer."""
    with pytest.raises(anthropic.APIConnectionError):
        one.create(requests)


def made(stage):
    """The ids of the batches that the API has made, oldest first."""
    return [batch.id for batch in stage.api.client().messages.batches.list()][::-1]


def test_an_unanswered_batch_keeps_its_holds_until_its_results_are_read(stage):
    """It may have been made, so nothing is given back; whoever reads its results settles it, once."""
    one = batched(stage, policy())
    stage.api.batch_fault(LOST)
    unanswered(one)
    assert (held(stage), whole(stage)) == (["a", "b", "c"], ["batch.new"])
    (batch_id,) = made(stage)
    other = batched(stage)
    for _ in range(2):
        assert len(other.results(batch_id)) == 3
    settled_once(stage)


def test_two_unanswered_batches_alike_are_each_settled_once(stage):
    """Two that cannot be told apart each take the holds of one."""
    one = batched(stage, policy())
    stage.api.batch_fault(LOST, times=2)
    unanswered(one)
    unanswered(one)
    first, second = made(stage)
    one.results(second)
    assert held(stage) == ["a", "b", "c"]
    one.results(first)
    settled_once(stage)


def test_an_unanswered_batch_is_not_taken_for_another(stage):
    """A batch of other items, of another size, or of another day is not the one that was held."""
    stage.meet()
    one = batched(stage, policy())
    stage.api.batch_fault(hang_before_head())
    outside = stage.api.client().messages.batches
    with pytest.raises(anthropic.APIConnectionError):
        batched(stage, client=_hasty(stage)).create(THREE)
    strangers = [outside.create(requests=[item(name) for name in names]).id for names in ("xyz", "ab")]
    stage.clock.forward(2 * 3600)
    strangers.append(outside.create(requests=THREE).id)
    for stranger in strangers:
        one.results(stranger)
    assert (held(stage), whole(stage)) == (["a", "b", "c"], ["batch.new"])
    posted = [entry.id.rsplit(".", 1)[0].removeprefix("batch.of.") for entry in stage.journal("settle")]
    assert posted == [strangers[0]] * 3 + [strangers[1]] * 2 + [strangers[2]] * 3


def _hasty(stage):
    """A client that waits for no answer for long."""
    make = stage.api.async_client if stage.is_async else stage.api.client
    return make(timeout=0.2, max_retries=0)


@blocking
def test_several_drain_at_once(stage):
    """Four drains at the same time settle every item once, and together say each."""
    makers = [batched(stage, policy())] + [batched(stage) for _ in range(3)]
    for _ in range(2):
        makers[0].create([item(f"i{index}") for index in range(20)])
    with ThreadPoolExecutor(4) as threads:
        drained = list(threads.map(lambda one: one.drain(), makers))
    settled_once(stage)
    assert sum(each.open for each in drained) == 0
    assert stage.balances()[USD].posted == stage.api.billed_nanos
    assert len([entry for entry in stage.journal("settle") if ".i" in entry.id]) == 40


@blocking
def test_a_batch_is_made_while_another_thread_spends_the_rest(stage):
    """Batches and their holds never exceed the budget, whoever makes them at once."""
    limit = 20_000_000
    team = department({"per": "department", "usd": "0.02", "window": "life"}, estimate="local")
    makers = [batched(stage, team)] + [batched(stage) for _ in range(3)]
    begin = threading.Barrier(4)

    def make(one):
        begin.wait()
        try:
            return one.create([item(f"i{index}") for index in range(12)], pin=True).id
        except GovernorError as refused:
            return refused

    with ThreadPoolExecutor(4) as threads:
        outcomes = list(threads.map(make, makers))
    ids = [one for one in outcomes if isinstance(one, str)]
    held_nanos = stage.balances()[USD].held
    assert held_nanos <= limit
    assert len(held(stage)) == 12 * len(ids)
    refused = [one for one in outcomes if not isinstance(one, str)]
    assert all(isinstance(one, BudgetExceeded | BudgetContended) for one in refused)
    assert len(refused) >= 2


@in_tasks
def test_a_cancelled_making_gives_everything_back(stage):
    """Cancelled while its items are held, a batch is not sent, and nothing stays held."""
    one = batched(stage, policy())
    caller = one._caller

    async def cancelled():
        requests = [item(f"i{index}") for index in range(200)]
        task = asyncio.ensure_future(one.batches.create(requests=requests, user="u", department="team"))
        while not caller.governor._house.hints._known:  # noqa: ASYNC110 - nothing tells that one is held
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    caller.on_loop(cancelled()).result()
    assert stage.holds() == ()
    assert [request.path for request in stage.api.requests] == []
    assert stage.balances()[USD].posted == 0


@blocking
def test_an_interrupted_making_gives_everything_back(stage):
    """Ctrl-C between two items releases those that were held; it is raised after that."""
    one = batched(stage, policy())
    drive = one.batches._drive

    def interrupted(story):
        return drive(_with_interrupt(story))

    one.batches = type(one.batches)(interrupted, one.batches._client, one.batches._house_for)
    with pytest.raises(KeyboardInterrupt):
        one.create(THREE)
    assert stage.holds() == ()


def _with_interrupt(story):
    """*story*, interrupted as its third command is carried out."""
    effect = next(story)
    count = 0
    while True:
        count += 1
        try:
            reply = yield effect
        except BaseException as error:  # noqa: BLE001 - passed on as it is
            effect = story.throw(error)
            continue
        try:
            effect = story.throw(KeyboardInterrupt()) if count == 3 else story.send(reply)
        except StopIteration as done:
            return done.value


@once
def test_a_batch_of_many_items_is_read_in_one_pass(stage):
    """Two hundred items are held, read and settled, and the bill is met to the nano."""
    one = batched(stage, policy())
    batch = one.create([item(f"i{index}", max_tokens=10 + index) for index in range(200)])
    assert len(one.results(batch.id)) == 200
    settled_once(stage)


@on_sqlite
def test_a_reader_gets_its_results_while_the_ledger_is_away(stage):
    """Results come though the ledger does not hear of them; the items stay held, and are settled later."""
    one = batched(stage, policy())
    batch = one.create(THREE)
    database = stage.folder / "governor.db"
    hidden = stage.folder / "hidden.db"
    database.rename(hidden)
    assert len(one.results(batch.id)) == 3
    hidden.rename(database)
    assert held(stage) == ["a", "b", "c"]
    assert one.drain().settled == 3
    settled_once(stage)


@on_sqlite
def test_a_drain_says_that_the_ledger_is_away(stage):
    """Without the ledger nobody knows which batches are open."""
    one = batched(stage, policy())
    one.create(THREE)
    (stage.folder / "governor.db").rename(stage.folder / "hidden.db")
    with pytest.raises(LedgerUnavailable):
        one.drain()
    (stage.folder / "hidden.db").rename(stage.folder / "governor.db")


@on_sqlite
def test_a_batch_that_was_open_when_its_ledger_was_lost(stage):
    """Rebuilt from the archive, the ledger knows the batch: its charged holds are settled at their cost."""
    one = batched(stage, policy())
    batch = one.create(THREE)
    archive = open_archive(f"{stage.folder}/journal.jsonl", stage.org)
    copy_new(stage.ledger, archive, lambda *_: None)
    stage.url = f"sqlite:///{stage.folder}/rebuilt.db"
    rebuilt = open_ledger(stage.url, stage.org, clock=stage.clock)
    plan = rebuild.plan(archive, stage.clock(), stage.clock(), lambda _: None)
    rebuild.carry_out(rebuilt, plan, "epoch-2", {}, freeze=False, tell=lambda _: None)
    archive.close()
    charged = rebuilt.execute(c.ListBalances(contains=USD))[0].balance.posted
    assert charged == batch.receipt.ceiling.nanos
    batched(stage).results(batch.id)
    assert rebuilt.execute(c.ListBalances(contains=USD))[0].balance.posted == stage.api.billed_nanos
    rebuilt.close()
