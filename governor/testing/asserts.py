"""Assertions for tests of policies: what was spent, and by which model a call was served."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from governor.budgets import Period, period_of
from governor.money import Money
from governor.story.decision import Decision, Receipt
from governor.testing.books import Scope, books_of, listing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from decimal import Decimal

    from governor.budgets import Rolling
    from governor.clients.aio import AsyncGovernor
    from governor.clients.governor import Governor
    from governor.clients.request import Message
    from governor.ledger import AsyncLedger, Ledger

    Dollars = Money | Decimal | int | str


def assert_spent(
    where: Governor | AsyncGovernor | Ledger | AsyncLedger,
    usd: Dollars | None = None,
    *,
    nanos: int | None = None,
    at_least: Dollars | None = None,
    at_most: Dollars | None = None,
    department: str | None = None,
    user: str | None = None,
    feature: str | None = None,
    run: str | None = None,
    model: str | None = None,
    tags: Mapping[str, str] | None = None,
    window: str | None = None,
) -> None:
    """Assert what is posted, in the windows of this moment, of every usd budget that counts just this scope.

    `user="ada"` means the budgets `per: user`, not those per user and model. Without a *department* it is the
    organization's budget; where that has none, that of every department where the scope was touched. Without
    any scope it is the organization's own. What calls in flight hold is not spent.

    Args:
        where: A governor, blocking or async; or a ledger, which knows only the budgets that were touched.
        usd: Exactly so many dollars: `"0.0123"`, or a `Money` such as `receipt.cost`.
        nanos: In its place: exactly so many nano-dollars (1e-9 USD).
        at_least: In its place: at least so many dollars; may stand beside *at_most*.
        at_most: At most so many dollars.
        department: Whose file, or whose budget.
        user: What the budget counts per.
        feature: Likewise.
        run: Likewise.
        model: Likewise; a model's id.
        tags: Likewise; tag to value.
        window: Only the budgets of that window: `day`, `month`, `rolling 7d`, `life`.

    Raises:
        AssertionError: It is another amount; the message shows every usd budget with its numbers.
        LookupError: No usd budget counts that scope; the message names those that there are.
        TypeError: No amount, or two, or one that is no exact number; or an async ledger on a server, which
            has to be opened with `open_ledger` here.
        ValueError: No such window, or an amount finer than a nano-dollar.
    """
    __tracebackhide__ = True
    expected = _expected(usd, nanos, at_least, at_most)
    scope = Scope.of(tags, department=department, user=user, feature=feature, run=run, model=model)
    books = books_of(where)
    found = books.of(scope, None if window is None else _period(window))
    if not found:
        raise LookupError(books.lacks(scope, window))
    wrong = [view for view in found if not expected.holds(view.posted)]
    if wrong:
        shown = "\n".join(f"{view.identity} has spent {Money(view.posted)}, not {expected}" for view in wrong)
        raise AssertionError(f"{shown}\n{books.listed()}")


def assert_downgraded(
    answer: Message | Receipt | Decision, to: str | None = None, *, because: str | None = None
) -> None:
    """Assert that another model served, or would serve, than the preferred one.

    Args:
        answer: What `call` returned, its receipt, or a decision.
        to: The line or the id of the model that served.
        because: A part of the decision's reason, such as a budget's identity; in any case of its letters.

    Raises:
        AssertionError: It was not, or by another model, or for another reason; the message shows why.
        TypeError: *answer* has no decision.
    """
    __tracebackhide__ = True
    decision, served = _decision(answer)
    if not decision.downgraded:
        raise AssertionError(f"nothing was downgraded: {_told(decision)}")
    if to is not None and to not in (served, decision.model, decision.line):
        raise AssertionError(f"it was not downgraded to {to}: {_told(decision)}")
    if because is not None and because.casefold() not in decision.reason.casefold():
        raise AssertionError(f"it was not downgraded because of {because!r}: {_told(decision)}")


def assert_not_downgraded(answer: Message | Receipt | Decision) -> None:
    """Assert that the preferred model served, or would serve.

    Raises:
        AssertionError: Another one did, or none; the message shows why.
        TypeError: *answer* has no decision.
    """
    __tracebackhide__ = True
    decision, _ = _decision(answer)
    if decision.model is None or decision.downgraded:
        raise AssertionError(f"{decision.preferred} was preferred and did not serve: {_told(decision)}")


@dataclass(frozen=True, slots=True)
class _Expected:
    """The nano-dollars from *least* to *most*; `None` is no bound."""

    least: int | None
    most: int | None

    def holds(self, nanos: int) -> bool:
        return (self.least is None or nanos >= self.least) and (self.most is None or nanos <= self.most)

    def __str__(self) -> str:
        if self.least == self.most:
            return str(Money(self.most or 0))
        bounds = (("at least", self.least), ("at most", self.most))
        return " and ".join(f"{word} {Money(nanos)}" for word, nanos in bounds if nanos is not None)


def _expected(
    usd: Dollars | None, nanos: int | None, at_least: Dollars | None, at_most: Dollars | None
) -> _Expected:
    ranged = at_least is not None or at_most is not None
    if (usd is not None) + (nanos is not None) + ranged != 1:
        raise TypeError('give assert_spent one amount: usd="0.0123", nanos=…, or at_least=… and at_most=…')
    if ranged:
        return _Expected(*(None if bound is None else _nanos(bound) for bound in (at_least, at_most)))
    if nanos is not None and (isinstance(nanos, bool) or not isinstance(nanos, int)):
        raise TypeError(f"nanos is {nanos!r}: give a whole number of nano-dollars, such as 12300000")
    exact = _nanos(usd) if nanos is None else nanos
    return _Expected(exact, exact)


def _nanos(dollars: Any) -> int:
    if isinstance(dollars, Money):
        return dollars.nanos
    if isinstance(dollars, bool | float):
        raise TypeError(f'{dollars!r} is no exact amount of dollars: write it as a text, such as "0.0123"')
    return Money.from_dollars(dollars).nanos


def _period(window: str) -> Period | Rolling:
    try:
        return period_of(window)
    except ValueError:
        known = ", ".join(period.value for period in Period)
        raise ValueError(f"{window!r} is no window: give {known}, or rolling 7d") from None


def _decision(answer: Any) -> tuple[Decision, str | None]:
    """The decision in an answer, and the model that served as the receipt names it."""
    receipt = getattr(answer, "receipt", answer)
    if isinstance(receipt, Receipt):
        return receipt.decision, receipt.model
    if isinstance(receipt, Decision):
        return receipt, receipt.model
    raise TypeError(
        f"{answer!r:.80} has no decision: give what gov.call() returned, a receipt, or a decision"
    )


def _told(decision: Decision) -> str:
    """The decision, and every candidate with what was said of it."""
    served = "nothing served" if decision.model is None else f"{decision.model} served"
    tried = (
        f"{one.model} ({one.line}): {one.verdict}{f' by {one.binding}' if one.binding else ''}"
        for one in decision.candidates
    )
    asked = f"asked for {decision.asked}, preferred {decision.preferred}"
    return f"{served}; {asked}\n{decision.reason}\n{listing('candidates', tried)}"
