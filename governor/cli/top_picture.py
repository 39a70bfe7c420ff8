"""One look at a ledger that is in use, as data: what `governor top` draws, prints and gives as JSON. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from governor.budgets import Unit, quoted
from governor.cli.balances import as_json as budget_json
from governor.journal.call import BLOCKED
from governor.story.decision import instant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from governor.journal.call import Call
    from governor.story.decision import BudgetView

GROUPS = ("user", "feature", "run", "department", "model")
"""By what `Picture.spenders` can add calls up."""

NOBODY = "(none)"

_LATEST_MS = 2**53


@dataclass(frozen=True, slots=True)
class Flight:
    """A hold that is open.

    Attributes:
        id: Of the hold.
        user, department, feature, run, model: As far as they are known; else ''.
        began_ms: When it was held; `None`: before the records that were read.
        held_nanos: How much money it holds; `None`: no budget of money, or it is not known.
        expires_ms: When the ledger will take it for dead, unless it is extended.
        identities: Of the budgets it holds of.
    """

    id: str
    user: str = ""
    department: str = ""
    feature: str = ""
    run: str = ""
    model: str = ""
    began_ms: int | None = None
    held_nanos: int | None = None
    expires_ms: int = 0
    identities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelLoad:
    """What the processes that call a model say of it, as a process that listens to them would judge it.

    Attributes:
        model: Its id.
        load_bp: The highest of the next three, basis points.
        limits_bp: Used share of its fullest rate limit.
        in_flight_bp: Share of the requests limit that what is in flight would use.
        pushed_bp: Share of 429 and 529 among the answers of the last minute.
        in_flight: Requests in flight.
        waiting: Users that wait for their turn.
        sent_per_min: At which rate they are sent.
        answers: Of the last minute; *pushed* of them were 429 or 529.
        latency_ms: How long an answered request takes; 0: unknown.
        breaker: `closed`, `open` or `half open`; *why* it is not closed.
        opens_in_s: About how long until it is tried again.
        processes: How many speak of it.
    """

    model: str
    load_bp: int = 0
    limits_bp: int = 0
    in_flight_bp: int = 0
    pushed_bp: int = 0
    in_flight: int = 0
    waiting: int = 0
    sent_per_min: int = 0
    answers: int = 0
    pushed: int = 0
    latency_ms: int = 0
    breaker: str = "closed"
    why: str = ""
    opens_in_s: float = 0.0
    processes: int = 0


@dataclass(slots=True)
class Spender:
    """Who spends: calls of one user, feature, run, department or model, added up.

    Attributes:
        name: Theirs; '' where calls had none.
        department: Of a run or user whose calls were of one department; else ''.
        cost_nanos: Of calls that ended in the span of the picture.
        calls: How many of those there were, each counted once; *blocked* by a budget, *failed* at the API.
        in_flight: Calls that are open; *held_nanos*: what is held for them.
        last_ms: When something of theirs last happened.
        run_of: Of a run, its department; else ''.
    """

    name: str
    department: str = ""
    run_of: str = ""
    cost_nanos: int = 0
    calls: int = 0
    blocked: int = 0
    failed: int = 0
    in_flight: int = 0
    held_nanos: int = 0
    last_ms: int = 0


@dataclass(frozen=True, slots=True)
class Picture:
    """One look.

    Attributes:
        organization: Whose ledger; *where* it is, without a password.
        where: As said.
        now_ms: The ledger's clock, Unix milliseconds.
        since_ms: From when on calls that ended are counted.
        budgets: With their numbers; *known* is how many budgets were seen, of which these were read.
        known: As said.
        flights: Open holds, the first to expire first; *open* is how many there are.
        open: As said.
        models: The busiest first.
        calls: Those that ended since *since_ms*, oldest first.
        alerts: Those that are going on, as `Alert.as_json` has them; the newest first.
        partly: The journal grew faster than it is read here: *calls* are a part.
    """

    organization: str
    where: str
    now_ms: int
    since_ms: int
    budgets: tuple[BudgetView, ...] = ()
    known: int = 0
    flights: tuple[Flight, ...] = ()
    open: int = 0
    models: tuple[ModelLoad, ...] = ()
    calls: tuple[Call, ...] = ()
    alerts: tuple[dict[str, Any], ...] = ()
    partly: bool = False
    runs: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """Of (department, run): the budgets that are the run's own."""

    @property
    def span_s(self) -> float:
        """How long the calls were collected, seconds; at least one."""
        return max(1.0, (self.now_ms - self.since_ms) / 1000)

    @property
    def spent_nanos(self) -> int:
        """What the calls of the span cost."""
        return sum(call.cost_nanos for call in self.calls)

    @property
    def held_nanos(self) -> int:
        """What is held for the open calls that are named."""
        return sum(flight.held_nanos or 0 for flight in self.flights)

    def per_hour(self, nanos: int) -> int:
        """What an hour costs at the rate of *nanos* in the span."""
        return round(nanos * 3600 / self.span_s)

    def counts(self) -> tuple[int, int, int]:
        """Of the calls of the span: how many there were, how many were blocked, how many failed."""
        whole = [call for call in self.calls if call.final]
        blocked = sum(call.state == BLOCKED for call in whole)
        return len(whole), blocked, sum(call.failed for call in whole)

    def spenders(self, by: str) -> list[Spender]:
        """Who spends, by user, feature, run, department or model; who spent most first."""
        found: dict[tuple[str, str], Spender] = {}
        for call in self.calls:
            one = _of(found, by, getattr(call, by), call.department)
            one.cost_nanos += call.cost_nanos
            one.last_ms = max(one.last_ms, call.ended_ms or call.began_ms)
            if call.final:
                one.calls += 1
                one.blocked += call.state == BLOCKED
                one.failed += call.failed
        for flight in self.flights:
            one = _of(found, by, getattr(flight, by), flight.department)
            one.in_flight += 1
            one.held_nanos += flight.held_nanos or 0
            one.last_ms = self.now_ms
        return sorted(found.values(), key=lambda one: (-one.cost_nanos, -one.held_nanos, one.name))

    def budgets_of_run(self, department: str, run: str) -> tuple[str, ...]:
        """The budgets that are a run's own; none where the policy has none for runs."""
        return self.runs.get((department, run), ())

    def as_json(self) -> dict[str, Any]:
        """The picture for programs: amounts are integers in the budget's unit, nano-dollars of money."""
        calls, blocked, failed = self.counts()
        return {
            "organization": self.organization,
            "ledger": self.where,
            "at": instant(self.now_ms),
            "since": instant(self.since_ms),
            "whole": not self.partly,
            "calls": calls,
            "blocked": blocked,
            "failed": failed,
            "spent_nanos": self.spent_nanos,
            "per_hour_nanos": self.per_hour(self.spent_nanos),
            "in_flight": self.open,
            "budgets_known": self.known,
            "budgets": [budget_json(view, None) for view in self.budgets],
            "flights": [self._flight_json(one) for one in self.flights],
            "models": [_slots(one) for one in self.models],
            "spenders": {by: [_slots(one) for one in self.spenders(by)] for by in GROUPS},
            "alerts": list(self.alerts),
        }

    def _flight_json(self, flight: Flight) -> dict[str, Any]:
        age_ms = None if flight.began_ms is None else max(0, self.now_ms - flight.began_ms)
        told = {**_slots(flight), "age_ms": age_ms, "overdue": flight.expires_ms <= self.now_ms}
        told["expires_at"] = instant(told.pop("expires_ms"))
        told["began_at"] = instant(told.pop("began_ms") or 0)
        return told


def _of(found: dict[tuple[str, str], Spender], by: str, name: str, department: str) -> Spender:
    """A run is one of its department: two departments may have runs of the same name."""
    key = (department if by == "run" else "", name)
    one = found.setdefault(key, Spender(name, department, key[0]))
    if one.department != department:
        one.department = ""
    return one


def _slots(one: Any) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__slots__}


# Sorting and filtering, each a choice of the one who looks.

Key = Any


def full(view: BudgetView) -> float:
    """How full a budget is with what is spent and held, 1.0 where it is full."""
    return (view.posted + view.held) / view.limit if view.limit else 1.0


BUDGET_SORTS: dict[str, Callable[[BudgetView], Key]] = {
    "fullest": lambda v: (v.frozen is None, -full(v), v.identity),
    "spent": lambda v: (v.unit is not Unit.USD, -v.posted, v.identity),
    "resets": lambda v: (v.resets_at is None, v.resets_at and v.resets_at.timestamp(), v.identity),
    "name": lambda v: v.identity,
}
FLIGHT_SORTS: dict[str, Callable[[Flight], Key]] = {
    "oldest": lambda f: (f.began_ms or 0, f.id),
    "dearest": lambda f: (-(f.held_nanos or 0), f.id),
    "who": lambda f: (f.department, f.user, f.began_ms or 0),
    "model": lambda f: (f.model, f.began_ms or 0),
}
MODEL_SORTS: dict[str, Callable[[ModelLoad], Key]] = {
    "load": lambda m: (m.breaker == "closed", -m.load_bp, -m.in_flight, m.model),
    "in flight": lambda m: (-m.in_flight, m.model),
    "name": lambda m: m.model,
}
SPENDER_SORTS: dict[str, Callable[[Spender], Key]] = {
    "spent": lambda s: (-s.cost_nanos, -s.held_nanos, s.name),
    "calls": lambda s: (-s.calls, -s.in_flight, s.name),
    "blocked": lambda s: (-s.blocked, -s.failed, s.name),
    "name": lambda s: s.name,
}


def matching(rows: Iterable[Any], words: str, *names: str) -> list[Any]:
    """Those of *rows* that have every one of the words, whatever their case, in one of the fields *names*."""
    wanted = words.casefold().split()
    if not wanted:
        return list(rows)
    # Identities are percent-encoded, what people type is not.
    also = [(word, quoted(word).casefold()) for word in wanted]

    def fits(row: Any) -> bool:
        text = " ".join(str(getattr(row, name) or "") for name in names).casefold()
        return all(plain in text or code in text for plain, code in also)

    return [row for row in rows if fits(row)]


def alert_began_ms(told: Mapping[str, Any]) -> int | None:
    """When an alert began, Unix milliseconds; `None` where it says no instant: records may hold anything."""
    began_ms = told.get("began_ms")
    return began_ms if isinstance(began_ms, int) and 0 < began_ms < _LATEST_MS else None
