"""Days, months and hours as a policy's time zone has them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time.

    Attributes:
        start_ms: Its first millisecond, Unix time.
        end_ms: The first one after it.
        zone: An IANA time zone: days begin at its midnights.
        title: For people: `2026-11-21`, `November 2026`.
    """

    start_ms: int
    end_ms: int
    zone: str
    title: str

    def __str__(self) -> str:
        """For people, with the zone: `2026-11-21, Europe/Berlin`."""
        return f"{self.title}, {self.zone}"

    @property
    def dates(self) -> tuple[date, ...]:
        """Every date that it has a part of."""
        first, last = local_date(self.start_ms, self.zone), local_date(self.end_ms - 1, self.zone)
        return tuple(first + timedelta(days=n) for n in range((last - first).days + 1))


def local_date(at_ms: int, zone: str) -> date:
    """The date of an instant (Unix milliseconds) in a time zone."""
    return local_time(at_ms, zone).date()


def local_time(at_ms: int, zone: str) -> datetime:
    """An instant (Unix milliseconds) as the clocks of a time zone show it, to the second."""
    return datetime.fromtimestamp(at_ms // 1000, ZoneInfo(zone))


def midnight_ms(day: date, zone: str) -> int:
    """The first millisecond of a date in a time zone, Unix time."""
    return int(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).timestamp()) * 1000


def days_span(first: date, last: date, zone: str) -> Span:
    """From the first to the last date, both whole."""
    end = last + timedelta(days=1)
    title = first.isoformat() if first == last else f"{first.isoformat()} to {last.isoformat()}"
    return Span(midnight_ms(first, zone), midnight_ms(end, zone), zone, title)


def day_span(day: date, zone: str) -> Span:
    """A whole date: 23 to 25 hours."""
    return days_span(day, day, zone)


def month_span(day: date, zone: str) -> Span:
    """The calendar month that has a date."""
    first = day.replace(day=1)
    span = days_span(first, next_month(first) - timedelta(days=1), zone)
    return Span(span.start_ms, span.end_ms, zone, f"{first:%B %Y}")


def next_month(day: date) -> date:
    """The first date of the month after that of *day*."""
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def hours_of(span: Span) -> tuple[str, ...]:
    """The clock's time at each hour that begins in a span: `00:00` …; 25 on the longest day."""
    return tuple(
        f"{local_time(at_ms, span.zone):%H:%M}" for at_ms in range(span.start_ms, span.end_ms, HOUR_MS)
    )


@dataclass(frozen=True, slots=True)
class Offset:
    """How far a zone's clocks are ahead of UTC, milliseconds, before the instant *until_ms*."""

    until_ms: int
    offset_ms: int


def offsets(zone: str, start_ms: int, end_ms: int) -> tuple[Offset, ...]:
    """How far the clocks are ahead over a stretch of time, one for each change; the last one ends with it."""
    found: list[Offset] = []
    at_ms, offset = start_ms, _offset_ms(start_ms, zone)
    while at_ms < end_ms:
        after_ms = min(at_ms + DAY_MS, end_ms)
        if _offset_ms(after_ms, zone) != offset:
            change_ms = _change_ms(at_ms, after_ms, zone)
            found.append(Offset(change_ms, offset))
            offset = _offset_ms(change_ms, zone)
        at_ms = after_ms
    return (*found, Offset(end_ms, offset))


def date_of(number: int) -> date:
    """The date that is so many days after 1 January 1970."""
    return _EPOCH + timedelta(days=number)


def _offset_ms(at_ms: int, zone: str) -> int:
    ahead = local_time(at_ms, zone).utcoffset() or timedelta()
    return int(ahead.total_seconds()) * 1000


def _change_ms(low_ms: int, high_ms: int, zone: str) -> int:
    """The first whole second at which the clocks are as they are at *high_ms*."""
    before = _offset_ms(low_ms, zone)
    low, high = low_ms // 1000, high_ms // 1000
    while high - low > 1:
        middle = (low + high) // 2
        if _offset_ms(middle * 1000, zone) == before:
            low = middle
        else:
            high = middle
    return high * 1000
