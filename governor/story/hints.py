"""What the ledger last said of each budget: a hint for planning, never for enforcement."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.budgets import Unit
from governor.ledger import admission

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.ledger.commands import Ask, Balance, BudgetRow
    from governor.story.matrix import Matrix

MOST_HINTS = 10_000
OLDEST_MS = 10_000
"""What was heard longer ago says nothing: other processes may have spent since."""
OLDEST_TO_CHOOSE_MS = 60_000
"""A tier is chosen by what was heard within a minute; marks are judged by the ledger all the same."""
_MEASURED = (Unit.USD, Unit.TOKENS)


class Hints:
    """Balances by budget and window, each as the last reply that named it said, and when."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[Balance, int]] = {}

    def note(self, rows: Sequence[BudgetRow], balances: Sequence[Balance], now_ms: int) -> None:
        """Take a reply's word for its budgets; *now_ms* is the ledger's time of it."""
        if len(self._known) > MOST_HINTS:
            self._known.clear()
        for row, balance in zip(rows, balances, strict=False):
            self._known[row.identity, row.window] = (balance, now_ms)

    def heard(self) -> list[tuple[str, Balance, int]]:
        """Every budget's identity, its balance as it was last heard, and when, Unix milliseconds."""
        known = list(self._known.items())
        return [(identity, balance, at_ms) for (identity, _), (balance, at_ms) in known]

    def balances(
        self, refs: Sequence[tuple[str, str]], now_ms: int, oldest_ms: int | None = OLDEST_TO_CHOOSE_MS
    ) -> tuple[tuple[Balance, ...], int] | None:
        """What is known of budgets, to choose by, and how old the oldest of it is in milliseconds.

        *refs* are their identities, each with the id of its window.

        `None` if any of it is not known, or was heard longer ago than *oldest_ms* (`None`: no matter when).
        """
        known = [heard for ref in refs if (heard := self._known.get(ref)) is not None]
        if len(known) < len(refs):
            return None
        age_ms = max((now_ms - at_ms for _, at_ms in known), default=0)
        if oldest_ms is not None and age_ms > oldest_ms:
            return None
        return tuple(balance for balance, _ in known), max(age_ms, 0)

    def share_of_tightest(self, table: Matrix, now_ms: int) -> tuple[int, int] | None:
        """How much of the tightest budget the first candidate would hold, by what is known.

        The tightest is the usd or tokens budget of which the candidate would take the largest share: of what
        is neither spent nor held below its limit, and of what is not spent below its line's mark.

        Args:
            table: What the ledger would be asked with.
            now_ms: The ledger's time, Unix milliseconds.

        Returns:
            The share in basis points (10,000 and more: it would not fit) and when the oldest of the hints it
            rests on was heard, Unix milliseconds; `None` if any such budget is not known or was heard of
            longer ago than `OLDEST_MS`, or there is none.
        """
        shares, heard = [], []
        for row, ask in zip(table.rows, table.asks[0], strict=True):
            if ask is None or not ask.enforced or row.unit not in _MEASURED:
                continue
            known = self._known.get((row.identity, row.window))
            if known is None or now_ms - known[1] > OLDEST_MS:
                return None
            shares.append(_share_bp(ask, known[0]))
            heard.append(known[1])
        return (max(shares), min(heard)) if shares else None


def _share_bp(ask: Ask, balance: Balance) -> int:
    below_mark = admission.cap(balance.limit, ask) - balance.posted
    free = min(below_mark, balance.limit - balance.posted - balance.held)
    return 10_000 if free <= 0 else -(-ask.amount * 10_000 // free)
