"""Every error the governor raises.

    GovernorError
    ├── BudgetExceeded        the money is spent; waiting for holds would not help
    ├── BudgetContended       the money is held by calls in flight; try again in `retry_after`
    ├── PolicyViolation       the policy forbids this request, whatever the balances
    ├── PolicyError           a policy, users or price file is malformed
    ├── UnknownModel          a model without a price
    ├── LedgerUnavailable     the ledger cannot be reached, is full, or was never created
    │   └── LedgerDown        the first two: it may come back by itself
    └── ReservationConflict   an id was used again with another payload

None of them is an error that the Anthropic SDK or tenacity's defaults retry.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


class GovernorError(Exception):
    """The base of every error raised by the governor."""


class BudgetExceeded(GovernorError):  # noqa: N818 - the public name is fixed by the design
    """No model this request may use fits what is left of its budgets.

    Attributes:
        decision: The whole decision: every budget's numbers and every candidate tried.
        budget: The binding budget (identity, limit, posted, held, in the budget's unit).
        resets_at: When the binding budget's window ends, or spend first leaves its rolling one; `None` where
            neither helps.
        affordable_max_tokens: The largest `max_tokens` that would pass now, or `None`.
        cheapest_model: The cheapest model that would pass now, or `None`.
    """

    def __init__(
        self,
        message: str,
        *,
        decision: Any = None,
        budget: Any = None,
        resets_at: datetime | None = None,
        affordable_max_tokens: int | None = None,
        cheapest_model: str | None = None,
    ) -> None:
        super().__init__(message)
        self.decision = decision
        self.budget = budget
        self.resets_at = resets_at
        self.affordable_max_tokens = affordable_max_tokens
        self.cheapest_model = cheapest_model


class BudgetContended(GovernorError):  # noqa: N818 - the public name is fixed by the design
    """The request would fit once calls in flight settle, or once a short window reopens.

    Attributes:
        retry_after: Seconds after which trying again is worthwhile.
        decision: The whole decision, as in `BudgetExceeded`.
        budget: The budget that is held, as in `BudgetExceeded`.
    """

    def __init__(
        self, message: str, *, retry_after: float = 0.0, decision: Any = None, budget: Any = None
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.decision = decision
        self.budget = budget


class MoneySpent(GovernorError):  # noqa: N818 - as the others
    """What was held for an answer, or what its run may spend, is used up: its caller wanted it to end then.

    It ends a stream in good order: it stands in the journal and in `Stream.stopped`, and is not raised.
    """


class Deferred(GovernorError):  # noqa: N818 - a word beside the others, none of which ends in Error
    """The request can wait, and the policy offers it the Batches API now; nothing was held or sent.

    Attributes:
        item: What `messages.batches.create(requests=[…])` takes: `custom_id` and `params`.
        ceiling: The most it can cost there.
        ceiling_now: The most it could cost if it were sent at once.
    """

    def __init__(
        self,
        message: str,
        *,
        item: dict[str, Any] | None = None,
        ceiling: Any = None,
        ceiling_now: Any = None,
    ) -> None:
        super().__init__(message)
        self.item = item
        self.ceiling = ceiling
        self.ceiling_now = ceiling_now


class PolicyViolation(GovernorError):  # noqa: N818 - the public name is fixed by the design
    """The policy forbids this request, whatever the balances: too large, unbounded, or by nobody it knows."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a file, and where.

    Attributes:
        file: The file, as it was named to the loader.
        line: Line, counted from 1; 0 where the problem has no place of its own.
        column: Column, counted from 1; 0 likewise.
        message: What is wrong.
        hint: What to do, for example the nearest known name; may be empty.
    """

    file: str
    line: int
    column: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{place}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class PolicyError(GovernorError):
    """A policy, users or price file is malformed; nothing of it was taken.

    Attributes:
        problems: Every problem found, in the order of the file.
        file: File of the first problem; likewise `line`, `column` (from 1) and `hint`.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))
        first = self.problems[0]
        self.file, self.line, self.column, self.hint = first.file, first.line, first.column, first.hint

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.problems,))


class UnknownModel(GovernorError):  # noqa: N818 - the public name is fixed by the design
    """A model or a billable unit without a price. It is refused, never priced at zero."""


class LedgerUnavailable(GovernorError):  # noqa: N818 - the public name is fixed by the design
    """The ledger cannot be reached, is full, is read-only, or was never created as a ledger."""


class LedgerDown(LedgerUnavailable):
    """The ledger cannot be reached, is full or gives no answer: only of this does `if_ledger_is_down` speak.

    A store that was emptied or never created, of another schema or organisation, that evicts, or that refuses
    this user is never taken for an outage: what it would allow is unknown, not late.
    """


class ReservationConflict(GovernorError):  # noqa: N818 - the public name is fixed by the design
    """An id was used again with another payload, or a hold was ended in two different ways."""


MOST_NAMED = 12
"""Of more known names, a hint names so many and counts the rest."""


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint that names what was probably meant: `did you mean 'month'?`, or the known names."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return f"known: {', '.join(names[:MOST_NAMED])}{more}" if names else ""
