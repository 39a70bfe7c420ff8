"""A request: what every one consults, what a caller asks for, and what planning makes of it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from governor.budgets import Period, Unit
from governor.pricing import Bounds
from governor.routing import Traffic
from governor.story import matrix
from governor.story.breaker import Breaker
from governor.story.conversations import Conversations
from governor.story.counter import Counter
from governor.story.hints import Hints
from governor.story.kept import Answers
from governor.story.learned import Learned
from governor.story.leases import Leases
from governor.story.orders import Orders
from governor.story.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from governor.clock import LedgerClock
    from governor.findings import Findings
    from governor.ledger.commands import Held, Release, Settle
    from governor.policy import Attribution, BudgetTerm, Policies, Rules
    from governor.policy.routes import TierTerms
    from governor.pricing import Model, PriceTable
    from governor.story.effects import Heard, Owe
    from governor.story.leases import Draw
    from governor.story.matrix import Matrix, Offer
    from governor.story.route import Route


class Keeper(Protocol):
    """Where drivers write down what the ledger has still to be told, so that it outlives the process."""

    adopted: bool
    """Whether this process has taken over what ended ones left."""

    def carry_out(self, effect: Owe | Heard) -> None:
        """Write one thing down; an `Owe` is on the disk when this returns."""

    def adopt(self) -> list[Settle | Release]:
        """Take over what ended processes left owed."""
        raise NotImplementedError

    def forget(self) -> None:
        """Begin anew, as a forked child does: what is written down is its parent's."""

    def close(self) -> None:
        """Let go of it; the next process of this host finds what was left."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class House:
    """What every request consults.

    Attributes:
        policies: The policies in force.
        prices: The price table.
        clock: The ledger's time.
        unheard: How calls ended that the ledger could not be told of yet.
        hints: What the ledger last said of each budget.
        counter: Prompts counted before.
        learned: What calls really used.
        breaker: Whether the ledger is asked now, where it was away.
        conversations: Which model each is on.
        answers: Those given before.
        traffic: What the API can still take.
        told: Keys of the events that are told once in a process.
        leases: What this process may live on while it is.
        orders: The ledger's standing orders, as this process was told.
        spool: Where what it must be told is written down; `None`: nowhere, so no call goes without it.
        scored: Whether the application says how hard a request is (`Score`).
        inspected: Whether the application says what is in a request (`Inspect`).
        hashed: Whether records have the hash of what was sent.
        violations: What the policy forbade lately.
        tells: Whether a driver is told how each call ended (`governor.story.told.Tell`).
    """

    policies: Policies
    prices: PriceTable
    clock: LedgerClock
    unheard: list[Settle | Release] = field(default_factory=list)
    hints: Hints = field(default_factory=Hints)
    counter: Counter = field(default_factory=Counter)
    learned: Learned = field(default_factory=Learned)
    breaker: Breaker = field(default_factory=Breaker)
    conversations: Conversations = field(default_factory=Conversations)
    answers: Answers = field(default_factory=Answers)
    traffic: Traffic = None  # type: ignore[assignment]
    told: set[str] = field(default_factory=set)
    leases: Leases = field(default_factory=Leases)
    spool: Keeper | None = None
    scored: bool = False
    inspected: bool = False
    hashed: bool = False
    tells: bool = False
    violations: Tally = field(default_factory=Tally)
    orders: Orders = field(default_factory=Orders)

    def __post_init__(self) -> None:
        if self.traffic is None:  # it needs the house's own clock
            object.__setattr__(self, "traffic", Traffic("alone", self.clock.now_ms))

    def forget(self) -> None:
        """Begin anew, as a forked child does: leases, and what is still to be told, are its parent's."""
        self.leases.forget()
        self.traffic.renew(secrets.token_hex(8))
        self.unheard.clear()
        if self.spool is not None:
            self.spool.forget()


class Door(StrEnum):
    """Where a request came in, which says who retries it and who reads its answer."""

    CALL = "call"
    """`call()`: the flow retries, moves on and reads the whole answer."""

    STREAM = "stream"
    """`stream()`: the flow retries and moves on until an answer begins; its caller reads it."""

    SDK = "sdk"
    """The middleware: one attempt of the SDK's; the SDK retries, its caller reads the answer."""

    BATCH = "batch"
    """An item of a batch: held at the batch price until its result is read."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a caller asks for.

    Attributes:
        id: Of its hold: the request's id, made by the caller or for it; of a later leg, derived from that.
        who: Who asks, and for what.
        asked: `auto`, a line or a model id.
        max_tokens: As asked; `None` if the feature's is to be used.
        body: The other parameters of `messages.create`.
        pin: Never swap the model.
        tier: The tier it is to be served in; `None`: as the policy chooses.
        deferrable: Whether it can wait for the Batches API.
        input_tokens: Tokens of its prompt, where they are known as if the API had counted them: in a
            rehearsal there is none to count.
        complexity: How hard it is, 0 to 10, where that is known without its prompt: in a rehearsal.
        load_bp: How busy the API is taken to be, basis points; `None`: as is known of it.
        of: The request's id, where this is a later leg of its call; else ''.
        leg: Which leg of its call this is, from 1 on.
        gone: The model that the caller named, where that is gone and `asked` is its successor; else ''.
        door: Where it came in.
        silence_s: How long its sender waits for the API in silence, where the policy does not say that;
            `None`: as the tier says.
        stop_when_spent: Whether its answer ends when what was held for it, or its run's money, is used up.
        held_tokens: Tokens of earlier turns that the API adds to its prompt; `None`: that is not known.
        held_by: The model by whose tokenizer these were counted.
        findings: What is said of its data; `None`: nothing.
    """

    id: str
    who: Attribution
    asked: str
    max_tokens: int | None
    body: Mapping[str, Any]
    pin: bool = False
    tier: str | None = None
    deferrable: bool = False
    input_tokens: int | None = None
    complexity: float | None = None
    load_bp: int | None = None
    of: str = ""
    leg: int = 1
    gone: str = ""
    door: Door = Door.CALL
    silence_s: float | None = None
    held_tokens: int | None = 0
    held_by: str = ""
    stop_when_spent: bool = False
    findings: Findings | None = None

    @property
    def named(self) -> str:
        """What the caller asked for: `auto`, a line or a model id."""
        return self.gone or self.asked

    @property
    def call_id(self) -> str:
        """The id that the caller knows the whole call by."""
        return self.of or self.id


@dataclass(frozen=True, slots=True)
class Trial:
    """What is asked first where next to nothing is at stake; the prompt is counted if that fails.

    Attributes:
        table: The first candidate and its budgets.
        hint_ms: When the oldest balance that says so was heard, Unix milliseconds.
    """

    table: Matrix
    hint_ms: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A request after pricing, policy and routing, before any balance was looked at.

    Attributes:
        request: What the caller asked for.
        rules: What the files say of it.
        route: What the choice of candidates went by.
        preferred: The model that would serve if every budget could bear it and the API were idle.
        offers: The candidates with their ceilings, best first.
        skipped: Those that the policy rules out, whatever the balances.
        sent: The body with the bounds of the policy in it, as it is sent but for the model.
        input_tokens: The estimate of the prompt for the first candidate, without margin.
        estimate: How it was made: `count_tokens` or `local bound`.
        counts: For each tokenizer (or model), tokens of the prompt and whether the API counted them.
        at_ms: When it was priced, Unix milliseconds.
        trial: Where only the first candidate is tried, on a bound that need not be counted; `None`: all are.
        shrunk: Whether its `max_tokens` was made smaller rather than refuse it.
        unpriced: Why it could not be priced, though nothing may refuse it: nothing is held for it; else ''.
    """

    request: Request
    rules: Rules
    route: Route
    preferred: str
    offers: tuple[Offer, ...]
    skipped: tuple[Offer, ...]
    sent: Mapping[str, Any]
    input_tokens: int
    estimate: str
    counts: Mapping[str, tuple[int, bool]]
    at_ms: int
    trial: Trial | None = None
    unpriced: str = ""
    shrunk: bool = False

    @property
    def tier(self) -> TierTerms:
        """How it is served."""
        return self.route.tier

    @property
    def silence_s(self) -> float:
        """Seconds of silence after which its sender gives it up."""
        given = self.request.silence_s
        return self.tier.timeout_s if given is None else given

    @property
    def max_tokens(self) -> int:
        """As it is sent; 0 where a call that nothing may refuse gives none."""
        return int(self.sent.get("max_tokens") or 0)

    @property
    def tried(self) -> tuple[Offer, ...]:
        """The offers that the ledger is asked for: all, or in a trial the first."""
        return self.offers if self.trial is None else self.trial.table.offers

    @property
    def hint_age_ms(self) -> int | None:
        """How old the oldest balance was that a trial rests on, in milliseconds; `None` without a trial."""
        return None if self.trial is None else max(0, self.at_ms - self.trial.hint_ms)

    def count(self, model: Model) -> tuple[int, bool] | None:
        """Tokens of the prompt for *model*, and whether the API counted them; `None` if nobody did."""
        try:
            return count_for(self.counts, model)
        except KeyError:
            return None

    def body(self, offer: Offer) -> dict[str, Any]:
        """What is sent when *offer* serves."""
        return {**(offer.body or self.sent), "model": offer.candidate.model}


@dataclass(frozen=True, slots=True)
class Admitted:
    """How a plan was let through.

    Attributes:
        table: What was asked, or would have been.
        held: The hold; where the ledger was away, only which candidate serves.
        waited_s: Seconds waited for calls in flight.
        how: `held`; or, without the ledger, `allowed` or `leased`.
        draw: What it took of a lease.
        call: Tells a call that went without the ledger from another one of its id; else ''.
    """

    table: Matrix
    held: Held
    waited_s: float = 0.0
    how: str = "held"
    draw: Draw | None = None
    call: str = ""


def matrix_of(house: House, planned: Plan) -> Matrix:
    """What the ledger is asked with for *planned*, in the windows of this instant."""
    now_ms = house.clock.now_ms()
    if planned.trial is not None:
        return planned.trial.table.at(now_ms)
    models = dict.fromkeys(offer.candidate.priced_as for offer in planned.offers)
    terms = budgets_of(house, planned.request, planned.rules, tuple(models))
    if planned.request.door is Door.BATCH:
        terms = tuple(term for term in terms if not paces(term))
    return matrix.build(terms, planned.offers, now_ms)


def budgets_of(house: House, request: Request, rules: Rules, models: Sequence[str]) -> tuple[BudgetTerm, ...]:
    """Every budget that a request touches on these models: those of the files, and of standing orders."""
    ordered = house.orders.terms(request.who, house.clock.now_ms(), shadow=rules.shadow)
    return (*house.policies.budgets(request.who, models), *ordered)


def paces(term: BudgetTerm) -> bool:
    """Whether a budget says how fast the API is asked, not how much: a batch waits its turn at the API.

    So are `concurrent`, and requests or tokens a minute.
    """
    return term.unit is Unit.CONCURRENT or (term.unit is not Unit.USD and term.period is Period.MINUTE)


def count_for(counts: Mapping[str, tuple[int, bool]], model: Model) -> tuple[int, bool]:
    """What *counts* says for a model: counted for itself, or for its tokenizer.

    Raises:
        KeyError: It says nothing of either.
    """
    return counts[model.id] if model.id in counts else counts[str(model.tokenizer)]


def bounds_of(rules: Rules) -> Bounds:
    """What the policy adds to a request's own bounds."""
    usual = Bounds()
    return Bounds(
        geo=rules.inference_geo,
        endpoint=rules.endpoint,
        tool_result_tokens=rules.tool_result_tokens or usual.tool_result_tokens,
        tool_uses=rules.tool_uses,
        strict=rules.strict_tools,
    )
