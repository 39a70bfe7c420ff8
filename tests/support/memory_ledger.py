"""A ledger in a dictionary, made of the pure rules alone: for simulations of many thousand seeds.

`Twins` holds it equal to a real one, answer by answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from governor.budgets import ROLLING_BUCKETS
from governor.errors import ReservationConflict
from governor.ledger import admission, detail, lifecycle
from governor.ledger import commands as c
from governor.ledger.board import others

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Ref = tuple[str, str]


class Line(NamedTuple):
    """What a hold takes of one budget, what its expiry posts, and the bucket it was opened in (0: none)."""

    budget: c.BudgetRow
    amount: int
    charge: int
    slot: int


@dataclass(slots=True)
class Account:
    """One balance; of a rolling window the buckets say what was posted."""

    posted: int = 0
    held: int = 0
    crossed: frozenset[int] = frozenset()
    end_ms: int = 0
    file_limit: int = 0
    bucket_ms: int = 0
    buckets: dict[int, int] = field(default_factory=dict)

    def oldest(self, now_ms: int) -> int:
        """The first bucket that still counts."""
        return now_ms // self.bucket_ms - ROLLING_BUCKETS

    def spent(self, now_ms: int) -> tuple[int, int]:
        """What counts as spent, and when the first of it leaves (0: never)."""
        if not self.bucket_ms:
            return self.posted, 0
        inside = {slot: amount for slot, amount in self.buckets.items() if slot >= self.oldest(now_ms)}
        leaving = [slot for slot, amount in inside.items() if amount > 0]
        frees_ms = (min(leaving) + ROLLING_BUCKETS + 1) * self.bucket_ms if leaving else 0
        return sum(inside.values()), frees_ms


@dataclass(slots=True)
class Hold:
    """One hold."""

    state: str
    payload: str
    candidate: int
    expires_ms: int
    lines: list[Line]
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
        self._limits: dict[str, tuple[c.LimitChange, ...]] = {}
        self._freezes: dict[str, tuple[str, int]] = {}
        self._operations: dict[str, str] = {}
        self._journal: list[tuple[str, str, int, str, str, str]] = []
        self._board: tuple[c.Posted, ...] = ()
        self._now_ms = 0

    def look(self, command: c.Command[Any]) -> None:
        """A command is on its way; only a planted bug cares."""

    def execute(self, command: c.Command[Any]) -> Any:
        """Carry out *command*; raises `ReservationConflict` as every ledger does."""
        self._now_ms = self._clock()
        return self._told(command, self._verbs[type(command)](self, command))

    def close(self) -> None:
        """Nothing is open."""

    def _told(self, command: c.Command[Any], answer: Any) -> Any:
        """The answer with the board, and the notice on it, where the command has one."""
        notice: c.Notice | None = getattr(command, "notice", None)
        if notice is None or isinstance(answer, c.WindowMoved):
            return answer
        told = others(self._board, notice.process, self._now_ms)
        own = (c.Posted(notice.process, self._now_ms, notice.text),) if notice.text else ()
        self._board = (*told, *own)
        return replace(answer, board=told)

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
            self._line(row, ask.amount, lifecycle.charged_on_expiry(row.unit, ask.amount, charge=charge))
            for row, ask in zip(command.budgets, command.candidates[chosen], strict=True)
            if ask is not None
        ]
        for line in lines:
            self._post(line, posted=0, held=line.amount)
        expires_ms = self._now_ms + command.ttl_ms
        hold = Hold(lifecycle.OPEN, command.payload(), chosen, expires_ms, lines)
        self._holds[command.id] = self._open[command.id] = hold

    def _line(self, row: c.BudgetRow, amount: int = 0, charge: int = 0) -> Line:
        return Line(row, amount, charge, self._now_ms // row.bucket_ms if row.bucket_ms else 0)

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
        before = [self._line(p.budget) for p in command.postings] if hold is None else hold.lines
        late = state == lifecycle.SETTLED_LATE
        fired = []
        for index, (posting, line) in enumerate(zip(command.postings, before, strict=True)):
            posted = self._adjusted(posting.amount, line.charge) if late else posting.amount
            own = line._replace(budget=posting.budget)
            fired += self._fired(index, own, posted=posted, held=0 if late else -line.amount)
        overrun = any(p.amount > line.amount for p, line in zip(command.postings, before, strict=True))
        unknown = hold is None
        hold = hold or Hold(state, "", 0, 0, before)
        hold.state, hold.ended_by = state, command.payload()
        hold.closing = {"overrun": overrun and not unknown, "unknown": unknown, "fired": fired, "refs": named}
        self._holds[command.id] = hold
        self._open.pop(command.id, None)
        text = _closing(hold, [p.amount for p in command.postings])
        self._write(verb, command.id, state, text, command.record)
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
            for index, line in enumerate(hold.lines):
                fired += self._fired(index, line, posted=line.charge, held=self._freed(line.amount))
            hold.state = lifecycle.EXPIRED
            del self._open[due.id]
            hold.closing = {"overrun": False, "unknown": False, "fired": fired, "refs": _refs(hold)}
            charges = [line.charge for line in hold.lines]
            self._write("expire", due.id, hold.state, _closing(hold, charges), "{}")
            ended.append(due.id)
            crossed += _crossings(fired, _refs(hold))
        return c.Expired(tuple(ended), tuple(crossed))

    def _freed(self, amount: int) -> int:
        """What an expiry adds to what is held."""
        return -amount

    def _read(self, command: c.Read) -> c.Readings:
        return c.Readings(self._balances(command.budgets), self._now_ms)

    def _administer(self, command: c.Change) -> c.Administered:
        """A grant, a limit, a freeze or its end, unless it was carried out before."""
        payload = detail.operation(command)
        if self._operations.get(command.id, payload) != payload:
            raise ReservationConflict(f"operation id {command.id!r} was used before")
        if command.id not in self._operations:
            self._operations[command.id] = payload
            self._change(command)
            kind, text = detail.VERBS[type(command)], detail.write_change(command)
            self._write(kind, command.id, command.identity, text, command.record)
        match command:
            case c.Grant(window=""):
                return c.Administered(self._now_ms, command.amount)
            case c.Grant():
                return c.Administered(self._now_ms, self._granted[command.identity, command.window])
        return c.Administered(self._now_ms)

    def _change(self, command: c.Change) -> None:
        match command:
            case c.Grant(window=""):
                self._change_limit(command, added=True, amount=command.amount)
            case c.Grant(identity=identity, window=window):
                self._granted[identity, window] = self._granted.get((identity, window), 0) + command.amount
            case c.SetLimit():
                self._change_limit(command, added=False, amount=command.limit)
            case c.Freeze():
                self._freezes[command.identity] = (command.why, command.until_ms)
            case _:
                self._freezes.pop(command.identity, None)

    def _change_limit(self, command: c.Grant | c.SetLimit, *, added: bool, amount: int | None) -> None:
        """Changes that are over go; a limit without any end, and `None`, take the limits before it away."""
        alone = not added and (amount is None or not (command.from_ms or command.until_ms))
        kept = tuple(change for change in self._unended(command.identity) if change.added or not alone)
        if amount is not None:
            kept += (c.LimitChange(added, amount, command.from_ms, command.until_ms),)
        self._limits[command.identity] = kept

    def _unended(self, identity: str) -> tuple[c.LimitChange, ...]:
        made = self._limits.get(identity, ())
        return tuple(change for change in made if not change.until_ms or self._now_ms < change.until_ms)

    def _read_changes(self, command: c.ReadChanges) -> c.Changes:
        granted = self._granted.get((command.identity, command.window), 0)
        _, until_ms = self._freezes.get(command.identity, ("", -1))
        frozen = until_ms == 0 or self._now_ms < until_ms
        limits = self._unended(command.identity)
        return c.Changes(granted, limits, self._now_ms, until_ms if frozen else None)

    def _find_grant(self, command: c.FindGrant) -> c.Grant | None:
        return detail.read_grant(command.id, self._operations.get(command.id))

    def _list_changed(self, _: c.ListChanged) -> tuple[tuple[str, str], ...]:
        now_ms = self._now_ms
        frozen = [name for name, (_, ends) in self._freezes.items() if not ends or now_ms < ends]
        lasting = [*frozen, *(name for name in self._limits if self._unended(name))]
        granted = [name for name, amount in self._granted.items() if amount]
        return tuple(sorted({*granted, *((name, "") for name in lasting)}))

    def _list_balances(self, command: c.ListBalances) -> tuple[c.KnownBalance, ...]:
        known = sorted(self._accounts.items())
        return tuple(
            c.KnownBalance(*name, account.end_ms, self._balance(name, account.file_limit))
            for name, account in known
            if command.contains in name[0]
            and (command.past or not account.end_ms or account.end_ms > self._now_ms)
        )

    def _list_holds(self, command: c.ListHolds) -> tuple[c.OpenHold, ...]:
        found = [c.OpenHold(name, hold.expires_ms, _refs(hold)) for name, hold in self._open.items()]
        found = [hold for hold in found if hold.id.startswith(command.prefix)]
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
        posted, frees_ms = account.spent(self._now_ms)
        return c.Balance(posted, account.held, self._limit(name, file_limit), frozen, frees_ms)

    def _limit(self, name: Ref, file_limit: int) -> int:
        now = [change for change in self._limits.get(name[0], ()) if change.in_force(self._now_ms)]
        base = [file_limit, *(change.amount for change in now if not change.added)][-1]
        return base + sum(change.amount for change in now if change.added) + self._granted.get(name, 0)

    def _fired(self, index: int, line: Line, *, posted: int, held: int) -> list[tuple[int, int, int, int]]:
        return [(index, *crossing) for crossing in self._post(line, posted=posted, held=held)]

    def _post(self, line: Line, *, posted: int, held: int) -> list[tuple[int, int, int]]:
        """Change one balance; the thresholds it crosses as (step, posted, limit)."""
        row, name = line.budget, (line.budget.identity, line.budget.window)
        account = self._accounts.get(name)
        if account is None:
            account = self._accounts[name] = Account(end_ms=row.end_ms, bucket_ms=row.bucket_ms)
        account.held += held
        account.file_limit = row.limit
        posted = self._count(account, line.slot, posted)
        if not row.steps or not posted:
            return []
        limit, (total, _) = self._limit(name, row.limit), account.spent(self._now_ms)
        account.crossed, fired = self._crossed(account.crossed, total - posted, total, limit, row)
        return [(step, total, limit) for step in fired]

    def _count(self, account: Account, slot: int, posted: int) -> int:
        """Add to what was posted; what that adds to the window. Buckets that have left a rolling one go."""
        if not account.bucket_ms:
            account.posted += posted
            return posted
        oldest = account.oldest(self._now_ms)
        account.buckets = {one: amount for one, amount in account.buckets.items() if one >= oldest}
        if slot < oldest:
            return 0
        account.buckets[slot] = account.buckets.get(slot, 0) + posted
        return posted

    def _crossed(
        self, crossed: frozenset[int], before: int, posted: int, limit: int, row: c.BudgetRow
    ) -> tuple[frozenset[int], list[int]]:
        return admission.crossings(crossed, before, posted, limit, row.steps, row.pace_bp)

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
        c.ReadChanges: _read_changes,
        c.FindGrant: _find_grant,
        c.ListChanged: _list_changed,
        c.ListBalances: _list_balances,
        c.ListHolds: _list_holds,
        c.ReadJournal: _read_journal,
    }


def _refs(hold: Hold) -> tuple[Ref, ...]:
    return tuple((line.budget.identity, line.budget.window) for line in hold.lines)


def _closing(hold: Hold, amounts: list[int]) -> str:
    crossed = detail.write_crossings(hold.closing["fired"])
    unknown = [line.budget for line in hold.lines] if hold.closing["unknown"] else None
    return detail.write_closing(
        overrun=hold.closing["overrun"], amounts=amounts, crossed=crossed, unknown=unknown
    )


def _crossings(fired: Iterable[tuple[int, int, int, int]], refs: Any) -> tuple[c.Crossing, ...]:
    return tuple(c.Crossing(*refs[index], step, posted, limit) for index, step, posted, limit in fired)
