"""Alert rules as they are in force: what the files say, compiled. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.journal.alerts.alert import Severity
    from governor.journal.alerts.metrics import Metric

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

Baseline = Literal["7d", "hour_of_week"]


@dataclass(frozen=True, slots=True)
class Channel:
    """Where alerts are told. Secrets are in the environment: here are the names of variables alone.

    Attributes:
        name: As rules name it.
        apprise_env: The variable with an apprise URL, or ''.
        url_env: The variable with a webhook's URL, or ''.
        secret_env: The variable with the secret that signs the webhook, or ''.
    """

    name: str
    apprise_env: str = ""
    url_env: str = ""
    secret_env: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """An automated response that a rule asks for; `alert.Action` is this for one subject.

    Attributes:
        kind: `tighten`, `slow`, `open_breaker` or `freeze_run`.
        setting: A tier's name; requests a minute; else ''.
        for_ms: How long it lasts by itself.
    """

    kind: Literal["tighten", "slow", "open_breaker", "freeze_run"]
    setting: str
    for_ms: int


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. Values are in the metric's unit: nano-dollars, milliseconds, percent of 100, tokens, counts.

    Attributes:
        name: In the file.
        metric: What it watches.
        where: Dimension to the values that count; empty: every call.
        per: The dimensions that it is judged for one by one; empty: all together.
        window_ms: Over how long.
        above, below: The value it fires beyond, or `None`.
        above_usual, below_usual: The percentage of the usual value it fires beyond, or `None`. With *above*
            or *below* both must hold.
        rises: By how much more than in the window before it fires, or `None`.
        baseline: What is usual: see docs/alerts.md.
        history_ms: How much of a subject's history it takes to know what is usual.
        without_history: Whether *above* and *below* are judged alone before there is that much.
        at_least: So many calls it takes; of a largest value: so many calls must be as large.
        sure: Of a rate: whether its lower bound (two standard deviations) is judged, not itself.
        left_ms: Of a budget: at least so much of its window must be left.
        clear_percent: The percentage of the threshold at which a symptom ends.
        severity: `info`, `warning` or `critical`.
        cooldown_ms: So long after its end it does not fire again for the same subject.
        channels: The names of those that are told.
        responses: Automated ones; none unless the file says so.
        why, source: One line each.
        shipped: Whether it comes with the governor, unchanged.
    """

    name: str
    metric: Metric
    where: Mapping[str, frozenset[str]] = field(default_factory=dict)
    per: tuple[str, ...] = ()
    window_ms: int = 10 * MINUTE_MS
    above: float | int | None = None
    below: float | int | None = None
    above_usual: float | None = None
    below_usual: float | None = None
    rises: float | int | None = None
    baseline: Baseline = "7d"
    history_ms: int = 3 * DAY_MS
    without_history: bool = False
    at_least: int = 1
    sure: bool = False
    left_ms: int = 0
    clear_percent: float = 80.0
    severity: Severity = "warning"
    cooldown_ms: int = HOUR_MS
    channels: tuple[str, ...] = ()
    responses: tuple[Response, ...] = ()
    why: str = ""
    source: str = ""
    shipped: bool = False

    @property
    def needs_usual(self) -> bool:
        """Whether it goes by what is usual."""
        return self.above_usual is not None or self.below_usual is not None


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules in force.

    Attributes:
        rules: In the order of the file, shipped ones first.
        channels: By name.
        timezone: IANA; of hours and days.
        every_ms: The evaluation period.
        off: Names of shipped rules that are switched off.
        source: The file, or 'shipped'.
    """

    rules: tuple[Rule, ...]
    channels: Mapping[str, Channel] = field(default_factory=dict)
    timezone: str = "UTC"
    every_ms: int = MINUTE_MS
    off: tuple[str, ...] = ()
    source: str = "shipped"

    @property
    def memory_ms(self) -> int:
        """How much of the journal a watch must have seen to judge as one that saw all of it."""
        weeks = 5 if any(one.baseline == "hour_of_week" for one in self.rules) else 2
        return (7 * weeks + 1) * DAY_MS
