"""The newest records of a journal as they come in: calls of the last minutes, the budgets they touch.

Pure, and everything kept here is bounded, however busy the journal is.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from pydantic_core import from_json

from governor.journal.call import OPEN
from governor.journal.fold import Fold
from governor.ledger import detail
from governor.ledger.orders import SCOPE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from governor.journal.call import Call
    from governor.ledger.commands import Balance, JournalEntry

SPAN_MS = 5 * 60_000
"""How long a call that ended is looked at."""

MOST_ENDED = 20_000
MOST_OPEN = 20_000
MOST_BUDGETS = 2_000
MOST_ALERTS = 50
"""Of each, the newest are kept."""

_BROKEN = (KeyError, ValueError, TypeError, IndexError, AttributeError, RecursionError)


class Touched(NamedTuple):
    """A budget that a call touched: when its window ends (0: never), its limit in the file, its balance."""

    end_ms: int
    file_limit: int
    balance: Balance


class Tail:
    """Takes in records in the journal's order.

    Attributes:
        ended: Calls that ended in the last minutes, or were blocked, oldest first.
        touched: The budgets that calls touched, by identity and window; the last touched last.
        alerts: What is told of alerts that go on, by their keys.
        since_ms: When the oldest record was written that was taken in without a gap; `None`: none was.
    """

    def __init__(self) -> None:
        self._fold = Fold()
        self.ended: deque[Call] = deque(maxlen=MOST_ENDED)
        self.touched: OrderedDict[tuple[str, str], Touched] = OrderedDict()
        self.alerts: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self.since_ms: int | None = None

    def take(self, entries: Iterable[JournalEntry]) -> None:
        """Take in records."""
        for entry in entries:
            if self.since_ms is None:
                self.since_ms = entry.at_ms
            if entry.kind == "alert":
                self._alert(entry)
                continue
            if entry.kind == "reserve":
                self._touch(entry)
            call = self._fold.one(entry)
            if call is not None and call.state != OPEN:
                self.ended.append(call)
        self._fold.changed.clear()
        self._fold.closed.clear()
        if len(self._fold.calls) > MOST_OPEN:  # ends that were never read
            for name in list(self._fold.calls)[:-MOST_OPEN]:
                del self._fold.calls[name]

    def call(self, identifier: str) -> Call | None:
        """The call that has this hold open, as far as the records tell."""
        found = self._fold.calls.get(identifier)
        return found if found is not None and found.state == OPEN else None

    def forget(self, now_ms: int) -> None:
        """Let go of what ended too long ago."""
        while self.ended and (self.ended[0].ended_ms or 0) < now_ms - SPAN_MS:
            old = self.ended.popleft()
            if self._fold.calls.get(old.id) is old:
                del self._fold.calls[old.id]
        over = [key for key, one in self.touched.items() if 0 < one.end_ms <= now_ms]
        for key in over:
            del self.touched[key]

    def calls(self, now_ms: int) -> list[Call]:
        """The calls that ended in the last minutes, each as the last record left it, oldest first."""
        self.forget(now_ms)
        last = {(one.id, one.turn): one for one in self.ended}
        return list(last.values())

    def runs(self) -> dict[tuple[str, str], tuple[str, ...]]:
        """Of each department and run, the run's own budgets."""
        found: dict[tuple[str, str], dict[str, None]] = {}
        for identity, _ in self.touched:
            said = dict(part.split("=", 1) for part in identity.split("/") if "=" in part)
            if "run" in said:
                key = (unquote(said.get("department", "")), unquote(said["run"]))
                found.setdefault(key, {})[identity] = None
        return {key: tuple(identities) for key, identities in found.items()}

    def _touch(self, entry: JournalEntry) -> None:
        try:
            budgets = from_json(entry.record)["budgets"]
            _, balances = detail.read_balances(entry.detail)
            for budget, balance in zip(budgets, balances, strict=True):
                if budget["identity"].startswith(f"{SCOPE}/"):
                    continue  # by which an order counts: nobody's budget
                key = (budget["identity"], budget["window"])
                self.touched[key] = Touched(budget["end_ms"], budget["limit"], balance)
                self.touched.move_to_end(key)
        except _BROKEN:
            return
        while len(self.touched) > MOST_BUDGETS:
            self.touched.popitem(last=False)

    def _alert(self, entry: JournalEntry) -> None:
        """An alert as it was raised, or as it is now: the last one of a key holds."""
        try:
            told = from_json(entry.record)
            key = str(told["key"])
            self.alerts.pop(key, None)
            if told.get("ended_ms") is None:
                self.alerts[key] = told
        except _BROKEN:
            return
        while len(self.alerts) > MOST_ALERTS:
            self.alerts.popitem(last=False)
