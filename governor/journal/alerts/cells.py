"""Figures by the minute and by the hour, in bounded memory. Pure.

Minutes are kept for two hours, hours for as long as what is usual needs. Latencies are counted in buckets
whose edges are 4 % apart, so a percentile is at most 2 % off.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import TYPE_CHECKING

from governor.journal.alerts.metrics import Sum
from governor.journal.alerts.rule import HOUR_MS, MINUTE_MS

if TYPE_CHECKING:
    from collections.abc import Iterable

MINUTES_KEPT = 125
FINE_MS = 120 * MINUTE_MS
"""Windows up to this are judged by the minute, longer ones by the hour."""

MOST_SUBJECTS = 2_000
"""So many subjects of a kind are remembered; the one not seen for longest is forgotten for a new one, and has
no history when it comes again."""

LARGEST_KEPT = 5
_STEP = math.log(1.04)
_WIDTH = len(Sum)

Subject = tuple[tuple[str, str], ...]


def bucket_of(value: int) -> int:
    """The bucket of a latency in milliseconds."""
    return 0 if value < 1 else 1 + int(math.log(value) / _STEP)


def bucket_value(bucket: int) -> int:
    """The middle of a bucket, milliseconds."""
    return 0 if bucket == 0 else round(math.exp((bucket - 0.5) * _STEP))


def p95(counts: dict[int, int], spread: float = 0.0) -> tuple[int, int]:
    """The 95th percentile of counted latencies, milliseconds, and how many there are.

    With *spread*, the least that it may be: by so many standard deviations of its rank.
    """
    total = sum(counts.values())
    rank, seen = math.ceil(0.95 * total - spread * math.sqrt(total * 0.95 * 0.05)), 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if seen >= rank:
            return bucket_value(bucket), total
    return 0, 0


class Bucket:
    """What fell into one minute or hour."""

    __slots__ = ("latencies", "most", "sums")

    def __init__(self) -> None:
        self.sums = [0] * _WIDTH
        self.latencies: tuple[dict[int, int], dict[int, int]] | None = None
        self.most: list[list[float]] | None = None

    def add_latency(self, which: int, value: int) -> None:
        """Count a latency."""
        if self.latencies is None:
            self.latencies = ({}, {})
        counts, bucket = self.latencies[which], bucket_of(value)
        counts[bucket] = counts.get(bucket, 0) + 1

    def add_most(self, values: Iterable[float | None]) -> None:
        """Keep the largest of each kind of value."""
        if self.most is None:
            self.most = [[], [], [], []]
        for kept, value in zip(self.most, values, strict=True):
            if value is None or (len(kept) == LARGEST_KEPT and value <= kept[-1]):
                continue
            kept.append(value)
            kept.sort(reverse=True)
            del kept[LARGEST_KEPT:]


class Cell:
    """One subject's figures.

    Attributes:
        first_ms: When it was seen first; *last_ms* last.
        minutes, hours: Buckets by their number since the epoch.
    """

    __slots__ = ("_asked_ms", "_found", "first_ms", "hours", "last_ms", "minutes")

    def __init__(self, at_ms: int) -> None:
        self.first_ms = at_ms
        self.last_ms = at_ms
        self.minutes: dict[int, Bucket] = {}
        self.hours: dict[int, Bucket] = {}
        self._asked_ms = 0
        self._found: dict[int, list[Bucket]] = {}

    def buckets_at(self, at_ms: int, hours_kept: int) -> tuple[Bucket, Bucket]:
        """The buckets of an instant; what is too old is forgotten."""
        self.last_ms = max(self.last_ms, at_ms)
        minute, hour = at_ms // MINUTE_MS, at_ms // HOUR_MS
        fine = self.minutes.get(minute)
        if fine is None:
            fine = self.minutes[minute] = Bucket()
            _forget(self.minutes, minute - MINUTES_KEPT)
        coarse = self.hours.get(hour)
        if coarse is None:
            coarse = self.hours[hour] = Bucket()
            _forget(self.hours, hour - hours_kept)
        return fine, coarse

    def within(self, now_ms: int, window_ms: int) -> list[Bucket]:
        """The buckets of the window that ends at *now_ms*, which is not in it."""
        if self._asked_ms != now_ms:
            self._asked_ms = now_ms
            self._found.clear()
        found = self._found.get(window_ms)
        if found is None:
            found = self._found[window_ms] = self._look(now_ms, window_ms)
        return found

    def _look(self, now_ms: int, window_ms: int) -> list[Bucket]:
        fine = window_ms <= FINE_MS
        buckets, size = (self.minutes, MINUTE_MS) if fine else (self.hours, HOUR_MS)
        last = (now_ms - 1) // size
        first = last - max(window_ms // size, 1) + 1
        if len(buckets) < last - first:
            return [bucket for number, bucket in buckets.items() if first <= number <= last]
        get = buckets.get
        return [bucket for number in range(first, last + 1) if (bucket := get(number)) is not None]


def _forget(buckets: dict[int, Bucket], before: int) -> None:
    while buckets:
        oldest = next(iter(buckets))
        if oldest >= before:
            return
        del buckets[oldest]


class Series:
    """The figures of all subjects that rules of one filter and one split look at.

    Attributes:
        per: The dimensions of its subjects.
        cells: By subject, the one seen last at the end.
        touched: Those that got something since this was emptied.
        hours_kept: How many hours are remembered.
    """

    def __init__(self, per: tuple[str, ...], hours_kept: int) -> None:
        self.per = per
        self.hours_kept = hours_kept
        self.cells: OrderedDict[Subject, Cell] = OrderedDict()
        self.touched: dict[Subject, None] = {}

    def cell(self, subject: Subject, at_ms: int) -> Cell:
        """A subject's figures, made where it is new; the subject is touched."""
        self.touched[subject] = None
        found = self.cells.get(subject)
        if found is None:
            found = self.cells[subject] = Cell(at_ms)
            if len(self.cells) > MOST_SUBJECTS:
                self.cells.popitem(last=False)
        else:
            self.cells.move_to_end(subject)
        return found
