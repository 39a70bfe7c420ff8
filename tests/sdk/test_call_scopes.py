"""Budgets per tag and per combination hold for calls that carry what they count, and for no others."""

from __future__ import annotations

import json

import pytest
from support.governed import HAIKU, OPUS, SONNET, department
from support.stages import blocking, on_sqlite

from governor import BudgetExceeded, PolicyViolation
from governor.ledger import commands as c

TEAM = {"per": "department", "usd": 1000, "window": "life"}
ONE_CALL = "0.0015"
"""Enough for one pinned Sonnet call of 100 tokens, and not for two."""

PINNED = {"model": "sonnet", "pin": True}
CASES = [
    (
        {"per": "tag:project", "usd": ONE_CALL, "window": "day"},
        {"tags": {"project": "atlas"}},
        {"tags": {"project": "zeus"}},
        "department=team/tag.project=atlas/usd/day",
    ),
    (
        {"per": "tag:project", "name": "atlas", "requests": 1, "window": "day"},
        {"tags": {"project": "atlas", "team": "x"}},
        {"tags": {"team": "atlas"}},
        "department=team/tag.project=atlas/requests/day",
    ),
    (
        {"per": ["user", "model"], "usd": ONE_CALL, "window": "day"},
        {"user": "ada"},
        {"user": "bob"},
        f"department=team/user=ada/model={SONNET}/usd/day",
    ),
    (
        {"per": ["tag:project", "user"], "tokens": 250, "window": "month"},
        {"user": "ada", "tags": {"project": "a/b: {c}"}},
        {"user": "ada", "tags": {"project": "a/b"}},
        "department=team/user=ada/tag.project=a%2Fb%3A%20%7Bc%7D/tokens/month",
    ),
    (
        {"per": ["run", "feature"], "name": {"feature": "review"}, "usd": ONE_CALL},
        {"run": "r1", "feature": "review"},
        {"run": "r1", "feature": "chat"},
        "department=team/feature=review/run=r1/usd/life",
    ),
]


@pytest.mark.parametrize(("budget", "spends", "free", "identity"), CASES, ids=str)
def test_only_what_carries_it_spends_a_budget(stage, budget, spends, free, identity):
    """A spent budget refuses the same user, tag or combination by its identity, and serves any other."""
    caller = stage.governor(department(TEAM, budget))
    receipt = caller.call(**PINNED, **spends).receipt
    touched = [view.identity for view in receipt.decision.budgets]
    assert touched == ["department=team/usd/life", identity]
    with pytest.raises(BudgetExceeded) as refused:
        caller.call(**PINNED, **spends)
    assert refused.value.budget.identity == identity
    assert refused.value.budget.posted == stage.balances()[identity].posted > 0
    assert caller.call(**PINNED, **free).receipt.settled
    assert stage.holds() == ()


@blocking
def test_the_organisation_counts_a_tag_across_departments(stage):
    """A tag's budget in the organisation's file is one for all; with `department`, one for each."""
    shared = {
        "budgets": [
            {"per": "tag:project", "usd": 100, "window": "month"},
            {"per": ["department", "tag:project"], "usd": 100, "window": "month"},
        ]
    }
    stage.write(department(TEAM), shared=shared)
    other = {**department(TEAM), "department": "other"}
    (stage.policies / "other.yaml").write_text(json.dumps(other), encoding="utf-8")
    caller = stage.governor()
    for name in ("team", "other"):
        caller.call(department=name, tags={"project": "atlas"})
    posted = {identity: balance.posted for identity, balance in stage.balances().items()}
    first, second = (
        posted[f"org/department={name}/tag.project=atlas/usd/month"] for name in ("team", "other")
    )
    assert posted["org/tag.project=atlas/usd/month"] == first + second == stage.api.billed_nanos


@on_sqlite
def test_a_combination_with_the_model_steps_down(stage):
    """Where a user's money for one model is spent, the next model serves that user; others keep the first."""
    own = {"per": ["user", "model"], "name": {"model": OPUS}, "usd": "0.003", "window": "day"}
    caller = stage.governor(department(TEAM, own))
    models = [caller.call(user=user, model="opus").receipt.model for user in ("ada", "ada", "bob")]
    assert models == [OPUS, SONNET, OPUS]
    assert set(stage.balances()) >= {
        f"department=team/user={user}/model={OPUS}/usd/day" for user in ("ada", "bob")
    }


@on_sqlite
def test_a_tier_chooses_a_combinations_limit(stage):
    """`user_tier` holds for a combination with the user as it does for the user alone."""
    own = [
        {"per": ["user", "tag:project"], "user_tier": tier, "usd": usd, "window": "day"}
        for tier, usd in (("premium", 100), ("basic", ONE_CALL))
    ]
    users = {"ada": {"user_tier": "premium"}, "*": {"user_tier": "basic"}}
    caller = stage.governor(department(TEAM, *own, users=users))
    for user in ("ada", "ada", "bob"):
        caller.call(user=user, tags={"project": "atlas"}, **PINNED)
    with pytest.raises(BudgetExceeded, match=r"user=bob/tag\.project=atlas/usd/day"):
        caller.call(user="bob", tags={"project": "atlas"}, **PINNED)


@blocking
def test_a_combination_frozen_before_any_call_refuses_the_first(stage):
    """What an administrator does to a combination nobody has used yet holds from its first call on."""
    caller = stage.governor(department(TEAM, {"per": ["user", "model"], "usd": 1, "window": "day"}))
    identity = f"department=team/user=ada/model={HAIKU}/usd/day"
    stage.ledger.execute(c.Freeze("f1", identity, "a look first"))
    with pytest.raises(BudgetExceeded, match=f"{identity} is frozen: a look first"):
        caller.call(user="ada", model="haiku", pin=True)
    assert caller.call(user="bob", model="haiku", pin=True).receipt.settled


@on_sqlite
def test_tags_are_journalled_with_the_decision_and_the_end(stage):
    """Both records of a call carry its tags by name; without any they are an empty object."""
    caller = stage.governor(department(TEAM))
    tags = {"project": "atlas", "cost-centre": "4711"}
    caller.call(request_id="tagged", tags=tags)
    caller.call(request_id="bare")
    for identifier, expected in (("tagged", tags), ("bare", {})):
        records = [json.loads(entry.record) for entry in stage.journal(identifier=identifier)]
        assert [record["tags"] for record in records] == [expected, expected]


@on_sqlite
def test_decide_takes_tags(stage):
    """A dry decision names the budgets that the tags touch."""
    caller = stage.governor(department(TEAM, {"per": "tag:project", "usd": 1, "window": "day"}))
    decision = caller.decide(tags={"project": "atlas"})
    assert decision.budgets[1].identity == "department=team/tag.project=atlas/usd/day"
    assert len(caller.decide().budgets) == 1


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        ("atlas", "tags is 'atlas': give a mapping"),
        ([("project", "atlas")], "give a mapping"),
        ({"Project": "atlas"}, "'Project' cannot be a tag's name"),
        ({None: "atlas", "b": "x"}, "None cannot be a tag's name"),
        ({"project": 7}, "7 cannot be a value of the tag project"),
        ({"project": ["atlas"]}, "cannot be a value of the tag project"),
        ({f"t{n}": "x" for n in range(17)}, "at most 16 tags"),
    ],
)
@on_sqlite
def test_odd_tags_are_refused_before_anything_is_held(stage, tags, says):
    """A tag that no balance could be kept under is a violation; nothing is held, sent or journalled."""
    caller = stage.governor(department(TEAM))
    with pytest.raises(PolicyViolation, match=says):
        caller.call(tags=tags)
    assert (stage.sent(), stage.journal("reserve"), stage.balances()) == ([], [], {})
