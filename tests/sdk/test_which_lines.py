"""Which lines may serve: a feature's are the only ones, and a pin names one that there is."""

from __future__ import annotations

import pytest
from support.governed import HAIKU, HELLO, LINES, OPUS, SONNET, department
from support.stages import on_sqlite

from governor import BudgetExceeded, PolicyViolation

TEAM = {"per": "department", "usd": "100", "window": "life"}
FEATURES = {"classify": {"lines": ["haiku"]}, "write": {"lines": ["sonnet", "haiku"]}, "chat": {}}


def refused(stage, caller, match, **request):
    """The call is a violation, and nothing was held or sent."""
    with pytest.raises(PolicyViolation, match=match):
        caller.call(**request)
    assert stage.balances() == {}
    assert stage.sent() == []


@pytest.mark.parametrize(
    ("feature", "model", "candidates"),
    [
        ("classify", "opus", [HAIKU]),
        ("classify", OPUS, [HAIKU]),
        ("classify", "claude-sonnet-4-6", [HAIKU]),
        ("classify", "auto", [HAIKU]),
        ("write", "opus", [SONNET, HAIKU]),
        ("write", "haiku", [HAIKU]),
        ("write", "claude-sonnet-4-6", ["claude-sonnet-4-6", HAIKU]),
        ("chat", "opus", [OPUS, SONNET, HAIKU]),
    ],
)
@on_sqlite
def test_a_features_lines_are_the_only_ones(stage, feature, model, candidates):
    """Whatever is asked for, only the feature's lines are tried; the first that is allowed serves."""
    caller = stage.governor(department(TEAM, features=FEATURES))
    receipt = caller.call(feature=feature, model=model).receipt
    assert [view.model for view in receipt.decision.candidates] == candidates
    assert receipt.model == stage.sent()[-1]["model"] == candidates[0]


@pytest.mark.parametrize("model", ["opus", OPUS, "claude-opus-4-8"])
@on_sqlite
def test_a_pin_outside_a_features_lines_is_a_violation(stage, model):
    """A pin is never swapped, so one that the feature may not use is refused with the lines it may."""
    caller = stage.governor(department(TEAM, features=FEATURES))
    refused(
        stage,
        caller,
        "cannot be pinned: the feature may use haiku only",
        feature="classify",
        model=model,
        pin=True,
    )


@on_sqlite
def test_a_pin_of_a_line_that_is_missing_is_a_violation(stage):
    """A line the policy has no model for cannot be pinned; unpinned it goes to the next below."""
    team = department(TEAM, routing={"lines": {key: LINES[key] for key in ("haiku", "sonnet")}})
    caller = stage.governor(team)
    refused(
        stage, caller, "opus cannot be pinned: it is not among the policy's lines", model="opus", pin=True
    )
    assert caller.call(model="opus").receipt.model == SONNET


@on_sqlite
def test_a_pin_of_auto_takes_the_features_first_line_only(stage):
    """With `pin`, `auto` means the feature's first line, and no other is tried."""
    caller = stage.governor(department({**TEAM, "usd": "0.001"}, features=FEATURES))
    with pytest.raises(BudgetExceeded) as error:
        caller.call(feature="write", pin=True)
    assert [view.model for view in error.value.decision.candidates] == [SONNET]
    assert caller.call(feature="write").receipt.model == HAIKU


@on_sqlite
def test_a_refusal_recommends_no_line_the_feature_may_not_use(stage):
    """Though Haiku would pass, a feature of Sonnet and Opus is not told so; another feature is."""
    features = {"write": {"lines": ["sonnet", "opus"]}, "chat": {}}
    caller = stage.governor(department({**TEAM, "usd": "0.001"}, features=features))
    with pytest.raises(BudgetExceeded) as error:
        caller.call(feature="write", model="sonnet", pin=True)
    assert error.value.cheapest_model is None
    assert "claude-haiku-5-5 would pass" not in str(error.value)
    with pytest.raises(BudgetExceeded) as error:
        caller.call(feature="chat", model="sonnet", pin=True)
    assert error.value.cheapest_model == HAIKU


@on_sqlite
def test_a_model_with_a_budget_that_was_not_read_is_not_recommended(stage):
    """A model whose own budget is spent is never said to pass, though the others would bear it."""
    own = {"per": "model", "name": HAIKU, "usd": "0.00001", "window": "life"}
    caller = stage.governor(department({**TEAM, "usd": "0.001"}, own))
    with pytest.raises(BudgetExceeded) as error:
        caller.call(model="sonnet", pin=True, messages=HELLO)
    assert error.value.cheapest_model is None
    assert "haiku" not in str(error.value)
