"""A ledger in a dictionary, made of the pure rules alone: for simulations of many thousand seeds.

`Twins` holds it equal to the real one, answer by answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from governor.errors import ReservationConflict
from governor.ledger import admission, detail, lifecycle
from governor.ledger import commands as c

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from governor.ledger import Ledger

Ref = tuple[str, str]


@dataclass(slots=True)
class Account:
    """One balance."""

    posted: int = 0
    held: int = 0
    crossed: frozenset[int] = frozenset()
    end_ms: int = 0
    file_limit: int = 0


@dataclass(slots=True)
class Hold:
    """One hold: its lines are budget, amount and what its expiry posts."""

    state: str
    payload: str
    candidate: int
    expires_ms: int
    lines: list[tuple[c.BudgetRow, int, int]]
    ended_by: str = ""
    closing: dict[str, Any] = field(default_factory=dict)


class MemoryLedger:
    """The same verbs as `SqliteLedger`, without a file, for one thread.

    Args:
        clock: Unix milliseconds.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._accounts: dict[Ref, Account] = {}
        self._holds: dict[str, Hold] = {}
        self._open: dict[str, Hold] = {}
        self._granted: dict[Ref, int] = {}
        self._overrides: dict[str, tuple[int, int]] = {}
        self._freezes: dict[str, tuple[str, int]] = {}
        self._operations: dict[str, str] = {}
        self._journal: list[tuple[str, str, int, str, str, str]] = []
        self._now_ms = 0

    def look(self, command: c.Command[Any]) -> None:
        """A command is on its way; only a planted bug cares."""

    def execute(self, command: c.Command[Any]) -> Any:
        """Carry out *command*; raises `ReservationConflict` as every ledger does."""
        self._now_ms = self._clock()
        return self._verbs[type(command)](self, command)

    def close(self) -> None:
        """Nothing is open."""

    def _reserve(self, command: c.Reserve) -> c.Held | c.Refused | c.WindowMoved:
        now_ms, known = self._now_ms, self._holds.get(command.id)
        if known is not None:
            if known.payload != command.payload():
                raise ReservationConflict(f"request id {command.id!r} was used before")
            balances = self._balances(command.budgets)
            return c.Held(known.candidate, balances, known.state, known.expires_ms, now_ms, self._due())
        if any(b.end_ms and not b.start_ms <= now_ms < b.end_ms for b in command.budgets):
            return c.WindowMoved(now_ms)
        balances = self._balances(command.budgets)
        decision = self._decide(command, balances)
        outcome = "held" if decision.chosen is not None else decision.reason
        if decision.chosen is not None:
            self._hold(command, decision.chosen)
        if outcome == "held" or not (command.trial or (command.quiet and outcome == "contended")):
            text = detail.write_balances(decision.chosen, balances)
            self._write("reserve", command.id, outcome, text, command.record)
        if decision.chosen is not None:
            expires_ms = now_ms + command.ttl_ms
            return c.Held(decision.chosen, balances, lifecycle.OPEN, expires_ms, now_ms, self._due())
        earliest = min((hold.expires_ms for hold in self._open.values()), default=None)
        return c.Refused(outcome, balances, earliest, now_ms, self._due())

    def _decide(self, command: c.Reserve, balances: tuple[c.Balance, ...]) -> admission.Decision:
        return admission.decide(command.candidates, balances)

    def _hold(self, command: c.Reserve, chosen: int) -> None:
        charge = command.charge_on_expiry
        lines = [
            (row, ask.amount, lifecycle.charged_on_expiry(row.unit, ask.amount, charge=charge))
            for row, ask in zip(command.budgets, command.candidates[chosen], strict=True)
            if ask is not None
        ]
        for row, amount, _ in lines:
            self._post(row, posted=0, held=amount)
        expires_ms = self._now_ms + command.ttl_ms
        hold = Hold(lifecycle.OPEN, command.payload(), chosen, expires_ms, lines)
        self._holds[command.id] = self._open[command.id] = hold

    def _close(self, command: c.Settle | c.Release) -> c.Closed:
        verb = "settle" if isinstance(command, c.Settle) else "release"
        hold = self._holds.get(command.id)
        if hold is not None and hold.state in lifecycle.ENDED:
            if hold.ended_by != command.payload():
                raise ReservationConflict(f"hold {command.id!r} is {hold.state} already")
            return self._again(command, hold)
        named = [(p.budget.identity, p.budget.window) for p in command.postings]
        if hold is not None and _refs(hold) != tuple(named):
            raise ReservationConflict(f"hold {command.id!r} touches other budgets")
        state = lifecycle.NEXT[lifecycle.OPEN if hold is None else hold.state, verb]
        before = [(p.budget, 0, 0) for p in command.postings] if hold is None else hold.lines
        late = state == lifecycle.SETTLED_LATE
        fired = []
        for index, (posting, (_, held, charge)) in enumerate(zip(command.postings, before, strict=True)):
            posted = self._adjusted(posting.amount, charge) if late else posting.amount
            fired += self._fired(index, posting.budget, posted=posted, held=0 if late else -held)
        overrun = any(p.amount > held for p, (_, held, _) in zip(command.postings, before, strict=True))
        unknown = hold is None
        hold = hold or Hold(state, "", 0, 0, before)
        hold.state, hold.ended_by = state, command.payload()
        hold.closing = {"overrun": overrun and not unknown, "unknown": unknown, "fired": fired, "refs": named}
        self._holds[command.id] = hold
        self._open.pop(command.id, None)
        self._write(
            verb, command.id, state, _closing(hold, [p.amount for p in command.postings]), command.record
        )
        return self._answer(command, hold)

    def _adjusted(self, amount: int, charge: int) -> int:
        """What a late settle adds: its expiry's charge is replaced."""
        return amount - charge

    def _again(self, command: c.Settle | c.Release, hold: Hold) -> c.Closed:
        """The answer to a repeated ending."""
        return self._answer(command, hold)

    def _answer(self, command: c.Settle | c.Release, hold: Hold) -> c.Closed:
        return c.Closed(
            state=hold.state,
            balances=self._balances(p.budget for p in command.postings),
            crossings=_crossings(hold.closing["fired"], hold.closing["refs"]),
            overrun=hold.closing["overrun"],
            unknown=hold.closing["unknown"],
            now_ms=self._now_ms,
            due=self._due(),
        )

    def _extend(self, command: c.Extend) -> c.Extended:
        hold = self._holds.get(command.id)
        if hold is None or hold.state != lifecycle.OPEN:
            return c.Extended("unknown" if hold is None else hold.state, 0)
        hold.expires_ms = self._now_ms + command.ttl_ms
        return c.Extended(hold.state, hold.expires_ms)

    def _expire(self, command: c.Expire) -> c.Expired:
        ended, crossed = [], []
        for due in command.holds:
            hold = self._open.get(due.id)
            if hold is None or hold.expires_ms > self._now_ms:
                continue
            fired = []
            for index, (row, amount, charge) in enumerate(hold.lines):
                fired += self._fired(index, row, posted=charge, held=self._freed(amount))
            hold.state = lifecycle.EXPIRED
            del self._open[due.id]
            hold.closing = {"overrun": False, "unknown": False, "fired": fired, "refs": _refs(hold)}
            charges = [charge for _, _, charge in hold.lines]
            self._write("expire", due.id, hold.state, _closing(hold, charges), "{}")
            ended.append(due.id)
            crossed += _crossings(fired, _refs(hold))
        return c.Expired(tuple(ended), tuple(crossed))

    def _freed(self, amount: int) -> int:
        """What an expiry adds to what is held."""
        return -amount

    def _read(self, command: c.Read) -> c.Readings:
        return c.Readings(self._balances(command.budgets), self._now_ms)

    def _administer(self, command: c.Grant | c.SetLimit | c.Freeze | c.Unfreeze) -> c.Administered:
        """A grant, a limit, a freeze or its end, unless it was carried out before."""
        kind = {c.Grant: "grant", c.SetLimit: "set", c.Freeze: "freeze", c.Unfreeze: "unfreeze"}[
            type(command)
        ]
        identity = command.identity
        match command:
            case c.Grant():
                payload, text = f"{command.window} {command.amount}", str(command.amount)
            case c.SetLimit():
                text = "" if command.limit is None else str(command.limit)
                payload = f"{text} {command.until_ms}"
            case c.Freeze():
                payload, text = f"{command.until_ms} {command.why}", command.why
            case _:
                payload = text = ""
        payload = f"{kind} {identity} {payload}"
        if self._operations.get(command.id, payload) != payload:
            raise ReservationConflict(f"operation id {command.id!r} was used before")
        if command.id not in self._operations:
            self._operations[command.id] = payload
            self._change(command)
            self._write(kind, command.id, identity, text, command.record)
        added = self._granted[identity, command.window] if isinstance(command, c.Grant) else 0
        return c.Administered(self._now_ms, added)

    def _change(self, command: c.Grant | c.SetLimit | c.Freeze | c.Unfreeze) -> None:
        match command:
            case c.Grant(identity=identity, window=window):
                self._granted[identity, window] = self._granted.get((identity, window), 0) + command.amount
            case c.SetLimit(limit=None):
                self._overrides.pop(command.identity, None)
            case c.SetLimit(limit=limit):
                self._overrides[command.identity] = (limit or 0, command.until_ms)
            case c.Freeze():
                self._freezes[command.identity] = (command.why, command.until_ms)
            case _:
                self._freezes.pop(command.identity, None)

    def _list_balances(self, command: c.ListBalances) -> tuple[c.KnownBalance, ...]:
        known = sorted(self._accounts.items())
        return tuple(
            c.KnownBalance(*name, account.end_ms, self._balance(name, account.file_limit))
            for name, account in known
            if command.contains in name[0]
            and (command.past or not account.end_ms or account.end_ms > self._now_ms)
        )

    def _list_holds(self, _: c.ListHolds) -> tuple[c.OpenHold, ...]:
        found = [c.OpenHold(name, hold.expires_ms, _refs(hold)) for name, hold in self._open.items()]
        return tuple(sorted(found, key=lambda hold: (hold.expires_ms, hold.id)))

    def _read_journal(self, command: c.ReadJournal) -> tuple[c.JournalEntry, ...]:
        named = [(str(i), *e) for i, e in enumerate(self._journal) if command.id in (None, e[1])]
        return tuple(c.JournalEntry(*entry) for entry in named[-command.limit :])

    def _due(self) -> tuple[c.DueHold, ...]:
        now_ms = self._now_ms
        late = sorted((h.expires_ms, name) for name, h in self._open.items() if h.expires_ms <= now_ms)
        return tuple(c.DueHold(name, _refs(self._open[name])) for _, name in late[: c.DUE_PER_REPLY])

    def _balances(self, rows: Iterable[c.BudgetRow]) -> tuple[c.Balance, ...]:
        return tuple(self._balance((row.identity, row.window), row.limit) for row in rows)

    def _balance(self, name: Ref, file_limit: int) -> c.Balance:
        account = self._accounts.get(name) or Account()
        reason, until_ms = self._freezes.get(name[0], (None, 0))
        frozen = reason if not until_ms or self._now_ms < until_ms else None
        return c.Balance(account.posted, account.held, self._limit(name, file_limit), frozen)

    def _limit(self, name: Ref, file_limit: int) -> int:
        amount, until_ms = self._overrides.get(name[0], (file_limit, 0))
        base = amount if not until_ms or self._now_ms < until_ms else file_limit
        return base + self._granted.get(name, 0)

    def _fired(
        self, index: int, row: c.BudgetRow, *, posted: int, held: int
    ) -> list[tuple[int, int, int, int]]:
        return [(index, *crossing) for crossing in self._post(row, posted=posted, held=held)]

    def _post(self, row: c.BudgetRow, *, posted: int, held: int) -> list[tuple[int, int, int]]:
        """Change one balance; the thresholds it crosses as (step, posted, limit)."""
        name = (row.identity, row.window)
        account = self._accounts.get(name)
        if account is None:
            account = self._accounts[name] = Account(end_ms=row.end_ms)
        account.posted += posted
        account.held += held
        account.file_limit = row.limit
        if not row.steps or not posted:
            return []
        limit = self._limit(name, row.limit)
        account.crossed, fired = self._crossed(account, limit, row.steps)
        return [(step, account.posted, limit) for step in fired]

    def _crossed(
        self, account: Account, limit: int, steps: tuple[int, ...]
    ) -> tuple[frozenset[int], list[int]]:
        return admission.crossings(account.crossed, account.posted, limit, steps)

    def _write(self, kind: str, identifier: str, outcome: str, text: str, record: str) -> None:
        self._journal.append((kind, identifier, self._now_ms, outcome, text, record))

    _verbs: dict[type[c.Command[Any]], Callable[..., Any]] = {  # noqa: RUF012 - never changed
        c.Reserve: _reserve,
        c.Settle: _close,
        c.Release: _close,
        c.Extend: _extend,
        c.Expire: _expire,
        c.Read: _read,
        c.Grant: _administer,
        c.SetLimit: _administer,
        c.Freeze: _administer,
        c.Unfreeze: _administer,
        c.ListBalances: _list_balances,
        c.ListHolds: _list_holds,
        c.ReadJournal: _read_journal,
    }


def _refs(hold: Hold) -> tuple[Ref, ...]:
    return tuple((row.identity, row.window) for row, _, _ in hold.lines)


def _closing(hold: Hold, amounts: list[int]) -> str:
    crossed = detail.write_crossings(hold.closing["fired"])
    overrun, unknown = hold.closing["overrun"], hold.closing["unknown"]
    return detail.write_closing(overrun=overrun, unknown=unknown, amounts=amounts, crossed=crossed)


def _crossings(fired: Iterable[tuple[int, int, int, int]], refs: Any) -> tuple[c.Crossing, ...]:
    return tuple(c.Crossing(*refs[index], step, posted, limit) for index, step, posted, limit in fired)


class Twins:
    """Two ledgers that are told the same and must answer the same."""

    def __init__(self, one: Ledger, other: Ledger) -> None:
        self._both = one, other

    def look(self, command: c.Command[Any]) -> None:
        """As `MemoryLedger.look`."""

    def execute(self, command: c.Command[Any]) -> Any:
        """Carry out *command* on both; the answer of the first."""
        answer, other = (_answer(ledger, command) for ledger in self._both)
        same = _plain(answer) == _plain(other) if isinstance(command, c.ReadJournal) else answer == other
        assert same, f"{command}: {answer}, the other ledger says {other}"
        if answer is ReservationConflict:
            raise ReservationConflict(f"{command} is in conflict with an earlier one")
        return answer

    def close(self) -> None:
        """Close both."""
        for ledger in self._both:
            ledger.close()


def _answer(ledger: Ledger, command: c.Command[Any]) -> Any:
    try:
        return ledger.execute(command)
    except ReservationConflict:
        return ReservationConflict


def _plain(entries: Iterable[c.JournalEntry]) -> list[tuple[Any, ...]]:
    """The journal without what is the store's own: places in it, and its creation."""
    return [(e.kind, e.id, e.at_ms, e.outcome, e.detail, e.record) for e in entries if e.kind != "create"]
