"""What the journal tells of a call is one row, whichever way it went."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import anthropic
import pytest
from support.endings import BUDGETS, USD, policy
from support.governed import HAIKU, OPUS, SONNET, department
from support.pauses import pauses
from support.stages import blocking, on_sqlite

from governor import BudgetExceeded, GovernorError
from governor.journal.fold import Fold
from governor.ledger import commands as c
from governor.testing import Reply, cut_mid_stream, overloaded, rate_limited, status_error

TEXT = Reply(text="It is what it is. " * 20)


def told(stage):
    """The calls that the stage's journal tells of, by when they began."""
    fold = Fold()
    fold.take(stage.journal())
    assert fold.unreadable == 0
    return list(fold.rows())


def the_call(stage):
    """The one call of the stage's journal."""
    (call,) = told(stage)
    return call


def test_an_answered_call_has_its_figures(stage):
    """Who asked, what served, the tokens of the bill, its cost to the nano-dollar and how long it took."""
    message = stage.governor(policy()).call(
        feature="chat", run="r-1", tags={"project": "atlas"}, model="opus"
    )
    call = the_call(stage)
    assert (call.user, call.department, call.feature, call.run) == ("u", "team", "chat", "r-1")
    assert (call.tags, call.asked, call.model, call.line) == ((("project", "atlas"),), "opus", OPUS, "opus")
    assert (call.state, call.decision, call.final, call.status) == ("answered", "served", True, 200)
    assert call.cost_nanos == message.receipt.cost.nanos == stage.posted(USD) == stage.api.billed_nanos
    assert call.ceiling_nanos == message.receipt.ceiling.nanos
    assert (call.prompt_tokens, call.output_tokens) == (
        message.usage.input_tokens,
        message.usage.output_tokens,
    )
    assert (call.window_tokens, call.stop_reason) == (1_000_000, "end_turn")
    assert call.latency_ms >= call.first_token_ms >= 0
    assert call.api_request_id == message.receipt.api_request_id


def test_the_rate_limit_that_an_answer_tells_of_is_in_its_row(stage):
    """The used share of the fullest limit is recorded as the headers say it."""
    stage.governor(policy()).call()
    call = the_call(stage)
    assert call.limit_bp is not None
    assert 0 <= call.limit_bp <= 10_000


def test_a_budgets_refusal_is_a_row_that_cost_nothing(stage):
    """It says which reason the ledger gave, holds nothing and costs nothing."""
    caller = stage.governor(department({"per": "department", "usd": 10, "window": "life"}))
    stage.spend("department=team/usd/life", 10_000_000_000, 10_000_000_000)
    with pytest.raises(BudgetExceeded):
        caller.call()
    call = told(stage)[-1]
    assert (call.state, call.decision, call.reason, call.refusals) == ("blocked", "blocked", "exhausted", 1)
    assert (call.cost_nanos, call.ceiling_nanos, call.ended_ms) == (0, 0, call.began_ms)
    assert not call.failed


def test_a_downgrade_is_told_by_what_would_have_served(stage):
    """Where a budget does not bear the preferred model, the row has both and the decision."""
    budget = {"per": "department", "usd": 10, "window": "life"}
    team = department(budget, thresholds={"80%": {"downgrade": "haiku"}})
    caller = stage.governor(team)
    stage.spend("department=team/usd/life", 8_500_000_000, 10_000_000_000)
    caller.call(model="sonnet")
    call = told(stage)[-1]
    assert (call.preferred, call.model, call.decision) == (SONNET, HAIKU, "downgraded")


def test_pushes_back_are_counted_by_their_status(stage):
    """A call that was answered after two 429s says so, on one row."""
    stage.api.inject(rate_limited(retry_after=0), rate_limited(retry_after=0))
    caller = stage.governor(policy())
    pauses(caller)
    caller.call()
    call = the_call(stage)
    assert (call.state, call.attempts, call.pushed_429, call.pushed_529) == ("answered", 3, 2, 0)


def test_a_call_that_moved_has_a_row_for_each_leg_and_one_that_is_final(stage):
    """The first leg ended with a 529; the second served, and counting final rows counts calls."""
    stage.api.inject(overloaded())
    caller = stage.governor(policy())
    pauses(caller)
    caller.call(model="opus")
    first, second = told(stage)
    assert (first.model, first.state, first.final, first.pushed_529) == (OPUS, "refused", False, 1)
    assert (second.model, second.state, second.final, second.leg) == (SONNET, "answered", True, 2)
    assert first.call_id == second.call_id == first.id
    assert (second.decision, first.cost_nanos) == ("moved", 0)
    assert second.cost_nanos == stage.posted(USD)


@on_sqlite
def test_a_leg_that_a_budget_refused_is_not_the_last_if_the_call_went_on(stage):
    """Overloaded, refused the next model by its budget, served by the first after a pause: one final row."""
    stage.api.inject(overloaded())
    model = {"per": "model", "name": SONNET, "usd": 1, "window": "life"}
    caller = stage.governor(
        policy(budgets=[*BUDGETS, model], routing={"lines": {"sonnet": SONNET, "opus": OPUS}})
    )
    identity = f"department=team/model={SONNET}/usd/life"
    stage.spend(identity, 10**9, 10**9)
    pauses(caller)
    caller.call(model="opus")
    calls = [call for call in told(stage) if call.user == "u"]
    assert [(call.state, call.final) for call in calls] == [
        ("refused", False),
        ("blocked", False),
        ("answered", True),
    ]


def test_what_the_api_refuses_failed_and_cost_nothing(stage):
    """A 400 is a failed call with its status and error, and no money."""
    stage.api.inject(status_error(400))
    with pytest.raises(anthropic.BadRequestError):
        stage.governor(policy()).call()
    call = the_call(stage)
    assert (call.state, call.status, call.error, call.cost_nanos) == ("refused", 400, "BadRequestError", 0)
    assert call.failed


def test_a_cut_stream_is_uncertain_and_costs_what_was_posted(stage):
    """What was charged by rule stands in the row as in the budget."""
    stage.api.inject(cut_mid_stream())
    stage.api.replies(TEXT)
    with suppress(anthropic.APIError, GovernorError):
        stage.governor(policy()).call()
    call = the_call(stage)
    assert (call.state, call.uncertain) == ("cut", True)
    assert call.cost_nanos == stage.posted(USD) > 0


def test_an_expired_hold_is_charged_and_a_late_settle_replaces_it(stage):
    """The row follows the money: first what was held, then what was used."""
    identity = "department=team/usd/life"
    record = (
        '{"v":1,"user":"u","department":"team","asked":"auto","candidates":[%s],"budgets":[],"asks":[[]]}'
    )
    offer = '{"model":"m","line":"haiku","why":"","ceiling_nanos":500,"ceiling_tokens":9}'
    row = stage.row(identity, 10_000)
    stage.ledger.execute(c.Reserve("died", (row,), ((c.Ask(500),),), 1000, record=record % offer))
    stage.clock.forward(5)
    (hold,) = stage.holds()
    stage.ledger.execute(c.Expire((c.DueHold(hold.id, hold.balances),)))
    call = the_call(stage)
    assert (call.state, call.cost_nanos, call.uncertain) == ("expired", 500, True)
    end = (
        '{"v":1,"user":"u","department":"team","model":"m","ended":"answered","cost_nanos":120,"status":200}'
    )
    stage.ledger.execute(c.Settle("died", (c.Posting(row, 120),), end))
    call = the_call(stage)
    assert (call.state, call.cost_nanos, call.late, call.uncertain) == ("answered", 120, True, False)
    assert call.cost_nanos == stage.posted(identity)


def test_an_id_that_is_used_again_is_another_call(stage):
    """A fold given a closed call begins a new row of the same id, and loses neither."""
    stage.governor(policy()).call(request_id="mine")
    entries = stage.journal()
    fold = Fold()
    fold.take(entries)
    fold.take([replace(one, seq=f"9{one.seq}") for one in entries if one.kind in ("reserve", "settle")])
    assert [(call.id, call.turn) for call in fold.rows()] == [("mine", 0), ("mine", 1)]
    assert sum(call.cost_nanos for call in fold.rows()) == 2 * stage.posted(USD)


@blocking
def test_what_cannot_be_read_is_counted_and_changes_nothing(stage):
    """A damaged record of a call is no row and no error."""
    stage.governor(policy()).call()
    entries = stage.journal()
    fold = Fold()
    fold.take([replace(one, record=one.record[:-9]) for one in entries if one.kind == "reserve"])
    assert (fold.rows(), fold.unreadable) == ([], 1)
