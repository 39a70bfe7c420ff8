"""Ledgers with one bug each, of those that ledgers are known for: what a simulation must find."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from governor.ledger import admission
from governor.ledger import commands as c
from support.memory_ledger import Hold, MemoryLedger

if TYPE_CHECKING:
    from collections.abc import Callable


class ChecksThenActs(MemoryLedger):
    """Reads the balances when a command is sent, and holds on them when it arrives."""

    def __init__(self, clock: Callable[[], int]) -> None:
        super().__init__(clock)
        self._seen: dict[c.Reserve, tuple[c.Balance, ...]] = {}

    def look(self, command: c.Command[Any]) -> None:
        """The check."""
        if isinstance(command, c.Reserve):
            self._now_ms = self._clock()
            self._seen[command] = self._balances(command.budgets)

    def _decide(self, command: c.Reserve, balances: tuple[c.Balance, ...]) -> admission.Decision:
        return super()._decide(command, self._seen.get(command, balances))


class SettlesTwice(MemoryLedger):
    """Posts a repeated settlement once more."""

    def _again(self, command: c.Settle | c.Release, hold: Hold) -> c.Closed:
        for posting in command.postings:
            self._post(self._line(posting.budget), posted=posting.amount, held=0)
        return super()._again(command, hold)


class LeaksExpired(MemoryLedger):
    """Charges an expired hold and goes on holding it."""

    def _freed(self, amount: int) -> int:
        return 0


class ChargesLateTwice(MemoryLedger):
    """Posts a late settlement beside the charge that the expiry made."""

    def _adjusted(self, amount: int, charge: int) -> int:
        return amount


class TellsAgain(MemoryLedger):
    """Forgets which thresholds it has reported."""

    def _crossed(
        self, crossed: frozenset[int], before: int, posted: int, limit: int, row: c.BudgetRow
    ) -> tuple[frozenset[int], list[int]]:
        _, fired = super()._crossed(crossed, before, posted, limit, row)
        return frozenset(), fired


class RefusesBursts(MemoryLedger):
    """Judges thresholds by what is held too, so that a burst of calls is refused while there is money."""

    def _decide(self, command: c.Reserve, balances: tuple[c.Balance, ...]) -> admission.Decision:
        spent = tuple(replace(b, posted=b.posted + b.held, held=0) for b in balances)
        return super()._decide(command, spent)
