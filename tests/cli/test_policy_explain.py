"""`governor policy explain`: one decision, candidate by candidate, budget by budget."""

from __future__ import annotations

import json

import pytest

ADA = ["--user", "ada@example.com", "-d", "engineering"]
MONTH = "department=engineering/usd/month"
LIFE = "department=engineering/user=ada@example.com/usd/life"


@pytest.fixture
def explain(run, policies):
    """Explain a request of ada's under the firm's policies."""
    return lambda *more: run("policy", "explain", str(policies), *ADA, *more)


def test_every_candidate_and_every_budget_is_told(explain):
    """What each model needs of each budget, how far it may fill it, and which budget refuses it."""
    said = explain("--spent", "department/month=80%", "--at", "2026-11-03T10:00")
    assert said.code == 0
    assert "Downgraded: claude-sonnet-5-5" in said.out
    assert "at         2026-11-03 10:00:00 Europe/Berlin" in said.out
    assert "1. claude-opus-5-5 (the standard tier's line), up to $0.024736: exhausted" in said.out
    assert "3. claude-haiku-5-5 (a step down), up to $0.0006184: not tried (it would fit)" in said.out
    (row, *_) = [line for line in said.out.splitlines() if line.strip().startswith(MONTH)]
    assert row.split("  ", 1)[1].split() == (
        f"{MONTH} $1.00 $0.80 $0.00 $0.024736 $0.80 (80 %) exhausted, binds".split()
    )


def test_as_json(explain):
    """Amounts are integers, and every number that decides is there."""
    said = explain("--spent", "department/month=0.8", "--json").json
    assert (said["decision"], said["line"], said["binding"]) == ("downgraded", "sonnet", MONTH)
    opus, sonnet, haiku = said["candidates"]
    assert [each["verdict"] for each in said["candidates"]] == ["exhausted", "fits", "not tried"]
    (need,) = [need for need in opus["needs"] if need["binds"]]
    assert need == {
        "identity": MONTH,
        "amount": 24_736_000,
        "mark_bp": 8000,
        "top": 800_000_000,
        "share_bp": 10_000,
        "rule": "80 %",
        "verdict": "exhausted",
        "would": None,
        "binds": True,
    }
    assert (sonnet["would"], haiku["would"]) == ("fits", "fits")
    assert {budget["identity"]: budget["posted"] for budget in said["budgets"]}[MONTH] == 800_000_000


def test_a_refusal_says_what_a_caller_is_told(explain):
    """Exit code 4, the error's own words, and what would pass instead."""
    said = explain("--spent", "user/life=0.4995", "--max-tokens", "2000", "--model", "haiku", "--json")
    assert said.code == 4
    told = said.json
    assert (told["decision"], told["outcome"], told["binding"]) == ("refused", "exhausted", LIFE)
    assert told["affordable_max_tokens"] == 787
    assert "max_tokens=787 would pass" in told["refused"]
    said = explain("--spent", "user/life=100%", "--pin", "--model", "opus")
    assert (said.code, "Refused: exhausted" in said.out) == (4, True)


def test_a_pinned_model_is_told_of_the_one_that_would_pass(explain):
    """A pinned opus beyond its mark is refused, and the cheapest model that passes is named."""
    said = explain("--spent", "department/month=80%", "--pin", "--model", "opus", "--json")
    assert (said.code, said.json["cheapest_model"]) == (4, "claude-haiku-5-5")


def test_held_money_is_waited_for(explain):
    """What calls in flight hold makes a contended refusal, after the wait that the policy allows."""
    said = explain("--held", "department/month=100%")
    assert said.code == 4
    assert "Refused: contended" in said.out
    assert "after 2 s at most of waiting" in said.out
    assert explain("--held", "department/month=100%", "--json").json["wait_s"] == 2.0


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--feature", "review", "--max-tokens", "1"], None),
        (["--model", "claude-opus-9"], "claude-opus-9"),
        (["-d", "enginering"], "did you mean 'engineering'?"),
        (["--tag", "Not a name=1"], "cannot be a tag's name"),
    ],
)
def test_what_the_policy_forbids_whatever_the_balances(explain, more, told):
    """An unknown department, model or tag is a refusal like any other, in the words of a real one."""
    said = explain(*more)
    assert said.code == (0 if told is None else 4)
    assert told is None or told in said.out


@pytest.mark.parametrize(
    ("more", "hint"),
    [
        (["--spent", "departmnt/month=5"], "did you mean 'department/month'?"),
        (["--spent", "department/month=x"], "write for example 1500, 0.25 or 85%"),
        (["--spent", "department/month"], "is not NAME=VALUE"),
        (["--spent", "org=1", "--spent", "org/month=1"], "is given already"),
        (["--spent", "org=1", "--spent", "org=2"], "twice"),
        (["--spent", "run=5"], "known: department/month, org/month, user, user/requests/life"),
        (["--at", "noon"], "is no ISO date"),
        (["--at", "0001-01-01"], "too far away"),
        (["--tag", "project"], "write for example --tag project=atlas"),
        (["--request", "/no/such/file"], "cannot be read as JSON"),
    ],
)
def test_what_cannot_be_meant(explain, more, hint):
    """A budget that the request does not touch, and other slips: exit code 2, and what to write."""
    said = explain(*more)
    assert (said.code, hint in said.err) == (2, True), said.err


def test_the_department_may_be_left_out_where_there_is_one(run, policies):
    """With one policy file, it is that file's; with several, they are named."""
    said = run("policy", "explain", str(policies), "--user", "ada@example.com")
    assert (said.code, "add --department: engineering, legal" in said.err) == (2, True)
    said = run("policy", "explain", str(policies / "legal.yaml"), "--user", "ada@example.com")
    assert (said.code, "department legal" in said.out) == (0, True)


def test_who_the_application_would_tell_of(run, tmp_path):
    """Where users come from the application, --user-tier says whose budgets hold; without it, nobody's."""
    (tmp_path / "research.yaml").write_text(
        "version: 1\ndepartment: research\nusers_from: application\n"
        "budgets: [{per: user, user_tier: gold, usd: 40, window: month}]\n"
        "routing: {lines: {haiku: claude-haiku-5-5}}\n",
        encoding="utf-8",
    )
    asked = ["policy", "explain", str(tmp_path), "--user", "eve", "--json"]
    told = run(*asked, "--user-tier", "gold", "--priority", "urgent").json
    assert [budget["identity"] for budget in told["budgets"]] == ["department=research/user=eve/usd/month"]
    assert told["request"]["priority"] == "urgent"
    said = run(*asked)
    assert (said.code, "unknown user 'eve'" in said.json["refused"]) == (4, True)


def test_a_request_from_a_file(explain, tmp_path):
    """A body of `messages.create` says model, max_tokens and the prompt, which is bounded, not counted."""
    body = {"model": "sonnet", "max_tokens": 50, "messages": [{"role": "user", "content": "x" * 4000}]}
    file = tmp_path / "request.json"
    file.write_text(json.dumps({**body, "stream": True}), encoding="utf-8")
    said = explain("--request", str(file), "--json").json
    asked = said["request"]
    assert (asked["model"], asked["max_tokens"], said["line"]) == ("sonnet", 50, "sonnet")
    assert asked["input_tokens"] >= 4000
    assert "(local bound)" in explain("--request", str(file)).out
    assert explain("--request", str(file), "--model", "haiku", "--json").json["line"] == "haiku"
    file.write_text("[]", encoding="utf-8")
    assert explain("--request", str(file)).code == 2
    file.write_text("{}", encoding="utf-8")
    said = explain("--request", str(file))
    assert (said.code, "messages is missing" in said.err) == (4, True)


def test_balances_of_a_ledger(run, firm):
    """What an application spent is what is explained, read and not touched; --spent goes over it."""
    listed = run("budget", "list", "--json", *firm.options).json["budgets"]
    spent = {budget["identity"]: budget["posted"] for budget in listed}
    asked = ["policy", "explain", str(firm.policies), *ADA, "--ledger", firm.ledger, "--json"]
    told = {budget["identity"]: budget["posted"] for budget in run(*asked).json["budgets"]}
    assert told == {identity: spent[identity] for identity in told}
    assert (told[MONTH] > 0, told[LIFE] > 0) == (True, True)
    again = run(*asked, "--spent", "department/month=0").json["budgets"]
    assert {budget["identity"]: budget["posted"] for budget in again} == {**told, MONTH: 0}


def test_a_ledger_that_is_not_there(run, policies, tmp_path):
    """A missing ledger is a failure, and none is made."""
    url = f"sqlite:///{tmp_path}/none.db"
    said = run("policy", "explain", str(policies), *ADA, "--ledger", url)
    assert (said.code, "holds no ledger" in said.err) == (1, True)
    assert not (tmp_path / "none.db").exists()
