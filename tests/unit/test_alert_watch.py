"""The engine of alerts: once for each incident, the same for the same journal, bounded and quiet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from support.alert_journals import HOUR, MINUTE, SECOND, USD, Budget, Journal, at, every, office

from governor.journal.alerts import balances, cells
from governor.journal.alerts.cells import bucket_of, bucket_value, p95
from governor.journal.alerts.reading import read_rules
from governor.journal.alerts.watch import Watch, replay

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from governor.journal.alerts.change import Change
    from governor.journal.alerts.rule import Rules

NOON = at(0, 12)


def rules(folder: Path, text: str) -> Rules:
    """Rules of a file without the shipped ones."""
    path = folder / "alerts.yaml"
    path.write_text(f"version: 1\nshipped: false\n{text}", encoding="utf-8")
    return read_rules(path)


def kinds(changes: list[Change]) -> list[tuple[str, int]]:
    """What became of alerts, and how many minutes after noon."""
    return [(change.kind, (change.at_ms - NOON) // MINUTE) for change in changes]


def judged(in_force: Rules, journal: Journal, until: int) -> list[Change]:
    """What a journal makes of alerts up to an instant."""
    watch = Watch(in_force)
    changes = []
    for entry in journal.entries():
        changes += watch.tick(entry.at_ms)
        watch.take(entry)
    return changes + watch.tick(until)


STORM = "rules:\n  storm: {metric: overloaded, above: 2, window: 1m, cooldown: 30m}\n"


def test_a_storm_with_pauses_is_told_once(tmp_path: Path) -> None:
    """Minutes without a 529 neither end the alert nor raise another; its end comes five minutes later."""
    journal = Journal()
    for minute in (0, 1, 4, 7, 8):
        every(journal, NOON + minute * MINUTE, 30 * SECOND, 5 * SECOND, pushed=(529,), latency_ms=SECOND)
    changes = judged(rules(tmp_path, STORM), journal, NOON + HOUR)
    assert kinds(changes) == [("raised", 1), ("ended", 15)]
    assert len({change.alert.key for change in changes}) == 1


def test_within_the_cooldown_nothing_fires_again(tmp_path: Path) -> None:
    """A storm that comes back in half an hour is quiet; one that comes after it is another alert."""
    journal = Journal()
    for minute in (0, 20, 50):
        every(journal, NOON + minute * MINUTE, 30 * SECOND, 5 * SECOND, pushed=(529,), latency_ms=SECOND)
    changes = judged(rules(tmp_path, STORM), journal, NOON + 2 * HOUR)
    assert kinds(changes) == [("raised", 1), ("ended", 7), ("raised", 51), ("ended", 57)]


def test_a_symptom_ends_at_its_clear_value(tmp_path: Path) -> None:
    """Between the threshold and the clear value an alert goes on, and nothing new begins."""
    text = "rules:\n  slow: {metric: calls, above: 10, window: 5m, clear: 50%, cooldown: 1m}\n"
    journal = Journal()
    every(journal, NOON, 10 * MINUTE, 25 * SECOND, latency_ms=0)  # 12 in 5 minutes
    every(journal, NOON + 10 * MINUTE, 20 * MINUTE, 40 * SECOND, latency_ms=0)  # 7 or 8
    changes = judged(rules(tmp_path, text), journal, NOON + HOUR)
    assert [kind for kind, _ in kinds(changes)] == ["raised", "ended"]
    assert kinds(changes)[1][1] >= 35


def test_late_symptoms_join_the_alert_of_their_cause(tmp_path: Path) -> None:
    """Errors that follow a storm of 529s are an update of its alert, with both symptoms in it."""
    text = (
        STORM + "  errors: {metric: error_rate, above: 20%, window: 10m, at_least: 10, severity: critical}\n"
    )
    journal = Journal()
    every(journal, NOON, 5 * MINUTE, 10 * SECOND, pushed=(529,), latency_ms=SECOND)
    every(journal, NOON + 5 * MINUTE, 5 * MINUTE, 10 * SECOND, status=529, latency_ms=SECOND)
    changes = judged(rules(tmp_path, text), journal, NOON + 8 * MINUTE)
    (raised, updated) = changes
    assert (raised.kind, updated.kind) == ("raised", "updated")
    assert raised.alert.key == updated.alert.key
    assert [symptom.rule for symptom in updated.alert.symptoms] == ["storm", "errors"]
    assert (raised.alert.severity, updated.alert.severity) == ("warning", "critical")
    assert updated.alert.cause == "api_overloaded"


def test_one_person_behind_several_symptoms_is_one_alert(tmp_path: Path) -> None:
    """A user's spend, everybody's spend and the inputs of their feature are told together."""
    text = """rules:
  user: {metric: cost, per: user, above: 5, window: 1h}
  all: {metric: cost, above: 6, window: 1h}
  inputs: {metric: input_per_call, per: feature, above: 50000, window: 1h, at_least: 5}
"""
    journal = Journal()
    every(journal, NOON, HOUR, MINUTE, feature="triage")
    every(journal, NOON, 20 * MINUTE, MINUTE, user="eve", feature="chat", tokens=90_000, nanos=USD)
    changes = judged(rules(tmp_path, text), journal, NOON + HOUR)
    raised = [change for change in changes if change.kind == "raised"]
    assert [change.alert.cause for change in raised] == ["context_growth"]
    last = changes[-1].alert
    assert {symptom.rule for symptom in last.symptoms} == {"user", "all", "inputs"}
    shares = {(share.dimension, share.name): share.percent for share in last.behind}
    assert shares["user", "eve"] == 100
    assert shares["feature", "chat"] == 100


def test_a_budgets_step_is_told_once(tmp_path: Path) -> None:
    """A step that the ledger reports again, after a grant, is no second alert; the next step is one."""
    text = "rules:\n  step: {metric: budget_step, above: 0%}\n"
    journal = Journal()
    for minute, step in ((0, 8_000), (10, 8_000), (20, 9_500)):
        spent = Budget("department=legal/usd/month", "2026-11", at(28, 0), 100 * USD, 80 * USD, (step,))
        journal.call(NOON + minute * MINUTE, budgets=(spent,))
    changes = judged(rules(tmp_path, text), journal, NOON + 30 * HOUR)
    assert [change.alert.key for change in changes if change.kind == "raised"] == [
        "budget/department=legal/usd/month@2026-11/80",
        "budget/department=legal/usd/month@2026-11/95",
    ]
    assert [change.kind for change in changes].count("ended") == 2


def test_a_crossing_joins_the_overspending_that_fills_the_budget(tmp_path: Path) -> None:
    """While an alert says who overspends, their budget's step is a symptom of it."""
    text = """rules:
  step: {metric: budget_step, above: 0%}
  user: {metric: cost, per: user, above: 5, window: 1h}
"""
    journal = Journal()
    for minute in range(15):
        steps = (8_000,) if minute == 10 else ()
        spent = Budget("department=legal/user=eve/usd/day", "2026-11-02", at(1, 0), 100 * USD, 0, steps)
        journal.call(NOON + minute * MINUTE, user="eve", department="legal", nanos=USD, budgets=(spent,))
    changes = judged(rules(tmp_path, text), journal, NOON + 20 * MINUTE)
    assert [change.kind for change in changes] == ["raised", "updated"]
    assert [symptom.rule for symptom in changes[-1].alert.symptoms] == ["user", "step"]


def test_before_there_is_history_nothing_is_said_and_it_is_listed() -> None:
    """A rule that goes by what is usual is quiet on the first days, and its state says until when."""
    watch = Watch(read_rules(None))
    journal = Journal()
    every(journal, NOON, HOUR, 30 * SECOND, nanos=USD // 2)
    changes = list(replay(watch, journal.entries()))
    assert [change.alert.title for change in changes] == []
    states = {one.rule.name: one for one in watch.states(NOON + HOUR)}
    state = states["cost_of_hour"]
    assert (state.known, state.learning) == (1, 1)
    assert at(3, 12) <= (state.ready_ms or 0) < at(3, 13)
    assert states["overloaded"].learning == 0


def test_responses_meet_whoever_is_behind(tmp_path: Path) -> None:
    """A rule's action names the run of its symptom, and who is clearly behind one that has none."""
    text = """rules:
  loop: {metric: run_repeats, above: 9, window: 10m, actions: [{freeze_run: {for: 1h}}]}
  all: {metric: cost, above: 6, window: 1h, actions: [{slow: {requests: 2, for: 30m}}]}
"""
    journal = Journal()
    for number in range(20):
        when = NOON + number * 10 * SECOND
        journal.call(when, user="eve", run="agent-7", tokens=5_000, nanos=USD // 2)
    alert = judged(rules(tmp_path, text), journal, NOON + 10 * MINUTE)[-1].alert
    assert {(one.kind, one.subject, one.setting, one.for_ms) for one in alert.actions} == {
        ("freeze_run", (("run", "agent-7"),), "", HOUR),
        ("slow", (("user", "eve"),), "2", 30 * MINUTE),
    }


def test_a_response_stays_within_what_its_symptom_is_about(tmp_path: Path) -> None:
    """A feature of many departments is tightened in the one whose spend it is, and a user slowed there."""
    text = """rules:
  dear: {metric: cost, per: [department, feature], above: 6, window: 1h,
    actions: [{tighten: {tier: economy, for: 1h}}]}
  legal: {metric: cost, where: {department: legal, model: claude-sonnet-5-5}, above: 6, window: 1h,
    actions: [{slow: {requests: 2, for: 1h}}, {open_breaker: {for: 1h}}]}
"""
    journal = Journal()
    every(
        journal,
        NOON,
        200 * SECOND,
        10 * SECOND,
        department="legal",
        feature="chat",
        user="eve",
        line="sonnet",
        nanos=USD // 2,
    )
    alert = judged(rules(tmp_path, text), journal, NOON + 10 * MINUTE)[-1].alert
    assert {(one.kind, frozenset(one.subject)) for one in alert.actions} == {
        ("tighten", frozenset({("department", "legal"), ("feature", "chat")})),
        ("slow", frozenset({("department", "legal"), ("user", "eve")})),
        ("open_breaker", frozenset({("model", "claude-sonnet-5-5")})),
    }


def test_a_tags_calls_are_tightened_and_not_their_user(tmp_path: Path) -> None:
    """Of a rule per tag the response is of the tag: what else its user does goes on."""
    text = """rules:
  dear: {metric: cost, per: "tag:team", above: 6, window: 1h, actions: [{tighten: {tier: economy, for: 1h}}]}
"""
    journal = Journal()
    every(journal, NOON, 200 * SECOND, 10 * SECOND, tags={"team": "red"}, nanos=USD // 2)
    alert = judged(rules(tmp_path, text), journal, NOON + 10 * MINUTE)[-1].alert
    assert [(one.kind, one.subject) for one in alert.actions] == [("tighten", (("tag:team", "red"),))]


def test_of_many_runs_at_once_each_is_frozen(tmp_path: Path) -> None:
    """An alert lists fifty symptoms at most; the responses of the others are asked for all the same."""
    text = """rules:
  loop: {metric: run_repeats, above: 9, window: 10m, actions: [{freeze_run: {for: 1h}}]}
  eve: {metric: cost, per: user, above: 1, window: 1h}
"""
    journal = Journal()
    journal.call(NOON, user="eve", nanos=2 * USD)
    for number in range(60 * 12):
        journal.call(
            NOON + 3 * MINUTE + number * 100, user="eve", run=f"agent-{number % 60}", latency_ms=SECOND
        )
    changes = judged(rules(tmp_path, text), journal, NOON + 7 * MINUTE)
    (key,) = {change.alert.key for change in changes}
    alert = changes[-1].alert
    assert (key, len(alert.symptoms)) == (alert.key, 50)
    assert {one.subject for one in alert.actions} == {(("run", f"agent-{n}"),) for n in range(60)}


@given(pauses=st.lists(st.integers(min_value=0, max_value=40), min_size=1, max_size=12))
def test_the_same_journal_makes_the_same_alerts_however_often_it_is_ticked(pauses: list[int]) -> None:
    """Evaluated with every record, or at the end of each pause: the same changes, the same keys."""
    journal = Journal()
    when = NOON
    for pause in pauses:
        when += pause * MINUTE
        every(journal, when, 30 * SECOND, 10 * SECOND, pushed=(529,), status=529, latency_ms=SECOND)
    entries = list(journal.entries())
    first, second = Watch(SHIPPED), Watch(SHIPPED)
    often, seldom = [], []
    for entry in entries:
        for minute in range(4):
            often += first.tick(entry.at_ms - (3 - minute) * 20 * SECOND)
        first.take(entry)
        seldom += second.tick(entry.at_ms)
        second.take(entry)
    assert [*often, *first.tick(when + HOUR)] == [*seldom, *second.tick(when + HOUR)]


SHIPPED = read_rules(None)


@given(values=st.lists(st.integers(min_value=1, max_value=3_600_000), min_size=1, max_size=300))
def test_a_percentile_is_within_two_percent(values: list[int]) -> None:
    """The 95th percentile of buckets is at most 2 % and half a millisecond off the exact one."""
    counts: dict[int, int] = {}
    for value in values:
        counts[bucket_of(value)] = counts.get(bucket_of(value), 0) + 1
    exact = sorted(values)[-(-95 * len(values) // 100) - 1]
    assert abs(p95(counts)[0] - exact) <= 0.0201 * exact + 0.5
    assert bucket_value(bucket_of(0)) == 0


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many users, runs and budgets there are, so many are remembered as is said."""
    monkeypatch.setattr(cells, "MOST_SUBJECTS", 50)
    monkeypatch.setattr(balances, "MOST_BALANCES", 50)
    watch = Watch(SHIPPED)
    journal = Journal()
    for number in range(300):
        spent = Budget(f"user={number}/usd/day", "2026-11-02", at(1, 0), 10 * USD, 0, (8_000,))
        journal.call(NOON + number * SECOND, user=f"user-{number}", run=f"run-{number}", budgets=(spent,))
    for _ in replay(watch, journal.entries()):
        pass
    kept = [len(one.series.cells) for one in watch._figures._all]
    assert max(kept) <= 50
    assert len(watch._balances._told) <= 50
    assert watch._fold.calls == {}


def test_what_cannot_be_read_is_left_alone() -> None:
    """Records of other kinds, broken ones and those of leases neither stop the watch nor count."""
    watch = Watch(SHIPPED)
    journal = Journal()
    journal._add(NOON, "grant", "g", "granted", "amount=5", "{}")
    journal._add(NOON, "reserve", "x", "held", "0 ", "no json")
    journal._add(NOON, "settle", "y", "settled", "overrun=0 unknown=0 posted= crossed=", '{"lease": "a"}')
    journal._add(NOON, "outcome", "o", "quality", "", '{"value": "much"}')
    journal.call(NOON + SECOND)
    assert list(replay(watch, journal.entries())) == []
    assert (watch.records, watch.calls) == (6, 1)


def test_weekends_are_held_against_weekends(tmp_path: Path) -> None:
    """A Monday after a quiet weekend is no surge: it is held against workdays."""
    text = "rules:\n  day: {metric: cost, above: 1, above_usual: 150%, window: 1d, history: 3d}\n"
    journal = Journal()
    office(journal, 9)
    assert judged(rules(tmp_path, text), journal, at(9, 0)) == []
