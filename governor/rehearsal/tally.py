"""What a back-test found, added up: by person, by budget, by day. Pure.

It grows with people, budgets and days, never with calls.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(slots=True)
class Counts:
    """Some calls: what became of them then, and what would have under the new policies.

    Attributes:
        calls: All of them.
        downgraded: Served then, and on a cheaper line under the new policies.
        raised: Served then, and on a dearer line under the new policies.
        shrunk: Served then, and on the same line with a smaller `max_tokens` under the new policies.
        blocked: Served then, and refused under the new policies.
        false_blocks: Of these, those whose window had room for all that was really spent.
        freed: Refused then, and served under the new policies.
        still_refused: Refused then and under the new policies.
        first_downgraded_ms: When the first was downgraded, Unix milliseconds; 0: never.
        first_blocked_ms: When the first was blocked, likewise.
        then_nanos: What they cost.
        new_nanos: What they would have cost under the new policies.
    """

    calls: int = 0
    downgraded: int = 0
    raised: int = 0
    shrunk: int = 0
    blocked: int = 0
    false_blocks: int = 0
    freed: int = 0
    still_refused: int = 0
    first_downgraded_ms: int = 0
    first_blocked_ms: int = 0
    then_nanos: int = 0
    new_nanos: int = 0

    @property
    def saved_nanos(self) -> int:
        """What would have been saved; below 0 where it would have cost more."""
        return self.then_nanos - self.new_nanos

    @property
    def changed(self) -> int:
        """How many calls would have gone another way."""
        return self.downgraded + self.raised + self.shrunk + self.blocked + self.freed

    def downgrade(self, at_ms: int) -> None:
        """Count a downgrade at an instant."""
        self.downgraded += 1
        self.first_downgraded_ms = self.first_downgraded_ms or at_ms

    def block(self, at_ms: int) -> None:
        """Count a block at an instant."""
        self.blocked += 1
        self.first_blocked_ms = self.first_blocked_ms or at_ms

    def add(self, other: Counts) -> None:
        """Take in those of others."""
        firsts = ("first_downgraded_ms", "first_blocked_ms")
        for name in self.__slots__:
            mine, its = getattr(self, name), getattr(other, name)
            value = min(filter(None, (mine, its)), default=0) if name in firsts else mine + its
            setattr(self, name, value)


class Cause(NamedTuple):
    """What downgraded or blocked calls.

    Attributes:
        budget: The budget as people say it: `user usd a month`; or the sentence of a rule that is no budget.
        source: File and line it is written at; '' for a rule.
        limit: The file's, in the budget's unit; 0 for a rule.
        unit: What it counts; '' for a rule.
    """

    budget: str
    source: str = ""
    limit: int = 0
    unit: str = ""


@dataclass(slots=True)
class Day:
    """What the calls of one day cost: then, and under the new policies."""

    then_nanos: int = 0
    new_nanos: int = 0


MOST_CAUSES = 1_000
"""Of rules that are no budgets, each sentence is told for itself; of more than so many, the rest together."""


@dataclass(slots=True)
class Found:
    """What a back-test found.

    Attributes:
        people: By department and user.
        causes: By what refused or downgraded; its `calls` are those it did.
        days: By department and day (in the department's time zone, ISO).
        outcomes: How often calls were blocked, by `exhausted`, `contended`, `frozen` or `policy`.
        records: How many were read.
        first_ms: When the first call of the range began, Unix milliseconds; 0 without one.
        last_ms: When the last one began.
        ends_alone: Ends of calls that began before the journal, or the range.
        unasked: Calls that went through while the ledger was away: under any policy they do.
        uncovered: Calls of departments that the new policies, being one file, do not speak of.
        tierless: Calls of users whose tier, on which their budgets depend, only the application knows.
        open: Calls of the range that had not ended where the journal does.
        late: Calls that settled after their hold had expired.
        unreadable: Records that could not be read, or lack what is needed.
        leases: Records of leases.
        gaps: Places where the archive misses records.
        priced: Ceilings that were worked out, because the record's do not hold.
        scaled: Of these, those in proportion to the record's.
        estimated: Calls that were refused then, whose cost is what was expected of them or their ceiling.
    """

    people: dict[tuple[str, str], Counts] = field(default_factory=dict)
    causes: dict[Cause, Counts] = field(default_factory=dict)
    days: dict[str, dict[str, Day]] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)
    records: int = 0
    first_ms: int = 0
    last_ms: int = 0
    ends_alone: int = 0
    unasked: int = 0
    uncovered: int = 0
    tierless: int = 0
    open: int = 0
    late: int = 0
    unreadable: int = 0
    leases: int = 0
    gaps: int = 0
    priced: int = 0
    scaled: int = 0
    estimated: int = 0

    def person(self, department: str, user: str) -> Counts:
        """The counts of one user in one department."""
        found = self.people.get((department, user))
        if found is None:
            found = self.people[department, user] = Counts()
        return found

    def cause(self, cause: Cause) -> Counts:
        """The counts of what one budget or rule did."""
        if cause not in self.causes and len(self.causes) >= MOST_CAUSES:
            cause = Cause("other rules of the files")
        return self.causes.setdefault(cause, Counts())

    def day(self, department: str, day: str) -> Day:
        """What a department's calls of one day cost."""
        return self.days.setdefault(department, {}).setdefault(day, Day())

    def departments(self) -> dict[str, Counts]:
        """The counts of each department, by name."""
        found: dict[str, Counts] = {}
        for (department, _), counts in sorted(self.people.items()):
            found.setdefault(department, Counts()).add(counts)
        return found

    def total(self) -> Counts:
        """The counts of all calls."""
        return together(self.people.values())

    def only(self, departments: Iterable[str]) -> None:
        """Keep what these departments' people did."""
        names = set(departments)
        self.people = {key: counts for key, counts in self.people.items() if key[0] in names}
        self.days = {name: days for name, days in self.days.items() if name in names}


def together(parts: Iterable[Counts]) -> Counts:
    """The counts of several, added up."""
    total = Counts()
    for part in parts:
        total.add(part)
    return total


class Days:
    """The day of an instant in a time zone: each quarter of an hour is looked up once.

    No zone changes its clock within one.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], str] = {}

    def of(self, timezone: str, at_ms: int) -> str:
        """As ISO has it: `2026-11-21`."""
        key = (timezone, at_ms // 900_000)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= 10_000:
                self._known.clear()
            moment = datetime.fromtimestamp(at_ms / 1000, ZoneInfo(timezone))
            found = self._known[key] = f"{moment:%Y-%m-%d}"
        return found
