"""Standing orders bind the very next request of every process, whichever door it comes by."""

from __future__ import annotations

import json

import pytest
from support.between import between
from support.governed import HAIKU, HELLO, NOON_MS, OPUS, SONNET, department, until
from support.stages import blocking, on_sqlite, once

import governor
from governor import BudgetExceeded
from governor.ledger import commands as c
from governor.ledger.commands import Refused

TEAM = {"per": "department", "usd": "1", "window": "life"}
UNTIL_MS = NOON_MS + 3_600_000
TIERS = {
    "premium": {"prefer": "opus"},
    "standard": {"prefer": "sonnet", "timeout": 5, "retries": 0},
    "economy": {"prefer": "haiku", "timeout": 5, "retries": 0},
}


def team(**more):
    """A department with all three tiers."""
    return department(TEAM, routing={"tiers": TIERS}, **more)


def give(stage, kind, setting="", name="o1", until_ms=UNTIL_MS, **subject):
    """Give an order, as an administrator in another process does."""
    order = c.Order(name, kind, tuple(subject.items()), setting, until_ms, "too much", "ops", "alert-1")
    assert isinstance(stage.ledger.execute(c.PlaceOrder(order)), c.Administered)


def lift(stage, name="o1"):
    assert stage.ledger.execute(c.LiftOrder(name)) is not None


def test_a_tier_is_tightened_until_the_order_ends(stage):
    """The next request goes to the cheaper line and says why; after the end, all is as before."""
    caller = stage.governor(team())
    assert caller.call().receipt.model == SONNET
    give(stage, "tighten", "economy", user="u")
    receipt = caller.call(request_id="mine").receipt
    assert receipt.model == HAIKU
    why = "tightened by alert alert-1 until 2026-11-20 13:00 UTC: too much"
    assert receipt.decision.tier_why == why
    assert why in receipt.decision.reason
    record = json.loads(stage.journal("reserve", "mine")[0].record)
    assert (record["tier"], record["tier_why"]) == ("economy", why)
    assert caller.call(user="other").receipt.model == SONNET
    stage.clock.forward(3600)
    assert caller.call().receipt.model == SONNET


def test_an_order_that_is_lifted_binds_nobody(stage):
    """Undone, the very next request is served as before."""
    caller = stage.governor(team())
    give(stage, "tighten", "economy", department="team")
    assert caller.call().receipt.model == HAIKU
    lift(stage)
    assert caller.call().receipt.model == SONNET


@on_sqlite
@pytest.mark.parametrize(
    ("subject", "binds"),
    [
        ({}, True),
        ({"department": "team"}, True),
        ({"department": "other"}, False),
        ({"feature": "chat", "user": "u"}, True),
        ({"feature": "chat", "user": "v"}, False),
        ({"run": "r-1"}, True),
        ({"tag:project": "atlas"}, True),
        ({"tag:project": "apollo"}, False),
        ({"planet": "mars"}, False),
    ],
)
def test_an_order_is_of_whom_its_subject_names(stage, subject, binds):
    """All that it says must be so; what nobody knows is nobody."""
    caller = stage.governor(team())
    give(stage, "tighten", "economy", **subject)
    receipt = caller.call(feature="chat", run="r-1", tags={"project": "atlas"}).receipt
    assert receipt.model == (HAIKU if binds else SONNET)


@blocking
def test_a_tier_the_policy_does_not_have_is_its_cheapest_line(stage):
    """Tightening works under a policy with one tier too, and never loosens."""
    caller = stage.governor(department(TEAM))
    give(stage, "tighten", "premium", "o0")
    assert caller.call().receipt.model == SONNET
    give(stage, "tighten", "economy")
    assert caller.call().receipt.model == HAIKU


@on_sqlite
@pytest.mark.parametrize("asked", ["premium", ...])
def test_a_tier_is_tightened_to_standard_for_premium_users_and_conversations(stage, asked):
    """Neither who is raised as a rule nor a conversation that is on opus is served above standard."""
    users = {"users": {"u": {"user_tier": "premium"}}} if asked is ... else {}
    caller = stage.governor(team(**users))
    assert caller.call(run="r-1", tier=asked).receipt.model == OPUS
    give(stage, "tighten", "standard", department="team")
    begun = caller.call(tier=asked).receipt
    assert (begun.model, begun.decision.tier_why[:18]) == (SONNET, "tightened by alert")
    assert caller.call(run="r-1", tier=asked).receipt.model == SONNET
    lift(stage)
    assert caller.call(tier=asked).receipt.model == OPUS


@on_sqlite
def test_a_prompt_does_not_outgrow_the_tier_it_was_tightened_to(stage):
    """A tier's context moves long prompts up as a rule; those of a run that was tightened stay."""
    tiers = {**TIERS, "economy": {"prefer": "haiku", "context": 1}}
    caller = stage.governor(department(TEAM, routing={"tiers": tiers}))
    assert caller.call(tier="economy").receipt.model == SONNET
    give(stage, "tighten", "economy", department="team")
    assert caller.call().receipt.model == HAIKU
    assert caller.call(tier="economy").receipt.model == HAIKU


@blocking
def test_a_policy_in_shadow_is_altered_by_no_order(stage):
    """Nothing is tightened, slowed or frozen where the file only watches."""
    caller = stage.governor(team(mode="shadow"))
    give(stage, "tighten", "economy", "o1")
    give(stage, "freeze_run", name="o2", run="r-1")
    give(stage, "slow", "1", "o3", user="u")
    for _ in range(3):
        assert caller.call(run="r-1").receipt.model == SONNET


def test_a_frozen_run_is_refused_and_no_other(stage):
    """Its next request is refused, and says why; others of the team go on; undone, so does it."""
    caller = stage.governor(department(TEAM))
    caller.call(run="r-1")
    give(stage, "freeze_run", run="r-1")
    with pytest.raises(BudgetExceeded) as refused:
        caller.call(run="r-1", request_id="again")
    said = str(refused.value)
    assert "order/run=r-1/requests/life is frozen: too much (undo: governor responses undo o1)" in said
    assert refused.value.budget.frozen is not None
    assert [entry.outcome for entry in stage.journal("reserve", "again")] == ["frozen"]
    assert caller.call(run="r-2").receipt.settled
    assert caller.call().receipt.settled
    lift(stage)
    assert caller.call(run="r-1").receipt.settled


def test_a_user_is_slowed_to_so_many_requests_a_minute(stage):
    """The first two of a minute pass, the third is refused until the next; others are not slowed."""
    caller = stage.governor(department(TEAM))
    give(stage, "slow", "2", user="u")
    for _ in range(2):
        caller.call()
    with pytest.raises(BudgetExceeded, match="order/user=u/requests/minute") as refused:
        caller.call()
    assert refused.value.resets_at is not None
    assert caller.call(user="other").receipt.settled
    stage.clock.forward(60)
    assert caller.call().receipt.settled


def test_an_order_of_a_tag_holds_like_any_other(stage):
    """Only the run's and the user's requests that have the tag are frozen, and slowed."""
    caller = stage.governor(department(TEAM))
    atlas = {"tags": {"project": "atlas"}}
    give(stage, "freeze_run", **{"run": "r-1", "tag:project": "atlas"})
    give(stage, "slow", "1", "o2", **{"user": "u", "tag:project": "atlas"})
    with pytest.raises(BudgetExceeded, match="is frozen: too much"):
        caller.call(run="r-1", user="other", **atlas)
    assert caller.call(**atlas).receipt.settled
    with pytest.raises(BudgetExceeded, match=r"order/user=u/tag\.project=atlas/requests/minute"):
        caller.call(**atlas)
    assert caller.call(run="r-1").receipt.settled


def test_an_open_breaker_moves_requests_on(stage):
    """Of a line or a model: others are asked first while it is open; pinned, it still serves."""
    caller = stage.governor(team())
    give(stage, "open_breaker", line="sonnet")
    receipt = caller.call().receipt
    assert receipt.model == HAIKU
    assert f"instead of {SONNET}: its breaker is open by alert alert-1" in receipt.decision.reason
    assert caller.call(model=SONNET, pin=True).receipt.model == SONNET
    lift(stage)
    give(stage, "open_breaker", name="o2", model=OPUS)
    assert caller.call().receipt.model == SONNET
    assert caller.call(model="opus").receipt.model != OPUS


@on_sqlite
def test_requests_through_the_middleware_obey_too(stage):
    """An SDK's client in whose chain the governor stands: tightened, and frozen with a clear error."""
    caller = stage.governor(team())
    gov = caller.governor
    body = {"model": "auto", "max_tokens": 100, "messages": HELLO}
    give(stage, "tighten", "economy", user="u")
    give(stage, "freeze_run", name="o2", run="r-1")
    receipts = []
    door = gov.middleware(user="u", department="team", on_receipt=receipts.append)
    if stage.is_async:
        client = stage.api.async_client(middleware=[door])

        async def create():
            return await client.messages.create(**body)

        def ask():
            return caller.on_loop(create()).result()
    else:
        client = stage.api.client(middleware=[door])

        def ask():
            return client.messages.create(**body)

    ask()
    assert receipts[-1].model == HAIKU
    with governor.attribute(run="r-1"), pytest.raises(BudgetExceeded, match="is frozen"):
        ask()
    if stage.is_async:
        caller.on_loop(client.close()).result()


@on_sqlite
def test_a_stream_and_a_batch_obey_too(stage):
    """Neither begins for a run that is frozen."""
    caller = stage.governor(department(TEAM))
    give(stage, "freeze_run", run="r-1")
    item = {"custom_id": "a", "params": {"model": SONNET, "max_tokens": 100, "messages": HELLO}}
    whose = {"user": "u", "department": "team", "run": "r-1"}

    async def stream():
        async with caller.governor.stream(**whose, max_tokens=100, messages=HELLO) as answer:
            await answer.get_final_message()

    async def batch():
        await caller.governor.batches.create(requests=[item], **whose)

    if stage.is_async:
        works = [lambda: caller.on_loop(stream()).result(), lambda: caller.on_loop(batch()).result()]
    else:

        def stream_here():
            with caller.governor.stream(**whose, max_tokens=100, messages=HELLO) as answer:
                answer.get_final_message()

        works = [stream_here, lambda: caller.governor.batches.create(requests=[item], **whose)]
    for work in works:
        with pytest.raises(BudgetExceeded, match="is frozen"):
            work()
    assert stage.sent() == []


def test_a_request_that_waits_obeys_what_another_one_heard(stage):
    """Planned before the order, it is held after it: by the tier that is left, whoever heard of it first."""
    alone = {"per": "user", "concurrent": 1}
    tiers = {"tiers": TIERS, "when_contended": {"max_wait": 60}}
    caller = stage.governor(department(TEAM, alone, routing=tiers))
    said = between(caller)
    release = stage.hold("department=team/user=u/concurrent/life", 1, 1)
    waiting = caller.start()
    until(lambda: said.told(Refused))
    give(stage, "tighten", "economy", department="team")
    assert caller.call(user="other").receipt.model == HAIKU
    stage.ledger.execute(release)
    receipt = waiting.result().receipt
    assert (receipt.model, receipt.decision.outcome) == (HAIKU, "held")


@once
def test_orders_of_a_process_are_heard_once(stage):
    """One answer more where they changed, and none while they stay."""
    caller = stage.governor(department(TEAM))
    give(stage, "tighten", "economy", user="somebody-else")
    asked = []
    execute = caller.governor.ledger.execute

    def note(command):
        reply = execute(command)
        asked.append(type(reply).__name__)
        return reply

    caller.governor.ledger.execute = note
    caller.call()
    caller.call()
    assert asked.count("Reordered") == 1
