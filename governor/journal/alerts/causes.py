"""What is behind symptoms: the table of causes, and which symptoms are of one. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from governor.journal.alerts.balances import dimensions

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from governor.journal.alerts.alert import Symptom
    from governor.journal.alerts.cells import Subject
    from governor.journal.alerts.rule import Rule

OVERLAP = 50.0
"""A subject is behind another symptom if so many percent of that are its own."""


@dataclass(slots=True)
class Fact:
    """A symptom, and what is known of who is behind it.

    Attributes:
        shares: Per dimension, the percentages of what is amiss.
        balance: Of a budget's: identity and window; else `None`.
        holds: Whether it goes on.
    """

    rule: Rule
    symptom: Symptom
    shares: dict[str, dict[str, float]]
    balance: tuple[str, str] | None = None
    holds: bool = True

    @property
    def key(self) -> tuple[str, Subject]:
        """Tells it from the other symptoms of an incident; each step of a budget is one of its own."""
        step = "" if self.balance is None else f"@{self.symptom.threshold:g}"
        return self.rule.name + step, self.symptom.subject

    @property
    def token(self) -> str:
        """What the table of causes knows it by: its metric, `:rises` behind one that does."""
        return self.symptom.metric + (":rises" if self.rule.rises is not None else "")


class Cause(NamedTuple):
    """What may be behind symptoms.

    Attributes:
        name: In alerts' keys and JSON.
        metrics: Any of these speaks for it.
        title: For people; who it is about follows.
        advice: What to do.
        wait: How many periods it waits to be told, because the symptoms of a better one may still come.
    """

    name: str
    metrics: frozenset[str]
    title: str
    advice: str
    wait: int = 0


def _cause(name: str, metrics: str, title: str, advice: str, *, wait: int = 0) -> Cause:
    return Cause(name, frozenset(metrics.split()), title, advice, wait)


_TRIM = "Trim or compact the conversation, or start a new one; cap `limits.input_tokens` in the policy."

CAUSES: Sequence[Cause] = (
    _cause("unusual_hours", "off_hours_calls", "Calls at unusual hours",
           "Ask the user. If it was not them, revoke the API key and freeze the user's budget: "
           "`governor budget freeze`."),
    _cause("runaway", "run_repeats", "A run repeats itself",
           "Stop the agent; freeze its run until then. Look for a tool that always answers the same."),
    _cause("context_growth", "run_context", "Context grows", _TRIM),
    _cause("costly_request", "request_cost", "A single request was very dear",
           "See `governor why` of the request; cap `limits.cost_per_request` in the policy.", wait=1),
    _cause("context_growth", "input_per_call largest_input context_use", "Context grows", _TRIM),
    _cause("runaway", "run_cost", "A run burns far more than its feature's usually do",
           "Stop the agent; freeze its run until then. Give runs a budget: `{per: run, usd: …}`."),
    _cause("api_overloaded", "overloaded", "The API is overloaded (529)",
           "Nothing is wrong here. Let calls back off and fall over to another line; move what can wait "
           "to batches."),
    _cause("model_mix", "dear_share", "Dearer models serve more than they used to",
           "See what changed in `model=` or in `routing`; a feature's `lines: […]` keeps it on cheap ones."),
    _cause("cache_lost", "cache_hit_rate", "The prompt cache is hit less than it used to be",
           "Look for what changed at the beginning of the prompts (a date, an id, the order of tools), and "
           "at `cache_control`."),
    _cause("unusual_spend", "calls", "Far more calls than usual",
           "If it is a batch job, move it to the Batches API (half the price) or to another hour; else slow "
           "whoever sends them.", wait=1),
    _cause("rate_limit", "rate_limited limit_use", "Rate limits are used up",
           "Spread the calls, move what can wait to batches, or ask Anthropic for higher limits."),
    _cause("client_errors", "error_rate:rises", "Errors climb",
           "The requests are wrong: compare with the last release, and roll it back if it began then."),
    _cause("truncated", "truncated_rate", "Answers are cut off at max_tokens",
           "Raise the feature's `max_tokens`, or ask for shorter answers."),
    _cause("quality_drop", "quality", "Quality drops",
           "Compare with the last change of prompt, model or routing of the feature."),
    _cause("api_errors", "error_rate", "Calls fail",
           "See the errors by status in `governor report`, and https://status.anthropic.com."),
    _cause("slow_model", "latency_p95 first_token_p95", "Answers are slow",
           "Route what is urgent to a faster line, or lower the tier's time-out so that calls fall over.",
           wait=3),
    _cause("unusual_spend", "cost cost_per_call", "Spend is up",
           "See who is behind it below, and `governor report today`.", wait=1),
    _cause("budget", "budget_use budget_step", "A budget fills up",
           "Raise it (`governor budget grant`), or slow down who spends it: `governor budget show`.", wait=1),
)  # fmt: skip
"""The first that any symptom speaks for is the cause."""

_CLIENT_ERRORS, _API_ERRORS = (
    next(one for one in CAUSES if one.name == name) for name in ("client_errors", "api_errors")
)
_API = frozenset({"error_rate", "rate_limited", "overloaded", "latency_p95", "first_token_p95", "limit_use"})
_ANSWERS = frozenset({"truncated_rate", "quality"})
_PEOPLE = ("run", "user", "feature")


def cause_of(facts: Iterable[Fact]) -> tuple[Cause, Fact]:
    """The cause of some symptoms, and the one that speaks for it the most."""
    every = list(facts)
    for cause in CAUSES:
        for fact in every:
            if fact.token in cause.metrics:
                return _errors(cause, fact), fact
    raise ValueError(f"no cause is known of {every[0].symptom.metric}")


def _errors(cause: Cause, lead: Fact) -> Cause:
    """Errors are ours where most of those that climb or are many are answers 4xx; else they are the API's."""
    if cause.name not in ("client_errors", "api_errors"):
        return cause
    ours = lead.shares.get("status", {}).get("4xx", 0.0) >= OVERLAP
    return _CLIENT_ERRORS if ours else _API_ERRORS


def rank(fact: Fact) -> int:
    """Its cause's place in the table: the lower, the more it says."""
    return next(index for index, cause in enumerate(CAUSES) if fact.token in cause.metrics)


def related(one: Fact, two: Fact) -> bool:
    """Whether two symptoms are of one cause, as far as the journal can tell."""
    if one.balance is not None or two.balance is not None:
        return _of_budget(one, two)
    first, second = set(one.symptom.subject), set(two.symptom.subject)
    if {pair for pair in first & second if pair[0] != "department"}:
        return True
    same_family = _family(one) == _family(two)
    if same_family and not (first and second):
        return True
    if _family(one) == _family(two) == "api" and one.symptom.metric == two.symptom.metric:
        return True
    wide = (*_PEOPLE, "model") if same_family else _PEOPLE
    return _behind(one, two, wide) or _behind(two, one, wide)


def _behind(one: Fact, two: Fact, wide: Sequence[str]) -> bool:
    """Whether the subject of *one* makes most of *two*."""
    return any(
        name in wide and two.shares.get(name, {}).get(value, 0.0) >= OVERLAP
        for name, value in one.symptom.subject
        if value
    )


def _of_budget(one: Fact, two: Fact) -> bool:
    """A budget's crossing is of the overspending that fills it; of another crossing if it is the same's."""
    if one.balance is not None and two.balance is not None:
        return one.balance == two.balance
    crossing, other = (one, two) if one.balance is not None else (two, one)
    if _family(other) != "spend" or crossing.balance is None:
        return False
    identity = crossing.balance[0]
    people = [pair for pair in dimensions(identity) if pair[0] in _PEOPLE]
    if people:
        return any(
            pair in other.symptom.subject or other.shares.get(pair[0], {}).get(pair[1], 0.0) >= OVERLAP
            for pair in people
        )
    return other.shares.get("budget", {}).get(identity, 0.0) >= OVERLAP


def _family(fact: Fact) -> str:
    if fact.symptom.metric in _API:
        return "api"
    return "answers" if fact.symptom.metric in _ANSWERS else "spend"
