"""Money is an integer of nano-dollars (1e-9 USD); this file holds its only rounding."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction

NANOS_PER_DOLLAR = 1_000_000_000
MAX_NANOS = 9_000_000 * NANOS_PER_DOLLAR
"""The largest limit: below 2**53 nano-dollars, beyond which a Lua number loses digits."""

_MOST_DIGITS = 18


@dataclass(frozen=True, slots=True, order=True)
class Money:
    """An amount of US dollars, exact.

    Attributes:
        nanos: The amount in nano-dollars (1e-9 USD), an `int`; may be negative.
    """

    nanos: int

    @classmethod
    def from_dollars(cls, dollars: Decimal | int | str) -> Money:
        """Make money from a number of dollars, refusing what nano-dollars cannot hold exactly.

        Args:
            dollars: For example `Decimal("0.05")`, `50` or `"1500"`.

        Raises:
            ValueError: *dollars* is not a finite number, or is finer than one nano-dollar.
        """
        try:
            amount = Decimal(dollars)
        except InvalidOperation:
            raise ValueError(f"{dollars!r} is not a number of dollars") from None
        if not amount.is_finite():
            raise ValueError(f"{dollars} is not a finite number of dollars")
        if amount.adjusted() > _MOST_DIGITS:
            raise ValueError(f"{dollars} dollars is more money than there is")
        nanos = Fraction(amount) * NANOS_PER_DOLLAR
        if nanos.denominator != 1:
            raise ValueError(f"{dollars} dollars is finer than one nano-dollar")
        return cls(nanos.numerator)

    def __str__(self) -> str:
        """Dollars with at least two decimals and no digit lost: `$1,234.50`, `$0.000123`."""
        sign = "-" if self.nanos < 0 else ""
        whole, rest = divmod(abs(self.nanos), NANOS_PER_DOLLAR)
        cents = f"{rest:09d}".rstrip("0").ljust(2, "0")
        return f"{sign}${whole:,}.{cents}"

    def __add__(self, other: Money) -> Money:
        return Money(self.nanos + other.nanos)

    def __sub__(self, other: Money) -> Money:
        return Money(self.nanos - other.nanos)


def ceil_nanos(amount: int, unit: int = 1) -> int:
    """Round an exact amount up to whole nano-dollars: once per request, here and nowhere else.

    Args:
        amount: The amount, in parts of a nano-dollar.
        unit: How many parts are one nano-dollar, at least 1.
    """
    return -(-amount // unit)
