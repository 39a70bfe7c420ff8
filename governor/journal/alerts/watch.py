"""The engine of alerts: records in, changes of alerts out; the same records, the same alerts. Pure.

rules = read_rules(path)                                 # governor.journal.alerts.reading
watch = Watch(rules)
for entry in entries:                                    # in the journal's order
    changes += watch.tick(entry.at_ms)                   # every evaluation that is due before it
    watch.take(entry)
changes += watch.tick(now_ms)                            # idle: once all records up to now are taken
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.journal import call as states
from governor.journal.alerts import balances as books
from governor.journal.alerts.alert import Symptom
from governor.journal.alerts.behind import KEPT_MS, Recent
from governor.journal.alerts.causes import Fact
from governor.journal.alerts.figures import Everything
from governor.journal.alerts.incidents import Incidents
from governor.journal.alerts.judge import Judge
from governor.journal.alerts.metrics import BUDGET_KINDS, METRICS, RUN_KINDS
from governor.journal.alerts.rule import DAY_MS
from governor.journal.alerts.runs import Runs
from governor.journal.call import Call
from governor.journal.fold import RESULT, Fold, read_result

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from governor.journal.alerts.alert import Alert
    from governor.journal.alerts.cells import Subject
    from governor.journal.alerts.change import Change
    from governor.journal.alerts.judge import Holding
    from governor.journal.alerts.rule import Rule, Rules
    from governor.ledger.commands import JournalEntry

_SPEND = METRICS["cost"]
_MOST_OPEN = 50_000
_QUALITY = "quality"


@dataclass(frozen=True, slots=True)
class RuleState:
    """How a rule stands.

    Attributes:
        rule: Which.
        fired_ms: When it fired last, or `None`.
        holding: For whom it holds.
        known: For how many subjects it is judged.
        learning: For how many what is usual is not known yet: nothing is said of them (or only by the rule's
            own value, where it is judged without history).
        ready_ms: When the first of those is, or `None`.
    """

    rule: Rule
    fired_ms: int | None
    holding: tuple[Subject, ...]
    known: int
    learning: int
    ready_ms: int | None


class Watch:
    """Judges rules over a journal.

    Attributes:
        rules: Those it judges.
        records: How many records it took.
        calls: How many ended calls they told of.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.records = 0
        self.calls = 0
        self._fold = Fold()
        self._recent = Recent()
        self._runs = Runs()
        self._balances = books.Balances()
        self._judges = [
            Judge(one, rules.timezone) for one in rules.rules if one.metric.kind not in BUDGET_KINDS
        ]
        self._budget_rules = [one for one in rules.rules if one.metric.kind in BUDGET_KINDS]
        self._budgets_fired: dict[str, int] = {}
        self._told: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._figures = Everything(one.rule for one in self._judges)
        self._looks = {
            judge.rule.name: self._figures.of(judge.rule)
            for judge in self._judges
            if judge.rule.metric.kind not in RUN_KINDS
        }
        self._incidents = Incidents(rules.every_ms)
        self._next_ms: int | None = None
        self._dirty = False

    @property
    def open(self) -> tuple[Alert, ...]:
        """The alerts that were told and go on, the oldest first."""
        return self._incidents.open

    def take(self, entry: JournalEntry) -> None:
        """Take in a record; those of kinds that tell nothing are left alone."""
        self.records += 1
        if self._next_ms is None:
            self._next_ms = (entry.at_ms // self.rules.every_ms + 1) * self.rules.every_ms
        if entry.kind == RESULT:
            self._score(entry)
            return
        call = self._fold.one(entry)
        if call is None:
            return
        self._dirty = True
        if entry.kind == "reserve":
            self._balances.reserve(entry)
        if call.state != states.OPEN:
            self._end(call, entry)
        elif len(self._fold.calls) > _MOST_OPEN:
            self._forget_open(entry.at_ms)
        self._fold.changed.clear()
        self._fold.closed.clear()

    def tick(self, now_ms: int) -> list[Change]:
        """Evaluate at every multiple of the period up to *now_ms* that was not evaluated yet."""
        changes: list[Change] = []
        if self._next_ms is None:
            return changes
        every = self.rules.every_ms
        while self._next_ms <= now_ms:
            if self._is_idle():
                self._next_ms = (now_ms // every + 1) * every
                break
            changes += self._evaluate(self._next_ms)
            self._next_ms += every
        return changes

    def states(self, now_ms: int) -> tuple[RuleState, ...]:
        """How each rule stands, in the order of the rules."""
        judges = {judge.rule.name: judge for judge in self._judges}
        told = []
        for rule in self.rules.rules:
            judge = judges.get(rule.name)
            if judge is None:
                told.append(RuleState(rule, self._budgets_fired.get(rule.name), (), 0, 0, None))
                continue
            firsts = self._firsts(rule)
            learning = [at for at in firsts if now_ms - at < rule.history_ms] if rule.needs_usual else []
            ready = min(learning) + rule.history_ms if learning else None
            holding = tuple(judge.holding)
            told.append(RuleState(rule, judge.fired_ms, holding, len(firsts), len(learning), ready))
        return tuple(told)

    def _firsts(self, rule: Rule) -> list[int]:
        """Since when each of its subjects is known."""
        if rule.metric.kind in RUN_KINDS:
            return list(self._runs.first_ms.values())
        return [cell.first_ms for cell in self._looks[rule.name].cells.values()]

    def _is_idle(self) -> bool:
        holds = any(judge.holding for judge in self._judges)
        return not (self._dirty or holds) and self._incidents.idle

    def _end(self, call: Call, entry: JournalEntry) -> None:
        """Add a call that has ended; what settles late was added when it expired."""
        self._fold.calls.pop(call.id, None)
        if call.state == states.BLOCKED:
            return
        budgets = self._balances.close(entry)
        if call.late:
            return
        self.calls += 1
        self._recent.take(call, entry.at_ms, budgets)
        self._figures.take(call, entry.at_ms)
        if call.run:
            self._runs.take(call, entry.at_ms)

    def _score(self, entry: JournalEntry) -> None:
        result = read_result(entry)
        if result is None or result.name != _QUALITY or result.value is None:
            return
        try:
            value = float(result.value)
        except ValueError:
            return
        run = self._runs.runs.get(result.run)
        feature = result.feature or (run.feature if run else "")
        whose = Call(
            result.id, user=result.user, department=result.department, feature=feature, run=result.run
        )
        self._figures.score(whose, entry.at_ms, value)
        self._dirty = True

    def _forget_open(self, now_ms: int) -> None:
        """Calls that are open for a day are those of processes that died: let go of them."""
        kept = {key: one for key, one in self._fold.calls.items() if one.began_ms > now_ms - DAY_MS}
        self._fold.calls = kept

    def _evaluate(self, now_ms: int) -> Iterable[Change]:
        began: list[Fact] = []
        ended: list[tuple[str, Subject]] = []
        for judge in self._judges:
            rule = judge.rule
            series = self._looks.get(rule.name)
            touched = self._runs.touched if series is None else series.touched
            if not touched and not judge.holding:
                continue
            if series is None:
                found = judge.over_runs(self._runs, now_ms)
            else:
                found = judge.over(series, now_ms, self._figures.whole())
            began += (self._fact(rule, subject, held, now_ms) for subject, held in found.began)
            ended += ((rule.name, subject) for subject in found.ended)
        ends: dict[str, int] = {}
        began += self._budget_facts(now_ms, ends)
        self._figures.done()
        self._runs.touched.clear()
        self._dirty = False
        return list(self._incidents.step(now_ms, began, ended, ends))

    def _fact(self, rule: Rule, subject: Subject, held: Holding, now_ms: int) -> Fact:
        symptom = Symptom(
            rule=rule.name,
            metric=rule.metric.name,
            subject=subject,
            value=_rounded(held.value, rule.metric.unit),
            threshold=_rounded(held.threshold, rule.metric.unit),
            unit=rule.metric.unit,
            window_ms=rule.window_ms,
            since_ms=held.since_ms,
            why=rule.why,
        )
        since = now_ms - min(rule.window_ms, KEPT_MS)
        return Fact(rule, symptom, self._recent.shares(rule.metric, subject, held.threshold, since))

    def _budget_facts(self, now_ms: int, ends: dict[str, int]) -> Iterator[Fact]:
        crossed, touched = self._balances.crossed, self._balances.touched
        self._balances.crossed, self._balances.touched = [], {}
        for rule in self._budget_rules:
            if rule.metric.kind == "step":
                for one in crossed:
                    step = one.step_bp / 100
                    if step > (rule.above or 0) and books.concerns(rule, one.ref.identity):
                        ends["@".join(one.ref[:2])] = one.ref.end_ms
                        percent = 100 * one.posted / max(one.limit, 1)
                        yield self._budget_fact(rule, one.ref[:2], percent, step, now_ms)
                continue
            for identity, window, percent, level in books.early(rule, touched):
                key = (rule.name, identity, window)
                if key in self._told:
                    continue
                self._told[key] = None
                if len(self._told) > books.MOST_BALANCES:
                    self._told.popitem(last=False)
                ends[f"{identity}@{window}"] = level.end_ms
                yield self._budget_fact(rule, (identity, window), percent, rule.above or 0, now_ms)

    def _budget_fact(
        self, rule: Rule, balance: tuple[str, str], percent: float, threshold: float, now_ms: int
    ) -> Fact:
        self._budgets_fired[rule.name] = now_ms
        symptom = Symptom(
            rule=rule.name,
            metric=rule.metric.name,
            subject=(("budget", balance[0]), ("window", balance[1])),
            value=round(percent, 2),
            threshold=threshold,
            unit="percent",
            window_ms=0,
            since_ms=now_ms,
            why=rule.why,
        )
        shares = self._recent.shares(_SPEND, (), 0, now_ms - KEPT_MS, balance[0])
        return Fact(rule, symptom, shares, balance)


def replay(watch: Watch, entries: Iterable[JournalEntry]) -> Iterator[Change]:
    """Feed a journal to a watch in virtual time, two periods beyond its end; what becomes of alerts."""
    last_ms = 0
    for entry in entries:
        yield from watch.tick(entry.at_ms)
        watch.take(entry)
        last_ms = entry.at_ms
    yield from watch.tick(last_ms + 2 * watch.rules.every_ms)


def _rounded(value: float, unit: str) -> float | int:
    """Money and counts are whole numbers."""
    return round(value) if unit in ("usd", "count", "tokens", "ms") else round(value, 2)
