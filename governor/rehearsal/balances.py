"""Balances of a back-test: what each window of a budget has spent, in the replay and in truth. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.budgets import ROLLING_BUCKETS, window_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.policy import BudgetTerm


class Account:
    """One window of a budget: all that `governor.ledger.commands.Balance` has, and more.

    Attributes:
        id: The window's id.
        start_ms: First millisecond of it, Unix time.
        end_ms: First millisecond after it; 0: it never ends.
        limit: In force when it was last asked for; what was granted is in it.
        posted: Spent under the new policies; of a rolling window what still counts.
        held: Promised to calls in flight, under the new policies.
        real: What the calls really spent.
        open: Calls in flight that will post to it.
        over: Whether the next window has begun.
        fresh: Whether it has not been asked for yet.
        frozen: As a balance has it; always `None`: of a frozen one a copy is judged.
        frees_ms: As a balance has it; nothing here asks for it.
        blocks: Who was refused by it, and how often, to be judged when the window is over.
    """

    __slots__ = (
        "_real_by",
        "_slot",
        "_spent_by",
        "blocks",
        "bucket_ms",
        "end_ms",
        "frees_ms",
        "fresh",
        "frozen",
        "held",
        "id",
        "limit",
        "open",
        "over",
        "posted",
        "real",
        "start_ms",
    )

    def __init__(self, name: str, start_ms: int, end_ms: int, bucket_ms: int) -> None:
        self.id, self.start_ms, self.end_ms, self.bucket_ms = name, start_ms, end_ms, bucket_ms
        self.limit = self.posted = self.held = self.real = self.open = 0
        self.over, self.fresh = False, True
        self.frozen, self.frees_ms = None, 0
        self.blocks: dict[Any, int] | None = None
        self._slot = 0
        self._spent_by: dict[int, int] | None = {} if bucket_ms else None
        self._real_by: dict[int, int] | None = {} if bucket_ms else None

    def post(self, amount: int, at_ms: int) -> None:
        """Spend *amount* in the replay, of a call that was reserved at an instant."""
        if self._spent_by is not None and not self._add(self._spent_by, amount, at_ms):
            return
        self.posted += amount

    def post_real(self, amount: int, at_ms: int) -> None:
        """Note what was really spent, likewise."""
        if self._real_by is not None and not self._add(self._real_by, amount, at_ms):
            return
        self.real += amount

    def roll(self, at_ms: int) -> None:
        """Forget what has left a rolling window by an instant."""
        slot = at_ms // self.bucket_ms
        if slot <= self._slot or self._spent_by is None or self._real_by is None:
            return
        self._slot = slot
        self.posted -= _forgotten(self._spent_by, slot)
        self.real -= _forgotten(self._real_by, slot)

    def _add(self, by: dict[int, int], amount: int, at_ms: int) -> bool:
        slot = at_ms // self.bucket_ms
        if slot < self._slot - ROLLING_BUCKETS:
            return False
        by[slot] = by.get(slot, 0) + amount
        return True


def _forgotten(by: dict[int, int], slot: int) -> int:
    """Take the buckets out that no longer count; returns what was in them."""
    return sum(by.pop(old) for old in [one for one in by if one < slot - ROLLING_BUCKETS])


class Place:
    """A budget of one user, feature, …: the account of its current window.

    Args:
        term: The budget, as some request touches it.
        ended: Told of an account whose window is over.
    """

    __slots__ = ("_account", "_ended", "_period", "_timezone")

    def __init__(self, term: BudgetTerm, ended: Callable[[Account], None]) -> None:
        self._period, self._timezone = term.period, term.timezone
        self._account: Account | None = None
        self._ended = ended

    @property
    def known(self) -> Account | None:
        """The account, if there is one yet."""
        return self._account

    def at(self, at_ms: int) -> Account:
        """The account of the window that holds an instant."""
        account = self._account
        if account is not None and (not account.end_ms or at_ms < account.end_ms):
            if account.bucket_ms:
                account.roll(at_ms)
            return account
        window = window_at(self._period, self._timezone, at_ms)
        if account is not None:
            account.over = True
            self._ended(account)
        self._account = account = Account(window.id, window.start_ms, window.end_ms, window.bucket_ms)
        return account
