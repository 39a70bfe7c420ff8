"""Value routing: the best line that is worth it, else the one that returns the most."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.routing.value import best

LINES = ("haiku", "sonnet", "opus")
QUALITY = {"haiku": 60, "sonnet": 85, "opus": 95}
COST = {"haiku": 100_000, "sonnet": 3_100_000, "opus": 40_000_000}
HALF_A_DOLLAR = 500_000_000

PERCENT = st.integers(0, 100)
NANOS = st.integers(0, 10**16)


@pytest.mark.parametrize(
    ("at_least", "line", "reason"),
    [
        (11, "opus", "worth it: $0.50 × 95 % ÷ $0.04 = 11"),  # noqa: RUF001
        (12, "sonnet", "worth it: $0.50 × 85 % ÷ $0.0031 = 137"),  # noqa: RUF001
        (137, "sonnet", "worth it: $0.50 × 85 % ÷ $0.0031 = 137"),  # noqa: RUF001
        (138, "haiku", "worth it: $0.50 × 60 % ÷ $0.0001 = 3000"),  # noqa: RUF001
        (3_001, "haiku", "none returns 3001, the most does $0.50 × 60 % ÷ $0.0001 = 3000"),  # noqa: RUF001
    ],
)
def test_the_best_line_that_is_worth_it(at_least, line, reason):
    """The higher the return that is wanted, the cheaper the line; the reason shows the sum."""
    assert best(LINES, QUALITY, COST, HALF_A_DOLLAR, at_least) == (line, reason)


def test_of_equals_the_cheaper_then_the_first():
    """Equal quality or equal return: what costs less; where that is equal too, the order decides."""
    assert best(("a", "b"), {"a": 90, "b": 90}, {"a": 2, "b": 1}, 10**9, 1)[0] == "b"
    assert best(("a", "b"), {"a": 90, "b": 90}, {"a": 1, "b": 1}, 10**9, 1)[0] == "a"
    assert best(("a", "b"), {"a": 80, "b": 40}, {"a": 20, "b": 10}, 1, 10**9)[0] == "b"
    assert best(("a", "b"), {"a": 80, "b": 80}, {"a": 9, "b": 9}, 1, 10**9)[0] == "a"
    assert best(("a", "b"), {"a": 80, "b": 40}, {"a": 20, "b": 10}, 0, 1)[0] == "b"


def test_what_costs_nothing_divides_nothing():
    """A cost of 0 is reckoned as one nano-dollar."""
    line, reason = best(("a",), {"a": 50}, {"a": 0}, 4, 2)
    assert (line, reason.partition("÷")[2]) == ("a", " $0.000000001 = 2")


@pytest.mark.parametrize(
    ("lines", "quality", "cost", "value"),
    [
        ((), {}, {}, 1),
        (("a",), {}, {"a": 1}, 1),
        (("a",), {"a": 1}, {}, 1),
        (("a",), {"a": -1}, {"a": 1}, 1),
        (("a",), {"a": 1}, {"a": -1}, 1),
        (("a",), {"a": 1}, {"a": 1}, -1),
    ],
    ids=["no line", "no quality", "no cost", "quality below 0", "cost below 0", "value below 0"],
)
def test_what_cannot_be_weighed_is_refused(lines, quality, cost, value):
    """A missing line, quality or cost, and a negative amount."""
    with pytest.raises(ValueError, match=r"value routing needs|lacks its|must be at least 0"):
        best(lines, quality, cost, value, 1)


@given(st.lists(st.tuples(PERCENT, NANOS), min_size=1, max_size=5), NANOS, st.integers(0, 10_000))
def test_it_agrees_with_exact_fractions(amounts, value, at_least):
    """Against the same rule said with fractions: no digit is lost at any size."""
    names = [f"line{index}" for index in range(len(amounts))]
    quality = {name: percent for name, (percent, _) in zip(names, amounts, strict=True)}
    cost = {name: nanos for name, (_, nanos) in zip(names, amounts, strict=True)}
    returns = {name: Fraction(value * quality[name], 100 * max(cost[name], 1)) for name in names}
    worth = [name for name in names if returns[name] >= at_least]
    spent = {name: max(cost[name], 1) for name in names}
    if worth:
        expected = max(worth, key=lambda name: (quality[name], -spent[name]))
    else:
        expected = max(names, key=lambda name: (returns[name], -spent[name]))
    line, reason = best(names, quality, cost, value, at_least)
    assert line == expected
    assert reason.startswith("worth it: " if worth else f"none returns {at_least}, ")
