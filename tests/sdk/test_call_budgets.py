"""All budgets of a request are decided together or not at all; held money is waited for, not called spent."""

from __future__ import annotations

import pytest
from support.between import between
from support.governed import HAIKU, OPUS, SONNET, Clock, department, until, usd
from support.stages import blocking, on_sqlite

from governor import BudgetContended, BudgetExceeded
from governor.ledger.commands import Refused
from governor.testing import Reply

TEAM_USD = "department=team/usd/life"
TEAM = {"per": "department", "usd": "1", "window": "life"}
TIERED = {"ada": {"user_tier": "premium"}, "*": {"user_tier": "basic"}}

SHARED = [
    {"per": "organization", "usd": 1000, "window": "month"},
    {"per": "user", "usd": 1000, "window": "day"},
]
OWN = [
    {"per": "department", "usd": 1000, "window": "month"},
    {"per": "department", "tokens": 1_000_000, "window": "day"},
    {"per": "user", "user_tier": "premium", "usd": 1000, "window": "month"},
    {"per": "user", "user_tier": "basic", "usd": 1000, "window": "month"},
    {"per": "user", "usd": 1000, "window": "day"},
    {"per": "feature", "name": "review", "usd": 1000, "window": "day"},
    {"per": "run", "usd": 1000},
    {"per": "user", "requests": 1000, "window": "minute"},
    {"per": "user", "concurrent": 8},
]
MONTH_END, DAY_END = "2026-12-01T00:00", "2026-11-21T00:00"
EXHAUSTED = [
    ("shared", 0, "usd", "org/usd/month", MONTH_END),
    ("shared", 1, "usd", "org/user=ada/usd/day", DAY_END),
    ("own", 0, "usd", "department=team/usd/month", MONTH_END),
    ("own", 1, "tokens", "department=team/tokens/day", DAY_END),
    ("own", 2, "usd", "department=team/user=ada/usd/month", MONTH_END),
    ("own", 4, "usd", "department=team/user=ada/usd/day", DAY_END),
    ("own", 5, "usd", "department=team/feature=review/usd/day", DAY_END),
    ("own", 6, "usd", "department=team/run=r1/usd/life", None),
    ("own", 7, "requests", "department=team/user=ada/requests/minute", "2026-11-20T12:01"),
]
SMALL = {"usd": "0.0015", "tokens": 250, "requests": 1}
"""Enough for one pinned Sonnet call of 100 tokens, and not for two."""


def budgets_of(file, index, unit):
    """The policy above with one budget made small."""
    shared, own = [dict(budget) for budget in SHARED], [dict(budget) for budget in OWN]
    (shared if file == "shared" else own)[index][unit] = SMALL[unit]
    return department(*own, users=TIERED), {"budgets": shared}


@pytest.mark.parametrize(("file", "index", "unit", "identity", "resets"), EXHAUSTED, ids=str)
@blocking
def test_any_budget_can_refuse_and_then_none_holds(stage, file, index, unit, identity, resets):
    """Each budget in turn is the one used up: it is named with its reset, and no other holds a thing."""
    team, shared = budgets_of(file, index, unit)
    caller = stage.governor(team, shared=shared)
    who = {"user": "ada", "feature": "review", "run": "r1", "model": "sonnet", "pin": True}
    caller.call(**who)
    before = stage.balances()
    with pytest.raises(BudgetExceeded) as refused:
        caller.call(**who)
    error = refused.value
    assert error.budget.identity == identity
    assert error.budget.posted > 0
    assert error.budget.held == 0
    assert (error.resets_at and error.resets_at.isoformat()[:16]) == resets
    assert stage.balances() == before
    assert len(before) == 10
    assert stage.holds() == ()
    assert len(stage.sent()) == 1


@blocking
def test_one_call_touches_every_budget_at_once(stage):
    """While a call runs, every budget that counts it holds its part; then every one has it posted."""
    seen = stage.watch()
    caller = stage.governor(department(*OWN, users=TIERED), shared={"budgets": SHARED})
    receipt = caller.call(user="ada", feature="review", run="r1").receipt
    units = {"usd": receipt.ceiling.nanos, "tokens": 180, "requests": 1, "concurrent": 1}
    (sight,) = seen
    assert len(sight.held) == 10
    for identity, held in sight.held.items():
        unit = identity.rsplit("/", 2)[-2]
        assert unit == "tokens" or held == units[unit]
    tokens = receipt.usage["input_tokens"] + receipt.usage["output_tokens"]
    spent = {"usd": receipt.cost.nanos, "tokens": tokens, "requests": 1, "concurrent": 0}
    for identity, balance in stage.balances().items():
        assert (balance.posted, balance.held) == (spent[identity.rsplit("/", 2)[-2]], 0)


@on_sqlite
def test_tiers_choose_the_users_budget(stage):
    """A user's tier decides which limit holds, and the balance is one whatever the tier."""
    own = [{**budget, "usd": "0.0015"} if budget.get("user_tier") == "basic" else budget for budget in OWN]
    caller = stage.governor(department(*own, users=TIERED))
    for _ in range(2):
        caller.call(user="ada", model="sonnet", pin=True)
    caller.call(user="bob", model="sonnet", pin=True)
    with pytest.raises(BudgetExceeded, match="department=team/user=bob/usd/month"):
        caller.call(user="bob", model="sonnet", pin=True)


@on_sqlite
def test_a_budget_of_a_model_sends_to_the_next(stage):
    """A model whose own budget is used up is passed over; the others are not touched by it."""
    own = {"per": "model", "name": OPUS, "usd": "0.003", "window": "day"}
    caller = stage.governor(department(TEAM, own))
    models = [caller.call(model="opus").receipt.model for _ in range(2)]
    assert models == [OPUS, SONNET]
    assert stage.posted(f"department=team/model={OPUS}/usd/day") == stage.api.bill[0].nanos


@on_sqlite
def test_a_floor_keeps_the_rest_for_cheaper_lines(stage):
    """Opus is not used once less than its floor would be left of the user's budget."""
    user = {"per": "user", "usd": "0.01", "window": "month"}
    caller = stage.governor(department(user, routing={"floors": {"opus": "0.006"}}))
    models = [caller.call(model="opus").receipt.model for _ in range(3)]
    assert models == [OPUS, SONNET, SONNET]
    with pytest.raises(BudgetExceeded, match=r"opus may fill it to all but \$0\.006"):
        caller.call(model="opus", pin=True)


def test_held_money_is_contended(stage):
    """What calls in flight hold is not called spent: `BudgetContended`, with when to try again."""
    limit = 1_500_000
    caller = stage.governor(department({**TEAM, "usd": usd(limit)}))
    stage.hold(TEAM_USD, limit - 10, limit)
    with pytest.raises(BudgetContended) as refused:
        caller.call()
    assert refused.value.retry_after > 0
    assert (refused.value.budget.posted, refused.value.budget.held) == (0, limit - 10)
    assert "it would fit once calls in flight settle" in str(refused.value)
    assert stage.sent() == []


def test_held_money_is_waited_for(stage):
    """Within `max_wait` a call waits for what others hold, and then is served."""
    limit = 1_500_000
    team = department({**TEAM, "usd": usd(limit)}, routing={"when_contended": {"max_wait": 60}})
    caller = stage.governor(team)
    said = between(caller)
    release = stage.hold(TEAM_USD, limit - 10, limit)
    waiting = caller.start(request_id="patient")
    until(lambda: said.told(Refused))
    assert said.told(Refused)[0].reason == "contended"
    stage.ledger.execute(release)
    receipt = waiting.result().receipt
    assert receipt.decision.waited_s > 0
    assert [entry.outcome for entry in stage.journal("reserve", "patient")] == ["held"]
    assert stage.posted() == stage.api.billed_nanos


def test_waiting_ends_with_max_wait(stage):
    """A wait that was in vain ends as contended, having asked more than once; one record says so."""
    limit = 1_500_000
    team = department({**TEAM, "usd": usd(limit)}, routing={"when_contended": {"max_wait": 0.2}})
    stage.hold(TEAM_USD, limit - 10, limit)
    caller = stage.governor(team)
    said = between(caller)
    with pytest.raises(BudgetContended) as refused:
        caller.call(request_id="patient")
    assert refused.value.decision.waited_s == pytest.approx(0.2)
    assert len(said.told(Refused)) > 1
    assert [entry.outcome for entry in stage.journal("reserve", "patient")] == ["contended"]


@on_sqlite
def test_a_cheaper_line_that_fits_is_taken_before_waiting(stage):
    """Where the preferred model's money is held, a cheaper line that fits serves at once."""
    limit = 1_500_000
    team = department({**TEAM, "usd": usd(limit)}, routing={"when_contended": {"max_wait": 60}})
    stage.hold(TEAM_USD, 1_000_000, limit)
    receipt = stage.governor(team).call().receipt
    assert (receipt.model, receipt.decision.waited_s) == (HAIKU, 0)


@on_sqlite
def test_held_and_spent_is_told_apart(stage):
    """What would not fit even if every hold settled at nothing is exceeded, though much is only held."""
    limit = 100_000
    caller = stage.governor(department({**TEAM, "usd": usd(limit)}))
    caller.call(model="haiku")
    stage.hold(TEAM_USD, 10_000, limit)
    with pytest.raises(BudgetExceeded) as refused:
        caller.call(model="haiku")
    assert (refused.value.budget.posted, refused.value.budget.held) == (stage.api.billed_nanos, 10_000)


@on_sqlite
def test_concurrency_is_waited_for(stage):
    """A call beyond `concurrent` waits for one to end; it is never called exceeded."""
    own = {"per": "user", "concurrent": 1}
    caller = stage.governor(department(TEAM, own, routing={"when_contended": {"max_wait": 60}}))
    identity = "department=team/user=u/concurrent/life"
    said = between(caller)
    release = stage.hold(identity, 1, 1)
    waiting = caller.start(request_id="second")
    until(lambda: said.told(Refused))
    stage.ledger.execute(release)
    assert waiting.result().receipt.decision.waited_s > 0
    assert (stage.balances()[identity].posted, stage.balances()[identity].held) == (0, 0)


def test_concurrency_is_contended(stage):
    """Without time to wait, a call beyond `concurrent` is contended and says when to come again."""
    caller = stage.governor(department(TEAM, {"per": "user", "concurrent": 2}))
    stage.hold("department=team/user=u/concurrent/life", 2, 2)
    with pytest.raises(BudgetContended, match="2 of 2 calls in flight"):
        caller.call()
    assert caller.call(user="someone-else").receipt.settled


@on_sqlite
def test_calls_at_once_never_pass_the_limit(stage):
    """Twenty calls at once, money for seven: seven are served at most, none is told `exceeded` early."""
    limit = 7 * 1_200_000
    caller = stage.governor(department({**TEAM, "usd": usd(limit)}, routing={"lines": {"sonnet": SONNET}}))
    stage.api.replies(Reply(delay_ms=100))
    calls = [caller.start(user=f"u{number}") for number in range(20)]
    errors = [call.exception() for call in calls]
    assert errors.count(None) <= 7
    assert stage.posted() == stage.api.billed_nanos <= limit
    for error in filter(None, errors):
        fits_later = error.budget.posted + 1_166_000 <= limit
        assert isinstance(error, BudgetContended if fits_later else BudgetExceeded)


@on_sqlite
def test_a_short_window_that_reopens_in_time_is_waited_for(stage):
    """A spent minute that ends within `max_wait` is waited out instead of refused."""
    stage.clock = Clock(1_795_176_059_300)
    own = {"per": "user", "requests": 1, "window": "minute"}
    caller = stage.governor(department(TEAM, own, routing={"when_contended": {"max_wait": 30}}))
    caller.call()
    waiting = caller.start(request_id="next-minute")
    until(lambda: stage.journal("reserve", "next-minute"))
    stage.clock.forward(1)
    assert waiting.result().receipt.decision.waited_s > 0
    refused, served = stage.journal("reserve", "next-minute")
    assert (refused.outcome, served.outcome) == ("exhausted", "held")


@on_sqlite
def test_a_window_that_reopens_too_late_is_refused(stage):
    """A spent minute that ends after `max_wait` is exceeded at once, with the moment it resets."""
    own = {"per": "user", "requests": 1, "window": "minute"}
    caller = stage.governor(department(TEAM, own, routing={"when_contended": {"max_wait": 30}}))
    caller.call()
    with pytest.raises(BudgetExceeded, match="it resets at 2026-11-20 12:01 UTC"):
        caller.call()


@on_sqlite
def test_a_new_window_has_new_money(stage):
    """A day that is spent refuses until midnight in the policy's time zone, and then serves again."""
    day = {"per": "department", "usd": "0.0015", "window": "day"}
    caller = stage.governor(
        department(day, timezone="America/New_York", routing={"lines": {"sonnet": SONNET}})
    )
    caller.call()
    with pytest.raises(BudgetExceeded) as refused:
        caller.call()
    assert refused.value.resets_at.isoformat() == "2026-11-21T05:00:00+00:00"
    stage.clock.forward(17 * 3600 - 1)
    with pytest.raises(BudgetExceeded):
        caller.call()
    stage.clock.forward(1)
    assert caller.call().receipt.settled


def test_an_administrators_word_counts_at_once(stage):
    """A grant lets the refused pass, and a freeze refuses with its reason, without a restart."""
    from governor.ledger import commands as c

    caller = stage.governor(department({**TEAM, "usd": "0.0001"}, routing={"lines": {"sonnet": SONNET}}))
    with pytest.raises(BudgetExceeded):
        caller.call()
    stage.ledger.execute(c.Grant("g1", TEAM_USD, "life", 2_000_000))
    assert caller.call().receipt.settled
    stage.ledger.execute(c.Freeze("f1", TEAM_USD, "under review by finance"))
    with pytest.raises(BudgetExceeded, match=f"{TEAM_USD} is frozen: under review by finance") as refused:
        caller.call()
    assert refused.value.decision.outcome == "frozen"
    assert refused.value.affordable_max_tokens is None
    assert refused.value.cheapest_model is None
