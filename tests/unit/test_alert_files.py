"""Alert files: what they may say, how they change the shipped rules, and how they are refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import jsonschema
import pytest

from governor.data import data_file
from governor.errors import PolicyError
from governor.journal.alerts import language
from governor.journal.alerts.reading import find_rules, read_rules
from governor.policy import load
from governor.policy.positions import read_yaml

if TYPE_CHECKING:
    from pathlib import Path

    from governor.journal.alerts.rule import Rule, Rules

HEAD = "version: 1\n"


def written(folder: Path, text: str) -> Path:
    """An alert file."""
    path = folder / "alerts.yaml"
    path.write_text(HEAD + text, encoding="utf-8")
    return path


def rule(rules: Rules, name: str) -> Rule:
    """A rule by its name."""
    return next(one for one in rules.rules if one.name == name)


def test_without_a_file_the_shipped_rules_are_in_force() -> None:
    """They are 29 and tell no channel, for none is named."""
    rules = read_rules(None, "Europe/Berlin")
    assert (len(rules.rules), rules.timezone, rules.source) == (29, "Europe/Berlin", "shipped")
    assert {one.channels for one in rules.rules} == {()}
    assert all(one.shipped for one in rules.rules)


def test_a_company_changes_switches_off_and_adds_rules(tmp_path: Path) -> None:
    """A rule of a shipped name changes that one; `off` takes one away; a new name is a new rule."""
    text = """\
timezone: Europe/Berlin
channels:
  oncall: {apprise_env: ONCALL_URL}
  api_status: {webhook: {url_env: STATUS_URL, secret_env: STATUS_SECRET}}
tell: [oncall]
rules:
  error_rate: {above: 2.5%, severity: warning}
  latency: off
  ours:
    metric: cost
    where: {department: legal, "tag:team": [a, b]}
    per: [user, feature]
    above: 12.5
    window: 1h
    actions: [{tighten: {tier: economy, for: 1h}}, {freeze_run: {for: 30m}}]
"""
    rules = read_rules(written(tmp_path, text))
    changed, ours = rule(rules, "error_rate"), rule(rules, "ours")
    assert (changed.above, changed.severity, changed.at_least, changed.shipped) == (2.5, "warning", 20, False)
    assert (len(rules.rules), rules.off) == (29, ("latency",))
    assert ours.above == 12_500_000_000
    assert ours.where == {"department": frozenset({"legal"}), "tag:team": frozenset({"a", "b"})}
    assert [(one.kind, one.setting, one.for_ms) for one in ours.responses] == [
        ("tighten", "economy", 3_600_000),
        ("freeze_run", "", 1_800_000),
    ]
    assert rule(rules, "overloaded").channels == ("api_status",)
    assert rule(rules, "latency_haiku").channels == ("oncall",)
    assert rules.channels["api_status"].secret_env == "STATUS_SECRET"


def test_a_changed_condition_replaces_the_shipped_one(tmp_path: Path) -> None:
    """A rule that goes by what is usual goes by a sum alone once the file says so."""
    rules = read_rules(written(tmp_path, "rules:\n  cost_of_hour: {above: 40}\n"))
    changed = rule(rules, "cost_of_hour")
    assert (changed.above, changed.above_usual) == (40_000_000_000, None)


def test_a_company_can_do_without_the_shipped_rules(tmp_path: Path) -> None:
    """`shipped: false` leaves the file's own rules alone."""
    text = "shipped: false\nrules:\n  ours: {metric: calls, above: 10}\n"
    assert [one.name for one in read_rules(written(tmp_path, text)).rules] == ["ours"]


@pytest.mark.parametrize(
    ("text", "line", "column", "said"),
    [
        ("rules:\n  error_rat: {above: 2%}\n", 3, 14, "did you mean 'error_rate'?"),
        ("rules:\n  a: {metric: eror_rate, above: 2%}\n", 3, 15, "did you mean 'error_rate'?"),
        ("rules:\n  a: {metric: error_rate, abve: 2%}\n", 3, 27, "did you mean 'above'?"),
        ("rules:\n  a: {metric: error_rate, above: 5}\n", 3, 34, "'5' is no percentage (such as 150%)"),
        ("rules:\n  a: {metric: latency_p95, above: 15}\n", 3, 35, "no time span"),
        ("rules:\n  a: {metric: cost, above: 5%}\n", 3, 28, "held against a number"),
        ("rules:\n  a: {metric: cost}\n", 3, 6, "a rule needs a condition"),
        ("rules:\n  a: {metric: cost, above: 5, below: 2}\n", 3, 38, "looks up or down"),
        ("rules:\n  a: {metric: cost, above: 5, window: 90s}\n", 3, 39, "whole minutes"),
        ("rules:\n  a: {metric: cost, above: 5, per: usr}\n", 3, 36, "did you mean 'user'?"),
        ("rules:\n  a: {metric: context_use, above_usual: 150%}\n", 3, 41, "nothing is known of what is"),
        ("rules:\n  a: {metric: cost, above: 5, channels: [x]}\n", 3, 42, "there is no channel 'x'"),
        ("rules:\n  nothing: off\n", 3, 12, "no shipped rule 'nothing'"),
        ("rules:\n  a: {metric: cost, above: 5, where: {user: []}}\n", 3, 45, "at least one is needed"),
        ("rules:\n  a: {metric: quality, below: 0}\n", 3, 31, "quality is never below zero"),
        ("rules:\n  error_rate: 0\n", 3, 15, "should be a mapping, not 0"),
        ("channels:\n  a: {apprise_env: 'slack://secret'}\n", 3, 20, "never the secret itself"),
        ("channels:\n  a: {}\n", 3, 6, "either `apprise_env` or `webhook`"),
        ("tell: [x]\n", 2, 8, "there is no channel 'x'"),
        ("every: 30s\n", 2, 8, "every 1 to 60 minutes"),
        ("rules:\n  a: {metric: error_rate, above: 100%}\n", 3, 34, "never above 100 %"),
        ("rules:\n  a: {metric: run_repeats, above: 25}\n", 3, 35, "last 20 calls are compared"),
        ("rules:\n  run_repeats: {actions: [{freeze_run: {for: 32d}}]}\n", 3, 46, "lasts 31 days at most"),
        ("rules:\n  a: {metric: cost, above: 5, history: 15d}\n", 3, 40, "only 14 days are remembered"),
        ("rules:\n  a: {metric: calls, above: 1e16}\n", 3, 29, "nothing is ever above that"),
        ("department: legal\n", 1, 1, "this is a policy, not an alert file"),
    ],
)
def test_what_cannot_be_meant_is_refused_where_it_stands(
    tmp_path: Path, text: str, line: int, column: int, said: str
) -> None:
    """The error names file, line and column, and what to do; a secret is not repeated."""
    path = written(tmp_path, text)
    with pytest.raises(PolicyError) as caught:
        read_rules(path)
    (problem,) = caught.value.problems
    assert (problem.file, problem.line, problem.column) == (str(path), line, column), str(problem)
    assert said in str(caught.value)
    assert "slack://secret" not in str(caught.value)


def test_the_policy_loader_leaves_alert_files_alone(tmp_path: Path) -> None:
    """`alerts.yaml` beside the policies is no policy, and is found there."""
    policy = data_file("policies/legal.yaml").read_text(encoding="utf-8")
    (tmp_path / "legal.yaml").write_text(policy, encoding="utf-8")
    path = written(tmp_path, "rules: {latency: off}\n")
    assert list(load(tmp_path).departments) == ["legal"]
    assert find_rules(tmp_path) == path
    assert find_rules(tmp_path / "legal.yaml") == path


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("alerts.schema.json", language.json_schema),
        ("alerts.tests.schema.json", language.tests_json_schema),
    ],
)
def test_the_schemas_in_the_repository_are_the_generated_ones(name: str, schema: object) -> None:
    """Editors are told what the loader takes."""
    text = data_file(f"policies/{name}").read_text(encoding="utf-8")
    assert text == json.dumps(schema(), indent=2) + "\n"  # type: ignore[operator]
    jsonschema.Draft202012Validator.check_schema(schema())  # type: ignore[operator]


def test_the_shipped_rules_fit_the_schema() -> None:
    """An editor finds nothing wrong with the file of the repository."""
    text = data_file("policies/alerts.yaml").read_text(encoding="utf-8")
    plain = json.loads(json.dumps(read_yaml("alerts.yaml", text).root.plain(), default=float))
    jsonschema.validate(plain, language.json_schema())
