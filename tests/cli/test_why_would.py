"""`governor why`: what would have changed the answer, and that the governor then answers so."""

from __future__ import annotations

import re

import pytest

from governor import BudgetExceeded, Governor
from governor.testing import FakeClaude, Reply

TEAM = "department=engineering/usd/month"
ADA = "department=engineering/user=ada@example.com/usd/life"
BIG = {"max_tokens": 30_000, "model": "opus"}


@pytest.fixture
def used(policies, tmp_path):
    """A governor whose ada has spent $0.19 of $0.50, 80 % of which opus may fill; and the options to look."""
    ledger = f"sqlite:///{tmp_path}/governor.db"
    with FakeClaude() as api:
        api.replies(lambda _: Reply(output_tokens=9500))
        with Governor.load(policies, ledger=ledger, client=api.client()) as governor:
            call(governor, max_tokens=15_000)
            yield governor, ["--policies", str(policies), "--ledger", ledger]


ASKED = {
    "user": "ada@example.com",
    "department": "engineering",
    "messages": [{"role": "user", "content": "Why?"}],
}


def call(governor, **request):
    """One call, by ada of engineering unless it says otherwise."""
    return governor.call(**{**ASKED, **request})


def decided(governor, **request):
    """What would be decided of such a call."""
    return governor.decide(**{**ASKED, **request})


def refused(governor, **request):
    """The error of a call that is refused."""
    with pytest.raises(BudgetExceeded) as error:
        call(governor, **{"request_id": "refused", "pin": True, **BIG, **request})
    return error.value


def would_have(run, options, identifier):
    """What the command says in JSON of the models refused."""
    return run("why", identifier, *options, "--json").json["decisions"][-1]["would_have"]


def test_a_smaller_max_tokens(run, used):
    """It is the one that the refusal named: with it the call passes, and with one more it does not."""
    governor, options = used
    error = refused(governor)
    (would,) = would_have(run, options, "refused")
    assert would["max_tokens"] == error.affordable_max_tokens
    for more, outcome in ((0, "held"), (1, "exhausted")):
        smaller = {"max_tokens": would["max_tokens"] + more}
        assert decided(governor, pin=True, **{**BIG, **smaller}).outcome == outcome
    assert f"with a max_tokens of {would['max_tokens']:,}" in run("why", "refused", *options).out


def test_a_grant_of_as_much(run, used):
    """With a grant of all but the last nano-dollar the call is refused again; with that too it is not."""
    governor, options = used
    refused(governor)
    (would,) = would_have(run, options, "refused")
    (limit,) = would["limits"]
    extra = limit["extra"]
    assert (limit["identity"], limit["limit"]) == (ADA, extra + 500_000_000)
    for nanos, outcome in ((extra - 1, "exhausted"), (1, "held")):
        amount = f"0.{nanos:09d}"
        assert run("budget", "grant", ADA, amount, "--reason", "x", *options).code == 0
        assert decided(governor, **BIG, pin=True).outcome == outcome
    said = run("why", "refused", *options).out
    assert re.search(
        rf"claude-opus-5-5 would have served\n +with \$[0-9.]+ more for {ADA} \(a limit of", said
    )
    assert "pinned: no cheaper line was tried" in said


def test_a_step_down_tells_what_the_better_model_lacked(run, used):
    """Of a served call each better model is told of; the one that served, and those below it, are not."""
    governor, options = used
    call(governor, request_id="down", max_tokens=12_000, model="opus")
    (would,) = would_have(run, options, "down")
    assert would["model"] == "claude-opus-5-5"
    said = run("why", "down", *options).out
    assert said.index("Held") < said.index("claude-opus-5-5 would have served") < said.index("Settled")


def test_a_frozen_budget(run, used):
    """A budget that was frozen is named with what else was missing; no waiting and no fewer tokens help."""
    governor, options = used
    assert run("budget", "freeze", TEAM, "--reason", "a test", "--yes", *options).code == 0
    refused(governor, max_tokens=1000)
    (would,) = would_have(run, options, "refused")
    told = {name: would[name] for name in ("limits", "unfreeze", "max_tokens", "when_settled", "reopens_at")}
    assert told == {
        "limits": [],
        "unfreeze": [TEAM],
        "max_tokens": None,
        "when_settled": False,
        "reopens_at": None,
    }
    assert f"with {TEAM} not frozen" in run("why", "refused", *options).out


def test_when_the_window_ends(run, used):
    """A budget of the month opens again when the month is over; one for life never does."""
    governor, options = used
    refused(governor)
    assert would_have(run, options, "refused")[0]["reopens_at"] is None
    for user in ("ben", "cem", "dan"):
        call(governor, user=user, max_tokens=10_000)
    refused(governor, user="eve", request_id="eve", max_tokens=10_000)
    (would,) = would_have(run, options, "eve")
    assert [limit["identity"] for limit in would["limits"]] == [TEAM]
    budgets = run("budget", "list", *options, "--json").json["budgets"]
    assert would["reopens_at"] == next(one["resets_at"] for one in budgets if one["identity"] == TEAM)
    opens = would["reopens_at"][:16].replace("T", " ")
    assert f"or from {opens} UTC on" in run("why", "eve", *options).out


def test_a_first_choice_that_served_needs_no_change(run, firm):
    """Where the first candidate fitted nothing is told of."""
    assert would_have(run, firm.options, "first") == []
    assert "would have" not in run("why", "first", *firm.options).out


def test_the_version_of_the_policies(run, firm):
    """The hash that decided, the files of its budgets, and what is in force now."""
    files = [str(firm.policies / name) for name in ("organization.yaml", "engineering.yaml")]
    (decision,) = run("why", "first", *firm.options, "--json").json["decisions"]
    decided_by = decision["policy"]
    assert decided_by["files"] == files
    assert decided_by["hash"] == decided_by["in_force"] == decision["request"]["policy"]
    said = run("why", "first", *firm.options).out
    assert f"policy {decided_by['hash']} (in force still)" in said
    assert f"files      {', '.join(files)}" in said
    file = firm.policies / "engineering.yaml"
    file.write_text(file.read_text().replace("usd: 0.5", "usd: 0.6"))
    now = run("policy", "check", str(firm.policies), "--json").json["policy"]
    assert f"policy {decided_by['hash']} ({now} is in force now)" in run("why", "first", *firm.options).out


def test_what_a_policy_in_shadow_would_have_done(run, policies, tmp_path):
    """The story says what would have come of the call, and how urgent it was said to be."""
    file, options = policies / "engineering.yaml", ["--policies", str(policies)]
    options += ["--ledger", f"sqlite:///{tmp_path}/governor.db"]
    file.write_text(file.read_text() + "mode: shadow\nusers: {eve: {}}\n")
    with FakeClaude() as api, Governor.load(policies, ledger=options[-1], client=api.client()) as governor:
        call(governor, request_id="stranger", max_tokens=10, priority="urgent")
        call(governor, request_id="known", max_tokens=10, user="eve")
    told = run("why", "stranger", *options).out
    assert "who        ada@example.com, department engineering, priority urgent\n" in told
    assert "  in shadow  and if it were enforced it would have said: refused: unknown user" in told
    same = run("why", "known", *options).out
    assert "  in shadow  and if it were enforced it would have done the same\n" in same
