"""Balances that somebody gives: nothing, or what a ledger says, and over it what is said to be spent."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from governor.budgets import Unit
from governor.ledger.commands import Balance
from governor.rehearsal.keys import KeyRefused, amounts, find

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from governor.ledger.commands import BudgetRow
    from governor.rehearsal.keys import Amount


def untouched(rows: Sequence[BudgetRow]) -> list[Balance]:
    """Balances of which nothing is spent, with the files' limits."""
    return [Balance(0, 0, row.limit) for row in rows]


@dataclass(frozen=True, slots=True)
class Given:
    """Reads balances, as `Stage.explain` asks for them.

    Attributes:
        spent: Key (see `governor.rehearsal.keys`) to what is spent, over what *base* says; likewise *held*.
        base: What the balances are otherwise.
    """

    spent: Mapping[str, Amount] = field(default_factory=dict)
    held: Mapping[str, Amount] = field(default_factory=dict)
    base: Callable[[Sequence[BudgetRow]], Sequence[Balance]] = untouched

    def some(self, rows: Sequence[BudgetRow]) -> list[Balance]:
        """The balances of *rows*, a part of what the request touches: keys of the others are passed over."""
        identities = [row.identity for row in rows]
        return Given(_of(self.spent, identities), _of(self.held, identities), self.base)(rows)

    def __call__(self, rows: Sequence[BudgetRow]) -> list[Balance]:
        """The balances of *rows*, in their order.

        Raises:
            KeyRefused: A key means none of them, or several; or an amount is none.
        """
        found = list(self.base(rows))
        limits = [balance.limit for balance in found]
        _refuse_spent_calls(self.spent, rows)
        spent, held = amounts(self.spent, rows, limits), amounts(self.held, rows, limits)
        return [
            replace(
                balance,
                posted=spent.get(row.identity, balance.posted),
                held=held.get(row.identity, balance.held),
            )
            for row, balance in zip(rows, found, strict=True)
        ]


def _of(written: Mapping[str, Amount], identities: Sequence[str]) -> dict[str, Amount]:
    """What is written of these budgets."""
    found = {}
    for key, amount in written.items():
        with suppress(KeyRefused):
            find(key, identities)
            found[key] = amount
    return found


def _refuse_spent_calls(spent: Mapping[str, Amount], rows: Sequence[BudgetRow]) -> None:
    identities = [row.identity for row in rows]
    units = {row.identity: row.unit for row in rows}
    for key in spent:
        if units[find(key, identities)] is Unit.CONCURRENT:
            raise KeyRefused(
                key, f"{key!r} counts calls in flight, which are held and never spent", "use held"
            )
