"""How a prompt is measured before a call: counted where it matters, or bounded, as the policy says."""

from __future__ import annotations

import json

import pytest
from support.governed import HAIKU, HELLO, SONNET, department
from support.stages import blocking, on_sqlite, once

from governor import BudgetExceeded
from governor.testing import Reply

TEAM = {"per": "department", "usd": "1", "window": "life"}
OTHER = [{"role": "user", "content": "Good evening, Claude"}]


def auto(*budgets, **more):
    """A policy that counts where it matters."""
    return department(*(budgets or (TEAM,)), estimate="auto", **more)


def record(stage, identifier=None):
    """What the journal has of the newest decision."""
    return json.loads(stage.journal("reserve", identifier)[-1].record)


def counted_nanos(stage):
    """The ceiling of `HELLO` on Sonnet when it is counted; its bound's is some $0.0005 more."""
    count = stage.api.count_tokens({"model": SONNET, "messages": HELLO})
    return (count + 64) * 2_000 + 100 * 10_000


def spend_all_but(stage, caller, nanos, limit=10**9):
    """Let another process spend a life-long budget of the team until only *nanos* are left of it."""
    known = stage.balances().get("department=team/usd/life")
    left = limit - nanos - (known.posted if known else 0)
    assert left % 2_000 == 0
    # What the API bills beyond the count is an overrun: money that is gone.
    stage.api.next(Reply(usage={"input_tokens": left // 2_000, "output_tokens": 0}))
    caller.call(model="sonnet")
    assert stage.posted() == limit - nanos


# auto: counted where it matters.


@on_sqlite
def test_auto_counts_the_first_call_and_then_where_it_matters(stage):
    """Nothing is known at first: counted. Then next to nothing is at stake: not. Then it is, and counted."""
    caller = stage.governor(auto())
    first = caller.call().receipt.decision
    assert (first.estimate, first.hint_age_ms, len(stage.api.counts)) == ("count_tokens", None, 1)
    stage.clock.forward(9)
    second = caller.call(messages=OTHER).receipt
    assert (second.decision.estimate, len(stage.api.counts)) == ("local bound", 1)
    assert second.ceiling.nanos * 100 < 10**9
    assert not second.overrun
    third = caller.call(messages=OTHER, max_tokens=1_000).receipt
    assert third.ceiling.nanos * 100 >= 10**9
    assert (third.decision.estimate, len(stage.api.counts)) == ("count_tokens", 2)


def test_the_age_of_the_hint_is_told_and_journalled(stage):
    """The decision and its record say how old the balance was that spared the count; a count needs none."""
    caller = stage.governor(auto())
    caller.call(request_id="first")
    stage.clock.forward(10)
    assert caller.call(messages=OTHER, request_id="second").receipt.decision.hint_age_ms == 10_000
    assert record(stage, "second")["hint_age_ms"] == 10_000
    assert record(stage, "second")["estimate"] == "local bound"
    assert record(stage, "first")["hint_age_ms"] is None
    assert caller.call(messages=OTHER).receipt.decision.hint_age_ms == 0


@on_sqlite
def test_every_budget_must_be_known_to_spare_a_count(stage):
    """Another user's own budget has not been heard of, so the first call of each user is counted."""
    caller = stage.governor(auto(TEAM, {"per": "user", "usd": "1", "window": "life"}))
    for user, prompt, counts in (("ada", HELLO, 1), ("ada", OTHER, 1), ("bob", OTHER, 2), ("bob", HELLO, 2)):
        caller.call(user=user, messages=prompt)
        assert len(stage.api.counts) == counts


@on_sqlite
def test_a_budget_of_tokens_matters_too(stage):
    """The bound's tokens are held against the tightest budget in its own unit."""
    caller = stage.governor(auto(TEAM, {"per": "department", "tokens": 20_000, "window": "life"}))
    for prompt in (HELLO, OTHER):
        assert caller.call(messages=prompt).receipt.decision.estimate == "count_tokens"


@on_sqlite
def test_where_no_money_is_limited_every_prompt_is_counted_once(stage):
    """Without a budget of money or tokens nothing tells what a call may cost next to nothing of."""
    caller = stage.governor(auto({"per": "user", "concurrent": 3}))
    assert [caller.call().receipt.decision.estimate for _ in range(2)] == ["count_tokens"] * 2
    assert len(stage.api.counts) == 1


@on_sqlite
def test_what_is_left_below_the_mark_counts(stage):
    """What is left for a line ends at its mark; for a line without one, at the limit."""
    team = auto(thresholds={"50%": {"downgrade": "haiku"}})
    caller, other = stage.governor(team), stage.governor(team)
    spend_all_but(stage, other, 550 * 10**6)
    for model, prompt, estimate in (
        ("sonnet", HELLO, "count_tokens"),
        ("sonnet", OTHER, "count_tokens"),
        ("haiku", [*HELLO, *OTHER], "local bound"),
    ):
        receipt = caller.call(model=model, messages=prompt).receipt
        assert (receipt.decision.estimate, receipt.decision.downgraded) == (estimate, False)
        assert 100 * receipt.ceiling.nanos < 500 * 10**6


@on_sqlite
@pytest.mark.parametrize("limits", [{"input_tokens": 1_000}, {"cost_per_request": "0.003"}], ids=str)
def test_a_limit_of_one_request_is_judged_by_a_count(stage, limits):
    """Where only the bound is above what the policy allows one request, it is counted, and served."""
    caller = stage.governor(auto({**TEAM, "usd": "100"}, limits=limits))
    caller.call()
    decision = caller.call(
        messages=[{"role": "user", "content": "x" * 2_000}], model="sonnet"
    ).receipt.decision
    assert (decision.estimate, decision.model) == ("count_tokens", SONNET)
    assert len(stage.api.counts) == 2
    assert caller.call(messages=OTHER).receipt.decision.estimate == "local bound"


# auto: a stale hint costs nobody a call.


@on_sqlite
def test_a_stale_hint_refuses_no_call_that_a_count_would_have_served(stage):
    """The budget was spent meanwhile: the bound no longer fits, so the prompt is counted, and served."""
    caller, other = stage.governor(auto()), stage.governor(auto())
    caller.call()
    stage.clock.forward(5)
    spend_all_but(stage, other, counted_nanos(stage) + 40_000)
    before = len(stage.journal("reserve"))
    decision = caller.call(model="sonnet", pin=True, messages=HELLO).receipt.decision
    assert (decision.estimate, decision.model, decision.hint_age_ms) == ("count_tokens", SONNET, None)
    assert decision.waited_s == 0
    told = [entry.outcome for entry in stage.journal("reserve")[before:]]
    assert told == ["held"]
    assert stage.posted() == stage.api.billed_nanos


@on_sqlite
def test_a_stale_hint_downgrades_no_call_that_a_count_would_have_served(stage):
    """Above the mark by its bound, below it by its count: the line asked for serves, not a cheaper one."""
    team = auto(thresholds={"80%": {"downgrade": "haiku"}})
    caller, other = stage.governor(team), stage.governor(team)
    caller.call()
    spend_all_but(stage, other, 200 * 10**6 + counted_nanos(stage) + 40_000)
    decision = caller.call(model="sonnet").receipt.decision
    assert (decision.estimate, decision.model, decision.downgraded) == ("count_tokens", SONNET, False)


@blocking
def test_a_stale_hint_refuses_what_a_count_refuses(stage):
    """Where the counted ceiling does not fit either, the refusal names the count, and is recorded once."""
    caller, other = stage.governor(auto()), stage.governor(auto())
    caller.call()
    spend_all_but(stage, other, counted_nanos(stage) - 10_000)
    before = len(stage.journal("reserve"))
    with pytest.raises(BudgetExceeded) as refused:
        caller.call(model="sonnet", pin=True)
    assert refused.value.decision.estimate == "count_tokens"
    assert refused.value.decision.hint_age_ms is None
    assert [entry.outcome for entry in stage.journal("reserve")[before:]] == ["exhausted"]
    assert stage.holds() == ()


@on_sqlite
def test_a_stale_hint_steps_down_by_the_count(stage):
    """Where only a cheaper line fits, the counted request steps down to it as any other."""
    caller, other = stage.governor(auto()), stage.governor(auto())
    caller.call()
    spend_all_but(stage, other, 500_000)
    decision = caller.call(model="sonnet").receipt.decision
    assert (decision.estimate, decision.model, decision.downgraded) == ("count_tokens", HAIKU, True)


@on_sqlite
def test_money_that_was_held_is_free_again_for_a_hint(stage):
    """The end of a call is heard, too: what another call holds does not make this one count for ever."""
    caller = stage.governor(auto())
    given_back = stage.hold("department=team/usd/life", 950 * 10**6, 10**9)
    assert caller.call().receipt.decision.estimate == "count_tokens"
    assert caller.call(messages=OTHER).receipt.decision.estimate == "count_tokens"
    stage.ledger.execute(given_back)
    caller.call()
    assert caller.call(messages=[*HELLO, *OTHER]).receipt.decision.estimate == "local bound"


@on_sqlite
def test_a_decision_uses_the_same_hints(stage):
    """`decide` counts as `call` would, and what it reads is a hint for the next."""
    caller = stage.governor(auto())
    assert caller.decide().estimate == "count_tokens"
    stage.clock.forward(2)
    decision = caller.decide(messages=OTHER)
    assert (decision.estimate, decision.hint_age_ms, decision.outcome) == ("local bound", 2_000, "held")
    assert len(stage.api.counts) == 1
    other = stage.governor(auto())
    spend_all_but(stage, other, counted_nanos(stage) + 40_000)
    assert caller.decide(model="sonnet").estimate == "count_tokens"
    assert caller.decide(model="sonnet").model == SONNET


@once
def test_a_minute_that_is_over_spares_no_count(stage):
    """A hint is of one window: the next minute's budget has not been heard of yet."""
    caller = stage.governor(auto({"per": "department", "usd": "1", "window": "minute"}))
    caller.call()
    assert caller.call(messages=OTHER).receipt.decision.estimate == "local bound"
    stage.clock.forward(60)
    assert caller.call(messages=OTHER).receipt.decision.estimate == "count_tokens"


# count and local.


@on_sqlite
def test_count_counts_always_and_local_never(stage):
    """`count` asks for every new prompt however much money is left; `local` for none however little."""
    rich = {**TEAM, "usd": "1000000"}
    caller = stage.governor(department(rich, estimate="count"))
    for prompt in (HELLO, OTHER):
        assert caller.call(messages=prompt).receipt.decision.estimate == "count_tokens"
    assert len(stage.api.counts) == 2
    caller = stage.governor(
        department(rich, {"per": "user", "usd": "0.01", "window": "life"}, estimate="local")
    )
    for prompt in (HELLO, OTHER):
        decision = caller.call(messages=prompt).receipt.decision
        assert (decision.estimate, decision.hint_age_ms) == ("local bound", None)
    assert len(stage.api.counts) == 2


@on_sqlite
def test_local_refuses_rather_than_counts(stage):
    """Where the bound does not fit, `local` refuses: the team chose never to ask."""
    caller = stage.governor(department({**TEAM, "usd": "0.0012"}, estimate="local"))
    with pytest.raises(BudgetExceeded) as refused:
        caller.call(model="sonnet", pin=True)
    assert refused.value.decision.estimate == "local bound"
    assert stage.api.requests == []


@on_sqlite
def test_the_organisation_may_say_how_to_measure(stage):
    """What a department leaves open, the organisation's file says; what it says itself, counts."""
    team = {key: value for key, value in department(TEAM).items() if key != "estimate"}
    assert (
        stage.governor(team, shared={"estimate": "local"}).call().receipt.decision.estimate == "local bound"
    )
    caller = stage.governor({**team, "estimate": "count"}, shared={"estimate": "local"})
    assert caller.call().receipt.decision.estimate == "count_tokens"
