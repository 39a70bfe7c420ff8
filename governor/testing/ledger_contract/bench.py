"""What the contract's tests work at: one ledger, one clock, and short words for the usual commands."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from governor.budgets import Unit, span_of, unit_of, window_at
from governor.ledger import commands as c

if TYPE_CHECKING:
    from governor.ledger import AsyncLedger, Ledger

R = TypeVar("R")

START_MS = int(datetime(2026, 11, 21, 12, 0, 30, tzinfo=UTC).timestamp()) * 1000
"""Where the tests' clock starts: half past noon's first minute, in the middle of a month."""

TTL_MS = 60_000
"""How long the tests' holds live unless they say otherwise."""


class SettableClock:
    """A clock that stands still until it is moved; give it to a store as its `clock`.

    Attributes:
        now_ms: Unix milliseconds.
    """

    def __init__(self, now_ms: int = START_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        """The time now, Unix milliseconds."""
        return self.now_ms

    def advance(self, milliseconds: int) -> int:
        """Move the clock on by *milliseconds*; return the new time."""
        self.now_ms += milliseconds
        return self.now_ms


class OnALoop:
    """An async ledger for blocking callers, on an event loop of its own; so each behaviour is written once.

    Args:
        ledger: The ledger; it is used on this loop only.
    """

    def __init__(self, ledger: AsyncLedger) -> None:
        self._ledger = ledger
        self._runner: asyncio.Runner | None = None

    def execute(self, command: c.Command[R]) -> R:
        """Carry out *command* and return its answer, or raise what the ledger raises."""
        self._runner = self._runner or asyncio.Runner()
        return self._runner.run(self._await(command))

    def close(self) -> None:
        """Close the ledger, then the loop; the next command opens both again."""
        if self._runner is not None:
            self._runner.run(self._close())
            self._runner.close()
            self._runner = None

    # Runner.run takes coroutines only, and a protocol's method may return any awaitable.
    async def _await(self, command: c.Command[R]) -> R:
        return await self._ledger.execute(command)

    async def _close(self) -> None:
        await self._ledger.close()


@dataclass(frozen=True, slots=True)
class Bench:
    """A ledger with its clock, and short words for the usual commands.

    Attributes:
        ledger: The store under test, for blocking callers.
        clock: The clock it was given.
    """

    ledger: Ledger
    clock: SettableClock

    def budget(self, identity: str, limit: int, *, steps: tuple[int, ...] = ()) -> c.BudgetRow:
        """The budget *identity*, for example `user=ada/usd/day`, in its window (UTC) of this moment."""
        period = span_of(identity)
        window = window_at(period, "UTC", self.clock.now_ms)
        return c.BudgetRow(
            identity,
            window.id,
            window.start_ms,
            window.end_ms,
            unit_of(identity),
            limit,
            steps,
            window.bucket_ms,
        )

    def reserve(
        self,
        identifier: str,
        *wants: tuple[c.BudgetRow, int],
        ttl_ms: int = TTL_MS,
        charge_on_expiry: bool = True,
    ) -> c.Held | c.Refused | c.WindowMoved | c.Reordered:
        """Ask for one candidate that needs these amounts of these budgets."""
        return self.ledger.execute(
            c.Reserve(
                id=identifier,
                budgets=tuple(budget for budget, _ in wants),
                candidates=(tuple(c.Ask(amount) for _, amount in wants),),
                ttl_ms=ttl_ms,
                charge_on_expiry=charge_on_expiry,
                record=f'{{"asked":"{identifier}"}}',
            )
        )

    def choose(
        self, identifier: str, budgets: tuple[c.BudgetRow, ...], *candidates: tuple[c.Ask | None, ...]
    ) -> c.Held | c.Refused | c.WindowMoved | c.Reordered:
        """Ask for the first of *candidates* that fits."""
        return self.ledger.execute(c.Reserve(identifier, budgets, candidates, TTL_MS))

    def settle(self, identifier: str, *spent: tuple[c.BudgetRow, int]) -> c.Closed:
        """Post these amounts to these budgets."""
        record = f'{{"settled":"{identifier}"}}'
        return self.ledger.execute(c.Settle(identifier, _postings(spent), record))

    def release(self, identifier: str, *kept: tuple[c.BudgetRow, int]) -> c.Closed:
        """Give back all but these amounts of these budgets."""
        record = f'{{"released":"{identifier}"}}'
        return self.ledger.execute(c.Release(identifier, _postings(kept), record))

    def spend(self, identifier: str, budget: c.BudgetRow, amount: int) -> c.Closed:
        """Hold *amount* and settle it."""
        self.reserve(identifier, (budget, amount))
        return self.settle(identifier, (budget, amount))

    def expire(self, *holds: tuple[str, tuple[c.BudgetRow, ...]]) -> c.Expired:
        """Ask for the end of these holds, each with the budgets it touches."""
        return self.ledger.execute(c.Expire(tuple(due_hold(hold, *budgets) for hold, budgets in holds)))

    def balance(self, budget: c.BudgetRow) -> c.Balance:
        """The balance of *budget* now."""
        return self.ledger.execute(c.Read((budget,))).balances[0]

    def amounts(self, *budgets: c.BudgetRow) -> list[tuple[int, int]]:
        """Posted and held of each budget now."""
        balances = self.ledger.execute(c.Read(budgets)).balances
        return [(balance.posted, balance.held) for balance in balances]


def due_hold(identifier: str, *budgets: c.BudgetRow) -> c.DueHold:
    """A hold as replies name it once its time is over."""
    return c.DueHold(identifier, tuple((budget.identity, budget.window) for budget in budgets))


def kept_when_given_back(*wants: tuple[c.BudgetRow, int]) -> tuple[tuple[c.BudgetRow, int], ...]:
    """What a release keeps of *wants*: the requests."""
    return tuple((budget, amount if budget.unit is Unit.REQUESTS else 0) for budget, amount in wants)


def _postings(amounts: tuple[tuple[c.BudgetRow, int], ...]) -> tuple[c.Posting, ...]:
    return tuple(c.Posting(budget, amount) for budget, amount in amounts)
