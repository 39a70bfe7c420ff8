"""An auditor of ledgers: keeps its own books from commands and answers alone, by plain sums.

It knows the commands' values and nothing of how a ledger decides; the rules are written down here once more.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from governor.budgets import Unit
from governor.ledger import commands as c

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Ref = tuple[str, str]

PATHS = {
    ("reserve", "settle", "settled"),
    ("reserve", "release", "released"),
    ("reserve", "expire", "expired"),
    ("expire", "settle", "settled_late"),
    ("expire", "release", "settled_late"),
    ("", "settle", "settled"),
    ("", "release", "released"),
}
"""What may follow in the journal of one hold, and the state it leads to; `""`: a hold nobody had heard of."""


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
        rows: Every balance that a command named, as it was named last.
        posted: What must be posted to each balance.
        held: The sum of the open holds of each.
        excess: By how much each may pass every limit it was admitted under: overruns, late and unknown money.
        admitted: The highest limit under which anything was admitted to each.
        holds: The lines of every hold ever seen; its `state` says what became of it.
        charged: What each ended hold posted, line by line.
        crossed: Every threshold that was crossed, in order.
    """

    def __init__(self) -> None:
        self.now_ms = 0
        self.rows: dict[Ref, c.BudgetRow] = {}
        self.posted: dict[Ref, int] = defaultdict(int)
        self.held: dict[Ref, int] = defaultdict(int)
        self.excess: dict[Ref, int] = defaultdict(int)
        self.admitted: dict[Ref, int] = defaultdict(int)
        self.holds: dict[str, list[Line]] = {}
        self.state: dict[str, str] = {}
        self.charged: dict[str, list[int]] = {}
        self.crossed: list[c.Crossing] = []
        self.granted: dict[Ref, int] = defaultdict(int)
        self.overrides: dict[str, tuple[int, int]] = {}
        self.freezes: dict[str, int] = {}
        self._open: dict[str, int] = {}
        self._chosen: dict[str, int] = {}
        self._told: dict[Ref, set[int]] = defaultdict(set)
        self._asked: dict[str, object] = {}
        self._ended: dict[str, tuple[object, c.Closed]] = {}
        self._operations: dict[str, object] = {}

    def enter(self, command: c.Command[Any], answer: object) -> None:
        """Enter a command that was carried out, and judge its answer.

        Raises:
            AssertionError: It is not the answer that the books ask for.
        """
        if isinstance(command, c.Reserve):
            self._reserved(command, answer)
        elif isinstance(command, c.Settle | c.Release):
            assert isinstance(answer, c.Closed)
            self._closed(command, answer)
        elif isinstance(command, c.Expire):
            assert isinstance(answer, c.Expired)
            self._expired(command, answer)
        elif isinstance(command, c.Extend):
            assert isinstance(answer, c.Extended)
            self._extended(command, answer)
        elif isinstance(answer, c.Administered):
            self._administered(command, answer)
        if isinstance(answer, c.Held | c.Refused | c.Closed):
            assert answer.due == self.due(), f"{answer.due} are named as due; the books say {self.due()}"

    def conflicts(self, command: c.Command[Any]) -> bool:
        """Whether the id of *command* belongs to another payload, so that it must be refused."""
        if isinstance(command, c.Reserve):
            return command.id in self.state and self._asked.get(command.id) != _asked(command)
        if isinstance(command, c.Settle | c.Release):
            if command.id in self._ended:
                return self._ended[command.id][0] != _ending(command)
            lines = self.holds.get(command.id)
            return lines is not None and [ref(x.row) for x in lines] != [
                ref(p.budget) for p in command.postings
            ]
        if isinstance(command, c.Grant | c.SetLimit | c.Freeze | c.Unfreeze):
            return self._operations.get(command.id, _operation(command)) != _operation(command)
        return False

    def open(self) -> tuple[str, ...]:
        """The open holds, in the order in which they were opened."""
        return tuple(self._open)

    def due(self) -> tuple[c.DueHold, ...]:
        """The open holds whose time is over, the first few."""
        over = sorted((ms, name) for name, ms in self._open.items() if ms <= self.now_ms)
        return tuple(c.DueHold(name, self._refs(name)) for _, name in over[: c.DUE_PER_REPLY])

    def limit(self, row: c.BudgetRow) -> int:
        """The override or the file's limit, plus grants."""
        amount, until_ms = self.overrides.get(row.identity, (row.limit, 0))
        in_force = not until_ms or self.now_ms < until_ms
        return (amount if in_force else row.limit) + self.granted[ref(row)]

    def frozen(self, row: c.BudgetRow) -> bool:
        """Whether a freeze is in force."""
        until_ms = self.freezes.get(row.identity, -1)
        return until_ms == 0 or self.now_ms < until_ms

    def check(self, rows: Sequence[c.BudgetRow], balances: Sequence[c.Balance]) -> None:
        """Balances are what the books say, and pass no limit but by what was recorded as excess."""
        for row, balance in zip(rows, balances, strict=True):
            name = ref(row)
            own = (self.posted[name], self.held[name], self.limit(row), self.frozen(row))
            seen = (balance.posted, balance.held, balance.limit, balance.frozen is not None)
            assert seen == own, f"{name} has posted, held, limit, frozen {seen}; the books say {own}"
            assert balance.posted + balance.held <= self.admitted[name] + self.excess[name], name

    def check_journal(self, entries: Iterable[c.JournalEntry]) -> None:
        """The journal has each step of each hold once, along the ways there are, and each crossing once."""
        last: dict[str, tuple[str, str]] = {}
        crossings = 0
        for entry in entries:
            if entry.kind in {"settle", "release", "expire"}:
                before, _ = last.get(entry.id, ("", ""))
                assert (before, entry.kind, entry.outcome) in PATHS, (entry.id, before, entry)
                last[entry.id] = (entry.kind, entry.outcome)
                crossed = entry.detail.partition(" crossed=")[2]
                crossings += len(crossed.split(",")) if crossed else 0
            elif entry.kind == "reserve" and entry.outcome == "held":
                assert entry.id not in last, entry
                last[entry.id] = ("reserve", "open")
        assert {name: state for name, (_, state) in last.items()} == self.state
        assert crossings == len(self.crossed)

    def check_lists(self, known: Iterable[c.KnownBalance], holds: Iterable[c.OpenHold]) -> None:
        """The lists name every balance ever touched, and every open hold in the order of expiry."""
        listed = {(k.identity, k.window): (k.balance.posted, k.balance.held) for k in known}
        touched = {name for hold in self.holds for name in self._refs(hold)}
        assert listed == {name: (self.posted[name], self.held[name]) for name in touched}
        own = [c.OpenHold(name, ms, self._refs(name)) for name, ms in self._open.items()]
        assert list(holds) == sorted(own, key=lambda hold: (hold.expires_ms, hold.id))

    def bears(self, row: c.BudgetRow, ask: c.Ask) -> str:
        """The rule of admission, in exact integers: `fits`, or why not."""
        posted, limit = self.posted[ref(row)], self.limit(row)
        if self.frozen(row):
            return "frozen"
        if posted + ask.amount > limit * ask.mark_bp // 10_000 or posted + ask.amount > limit - ask.floor:
            return "exhausted"
        if posted + self.held[ref(row)] + ask.amount > limit:
            return "contended" if ask.comes_back else "exhausted"
        return "fits"

    def verdicts(self, command: c.Reserve) -> list[str]:
        """What all budgets together say to each candidate."""
        found = []
        for asks in command.candidates:
            pairs = [(row, ask) for row, ask in zip(command.budgets, asks, strict=True) if ask is not None]
            said = {self.bears(row, ask) for row, ask in pairs}
            found.append(
                next((word for word in ("frozen", "exhausted", "contended") if word in said), "fits")
            )
        return found

    def _reserved(self, command: c.Reserve, answer: object) -> None:
        """It must be the first candidate that fits, or the mildest reason why none does."""
        self.rows.update((ref(row), row) for row in command.budgets)
        if isinstance(answer, c.WindowMoved):
            assert command.id not in self.state
            assert any(b.end_ms and not b.start_ms <= self.now_ms < b.end_ms for b in command.budgets)
            return
        if command.id in self.state:
            assert isinstance(answer, c.Held), answer
            assert answer.state == self.state[command.id], answer
            assert answer.candidate == self._chosen[command.id], answer
            assert answer.expires_ms == self._open.get(command.id, answer.expires_ms), answer
            return
        verdicts = self.verdicts(command)
        if isinstance(answer, c.Refused):
            assert "fits" not in verdicts, f"refused {command.id} while {verdicts} of {command.candidates}"
            mildest = next(word for word in ("contended", "exhausted", "frozen") if word in verdicts)
            assert answer.reason == mildest, f"{command.id} is {mildest}, and was told {answer.reason}"
            assert answer.earliest_expiry_ms == min(self._open.values(), default=None), answer
            return
        assert isinstance(answer, c.Held), answer
        assert "fits" in verdicts, f"{command.id} was held, though no budget bears it: {verdicts}"
        assert answer.candidate == verdicts.index("fits"), (
            f"{command.id}: {verdicts}, {answer.candidate} taken"
        )
        asks = command.candidates[answer.candidate]
        taken = [(row, ask) for row, ask in zip(command.budgets, asks, strict=True) if ask is not None]
        self.holds[command.id] = [Line(row, ask.amount, _charge(command, row, ask)) for row, ask in taken]
        self._asked[command.id] = _asked(command)
        self.state[command.id] = "open"
        self._open[command.id] = self.now_ms + command.ttl_ms
        self._chosen[command.id] = answer.candidate
        assert (answer.state, answer.expires_ms) == ("open", self._open[command.id]), answer
        for row, ask in taken:
            self.held[ref(row)] += ask.amount
            self.admitted[ref(row)] = max(self.admitted[ref(row)], self.limit(row))

    def _closed(self, command: c.Settle | c.Release, answer: c.Closed) -> None:
        if command.id in self._ended:
            _, first = self._ended[command.id]
            same = (first.state, first.crossings, first.overrun, first.unknown)
            assert (answer.state, answer.crossings, answer.overrun, answer.unknown) == same, answer
            return
        self.rows.update((ref(p.budget), p.budget) for p in command.postings)
        state = self.state.get(command.id)
        ended = "settled" if isinstance(command, c.Settle) else "released"
        assert answer.state == ("settled_late" if state == "expired" else ended), answer
        assert answer.unknown is (state is None), answer
        lines = self.holds.get(command.id) or [Line(p.budget, 0, 0) for p in command.postings]
        over = any(p.amount > line.held for p, line in zip(command.postings, lines, strict=True))
        assert answer.overrun is (over and state is not None), answer
        crossings: list[c.Crossing] = []
        for posting, line in zip(command.postings, lines, strict=True):
            added = posting.amount - (line.charge if state == "expired" else 0)
            freed = line.held if state == "open" else 0
            self.held[ref(line.row)] -= freed
            self.excess[ref(posting.budget)] += max(0, added - freed)
            crossings += self._post(posting.budget, added)
        self._entered_crossings(crossings, answer.crossings)
        self.holds.setdefault(command.id, lines)
        self.charged[command.id] = [posting.amount for posting in command.postings]
        self.state[command.id] = answer.state
        self._open.pop(command.id, None)
        self._ended[command.id] = (_ending(command), answer)

    def _extended(self, command: c.Extend, answer: c.Extended) -> None:
        state = self.state.get(command.id, "unknown")
        expires_ms = self.now_ms + command.ttl_ms if state == "open" else 0
        assert answer == c.Extended(state, expires_ms), answer
        if state == "open":
            self._open[command.id] = expires_ms

    def _expired(self, command: c.Expire, answer: c.Expired) -> None:
        """Of those that were named, all that are open and due must end, and no other."""
        over = [h.id for h in command.holds if self._open.get(h.id, self.now_ms + 1) <= self.now_ms]
        assert list(answer.ids) == list(dict.fromkeys(over)), f"{answer.ids} expired, not {over}"
        crossings: list[c.Crossing] = []
        for name in answer.ids:
            self.state[name] = "expired"
            del self._open[name]
            self.charged[name] = [line.charge for line in self.holds[name]]
            for line in self.holds[name]:
                self.held[ref(line.row)] -= line.held
                crossings += self._post(line.row, line.charge)
        self._entered_crossings(crossings, answer.crossings)

    def _administered(self, command: c.Command[Any], answer: c.Administered) -> None:
        """A grant, a limit, a freeze or its end counts once, however often it is said."""
        assert isinstance(command, c.Grant | c.SetLimit | c.Freeze | c.Unfreeze)
        if command.id not in self._operations:
            self._operations[command.id] = _operation(command)
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
        if isinstance(command, c.Grant):
            assert answer.limit_added == self.granted[command.identity, command.window]

    def _refs(self, name: str) -> tuple[Ref, ...]:
        return tuple(ref(line.row) for line in self.holds[name])

    def _post(self, row: c.BudgetRow, added: int) -> list[c.Crossing]:
        """Add to what is posted; the thresholds that must be reported for it, ascending."""
        if not added:
            return []
        name, told, limit = ref(row), self._told[ref(row)], self.limit(row)
        self.posted[name] += added
        posted = self.posted[name]
        told -= {step for step in told if row.steps and posted < limit * max(step - 500, 0) // 10_000}
        new = [s for s in sorted(row.steps) if s not in told and posted >= limit * s // 10_000]
        told.update(new)
        return [c.Crossing(*name, step, posted, limit) for step in new]

    def _entered_crossings(self, own: list[c.Crossing], told: tuple[c.Crossing, ...]) -> None:
        assert tuple(own) == told, f"crossed {own}, was told {told}"
        self.crossed += own


def _charge(command: c.Reserve, row: c.BudgetRow, ask: c.Ask) -> int:
    """What the expiry of a hold posts."""
    charged = row.unit is Unit.REQUESTS or (command.charge_on_expiry and row.unit is not Unit.CONCURRENT)
    return ask.amount if charged else 0


def _asked(command: c.Reserve) -> object:
    """What makes a reserve the same one again: all but the windows and how it is recorded."""
    budgets = [(b.identity, b.unit, b.limit, b.steps) for b in command.budgets]
    return budgets, command.candidates, command.ttl_ms, command.charge_on_expiry, command.call


def _ending(command: c.Settle | c.Release) -> object:
    return type(command), [(ref(p.budget), p.amount) for p in command.postings]


def _operation(command: c.Grant | c.SetLimit | c.Freeze | c.Unfreeze) -> object:
    match command:
        case c.Grant():
            return "grant", command.identity, command.window, command.amount
        case c.SetLimit():
            return "set", command.identity, command.limit, command.until_ms
        case c.Freeze():
            return "freeze", command.identity, command.until_ms, command.why
        case _:
            return "unfreeze", command.identity
