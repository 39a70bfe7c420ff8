"""What the governor tells a caller: the decision it took, and the receipt of a call."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from governor.budgets import Rolling, Unit, span_of
from governor.money import Money

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.budgets import Period


@dataclass(frozen=True, slots=True)
class BudgetView:
    """One budget's numbers at the instant of a decision, before the request's own hold.

    Attributes:
        identity: For example `department=engineering/usd/month`.
        window: The window's id, for example `2026-11`.
        unit: What it counts; amounts are nano-dollars for `usd`, else a count.
        limit: In force then.
        posted: Spent.
        held: Promised to calls in flight.
        resets_at: When the window ends, or spend first leaves a rolling one; `None` if never, or nothing was
            spent.
        frozen: Why it is frozen, or `None`.
        source: Where the budget is written, for example `policies/engineering.yaml:8`.
    """

    identity: str
    window: str
    unit: Unit
    limit: int
    posted: int
    held: int
    resets_at: datetime | None
    frozen: str | None = None
    source: str = ""

    @property
    def available(self) -> int:
        """What is neither spent nor promised."""
        return self.limit - self.posted - self.held

    @property
    def period(self) -> Period | Rolling:
        """How long its windows last."""
        return span_of(self.identity)

    @property
    def resets(self) -> str:
        """How its reset is said: `resets`; of a rolling window, which never does at once, `first frees`."""
        return "first frees" if isinstance(self.period, Rolling) else "resets"

    def __str__(self) -> str:
        """For example `legal/usd/month: $12,400.00 spent, $80.00 held of $15,000.00 (82 %)`."""
        if self.unit is Unit.CONCURRENT:
            return f"{self.identity}: {self.held} of {show(self.unit, self.limit)} in flight"
        percent = self.posted * 100 // self.limit if self.limit else 100
        return (
            f"{self.identity}: {show(self.unit, self.posted)} spent, {show(self.unit, self.held)} held "
            f"of {show(self.unit, self.limit)} ({percent} %)"
        )


@dataclass(frozen=True, slots=True)
class CandidateView:
    """One candidate that was tried.

    Attributes:
        model: Its id.
        line: Its line.
        ceiling: The most it could have cost.
        verdict: `fits`, `contended`, `exhausted`, `frozen`; `skipped` if the policy ruled it out;
            `not tried` if an earlier one fitted; `overloaded`, `not found` or `unanswered` if an earlier leg
            asked it in vain; where the ledger was away, `allowed`, `leased`, or
            `too much` for what was left of the lease.
        why: Why it stands in the list, or was skipped.
        binding: The identity of the budget that refused it, or `None`.
        expected: What it would probably cost, by what this feature used on this model in this process;
            `None` where nothing was learned yet.
    """

    model: str
    line: str
    ceiling: Money
    verdict: str
    why: str
    binding: str | None = None
    expected: Money | None = None


@dataclass(frozen=True, slots=True)
class Would:
    """What would have been decided, were everything enforced that is in shadow.

    Attributes:
        outcome: `held`, `exhausted`, `contended` or `frozen`; `refused` where the policy forbids the request.
        model: The model that would serve; `None` if none would.
        max_tokens: As it would be sent.
        reason: One sentence.
        alters: Whether that is another model, another `max_tokens`, or a refusal.
    """

    outcome: str
    model: str | None
    max_tokens: int
    reason: str
    alters: bool

    def as_json(self) -> dict[str, Any]:
        """As records and `--json` have it."""
        return {
            "outcome": self.outcome,
            "model": self.model,
            "max_tokens": self.max_tokens,
            "reason": self.reason,
            "alters": self.alters,
        }


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided for one request, and every number that decided it.

    Attributes:
        request_id: The request's id, which `governor why` takes.
        outcome: `held`, `exhausted`, `contended` or `frozen`; where the ledger was away, `allowed` or
            `leased` (see the policy's `if_ledger_is_down`); `cached` where an earlier answer was given
            instead of an error; of `decide` only, `deferred` where the Batches API would be offered.
        asked: The model, line or `auto` that was asked for.
        model: The model that serves; `None` if the request was refused.
        line: Its line; likewise.
        max_tokens: As it is sent.
        reason: One sentence.
        candidates: Every candidate, best first.
        budgets: Every budget asked; none where the ledger was away.
        input_tokens: The estimate of the prompt, without margin.
        estimate: How it was made: `count_tokens` or `local bound`.
        policy_hash: Of the policy files in force.
        prices: Version of the price table.
        waited_s: Seconds waited for calls in flight.
        hint_age_ms: Where the prompt was not counted because little was at stake: how old the oldest balance
            was that said so, in milliseconds; else `None`.
        shadow: What would have been decided if all were enforced, where something only watches; else `None`.
        preferred: The model that would serve if every budget could bear it and the API were idle.
        tier: The tier it is served in: `premium`, `standard` or `economy`.
        tier_why: Why in that one: `asked for`, or the policy's rule that chose it; '' where it has none.
        complexity: How hard the request is, and what makes it so, as `7 (size 2, code 3, …)`; '' where
            nothing goes by it.
        load: How busy the API was, 0 to 1, by what this process knew.
        changes: What of the request was changed for the model that serves to take it.
    """

    request_id: str
    outcome: str
    asked: str
    model: str | None
    line: str | None
    max_tokens: int
    reason: str
    candidates: tuple[CandidateView, ...]
    budgets: tuple[BudgetView, ...]
    input_tokens: int
    estimate: str
    policy_hash: str
    prices: str
    waited_s: float = 0.0
    hint_age_ms: int | None = None
    shadow: Would | None = None
    preferred: str = ""
    tier: str = ""
    tier_why: str = ""
    complexity: str = ""
    load: float = 0.0
    changes: tuple[str, ...] = ()

    @property
    def downgraded(self) -> bool:
        """Whether another model serves than the one preferred: a budget, the policy or the API is why."""
        return self.model is not None and self.preferred != self.model


@dataclass(frozen=True, slots=True)
class ThresholdCrossed:
    """A budget's spend crossed a threshold: told once per balance and step.

    Attributes:
        identity: The budget.
        window: Its window's id.
        percent: The threshold, in percent of the limit.
        posted: Spent, in the budget's unit.
        limit: In force then.
        unit: What it counts.
        warns: Whether the policy file says `warn` at this step.
        key: The same for every report of this crossing, to recognise a repetition by.
    """

    identity: str
    window: str
    percent: int
    posted: int
    limit: int
    unit: Unit
    warns: bool
    key: str

    def __str__(self) -> str:
        return (
            f"{self.identity} has reached {self.percent} %: "
            f"{show(self.unit, self.posted)} of {show(self.unit, self.limit)} spent"
        )


@dataclass(frozen=True, slots=True)
class ModelReplaced:
    """A model that is asked for is gone, or soon will be: told once per process and model.

    Attributes:
        model: The one that was asked for.
        successor: The one that serves in its place; `None` while it still serves itself.
        why: Why, with the day.
        warns: Always: somebody has to change a name.
    """

    model: str
    successor: str | None
    why: str
    warns: bool = True

    @property
    def key(self) -> str:
        """The same for every report of it, to recognise a repetition by."""
        return f"{self.model}:{self.successor or 'itself'}"

    def __str__(self) -> str:
        does = "still serves" if self.successor is None else f"is served by {self.successor}"
        return f"{self.model} {does}: {self.why}"


Event = ThresholdCrossed | ModelReplaced
"""What a governor's `on_event` is called with."""


@dataclass(frozen=True, slots=True)
class Leg:
    """One hold of a call, with its sendings and its end; most calls have one.

    Attributes:
        model: The model that was asked, or as the API named it.
        ended: `answered`, `refused` (never processed, so free), `cut` or `silent`.
        status: The HTTP status of its last sending, or 0.
        cost: What was posted for it.
        uncertain: It was charged by rule: it may have been billed, and no final usage was seen.
        attempts: How often it was sent.
        error: The class of the error it ended in; '' if it was answered.
    """

    model: str
    ended: str
    status: int
    cost: Money
    uncertain: bool
    attempts: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a call cost and why it went where it went.

    Attributes:
        request_id: The request's id.
        model: The model that served.
        cost: What was posted, over all legs: an earlier one that may have been billed stays charged.
        ceiling: What was held; of a call with several legs, for all that were charged.
        usage: The usage as the API reported it; the last leg's.
        decision: The decision; the last leg's, whose reason says what happened before.
        crossings: Thresholds this call crossed.
        attempts: How often it was sent, over all legs.
        latency_ms: From the first sending to the end of the answer.
        first_token_ms: From the sending to the first event of the stream; `None` if none came.
        overrun: It cost more than was held.
        late: It settled after its hold had expired.
        settled: Whether the ledger has taken it; if not, it is told before the process's next call. If the
            process ends first, the whole hold is charged when it expires; where it was written down (see
            `if_ledger_is_down`), the next process of this host tells it.
        uncertain: It was charged by rule: no final usage was seen, or none that could be read or priced.
        unpriced: What the usage reported and has no price here: the whole hold was charged at least.
        api_request_id: The API's own id of the request, or `None`.
        cached: The answer was given before, to the same request; this one was refused, or failed.
        legs: Every hold that the call had, in order; more than one where the API pushed back.
    """

    request_id: str
    model: str
    cost: Money
    ceiling: Money
    usage: Mapping[str, Any]
    decision: Decision
    crossings: tuple[ThresholdCrossed, ...] = ()
    attempts: int = 1
    latency_ms: int = 0
    first_token_ms: int | None = None
    overrun: bool = False
    late: bool = False
    settled: bool = True
    uncertain: bool = False
    unpriced: tuple[str, ...] = ()
    api_request_id: str | None = None
    cached: bool = False
    legs: tuple[Leg, ...] = ()


@dataclass(frozen=True, slots=True)
class BatchItem:
    """An item of a batch, as it was held.

    Attributes:
        custom_id: What its caller calls it.
        request_id: The id of its hold, under which the journal has it.
        asked: `auto`, a line or a model id.
        model: The model that serves it.
        ceiling: The most it can cost, at the batch price.
        reason: Why this model serves.
        changes: What of the request had to change for it.
    """

    custom_id: str
    request_id: str
    asked: str
    model: str
    ceiling: Money
    reason: str
    changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BatchReceipt:
    """What a batch may cost, and which model serves each of its items.

    Attributes:
        batch_id: The API's id of it.
        items: Its items, in the order of its requests.
        ceiling: The most it can cost.
    """

    batch_id: str
    items: tuple[BatchItem, ...]
    ceiling: Money


def show(unit: Unit, amount: int) -> str:
    """*amount* as people read it: `$1,500.00` for nano-dollars, `60 requests` or `8 calls` for a count."""
    if unit is Unit.USD:
        return str(Money(amount))
    return f"{amount:,} {'calls' if unit is Unit.CONCURRENT else unit.value}"


def instant(unix_ms: int) -> datetime | None:
    """An instant in UTC; `None` for 0, which stands for never."""
    return datetime.fromtimestamp(unix_ms / 1000, UTC) if unix_ms else None
