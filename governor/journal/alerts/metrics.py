"""What rules watch: the metrics, and what a call adds to each. Pure."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Literal, NamedTuple

from governor.journal import call as states

if TYPE_CHECKING:
    from governor.journal.call import Call

Unit = Literal["percent", "usd", "ms", "tokens", "count", "ratio"]
Kind = Literal[
    "sum", "rate", "mean", "p95", "largest", "off_hours", "growth", "repeats", "burn", "budget", "step"
]

DEAR = frozenset({"opus", "fable", "mythos"})
"""The lines that `dear_share` counts."""


class Sum(IntEnum):
    """What is added up, in the order in which buckets keep it."""

    CALLS = 0
    FAILED = 1
    PUSHED_429 = 2
    PUSHED_529 = 3
    COST = 4
    PROMPT = 5
    ANSWERED = 6
    CACHED = 7
    CUT_OFF = 8
    DEAR = 9
    QUALITY = 10
    SCORED = 11


class Metric(NamedTuple):
    """One thing that can be watched.

    Attributes:
        name: As rules name it.
        unit: Of its values.
        kind: How it is made of calls.
        top: What is added up; of a rate or a mean: above the line. Of latencies and largest values: which.
        bottom: Of a rate or a mean: below the line, which is also its sample size.
        about: What it is, for people.
    """

    name: str
    unit: Unit
    kind: Kind
    top: int = -1
    bottom: int = -1
    about: str = ""


LATENCY, FIRST_TOKEN = 0, 1
REQUEST_COST, INPUT, CONTEXT, LIMIT = 0, 1, 2, 3

_ALL = (
    Metric("error_rate", "percent", "rate", Sum.FAILED, Sum.CALLS, "calls without a whole answer"),
    Metric("rate_limited", "count", "sum", Sum.PUSHED_429, about="answers 429"),
    Metric("overloaded", "count", "sum", Sum.PUSHED_529, about="answers 529"),
    Metric("latency_p95", "ms", "p95", LATENCY, about="the 95th percentile of latency"),
    Metric("first_token_p95", "ms", "p95", FIRST_TOKEN, about="the 95th percentile to the first token"),
    Metric("cost", "usd", "sum", Sum.COST, about="spend"),
    Metric("calls", "count", "sum", Sum.CALLS, about="calls"),
    Metric("cost_per_call", "usd", "mean", Sum.COST, Sum.ANSWERED, "spend for an answer"),
    Metric("request_cost", "usd", "largest", REQUEST_COST, about="the dearest call"),
    Metric("input_per_call", "tokens", "mean", Sum.PROMPT, Sum.ANSWERED, "input for an answer"),
    Metric("largest_input", "tokens", "largest", INPUT, about="the largest input"),
    Metric("context_use", "percent", "largest", CONTEXT, about="how full a model's context was"),
    Metric("limit_use", "percent", "largest", LIMIT, about="how much of a rate limit was used"),
    Metric("truncated_rate", "percent", "rate", Sum.CUT_OFF, Sum.ANSWERED, "answers cut off at max_tokens"),
    Metric("cache_hit_rate", "percent", "mean", Sum.CACHED, Sum.PROMPT, "input read from the prompt cache"),
    Metric("dear_share", "percent", "rate", Sum.DEAR, Sum.ANSWERED, "answers by opus, fable or mythos"),
    Metric("quality", "ratio", "mean", Sum.QUALITY, Sum.SCORED, "the mean of outcomes named quality"),
    Metric("off_hours_calls", "count", "off_hours", Sum.CALLS, about="calls at hours without any as a rule"),
    Metric("run_context", "tokens", "growth", about="the context of a run, which grows with every call"),
    Metric("run_repeats", "count", "repeats", about="how many of a run's last 20 calls were the same"),
    Metric("run_cost", "usd", "burn", Sum.COST, about="a run's spend"),
    Metric("budget_use", "percent", "budget", about="how much of a budget is spent"),
    Metric("budget_step", "percent", "step", about="spent of a budget, at a step of its thresholds"),
)  # fmt: skip
METRICS = {one.name: one for one in _ALL}
RUN_KINDS = frozenset({"growth", "repeats", "burn"})
BUDGET_KINDS = frozenset({"budget", "step"})
HAS_USUAL = frozenset({"sum", "rate", "mean", "p95", "burn", "growth"})
"""The kinds of which it is known what is usual."""

DIMENSIONS = ("department", "user", "feature", "model", "line", "run", "priority", "door")
"""What rules filter and split by; and `tag:NAME`."""


def value_of(call: Call, dimension: str) -> str:
    """A call's value of a dimension, or ''."""
    if dimension.startswith("tag:"):
        return dict(call.tags).get(dimension[4:], "")
    value: str = getattr(call, dimension)
    return value


def amounts(call: Call) -> list[tuple[int, int]]:
    """What an ended call adds: pairs of a `Sum` and an amount, none of them 0.

    A leg after which its call went on is no failure of its call; its refusals by the API count all the same.
    """
    added: list[tuple[int, int]] = []
    if call.final:
        added.append((Sum.CALLS, 1))
        if call.failed:
            added.append((Sum.FAILED, 1))
    if call.pushed_429:
        added.append((Sum.PUSHED_429, call.pushed_429))
    if call.pushed_529:
        added.append((Sum.PUSHED_529, call.pushed_529))
    if call.cost_nanos:
        added.append((Sum.COST, call.cost_nanos))
    if call.state == states.ANSWERED:
        added += ((Sum.ANSWERED, 1), (Sum.PROMPT, call.prompt_tokens))
        if call.cache_read_tokens:
            added.append((Sum.CACHED, call.cache_read_tokens))
        if call.stop_reason == "max_tokens":
            added.append((Sum.CUT_OFF, 1))
        if call.line in DEAR:
            added.append((Sum.DEAR, 1))
    return added


def largest(call: Call) -> tuple[int | float | None, ...]:
    """What a call has of each largest value: cost, input, its context's and its limit's percentage."""
    if call.state != states.ANSWERED:
        limit = None if call.limit_bp is None else call.limit_bp / 100
        return (call.cost_nanos or None, None, None, limit)
    window = call.window_tokens
    return (
        call.cost_nanos,
        call.prompt_tokens,
        100 * (call.prompt_tokens + call.output_tokens) / window if window else None,
        None if call.limit_bp is None else call.limit_bp / 100,
    )


def weight(metric: Metric, call: Call, threshold: float) -> int:
    """How much of what is amiss is a call's: what its share of the blame goes by."""
    if metric.kind == "p95":
        took = call.latency_ms if metric.top == LATENCY else call.first_token_ms
        return int((took or 0) > threshold)
    if metric.name in _BY_PROMPT:
        return call.prompt_tokens
    if metric.name == "cache_hit_rate":
        return call.prompt_tokens - call.cache_read_tokens
    if metric.name == "limit_use":
        return 1
    if metric.kind in ("sum", "rate"):
        return dict(amounts(call)).get(metric.top, 0)
    return 1 if metric.name in ("off_hours_calls", "quality", "run_repeats") else call.cost_nanos


_BY_PROMPT = frozenset({"input_per_call", "largest_input", "context_use", "run_context"})
