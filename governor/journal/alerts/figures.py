"""The figures that rules look at, filled from the calls of a journal. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.journal.alerts.cells import Series
from governor.journal.alerts.metrics import METRICS, RUN_KINDS, Sum, amounts, largest, value_of
from governor.journal.alerts.rule import DAY_MS, HOUR_MS, Rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from governor.journal.alerts.cells import Cell, Subject
    from governor.journal.call import Call


class Figures:
    """Series for some rules of one filter and one split.

    Attributes:
        series: What they look at.
        per: The dimensions of their subjects.
    """

    def __init__(self, rules: Iterable[Rule], hours_kept: int) -> None:
        every = list(rules)
        self.per = every[0].per
        self.series = Series(self.per, hours_kept)
        self._where: Mapping[str, frozenset[str]] = every[0].where
        kinds = {rule.metric.kind for rule in every}
        self._latencies = "p95" in kinds
        self._most = "largest" in kinds
        self._calls = any(rule.metric.name != "quality" for rule in every)
        self._quality = any(rule.metric.name == "quality" for rule in every)

    def take(self, call: Call, at_ms: int, added: list[tuple[int, int]]) -> None:
        """Add an ended call; *added* is what `amounts` says of it."""
        if not self._calls or not (added or self._most):
            return
        subject = self._subject(call)
        if subject is None:
            return
        cell = self.series.cell(subject, at_ms)
        for bucket in cell.buckets_at(at_ms, self.series.hours_kept):
            sums = bucket.sums
            for which, amount in added:
                sums[which] += amount
            if self._latencies and call.state == "answered":
                if call.latency_ms is not None:
                    bucket.add_latency(0, call.latency_ms)
                if call.first_token_ms is not None:
                    bucket.add_latency(1, call.first_token_ms)
        if self._most:
            fine, _ = cell.buckets_at(at_ms, self.series.hours_kept)
            fine.add_most(largest(call))

    def score(self, call: Call, at_ms: int, value: float) -> None:
        """Add a score of quality; *call* says whose."""
        if not self._quality:
            return
        subject = self._subject(call)
        if subject is None:
            return
        for bucket in self.series.cell(subject, at_ms).buckets_at(at_ms, self.series.hours_kept):
            bucket.sums[Sum.QUALITY] += value  # type: ignore[call-overload]  # the one sum that is no count
            bucket.sums[Sum.SCORED] += 1

    def _subject(self, call: Call) -> Subject | None:
        """Whose figures a call's are; `None`: of nobody here. Calls without a run are of none."""
        for name, values in self._where.items():
            if value_of(call, name) not in values:
                return None
        subject = tuple((name, value_of(call, name)) for name in self.per)
        return None if ("run", "") in subject else subject


class Everything:
    """The figures for all rules of calls, one `Figures` for those of the same filter and split."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        groups: dict[object, list[Rule]] = {}
        for rule in rules:
            if rule.metric.kind not in RUN_KINDS:
                groups.setdefault(_group(rule), []).append(rule)
        if any(rule.metric.kind == "off_hours" for some in groups.values() for rule in some):
            groups.setdefault(_WHOLE, [_EVERYBODY])
        self._by_group = {key: Figures(some, _hours(some)) for key, some in groups.items()}
        self._all = list(self._by_group.values())
        self._whole = next((one for key, one in self._by_group.items() if key == _WHOLE), None)

    def of(self, rule: Rule) -> Series:
        """What a rule looks at."""
        return self._by_group[_group(rule)].series

    def whole(self) -> Cell | None:
        """Everybody's figures; `None` where no rule looks at them."""
        return None if self._whole is None else self._whole.series.cells.get(())

    def take(self, call: Call, at_ms: int) -> None:
        """Add an ended call."""
        added = amounts(call)
        for one in self._all:
            one.take(call, at_ms, added)

    def score(self, call: Call, at_ms: int, value: float) -> None:
        """Add a score of quality."""
        for one in self._all:
            one.score(call, at_ms, value)

    def done(self) -> None:
        """An evaluation is over: nothing is touched any more."""
        for one in self._all:
            one.series.touched.clear()


_WHOLE: object = ((), (), False)
_EVERYBODY = Rule("", METRICS["calls"])


def _group(rule: Rule) -> object:
    long = rule.baseline == "hour_of_week"
    return (tuple(sorted((name, tuple(sorted(v))) for name, v in rule.where.items())), rule.per, long)


def _hours(rules: Iterable[Rule]) -> int:
    days = 30 if any(rule.baseline == "hour_of_week" for rule in rules) else 16
    return days * DAY_MS // HOUR_MS
