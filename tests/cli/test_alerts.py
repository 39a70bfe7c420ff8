"""`governor alerts check`, `list` and `test`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from support.alert_journals import MINUTE, SECOND, Journal, at, every
from typer.testing import CliRunner

from governor.cli import app

if TYPE_CHECKING:
    from pathlib import Path

POLICY = """\
version: 1
organization: acme
timezone: Europe/Berlin
budgets: [{per: organization, usd: 9, window: month}]
"""


def run(*args: object) -> tuple[int, str, str]:
    """The command's exit code, and what it says on stdout and stderr."""
    done = CliRunner().invoke(app, [str(arg) for arg in args])
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder of policies, and beside it the archive of a storm of 529s."""
    folder = tmp_path / "policies"
    folder.mkdir()
    (folder / "organization.yaml").write_text(POLICY, encoding="utf-8")
    journal = Journal()
    every(journal, at(0, 12), 5 * MINUTE, 10 * SECOND, pushed=(529,), latency_ms=SECOND)
    before = None
    with (folder / "storm.jsonl").open("w", encoding="utf-8") as file:
        for entry in journal.entries():
            row = {name: getattr(entry, name) for name in entry.__dataclass_fields__}
            file.write(json.dumps({"organization": "acme", "epoch": "e", "after": before, **row}) + "\n")
            before = entry.seq
    return folder


def with_tests(place: Path, expect: str) -> Path:
    """An alert file and its tests."""
    (place / "alerts.yaml").write_text("version: 1\nrules: {latency: off}\n", encoding="utf-8")
    text = f"version: 1\ntests:\n  - {{journal: storm.jsonl, expect: {expect}}}\n"
    (place / "alerts.tests.yaml").write_text(text, encoding="utf-8")
    return place / "alerts.yaml"


def test_check_prints_the_rules_in_force(place: Path) -> None:
    """Without a file of the company's, the shipped ones."""
    code, out, _ = run("alerts", "check", "--policies", place, "--json")
    found = json.loads(out)
    assert (code, found["source"], len(found["rules"])) == (0, "shipped", 29)
    code, out, _ = run("alerts", "check", "--policies", place)
    assert code == 0
    assert "above 5.0 % in 10m" in out
    assert "nobody is told" in out


def test_check_refuses_a_malformed_file(place: Path) -> None:
    """Exit code 3, with file, line and column."""
    (place / "alerts.yaml").write_text("version: 1\nrules: {a: {metric: cots, above: 1}}\n", encoding="utf-8")
    code, _, err = run("alerts", "check", "--policies", place)
    assert code == 3
    told = "2:21: rules.a.metric: unknown metric 'cots' (did you mean 'cost'?)"
    assert f"{place / 'alerts.yaml'}:{told}" in err


def test_a_journal_shows_its_alerts(place: Path) -> None:
    """Each with when, its cause and the rules behind it."""
    code, out, _ = run("alerts", "test", "shipped", place / "storm.jsonl", "--policies", place)
    assert code == 0
    assert "2026-11-02 12:01" in out
    assert "api_overloaded" in out
    assert "rules: overloaded" in out


def test_expectations_that_hold(place: Path) -> None:
    """The tests beside the rules name their journals, and say what is expected of them."""
    expect = "[{cause: api_overloaded, rule: overloaded, after: 2026-11-02T12:00, before: 2026-11-02T12:03}]"
    code, out, _ = run("alerts", "test", with_tests(place, expect), "--policies", place)
    assert code == 0
    assert "as expected" in out


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        ("[]", "alert 1 was not expected: api_overloaded"),
        ("[{cause: slow_model}]", "alert 1: cause is api_overloaded, not slow_model"),
        ("[{before: 2026-11-02T12:00}]", "alert 1: raised at 2026-11-02T12:01 UTC, not before"),
        ("[{}, {cause: budget}]", "alert 2 was expected (cause budget) and not raised"),
        ("[{subject: {user: eve}}]", "nobody behind it is user eve"),
    ],
)
def test_expectations_that_do_not(place: Path, expect: str, said: str) -> None:
    """What differs is said, and the exit code is 1."""
    code, out, _ = run("alerts", "test", with_tests(place, expect), "--policies", place)
    assert code == 1
    assert said in out
    code, out, _ = run("alerts", "test", with_tests(place, expect), "--policies", place, "--json")
    assert code == 1
    assert said in "\n".join(json.loads(out)["journals"][0]["failures"])


def test_a_test_without_a_journal_needs_expectations(place: Path) -> None:
    """Usage: say which journal."""
    code, _, err = run("alerts", "test", "shipped", "--policies", place)
    assert code == 2
    assert "name a journal" in err


def test_list_says_how_the_rules_stand(firm: object) -> None:
    """On a ledger in use: the rules that are not judged yet for want of history, and none that fired."""
    options = firm.options  # type: ignore[attr-defined]
    code, out, err = run("alerts", "list", *options, "--json")
    assert code == 0, err
    found = json.loads(out)
    states = {one["name"]: one for one in found["rules"]}
    assert states["cost_of_hour"]["without_history"] == 1
    assert states["overloaded"]["fired_ms"] is None
    code, out, _ = run("alerts", "list", *options)
    assert code == 0
    assert "for want of history" in out
