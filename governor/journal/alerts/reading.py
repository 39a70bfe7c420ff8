"""Alert files: read, the shipped rules filled in, checked, and compiled; whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from governor.data import data_file
from governor.errors import PolicyError, Problem, nearest
from governor.journal.alerts.metrics import METRICS, RUN_KINDS
from governor.journal.alerts.rule import DAY_MS, MINUTE_MS, Channel, Response, Rule, Rules
from governor.policy.load import ALERT_FILES, read_document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.journal.alerts.language import ActionText, AlertFile, RuleText
    from governor.policy.positions import Document

SHIPPED = "policies/alerts.yaml"


def find_rules(policies: str | Path) -> Path | None:
    """The alert file in a folder of policies, or beside a policy file; `None` where there is none."""
    place = Path(policies)
    folder = place if place.is_dir() else place.parent
    return next((folder / name for name in ALERT_FILES if (folder / name).is_file()), None)


def read_rules(path: str | Path | None, timezone: str = "UTC") -> Rules:
    """The rules in force.

    Args:
        path: The company's file; `None`: it has none, and the shipped rules are in force.
        timezone: IANA; of days and hours, where the file names none.

    Raises:
        PolicyError: The file is malformed or cannot be read; with every problem found.
    """
    own = None if path is None else Path(path)
    if own is None or _is_shipped(own):
        return _shipped(timezone)
    problems: list[Problem] = []
    document = read_document(own, problems)
    file = None if document is None else _validated(document, problems)
    if document is None or file is None or problems:
        raise PolicyError(sorted(problems, key=lambda problem: (problem.line, problem.column)))
    written = _rules_of(document.root.plain())
    theirs = _shipped_text() if file.shipped else {}
    kept = {
        name: rule.model_copy(update={"channels": _defined(file, rule, ours=name in written)})
        for name, rule in (file.rules or {}).items()
    }
    off = tuple(name for name, text in written.items() if _is_off(text))
    changed = {name for name in kept if name in written or name not in theirs}
    return _compiled(file, kept, file.timezone or timezone, off, str(own), changed)


def _is_shipped(path: Path) -> bool:
    return path.exists() and str(path.resolve()) == str(Path(str(data_file(SHIPPED))).resolve())


def _shipped(timezone: str) -> Rules:
    from governor.journal.alerts.language import AlertFile  # noqa: PLC0415 - `--help` need not pay

    file = AlertFile.model_validate(_shipped_document().root.plain())
    rules = {name: rule.model_copy(update={"channels": None}) for name, rule in (file.rules or {}).items()}
    return _compiled(file, rules, timezone, (), "shipped", set())


def _shipped_document() -> Document:
    from governor.policy.positions import read_yaml  # noqa: PLC0415 - as above

    return read_yaml(SHIPPED, data_file(SHIPPED).read_text(encoding="utf-8"))


def _shipped_text() -> dict[str, Any]:
    return dict(_shipped_document().root.plain()["rules"])


def _validated(document: Document, problems: list[Problem]) -> AlertFile | None:
    from governor.journal.alerts.faults import faults  # noqa: PLC0415 - as above
    from governor.journal.alerts.language import AlertFile  # noqa: PLC0415 - as above
    from governor.policy.shape import validated  # noqa: PLC0415 - as above

    problems += document.problems
    plain = document.root.plain()
    if not isinstance(plain, dict):
        hint = "it starts with `version: 1`"
        problems.append(document.problem((), "an alert file is a mapping of keys", hint))
        return None
    if "department" in plain or "organization" in plain:
        hint = "give the policy's file another name: this one is for alert rules"
        problems.append(document.problem((), "this is a policy, not an alert file", hint))
        return None
    filled = _filled(document, plain, problems)
    file = validated(document, AlertFile, problems, filled)
    if file is not None:
        own = _rules_of(plain)
        problems += [document.problem(where, message, hint) for where, message, hint in faults(file, own)]
    return file


def _rules_of(plain: Mapping[str, Any]) -> dict[str, Any]:
    rules = plain.get("rules")
    return rules if isinstance(rules, dict) else {}


def _is_off(text: object) -> bool:
    """Whether it switches a rule off: a 0, which equals `false`, does not."""
    return text == "off" or text is False


def _filled(document: Document, plain: dict[str, Any], problems: list[Problem]) -> dict[str, Any]:
    """What the file says, with the shipped rules in it as far as it changes or keeps them."""
    written = plain.get("rules", {})
    if not isinstance(written, dict):
        return plain
    shipped = _shipped_text() if plain.get("shipped", True) is True else {}
    rules = dict(shipped)
    for name, text in written.items():
        if _is_off(text):
            if name not in shipped:
                hint = nearest(name, shipped) if shipped else "remove the line: no shipped rule is in force"
                problems.append(document.problem(("rules", name), f"no shipped rule {name!r}", hint))
            rules.pop(name, None)
        elif isinstance(text, dict):
            rules[name] = _over(shipped.get(name, {}), text)
            if "metric" not in rules[name] and shipped:
                message = f"{name!r} is no shipped rule, and a rule of your own needs a `metric`"
                where = ("rules", name)
                problems.append(document.problem(where, message, nearest(name, shipped)))
                rules.pop(name)
        else:
            rules[name] = text
    return {**plain, "rules": rules}


def _over(shipped: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A shipped rule with what the file says of it; its condition is taken over whole."""
    from governor.journal.alerts.faults import CONDITIONS  # noqa: PLC0415 - as above

    other_metric = "metric" in own and own["metric"] != shipped.get("metric")
    gone = CONDITIONS if other_metric or any(name in own for name in CONDITIONS) else ()
    return {**{name: value for name, value in shipped.items() if name not in gone}, **own}


def _defined(file: AlertFile, rule: RuleText, *, ours: bool) -> list[str] | None:
    """The channels of a rule; what a shipped one names is told apart only where the file defines it."""
    if ours or rule.channels is None:
        return rule.channels
    return [name for name in rule.channels if name in (file.channels or {})] or None


def _compiled(
    file: AlertFile,
    rules: Mapping[str, RuleText],
    timezone: str,
    off: tuple[str, ...],
    source: str,
    own: set[str],
) -> Rules:
    channels = {
        name: Channel(
            name,
            text.apprise_env or "",
            text.webhook.url_env if text.webhook else "",
            text.webhook.secret_env if text.webhook else "",
        )
        for name, text in (file.channels or {}).items()
    }
    tell = tuple(file.tell if file.tell is not None else channels)
    compiled = tuple(_rule(name, text, tell, shipped=name not in own) for name, text in rules.items())
    return Rules(compiled, channels, timezone, file.every, off, source)


def _rule(name: str, text: RuleText, tell: tuple[str, ...], *, shipped: bool) -> Rule:
    metric = METRICS[text.metric]
    of_run = metric.kind in RUN_KINDS
    window = text.window or 10 * MINUTE_MS
    per = ("run",) if of_run else tuple(text.per or ())
    return Rule(
        name,
        metric,
        where={key: frozenset(values) for key, values in (text.where or {}).items()},
        per=per,
        window_ms=window,
        above=text.above,
        below=text.below,
        above_usual=text.above_usual,
        below_usual=text.below_usual,
        rises=text.rises,
        baseline=text.baseline,
        history_ms=text.history or (7 if window >= DAY_MS or text.baseline == "hour_of_week" else 3) * DAY_MS,
        without_history=text.without_history == "judge",
        at_least=text.at_least,
        sure=text.sure,
        left_ms=text.left or 0,
        clear_percent=text.clear,
        severity=text.severity,
        cooldown_ms=text.cooldown,
        channels=tell if text.channels is None else tuple(text.channels),
        responses=tuple(map(_response, text.actions or ())),
        why=text.why,
        source=text.source,
        shipped=shipped,
    )


def _response(text: ActionText) -> Response:
    if text.tighten is not None:
        return Response("tighten", text.tighten.tier, text.tighten.for_)
    if text.slow is not None:
        return Response("slow", str(text.slow.requests), text.slow.for_)
    if text.open_breaker is not None:
        return Response("open_breaker", "", text.open_breaker.for_)
    assert text.freeze_run is not None  # noqa: S101 - the model holds that one of them is given
    return Response("freeze_run", "", text.freeze_run.for_)
