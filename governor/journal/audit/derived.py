"""The rows that are made from an archive's records, against what the records tell."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from governor.journal.audit.database import raw
from governor.journal.audit.faults import Fault
from governor.journal.chain import join
from governor.journal.fold import CALL_KINDS, RESULT, Fold, read_result
from governor.journal.projection import result_row, to_row
from governor.journal.tables import calls, journal, results
from governor.ledger.commands import JournalEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from governor.journal.call import Call
    from governor.journal.retention import Cuts

    Row = Mapping[str, Any]
    Told = dict[int, tuple[Row, Row | None]]
    Kept = dict[int, Row]

LONGEST_MS = 32 * 24 * 3_600_000
"""No hold is open for longer: what ended later than this behind a cut began behind it too."""

_PAGE = 1000
_KINDS = tuple(sorted(CALL_KINDS))
_MOST = 5


class Derived:
    """Compares the rows that are made from the records with what the records tell.

    Args:
        connection: See `database.snapshot`.
        organization: Whose.
        lives: The epochs, oldest first.
        cuts: What was pruned: its rows may be gone, or have nothing any more where they had something.

    Attributes:
        rows: How many were compared.
        uncertain: How many of them could not be, because records that they were made from were pruned.
    """

    def __init__(
        self, connection: sa.Connection, organization: str, lives: Sequence[str], cuts: Cuts
    ) -> None:
        self._connection, self._organization, self._cuts = connection, organization, cuts
        self._rank = {epoch: n for n, epoch in enumerate(lives)}
        self.rows = self.uncertain = 0

    def calls(self, tell: Callable[[int], None]) -> Iterator[Fault]:
        """What is wrong with `governor_calls`."""
        told = ((name, entries, self._fold(entries)) for name, entries in self._records(_KINDS))
        return self._compare("call", told, self._kept(calls, calls.c.turn), tell)

    def results(self, tell: Callable[[int], None]) -> Iterator[Fault]:
        """What is wrong with `governor_results`."""
        told = ((name, entries, self._result(entries)) for name, entries in self._records((RESULT,)))
        return self._compare("result", told, self._kept(results), tell)

    def _records(self, kinds: Iterable[str]) -> Iterator[tuple[str, list[JournalEntry]]]:
        """The records of each id, in the order in which they were archived; by id."""
        names = ("epoch", "place", "place_minor", "seq", "kind", "id", "at_ms", "outcome", "detail", "record")
        # Hidden from SQLite's planner, lest it sort a million records rather than read them by their index.
        mine = sa.func.coalesce(journal.c.organization, "") == self._organization
        columns: list[Any] = [sa.column(name) for name in (*names, "findings")]
        query: Any = sa.select(*columns).select_from(journal)
        query = query.where(mine, journal.c.kind.in_(tuple(kinds))).order_by(self._by_bytes(journal.c.id))
        rows = self._connection.execute(query, execution_options={"yield_per": _PAGE})
        for name, group in groupby(rows, key=lambda row: row.id):
            yield str(name), [_entry(row) for row in sorted(group, key=self._when)]

    def _when(self, row: Any) -> tuple[Any, ...]:
        numbers = (row.place, row.place_minor)
        known = all(isinstance(one, int) for one in numbers)
        return (self._rank.get(row.epoch, -1), *(numbers if known else (-1, -1)))

    def _kept(self, table: sa.Table, *then: Any) -> Iterator[tuple[str, Kept]]:
        """The rows of each id in *table*, by id."""
        query = sa.select(*raw(table)).where(table.c.organization == self._organization)
        query = query.order_by(self._by_bytes(table.c.id), *then)
        rows = self._connection.execute(query, execution_options={"yield_per": _PAGE})
        for name, group in groupby(rows, key=lambda row: row.id):
            yield str(name), {getattr(row, "turn", 0): row._asdict() for row in group}

    def _by_bytes(self, column: Any) -> Any:
        """In the order in which Python compares texts."""
        return sa.collate(column, "C") if self._connection.dialect.name == "postgresql" else column

    def _fold(self, entries: list[JournalEntry]) -> Told:
        fold = Fold()
        fold.take(entries)
        return {one.turn: self._both(one) for one in fold.rows()}

    def _both(self, call: Call) -> tuple[Row, Row | None]:
        """A call's row as the records tell it, and as it may be after the pruning."""
        row, faded = to_row(self._organization, call), self._cuts.faded(call)
        if faded is call:
            return row, row
        return row, None if faded is None else to_row(self._organization, faded)

    def _result(self, entries: list[JournalEntry]) -> Told:
        read = [one for one in map(read_result, entries) if one is not None]
        if not read:
            return {}
        row = result_row(read[-1])
        return {0: (row, None if read[-1].at_ms < self._cuts.results else row)}

    def _compare(
        self,
        kind: Any,
        told: Iterator[tuple[str, list[JournalEntry], Told]],
        kept: Iterator[tuple[str, Kept]],
        tell: Callable[[int], None],
    ) -> Iterator[Fault]:
        """Walk through both, which come by id."""
        one, other = next(told, None), next(kept, None)
        while one is not None or other is not None:
            name = min(side[0] for side in (one, other) if side is not None)
            entries: list[JournalEntry] = []
            expected: Told = {}
            found: Kept = {}
            if one is not None and one[0] == name:
                (_, entries, expected), one = one, next(told, None)
            if other is not None and other[0] == name:
                (_, found), other = other, next(kept, None)
            yield from self._id(kind, name, self._shifted(expected, found), found, self._cut_off(entries))
            tell(self.rows)

    def _id(self, kind: Any, name: str, expected: Told, found: Kept, cut_off: bool) -> Iterator[Fault]:
        """What is wrong with the rows of one id; *cut_off*: older records of it may have been pruned."""
        for turn in dict.fromkeys((*expected, *found)):
            self.rows += 1
            text = _differ(expected.get(turn), found.get(turn))
            if text and cut_off:
                self.uncertain += 1
            elif text:
                yield Fault(kind, "", "", name if not turn else f"{name} (turn {turn})", text)

    def _shifted(self, expected: Told, found: Kept) -> Told:
        """The turns as they were counted while pruned calls of the same id were there."""
        if not (self._cuts.audit and expected and found):
            return expected
        by = max(found) - max(expected)
        if by <= 0:
            return expected
        return {
            turn + by: ({**row, "turn": turn + by}, faded and {**faded, "turn": turn + by})
            for turn, (row, faded) in expected.items()
        }

    def _cut_off(self, entries: list[JournalEntry]) -> bool:
        """Whether the first records of an id may have been pruned: there is an end, and no beginning."""
        if not self._cuts.audit or not entries:
            return False
        first = entries[0]
        return first.at_ms < self._cuts.audit + LONGEST_MS and (
            first.kind != "reserve" or first.outcome != "held"
        )


def _entry(row: Any) -> JournalEntry:
    record = join(row.record, row.findings) if isinstance(row.findings, str) else row.record
    return JournalEntry(row.seq, row.kind, row.id, row.at_ms, row.outcome, row.detail, record)


def _differ(expected: tuple[Row, Row | None] | None, found: Row | None) -> str:
    """How a row differs from what the records tell, in full or after the pruning; '' where it does not."""
    if expected is None:
        return "no record tells of it: its row was put in"
    row, faded = expected
    if found is None:
        return "" if faded is None else "its row is missing: the records tell of it"
    wrong = [
        name for name, value in row.items() if found[name] != value and (faded or row)[name] != found[name]
    ]
    if not wrong:
        return ""
    told = "; ".join(f"its `{one}` is {found[one]!r}, the records say {row[one]!r}" for one in wrong[:_MOST])
    return told if len(wrong) <= _MOST else f"{told}; and {len(wrong) - _MOST} more"
