"""An auditor of ledgers: keeps its own books from commands and answers alone, by plain sums.

It knows the commands' values and nothing of how a ledger decides; the rules are written down here once more.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from governor.ledger import commands as c
from support.ledger_sameness import asked, charge_of, ending, operation

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


BUCKETS = 49
"""How many buckets a rolling window counts: the current one and those before it."""


class Line(NamedTuple):
    """What one hold takes of one balance, what its expiry would post, and when it was opened."""

    row: c.BudgetRow
    held: int
    charge: int
    opened_ms: int


class Override(NamedTuple):
    """A limit that was set, or a grant between instants (*added*)."""

    added: bool
    amount: int
    from_ms: int
    until_ms: int


def ref(row: c.BudgetRow) -> Ref:
    """What names a balance."""
    return row.identity, row.window


class Auditor:
    """Books of what must be posted and held, and of the limits in force; `now_ms` is set by its owner.

    Attributes:
        rows: Every balance that a command named, as it was named last.
        posted: What must be posted to each balance, of whatever time.
        buckets: Of those whose window rolls: by the number of the bucket, until it has left.
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
        self.buckets: dict[Ref, dict[int, int]] = defaultdict(dict)
        self.held: dict[Ref, int] = defaultdict(int)
        self.excess: dict[Ref, int] = defaultdict(int)
        self.admitted: dict[Ref, int] = defaultdict(int)
        self.holds: dict[str, list[Line]] = {}
        self.state: dict[str, str] = {}
        self.charged: dict[str, list[int]] = {}
        self.crossed: list[c.Crossing] = []
        self.granted: dict[Ref, int] = defaultdict(int)
        self.overrides: dict[str, list[Override]] = defaultdict(list)
        self.freezes: dict[str, int] = {}
        self._open: dict[str, int] = {}
        self._chosen: dict[str, int] = {}
        self._told: dict[Ref, set[int]] = defaultdict(set)
        self._asked: dict[str, object] = {}
        self._ended: dict[str, tuple[object, c.Closed]] = {}
        self._operations: dict[str, tuple[object, ...]] = {}

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
            return command.id in self.state and self._asked.get(command.id) != asked(command)
        if isinstance(command, c.Settle | c.Release):
            if command.id in self._ended:
                return self._ended[command.id][0] != ending(command)
            lines = self.holds.get(command.id)
            return lines is not None and [ref(x.row) for x in lines] != [
                ref(p.budget) for p in command.postings
            ]
        if isinstance(command, c.Change):
            return self._operations.get(command.id, operation(command)) != operation(command)
        return False

    def open(self) -> tuple[str, ...]:
        """The open holds, in the order in which they were opened."""
        return tuple(self._open)

    def due(self) -> tuple[c.DueHold, ...]:
        """The open holds whose time is over, the first few."""
        over = sorted((ms, name) for name, ms in self._open.items() if ms <= self.now_ms)
        return tuple(c.DueHold(name, self._refs(name)) for _, name in over[: c.DUE_PER_REPLY])

    def limit(self, row: c.BudgetRow) -> int:
        """The last override in force or the file's limit, plus grants."""
        limit, granted = row.limit, self.granted[ref(row)]
        for one in self.overrides[row.identity]:
            if one.from_ms <= self.now_ms and (one.until_ms == 0 or self.now_ms < one.until_ms):
                limit, granted = (limit, granted + one.amount) if one.added else (one.amount, granted)
        return limit + granted

    def spent(self, row: c.BudgetRow) -> int:
        """What counts as spent now: of a rolling window, the buckets that are in it."""
        if not row.bucket_ms:
            return self.posted[ref(row)]
        return sum(n for slot, n in self.buckets[ref(row)].items() if not self._has_left(row, slot))

    def frees_ms(self, row: c.BudgetRow) -> int:
        """When the first bucket of a rolling window in which something was spent leaves it; 0: never."""
        slots = [slot for slot, amount in self.buckets[ref(row)].items() if amount > 0]
        return min(
            ((slot + BUCKETS) * row.bucket_ms for slot in slots if not self._has_left(row, slot)), default=0
        )

    def _has_left(self, row: c.BudgetRow, slot: int) -> bool:
        """Whether a bucket is out of its rolling window: it ended 48 buckets ago, or earlier."""
        return self.now_ms >= (slot + BUCKETS) * row.bucket_ms

    def _slot(self, row: c.BudgetRow, at_ms: int) -> int:
        return at_ms // row.bucket_ms if row.bucket_ms else 0

    def frozen(self, row: c.BudgetRow) -> bool:
        """Whether a freeze is in force."""
        until_ms = self.freezes.get(row.identity, -1)
        return until_ms == 0 or self.now_ms < until_ms

    def check(self, rows: Sequence[c.BudgetRow], balances: Sequence[c.Balance]) -> None:
        """Balances are what the books say, and pass no limit but by what was recorded as excess."""
        for row, balance in zip(rows, balances, strict=True):
            name = ref(row)
            own = (self.spent(row), self.held[name], self.limit(row), self.frozen(row), self.frees_ms(row))
            seen = (balance.posted, balance.held, balance.limit, balance.frozen is not None, balance.frees_ms)
            assert seen == own, f"{name} has posted, held, limit, frozen, frees {seen}; the books say {own}"
            assert balance.posted + balance.held <= self.admitted[name] + self.excess[name], name

    def check_changes(self, command: c.ReadChanges, changes: c.Changes) -> None:
        """What was changed of a limit is listed in order, until it is over."""
        listed = [Override(x.added, x.amount, x.from_ms, x.until_ms) for x in changes.limits]
        assert listed == self._unended(command.identity)
        assert changes.granted == self.granted[command.identity, command.window]
        until_ms = self.freezes.get(command.identity, -1)
        assert changes.frozen_until_ms == (until_ms if until_ms == 0 or self.now_ms < until_ms else None)

    def check_grant(self, name: str, found: c.Grant | None) -> None:
        """What is found under an id is the grant that was made under it, if one was."""
        made = self._operations.get(name, ("",))
        assert (made[0] == "grant") == (found is not None), (name, found)
        assert found is None or operation(found) == made

    def check_changed(self, listed: Iterable[Ref]) -> None:
        """Every budget with a grant in some window, or with a freeze or another change that is not over."""
        frozen = {name for name, ends in self.freezes.items() if ends == 0 or self.now_ms < ends}
        lasting = frozen | {name for name in self.overrides if self._unended(name)}
        granted = {name for name, amount in self.granted.items() if amount}
        assert list(listed) == sorted(granted | {(name, "") for name in lasting})

    def check_journal(self, entries: Iterable[c.JournalEntry]) -> None:
        """The journal has each step of each hold once, along the ways there are, and each crossing once."""
        last: dict[str, tuple[str, str]] = {}
        crossings = 0
        for entry in entries:
            if entry.kind in {"settle", "release", "expire"}:
                before, _ = last.get(entry.id, ("", ""))
                assert (before, entry.kind, entry.outcome) in PATHS, (entry.id, before, entry)
                last[entry.id] = (entry.kind, entry.outcome)
                crossed = entry.detail.partition(" crossed=")[2].partition(" ")[0]
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
        assert listed == {name: (self.spent(self.rows[name]), self.held[name]) for name in touched}
        own = [c.OpenHold(name, ms, self._refs(name)) for name, ms in self._open.items()]
        assert list(holds) == sorted(own, key=lambda hold: (hold.expires_ms, hold.id))

    def bears(self, row: c.BudgetRow, ask: c.Ask) -> str:
        """The rule of admission, in exact integers: `fits`, or why not."""
        posted, limit = self.spent(row), self.limit(row)
        if not ask.enforced:
            return "fits"
        share = limit * ask.share_bp // 10_000
        if self.frozen(row):
            return "frozen"
        if posted + ask.amount > limit * ask.mark_bp // 10_000 or posted + ask.amount > limit - ask.floor:
            return "exhausted"
        if posted + ask.amount > share:
            return "exhausted"
        if posted + self.held[ref(row)] + ask.amount > share:
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
        self.holds[command.id] = [
            Line(row, ask.amount, charge_of(command, row, ask), self.now_ms) for row, ask in taken
        ]
        self._asked[command.id] = asked(command)
        self.state[command.id] = "open"
        self._open[command.id] = self.now_ms + command.ttl_ms
        self._chosen[command.id] = answer.candidate
        assert (answer.state, answer.expires_ms) == ("open", self._open[command.id]), answer
        for row, ask in taken:
            self._forget_left(row)
            self.held[ref(row)] += ask.amount
            room = self.limit(row) if ask.enforced else self.spent(row) + self.held[ref(row)]
            self.admitted[ref(row)] = max(self.admitted[ref(row)], room)

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
        lines = self.holds.get(command.id) or [Line(p.budget, 0, 0, self.now_ms) for p in command.postings]
        over = any(p.amount > line.held for p, line in zip(command.postings, lines, strict=True))
        assert answer.overrun is (over and state is not None), answer
        crossings: list[c.Crossing] = []
        for posting, line in zip(command.postings, lines, strict=True):
            added = posting.amount - (line.charge if state == "expired" else 0)
            freed = line.held if state == "open" else 0
            self.held[ref(line.row)] -= freed
            self.excess[ref(posting.budget)] += max(0, added - freed)
            crossings += self._post(line._replace(row=posting.budget), added)
        self._entered_crossings(crossings, answer.crossings)
        self.holds.setdefault(command.id, lines)
        self.charged[command.id] = [posting.amount for posting in command.postings]
        self.state[command.id] = answer.state
        self._open.pop(command.id, None)
        self._ended[command.id] = (ending(command), answer)

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
                crossings += self._post(line, line.charge)
        self._entered_crossings(crossings, answer.crossings)

    def _administered(self, command: c.Command[Any], answer: c.Administered) -> None:
        """A grant, a limit, a freeze or its end counts once, however often it is said."""
        assert isinstance(command, c.Change)
        if command.id not in self._operations:
            self._operations[command.id] = operation(command)
            self._change(command)
        if isinstance(command, c.Grant):
            in_window = self.granted[command.identity, command.window]
            assert answer.limit_added == (in_window if command.window else command.amount)

    def _change(self, command: c.Change) -> None:
        match command:
            case c.Grant(window=""):
                made = Override(
                    added=True, amount=command.amount, from_ms=command.from_ms, until_ms=command.until_ms
                )
                self.overrides[command.identity] = [*self._unended(command.identity), made]
            case c.Grant():
                self.granted[command.identity, command.window] += command.amount
            case c.SetLimit(limit=limit, from_ms=from_ms, until_ms=until_ms):
                kept = self._unended(command.identity)
                if limit is None or from_ms == until_ms == 0:
                    kept = [one for one in kept if one.added]
                if limit is not None:
                    kept.append(Override(added=False, amount=limit, from_ms=from_ms, until_ms=until_ms))
                self.overrides[command.identity] = kept
            case c.Freeze():
                self.freezes[command.identity] = command.until_ms
            case _:
                self.freezes.pop(command.identity, None)

    def _unended(self, identity: str) -> list[Override]:
        """Each change of a limit forgets those that are over."""
        return [one for one in self.overrides[identity] if one.until_ms == 0 or self.now_ms < one.until_ms]

    def _refs(self, name: str) -> tuple[Ref, ...]:
        return tuple(ref(line.row) for line in self.holds[name])

    def _post(self, line: Line, added: int) -> list[c.Crossing]:
        """Add to what is posted; the thresholds that must be reported for it, ascending."""
        row, name, before = line.row, ref(line.row), self.spent(line.row)
        self._forget_left(row)
        self.posted[name] += added
        if row.bucket_ms:
            added = self._post_to_bucket(line, added)
        if not added or not row.steps:
            return []
        told, limit, posted = self._told[name], self.limit(row), self.spent(row)
        told -= {step for step in told if min(before, posted) < limit * max(step - 500, 0) // 10_000}
        new = [
            s for s in sorted(row.steps) if s not in told and posted >= limit * max(s, row.pace_bp) // 10_000
        ]
        told.update(new)
        return [c.Crossing(*name, step, posted, limit) for step in new]

    def _post_to_bucket(self, line: Line, added: int) -> int:
        """Money belongs to the time when its hold was opened; what that adds to the window."""
        slot, buckets = self._slot(line.row, line.opened_ms), self.buckets[ref(line.row)]
        if self._has_left(line.row, slot):
            return 0
        buckets[slot] = buckets.get(slot, 0) + added
        # A clock that is set back may ask for the return of a charge that has left, and is lent that much.
        self.excess[ref(line.row)] += max(0, -buckets[slot])
        return added

    def _forget_left(self, row: c.BudgetRow) -> None:
        """What holds of a rolling budget or posts to it forgets the buckets that have left, for good."""
        kept = {s: n for s, n in self.buckets[ref(row)].items() if not self._has_left(row, s)}
        self.buckets[ref(row)] = kept

    def _entered_crossings(self, own: list[c.Crossing], told: tuple[c.Crossing, ...]) -> None:
        assert tuple(own) == told, f"crossed {own}, was told {told}"
        self.crossed += own
