"""What would have changed an answer, as `governor why` says it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.cli.output import when
from governor.story.decision import instant, show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.cli.story import Ruling
    from governor.story.counterfactual import Counterfactual
    from governor.story.decision import BudgetView


def would_lines(ruling: Ruling) -> Iterator[str]:
    """For every model that a budget refused and that could have been taken: how; nothing if there is none."""
    told = [(ruling.asked(one.candidate).model, [*_ways(ruling, one)]) for one in ruling.would]
    told = [(model, ways) for model, ways in told if ways]
    if told:
        yield "What would have changed the answer, as the budgets were"
    for model, ways in told:
        yield f"  {model} would have served"
        for number, way in enumerate(ways):
            yield f"    {'or ' if number else ''}{way}"
    if ruling.outcome != "held" and ruling.record["pin"]:
        yield "  pinned: no cheaper line was tried"


def would_json(ruling: Ruling) -> list[dict[str, Any]]:
    """The same as JSON; amounts are in the budgets' units."""
    return [_one_json(ruling, one) for one in ruling.would]


def _ways(ruling: Ruling, one: Counterfactual) -> Iterator[str]:
    if one.extra is not None:
        parts = [_more(ruling.budgets[index], extra) for index, extra in one.extra.items()]
        parts += [f"{ruling.budgets[index].identity} not frozen" for index in one.unfreeze]
        yield f"with {', and '.join(parts)}"
    if one.max_tokens is not None:
        yield f"with a max_tokens of {one.max_tokens:,}"
    if one.settling:
        yield "once calls in flight had settled"
    if one.reopens_ms is not None:
        yield f"from {when(instant(one.reopens_ms))} UTC on, when what is spent counts no more"


def _more(view: BudgetView, extra: int) -> str:
    limit = show(view.unit, view.limit + extra)
    return f"{show(view.unit, extra)} more for {view.identity} (a limit of {limit})"


def _one_json(ruling: Ruling, one: Counterfactual) -> dict[str, Any]:
    tried = ruling.asked(one.candidate)
    extra = None if one.extra is None else one.extra.items()
    return {
        "model": tried.model,
        "line": tried.line,
        "limits": None
        if extra is None
        else [_limit_json(ruling.budgets[index], more) for index, more in extra],
        "unfreeze": [ruling.budgets[index].identity for index in one.unfreeze],
        "max_tokens": one.max_tokens,
        "when_settled": one.settling,
        "reopens_at": None if one.reopens_ms is None else instant(one.reopens_ms),
    }


def _limit_json(view: BudgetView, extra: int) -> dict[str, Any]:
    return {
        "identity": view.identity,
        "unit": view.unit.value,
        "extra": extra,
        "limit": view.limit + extra,
    }
