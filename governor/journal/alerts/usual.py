"""What is usual for a subject, as its own past says. Pure."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from governor.journal.alerts.cells import p95
from governor.journal.alerts.metrics import Sum
from governor.journal.alerts.rule import DAY_MS, HOUR_MS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from governor.journal.alerts.cells import Bucket, Cell
    from governor.journal.alerts.rule import Rule

DAY, WEEK = 24, 168
"""Hours."""
LEAST_ACTIVE = 5
"""So many hours with anything in them it takes to say what is usual in one."""
OFF_HOURS_DAYS = 14
NEAR_HOURS = 2
BUSY_SHARE = 4


@lru_cache(maxsize=4096)
def local(hour: int, timezone: str) -> tuple[bool, int]:
    """Whether an hour since the epoch is of a weekend, and which hour of the day it is, in a time zone."""
    moment = datetime.fromtimestamp(hour * 3600, ZoneInfo(timezone))
    return moment.weekday() >= 5, moment.hour


def usual(rule: Rule, cell: Cell, now_ms: int, timezone: str) -> float | None:
    """The usual value of a rule's metric over a window as long as the rule's; `None`: not known yet."""
    if now_ms - cell.first_ms < rule.history_ms:
        return None
    end = (now_ms - max(rule.window_ms, HOUR_MS)) // HOUR_MS
    if rule.metric.kind == "sum":
        return _usual_sum(rule, cell, now_ms, end, timezone)
    some = [bucket for hour, bucket in cell.hours.items() if end - WEEK <= hour < end]
    if rule.metric.kind == "p95":
        counts: dict[int, int] = {}
        for bucket in some:
            for key, count in (bucket.latencies[rule.metric.top] if bucket.latencies else {}).items():
                counts[key] = counts.get(key, 0) + count
        value, total = p95(counts)
        return value if total >= rule.at_least else None
    return pooled(some, rule)


def pooled(some: Iterable[Bucket], rule: Rule) -> float | None:
    """A rate or mean over all that was, in the metric's unit."""
    top = bottom = 0
    for bucket in some:
        top += bucket.sums[rule.metric.top]
        bottom += bucket.sums[rule.metric.bottom]
    if bottom < max(rule.at_least, 1):
        return None
    return (100 if rule.metric.unit == "percent" else 1) * top / bottom


def _usual_sum(rule: Rule, cell: Cell, now_ms: int, end: int, timezone: str) -> float | None:
    what, first = rule.metric.top, cell.first_ms // HOUR_MS + 1

    def at(hour: int) -> int:
        bucket = cell.hours.get(hour)
        return 0 if bucket is None else bucket.sums[what]

    last = (now_ms - 1) // HOUR_MS

    def of_week(hour: int) -> float | None:
        past = [at(hour - WEEK * n) for n in range(1, 5) if hour - WEEK * n >= first]
        return sum(past) / len(past) if past else None

    def of_days(hour: int) -> float | None:
        days = [one for one in (hour - DAY * n for n in range(1, 9)) if first <= one < end][:7]
        kind = local(hour, timezone)[0]
        alike = [one for one in days if local(one, timezone)[0] == kind] or days
        return sum(map(at, alike)) / len(alike) if alike else None

    expect = of_week if rule.baseline == "hour_of_week" else of_days

    if rule.window_ms >= DAY_MS:
        hours = [expect(hour) for hour in range(last - rule.window_ms // HOUR_MS + 1, last + 1)]
        known = [one for one in hours if one is not None]
        return sum(known) * len(hours) / len(known) if known else None
    active = [n for n in (at(hour) for hour in cell.hours if end - WEEK <= hour < end) if n]
    here = expect(last)
    if here is None or len(active) < LEAST_ACTIVE:
        return None
    mean = sum(active) / len(active) if rule.baseline == "7d" else 0.0
    return max(here, mean) * rule.window_ms / HOUR_MS


def off_hours(cell: Cell, whole: Cell | None, now_ms: int, history_ms: int, timezone: str) -> bool | None:
    """Whether a subject as a rule makes no call at this hour of the day, nor within two hours of it.

    Its last 14 days say it, without the last 12 hours. An hour at which everybody (*whole*) is busy is not
    unusual: the hour of the day must have less than a quarter of the busiest one's calls. `None`: too little
    is known.
    """
    if now_ms - cell.first_ms < history_ms:
        return None
    now, end = (now_ms - 1) // HOUR_MS, (now_ms - DAY_MS // 2) // HOUR_MS
    here, seen = local(now, timezone)[1], 0
    for hour, bucket in cell.hours.items():
        if end - DAY * OFF_HOURS_DAYS <= hour < end and bucket.sums[Sum.CALLS]:
            seen += 1
            apart = abs(local(hour, timezone)[1] - here)
            if min(apart, DAY - apart) <= NEAR_HOURS:
                return False
    if seen < LEAST_ACTIVE:
        return None
    by_hour = [0] * DAY
    for hour, bucket in whole.hours.items() if whole else ():
        if end - DAY * OFF_HOURS_DAYS <= hour < end:
            by_hour[local(hour, timezone)[1]] += bucket.sums[Sum.CALLS]
    return by_hour[here] * BUSY_SHARE < max(by_hour) if whole else True
