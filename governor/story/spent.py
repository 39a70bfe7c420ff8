"""Whether an answer that is still coming is to end, for a caller who wants that when its money is spent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.errors import LedgerUnavailable, MoneySpent
from governor.ledger import commands as c
from governor.story import books
from governor.story.settlement import at_least

if TYPE_CHECKING:
    from governor.story.books import Story
    from governor.story.effects import Running
    from governor.story.request import Admitted, House, Plan

LOOK_EVERY_S = 1.0
"""How often it is looked at; each look reads the run's budgets, one round trip."""


def spent(house: House, planned: Plan, admitted: Admitted, running: Running) -> Story:
    """Why the answer is to end now (`MoneySpent`, or what interrupted the look); `None`: it goes on.

    What was held is used up when what surely came costs as much. The run's money is used up when a budget of
    the run is frozen, or has less in it than is promised: its limit was lowered, or another call overran.
    """
    if not planned.request.stop_when_spent:
        return None
    offer = admitted.table.offers[admitted.held.candidate]
    if running.so_far is not None:
        came = at_least(house.prices, offer, running.so_far, planned.at_ms, planned.rules.endpoint)
        if came >= offer.ceiling.nanos > 0:
            return MoneySpent(f"the {offer.ceiling} that was held for the answer is used up")
    return (yield from _run_spent(house, admitted))


def _run_spent(house: House, admitted: Admitted) -> Story:
    pairs = zip(admitted.table.terms, admitted.table.rows, strict=True)
    rows = tuple(row for term, row in pairs if "run" in term.scope.split(" and "))
    if not rows:
        return None
    try:
        readings = yield from books.ask(house, c.Read(rows))
    except (LedgerUnavailable, GeneratorExit) as error:
        if isinstance(error, GeneratorExit):
            raise
        return None
    except BaseException as error:  # noqa: BLE001 - raised once the hold is closed
        return error
    for row, balance in zip(rows, readings.balances, strict=True):
        if balance.frozen is not None:
            return MoneySpent(f"{row.identity} is frozen: {balance.frozen}")
        if balance.posted + balance.held > balance.limit:
            return MoneySpent(f"{row.identity} is used up")
    return None
