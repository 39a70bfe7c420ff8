"""Rows B7 and B8 of the requirements: what the API can still take; waiting and deferring."""

from __future__ import annotations

import anthropic
import pytest
from anthropic.types.messages.batch_create_params import Request
from pydantic import TypeAdapter
from support.between import between
from support.governed import HAIKU, HELLO, OPUS, SONNET
from support.pauses import Sleepers, pauses
from support.routed import BUDGET, LIMIT, MINUTE, TIERS, USD, journalled, loaded, row, team
from support.stages import on_sqlite, once

from governor import BudgetContended, BudgetExceeded, Deferred
from governor.ledger import commands as c
from governor.testing import RateLimits, overloaded

NO_RETRIES = {name: {**terms, "retries": 0} for name, terms in TIERS.items()}
CALLS = [c.Reserve, c.Settle]
"""The commands of one call: no more, whatever it says and hears."""

WENT_AT_ONCE = 3
"""Requests that may leave before anybody has to wait."""

SIXTY = RateLimits(requests=60, bucket=True, burst=60)
"""A bucket of a minute's sixty requests: one comes back each second."""


def commands(told):
    """The kinds of the commands since the last look."""
    kinds = [type(command) for command, _ in told.answers]
    told.answers.clear()
    return kinds


def test_another_process_hears_of_an_open_breaker(stage):
    """What one finds out about the API goes with the other's own commands; its next call stays away."""
    first = stage.governor(team(routing={"tiers": NO_RETRIES}))
    second = stage.governor()
    told = between(second)
    stage.api.inject(*[overloaded()] * 5)
    for _ in range(5):
        with pytest.raises(anthropic.InternalServerError):
            first.call(model="sonnet", pin=True)
    stage.clock.forward(0.5)
    assert second.call(model="haiku").receipt.decision.load == 0
    assert commands(told) == CALLS
    message = second.call()
    record = journalled(stage, message)
    assert commands(told) == CALLS
    assert (stage.sent()[-1]["model"], record["preferred"]) == (HAIKU, SONNET)
    assert f"instead of {SONNET}: its breaker is open: another process was" in message.receipt.decision.reason
    assert record["load"] == 10_000


def test_another_process_hears_of_the_load(stage):
    """The headers that one process read are the other's load as well, at no extra round trip."""
    stage.meet(rate_limits=MINUTE)
    first = stage.governor(team())
    second = stage.governor()
    told = between(second)
    loaded(stage, first, 60)
    stage.clock.forward(0.5)
    second.call(model="haiku")
    assert commands(told) == CALLS
    record = journalled(stage, second.call(model="haiku"))
    assert commands(told) == CALLS
    assert 5500 <= record["load"] <= 6020


@on_sqlite
def test_a_breaker_closes_after_a_probe_is_answered(stage):
    """After 30 to 60 s one request tries; once it is answered, the model serves again."""
    caller = stage.governor(team(routing={"tiers": NO_RETRIES}))
    stage.api.inject(*[overloaded()] * 5)
    for _ in range(5):
        with pytest.raises(anthropic.InternalServerError):
            caller.call(model="sonnet", pin=True)
    assert caller.call().receipt.model == HAIKU
    stage.clock.forward(29)
    assert caller.call().receipt.model == HAIKU
    stage.clock.forward(32)
    assert [caller.call().receipt.model for _ in range(3)] == [SONNET] * 3


@on_sqlite
def test_requests_are_spaced_out_below_a_fifth_of_headroom(stage):
    """Nobody waits while a fifth of the limit is left; then requests wait for what comes back."""
    stage.meet(rate_limits=SIXTY)
    caller = stage.governor(team())
    waited = pauses(caller)
    for _ in range(50):
        stage.clock.forward(0.25)
        caller.call(model="sonnet", pin=True)
    assert waited == []
    began_ms = stage.clock()
    for _ in range(60):
        caller.call(model="sonnet", pin=True)
    took_s = (stage.clock() - began_ms) / 1000
    assert sum(waited) <= took_s <= 75
    assert took_s >= 30
    refused = stage.api.traffic.statuses.get(429, 0)
    assert refused <= 12


@on_sqlite
def test_a_model_is_left_alone_before_its_limit_is_used_up(stage):
    """From 90 % on another line serves, without a single 429; below 80 % it is chosen again."""
    stage.meet(model_rate_limits={SONNET: SIXTY})
    caller = stage.governor(team())
    waited = pauses(caller)
    messages = []
    while not messages or (messages[-1].model == SONNET and len(messages) < 200):
        stage.clock.forward(0.25)
        messages.append(caller.call())
    decision = messages[-1].receipt.decision
    assert decision.reason.startswith(f"{HAIKU}: instead of {SONNET}: rate limit 9")
    assert decision.reason.endswith(" % used")
    assert len(messages) >= 54
    assert 429 not in stage.api.traffic.statuses
    assert max(waited, default=0) < 2
    stage.clock.forward(15)
    assert caller.call().receipt.model == SONNET


@on_sqlite
def test_a_pinned_request_waits_for_the_model_it_names(stage):
    """It is never moved to another line: it waits for its turn and is served."""
    stage.meet(model_rate_limits={SONNET: SIXTY})
    caller = stage.governor(team())
    pauses(caller)
    for _ in range(70):
        assert caller.call(model="sonnet", pin=True).model == SONNET


@once
def test_users_take_turns(stage):
    """Who asks once while another has asked many times is served among the first."""
    stage.meet(rate_limits=SIXTY)
    caller, client = stage.governor(team()), stage.api.client()
    for _ in range(50):
        client.messages.create(model=SONNET, max_tokens=1, messages=HELLO)
    caller.call(model="sonnet", pin=True)
    sleepers, calls = Sleepers(caller), []
    for user in ["greedy"] * 11 + ["modest"]:
        calls.append(caller.start(user=user, model="sonnet", pin=True, metadata={"user_id": user}))
        sleepers.settle(calls)
    sleepers.run(calls)
    assert [call.result().model for call in calls] == [SONNET] * 12
    order = [body["metadata"]["user_id"] for body in stage.sent() if "metadata" in body]
    assert order.index("modest") <= WENT_AT_ONCE + 1


PER_USER = [
    row("B7-requests-per-minute", {"per": "user", "requests": 3, "window": "minute"}),
    row("B7-dollars", {"per": "user", "usd": "0.0002", "window": "life"}),
]


@pytest.mark.parametrize("limit", PER_USER)
@on_sqlite
def test_a_users_own_limit_is_the_users_own(stage, limit):
    """Who has used it up is refused; everybody else is served as before."""
    caller = stage.governor(team(BUDGET, limit))

    def greedily():
        for _ in range(10):
            caller.call(user="greedy", model="haiku")

    with pytest.raises((BudgetExceeded, BudgetContended)):
        greedily()
    assert 2 <= len(stage.sent()) <= 3
    assert caller.call(user="modest", model="haiku").model == HAIKU


@on_sqlite
def test_a_contended_call_waits_for_the_money(stage):
    """While the money is only held it waits; once it is there it is served, and says how long that took."""
    caller = stage.governor(team(routing={"when_contended": {"max_wait": 2}}))
    release = stage.hold(USD, LIMIT, LIMIT)
    waited = pauses(caller, lambda _: stage.ledger.execute(release) if len(waited) == 3 else None)
    message = caller.call()
    assert len(waited) == 3
    assert abs(message.receipt.decision.waited_s - sum(waited)) < 0.01
    assert (message.model, len(stage.sent())) == (SONNET, 1)


@on_sqlite
def test_a_call_does_not_wait_for_ever(stage):
    """After `max_wait` it is told that the money is held, not spent, and when to come back."""
    caller = stage.governor(team(routing={"when_contended": {"max_wait": 2}}))
    stage.hold(USD, LIMIT, LIMIT)
    waited = pauses(caller)
    with pytest.raises(BudgetContended) as raised:
        caller.call()
    assert abs(sum(waited) - 2) < 0.01
    assert raised.value.retry_after > 0
    assert stage.sent() == []


DEFER = {"routing": {"defer": {"when": "budget > 80% or load > 70%"}}}
DEFERRED = [
    row("B8-budget-81", DEFER, 81, 0, {}, "deferred"),
    row("B8-budget-80", DEFER, 80, 0, {}, "sent"),
    row("B8-load-72", DEFER, 0, 72, {}, "deferred"),
    row("B8-load-68", DEFER, 0, 68, {}, "sent"),
    row("B8-cannot-wait", DEFER, 81, 0, {"deferrable": False}, "sent"),
    row("B8-no-policy", {}, 81, 0, {}, "sent"),
    row("B8-shadow", {**DEFER, "mode": "shadow"}, 81, 0, {}, "sent"),
    row("B8-pinned", DEFER, 81, 0, {"model": "opus", "pin": True}, "deferred"),
    row("B8-fast-is-no-batch", DEFER, 81, 0, {"model": "opus", "speed": "fast"}, "sent"),
]


@pytest.mark.parametrize(("more", "spent", "load", "request_", "outcome"), DEFERRED)
@on_sqlite
def test_work_that_can_wait_is_offered_the_batches_api(stage, more, spent, load, request_, outcome):
    """Above the policy's mark it gets an item that `batches.create` takes; nothing is held or sent."""
    stage.meet(rate_limits=MINUTE)
    caller = stage.governor(team(**more))
    if spent:
        stage.spend(USD, spent * LIMIT // 100, LIMIT)
    if load:
        loaded(stage, caller, load)
    before = len(stage.sent()), len(stage.journal())
    request = {"deferrable": True, "model": "sonnet", **request_}
    decision = caller.decide(**request)
    if outcome == "sent":
        assert decision.outcome == "held"
        assert caller.call(**request).model == decision.model
        return
    assert (decision.outcome, decision.model) == ("deferred", None)
    with pytest.raises(Deferred) as raised:
        caller.call(request_id="job-7", **request)
    assert (len(stage.sent()), len(stage.journal())) == before
    assert stage.holds() == ()
    item = TypeAdapter(Request).validate_python(raised.value.item)
    assert item["custom_id"] == "job-7"
    assert raised.value.item["params"]["model"] == (OPUS if request.get("pin") else SONNET)
    stage.api.client().messages.create(**raised.value.item["params"])
    assert raised.value.ceiling.nanos * 2 - raised.value.ceiling_now.nanos in (0, 1)


@on_sqlite
def test_an_id_that_no_batch_takes_gets_another_one(stage):
    """A `custom_id` has 64 letters, digits, `-` and `_` at most."""
    caller = stage.governor(team(**DEFER))
    stage.spend(USD, 81 * LIMIT // 100, LIMIT)
    with pytest.raises(Deferred) as raised:
        caller.call(deferrable=True, request_id="x" * 65)
    assert len(raised.value.item["custom_id"]) <= 64
