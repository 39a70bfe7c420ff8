"""Candidates: the preferred model first, then each step down the ladder; a pin has one."""

from __future__ import annotations

import pytest
from support.governed import HAIKU, LINES, OPUS, SONNET

from governor.errors import UnknownModel
from governor.routing import at_or_below, plan, rank

LINE_OF = {model: line for line, model in LINES.items()} | {"claude-sonnet-5": "sonnet"}


def line_of(model):
    """The line of a model, as the price table would say."""
    if model not in LINE_OF:
        raise UnknownModel(model)
    return LINE_OF[model]


def models(asked, **overrides):
    """The candidates' models for one request."""
    chosen = {
        "pin": False,
        "lines": LINES,
        "default": "auto",
        "preferred_line": "sonnet",
        "feature_lines": None,
        "line_of": line_of,
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
        ("opus", {"feature_lines": ("haiku",)}, [OPUS, SONNET, HAIKU]),
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


def test_each_candidate_says_why():
    """The first candidate's reason is how it was chosen, the others' that they are steps down."""
    chosen = plan(
        "auto",
        pin=False,
        lines=LINES,
        default="auto",
        preferred_line="sonnet",
        feature_lines=None,
        line_of=line_of,
    )
    assert [candidate.why for candidate in chosen] == ["the standard tier's line", "a step down"]


def test_the_ladder():
    """Lines rank by price, and a step down goes to the next cheaper line that the policy has."""
    assert [rank(line) for line in ("haiku", "sonnet", "opus", "fable", "mythos")] == [0, 1, 2, 3, 4]
    assert at_or_below("opus", {"haiku": 1, "fable": 1, "opus": 1}) == ["opus", "haiku"]
