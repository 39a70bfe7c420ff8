"""Calls that the new policies refuse: by what, and whether falsely. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.rehearsal import flights
from governor.rehearsal.judging import POLICY
from governor.rehearsal.tally import Cause

if TYPE_CHECKING:
    from governor.journal.calls import Began
    from governor.rehearsal.balances import Account
    from governor.rehearsal.flights import BlockedBy
    from governor.rehearsal.judging import Judged
    from governor.rehearsal.tally import Found


class Blocks:
    """Counts blocks, and judges them when their window is over, or their call."""

    def __init__(self, found: Found) -> None:
        self._found = found
        self._blocking: set[Account] = set()

    def blame(self, call: Began, judged: Judged) -> tuple[Account, BlockedBy] | None:
        """Count what refused a call; whether falsely is known when the window is over, or the call is."""
        if judged.outcome == POLICY or judged.binding is None:
            self._found.cause(Cause(judged.refusal)).block(call.at_ms)
            return None
        cause, account = flights.cause(judged.seats[judged.binding].term), judged.accounts[judged.binding]
        self._found.cause(cause).block(call.at_ms)
        key = (*call.who[:2], cause)
        if account.bucket_ms:
            return account, key
        if account.blocks is None:
            account.blocks = {}
        account.blocks[key] = account.blocks.get(key, 0) + 1
        self._blocking.add(account)
        return None

    def let_go(self, account: Account) -> None:
        """A call that touched an account is over."""
        account.open -= 1
        if account.over and not account.open and account.blocks:
            self._judge(account)

    def window_over(self, account: Account) -> None:
        """Judge the blocks of a window that is over, if no call in it is in flight."""
        if account.blocks and not account.open:
            self._judge(account)

    def end(self) -> None:
        """Judge what waits for the end of its window."""
        for account in [*self._blocking]:
            self._judge(account)

    def count_false(self, blocked: BlockedBy, count: int) -> None:
        """Count blocks whose window had room for all that was really spent."""
        department, user, cause = blocked
        self._found.person(department, user).false_blocks += count
        self._found.cause(cause).false_blocks += count

    def _judge(self, account: Account) -> None:
        """Blocks of a window are false where all that was really spent in it fits the limit."""
        if account.real <= account.limit:
            for blocked, count in (account.blocks or {}).items():
                self.count_false(blocked, count)
        account.blocks = None
        self._blocking.discard(account)
