"""Candidates: the preferred model first, then each step down the ladder; a pin has one."""

from __future__ import annotations

import pytest
from support.governed import HAIKU, LINES, OPUS, SONNET

from governor.errors import PolicyViolation, UnknownModel
from governor.routing import at_or_below, plan, rank

KNOWN = {model: (line, model) for line, model in LINES.items()} | {
    "claude-sonnet-5": ("sonnet", "claude-sonnet-5"),
    "sonnet-snapshot": ("sonnet", SONNET),
}
ALIASED = {"haiku": HAIKU, "sonnet": "sonnet-snapshot", "opus": OPUS}


def look_up(model):
    """The line and the canonical id of a model, as the price table would say."""
    if model not in KNOWN:
        raise UnknownModel(model)
    return KNOWN[model]


def models(asked, **overrides):
    """The candidates' models for one request."""
    chosen = {
        "pin": False,
        "lines": LINES,
        "default": "auto",
        "preferred_line": "sonnet",
        "feature_lines": None,
        "look_up": look_up,
        **overrides,
    }
    return [candidate.model for candidate in plan(asked, **chosen)]


@pytest.mark.parametrize(
    ("asked", "overrides", "expected"),
    [
        ("auto", {}, [SONNET, HAIKU]),
        ("opus", {}, [OPUS, SONNET, HAIKU]),
        (SONNET, {}, [SONNET, HAIKU]),
        ("haiku", {}, [HAIKU]),
        ("auto", {"default": "opus"}, [OPUS, SONNET, HAIKU]),
        ("auto", {"default": HAIKU}, [HAIKU]),
        ("auto", {"feature_lines": ("haiku", "opus")}, [HAIKU, OPUS]),
        ("opus", {"feature_lines": ("haiku",)}, [HAIKU]),
        ("sonnet", {"feature_lines": ("opus", "haiku")}, [HAIKU]),
        ("haiku", {"feature_lines": ("opus", "sonnet")}, [OPUS, SONNET]),
        ("claude-sonnet-5", {"feature_lines": ("haiku",)}, [HAIKU]),
        ("claude-sonnet-5", {"feature_lines": ("haiku", "sonnet")}, ["claude-sonnet-5", HAIKU]),
        ("opus", {"feature_lines": ("haiku", "opus")}, [OPUS, HAIKU]),
        ("auto", {"feature_lines": ("haiku", "opus"), "pin": True}, [HAIKU]),
        ("opus", {"feature_lines": ("haiku", "opus"), "pin": True}, [OPUS]),
        ("sonnet-snapshot", {}, ["sonnet-snapshot", HAIKU]),
        ("opus", {"lines": ALIASED}, [OPUS, "sonnet-snapshot", HAIKU]),
        (
            "auto",
            {"lines": {"opus": "sonnet-snapshot", "sonnet": SONNET}, "default": "opus"},
            ["sonnet-snapshot"],
        ),
        ("claude-sonnet-5", {}, ["claude-sonnet-5", HAIKU]),
        ("mythos", {}, [OPUS, SONNET, HAIKU]),
        ("opus", {"lines": {"haiku": HAIKU}}, [HAIKU]),
        ("opus", {"pin": True}, [OPUS]),
        ("auto", {"pin": True}, [SONNET]),
        ("claude-sonnet-5", {"pin": True}, ["claude-sonnet-5"]),
    ],
)
def test_candidates_in_order(asked, overrides, expected):
    """What is asked for, or stands for it, comes first; then every cheaper line of the policy."""
    assert models(asked, **overrides) == expected


def test_an_unknown_model_is_no_candidate():
    """A model that the price table does not know is refused, not tried."""
    with pytest.raises(UnknownModel):
        models("claude-nine")


@pytest.mark.parametrize(
    ("asked", "overrides", "match"),
    [
        ("opus", {"lines": {"haiku": HAIKU}}, "opus cannot be pinned: it is not among the policy's lines"),
        ("opus", {"feature_lines": ("haiku",)}, f"{OPUS} cannot be pinned: the feature may use haiku only"),
        ("claude-sonnet-5", {"feature_lines": ("haiku", "opus")}, "may use haiku, opus only"),
    ],
)
def test_a_pin_of_what_may_not_serve_is_refused(asked, overrides, match):
    """A pinned line without a model, or a pinned model outside the feature's lines, is a violation."""
    with pytest.raises(PolicyViolation, match=match):
        models(asked, pin=True, **overrides)


def test_a_candidate_knows_what_it_is_priced_as():
    """A model sent by an alias is counted under its id."""
    (first, _) = plan(
        "sonnet-snapshot",
        pin=False,
        lines=LINES,
        default="auto",
        preferred_line="sonnet",
        feature_lines=None,
        look_up=look_up,
    )
    assert (first.model, first.priced_as) == ("sonnet-snapshot", SONNET)


def test_each_candidate_says_why():
    """The first candidate's reason is how it was chosen, the others' that they are steps down."""
    chosen = plan(
        "auto",
        pin=False,
        lines=LINES,
        default="auto",
        preferred_line="sonnet",
        feature_lines=None,
        look_up=look_up,
    )
    assert [candidate.why for candidate in chosen] == ["the standard tier's line", "a step down"]


def test_the_ladder():
    """Lines rank by price, and a step down goes to the next cheaper line that the policy has."""
    assert [rank(line) for line in ("haiku", "sonnet", "opus", "fable", "mythos")] == [0, 1, 2, 3, 4]
    assert at_or_below("opus", {"haiku": 1, "fable": 1, "opus": 1}) == ["opus", "haiku"]
