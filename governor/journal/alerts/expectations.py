"""What an alert file's tests expect of journals, and where the alerts differ from it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from governor.errors import PolicyError, Problem
from governor.policy.load import read_document

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from governor.journal.alerts.alert import Alert
    from governor.journal.alerts.change import Change
    from governor.journal.alerts.language import AlertTest, Expected


@dataclass(frozen=True, slots=True)
class Told:
    """An alert of a journal: when it was raised, and as it was at last."""

    at_ms: int
    alert: Alert


def tests_beside(rules: Path) -> Path:
    """The tests that belong to an alert file: `alerts.tests.yaml` to `alerts.yaml`."""
    return rules.with_name(f"{rules.stem}.tests{rules.suffix}")


def read_tests(path: Path) -> tuple[AlertTest, ...]:
    """The tests of an alert file.

    Raises:
        PolicyError: The file is malformed or cannot be read; with every problem found.
    """
    from governor.journal.alerts.language import AlertTests  # noqa: PLC0415 - `--help` need not pay
    from governor.policy.shape import validated  # noqa: PLC0415 - as above

    problems: list[Problem] = []
    document = read_document(path, problems)
    file = None
    if document is not None:
        problems += document.problems
        if isinstance(document.root.value, dict):
            file = validated(document, AlertTests, problems)
        else:
            hint = "it starts with `version: 1`"
            problems.append(document.problem((), "a tests file is a mapping of keys", hint))
        for index, test in enumerate(file.tests if file else ()):
            for number, one in enumerate(test.expect):
                for key in ("after", "before"):
                    if getattr(one, key) is not None and _instant(getattr(one, key)) is None:
                        where = ("tests", index, "expect", number, key)
                        hint = "ISO, such as 2026-11-03T10:00"
                        problems.append(document.problem(where, f"{key} is no instant", hint))
    if file is None or problems:
        raise PolicyError(sorted(problems, key=lambda problem: (problem.line, problem.column)))
    return tuple(file.tests)


def told_by(changes: Sequence[Change]) -> list[Told]:
    """The alerts of a journal, in the order in which they were raised."""
    raised = {change.alert.key: change.at_ms for change in changes if change.kind == "raised"}
    last = {change.alert.key: change.alert for change in changes}
    return [Told(at_ms, last[key]) for key, at_ms in raised.items()]


def differences(expected: Sequence[Expected], told: Sequence[Told]) -> Iterator[str]:
    """Where the alerts are not as expected, one sentence each."""
    for number, one in enumerate(expected, 1):
        if number > len(told):
            yield f"alert {number} was expected ({_words(one)}) and not raised"
            continue
        yield from (f"alert {number}: {text}" for text in _differ(one, told[number - 1]))
    for number, extra in enumerate(told[len(expected) :], len(expected) + 1):
        yield f"alert {number} was not expected: {extra.alert.cause}: {extra.alert.title}"


def _differ(one: Expected, told: Told) -> Iterator[str]:
    alert = told.alert
    rules = {symptom.rule for symptom in alert.symptoms}
    if one.cause is not None and one.cause != alert.cause:
        yield f"cause is {alert.cause}, not {one.cause}"
    if one.severity is not None and one.severity != alert.severity:
        yield f"severity is {alert.severity}, not {one.severity}"
    if one.rule is not None and one.rule not in rules:
        yield f"rules are {', '.join(sorted(rules))}, without {one.rule}"
    named = {pair for symptom in alert.symptoms for pair in symptom.subject}
    named |= {(share.dimension, share.name) for share in alert.behind}
    for name, value in (one.subject or {}).items():
        if (name, value) not in named:
            yield f"nobody behind it is {name} {value}"
    after, before = _instant(one.after), _instant(one.before)
    when = datetime.fromtimestamp(told.at_ms / 1000, UTC)
    if after is not None and told.at_ms < after:
        yield f"raised at {when:%Y-%m-%dT%H:%M} UTC, before {one.after}"
    if before is not None and told.at_ms >= before:
        yield f"raised at {when:%Y-%m-%dT%H:%M} UTC, not before {one.before}"


def _words(one: Expected) -> str:
    return ", ".join(f"{name} {value}" for name, value in one.model_dump(exclude_none=True).items()) or "any"


def _instant(text: str | None) -> int | None:
    """An ISO instant in Unix milliseconds, UTC where it names no zone; `None` where it is none."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
