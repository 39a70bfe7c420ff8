"""Money is exact: integers of nano-dollars, refused rather than rounded, printed without losing a digit."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor import Money
from governor.money import MAX_NANOS, ceil_nanos


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (1_234_500_000_000, "$1,234.50"),
        (-50_000_000, "-$0.05"),
        (123_000, "$0.000123"),
        (MAX_NANOS, "$9,000,000.00"),
    ],
)
def test_money_prints_as_dollars(nanos, text):
    """At least two decimals, commas by thousands, and as many digits as there are."""
    assert str(Money(nanos)) == text


@given(st.integers(-MAX_NANOS, MAX_NANOS))
def test_what_is_printed_is_what_it_was(nanos):
    """Reading the printed dollars back gives the same nano-dollars."""
    assert Money.from_dollars(str(Money(nanos)).replace("$", "").replace(",", "")) == Money(nanos)


@given(st.integers(-MAX_NANOS, MAX_NANOS), st.integers(-MAX_NANOS, MAX_NANOS))
def test_sums_are_exact(one, other):
    """Adding and subtracting is the integers' own; order follows the amount."""
    assert (Money(one) + Money(other)).nanos == one + other
    assert (Money(one) - Money(other)).nanos == one - other
    assert (Money(one) < Money(other)) == (one < other)


@pytest.mark.parametrize("dollars", [Decimal("0.05"), "0.05", "5e-2"])
def test_dollars_are_taken_exactly(dollars):
    """Decimals and their texts become nano-dollars without a float in between."""
    assert Money.from_dollars(dollars) == Money(50_000_000)


@pytest.mark.parametrize(
    ("dollars", "why"),
    [
        ("ten", "is not a number of dollars"),
        ("NaN", "is not a finite number of dollars"),
        (Decimal("Infinity"), "is not a finite number of dollars"),
        ("0.0000000001", "is finer than one nano-dollar"),
        ("1e19", "is more money than there is"),
    ],
)
def test_what_nano_dollars_cannot_hold_is_refused(dollars, why):
    """No number, no finite number, or too fine a one: refused with the reason."""
    with pytest.raises(ValueError, match=why):
        Money.from_dollars(dollars)


@given(st.integers(0, 10**30), st.integers(1, 10**12))
def test_the_one_rounding_goes_up(amount, unit):
    """Rounding gives the smallest integer that is not below the exact amount, itself an integer."""
    rounded = ceil_nanos(amount, unit)
    assert type(rounded) is int
    assert amount <= rounded * unit < amount + unit


@given(st.integers(0, 10**30))
def test_whole_nano_dollars_are_left_as_they_are(nanos):
    """An amount in nano-dollars, or in parts that make whole ones, is not rounded."""
    assert nanos == ceil_nanos(nanos) == ceil_nanos(nanos * 400, 400)


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20), st.integers(1, 1_000))
def test_rounding_once_never_costs_more_than_rounding_each(parts, unit):
    """The sum rounded once is at most the sum of the rounded, and less than one nano-dollar above exact."""
    once, each = ceil_nanos(sum(parts), unit), sum(ceil_nanos(part, unit) for part in parts)
    assert Fraction(sum(parts), unit) <= once <= each < Fraction(sum(parts), unit) + len(parts)


@pytest.mark.parametrize(
    ("amount", "unit", "nanos"),
    [(0, 7, 0), (1, 7, 1), (7, 7, 1), (8, 7, 2), (11, 2, 6), (2**80 + 1, 2, 2**79 + 1)],
)
def test_rounding_by_hand(amount, unit, nanos):
    """Nothing stays nothing; the smallest part of a nano-dollar is a whole one, beyond a float's digits."""
    assert ceil_nanos(amount, unit) == nanos


def test_a_limit_fits_a_lua_number():
    """The largest limit stays below the first integer that a Lua number cannot hold."""
    assert MAX_NANOS < 2**53
