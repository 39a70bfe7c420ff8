"""What reports ask of an archive: one pass over the calls for each question, grouped by the database."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from governor.journal import call as states
from governor.journal.archive import ArchiveError
from governor.journal.call import Result
from governor.journal.reports.asked import Only
from governor.journal.reports.figures import COUNTED, Figures
from governor.journal.reports.spans import DAY_MS, HOUR_MS, date_of, offsets
from governor.journal.tables import calls, results

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from governor.journal.reports.spans import Span

DIMENSIONS = ("department", "feature", "user", "model")
"""By which calls can be told apart."""

_ENDED_BADLY = (states.REFUSED, states.CUT, states.SILENT, states.EXPIRED)


class Source:
    """The calls and results of one organization in an archive.

    Args:
        connection: To its database.
        organization: Whose.
        only: Which calls.
    """

    def __init__(self, connection: sa.Connection, organization: str, only: Only | None = None) -> None:
        self._connection = connection
        self._only = only or Only()
        self._organization = organization

    def figures(
        self, start_ms: int, end_ms: int, by: Sequence[str] = (), *, latency: bool = True
    ) -> dict[tuple[str, ...], Figures]:
        """What the calls that began in a stretch of time come to.

        Args:
            start_ms: Its first millisecond, Unix time.
            end_ms: The first one after it.
            by: The columns that tell the groups apart.
            latency: Whether latencies are wanted; without, it is quicker.

        Raises:
            ArchiveError: The database cuts long texts.
        """
        keys = [calls.c[name] for name in by]
        columns = [*keys, *_sums()]
        if latency:
            columns += [sa.func.count(_latency()), _texts()]
        query = sa.select(*columns).where(*self._where(start_ms, end_ms)).group_by(*keys)
        found: dict[tuple[str, ...], Figures] = {}
        for row in self._connection.execute(query):
            told = tuple(row)
            figures = Figures()
            for name, value in zip(COUNTED, told[len(by) :], strict=False):
                setattr(figures, name, int(value or 0))
            if latency and told[-1]:
                figures.latencies.append(_numbers(told[-1], told[-2]))
            if figures != Figures():
                found[told[: len(by)]] = figures
        return found

    def total(self, start_ms: int, end_ms: int, *, latency: bool = True) -> Figures:
        """The same of all calls together."""
        return self.figures(start_ms, end_ms, latency=latency).get((), Figures())

    def spent(self, start_ms: int, end_ms: int, by: Sequence[str]) -> dict[tuple[str, ...], int]:
        """What the calls that began in a stretch of time cost, nano-dollars, by some columns."""
        keys = [calls.c[name] for name in by]
        query = sa.select(*keys, sa.func.sum(calls.c.cost_nanos)).where(*self._where(start_ms, end_ms))
        return {tuple(row)[:-1]: int(row[-1]) for row in self._connection.execute(query.group_by(*keys))}

    def by_hour(self, span: Span, end_ms: int) -> list[int]:
        """What each hour of a day cost, nano-dollars, from its first on; calls until *end_ms* only."""
        hour = ((calls.c.began_ms - span.start_ms) // HOUR_MS).label("hour")
        query = sa.select(hour, sa.func.sum(calls.c.cost_nanos))
        found = [0] * -(-(span.end_ms - span.start_ms) // HOUR_MS)
        rows = self._connection.execute(
            query.where(*self._where(span.start_ms, min(end_ms, span.end_ms))).group_by(sa.text("1"))
        )
        for number, nanos in rows:
            found[int(number)] = int(nanos)
        return found

    def by_day(self, span: Span, by: Sequence[str] = ()) -> dict[tuple[str, ...], dict[date, int]]:
        """What each date cost, nano-dollars, in the span's time zone; dates without a call are left out.

        Args:
            span: Which calls.
            by: The columns that tell groups apart; `tag.NAME` is the value of a tag.
        """
        tagged = [name for name in by if name.startswith("tag.")]
        columns = [name for name in by if name not in tagged] + (["tags"] if tagged else [])
        keys = [calls.c[name] for name in columns]
        query = sa.select(_day(span).label("day"), *keys, sa.func.sum(calls.c.cost_nanos))
        rows = self._connection.execute(
            query.where(*self._where(span.start_ms, span.end_ms)).group_by(sa.text("1"), *keys)
        )
        found: dict[tuple[str, ...], dict[date, int]] = defaultdict(lambda: defaultdict(int))
        for number, *values, nanos in rows:
            told = dict(zip(columns, values, strict=True))
            tags = json.loads(told.pop("tags", "{}"))
            key = tuple(
                tags.get(name.removeprefix("tag."), "") if name in tagged else told[name] for name in by
            )
            found[key][date_of(int(number))] += int(nanos)
        return {key: dict(days) for key, days in found.items()}

    def by_tag(self, span: Span, name: str) -> dict[tuple[str, str], tuple[int, int, int]]:
        """By department and the value of a tag ('': none): calls, tokens, and what they cost."""
        query = sa.select(
            calls.c.department,
            calls.c.tags,
            _count(calls.c.final),
            sa.func.sum(_all_tokens()),
            sa.func.sum(calls.c.cost_nanos),
        ).where(*self._where(span.start_ms, span.end_ms))
        found: dict[tuple[str, str], tuple[int, int, int]] = {}
        for department, tags, *numbers in self._connection.execute(
            query.group_by(calls.c.department, calls.c.tags)
        ):
            key = (department, str(json.loads(tags).get(name, "")))
            before = found.get(key, (0, 0, 0))
            count, tokens, nanos = (was + int(one or 0) for was, one in zip(before, numbers, strict=True))
            found[key] = (count, tokens, nanos)
        return found

    def ends(self) -> tuple[int, int] | None:
        """When the first and the last call began, Unix milliseconds; `None` without any."""
        query = sa.select(sa.func.min(calls.c.began_ms), sa.func.max(calls.c.began_ms))
        first, last = self._connection.execute(query.where(*self._mine())).one()
        return None if first is None else (int(first), int(last))

    def knows(self, name: str, value: str) -> bool:
        """Whether any call has a value in a column."""
        query = sa.select(sa.literal(1)).where(
            calls.c.organization == self._organization, calls.c[name] == value
        )
        return self._connection.execute(query.limit(1)).first() is not None

    def results(self, start_ms: int, end_ms: int) -> list[Result]:
        """What was told of results in a stretch of time, in its order."""
        columns = [results.c[name] for name in Result.__dataclass_fields__]
        where = [
            results.c.organization == self._organization,
            results.c.at_ms >= start_ms,
            results.c.at_ms < end_ms,
        ]
        told = {name: getattr(self._only, name) for name in ("department", "feature", "user")}
        where += [results.c[name] == value for name, value in told.items() if value is not None]
        query = sa.select(*columns).where(*where).order_by(results.c.at_ms, results.c.id)
        return [Result(**row._asdict()) for row in self._connection.execute(query)]

    def costs_of(
        self, found: Iterable[Result]
    ) -> tuple[dict[str, list[CallCost]], dict[str, list[CallCost]]]:
        """What the calls cost that results are tied to, whenever they were: by run, and by call."""
        runs = {one.run for one in found if one.run}
        ids = {one.call_id for one in found if one.call_id}
        by_run: dict[str, list[CallCost]] = defaultdict(list)
        by_call: dict[str, list[CallCost]] = defaultdict(list)
        for column, names, kept in ((calls.c.run, runs, by_run), (calls.c.call_id, ids, by_call)):
            for row in self._of(column, sorted(names)):
                kept[row[0]].append(CallCost(row[1], row[2], int(row[3])))
        return by_run, by_call

    def _of(self, column: Any, names: list[str]) -> Iterable[Any]:
        for at in range(0, len(names), _MOST_NAMES):
            some = names[at : at + _MOST_NAMES]
            query = sa.select(column, calls.c.call_id, calls.c.department, sa.func.sum(calls.c.cost_nanos))
            yield from self._connection.execute(
                query.where(calls.c.organization == self._organization, column.in_(some)).group_by(
                    column, calls.c.call_id, calls.c.department
                )
            )

    def _mine(self) -> list[Any]:
        told = {name: getattr(self._only, name) for name in ("department", "feature", "user")}
        chosen = [calls.c[name] == value for name, value in told.items() if value is not None]
        return [calls.c.organization == self._organization, *chosen]

    def _where(self, start_ms: int, end_ms: int) -> list[Any]:
        return [*self._mine(), calls.c.began_ms >= start_ms, calls.c.began_ms < end_ms]


class CallCost(NamedTuple):
    """A call, its department, and what it cost, nano-dollars."""

    call_id: str
    department: str
    cost_nanos: int


_MOST_NAMES = 10_000
"""So many runs or calls are asked for in one query: PostgreSQL takes 65,535 parameters, SQLite 32,766."""


def _count(condition: Any) -> Any:
    return sa.func.sum(sa.case((condition, 1), else_=0))


def _answered() -> Any:
    return sa.and_(calls.c.final, calls.c.state == states.ANSWERED)


def _latency() -> Any:
    """The latency of an answered call; null of every other row."""
    return sa.case((_answered(), calls.c.latency_ms))


def _texts() -> Any:
    return sa.func.aggregate_strings(sa.cast(_latency(), sa.Text), ",")


def _all_tokens() -> Any:
    return (
        calls.c.input_tokens + calls.c.output_tokens + calls.c.cache_write_tokens + calls.c.cache_read_tokens
    )


def _sums() -> list[Any]:
    """The sums, as `COUNTED` names them."""
    final, state = calls.c.final, calls.c.state
    told = {
        "calls": _count(final),
        "answered": _count(_answered()),
        "failed": _count(sa.and_(final, state.in_(_ENDED_BADLY))),
        "blocked": _count(sa.and_(final, state == states.BLOCKED)),
        "open": _count(sa.and_(final, state == states.OPEN)),
        "swapped": _count(sa.and_(final, calls.c.decision.in_((states.DOWNGRADED, states.SHRUNK)))),
        "stopped": _count(sa.and_(_answered(), calls.c.stop_reason == "max_tokens")),
        "uncertain": _count(calls.c.uncertain),
    }
    return [told[name] if name in told else sa.func.sum(calls.c[name]) for name in COUNTED]


def _day(span: Span) -> Any:
    """The number of a call's date, from 1970 on, in the span's time zone."""
    found = offsets(span.zone, span.start_ms, span.end_ms)
    days = [(calls.c.began_ms + one.offset_ms) // DAY_MS for one in found]
    if len(found) == 1:
        return days[0]
    cases = [(calls.c.began_ms < one.until_ms, day) for one, day in zip(found, days, strict=True)]
    return sa.case(*cases[:-1], else_=days[-1])


def _numbers(text: str, count: int) -> list[int]:
    """So many latencies, ascending. Some databases cut long texts: percentiles of a part would be wrong."""
    found = sorted(map(int, text.split(",")))
    if len(found) != count:
        raise ArchiveError(
            f"the archive's database joins at most {len(text):,} characters, too few for this report: "
            "raise its limit (MySQL: group_concat_max_len), or keep the archive in SQLite or PostgreSQL"
        )
    return found
