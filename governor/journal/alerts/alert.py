"""An alert: one incident, as it is told. Pure."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "critical")
"""The least first."""


@dataclass(frozen=True, slots=True)
class Symptom:
    """A rule that fired.

    Attributes:
        rule: Its name in the file.
        metric: What it watches.
        subject: Whose: pairs of a dimension and its value, such as `(("model", "claude-opus-5-5"),)`; empty:
            everybody's.
        value: What was seen, in the metric's unit.
        threshold: What it was held against, in the same unit.
        unit: `percent`, `usd` (nano-dollars), `ms`, `tokens`, `count` or `ratio`.
        window_ms: Over how long it was measured.
        since_ms: When it first fired, Unix milliseconds.
        why: The rule's one line.
    """

    rule: str
    metric: str
    subject: tuple[tuple[str, str], ...]
    value: float | int
    threshold: float | int
    unit: str
    window_ms: int
    since_ms: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    """Who is behind an alert.

    *dimension* is `budget`, `department`, `user`, `feature`, `model`, `run` or `error` (the SDK's class);
    *percent* is their part of what is amiss, 0 to 100.
    """

    dimension: str
    name: str
    percent: float


@dataclass(frozen=True, slots=True)
class Action:
    """An automated response that a rule asks for.

    Attributes:
        kind: `tighten` a tier, `slow` a user, `open_breaker` of a line or model, `freeze_run`.
        subject: Whom it concerns, as in `Symptom`.
        setting: A tier's name; requests a minute; else ''.
        for_ms: How long it lasts by itself.
    """

    kind: Literal["tighten", "slow", "open_breaker", "freeze_run"]
    subject: tuple[tuple[str, str], ...]
    setting: str
    for_ms: int


@dataclass(frozen=True, slots=True)
class Alert:
    """One incident: symptoms of one cause, told once.

    Attributes:
        key: Tells it from every other one, and is the same whoever evaluates: `cause/subject/began`.
        cause: What is thought to be behind it, in a word: `api_overloaded`, `context_growth`, `budget` …
        severity: The worst of its symptoms'.
        title: One line for people.
        advice: What to do, one or two sentences.
        began_ms: When the first symptom fired; `seen_ms` the last time one did, Unix milliseconds.
        ended_ms: When none did any more; `None` while it goes on.
        symptoms: The one it is named after first.
        behind: The greatest shares first.
        channels: The names of those that are told.
        actions: Automated responses, where rules ask for them.
    """

    key: str
    cause: str
    severity: Severity
    title: str
    advice: str
    began_ms: int
    seen_ms: int
    ended_ms: int | None
    symptoms: tuple[Symptom, ...]
    behind: tuple[Share, ...] = ()
    channels: tuple[str, ...] = ()
    actions: tuple[Action, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Every field by its name; subjects as objects."""
        told = asdict(self)
        for one in (*told["symptoms"], *told["actions"]):
            one["subject"] = dict(one["subject"])
        return told


def read_alert(text: str) -> Alert:
    """An alert from its JSON."""
    return alert_of(json.loads(text))


def alert_of(told: Mapping[str, Any]) -> Alert:
    """An alert from what `Alert.as_json` made of it."""
    values = {one.name: told[one.name] for one in fields(Alert) if one.name in told}
    values["symptoms"] = tuple(_with_subject(Symptom, one) for one in told.get("symptoms") or ())
    values["actions"] = tuple(_with_subject(Action, one) for one in told.get("actions") or ())
    values["behind"] = tuple(Share(**one) for one in told.get("behind") or ())
    values["channels"] = tuple(told.get("channels") or ())
    return Alert(**values)


def _with_subject(kind: Any, told: Mapping[str, Any]) -> Any:
    return kind(**{**told, "subject": tuple((told.get("subject") or {}).items())})
