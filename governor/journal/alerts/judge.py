"""One rule over the figures: for whom it begins to hold, goes on, and ends. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from governor.journal.alerts.cells import MOST_SUBJECTS, p95
from governor.journal.alerts.metrics import Sum
from governor.journal.alerts.rule import MINUTE_MS
from governor.journal.alerts.usual import off_hours, usual

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.journal.alerts.cells import Bucket, Cell, Series, Subject
    from governor.journal.alerts.rule import Rule
    from governor.journal.alerts.runs import Run, Runs

SETTLED_MS = (5 * MINUTE_MS, 15 * MINUTE_MS)
"""A symptom ends when it was clear for as long as its window, but for so long at least and at most."""

_Z = 2.0
"""Standard deviations of `sure`."""

LEAST_HITS = 5
"""So many calls must be amiss for a rate to be sure."""


class Seen(NamedTuple):
    """What a rule saw of a subject.

    Attributes:
        value: In the metric's unit.
        low: The least that it may really be: of a rate that is to be `sure`; else the value.
    """

    value: float
    low: float


@dataclass(slots=True)
class Holding:
    """A rule holds for a subject.

    Attributes:
        since_ms: When it began to.
        threshold: What it went beyond then: it stays the same until it ends.
        value: The last one seen.
        clear_ms: Since when it is back below what ends it, or `None`.
    """

    since_ms: int
    threshold: float
    value: float
    clear_ms: int | None = None


class Verdict(NamedTuple):
    """What an evaluation found: for whom the rule began to hold, and for whom it ended."""

    began: list[tuple[Subject, Holding]]
    ended: list[Subject]


class Judge:
    """Judges one rule.

    Attributes:
        rule: Which.
        holding: For whom it holds.
        fired_ms: When it began to hold last, or `None`.
    """

    def __init__(self, rule: Rule, timezone: str) -> None:
        self.rule = rule
        self.holding: dict[Subject, Holding] = {}
        self.fired_ms: int | None = None
        self._timezone = timezone
        self._quiet_until: dict[Subject, int] = {}

    def over(self, series: Series, now_ms: int, whole: Cell | None = None) -> Verdict:
        """Judge it over the figures of its calls; *whole* are those of everybody's."""
        rule, found = self.rule, Verdict([], [])
        for subject in list(self.holding):
            cell = series.cells.get(subject)
            if cell is None:
                self._end(subject, now_ms, found)
            else:
                self._go_on(subject, self._measure(cell, now_ms, whole, 1), now_ms, found)
        for subject in series.touched:
            cell = series.cells.get(subject)
            if cell is None or subject in self.holding or self._is_quiet(subject, now_ms):
                continue
            seen = self._measure(cell, now_ms, whole, rule.at_least)
            if seen is None or not self._absolute(seen):
                continue
            normal = usual(rule, cell, now_ms, self._timezone) if rule.needs_usual else None
            self._begin(subject, seen, normal, now_ms, found)
        return found

    def over_runs(self, runs: Runs, now_ms: int) -> Verdict:
        """Judge it over runs, one by one."""
        rule, found = self.rule, Verdict([], [])
        for subject in list(self.holding):
            run = runs.runs.get(subject[0][1])
            self._go_on(subject, None if run is None else self._of_run(run, now_ms), now_ms, found)
        for name in runs.touched:
            run, subject = runs.runs.get(name), (("run", name),)
            if run is None or subject in self.holding or self._is_quiet(subject, now_ms):
                continue
            if "feature" in rule.where and run.feature not in rule.where["feature"]:
                continue
            seen = self._of_run(run, now_ms)
            if seen is None or not self._absolute(seen):
                continue
            normal = None
            if rule.needs_usual:
                normal = runs.usual(rule.metric.kind, run, now_ms, rule)
            self._begin(subject, seen, normal, now_ms, found)
        return found

    def _measure(self, cell: Cell, now_ms: int, whole: Cell | None, least: int) -> Seen | None:
        """What is seen in the window, or `None` where fewer calls than *least* are in it."""
        rule = self.rule
        some = cell.within(now_ms, rule.window_ms)
        if rule.rises is not None:
            return _rise(rule, some, lambda: cell.within(now_ms - rule.window_ms, rule.window_ms), least)
        seen: Seen | None
        match rule.metric.kind:
            case "p95":
                seen = _slow(rule, some, least)
            case "largest":
                seen = _nth_largest(some, rule)
            case "off_hours":
                seen = self._off_hours(cell, some, now_ms, whole)
            case "sum":
                seen = _sum(rule, some, least)
            case _:
                seen = _rate(rule, some, least)
        return seen

    def _off_hours(self, cell: Cell, some: list[Bucket], now_ms: int, whole: Cell | None) -> Seen | None:
        value = sum(one.sums[Sum.CALLS] for one in some)
        if value <= (self.rule.above or 0):
            return Seen(value, value)
        odd = off_hours(cell, whole, now_ms, self.rule.history_ms, self._timezone)
        return Seen(value, value) if odd else None

    def _of_run(self, run: Run, now_ms: int) -> Seen | None:
        rule = self.rule
        value: float | None
        match rule.metric.kind:
            case "growth":
                value = run.grown(rule.at_least) if _lively(run, now_ms, rule.window_ms) else None
            case "repeats":
                value = run.repeats(now_ms, rule.window_ms)
            case _:
                value = run.cost(now_ms, rule.window_ms)
        return None if value is None else Seen(value, value)

    def _absolute(self, seen: Seen) -> bool:
        """Whether a value is beyond the rule's own one, if it has one."""
        rule = self.rule
        above = rule.above if rule.rises is None else rule.rises
        if above is not None and seen.low <= above:
            return False
        return rule.below is None or seen.value < rule.below

    def _begin(self, subject: Subject, seen: Seen, normal: float | None, now_ms: int, found: Verdict) -> None:
        rule = self.rule
        if rule.needs_usual and normal is None and not rule.without_history:
            return
        threshold = self._threshold(normal)
        beyond = seen.value < threshold if self._downward else seen.low > threshold
        if beyond:
            held = Holding(now_ms, threshold, seen.value)
            self.holding[subject] = held
            self.fired_ms = now_ms
            found.began.append((subject, held))

    @property
    def _downward(self) -> bool:
        return self.rule.below is not None or self.rule.below_usual is not None

    def _threshold(self, normal: float | None) -> float:
        rule = self.rule
        if self._downward:
            most = math.inf if rule.below is None else rule.below
            share = rule.below_usual
            return most if normal is None or share is None else min(most, normal * share / 100)
        own = rule.rises if rule.rises is not None else rule.above
        least = -math.inf if own is None else own
        share = rule.above_usual
        return least if normal is None or share is None else max(least, normal * share / 100)

    def _go_on(self, subject: Subject, seen: Seen | None, now_ms: int, found: Verdict) -> None:
        held, share = self.holding[subject], self.rule.clear_percent / 100
        if seen is not None:
            held.value = seen.value
            over = (
                seen.value < held.threshold / share if self._downward else seen.value > held.threshold * share
            )
            if over:
                held.clear_ms = None
                return
        held.clear_ms = now_ms if held.clear_ms is None else held.clear_ms
        if now_ms - held.clear_ms >= min(max(self.rule.window_ms, SETTLED_MS[0]), SETTLED_MS[1]):
            self._end(subject, now_ms, found)

    def _end(self, subject: Subject, now_ms: int, found: Verdict) -> None:
        del self.holding[subject]
        if len(self._quiet_until) > MOST_SUBJECTS:
            self._quiet_until = {one: until for one, until in self._quiet_until.items() if until > now_ms}
        self._quiet_until[subject] = now_ms + self.rule.cooldown_ms
        found.ended.append(subject)

    def _is_quiet(self, subject: Subject, now_ms: int) -> bool:
        until = self._quiet_until.get(subject)
        if until is None or until > now_ms:
            return until is not None
        del self._quiet_until[subject]
        return False


def _lively(run: Run, now_ms: int, window_ms: int) -> bool:
    return bool(run.calls) and run.calls[-1][0] >= now_ms - window_ms


def _merged(some: list[Bucket], which: int) -> dict[int, int]:
    counts: dict[int, int] = {}
    for one in some:
        if one.latencies is not None:
            for key, count in one.latencies[which].items():
                counts[key] = counts.get(key, 0) + count
    return counts


def _slow(rule: Rule, some: list[Bucket], least: int) -> Seen | None:
    counts = _merged(some, rule.metric.top)
    value, count = p95(counts)
    if count < least:
        return None
    return Seen(value, p95(counts, _Z)[0] if rule.sure else value)


def _sum(rule: Rule, some: list[Bucket], least: int) -> Seen | None:
    top, value, calls = rule.metric.top, 0, 0
    for one in some:
        value += one.sums[top]
        calls += one.sums[Sum.CALLS]
    return Seen(value, value) if max(calls, min(value, 1)) >= least else None


def _nth_largest(some: list[Bucket], rule: Rule) -> Seen | None:
    values = sorted((v for one in some if one.most for v in one.most[rule.metric.top]), reverse=True)
    if len(values) < rule.at_least:
        return None
    return Seen(values[rule.at_least - 1], values[rule.at_least - 1])


def _sums(rule: Rule, some: list[Bucket]) -> tuple[int, int, int]:
    """What is above the line, what is below it, and how many calls that are."""
    first, second = rule.metric.top, rule.metric.bottom
    third = Sum.ANSWERED if second == Sum.PROMPT else second
    top = bottom = count = 0
    for one in some:
        sums = one.sums
        top += sums[first]
        bottom += sums[second]
        count += sums[third]
    return top, bottom, count


def _rate(rule: Rule, some: list[Bucket], least: int) -> Seen | None:
    top, bottom, count = _sums(rule, some)
    if count < least or not bottom:
        return None
    value = top / bottom
    if rule.metric.unit != "percent":
        return Seen(value, value)
    low = value
    if rule.sure:
        low = _bounds(value, bottom)[0] if top >= LEAST_HITS else 0.0
    return Seen(100 * value, 100 * low)


def _rise(rule: Rule, some: list[Bucket], before: Callable[[], list[Bucket]], least: int) -> Seen | None:
    top, bottom, count = _sums(rule, some)
    if count < least or not bottom:
        return None
    if not top or (rule.sure and top < LEAST_HITS):
        return Seen(0.0, 0.0)
    old_top, old_bottom, old_count = _sums(rule, before())
    if old_count < least or not old_bottom:
        return None
    new, old = top / bottom, old_top / old_bottom
    scale = 100 if rule.metric.unit == "percent" else 1
    value = scale * (new - old)
    if not rule.sure or rule.metric.kind != "rate":
        return Seen(value, value)
    spread = math.hypot(new - _bounds(new, bottom)[0], _bounds(old, old_bottom)[1] - old)
    return Seen(value, value if new - old > spread else 0.0)  # that it rose at all is sure


def _bounds(share: float, count: int) -> tuple[float, float]:
    """Wilson's bounds of a share that was seen in so many."""
    z2 = _Z * _Z
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)
