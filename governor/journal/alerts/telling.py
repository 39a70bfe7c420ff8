"""How an alert is put into words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from governor.journal.alerts.metrics import BUDGET_KINDS, METRICS
from governor.journal.alerts.rule import DAY_MS, HOUR_MS, MINUTE_MS

if TYPE_CHECKING:
    from governor.journal.alerts.alert import Symptom
    from governor.journal.alerts.rule import Rule

_NANOS = 1_000_000_000
_ANSWER_SIGN = {True: "below", False: "above"}


def value_text(value: float, unit: str) -> str:
    """A value in its unit: `$22.40`, `12.5 %`, `16.3 s`, `1,200,000 tokens`, `4.20`."""
    match unit:
        case "usd":
            return f"${value / _NANOS:,.2f}"
        case "percent":
            return f"{value:.1f} %"
        case "ms":
            return f"{value / 1000:.1f} s"
        case "tokens":
            return f"{value:,.0f} tokens"
        case "count":
            return f"{value:,.0f}"
        case _:
            return f"{value:.2f}"


def span_text(length_ms: int) -> str:
    """A length of time as rules write it: `10m`, `1h`, `7d`."""
    for size, letter in ((DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "m")):
        if length_ms >= size and length_ms % size == 0:
            return f"{length_ms // size}{letter}"
    return f"{length_ms // 1000}s"


def subject_text(subject: tuple[tuple[str, str], ...]) -> str:
    """Who it is about: `feature code_review, user ada`; '' of everybody."""
    return ", ".join(f"{name} {value or '(none)'}" for name, value in subject)


def subject_key(subject: tuple[tuple[str, str], ...]) -> str:
    """The same in a key: `feature=code_review`; `-` of everybody."""
    return ",".join(f"{name}={value}" for name, value in subject) or "-"


def symptom_text(symptom: Symptom) -> str:
    """A symptom in half a sentence: `answers 529: 12 in 1m (more than 2)`."""
    value, held = value_text(symptom.value, symptom.unit), value_text(symptom.threshold, symptom.unit)
    sign = _ANSWER_SIGN[symptom.value < symptom.threshold]
    within = f" in {span_text(symptom.window_ms)}" if symptom.window_ms else ""
    return f"{METRICS[symptom.metric].about}: {value}{within}, {sign} {held}"


def title_of(cause_title: str, lead: Symptom) -> str:
    """An alert's one line."""
    who = subject_text(lead.subject)
    return f"{cause_title}{': ' + who if who else ''} ({symptom_text(lead)})"


def condition_text(rule: Rule) -> str:
    """When a rule fires, for people: `above 5.0 % in 10m and above 150 % of usual`."""
    unit, parts = rule.metric.unit, []
    for name in ("above", "below"):
        value = getattr(rule, name)
        if value is not None:
            parts.append(f"{name} {value_text(value, unit)}")
    for name in ("above", "below"):
        share = getattr(rule, f"{name}_usual")
        if share is not None:
            parts.append(f"{name} {share:g} % of usual")
    if rule.rises is not None:
        parts.append(f"rises by {value_text(rule.rises, unit)}")
    within = "" if rule.metric.kind in BUDGET_KINDS else f" in {span_text(rule.window_ms)}"
    return " and ".join(parts) + within
