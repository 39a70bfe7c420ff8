"""A policy in shadow counts, and tells what it would have done; it refuses, alters and delays nothing."""

from __future__ import annotations

import json

import pytest
from support.governed import HAIKU, HELLO, LADDER, OPUS, SONNET, department
from support.stages import blocking, on_redis, on_sqlite, once

from governor import BudgetExceeded, PolicyViolation
from governor.data import data_file
from governor.ledger import commands as c
from governor.testing import Reply

TEAM_USD = "department=team/usd/life"
TEAM = {"per": "department", "usd": "1", "window": "life"}
FABLE = "claude-fable-5-2"
SEARCH = [{"type": "web_search_20260209", "name": "web_search"}]


def spend(stage, percent, identity=TEAM_USD, limit=1_000_000_000):
    """Post so much of a life-long budget as another process would."""
    row = stage.row(identity, limit)
    stage.ledger.execute(c.Settle(f"spent-{identity}", (c.Posting(row, limit * percent // 100),)))


def shadow_record(stage):
    """What the last call's record says of it."""
    return stage.last_ending()["shadow"]


def test_a_file_in_shadow_lets_through_what_it_would_have_refused(stage):
    """A spent budget is held and posted to, and the receipt and the journal say what would have been."""
    caller = stage.governor(department(TEAM, thresholds=LADDER, mode="shadow"))
    spend(stage, 100)
    message = caller.call(model="opus", max_tokens=50)
    would = message.receipt.decision.shadow
    assert (message.model, message.receipt.decision.outcome) == (OPUS, "held")
    assert (would.outcome, would.model, would.alters) == ("exhausted", None, True)
    assert TEAM_USD in would.reason
    assert shadow_record(stage) == would.as_json()
    assert stage.posted() == 1_000_000_000 + message.receipt.cost.nanos
    assert stage.holds() == ()
    assert stage.sent()[-1]["max_tokens"] == 50


@on_sqlite
def test_a_file_in_shadow_swaps_nothing_and_says_the_swap(stage):
    """Past a mark the asked model serves, and the line that would have served is named."""
    caller = stage.governor(department(TEAM, thresholds=LADDER, mode="shadow"))
    spend(stage, 85)
    message = caller.call(model="opus")
    assert message.model == OPUS
    assert message.receipt.decision.shadow.model == SONNET
    assert message.receipt.decision.shadow.alters


@on_sqlite
def test_where_nothing_would_change_shadow_says_so(stage):
    """Under every mark the same model would serve: the record says that nothing would be altered."""
    caller = stage.governor(department(TEAM, thresholds=LADDER, mode="shadow"))
    would = caller.call(model="opus").receipt.decision.shadow
    assert (would.outcome, would.model, would.alters) == ("held", OPUS, False)
    assert not shadow_record(stage)["alters"]


@on_sqlite
@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"user": "eve"}, "unknown user 'eve'"),
        ({"feature": "reviews"}, "unknown feature 'reviews'"),
        ({"messages": [{"role": "user", "content": "word " * 3000}]}, "limits.input_tokens is 500"),
        ({"model": "opus", "max_tokens": 30_000}, "may cost more than"),
        ({"tools": SEARCH}, "no `max_uses`"),
    ],
    ids=["user", "feature", "input", "cost", "unbounded tool"],
)
def test_what_the_policy_forbids_goes_through_and_is_said(stage, request_, said):
    """Unknown users and features, requests too large, unbounded or unpriced: all sent as they are."""
    team = department(
        TEAM,
        users={"u": {}},
        features={"review": {}},
        limits={"input_tokens": 500, "cost_per_request": "0.01"},
        mode="shadow",
    )
    stage.api.replies(Reply())
    message = stage.governor(team).call(**request_)
    would = message.receipt.decision.shadow
    assert (would.outcome, would.model) == ("refused", None)
    assert said in would.reason
    assert said in shadow_record(stage)["reason"]
    body = stage.sent()[-1]
    assert body["messages"] == request_.get("messages", HELLO)
    assert body["max_tokens"] == request_.get("max_tokens", 100)
    assert stage.holds() == ()


@on_sqlite
def test_a_model_without_a_price_is_served_and_said(stage):
    """A model that the API knows and the price table does not costs nothing here, and is told as unpriced."""
    models = data_file("pricing/anthropic.yaml").read_text(encoding="utf-8").split("\n  - id: ")
    known = [part for part in models if not part.startswith(f"{FABLE}\n")]
    assert len(known) == len(models) - 1
    prices = stage.folder / "prices.yaml"
    prices.write_text("\n  - id: ".join(known), encoding="utf-8")
    receipt = stage.governor(department(TEAM, mode="shadow"), prices=prices).call(model=FABLE).receipt
    assert "has no price" in receipt.decision.shadow.reason
    assert (receipt.model, receipt.cost.nanos) == (FABLE, 0)
    assert "has no price" in receipt.unpriced[0]
    assert stage.holds() == ()


@once
def test_a_file_in_shadow_lowers_no_max_tokens_and_keeps_no_line_from_a_feature(stage):
    """A feature's bounds are said, and the request is sent as it was made."""
    features = {"review": {"max_tokens": 10, "lines": ["haiku"]}}
    caller = stage.governor(department(TEAM, features=features, mode="shadow"))
    message = caller.call(model="opus", feature="review", max_tokens=100)
    assert (message.model, stage.sent()[-1]["max_tokens"]) == (OPUS, 100)
    assert message.receipt.decision.shadow.max_tokens == 10
    assert caller.call(feature="review", max_tokens=...).model == HAIKU
    assert stage.sent()[-1]["max_tokens"] == 10


@once
def test_the_line_that_a_feature_would_be_kept_to_is_said(stage):
    """As it would be enforced: the best of its lines, a refusal of a pin, or a line that was no candidate."""
    features = {"review": {"lines": ["haiku"]}, "essay": {"lines": ["opus"]}}
    caller = stage.governor(department(TEAM, features=features, mode="shadow"))

    def told(**request):
        would = caller.call(**request).receipt.decision.shadow
        return would.outcome, would.model, would.alters, would.reason

    only = f"{HAIKU} instead: the feature may use haiku only"
    assert told(model="opus", feature="review") == ("held", HAIKU, True, only)
    assert told(model="opus", feature="review", pin=True)[:2] == ("refused", None)
    assert told(model="haiku", feature="essay")[:3] == ("held", OPUS, True)
    assert told(model="opus", feature="essay")[:3] == ("held", OPUS, False)
    spend(stage, 100)
    assert told(model="opus", feature="essay")[:3] == ("exhausted", None, True)


@blocking
def test_what_would_be_done_is_told_of_every_candidate(stage):
    """Also where little is at stake and an enforced call would try its first candidate alone."""
    run = {"per": "run", "usd": 1}
    team = department(run, limits={"cost_per_request": "0.0001"}, estimate="auto", mode="shadow")
    caller = stage.governor(team, shared={"budgets": [{"per": "user", "usd": 100, "window": "life"}]})
    told = [caller.call(model="opus", max_tokens=20).receipt.decision.shadow.model for _ in range(3)]
    assert told == [HAIKU, HAIKU, HAIKU]


@on_sqlite
def test_the_organisation_is_enforced_over_a_file_in_shadow(stage):
    """What the organisation's file limits still refuses, and its own limits still hold."""
    shared = {"budgets": [{"per": "user", "usd": "1", "window": "life"}], "limits": {"max_tokens": 60}}
    caller = stage.governor(department(TEAM, mode="shadow"), shared=shared)
    assert caller.call().receipt.decision.outcome == "held"
    assert stage.sent()[-1]["max_tokens"] == 60
    spend(stage, 100, identity="org/user=u/usd/life")
    with pytest.raises(BudgetExceeded, match="org/user=u/usd/life"):
        caller.call()


@on_sqlite
def test_an_organisation_in_shadow_only_watches(stage):
    """Its budgets and limits are said and bind nobody, while the department's do."""
    shared = {
        "budgets": [{"per": "user", "usd": "0.000001", "window": "life"}],
        "limits": {"input_tokens": 1},
        "mode": "shadow",
    }
    caller = stage.governor(department(TEAM, thresholds=LADDER), shared=shared)
    would = caller.call().receipt.decision.shadow
    assert "limits.input_tokens is 1" in would.reason
    spend(stage, 100)
    with pytest.raises(BudgetExceeded, match=TEAM_USD):
        caller.call()


@once
def test_the_thresholds_of_an_organisation_in_shadow_are_said(stage):
    """Its floor under a department's budgets binds nobody, and who would have been downgraded is told."""
    lines = {"sonnet": SONNET, "opus": OPUS}
    team = department({**TEAM, "thresholds": {"95%": {"downgrade": "sonnet"}}}, routing={"lines": lines})
    shared = {"thresholds": {"50%": {"downgrade": "haiku"}, "80%": "block"}, "mode": "shadow"}
    caller = stage.governor(team, shared=shared)
    assert not caller.call(model="opus").receipt.decision.shadow.alters
    spend(stage, 60)
    message = caller.call(model="opus")
    assert (message.model, message.receipt.decision.shadow.model) == (OPUS, SONNET)
    stage.ledger.execute(c.Settle("more", (c.Posting(stage.row(TEAM_USD, 10**9), 25 * 10**7),)))
    message = caller.call(model="opus")
    assert (message.model, message.receipt.decision.shadow.outcome) == (OPUS, "exhausted")


def test_one_budget_in_shadow_binds_nobody(stage):
    """A budget that is tried out refuses nothing, frozen or full, while the one beside it does."""
    tried = {"per": "user", "usd": "0.000001", "window": "life", "mode": "shadow"}
    caller = stage.governor(department(TEAM, tried))
    stage.ledger.execute(c.Freeze("f", "department=team/user=u/usd/life", "look"))
    would = caller.call().receipt.decision.shadow
    assert (would.outcome, would.alters) == ("frozen", True)
    assert stage.posted("department=team/user=u/usd/life") > 1_000
    spend(stage, 100)
    with pytest.raises(BudgetExceeded, match=TEAM_USD):
        caller.call()


@blocking
def test_a_file_in_shadow_counts_no_prompt(stage):
    """Nothing is asked of the API but the call itself: a count would delay it."""
    caller = stage.governor(department(TEAM, mode="shadow"))
    caller.call()
    assert [request.path for request in stage.api.requests] == ["/v1/messages"]


@on_redis
def test_a_file_in_shadow_goes_through_without_any_ledger(stage):
    """A ledger that was never created refuses enforced calls, and lets those in shadow through."""
    caller = stage.governor(department(TEAM, mode="shadow"), create_ledger=False)
    message = caller.call()
    assert message.receipt.decision.outcome == "allowed"
    assert not message.receipt.settled


@once
def test_decide_says_what_shadow_would_do(stage):
    """A dry decision carries the same."""
    caller = stage.governor(department(TEAM, thresholds=LADDER, mode="shadow"))
    spend(stage, 100)
    decision = caller.decide(model="opus")
    assert (decision.outcome, decision.model) == ("held", OPUS)
    assert decision.shadow.outcome == "exhausted"


@once
def test_an_enforced_call_says_nothing_of_shadow(stage):
    """Where nothing is in shadow there is nothing to say, in decision or journal."""
    message = stage.governor(department(TEAM)).call()
    assert message.receipt.decision.shadow is None
    assert "shadow" not in stage.last_ending()


@once
def test_an_unknown_department_is_refused_all_the_same(stage):
    """Without a file there is no mode."""
    with pytest.raises(PolicyViolation, match="unknown department"):
        stage.governor(department(TEAM, mode="shadow")).call(department="other")


@once
def test_the_records_of_a_refused_user_name_the_complaint(stage):
    """The reserve's record says what a file in shadow would have refused the call for."""
    caller = stage.governor(department(TEAM, users={"u": {}}, mode="shadow"))
    caller.call(user="eve")
    (reserve,) = stage.journal("reserve")
    assert "unknown user 'eve'" in json.loads(reserve.record)["complaints"][0]
