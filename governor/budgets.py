"""The value types every room shares: units, windows and what makes a balance that balance."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from urllib.parse import quote
from zoneinfo import ZoneInfo

LIFE = "life"

ROLLING_BUCKETS = 48
"""A rolling window is this many aligned buckets and the current one; the oldest is counted whole."""

_ROLLING = re.compile(r"rolling[ -]([1-9][0-9]{0,3})([mhd])")
_LENGTH_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}


class Unit(enum.StrEnum):
    """What a budget counts. Amounts are integers; `USD` is counted in nano-dollars."""

    USD = "usd"
    TOKENS = "tokens"
    REQUESTS = "requests"
    CONCURRENT = "concurrent"


class Period(enum.StrEnum):
    """How long a window of a budget lasts. Calendar periods follow the policy's time zone."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    LIFE = "life"


_HOUR_MS = 3_600_000
LONGEST_MS = {
    Period.MINUTE: 60_000,
    Period.HOUR: _HOUR_MS,
    Period.DAY: 25 * _HOUR_MS,
    Period.WEEK: (7 * 24 + 1) * _HOUR_MS,
    Period.MONTH: (31 * 24 + 1) * _HOUR_MS,
}
"""The longest that a window lasts, with the hour that a clock change may add; `life` has no end."""


@dataclass(frozen=True, slots=True)
class Rolling:
    """A window that moves with time: what was spent in the last so many minutes, hours or days.

    Attributes:
        value: As identities have it: `rolling-7d`.
        length_ms: How far it reaches back; what is older than it by a whole bucket never counts.
    """

    value: str
    length_ms: int

    @property
    def bucket_ms(self) -> int:
        """The length of one bucket; buckets are aligned to the Unix epoch."""
        return self.length_ms // ROLLING_BUCKETS

    def __str__(self) -> str:
        """As files have it: `rolling 7d`."""
        return self.value.replace("-", " ")


def period_of(text: str) -> Period | Rolling:
    """The period of that name: `month`, or `rolling 7d` (a file's) or `rolling-7d` (an identity's).

    Raises:
        ValueError: There is none.
    """
    rolling = _ROLLING.fullmatch(text)
    if rolling is None:
        return Period(text)
    number, unit = rolling.groups()
    return Rolling(f"rolling-{number}{unit}", int(number) * _LENGTH_MS[unit])


@dataclass(frozen=True, slots=True)
class Window:
    """One turn of a period: where it starts, where it ends, and the id its balance is kept under.

    Attributes:
        id: For example `2026-11`, `2026-11-21`, `2026-W47`, `2026-11-21T02:10Z`, `life` or `rolling`.
        start_ms: First millisecond of the window, Unix time.
        end_ms: First millisecond after it; 0 where the window never ends.
        bucket_ms: The length of a rolling window's buckets; 0 for every other one.
    """

    id: str
    start_ms: int
    end_ms: int
    bucket_ms: int = 0


_LIFE_WINDOW = Window(LIFE, 0, 0)


def window_at(period: Period | Rolling, timezone: str, now_ms: int) -> Window:
    """The window of *period* that holds the instant *now_ms* (Unix milliseconds) in *timezone* (IANA)."""
    if isinstance(period, Rolling):
        return Window("rolling", 0, 0, period.bucket_ms)
    if period is Period.LIFE:
        return _LIFE_WINDOW
    window = _recent_window(period, timezone, now_ms // 60_000)
    return window if window.start_ms <= now_ms < window.end_ms else _calendar_window(period, timezone, now_ms)


@lru_cache(maxsize=1024)
def _recent_window(period: Period, timezone: str, minute: int) -> Window:
    return _calendar_window(period, timezone, minute * 60_000)


def _calendar_window(period: Period, timezone: str, now_ms: int) -> Window:
    zone = ZoneInfo(timezone)
    now = datetime.fromtimestamp(now_ms // 1000, zone)
    if period in (Period.MINUTE, Period.HOUR):
        return _short_window(period, now)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if period is Period.DAY:
        start, end, name = midnight, midnight + timedelta(days=1), f"{midnight:%Y-%m-%d}"
    elif period is Period.WEEK:
        start = midnight - timedelta(days=midnight.weekday())
        end = start + timedelta(days=7)
        iso = start.isocalendar()
        name = f"{iso.year}-W{iso.week:02d}"
    else:
        start = midnight.replace(day=1)
        end = (start + timedelta(days=32)).replace(day=1)
        name = f"{start:%Y-%m}"
    return Window(name, _unix_ms(start), _unix_ms(end))


def _short_window(period: Period, now: datetime) -> Window:
    """Minutes and hours run on elapsed time, so that no daylight-saving change repeats an id."""
    length_s = 60 if period is Period.MINUTE else 3600
    offset = now.utcoffset() or timedelta()
    local_s = int(now.timestamp()) + int(offset.total_seconds())
    start_s = local_s - local_s % length_s - int(offset.total_seconds())
    start = datetime.fromtimestamp(start_s, ZoneInfo("UTC"))
    return Window(f"{start:%Y-%m-%dT%H:%MZ}", start_s * 1000, (start_s + length_s) * 1000)


def _unix_ms(moment: datetime) -> int:
    return int(moment.timestamp()) * 1000


def balance_identity(dimensions: dict[str, str | None], unit: Unit, period: Period | Rolling) -> str:
    """What makes a balance that balance: the file's scope, the dimension's values, unit and window.

    The tier and the limit are not in it, so promoting a user or changing a limit erases nothing.

    Args:
        dimensions: The file's scope first, for example `{"department": "engineering", "user": "ada"}`;
            a value of `None` leaves the bare name (`{"org": None}`).
        unit: What the budget counts.
        period: How long its window lasts.

    Returns:
        For example `department=engineering/user=ada@example.com/usd/month`. Values are
        percent-encoded, so that no id can forge a separator or a Redis hash tag.
    """
    scope = [name if value is None else f"{name}={quoted(value)}" for name, value in dimensions.items()]
    return "/".join([*scope, unit.value, period.value])


def quoted(value: str) -> str:
    """A value as an identity has it: percent-encoded."""
    return quote(value, safe="@._-+")


def unit_of(identity: str) -> Unit:
    """The unit in a balance's identity, which ends in `/unit/window`."""
    return Unit(identity.rsplit("/", 2)[-2])


def span_of(identity: str) -> Period | Rolling:
    """The period in a balance's identity."""
    return period_of(identity.rsplit("/", 1)[-1])
