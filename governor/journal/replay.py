"""Folds the journal's records into the state of the ledger that wrote them. Pure.

What an archive holds of several lives of a ledger (epochs) is added up: money spent stays spent. A hold still
open where a life ends is charged as if it had expired, and a later life's settle replaces the charge.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from governor.budgets import LONGEST_MS, ROLLING_BUCKETS, Period, unit_of
from governor.journal import records
from governor.ledger import commands as c
from governor.ledger import detail, lifecycle, requests
from governor.ledger.admission import REARM_BP, mark
from governor.ledger.entering import ENTERED, Enter, Entered
from governor.ledger.orders import LIFTED, read_order
from governor.ledger.values import BALANCE_KEPT_MS
from governor.story import batches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from governor.budgets import Rolling

Ref = tuple[str, str]
"""A balance's identity and window."""

TIDY_EVERY = 50_000
"""After so many records, what is forgotten by now is let go."""


class Row(NamedTuple):
    """What a hold takes of one budget, and what its expiry charged."""

    budget: c.BudgetRow
    held: int
    charge: int = 0

    @property
    def ref(self) -> Ref:
        """The balance."""
        return self.budget.identity, self.budget.window


@dataclass(slots=True)
class Account:
    """One balance.

    Attributes:
        end_ms: When its window ends; 0: never.
        limit: The file's, of the last time it was asked for.
        posted: Spent; of a rolling window its buckets say it.
        crossed: Thresholds reported and not re-armed.
        spent_ms: When it was last posted to.
        bucket_ms: The length of a rolling window's buckets; 0 for every other one.
        buckets: Of a rolling window: what was posted, by the number of the bucket.
    """

    end_ms: int
    limit: int
    posted: int = 0
    crossed: frozenset[int] = frozenset()
    spent_ms: int = 0
    bucket_ms: int = 0
    buckets: dict[int, int] = field(default_factory=dict)

    def counted(self, at_ms: int) -> int:
        """What counts at an instant, Unix milliseconds."""
        return sum(self._inside(at_ms).values()) if self.bucket_ms else self.posted

    def counts_since(self, period: Period | Rolling, now_ms: int) -> int:
        """The earliest instant (Unix ms) that money may have been spent at which still counts in it."""
        if self.bucket_ms:
            return (now_ms // self.bucket_ms - ROLLING_BUCKETS) * self.bucket_ms
        return self.end_ms - LONGEST_MS[period] if isinstance(period, Period) and self.end_ms else 0

    def let_go(self, at_ms: int) -> None:
        """Forget the buckets that have left a rolling window, as the ledger does where it holds or posts."""
        self.buckets = self._inside(at_ms)

    def _inside(self, at_ms: int) -> dict[int, int]:
        if not self.bucket_ms:
            return {}
        oldest = at_ms // self.bucket_ms - ROLLING_BUCKETS
        return {slot: amount for slot, amount in self.buckets.items() if slot >= oldest}


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold: open, or as it is remembered after its end.

    Attributes:
        id: The request's.
        state: As in `governor.ledger.lifecycle`.
        rows: What it takes of each budget.
        life: The number of the ledger's life in which it was opened or ended.
        at_ms: When it was reserved.
        closing: The digest of the command that ended it; empty if it is open or expired.
        detail: What the journal says of its end.
        closed_ms: When it ended.
        note: What its reserve noted, of the candidate that was held.
    """

    id: str
    state: str
    rows: tuple[Row, ...]
    life: int
    at_ms: int
    closing: str = ""
    detail: str = ""
    closed_ms: int = 0
    note: str = ""


class Replay:
    """The state of a ledger after some records.

    Attributes:
        accounts: Every balance.
        open: The open holds, in the order they were opened.
        ended: The holds that have ended and are still remembered, in the order of their ends.
        limits: By budget, the limits that were set and the grants between instants, in order.
        grants: What was granted in each window.
        freezes: Reason, and until when (0: until unfrozen).
        operations: The payload of every change by its id.
        requests: The grants that were asked for, by their ids, in order; answered or not.
        entered: The records that were entered and are still known by their ids, by these.
        orders: The standing orders that were not ended, by their ids, in order.
        records: How many were read; *lives* of how many epochs, *last* and *epoch*: the newest.
        strange: Kinds of records that say nothing this release can replay, and how often they came.
        unread: The budgets of which such a record changed the limit or the freeze.
        policies: The newest version of policies that was pushed, and its hash; `None`: none, or withdrawn.
    """

    def __init__(self) -> None:
        self.accounts: dict[Ref, Account] = {}
        self.open: dict[str, Hold] = {}
        self.ended: dict[str, Hold] = {}
        self.limits: dict[str, list[c.LimitChange]] = {}
        self.grants: dict[Ref, int] = defaultdict(int)
        self.freezes: dict[str, tuple[str, int]] = {}
        self.operations: dict[str, str] = {}
        self.requests: dict[str, c.BudgetRequest] = {}
        self.entered: dict[str, Entered] = {}
        self.orders: dict[str, c.Order] = {}
        self.records = 0
        self.lives = 0
        self.epoch = ""
        self.last: c.JournalEntry | None = None
        self.strange: Counter[str] = Counter()
        self.unread: set[str] = set()
        self.policies: tuple[int, str] | None = None

    def read(self, epoch: str, entries: Iterable[c.JournalEntry]) -> None:
        """Take in the next records, in order, of the ledger of that *epoch*."""
        for entry in entries:
            if epoch != self.epoch:
                self._begin_life(epoch)
            try:
                self._READERS.get(entry.kind, Replay._strange)(self, entry)
            except (KeyError, ValueError, TypeError, IndexError, RecursionError):
                self._strange(entry)
            self.records += 1
            self.last = entry
            if self.records % TIDY_EVERY == 0:
                self._forget(entry.at_ms)

    def held(self) -> dict[Ref, int]:
        """What the open holds hold of each balance."""
        sums: dict[Ref, int] = defaultdict(int)
        for hold in self.open.values():
            for row in hold.rows:
                sums[row.ref] += row.held
        return sums

    def charge_open(self, closed_ms: int) -> tuple[Hold, ...]:
        """Expire and charge every open hold, whatever its policy says: nobody knows what became of it."""
        charged = tuple(self._charged(hold, closed_ms) for hold in self.open.values())
        self.open.clear()
        return charged

    def _charged(self, hold: Hold, closed_ms: int) -> Hold:
        charges = [lifecycle.charged_on_expiry(r.budget.unit, r.held, charge=True) for r in hold.rows]
        for row, charge in zip(hold.rows, charges, strict=True):
            self._post(row, charge, hold.at_ms, hold.at_ms)
        text = detail.write_closing(overrun=False, amounts=charges, crossed="")
        return self._end(hold, lifecycle.EXPIRED, _with_charges(hold.rows, charges), text, closed_ms)

    def _begin_life(self, epoch: str) -> None:
        if self.last is not None:
            self.charge_open(self.last.at_ms)
        self.epoch = epoch
        self.lives += 1

    def _reserve(self, entry: c.JournalEntry) -> None:
        chosen, _ = detail.read_balances(entry.detail)
        if chosen is None:
            return
        record = json.loads(entry.record)
        asked = zip(record["budgets"], record["asks"][chosen], strict=True)
        rows = tuple(_row(budget, ask) for budget, ask in asked if ask is not None)
        for row in rows:
            self._account(row, entry.at_ms)
        note = batches.of_candidate(record["note"], chosen) if record.get("note") else ""
        self.open[entry.id] = Hold(entry.id, lifecycle.OPEN, rows, self.lives, entry.at_ms, note=note)

    def _close(self, entry: c.JournalEntry) -> None:
        fields = detail.read_closing(entry.detail)
        amounts = [int(amount) for amount in fields["posted"].split(",") if amount]
        known = self.open.pop(entry.id, None) or self._remembered(entry, fields)
        if known is not None and known.state in lifecycle.ENDED:
            return  # a later life was told again what an earlier one knew: it was spent once
        hold = known or self._unknown(entry, fields)
        crossed = _fired(fields["crossed"])
        for index, (row, amount) in enumerate(zip(hold.rows, amounts, strict=True)):
            self._post(row, amount - row.charge, hold.at_ms, entry.at_ms, crossed[index])
        postings = tuple(c.Posting(r.budget, n) for r, n in zip(hold.rows, amounts, strict=True))
        settle = c.Settle(entry.id, postings, call=records.call_of(entry.record))
        closing = (settle if entry.kind == "settle" else c.Release(entry.id, postings)).payload()
        self.ended.pop(entry.id, None)
        self._end(hold, entry.outcome, hold.rows, entry.detail, entry.at_ms, closing)

    def _remembered(self, entry: c.JournalEntry, fields: dict[str, str]) -> Hold | None:
        """The hold that has ended before, unless the ledger that wrote the record had forgotten it itself."""
        hold = self.ended.get(entry.id)
        forgotten = hold is not None and fields["unknown"] == "1" and hold.life == self.lives
        return None if forgotten else hold

    def _unknown(self, entry: c.JournalEntry, fields: dict[str, str]) -> Hold:
        rows = tuple(Row(budget, 0) for budget in detail.read_refs(fields["refs"]))
        return Hold(entry.id, lifecycle.OPEN, rows, self.lives, entry.at_ms)

    def _expire(self, entry: c.JournalEntry) -> None:
        fields = detail.read_closing(entry.detail)
        hold = self.open.pop(entry.id)
        charges = [int(amount) for amount in fields["posted"].split(",") if amount]
        crossed = _fired(fields["crossed"])
        for index, (row, charge) in enumerate(zip(hold.rows, charges, strict=True)):
            self._post(row, charge, hold.at_ms, entry.at_ms, crossed[index])
        self._end(hold, lifecycle.EXPIRED, _with_charges(hold.rows, charges), entry.detail, entry.at_ms)

    def _end(
        self, hold: Hold, state: str, rows: tuple[Row, ...], text: str, closed_ms: int, closing: str = ""
    ) -> Hold:
        ended = replace(
            hold, state=state, rows=rows, life=self.lives, closing=closing, detail=text, closed_ms=closed_ms
        )
        self.ended[hold.id] = ended
        return ended

    def _account(self, row: Row, at_ms: int) -> Account:
        new = Account(row.budget.end_ms, row.budget.limit, bucket_ms=row.budget.bucket_ms)
        account = self.accounts.setdefault(row.ref, new)
        account.limit = row.budget.limit
        account.let_go(at_ms)
        return account

    def _post(self, row: Row, amount: int, from_ms: int, at_ms: int, fired: Iterable[int] = ()) -> None:
        """Post to one balance; a rolling window's bucket is that of the reserve, at *from_ms*."""
        account = self._account(row, at_ms)
        if not amount:
            return
        before = account.counted(at_ms)
        if account.bucket_ms:
            slot = from_ms // account.bucket_ms
            if slot < at_ms // account.bucket_ms - ROLLING_BUCKETS:
                return
            account.buckets[slot] = account.buckets.get(slot, 0) + amount
        else:
            account.posted += amount
        account.spent_ms = at_ms
        limit, lowest = self._limit(row, at_ms), min(before, before + amount)
        kept = (step for step in account.crossed if lowest >= mark(limit, max(step - REARM_BP, 0)))
        account.crossed = frozenset(kept).union(fired)

    def _limit(self, row: Row, at_ms: int) -> int:
        now = [change for change in self.limits.get(row.budget.identity, ()) if change.in_force(at_ms)]
        limit = next((change.amount for change in reversed(now) if not change.added), row.budget.limit)
        return limit + sum(change.amount for change in now if change.added) + self.grants.get(row.ref, 0)

    def _grant(self, entry: c.JournalEntry) -> None:
        said = detail.read_change(entry.detail)
        if said["window"]:
            self.grants[entry.outcome, said["window"]] += int(said["amount"])
        else:
            self._end_changes(entry, alone=False)
            self._change(entry, said, amount=int(said["amount"]), added=True)
        self._operation(entry)
        if "request" in said:
            self._answer(entry, said["request"])

    def _set(self, entry: c.JournalEntry) -> None:
        said = detail.read_change(entry.detail)
        alone = not said["limit"] or said["from"] == said["until"] == "0"
        self._end_changes(entry, alone=alone)
        if said["limit"]:
            self._change(entry, said, amount=int(said["limit"]), added=False)
        self._operation(entry)

    def _change(self, entry: c.JournalEntry, said: dict[str, str], *, amount: int, added: bool) -> None:
        change = c.LimitChange(added, amount, int(said["from"]), int(said["until"]))
        self.limits.setdefault(entry.outcome, []).append(change)

    def _end_changes(self, entry: c.JournalEntry, *, alone: bool) -> None:
        """Changes of a limit that are over go; and with *alone* every limit that was set."""
        self.limits[entry.outcome] = [
            change
            for change in self.limits.get(entry.outcome, ())
            if (change.added or not alone) and (not change.until_ms or entry.at_ms < change.until_ms)
        ]

    def _freeze(self, entry: c.JournalEntry) -> None:
        said = detail.read_change(entry.detail)
        self.freezes[entry.outcome] = (said["reason"], int(said["until"]))
        self._operation(entry)

    def _unfreeze(self, entry: c.JournalEntry) -> None:
        self.freezes.pop(entry.outcome, None)
        self._operation(entry)

    def _operation(self, entry: c.JournalEntry) -> None:
        """Remember the payload of a change, as `detail.operation` writes it."""
        self.operations[entry.id] = detail.read_operation(entry.kind, entry.outcome, entry.detail)

    def _request(self, entry: c.JournalEntry) -> None:
        self.requests[entry.id] = requests.read_request(entry.id, entry.detail, entry.at_ms)

    def _deny(self, entry: c.JournalEntry) -> None:
        said = requests.fields(entry.detail)
        self._answer(entry, said["request"])
        if said["state"] == requests.DENIED:
            self._operation(entry)

    def _answer(self, entry: c.JournalEntry, identifier: str) -> None:
        """Close a request; one that was made before the archive begins is none."""
        asked, answer = self.requests.get(identifier), requests.read_answer(entry.detail, entry.at_ms)
        if asked is not None:
            self.requests[identifier] = replace(asked, answer=answer)

    def _policy(self, entry: c.JournalEntry) -> None:
        """A version of policies: only that there was one is known, for a record does not have its texts."""
        said = detail.read_change(entry.detail)
        self.policies = (int(said["version"]), said["hash"]) if said["hash"] else None

    def _enter(self, entry: c.JournalEntry) -> None:
        """Remember the id of a record that was entered; it changes no balance. Orders are kept."""
        if entry.detail:
            self._order(entry)
            return
        payload = Enter(entry.id, entry.kind, entry.outcome, entry.record).payload()
        self.entered[entry.id] = Entered(entry.id, payload, entry.at_ms)

    def _order(self, entry: c.JournalEntry) -> None:
        """An order that was given, or one that was ended."""
        if entry.outcome == LIFTED:
            self.orders.pop(entry.detail.removeprefix("order="), None)
            self.operations[entry.id] = entry.id
            return
        order = read_order(entry.id, entry.detail, entry.at_ms)
        self.orders[order.id] = order
        self.operations[order.id] = order.operation

    def _nothing(self, entry: c.JournalEntry) -> None:
        """A record that changes no balance."""

    def _strange(self, entry: c.JournalEntry) -> None:
        self.strange[entry.kind] += 1
        if entry.kind in detail.VERBS.values():
            self.unread.add(entry.outcome)

    def _forget(self, now_ms: int) -> None:
        """Let go of holds nobody remembers any more, and of balances whose window is long over."""
        for identifier, hold in list(self.ended.items()):
            if hold.closed_ms + lifecycle.remembered_ms(hold.state, hold.id) <= now_ms:
                del self.ended[identifier]
        self.entered = {name: one for name, one in self.entered.items() if one.kept(now_ms)}
        for ref, account in list(self.accounts.items()):
            if account.end_ms and account.end_ms + BALANCE_KEPT_MS < now_ms:
                del self.accounts[ref]

    _READERS: ClassVar[dict[str, Callable[[Replay, c.JournalEntry], None]]] = {
        "reserve": _reserve,
        "settle": _close,
        "release": _close,
        "expire": _expire,
        "grant": _grant,
        "set": _set,
        "freeze": _freeze,
        "unfreeze": _unfreeze,
        "request": _request,
        "deny": _deny,
        "policy": _policy,
        **dict.fromkeys(ENTERED, _enter),
        "create": _nothing,
        "rebuild": _nothing,
    }


def _row(budget: dict[str, Any], ask: Sequence[int]) -> Row:
    identity, window, end_ms = budget["identity"], budget["window"], budget["end_ms"]
    bucket_ms = budget.get("bucket_ms", 0)
    row = c.BudgetRow(identity, window, 0, end_ms, unit_of(identity), budget["limit"], (), bucket_ms)
    return Row(row, held=ask[0])


def _with_charges(rows: Iterable[Row], charges: Iterable[int]) -> tuple[Row, ...]:
    return tuple(row._replace(charge=charge) for row, charge in zip(rows, charges, strict=True))


def _fired(text: str) -> dict[int, list[int]]:
    """The steps that each posting crossed, by its index."""
    fired: dict[int, list[int]] = defaultdict(list)
    for part in text.split(","):
        if part:
            index, step, *_ = part.split(":")
            fired[int(index)].append(int(step))
    return fired
