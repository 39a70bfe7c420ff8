"""The pytest plugin in a project of its own: its fixtures, and that it is free for those without."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest_plugins = "pytester"

POLICY = """
version: 1
department: research
budgets:
  - {per: run, usd: 0.10}
  - {per: user, usd: 1, window: day}
thresholds:
  80%: {downgrade: haiku}
  100%: block
routing:
  lines: {haiku: claude-haiku-5-5, sonnet: claude-sonnet-5-5}
  default: sonnet
"""
HEAD = f'''
import asyncio
import pytest
import governor
from governor.testing import *

POLICY = """{POLICY}"""
WHO = {{"user": "ada", "department": "research", "max_tokens": 100}}
HELLO = {{"messages": [{{"role": "user", "content": "Hello"}}]}}
'''


@pytest.fixture
def project(pytester, monkeypatch):
    """Runs test functions in a project that has nothing but them; returns pytest's result."""
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "GOVERNOR_POLICIES", "GOVERNOR_LEDGER"):
        monkeypatch.delenv(name, raising=False)

    def run(body: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(HEAD + body)
        return pytester.runpytest_inprocess("-q", "-p", "no:cacheprovider", "-W", "error", *arguments)

    return run


def test_a_governor_is_made_from_a_text(project, pytester):
    """Key, server, ledger and configuration are the fixture's; nothing is left in the project."""
    said = project("""
def test_policy(make_governor, fake_claude):
    gov = make_governor(POLICY)
    message = gov.call(**WHO, **HELLO, run="r1")
    assert_not_downgraded(message)
    assert_spent(gov, nanos=fake_claude.billed_nanos, run="r1")
""")
    said.assert_outcomes(passed=1)
    assert [path.suffix for path in pytester.path.iterdir() if path.name != "__pycache__"] == [".py"]


def test_each_test_has_a_ledger_of_its_own_and_one_only(project):
    """Two governors of one test share it, another test begins with nothing."""
    project("""
@pytest.mark.parametrize("turn", [1, 2, 3])
def test_alone(make_governor, memory_ledger, turn):
    first, second = make_governor(POLICY), make_governor(POLICY)
    assert_spent(first, 0, user="ada")
    costs = [gov.call(**WHO, **HELLO).receipt.cost for gov in (first, second)]
    for gov in (first, second):
        assert_spent(gov, costs[0] + costs[1], user="ada")
    first.close()
    assert_spent(make_governor(POLICY), costs[0] + costs[1], user="ada")
""").assert_outcomes(passed=3)


def test_an_async_governor_shares_api_ledger_and_clock(project):
    """On a loop of the test's own, beside a blocking one; moving the clock reopens the day for both."""
    project("""
def test_twins(make_governor, make_async_governor, fake_claude, frozen_clock):
    gov = make_governor(POLICY)
    async def scene():
        async with make_async_governor(POLICY) as twin:
            await twin.call(**WHO, **HELLO)
            assert_spent(twin, nanos=fake_claude.billed_nanos, user="ada")
    asyncio.run(scene())
    assert_spent(gov, nanos=fake_claude.billed_nanos, user="ada")
    frozen_clock.tick(days=1)
    assert_spent(gov, 0, user="ada")
""").assert_outcomes(passed=1)


def test_policies_come_from_folders_files_and_texts_by_name(project, pytester):
    """Where they are left out, from the folder `policies` of the project."""
    folder = pytester.mkdir("policies")
    (folder / "research.yaml").write_text(POLICY, encoding="utf-8")
    project("""
from pathlib import Path
@pytest.mark.parametrize("source", [None, "policies", Path("policies"), "policies/research.yaml",
    {"research.yaml": POLICY, "organization.yaml": "version: 1\\norganization: acme"}])
def test_source(make_governor, source):
    assert make_governor(source).policies.departments == ("research",)
""").assert_outcomes(passed=5)


def test_mistakes_are_told(project):
    """A name that is no policy file's, and a text with a mistake, with its line."""
    project("""
def test_name(make_governor):
    for name in ("legal", "../legal.yaml", ".legal.yaml", "legal.tests.yaml"):
        with pytest.raises(ValueError, match="no policy file's name"):
            make_governor({name: POLICY})
def test_text(make_governor):
    with pytest.raises(governor.PolicyError, match=r"policy\\.yaml:5"):
        make_governor(POLICY.replace("{per: run", "{par: run"))
""").assert_outcomes(passed=2)


def test_options_go_to_the_governor(project):
    """They may take the place of the fixture's: another ledger, another clock, a client of one's own."""
    project("""
def test_options(make_governor, fake_claude, tmp_path):
    told = []
    clock = FrozenClock()
    client = fake_claude.client(default_headers={"x-fake-tag": "mine"})
    gov = make_governor(POLICY, on_event=told.append, ledger=f"sqlite:///{tmp_path}/g.db", clock=clock,
                        client=client)
    fake_claude.replies(output_tokens=1000)
    with pytest.raises(governor.BudgetExceeded):
        while True:
            gov.call(**{**WHO, "max_tokens": 1000}, **HELLO, run="r1")
    assert [event.percent for event in told][:1] == [80]
    assert (tmp_path / "g.db").exists()
    assert fake_claude.bill[0].tag == "mine"
""").assert_outcomes(passed=1)


def test_an_async_client_that_is_given_is_its_givers(project):
    """It goes on after the governor that used it."""
    project("""
def test_client(make_async_governor, fake_claude):
    async def scene():
        async with fake_claude.async_client(default_headers={"x-fake-tag": "mine"}) as client:
            for turn in (1, 2):
                async with make_async_governor(POLICY, client=client) as gov:
                    await gov.call(**WHO, **HELLO)
            assert not client.is_closed()
    asyncio.run(scene())
    assert [line.tag for line in fake_claude.bill] == ["mine", "mine"]
""").assert_outcomes(passed=1)


def test_a_clock_of_the_projects_own_goes_for_all(project):
    """A fixture `frozen_clock` in its conftest takes the plugin's place."""
    project("""
from datetime import UTC, datetime
@pytest.fixture
def frozen_clock():
    return FrozenClock(datetime(2026, 12, 31, 23, 59, tzinfo=UTC))
def test_clock(make_governor, fake_claude, frozen_clock):
    gov = make_governor(POLICY)
    gov.call(**WHO, **HELLO)
    assert fake_claude.bill[0].at_ms == frozen_clock()
    decision = gov.decide(**WHO, **HELLO)
    assert {budget.window for budget in decision.budgets} == {"2026-12-31"}
""").assert_outcomes(passed=1)


def test_a_failure_points_at_the_line_of_the_test(project):
    """The assertion's own frames are hidden; its message stands in the report."""
    said = project("""
def test_wrong(make_governor):
    gov = make_governor(POLICY)
    gov.call(**WHO, **HELLO)
    assert_spent(gov, "0.5", user="ada")
""")
    said.assert_outcomes(failed=1)
    said.stdout.fnmatch_lines(["E  *department=research/user=ada/usd/day has spent $0.00*, not $0.50"])
    said.stdout.no_fnmatch_line("*asserts.py*")


def test_the_plugin_is_free_for_those_who_do_not_use_it():
    """A run without its fixtures loads nothing of the governor but the empty fronts of two packages."""
    code = (
        "import json, sys, pytest; before = set(sys.modules); import governor.testing.plugin; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    shown = subprocess.check_output([sys.executable, "-c", code], text=True)
    mine = [name for name in json.loads(shown) if name.startswith("governor")]
    assert mine == ["governor", "governor.testing", "governor.testing.plugin"]
    known = set(json.loads(shown))
    assert not {"anthropic", "pydantic", "h11", "ruamel.yaml", "sqlite3", "redis", "asyncio"} & known


def test_names_are_loaded_one_by_one():
    """The clock alone loads neither the SDK nor a store; every name of the front is there."""
    code = (
        "import json, sys; from governor.testing import FrozenClock; known = sorted(sys.modules); "
        "import governor.testing as t; all(getattr(t, name) for name in t.__all__); print(json.dumps(known))"
    )
    known = set(json.loads(subprocess.check_output([sys.executable, "-c", code], text=True)))
    assert not {"anthropic", "pydantic", "h11", "ruamel.yaml", "sqlite3", "redis", "pytest"} & known
    with pytest.raises(ImportError, match="asert_spent"):
        from governor.testing import asert_spent  # noqa: F401
