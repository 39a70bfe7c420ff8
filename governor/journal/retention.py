"""How long an archive keeps what, by class: and letting go of the rest, so that the chain still holds."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from governor.errors import GovernorError
from governor.journal.tables import alerts, calls, deliveries, heads, journal, results, workers
from governor.ledger.recovery import place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from governor.journal.archive_sql import SqlArchive
    from governor.journal.call import Call

DAY_MS = 24 * 3_600_000
YEAR_MS = 366 * DAY_MS
"""No year is longer, so nothing goes too soon."""

LEAST_AUDIT_MS = 100 * DAY_MS
"""A rebuild needs the records of every window that is not over for 35 days, and a month has 31."""

TASK = "prune"
_AGE = re.compile(r"([0-9]{1,5})([hdy])")
_MS = {"h": 3_600_000, "d": DAY_MS, "y": YEAR_MS}
_PAGE = 5000

PERFORMANCE: Mapping[str, Any] = {
    "load_bp": 0,
    "limit_bp": None,
    "complexity": None,
    "input_tokens": 0,
    "output_tokens": 0,
    "cache_write_tokens": 0,
    "cache_read_tokens": 0,
    "estimated_tokens": 0,
    "window_tokens": 0,
    "latency_ms": None,
    "first_token_ms": None,
    "stop_reason": "",
    "status": 0,
    "error": "",
    "attempts": 0,
    "pushed_429": 0,
    "pushed_529": 0,
}
"""What a call's row has of this class, and what stands there once it is gone."""

ATTRIBUTION: Mapping[str, Any] = {"user": "", "run": "", "priority": "", "tags": (), "api_request_id": ""}
"""Likewise. Department, feature and model stay: totals by them name nobody."""

CONTENT: Mapping[str, Any] = {"classification": "", "region": "", "pii": "", "content_hash": ""}
"""Likewise; of a record, all that was found in the content. The chain has its hash."""


class RetentionError(GovernorError):
    """What is to be kept cannot be read, or is less than is needed."""


@dataclass(frozen=True, slots=True)
class Keep:
    """How long each class is kept, in milliseconds.

    Attributes:
        audit: The records, and what is made from them.
        attribution: Who a call was of: user, run, tags.
        performance: How it went: latency, tokens, status.
        content: What was found in its content.
    """

    audit: int = 7 * YEAR_MS
    attribution: int = 3 * YEAR_MS
    performance: int = 2 * YEAR_MS
    content: int = 90 * DAY_MS

    @classmethod
    def read(cls, text: str) -> Keep:
        """From `audit=10y,content=30d`; what is not named is kept as usual.

        Raises:
            RetentionError: It cannot be read, or audit is less than 100 days.
        """
        named = {one.name for one in fields(cls)}
        given: dict[str, int] = {}
        for part in filter(None, (one.strip() for one in text.split(","))):
            name, _, age = part.partition("=")
            found = _AGE.fullmatch(age)
            if name not in named or found is None:
                known = ", ".join(sorted(named))
                raise RetentionError(
                    f"--keep {part!r} cannot be read: write for example audit=10y,content=30d; "
                    f"the classes are {known}, an age is in y, d or h"
                )
            given[name] = int(found[1]) * _MS[found[2]]
        keep = cls(**given)
        if keep.audit < LEAST_AUDIT_MS:
            raise RetentionError(
                "--keep audit: a rebuild of the ledger needs the records of the last 100 days at least"
            )
        return keep

    def at(self, now_ms: int) -> Cuts:
        """What is older than this goes, at *now_ms*; of what is kept for longer than since 1970, nothing."""
        return Cuts(*(max(0, now_ms - getattr(self, one.name)) for one in fields(self)))


@dataclass(frozen=True, slots=True)
class Cuts:
    """Before which instant each class is gone, Unix milliseconds; 0: nothing is."""

    audit: int = 0
    attribution: int = 0
    performance: int = 0
    content: int = 0

    def later(self, other: Cuts) -> Cuts:
        """The later of each: what is gone stays gone."""
        return Cuts(*(max(getattr(self, one.name), getattr(other, one.name)) for one in fields(self)))

    @property
    def results(self) -> int:
        """Before which instant results are gone: their records may be kept for less long than they."""
        return max(self.attribution, self.audit)

    def faded(self, call: Call) -> Call | None:
        """What an archive that was pruned so has of a call; `None`: nothing any more."""
        if call.began_ms < self.audit:
            return None
        gone: dict[str, Any] = {}
        for cut, values in self._classes():
            if call.began_ms < cut:
                gone.update(values)
        return replace(call, **gone) if gone else call

    def _classes(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        yield self.attribution, ATTRIBUTION
        yield self.performance, PERFORMANCE
        yield self.content, CONTENT


def read_cuts(connection: sa.Connection, organization: str) -> Cuts:
    """What was pruned so far."""
    mine = (workers.c.organization == organization, workers.c.task == TASK)
    state = connection.execute(sa.select(workers.c.state).where(*mine)).scalar()
    try:
        return Cuts(**{name: int(ms) for name, ms in json.loads(state or "{}").items()})
    except (ValueError, TypeError, AttributeError):
        return Cuts()


@dataclass(frozen=True, slots=True)
class Pruned:
    """How much went, or would: records, calls, their results, alerts; and of how many rows a part."""

    records: int = 0
    calls: int = 0
    results: int = 0
    alerts: int = 0
    attribution: int = 0
    performance: int = 0
    content: int = 0


def count(archive: SqlArchive, cuts: Cuts) -> Pruned:
    """How much `prune` would let go of now; changes nothing.

    Raises:
        ArchiveError: The archive cannot be read.
    """
    with archive.reading() as connection:
        if connection is None:
            return Pruned()
        mine = archive.organization
        told = {name: _count(connection, table, where) for name, table, where, _ in _changes(mine, cuts)}
        told |= {name: _count(connection, table, where) for name, table, where in _removals(mine, cuts)}
        records = sum(_count_before(connection, mine, *life) for life in _lives(connection, mine, cuts))
        return Pruned(records=records, **told)


def prune(
    archive: SqlArchive, cuts: Cuts, tell: Callable[[int, int | None], None] = lambda *_: None
) -> Pruned:
    """Let go of what is older than *cuts*; interrupted, it goes on where it stopped.

    The records go from the oldest on, never an epoch's newest; the head keeps the hash of the last that went.

    Raises:
        ArchiveError: The archive cannot be written.
    """
    mine = archive.organization
    with archive.writing() as connection:
        _write_cuts(connection, mine, read_cuts(connection, mine).later(cuts))
    told: dict[str, int] = {}
    for name, table, where, values in _changes(mine, cuts):
        with archive.writing() as connection:
            told[name] = connection.execute(sa.update(table).where(*where).values(**values)).rowcount
    with archive.writing() as connection:
        found = _mine(journal, mine, journal.c.at_ms < cuts.content, journal.c.findings.is_not(None))
        connection.execute(sa.update(journal).where(*found).values(findings=None))
    for name, table, where in _removals(mine, cuts):
        with archive.writing() as connection:
            if table is alerts:
                keys = sa.select(alerts.c.key).where(*where)
                connection.execute(
                    sa.delete(deliveries).where(*_mine(deliveries, mine, deliveries.c.key.in_(keys)))
                )
            told[name] = connection.execute(sa.delete(table).where(*where)).rowcount
    with archive.reading() as connection:
        lives = [] if connection is None else _lives(connection, mine, cuts)
    gone = 0
    for epoch, boundary in lives:
        while removed := _remove_page(archive, epoch, boundary):
            gone += removed
            tell(gone, None)
    return Pruned(records=gone, **told)


def _mine(table: sa.Table, organization: str, *where: Any) -> tuple[Any, ...]:
    return (table.c.organization == organization, *where)


def _changes(
    organization: str, cuts: Cuts
) -> Iterator[tuple[str, sa.Table, tuple[Any, ...], dict[str, Any]]]:
    """Of each class but the records: which rows of calls lose what."""
    classes = (
        ("attribution", cuts.attribution, {**ATTRIBUTION, "tags": "{}"}),
        ("performance", cuts.performance, PERFORMANCE),
        ("content", cuts.content, CONTENT),
    )
    for name, cut, values in classes:
        there = sa.or_(*(calls.c[column].is_distinct_from(value) for column, value in values.items()))
        yield name, calls, _mine(calls, organization, calls.c.began_ms < cut, there), dict(values)


def _removals(organization: str, cuts: Cuts) -> Iterator[tuple[str, sa.Table, tuple[Any, ...]]]:
    yield "calls", calls, _mine(calls, organization, calls.c.began_ms < cuts.audit)
    yield "results", results, _mine(results, organization, results.c.at_ms < cuts.results)
    yield "alerts", alerts, _mine(alerts, organization, alerts.c.ended_ms < cuts.attribution)


def _count(connection: sa.Connection, table: sa.Table, where: tuple[Any, ...]) -> int:
    return int(connection.execute(sa.select(sa.func.count()).select_from(table).where(*where)).scalar_one())


_here = sa.tuple_(journal.c.place, journal.c.place_minor)


def _lives(connection: sa.Connection, organization: str, cuts: Cuts) -> list[tuple[str, tuple[int, int]]]:
    """Of each life, the place of the first record that stays: the first that is young, or the newest one."""
    found = []
    mine = sa.select(heads.c.epoch, heads.c.seq).where(heads.c.organization == organization)
    for epoch, newest in connection.execute(mine.order_by(heads.c.epoch)).all():
        own = _mine(journal, organization, journal.c.epoch == epoch, journal.c.at_ms >= cuts.audit)
        query = sa.select(journal.c.place, journal.c.place_minor).where(*own)
        young = connection.execute(query.order_by(journal.c.place, journal.c.place_minor).limit(1)).first()
        found.append((epoch, place(newest) if young is None else min(tuple(young), place(newest))))
    return found


def _count_before(connection: sa.Connection, organization: str, epoch: str, boundary: tuple[int, int]) -> int:
    return _count(
        connection, journal, _mine(journal, organization, journal.c.epoch == epoch, _here < boundary)
    )


def _remove_page(archive: SqlArchive, epoch: str, boundary: tuple[int, int]) -> int:
    """Remove some records before a place, and make the head say what is the oldest now."""
    own = _mine(journal, archive.organization, journal.c.epoch == epoch)
    ordered = sa.select(journal.c.place, journal.c.place_minor, journal.c.seq, journal.c.hash)
    ordered = ordered.where(*own).order_by(journal.c.place, journal.c.place_minor)
    with archive.writing() as connection:
        page = connection.execute(ordered.where(_here < boundary).limit(_PAGE)).all()
        if not page:
            return 0
        last = page[-1]
        reached = (last.place, last.place_minor)
        connection.execute(sa.delete(journal).where(*own, _here <= reached))
        oldest = connection.execute(ordered.limit(1)).first()
        values = {"before_hash": last.hash, "records": heads.c.records - len(page)}
        head = (heads.c.organization == archive.organization, heads.c.epoch == epoch)
        connection.execute(sa.update(heads).where(*head).values(first_seq=oldest.seq, **values))  # type: ignore[union-attr]
        return len(page)


def _write_cuts(connection: sa.Connection, organization: str, cuts: Cuts) -> None:
    key = {"organization": organization, "task": TASK}
    state = json.dumps({one.name: getattr(cuts, one.name) for one in fields(cuts)})
    mine = (workers.c.organization == organization, workers.c.task == TASK)
    if not connection.execute(sa.update(workers).where(*mine).values(state=state)).rowcount:
        connection.execute(sa.insert(workers).values(**key, worker="", until_ms=0, state=state))
