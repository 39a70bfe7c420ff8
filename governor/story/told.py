"""How a call, or one leg of it, ended or was refused, told as the row that the journal's records make of it.

The row is made from the values that are journalled, so that a log line and the archive say the same. What the
ledger alone counts is not in it: how often an id was used (`turn`), and refused (`refusals`) before.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from governor.budgets import Unit
from governor.errors import Deferred, LedgerUnavailable, PolicyViolation, UnknownModel
from governor.journal import call as states
from governor.journal.call import Call
from governor.journal.fold import SMALLER, decided, found_in, tokens_of
from governor.journal.records import findings_of, window_of
from governor.story.request import Door

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from governor.errors import BudgetContended, BudgetExceeded, GovernorError
    from governor.ledger.commands import Balance, Closed
    from governor.policy import Attribution
    from governor.story.batches import Note, Result
    from governor.story.effects import Ended, Sent
    from governor.story.endings import Ending
    from governor.story.matrix import Matrix, Offer
    from governor.story.request import Admitted, House, Plan, Request
    from governor.story.settlement import Outcome

REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (PolicyViolation, "policy"),
    (UnknownModel, "unpriced"),
    (Deferred, "deferred"),
    (LedgerUnavailable, "ledger"),
)
"""Why a call was refused that no budget refused: by the class of its error; `other` for any other one."""


@dataclass(frozen=True, slots=True)
class Tell:
    """An effect: tell whoever listens how a call, or one leg of it, ended or was refused.

    The row is made only where somebody listens.

    Attributes:
        row: Makes the row.
        fullest: How full the fullest usd budget of it is now, spent and held; 1 is full. `None`: no balance
            is known.
        waited_s: How long it waited for calls in flight before it was held, seconds.
    """

    row: Callable[[], Call]
    fullest: Callable[[], float | None]
    waited_s: float = 0.0


def ended(
    house: House,
    planned: Plan,
    admitted: Admitted,
    end: Ending,
    ended: Ended,
    sent: Sent,
    closed: Closed | None,
    onward: str,
) -> Tell:
    """That a leg's hold has ended; the arguments are those that its record is made of, and the reply."""
    row = partial(_ended, house, planned, admitted, end, ended, sent, closed, onward)
    return Tell(row, partial(_fullest, admitted, end, closed), admitted.waited_s)


def blocked(house: House, planned: Plan, table: Matrix, error: BudgetExceeded | BudgetContended) -> Tell:
    """That a budget refused a leg, which was asked for by *planned* with *table*."""
    row = partial(_blocked, house, planned, table, error.decision.outcome, house.clock.now_ms())
    budgets = error.decision.budgets
    rows = ((one.unit, one.posted, one.held, one.limit) for one in budgets)
    return Tell(row, lambda: fullest(rows), error.decision.waited_s)


def refused(house: House, request: Request, error: GovernorError) -> Tell:
    """That a leg was refused before any budget was asked, or because the ledger could not be."""
    reason = next((word for kind, word in REASONS if isinstance(error, kind)), "other")
    row = partial(_refused, house, request, reason, type(error).__name__, house.clock.now_ms())
    return Tell(row, lambda: None)


def item(
    house: House,
    identifier: str,
    note: Note,
    offer: Offer,
    outcome: Outcome,
    result: Result,
    closed: Closed,
) -> Tell:
    """That an item of a batch has ended: what its hold noted, and what its line of results says."""
    row = partial(_item, house, identifier, note, offer, outcome, result, closed)
    return Tell(row, lambda: None)


def fullest(budgets: Iterable[tuple[Unit, int, int, int]]) -> float | None:
    """How full the fullest usd budget is, of each its unit, posted, held and limit."""
    return max(
        ((used + held) / most if most > 0 else 1.0 for unit, used, held, most in budgets if unit is Unit.USD),
        default=None,
    )


def _fullest(admitted: Admitted, end: Ending, closed: Closed | None) -> float | None:
    """As the end was answered; as it was held, where the ledger was not told the end."""
    rows, balances = admitted.table.rows, admitted.held.balances
    if closed is not None:
        rows, balances = tuple(one.budget for one in end.command.postings), closed.balances
    pairs: zip[tuple[Any, Balance]] = zip(rows, balances, strict=False)
    return fullest((row.unit, one.posted, one.held, one.limit) for row, one in pairs)


def _ended(
    house: House,
    planned: Plan,
    admitted: Admitted,
    end: Ending,
    ended: Ended,
    sent: Sent,
    closed: Closed | None,
    onward: str,
) -> Call:
    outcome, offer, chosen = end.outcome, end.offer, admitted.held.candidate
    return Call(
        **_of(house, planned.request),
        final=not onward,
        began_ms=admitted.held.now_ms,
        ended_ms=house.clock.now_ms() if closed is None else closed.now_ms,
        state=ended.kind,
        model=outcome.model,
        line=offer.candidate.line,
        **_planned(planned),
        decision=decided(
            later=bool(planned.request.of),
            preferred=planned.preferred,
            tried=[one.candidate.model for one in admitted.table.offers[: chosen + 1]],
            smaller=any(text.endswith(SMALLER) for text in offer.changes),
        ),
        limit_bp=sent.limit_bp,
        max_tokens=planned.max_tokens,
        **tokens_of(outcome.usage),
        window_tokens=window_of(house, offer) or 0,
        cost_nanos=outcome.nanos,
        ceiling_nanos=offer.ceiling.nanos,
        expected_nanos=offer.expected_nanos,
        latency_ms=ended.latency_ms,
        first_token_ms=ended.first_token_ms,
        stop_reason=getattr(ended.message, "stop_reason", None) or "",
        status=ended.status,
        error="" if ended.error is None else type(ended.error).__name__,
        attempts=sent.attempts,
        pushed_429=sent.pushed.count(429),
        pushed_529=sent.pushed.count(529),
        uncertain=outcome.uncertain,
        **_closed(closed),
        admitted=admitted.how,
        endpoint=planned.rules.endpoint,
        policy=planned.rules.policy_hash,
        prices=house.prices.version,
        api_request_id=ended.api_request_id or "",
    )


def _blocked(house: House, planned: Plan, table: Matrix, reason: str, at_ms: int) -> Call:
    offer = (table.offers or planned.skipped)[0]
    return Call(
        **_of(house, planned.request),
        began_ms=at_ms,
        ended_ms=at_ms,
        state=states.BLOCKED,
        reason=reason,
        refusals=1,
        model=offer.candidate.model,
        line=offer.candidate.line,
        **_planned(planned),
        decision=states.BLOCKED,
        max_tokens=planned.max_tokens,
        expected_nanos=offer.expected_nanos,
        policy=house.policies.hash,
        prices=house.prices.version,
    )


def _refused(house: House, request: Request, reason: str, error: str, at_ms: int) -> Call:
    return Call(
        **_of(house, request),
        began_ms=at_ms,
        ended_ms=at_ms,
        state=states.BLOCKED,
        reason=reason,
        refusals=1,
        decision=states.BLOCKED,
        tier=request.tier or "",
        max_tokens=request.max_tokens or 0,
        error=error,
        policy=house.policies.hash,
        prices=house.prices.version,
    )


def _item(
    house: House,
    identifier: str,
    note: Note,
    offer: Offer,
    outcome: Outcome,
    result: Result,
    closed: Closed,
) -> Call:
    end = result.ended
    return Call(
        id=identifier,
        call_id=identifier,
        **_who(note.who),
        door=Door.BATCH.value,
        asked=note.asked,
        began_ms=note.at_ms,
        ended_ms=closed.now_ms,
        state=end.kind,
        model=outcome.model,
        line=offer.candidate.line,
        **tokens_of(outcome.usage),
        cost_nanos=outcome.nanos,
        ceiling_nanos=offer.ceiling.nanos,
        stop_reason=getattr(end.message, "stop_reason", None) or "",
        status=end.status,
        error=result.error,
        attempts=1,
        uncertain=outcome.uncertain,
        **_closed(closed),
        endpoint=note.endpoint,
        policy=note.policy,
        prices=house.prices.version,
    )


def _of(house: House, request: Request) -> dict[str, Any]:
    """Whose a request is, which leg of which call, and what is said of its data."""
    return {
        "id": request.id,
        "call_id": request.call_id,
        "leg": request.leg,
        "door": Door.BATCH.value if request.door is Door.BATCH else "",
        "asked": request.asked,
        **_who(request.who),
        **found_in(findings_of(house, request)),
    }


def _who(who: Attribution | None) -> dict[str, Any]:
    if who is None:
        return {}
    return {
        "user": who.user,
        "department": who.department,
        "feature": who.feature or "",
        "run": who.run or "",
        "priority": who.priority or "",
        "tags": tuple(sorted(who.tags)),
    }


def _planned(planned: Plan) -> dict[str, Any]:
    """What the choice of a model went by."""
    route = planned.route
    return {
        "tier": route.tier.name or "",
        "preferred": planned.preferred or "",
        "complexity": None if route.complexity is None else route.complexity.value,
        "load_bp": route.load_bp,
        "estimated_tokens": planned.input_tokens,
    }


def _closed(closed: Closed | None) -> dict[str, Any]:
    """What the ledger said of an end; nothing where it was not told."""
    if closed is None:
        return {}
    late = closed.state == "settled_late"
    return {"overrun": closed.overrun, "late": late, "unknown": closed.unknown}
