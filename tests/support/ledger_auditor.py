"""An auditor of ledgers: keeps its own books from commands and answers alone, by plain sums."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from governor.budgets import Unit
from governor.ledger import commands as c

if TYPE_CHECKING:
    from collections.abc import Iterable

Ref = tuple[str, str]


class Line(NamedTuple):
    """What one hold takes of one balance, and what its expiry would post."""

    row: c.BudgetRow
    held: int
    charge: int


def ref(row: c.BudgetRow) -> Ref:
    """What names a balance."""
    return row.identity, row.window


class Auditor:
    """Books of what must be posted and held, and of the limits in force; `now_ms` is set by its owner.

    Attributes:
        posted: What must be posted to each balance.
        excess: By how much each may pass every limit it was admitted under: overruns, late and unknown money.
        admitted: The highest limit under which anything was admitted to each.
        holds: The lines of every hold ever seen; its `state` says what became of it.
    """

    def __init__(self) -> None:
        self.now_ms = 0
        self.posted: dict[Ref, int] = defaultdict(int)
        self.excess: dict[Ref, int] = defaultdict(int)
        self.admitted: dict[Ref, int] = defaultdict(int)
        self.holds: dict[str, list[Line]] = {}
        self.state: dict[str, str] = {}
        self.granted: dict[Ref, int] = defaultdict(int)
        self.overrides: dict[str, tuple[int, int]] = {}
        self.freezes: dict[str, int] = {}
        self.operations: set[str] = set()

    def held(self, balance: Ref) -> int:
        """The sum of the open holds."""
        lines = (line for name, rows in self.holds.items() if self.state[name] == "open" for line in rows)
        return sum(line.held for line in lines if ref(line.row) == balance)

    def limit(self, row: c.BudgetRow) -> int:
        """The override or the file's limit, plus grants."""
        amount, until_ms = self.overrides.get(row.identity, (row.limit, 0))
        in_force = not until_ms or self.now_ms < until_ms
        return (amount if in_force else row.limit) + self.granted[ref(row)]

    def frozen(self, row: c.BudgetRow) -> bool:
        """Whether a freeze is in force."""
        until_ms = self.freezes.get(row.identity, -1)
        return until_ms == 0 or self.now_ms < until_ms

    def check(self, row: c.BudgetRow, balance: c.Balance) -> None:
        """A balance is what the books say, and passes no limit but by what was recorded as excess."""
        own = (self.posted[ref(row)], self.held(ref(row)), self.limit(row), self.frozen(row))
        assert (balance.posted, balance.held, balance.limit, balance.frozen is not None) == own
        assert balance.posted + balance.held <= self.admitted[ref(row)] + self.excess[ref(row)]

    def bears(self, row: c.BudgetRow, ask: c.Ask) -> bool:
        """The rule of admission, in exact integers."""
        posted, limit = self.posted[ref(row)], self.limit(row)
        within_mark = posted + ask.amount <= limit * ask.mark_bp // 10_000
        within_floor = posted + ask.amount <= limit - ask.floor
        within_limit = posted + self.held(ref(row)) + ask.amount <= limit
        return not self.frozen(row) and within_mark and within_floor and within_limit

    def fits(self, command: c.Reserve, asks: Iterable[c.Ask | None]) -> bool:
        """Whether every budget bears a candidate."""
        rows = zip(command.budgets, asks, strict=True)
        return all(ask is None or self.bears(row, ask) for row, ask in rows)

    def reserved(self, command: c.Reserve, answer: object) -> None:
        """Enter a reserve that was answered; it must be the first candidate that fits, or none."""
        if isinstance(answer, c.WindowMoved):
            assert any(b.end_ms and not b.start_ms <= self.now_ms < b.end_ms for b in command.budgets)
            return
        fitting = [index for index, asks in enumerate(command.candidates) if self.fits(command, asks)]
        if isinstance(answer, c.Refused):
            assert not fitting
            return
        assert isinstance(answer, c.Held)
        if command.id in self.state:
            assert answer.state == self.state[command.id]
            return
        assert answer.candidate == fitting[0]
        asks = command.candidates[answer.candidate]
        taken = [(row, ask) for row, ask in zip(command.budgets, asks, strict=True) if ask is not None]
        self.holds[command.id] = [Line(row, ask.amount, _charge(command, row, ask)) for row, ask in taken]
        self.state[command.id] = "open"
        for row, _ in taken:
            self.admitted[ref(row)] = max(self.admitted[ref(row)], self.limit(row))

    def closed(self, command: c.Settle | c.Release, answer: c.Closed) -> None:
        """Enter a settle or a release that was answered."""
        state = self.state.get(command.id)
        if state not in {None, "open", "expired"}:
            assert answer.state == state
            return
        ended = "settled" if isinstance(command, c.Settle) else "released"
        assert answer.state == ("settled_late" if state == "expired" else ended)
        assert answer.unknown is (state is None)
        lines = self.holds.get(command.id) or [Line(p.budget, 0, 0) for p in command.postings]
        over = any(p.amount > line.held for p, line in zip(command.postings, lines, strict=True))
        assert answer.overrun is (over and state is not None)
        for posting, line in zip(command.postings, lines, strict=True):
            balance = ref(posting.budget)
            added = posting.amount - (line.charge if state == "expired" else 0)
            freed = line.held if state == "open" else 0
            self.posted[balance] += added
            self.excess[balance] += max(0, added - freed)
        self.holds.setdefault(command.id, lines)
        self.state[command.id] = answer.state
        self._crossed(answer.crossings)

    def expired(self, answer: c.Expired) -> None:
        """Enter the holds that were expired: each must have been open."""
        for name in answer.ids:
            assert self.state[name] == "open"
            self.state[name] = "expired"
            for line in self.holds[name]:
                self.posted[ref(line.row)] += line.charge
        self._crossed(answer.crossings)

    def administered(self, command: c.Command[c.Administered]) -> None:
        """Enter a grant, a limit, a freeze or its end, unless it is a repetition."""
        assert isinstance(command, c.Grant | c.SetLimit | c.Freeze | c.Unfreeze)
        if command.id in self.operations:
            return
        self.operations.add(command.id)
        if isinstance(command, c.Grant):
            self.granted[command.identity, command.window] += command.amount
        elif isinstance(command, c.SetLimit):
            self.overrides.pop(command.identity, None)
            if command.limit is not None:
                self.overrides[command.identity] = (command.limit, command.until_ms)
        elif isinstance(command, c.Freeze):
            self.freezes[command.identity] = command.until_ms
        else:
            self.freezes.pop(command.identity, None)

    def _crossed(self, crossings: Iterable[c.Crossing]) -> None:
        for crossing in crossings:
            assert crossing.posted == self.posted[crossing.identity, crossing.window]
            assert crossing.posted >= crossing.limit * crossing.step_bp // 10_000


def _charge(command: c.Reserve, row: c.BudgetRow, ask: c.Ask) -> int:
    """What the expiry of a hold posts."""
    charged = row.unit is Unit.REQUESTS or (command.charge_on_expiry and row.unit is not Unit.CONCURRENT)
    return ask.amount if charged else 0
