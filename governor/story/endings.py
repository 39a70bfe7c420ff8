"""How a call's end is told to the ledger: what it cost, and the command that posts it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.journal import records
from governor.ledger import commands as c
from governor.ledger import lifecycle
from governor.story import views
from governor.story.settlement import Outcome, actual

if TYPE_CHECKING:
    from governor.budgets import Unit
    from governor.story.effects import Ended, Sent
    from governor.story.matrix import Matrix, Offer
    from governor.story.request import Admitted, House, Plan


@dataclass(frozen=True, slots=True)
class Ending:
    """What a call has come to, the offer that served it, and the command that ends its hold."""

    offer: Offer
    outcome: Outcome
    command: c.Settle | c.Release


def ending(
    house: House, planned: Plan, admitted: Admitted, ended: Ended, sent: Sent, onward: str = ""
) -> Ending:
    """The ending of a leg of which the API's side is *ended*, of what was *sent*.

    *onward* is the id of the call's next leg, where it goes on: then what the API refused gives back the
    request too, which the next leg asks for again. So a call counts once, as if sent again on one hold.
    """
    table, chosen, request = admitted.table, admitted.held.candidate, planned.request
    offer = table.offers[chosen]
    held = admitted.how == "held"
    outcome = actual(
        house.prices, offer, ended, planned.at_ms, planned.rules.endpoint, whole=planned.rules.uncertain_whole
    )
    watched = views.would(planned, table, admitted.held.balances, offer.candidate.model) if held else None
    record = records.closing(house, planned, offer, outcome, ended, sent, admitted, watched, onward)
    if ended.kind == "refused":
        kept = table.nothing_used(chosen) if onward else _kept(table, chosen)
        return Ending(offer, outcome, c.Release(request.id, kept, record))
    used = table.postings(chosen, lambda unit, ask: _used(unit, ask, outcome))
    return Ending(offer, outcome, c.Settle(request.id, used, record, admitted.call))


def _kept(table: Matrix, chosen: int) -> tuple[c.Posting, ...]:
    """What stays posted of a request that was not served: that it was made."""
    return table.postings(chosen, lambda unit, ask: lifecycle.kept_on_release(unit, ask.amount))


def _used(unit: Unit, ask: c.Ask, outcome: Outcome) -> int:
    used = {"usd": outcome.nanos, "tokens": outcome.tokens, "requests": ask.amount, "concurrent": 0}
    return used[unit.value]
