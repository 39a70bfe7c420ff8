"""Leases: slices of budgets that a process holds while the ledger is there, to live on while it is away.

A lease is an ordinary hold, of the same amount on each usd budget of the organisation and of the department,
for a call takes the same dollars of all of them. While the ledger is away, calls draw on it: each takes its
ceiling, and leaves what it cost. What a lease bore is told to the ledger as the calls' own settles; then the
lease itself is released.
"""

from __future__ import annotations

from collections import deque
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.budgets import Unit
from governor.ledger.admission import mark
from governor.ledger.commands import Posting, Release

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from governor.ledger.commands import Balance, BudgetRow
    from governor.story.matrix import Matrix

SHARE_BP = 100
"""The most that one process leases of a budget: 1 % of its limit."""

CALLS = 20
"""A lease bears so many calls like the dearest of the last so many."""

FULLEST_BP = 9_000
"""No lease is above 90 % of a budget, so that the last tenth is there for whoever asks."""

TTL_MS = 300_000
"""Time to live of a lease; a call that finds less than half of it left extends it."""


@dataclass(slots=True)
class Lease:
    """A slice of some budgets.

    Attributes:
        id: Of its hold.
        department: Whose calls may draw on it.
        rows: The budgets, in the windows it was opened in.
        amount: Nano-dollars, of each of them.
        record: Of its taking and giving back, JSON.
        expires_ms: When its hold expires, by the ledger's clock; it is charged then, so it still bears calls.
        held: Drawn by calls in flight.
        posted: Spent by calls that have ended.
    """

    id: str
    department: str
    rows: tuple[BudgetRow, ...]
    amount: int
    record: str = "{}"
    expires_ms: int = 0
    held: int = 0
    posted: int = 0

    @property
    def left(self) -> int:
        """What calls may still draw; below 0 after an overrun."""
        return self.amount - self.held - self.posted

    def ending(self) -> Release:
        """The command that gives all of it back, also where it has expired and was charged."""
        return Release(self.id, tuple(Posting(row, 0) for row in self.rows), self.record)


@dataclass(frozen=True, slots=True)
class Draw:
    """What one call took of a lease, in nano-dollars."""

    lease: Lease
    nanos: int


class Leases:
    """The leases of one process, by department.

    Args:
        lock: Makes a lock where several threads draw; none is needed where one thread drives.
    """

    def __init__(self, lock: Callable[[], AbstractContextManager[object]] = nullcontext) -> None:
        self._new_lock = lock
        self.forget()

    def forget(self) -> None:
        """Begin anew without any lease: a forked child has none of its parent's."""
        self._lock = self._new_lock()
        self._leases: dict[str, Lease] = {}
        self._ceilings: dict[str, deque[int]] = {}
        self._busy: set[str] = set()

    def of(self, department: str) -> Lease | None:
        """The department's lease, if there is one."""
        return self._leases.get(department)

    def departments(self) -> tuple[str, ...]:
        """Those that have a lease."""
        return tuple(self._leases)

    def put(self, lease: Lease) -> None:
        """Live on *lease* from now on."""
        self._leases[lease.department] = lease

    def take_out(self, department: str) -> Lease | None:
        """Stop living on the department's lease, and return it."""
        return self._leases.pop(department, None)

    def begin(self, department: str) -> bool:
        """Whether nobody else is taking, extending or giving back the department's lease now."""
        with self._lock:
            free = department not in self._busy
            self._busy.add(department)
            return free

    def done(self, department: str) -> None:
        """Let the next one have it."""
        self._busy.discard(department)

    def saw(self, department: str, nanos: int) -> None:
        """Take note of a call's ceiling: leases are as large as calls are dear."""
        self._ceilings.setdefault(department, deque(maxlen=CALLS)).append(nanos)

    def wanted(self, department: str, balances: Sequence[Balance]) -> int:
        """How much to lease of budgets with these balances, in nano-dollars; 0 where it would bear no call.

        The least of: 1 % of each limit; half of what each has left below 90 %, held counted like posted
        (half, so that it need not be given back at the next call); twenty of the dearest recent calls.
        """
        dearest = max(tuple(self._ceilings.get(department, ())), default=0)
        shares = [mark(balance.limit, SHARE_BP) for balance in balances]
        most = min([CALLS * dearest, *shares, *(room(balance) // 2 for balance in balances)])
        return most if most >= dearest > 0 else 0

    def draw(self, department: str, rows: Sequence[BudgetRow], nanos: int) -> Draw | None:
        """Take *nanos* of the department's lease; `None` where too little is left, or of other windows."""
        with self._lock:
            lease = self._leases.get(department)
            if lease is None or not same_windows(lease.rows, rows) or nanos > lease.left:
                return None
            lease.held += nanos
            return Draw(lease, nanos)

    def end(self, draw: Draw, nanos: int) -> None:
        """A call that drew on a lease has ended, and cost *nanos*."""
        with self._lock:
            draw.lease.held -= draw.nanos
            draw.lease.posted += nanos


def room(balance: Balance) -> int:
    """What is free of a budget below 90 %, in nano-dollars; 0 or less where a lease must not be."""
    if balance.frozen is not None:
        return 0
    return mark(balance.limit, FULLEST_BP) - balance.posted - balance.held


def leased_rows(table: Matrix) -> tuple[BudgetRow, ...]:
    """The usd budgets that every request of the department touches and that may refuse it."""
    pairs = zip(table.terms, table.rows, strict=True)
    return tuple(
        row
        for term, row in pairs
        if term.unit is Unit.USD and term.scope in ("organization", "department") and not term.shadow
    )


def same_windows(one: Sequence[BudgetRow], other: Sequence[BudgetRow]) -> bool:
    """Whether two lists name the same budgets in the same windows."""
    return [(row.identity, row.window) for row in one] == [(row.identity, row.window) for row in other]
