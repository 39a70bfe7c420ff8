"""`runaway.max_usd` is a budget of each run's whole life."""

from __future__ import annotations

import pytest

from governor.errors import PolicyError
from governor.money import Money
from governor.policy import Attribution, load

USD = 1_000_000_000


def terms(tmp_path, budgets, runaway, *, shared="", run="pr-7", more=""):
    """The usd budgets of a run by identity: limit and where it is written."""
    lines = "routing: {lines: {haiku: claude-haiku-5-5, sonnet: claude-sonnet-5-5}}"
    text = f"version: 1\ndepartment: research\nbudgets: {budgets}\n{lines}\n{runaway}\n{more}\n"
    (tmp_path / "research.yaml").write_text(text, encoding="utf-8")
    if shared:
        (tmp_path / "organization.yaml").write_text(
            f"version: 1\norganization: acme\n{shared}\n", encoding="utf-8"
        )
    found = load(tmp_path).budgets(Attribution("research", "ada", run=run), ["claude-haiku-5-5"])
    assert len({term.identity for term in found}) == len(found)
    return {term.identity: (term.limit, term.source.rpartition(":")[2]) for term in found}


TEAM = "[{per: department, usd: 100, window: month}]"
OWN = "department=research/run=pr-7/usd/life"


def test_it_adds_a_budget_where_there_is_none(tmp_path):
    """Of the run, for life, from the line it stands on; a request without a run has none."""
    found = terms(tmp_path, TEAM, "runaway: {max_usd: 20}")
    assert found[OWN] == (20 * USD, "5")
    assert OWN not in terms(tmp_path, TEAM, "runaway: {max_usd: 20}", run=None)
    assert OWN not in terms(tmp_path, TEAM, "")


@pytest.mark.parametrize(("own", "most", "limit"), [("5", "20", 5), ("50", "20", 20), ("20", "20", 20)])
def test_where_there_is_one_the_lower_limit_holds(tmp_path, own, most, limit):
    """One balance with one limit, whichever of the two is written lower; others of runs stay."""
    budgets = f"[{{per: run, usd: {own}}}, {{per: run, requests: 9}}, {{per: run, usd: 99, window: day}}]"
    found = terms(tmp_path, budgets, f"runaway: {{max_usd: {most}}}")
    assert found[OWN][0] == limit * USD
    assert found["department=research/run=pr-7/requests/life"][0] == 9
    assert found["department=research/run=pr-7/usd/day"][0] == 99 * USD


def test_the_organisations_holds_across_departments(tmp_path):
    """Each file's is a budget of its own."""
    found = terms(tmp_path, TEAM, "runaway: {max_usd: 20}", shared="runaway: {max_usd: '7.50'}")
    assert found["org/run=pr-7/usd/life"][0] == Money.from_dollars("7.50").nanos
    assert found[OWN][0] == 20 * USD


@pytest.mark.parametrize("wrong", ["0", "-1", "lots", "{}", "9000001"])
def test_what_is_no_amount_is_refused_with_its_place(tmp_path, wrong):
    """File, line and key."""
    with pytest.raises(PolicyError, match=r"research\.yaml:5:\d+: runaway"):
        terms(tmp_path, TEAM, f"runaway: {{max_usd: {wrong}}}")


def test_a_file_without_it_keeps_its_hash(tmp_path):
    """Records of earlier releases name the same policies."""
    terms(tmp_path, TEAM, "")
    before = load(tmp_path).hash
    terms(tmp_path, TEAM, "runaway: {max_usd: 20}")
    assert load(tmp_path).hash != before
