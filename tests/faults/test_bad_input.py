"""Bad input is answered with what is wrong, where, and what to do; and nothing is lost or changed by it."""

from __future__ import annotations

import pytest
from support.governed import department
from support.stages import on_sqlite, once

from governor import BudgetExceeded, Governor, GovernorError, PolicyError, PolicyViolation
from governor.ledger import commands as c

TEAM = {"per": "department", "usd": "1", "window": "life"}
USD = "department=team/usd/life"


def written(folder, name, text):
    """A file of the policies folder."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def unchanged(stage):
    """Nothing was held, posted, journalled or sent."""
    assert stage.balances() == {}
    assert stage.holds() == ()
    assert stage.journal("reserve") == []
    assert stage.sent() == []


@once
def test_no_policies_folder(stage):
    """A folder that is not there is named, with what to do; no ledger is made."""
    with pytest.raises(
        PolicyError, match=r"policies: no such file or folder \(make it, or correct the path\)"
    ):
        Governor.load(stage.policies, ledger=stage.url)
    assert not (stage.folder / "governor.db").exists()


@once
def test_an_empty_policies_folder(stage):
    """A folder without a policy file is named, with what belongs there."""
    stage.policies.mkdir()
    with pytest.raises(
        PolicyError, match=r"policies: the folder holds no policy file \(add one named after a dep"
    ):
        Governor.load(stage.policies, ledger=stage.url)


@once
def test_two_files_for_one_department(stage):
    """A second file for a department is refused at its line, and the first one is named."""
    stage.write(department(TEAM))
    copy = (stage.policies / "team.yaml").read_text(encoding="utf-8")
    written(stage.policies, "zz-copy.yaml", copy)
    with pytest.raises(PolicyError) as refused:
        Governor.load(stage.policies, ledger=stage.url)
    (problem,) = refused.value.problems
    assert (problem.file.rpartition("/")[2], problem.line) == ("zz-copy.yaml", 3)
    assert problem.message == "a second file for the department 'team'"
    assert problem.hint.endswith("team.yaml; keep one")


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("usd: 0", "budgets[0].usd: 0 dollars: an amount must be above zero"),
        ("usd: -5", "budgets[0].usd: -5 dollars: an amount must be above zero"),
        ("usd: .nan", "'.nan' is not a number of dollars (write a plain number such as 1500 or 0.25)"),
        ("usd: nan", "'nan' is not a number of dollars (write a plain number such as 1500 or 0.25)"),
        ("usd: .inf", "'.inf' is not a number of dollars (write a plain number such as 1500 or 0.25)"),
        ("usd: 10000000", "more than the ledger can count (at most 9000000)"),
        ("usd: 0.00000000001", "finer than one nano-dollar"),
        ("requests: 0", "budgets[0].requests should be greater than 0, not 0"),
        ("concurrent: -1", "budgets[0].concurrent should be greater than 0, not -1"),
        ("tokens: 1.5", "budgets[0].tokens"),
    ],
)
@once
def test_limits_that_are_no_limits(stage, limit, message):
    """Zero, negative, NaN, infinite and too fine limits are refused with file, line and column."""
    text = f"version: 1\ndepartment: team\nbudgets:\n  - {{per: user, window: life, {limit}}}\n"
    written(stage.policies, "team.yaml", f"{text}routing: {{lines: {{haiku: claude-haiku-5-5}}}}\n")
    with pytest.raises(PolicyError) as refused:
        Governor.load(stage.policies, ledger=stage.url)
    (problem,) = refused.value.problems
    assert (problem.line, problem.column > 20) == (4, True)
    assert message in str(problem)


@once
def test_no_api_key(stage, monkeypatch):
    """A client without credentials is told which variable to set, and nothing is held."""
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(stage.folder))
    caller = stage.governor(department(TEAM), client=None)
    with pytest.raises(GovernorError, match=r"no API key: set ANTHROPIC_API_KEY, or give .*client="):
        caller.call()
    unchanged(stage)


@on_sqlite
def test_a_request_larger_than_every_budget(stage):
    """A request that no budget could ever bear is refused at once with its size, though nothing is spent."""
    caller = stage.governor(
        department({**TEAM, "usd": "0.00001"}, routing={"when_contended": {"max_wait": 600}})
    )
    with pytest.raises(BudgetExceeded) as refused:
        caller.call()
    text = str(refused.value)
    assert text.startswith(
        f"{USD}: $0.00 spent, $0.00 held of $0.00001 (0 %); claude-haiku-5-5 needs up to $0.0000583"
    )
    assert "max_tokens=3 would pass" in text
    assert stage.balances() == {}
    assert stage.sent() == []


@on_sqlite
def test_a_missing_max_tokens(stage):
    """Without `max_tokens` the cost has no bound: refused with both ways to give one."""
    caller = stage.governor(department(TEAM))
    with pytest.raises(
        PolicyViolation, match="max_tokens is missing: give it, or write a `max_tokens` for the feature"
    ):
        caller.call(max_tokens=None)
    unchanged(stage)


@on_sqlite
def test_a_refusal_is_in_the_journal(stage):
    """A request refused by a budget leaves one record with its numbers, and changes no balance."""
    caller = stage.governor(department({**TEAM, "usd": "0.00001"}))
    with pytest.raises(BudgetExceeded):
        caller.call(request_id="too-big")
    (entry,) = stage.ledger.execute(c.ReadJournal(id="too-big"))
    assert (entry.kind, entry.outcome) == ("reserve", "exhausted")
    assert stage.balances() == {}
