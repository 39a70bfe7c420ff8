"""What the flow writes into the journal: one JSON object with a reserve, one with what ended it.

No prompt text, no key, ever. Amounts are integers in the budget's unit (`usd`: nano-dollars).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from governor.errors import UnknownModel
from governor.ledger.values import FULL_MARK_BP
from governor.story import answering, batches
from governor.story.digests import content_hash
from governor.story.request import Door

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.ledger.commands import Ask, BudgetRow
    from governor.story.batches import BatchNote, Note
    from governor.story.decision import Would
    from governor.story.effects import Ended, Sent
    from governor.story.matrix import Matrix, Offer
    from governor.story.request import Admitted, House, Plan, Request
    from governor.story.settlement import Outcome

VERSION = 1

MOST_SAID = 300
"""Characters of an error's text that a record keeps."""


def reserve(house: House, planned: Plan, table: Matrix) -> str:
    """The record of a decision: who, what was asked, every candidate's amounts, every budget, the policy."""
    request, route = planned.request, planned.route
    answer_ms = answering.age_ms(house, planned)
    return _dump(
        {
            "v": VERSION,
            "user": request.who.user,
            "department": request.who.department,
            "feature": request.who.feature,
            "run": request.who.run,
            "tags": dict(request.who.tags),
            **_priority(request),
            **_leg(request),
            "asked": request.asked,
            **({"gone": request.gone} if request.gone else {}),
            "pin": request.pin,
            "max_tokens": planned.max_tokens,
            "input_tokens": planned.input_tokens,
            "estimate": planned.estimate,
            "hint_age_ms": planned.hint_age_ms,
            "complexity": None if route.complexity is None else route.complexity.value,
            "load": route.load_bp,
            "tier": route.tier.name,
            "tier_why": route.tier_why,
            "preferred": planned.preferred,
            **({} if answer_ms is None else {"cached_answer_ms": answer_ms}),
            **({} if route.budget_bp is None else {"budget": [route.budget_bp, route.budget_age_ms]}),
            "candidates": [_candidate(offer) for offer in table.offers],
            "skipped": [_candidate(offer) for offer in planned.skipped],
            "budgets": [
                {**_budget(row), "source": term.source}
                for row, term in zip(table.rows, table.terms, strict=True)
            ],
            "asks": [[_ask(ask) for ask in asks] for asks in table.asks],
            "policy": house.policies.hash,
            "prices": house.prices.version,
            **({"door": "batch", "note": batches.note(planned, table)} if request.door is Door.BATCH else {}),
            **({"complaints": planned.rules.complaints} if planned.rules.complaints else {}),
            **_findings(house, request),  # the last member: see `chain.split`
        }
    )


def closing(
    house: House,
    planned: Plan,
    offer: Offer,
    outcome: Outcome,
    ended: Ended,
    sent: Sent,
    admitted: Admitted,
    watched: Would | None = None,
    onward: str = "",
) -> str:
    """The record of an end: the model that served, its usage and cost, how it ended, how long it took.

    *admitted* says how it began: `held`; or, while the ledger was away, `allowed` or `leased`, and then the
    record tells the call from another one of its id. *watched* is what a policy in shadow would have done.
    *onward* is the id of the call's next leg, where it goes on.
    """
    request = planned.request
    return _dump(
        {
            "v": VERSION,
            "user": request.who.user,
            "department": request.who.department,
            "feature": request.who.feature,
            "run": request.who.run,
            "tags": dict(request.who.tags),
            **_priority(request),
            **_leg(request),
            "asked": request.asked,
            **({"gone": request.gone} if request.gone else {}),
            "admitted": admitted.how,
            **({"call": admitted.call} if admitted.call else {}),
            "model": outcome.model,
            "line": offer.candidate.line,
            "ended": ended.kind,
            "usage": outcome.usage,
            "cost_nanos": outcome.nanos,
            "ceiling_nanos": offer.ceiling.nanos,
            "uncertain": outcome.uncertain,
            "unpriced": list(outcome.unpriced),
            "stop_reason": getattr(ended.message, "stop_reason", None),
            "status": ended.status,
            "error": None if ended.error is None else type(ended.error).__name__,
            "attempts": sent.attempts,
            **({"pushed": list(sent.pushed)} if sent.pushed else {}),
            **({} if sent.limit_bp is None else {"limit_bp": sent.limit_bp}),
            "window": window_of(house, offer),
            "latency_ms": ended.latency_ms,
            "first_token_ms": ended.first_token_ms,
            "api_request_id": ended.api_request_id,
            "policy": planned.rules.policy_hash,
            "prices": house.prices.version,
            "priced_at_ms": planned.at_ms,
            "endpoint": planned.rules.endpoint,
            **({"shadow": watched.as_json()} if watched else {}),
            **({"next": onward} if onward else {}),
            # Of a call without its ledger this is the only record.
            **({} if admitted.how == "held" else _findings(house, request)),
        }
    )


def batch(noted: BatchNote) -> str:
    """The record of a batch as a whole: the API's id ('' before it has one), how its items' ids begin."""
    told = {"batch": noted.batch_id, "hold": noted.hold, "items": noted.items, "note": noted.text()}
    return _dump({"v": VERSION, **told, "budgets": [], "asks": [[]]})


def item(house: House, note: Note, offer: Offer, outcome: Outcome, ended: Ended, told: dict[str, Any]) -> str:
    """The record of an item's end, as that of a call's; *told* are its batch, its id there and its error.

    *note* is what was noted when it was held; of an item that the ledger does not know, whose it may be.
    """
    who = note.who
    asker = {} if who is None else {"user": who.user, "department": who.department, "feature": who.feature}
    more = {} if who is None else {"run": who.run, "tags": dict(who.tags)}
    urgent = {} if who is None or who.priority is None else {"priority": who.priority}
    return _dump(
        {
            "v": VERSION,
            **asker,
            **more,
            **urgent,
            "door": "batch",
            "asked": note.asked,
            "admitted": "held",
            "model": outcome.model,
            "line": offer.candidate.line,
            "ended": ended.kind,
            "usage": outcome.usage,
            "cost_nanos": outcome.nanos,
            "ceiling_nanos": offer.ceiling.nanos,
            "uncertain": outcome.uncertain,
            "unpriced": list(outcome.unpriced),
            "stop_reason": getattr(ended.message, "stop_reason", None),
            "status": ended.status,
            "attempts": 1,
            "policy": note.policy,
            "prices": house.prices.version,
            "priced_at_ms": note.at_ms,
            "endpoint": note.endpoint,
            **told,
        }
    )


def call_of(record: str) -> str:
    """Which call without its ledger wrote the record of an end; '' for any other."""
    try:
        call = json.loads(record)["call"]
    except (ValueError, TypeError, KeyError):
        return ""
    return call if isinstance(call, str) else ""


def lease(department: str, rows: Sequence[BudgetRow], ask: Sequence[Ask], policy: str) -> str:
    """The record of a lease, taken and given back: whose, how much of each budget, under which policy."""
    return _dump(
        {
            "v": VERSION,
            "lease": department,
            "budgets": [_budget(row) for row in rows],
            "asks": [[_ask(one) for one in ask]],
            "policy": policy,
        }
    )


def administration(actor: str, reason: str, policy: str = "") -> str:
    """The record of an administrator's change, made while the policies of the hash *policy* were in force."""
    return _dump({"v": VERSION, "actor": actor, "reason": reason, **({"policy": policy} if policy else {})})


def violation(house: House, request: Request, error: str, said: str, count: int) -> str:
    """The record of a refusal before any budget was asked: whose, the *error*'s class and what it said.

    *count* is how many such refusals it stands for.
    """
    who = request.who
    return _dump(
        {
            "v": VERSION,
            "user": who.user,
            "department": who.department,
            "feature": who.feature,
            "run": who.run,
            "tags": dict(who.tags),
            **_priority(request),
            **_leg(request),
            **({"door": "batch"} if request.door is Door.BATCH else {}),
            "asked": request.asked,
            "tier": request.tier,
            "max_tokens": request.max_tokens,
            "error": error,
            "said": said[:MOST_SAID],
            "refused": count,
            "policy": house.policies.hash,
            "prices": house.prices.version,
            **_findings(house, request),  # the last member: see `chain.split`
        }
    )


def window_of(house: House, offer: Offer) -> int | None:
    """The context window of the model that was held for, in tokens; `None` of one without a price."""
    try:
        return house.prices.model(offer.candidate.priced_as).context_tokens
    except UnknownModel:
        return None


def _priority(request: Request) -> dict[str, str]:
    return {} if request.who.priority is None else {"priority": request.who.priority}


def findings_of(house: House, request: Request) -> dict[str, Any]:
    """What is said of its data, and the hash of its content; never the content."""
    told = {} if request.findings is None else request.findings.as_json()
    digest = content_hash(request.body) if house.hashed else ""
    return told | ({"content": digest} if digest else {})


def _findings(house: House, request: Request) -> dict[str, Any]:
    told = findings_of(house, request)
    return {"findings": told} if told else {}


def _leg(request: Request) -> dict[str, Any]:
    """Of a later leg of a call: the request's id, and the leg's number."""
    return {"of": request.of, "leg": request.leg} if request.of else {}


def _candidate(offer: Offer) -> dict[str, Any]:
    """A candidate; of one pass, with the part of its ceiling that a smaller `max_tokens` would spare."""
    ceiling = offer.ceiling
    return {
        "model": offer.candidate.model,
        "line": offer.candidate.line,
        "why": offer.skipped or offer.candidate.why,
        "ceiling_nanos": ceiling.nanos,
        "ceiling_tokens": ceiling.tokens,
        "expected_nanos": offer.expected_nanos,
        **({"marked_as": offer.candidate.marked_as} if offer.candidate.marked_as else {}),
        **({"changes": offer.changes} if offer.changes else {}),
        **({"output_nanos": ceiling.output_nanos} if ceiling.passes == 1 else {}),
    }


def _budget(row: BudgetRow) -> dict[str, Any]:
    """A budget as a rebuild needs it: `bucket_ms` only where its window rolls."""
    budget = {"identity": row.identity, "window": row.window, "end_ms": row.end_ms, "limit": row.limit}
    return {**budget, "bucket_ms": row.bucket_ms} if row.bucket_ms else budget


def _ask(ask: Ask | None) -> list[int] | None:
    if ask is None:
        return None
    usual = [ask.amount, ask.mark_bp, ask.floor, int(ask.comes_back)]
    if ask.enforced and ask.share_bp == FULL_MARK_BP:
        return usual
    return [*usual, ask.share_bp, int(ask.enforced)]


_dump = json.JSONEncoder(separators=(",", ":"), default=str, check_circular=False).encode
