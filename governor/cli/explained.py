"""How an explanation is told: candidate by candidate, budget by budget; as lines, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from governor.cli.output import budget_json
from governor.rehearsal.explanation import DEFERRED
from governor.story.decision import instant, show

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from governor.policy import Attribution
    from governor.rehearsal import Explanation, Need, Weight
    from governor.story.decision import Decision
    from governor.story.request import Request

_TITLES = ("budget", "limit", "spent", "held", "needs", "may fill it to", "")


def who_asks(who: Attribution) -> str:
    """For example `ada@example.com, department legal, feature summarize, project=atlas`."""
    named = [("department", who.department), ("feature", who.feature), ("run", who.run)]
    named.append(("priority", who.priority))
    parts = [who.user, *(f"{name} {value}" for name, value in named if value is not None)]
    return ", ".join([*parts, *(f"{name}={value}" for name, value in who.tags)])


def local(at_ms: int, timezone: str) -> str:
    """An instant where the policy is at home: `2026-11-16 12:00:00 Europe/Berlin`."""
    moment = instant(at_ms)
    return (
        "never" if moment is None else f"{moment.astimezone(ZoneInfo(timezone)):%Y-%m-%d %H:%M:%S} {timezone}"
    )


def lines(request: Request, told: Explanation, timezone: str) -> Iterator[str]:
    """An explanation as people read it."""
    yield f"{who_asks(request.who)}"
    decision = told.decision
    if decision is None:
        yield f"  asked for  {_asked(request)}"
    else:
        most = decision.max_tokens if told.larger is None else told.larger.max_tokens
        yield f"  asked for  {_asked(request)}, max_tokens {most:,}"
        yield f"  prompt     {decision.input_tokens:,} tokens ({_measured(request, decision.estimate)})"
        yield from _routed(decision)
        yield f"  rules      policy {decision.policy_hash}, prices {decision.prices}"
    yield f"  at         {local(told.at_ms, timezone)}"
    yield from _outcome(told)
    if told.larger is not None:
        yield f"Models, best first, with the max_tokens of {told.larger.max_tokens:,} that was asked for"
        yield from _weights(told.larger)
        yield f"And with {told.max_tokens:,}"
    elif told.weights:
        yield "Models, best first"
    yield from _weights(told)


def _weights(told: Explanation) -> Iterator[str]:
    for number, weight in enumerate(told.weights, start=1):
        yield from _weight(number, weight)


def _asked(request: Request) -> str:
    tier = "" if request.tier is None else f", tier {request.tier}"
    return f"{request.asked}{', pinned' * request.pin}{tier}{', deferrable' * request.deferrable}"


def _routed(decision: Decision) -> Iterator[str]:
    """What routing went by: the tier and why, how hard the request is, how busy the API."""
    why = f" ({decision.tier_why})" if decision.tier_why else ""
    yield f"  tier       {decision.tier}{why}, load {decision.load:.0%}"
    if decision.complexity:
        yield f"  complexity {decision.complexity}"


def _measured(request: Request, estimate: str) -> str:
    return "as given" if request.input_tokens is not None else estimate


def _outcome(told: Explanation) -> Iterator[str]:
    if told.decision is None:
        yield "Refused, whatever the balances"
        yield f"  {told.refused}"
        return
    shadow = told.decision.shadow
    if shadow is not None:
        would = "would do the same" if not shadow.alters else f"would say: {shadow.reason}"
        yield f"In shadow, and if it were enforced it {would}"
    if told.decision.model is not None:
        yield f"{told.outcome.capitalize()}: {told.decision.model}"
        yield f"  {told.decision.reason}"
        yield from (f"  changed: {change}" for change in told.decision.changes)
        return
    if told.outcome == DEFERRED:
        yield "Deferred: to the Batches API"
        yield f"  {told.refused}"
        return
    yield f"Refused: {told.decision.outcome}"
    if told.wait_s:
        yield f"  after {told.wait_s:g} s at most of waiting for calls in flight, unless they settle"
    yield f"  {told.refused}"


def _weight(number: int, weight: Weight) -> Iterator[str]:
    candidate = weight.candidate
    verdict = candidate.verdict
    if verdict == "not tried":
        verdict += f" (it {'would fit' if weight.would == 'fits' else f'would be {weight.would}'})"
    yield f"  {number}. {candidate.model} ({candidate.why}), up to {candidate.ceiling}: {verdict}"
    rows = [_TITLES, *map(_cells, weight.needs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows if weight.needs else ():
        cells = (
            cell.ljust(width) if index in (0, len(row) - 1) else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield ("     " + "  ".join(cells)).rstrip()
    if weight.sentence:
        yield f"     refused by {weight.sentence}"


def _cells(need: Need) -> Sequence[str]:
    budget, unit = need.budget, need.budget.unit
    top = f"{show(unit, need.top)} ({need.rule})"
    says = need.verdict + (", binds" if need.binds else "")
    says += f" (in shadow: {need.would})" if need.would else ""
    amounts = (budget.limit, budget.posted, budget.held, need.amount)
    return (budget.identity, *(show(unit, amount) for amount in amounts), top, says)


def as_json(request: Request, told: Explanation) -> dict[str, Any]:
    """An explanation as a program reads it."""
    decision = told.decision
    who = request.who
    return {
        "at": instant(told.at_ms),
        "request": {
            "user": who.user,
            "department": who.department,
            "feature": who.feature,
            "run": who.run,
            "tags": dict(who.tags),
            "priority": who.priority,
            "model": request.asked,
            "pin": request.pin,
            "tier": request.tier,
            "deferrable": request.deferrable,
            "max_tokens": request.max_tokens if decision is None else (told.larger or told).max_tokens,
            "input_tokens": request.input_tokens if decision is None else decision.input_tokens,
        },
        "decision": told.outcome,
        "outcome": None if decision is None else decision.outcome,
        "model": None if decision is None else decision.model,
        "line": None if decision is None else decision.line,
        "max_tokens": None if decision is None else decision.max_tokens,
        "preferred": None if decision is None else decision.preferred,
        "tier": None if decision is None else decision.tier,
        "tier_why": None if decision is None else decision.tier_why,
        "complexity": None if decision is None else decision.complexity or None,
        "load": None if decision is None else decision.load,
        "changes": [] if decision is None else list(decision.changes),
        "reason": told.refused if decision is None else decision.reason,
        "refused": told.refused or None,
        "binding": told.binding,
        "shadow": None if decision is None or decision.shadow is None else decision.shadow.as_json(),
        "affordable_max_tokens": told.affordable_max_tokens,
        "cheapest_model": told.cheapest_model,
        "wait_s": told.wait_s,
        "policy": None if decision is None else decision.policy_hash,
        "prices": None if decision is None else decision.prices,
        "budgets": [] if decision is None else [budget_json(view) for view in decision.budgets],
        "candidates": [_weight_json(weight) for weight in told.weights],
        "before_shrinking": None if told.larger is None else [*map(_weight_json, told.larger.weights)],
    }


def _weight_json(weight: Weight) -> dict[str, Any]:
    candidate = weight.candidate
    return {
        "model": candidate.model,
        "line": candidate.line,
        "why": candidate.why,
        "ceiling_nanos": candidate.ceiling.nanos,
        "verdict": candidate.verdict,
        "would": weight.would or None,
        "binding": candidate.binding,
        "sentence": weight.sentence or None,
        "needs": [
            {
                "identity": need.budget.identity,
                "amount": need.amount,
                "mark_bp": need.mark_bp,
                "top": need.top,
                "share_bp": need.share_bp,
                "rule": need.rule,
                "verdict": need.verdict,
                "would": need.would or None,
                "binds": need.binds,
            }
            for need in weight.needs
        ],
    }
