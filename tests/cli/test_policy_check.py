"""`governor policy check`: what is wrong and where, or what is in force."""

from __future__ import annotations

import pytest


def test_right_files_show_what_is_in_force(run, policies):
    """Each department's budgets and thresholds, exit code 0."""
    said = run("policy", "check", str(policies))
    assert said.code == 0
    assert "$1.00 a month" in said.out
    assert "80%: warn, to sonnet" in said.out
    assert "3 files are right" in said.out


def test_a_step_that_changes_nothing_is_not_shown(run, policies):
    """A department's step above the organisation's block says nothing that holds."""
    file = policies / "organization.yaml"
    file.write_text(file.read_text() + "thresholds: {70%: block}\n")
    file = policies / "engineering.yaml"
    file.write_text(file.read_text().replace("100%: block", "90%: {downgrade: haiku}"))
    said = run("policy", "check", str(policies))
    assert "70%: block; 80%: warn" in said.out
    assert "90%" not in said.out


def test_the_reference_files_are_right(run):
    """The files that ship load, and all that they say is in force."""
    from governor.data import data_file

    said = run("policy", "check", str(data_file("policies")), "--json")
    assert said.code == 0
    assert said.json["departments"] == ["engineering", "legal", "support"]
    assert [notice for notice in said.json["notices"] if "not in force" in notice["text"]] == []


def test_a_limit_the_organisation_makes_unreachable_is_said(run, policies):
    """A department's limit above the organisation's is no error, but is remarked on."""
    file = policies / "engineering.yaml"
    file.write_text(file.read_text().replace("usd: 1,", "usd: 101,"))
    said = run("policy", "check", str(policies))
    assert said.code == 0
    assert "engineering.yaml:5:" in said.out
    assert "above the organisation's" in said.out


@pytest.mark.parametrize(
    ("old", "new", "place", "hint"),
    [
        ("window: month", "windw: month", "engineering.yaml:5:31", "did you mean 'window'?"),
        ("usd: 1,", "usd: -1,", "engineering.yaml:5:28", "above zero"),
        ("budgets:", "budgets: [", "engineering.yaml:", ""),
        (
            "claude-opus-5-5",
            "claude-opus-9",
            "engineering.yaml:12:",
            "correct its name, or add it to the price table",
        ),
    ],
)
def test_a_malformed_file(run, policies, old, new, place, hint):
    """Problems come as file:line:column: message (hint), with exit code 3; in JSON as an error."""
    file = policies / "engineering.yaml"
    file.write_text(file.read_text().replace(old, new, 1))
    said = run("policy", "check", str(policies), "--json")
    assert said.code == 3
    assert said.err.startswith(f"{policies}/{place}")
    assert hint in said.err
    problem = said.json["error"]["problems"][0]
    assert f"{problem['file']}:{problem['line']}:{problem['column']}:" in said.err


def test_the_path_may_come_from_the_environment(run, policies, monkeypatch):
    """Without an argument, GOVERNOR_POLICIES names the folder."""
    monkeypatch.setenv("GOVERNOR_POLICIES", str(policies))
    assert run("policy", "check").code == 0
    monkeypatch.setenv("GOVERNOR_POLICIES", str(policies / "none"))
    assert run("policy", "check").code == 3
