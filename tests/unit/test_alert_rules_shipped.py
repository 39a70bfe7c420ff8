"""Every shipped rule has a journal that fires it, once, and one like it that must not."""

from __future__ import annotations

import pickle
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

import pytest
from support.alert_journals import HOUR, MINUTE, SECOND, USD, Budget, Journal, at, every, office

from governor.journal.alerts.reading import read_rules
from governor.journal.alerts.watch import Watch, replay

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.journal.alerts.change import Change
    from governor.ledger.commands import JournalEntry

    Story = Callable[[Journal], None]

TODAY = 9
"""A Wednesday, after a week and two days of ordinary life."""
NOON = at(TODAY, 12)
ADA = "ada@example.com"


@cache
def past() -> tuple[tuple[JournalEntry, ...], bytes]:
    """A week and two days of ordinary life and an ordinary morning, and a watch that has seen them."""
    journal = Journal()
    office(journal, TODAY + 1, hourly=12)
    entries = tuple(one for one in journal.entries() if one.at_ms < NOON - HOUR // 2)
    watch = Watch(read_rules(None))
    assert list(replay(watch, entries)) == []
    return entries, pickle.dumps(watch)


def alerts_of(story: Story) -> list[Change]:
    """What becomes of alerts when a story follows on ordinary life."""
    journal = Journal(_count=1_000_000)
    story(journal)
    ours = list(journal.entries())
    entries, watch = past()
    if ours[0].at_ms > NOON - HOUR // 2:
        return list(replay(pickle.loads(watch), ours))
    every_one = sorted((*entries, *ours), key=attrgetter("at_ms"))
    return list(replay(Watch(read_rules(None)), every_one))


def burst(length: int, step: int, **kind: object) -> Story:
    """Calls at even distances from noon on."""
    return lambda journal: every(journal, NOON, length, step, **kind)


def after(first: Story, second: Story) -> Story:
    """Two stories in one journal."""

    def both(journal: Journal) -> None:
        first(journal)
        second(journal)

    return both


def mixed(length: int, step: int, nth: int, odd: dict[str, object], **kind: object) -> Story:
    """As `burst`, but every *nth* call is odd."""

    def story(journal: Journal) -> None:
        every(journal, NOON, length, step * nth, **{**kind, **odd})
        for shift in range(1, nth):
            every(journal, NOON + shift * step, length, step * nth, **kind)

    return story


def growing(start: int, factor: float, calls: int) -> Story:
    """A run whose context grows."""

    def story(journal: Journal) -> None:
        for number in range(calls):
            tokens = int(start * factor**number)
            when = NOON + number * 90 * SECOND
            journal.call(when, run="agent-7", tokens=tokens, cached=tokens * 9 // 10)

    return story


def steady(feature: str, nanos: int, calls: int = 40, **kind: object) -> Story:
    """A run of ordinary calls."""

    def story(journal: Journal) -> None:
        for number in range(calls):
            when = NOON + number * 15 * SECOND
            tokens = 2_000 + 7 * number
            journal.call(
                when, run="agent-9", feature=feature, tokens=tokens, cached=1_500, nanos=nanos, **kind
            )

    return story


def with_runs(then: Story) -> Story:
    """Runs of the days before, each for some cents, and a story."""

    def story(journal: Journal) -> None:
        for number in range(40):
            when = at(TODAY - 1, 9) + number * 10 * MINUTE
            journal.call(when, run=f"old-{number}", feature="agent", tokens=3_000, nanos=USD // 10)
        journal.call(at(TODAY - 5, 9), run="first", feature="agent", cached=1_500)
        then(journal)

    return story


def scores(mean: float) -> Story:
    """Scores of a week around 0.9, and today's."""

    def story(journal: Journal) -> None:
        for day in range(TODAY):
            for number in range(10):
                journal.quality(at(day, 9 + number / 2), f"{0.88 + number % 5 / 100:.2f}")
        for number in range(30):
            journal.quality(NOON + number * MINUTE, f"{mean + number % 5 / 100:.2f}")

    return story


def budget(posted: float, end_ms: int, *steps: int) -> Story:
    """A call that touches a department's day budget of $100."""
    one = Budget("department=engineering/usd/day", "2026-11-11", end_ms, 100 * USD, int(posted * USD), steps)
    return lambda journal: (journal.call(NOON, cached=1_500, budgets=(one,)), None)[1]


def climbing(feature: str | None, nth: int) -> Story:
    """An hour without errors, and one in which every *nth* call is malformed; beside another feature's."""

    def story(journal: Journal) -> None:
        cheap = {"nanos": USD // 1_000}
        every(journal, NOON, 2 * HOUR, 40 * SECOND, feature=feature, **cheap)
        every(journal, NOON + HOUR, HOUR, 40 * SECOND * nth // 2, feature=feature, status=400, **cheap)
        every(journal, NOON + SECOND, 2 * HOUR, 50 * SECOND, feature="summarize", **cheap)

    return story


class Case(NamedTuple):
    """A rule, the cause that its alert names, and the two journals."""

    rule: str
    cause: str
    fires: Story
    quiet: Story


QUARTER, HALF = 15 * MINUTE, 30 * MINUTE
CASES = [
    Case(
        "error_rate",
        "api_errors",
        mixed(20 * MINUTE, 10 * SECOND, 5, {"status": 500}),
        mixed(20 * MINUTE, 10 * SECOND, 50, {"status": 500}),
    ),
    Case("rate_limited", "rate_limit", burst(MINUTE, MINUTE, pushed=(429,)), burst(MINUTE, MINUTE)),
    Case(
        "overloaded",
        "api_overloaded",
        burst(10 * MINUTE, 10 * SECOND, pushed=(529,)),
        burst(10 * MINUTE, 40 * SECOND, pushed=(529,)),
    ),
    Case(
        "latency",
        "slow_model",
        burst(QUARTER, 20 * SECOND, latency_ms=20_000),
        burst(QUARTER, 20 * SECOND, latency_ms=7_000),
    ),
    Case(
        "latency_haiku",
        "slow_model",
        burst(QUARTER, 20 * SECOND, line="haiku", latency_ms=10_000),
        burst(QUARTER, 20 * SECOND, line="haiku", latency_ms=7_000),
    ),
    Case(
        "latency_sonnet",
        "slow_model",
        burst(QUARTER, 20 * SECOND, line="sonnet", latency_ms=18_000),
        burst(QUARTER, 20 * SECOND, line="sonnet", latency_ms=12_000),
    ),
    Case(
        "latency_opus",
        "slow_model",
        mixed(QUARTER, 10 * SECOND, 2, {"line": "opus", "latency_ms": 40_000}, feature=None),
        mixed(QUARTER, 60 * SECOND, 3, {"line": "opus", "latency_ms": 25_000}),
    ),
    Case(
        "limit_use",
        "rate_limit",
        burst(3 * MINUTE, 20 * SECOND, limit_bp=8_700),
        burst(3 * MINUTE, 20 * SECOND, limit_bp=7_500),
    ),
    Case("errors_climbing", "client_errors", climbing(None, 20), climbing(None, 150)),
    Case("errors_climbing_in_feature", "client_errors", climbing("triage", 10), climbing("triage", 150)),
    Case("cost_of_day", "unusual_spend", burst(HOUR, MINUTE, nanos=USD // 2), burst(HOUR, MINUTE)),
    Case("cost_of_hour", "unusual_spend", burst(HOUR, MINUTE, nanos=USD), burst(HOUR, MINUTE)),
    Case(
        "cost_of_request",
        "costly_request",
        burst(MINUTE, MINUTE, nanos=60 * USD),
        burst(MINUTE, MINUTE, nanos=4 * USD),
    ),
    Case(
        "cost_of_user",
        "unusual_spend",
        burst(HALF, MINUTE, user="ada@example.com", nanos=USD),
        burst(HALF, MINUTE, user="ada@example.com", nanos=USD // 20),
    ),
    Case("budget_early", "budget", budget(92, at(TODAY + 1, 0)), budget(92, NOON + 5 * HOUR)),
    Case("budget_step", "budget", budget(79.995, at(TODAY + 1, 0), 8_000), budget(70, at(TODAY + 1, 0))),
    Case(
        "model_mix",
        "model_mix",
        burst(HALF, 30 * SECOND, line="opus", feature="triage"),
        mixed(HALF, 30 * SECOND, 5, {"line": "opus"}, feature="triage"),
    ),
    Case(
        "traffic",
        "unusual_spend",
        burst(10 * MINUTE, 2 * SECOND, feature="triage", nanos=USD // 1_000),
        burst(10 * MINUTE, 10 * SECOND, feature="triage", nanos=USD // 1_000),
    ),
    Case(
        "large_inputs",
        "context_growth",
        burst(HALF, MINUTE, feature="triage", tokens=90_000, cached=60_000),
        burst(5 * MINUTE, MINUTE, feature="triage", tokens=90_000, cached=60_000),
    ),
    Case(
        "input_growth",
        "context_growth",
        burst(4 * HOUR, MINUTE, feature="triage", tokens=9_000, cached=6_000, nanos=USD // 100),
        burst(4 * HOUR, MINUTE, feature="triage", tokens=2_900, cached=2_000, nanos=USD // 100),
    ),
    Case(
        "context_use",
        "context_growth",
        burst(5 * MINUTE, MINUTE, tokens=7_800, cached=5_000, window=10_000),
        burst(5 * MINUTE, MINUTE, tokens=7_000, cached=5_000, window=10_000),
    ),
    Case(
        "context_full",
        "context_growth",
        burst(5 * MINUTE, MINUTE, tokens=8_800, cached=6_000, window=10_000),
        burst(5 * MINUTE, MINUTE, tokens=7_800, cached=6_000, window=10_000),
    ),
    Case(
        "truncated",
        "truncated",
        burst(HALF, 30 * SECOND, feature="triage", stop="max_tokens"),
        mixed(HALF, 30 * SECOND, 30, {"stop": "max_tokens"}, feature="triage"),
    ),
    Case(
        "cache_lost",
        "cache_lost",
        burst(HALF, 30 * SECOND, feature="triage", cached=0),
        burst(HALF, 30 * SECOND, feature="triage"),
    ),
    Case("quality", "quality_drop", scores(0.5), scores(0.8)),
    Case(
        "unusual_hours",
        "unusual_hours",
        lambda journal: every(journal, at(TODAY + 1, 3), HOUR, MINUTE, user=ADA, nanos=USD // 100),
        lambda journal: every(journal, at(TODAY, 18), HOUR, MINUTE, user=ADA, nanos=USD // 100),
    ),
    Case("run_grows", "context_growth", growing(30_000, 1.12, 16), growing(8_000, 1.12, 16)),
    Case(
        "run_repeats",
        "runaway",
        steady("triage", USD // 1_000, 30, content="a" * 64),
        steady("triage", USD // 1_000, 30),
    ),
    Case("run_burns", "runaway", with_runs(steady("agent", USD)), with_runs(steady("agent", USD // 50))),
]


@pytest.mark.parametrize("case", CASES, ids=[case.rule for case in CASES])
def test_a_rule_fires_once(case: Case) -> None:
    """Its journal raises one alert, of the right cause, with the rule among its symptoms."""
    changes = alerts_of(case.fires)
    raised = [change.alert for change in changes if change.kind == "raised"]
    told = [change.alert for change in changes if change.kind != "ended"]
    assert [alert.cause for alert in raised] == [case.cause], [alert.title for alert in raised]
    named = [symptom.rule for symptom in told[-1].symptoms]
    assert named.count(case.rule) == 1, named


@pytest.mark.parametrize("case", CASES, ids=[case.rule for case in CASES])
def test_a_rule_is_quiet(case: Case) -> None:
    """A journal that is like the other one, but within bounds, does not fire it."""
    fired = {symptom.rule for change in alerts_of(case.quiet) for symptom in change.alert.symptoms}
    assert case.rule not in fired, fired


def test_there_is_a_case_for_every_shipped_rule() -> None:
    """No shipped rule is untested."""
    assert sorted(case.rule for case in CASES) == sorted(rule.name for rule in read_rules(None).rules)


def test_every_shipped_rule_says_why_and_whence() -> None:
    """Each has a line for why, and a source."""
    assert [rule.name for rule in read_rules(None).rules if not (rule.why and rule.source)] == []


def test_ordinary_life_is_quiet() -> None:
    """Two ordinary weeks raise nothing."""
    journal = Journal()
    office(journal, 14)
    assert [change.alert.title for change in replay(Watch(read_rules(None)), journal.entries())] == []
