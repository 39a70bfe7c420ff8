"""`governor budget grant`, `revoke`, `freeze` and `unfreeze`: what is undone, listed, and refused."""

from __future__ import annotations

import json
import re

import pytest

from governor.ledger import commands as c
from governor.ledger import open_ledger
from governor.policy import load

TEAM = "department=engineering/usd/month"
ADA = "department=engineering/user=ada@example.com/usd/life"
NEW = "department=engineering/user=grace@example.com/usd/life"


@pytest.fixture
def change(run, firm):
    """Run `governor budget` on the firm with a reason, as JSON; the answer must be 0."""

    def invoke(verb, *arguments):
        said = run("budget", verb, *arguments, "--reason", "a test", *firm.options, "--json")
        assert said.code == 0, said.err
        return said.json

    return invoke


@pytest.fixture
def shown(run, firm):
    """One budget, as `show --json` has it."""
    return lambda identity: run("budget", "show", identity, *firm.options, "--json").json


def listed(run, firm, *options):
    """The budgets of a `list --json`, by identity."""
    said = run("budget", "list", *firm.options, *options, "--json")
    assert said.code == 0, said.err
    return {row["identity"]: row for row in said.json["budgets"]}


def test_a_grant_is_taken_back_by_the_id_it_was_given(run, firm, change, shown):
    """What it added is gone, other grants stay, nothing spent is lost, and the journal says who and why."""
    spent = shown(TEAM)["posted"]
    said = run("budget", "grant", TEAM, "5000", "--reason", "a typo", *firm.options)
    (advice,) = (line for line in said.out.splitlines() if "to take it back: " in line)
    change("grant", TEAM, "5")
    assert f": a typo ({advice.split()[-1]})" in run("budget", "show", TEAM, *firm.options).out
    back = ["revoke", advice.split()[-1], "--reason", "meant 5", "--actor", "grace"]
    said = run("budget", *back, *firm.options)
    assert "took back the grant of $5,000.00" in said.out
    assert "limit $5,006.00 → $6.00 (the file's $1.00 and $5.00 granted)" in said.out
    after = shown(TEAM)
    assert (after["limit"], after["granted"], after["posted"]) == (6 * 10**9, 5 * 10**9, spent)
    told = [(entry["kind"], entry["amount"], entry["actor"]) for entry in after["changes"]]
    assert told[-1] == ("grant", -5000 * 10**9, "grace")
    assert "took back the grant of $5,000.00 by grace" in run("budget", "show", TEAM, *firm.options).out


def test_a_grant_is_taken_back_once(run, firm, change, shown):
    """Asked again, it says so and journals nothing; what took it back cannot be taken back itself."""
    made = change("grant", TEAM, "5")["operation"]
    back = change("revoke", made)["operation"]
    again = change("revoke", made)
    assert (again["operation"], again["done"]) == (None, "the grant of $5.00 was taken back before")
    assert (shown(TEAM)["limit"], len(shown(TEAM)["changes"])) == (10**9, 2)
    said = run("budget", "revoke", back, "--reason", "x", *firm.options)
    assert (said.code, "grant it again" in said.err) == (2, True)


def test_a_grant_between_instants_ends_when_it_is_taken_back(change, shown):
    """In force or still to come: nothing of it is left in the limit, nor announced."""
    now = change("grant", TEAM, "5", "--until", "2999-01-01")["operation"]
    later = change("grant", TEAM, "7", "--from", "2998-01-01", "--until", "2999-01-01")["operation"]
    before = shown(TEAM)
    assert (before["limit"], len(before["coming"])) == (6 * 10**9, 1)
    for made in (now, later):
        change("revoke", made)
    after = shown(TEAM)
    assert (after["limit"], after["granted"], after["coming"]) == (10**9, 0, [])


def test_what_is_no_grant_cannot_be_taken_back(run, firm, change):
    """Neither an id that nobody has seen nor a freeze's is one; the answer says where grants are listed."""
    frozen = change("freeze", TEAM, "--yes")["operation"]
    for typed in (frozen, "01KAH7Q0M8"):
        said = run("budget", "revoke", typed, "--reason", "x", *firm.options, "--json")
        assert said.code == 2
        assert f"no grant has the id {typed!r}: `governor budget show" in said.json["error"]["message"]


@pytest.mark.parametrize(
    "made", [["grant", NEW, "5"], ["set", NEW, "5", "--yes"], ["freeze", NEW, "--yes"]], ids=lambda m: m[0]
)
def test_a_changed_budget_is_listed_before_it_is_used(run, firm, change, made):
    """A grant, a limit or a freeze put on a user nobody has heard of yet stands in the list, and is found."""
    assert NEW not in listed(run, firm)
    change(*made)
    row = listed(run, firm)[NEW]
    assert (row["limit"], row["frozen"]) == {
        "grant": (5_500_000_000, None),
        "set": (5_000_000_000, None),
        "freeze": (500_000_000, "a test"),
    }[made[0]]
    assert NEW in listed(run, firm, "--user", "grace@example.com")
    assert NEW not in listed(run, firm, "--user", "ada@example.com")


def test_several_budgets_are_unfrozen_at_once(run, firm, change, shown):
    """Each is told for itself; where one is no budget, none is touched."""
    for identity in (TEAM, ADA, NEW):
        change("freeze", identity, "--yes")
    typo = run("budget", "unfreeze", TEAM, "department=enginering/usd/month", *firm.options)
    assert (typo.code, shown(TEAM)["frozen"]) == (2, "a test")
    told = change("unfreeze", TEAM, ADA, NEW)["changes"]
    assert [(one["done"], one["budget"]["identity"]) for one in told] == [
        ("unfrozen", identity) for identity in (TEAM, ADA, NEW)
    ]
    assert [shown(identity)["frozen"] for identity in (TEAM, ADA, NEW)] == [None] * 3


def test_unfreezing_what_is_not_frozen_changes_nothing(change, shown):
    """It is said, and the journal has no record of it."""
    (told,) = change("unfreeze", TEAM)["changes"]
    assert (told["operation"], told["done"]) == (None, "was not frozen: nothing was changed")
    assert shown(TEAM)["changes"] == []


@pytest.fixture
def narrow(firm):
    """The firm once its files name features, users and models."""
    engineering = firm.policies / "engineering.yaml"
    more = "  - {per: feature, usd: 1, window: day}\n  - {per: [feature, model], usd: 1, window: day}\n"
    told = engineering.read_text().replace("budgets:\n", f"budgets:\n{more}")
    features = "features: {chat: {lines: [haiku]}, review: {max_tokens: 100}}\n"
    engineering.write_text(told + features + "users: {ada@example.com: {}}\n")
    organization = firm.policies / "organization.yaml"
    more = "  - {per: department, usd: 9, window: day}\n  - {per: [user, model], usd: 9, window: day}\n"
    more += "  - {per: feature, usd: 9, window: day}\n"
    organization.write_text(organization.read_text() + more)
    return firm


@pytest.mark.parametrize("verb", ["grant", "set", "freeze"])
@pytest.mark.parametrize(
    ("identity", "why"),
    [
        ("org/department=enginering/usd/day", "unknown department 'enginering'.*did you mean 'engineering'"),
        ("org/user=bob/model=opus/usd/day", "model 'opus' has no price"),
        ("org/user=bob/model=us.anthropic.claude-opus-5-5/usd/day", "write model=claude-opus-5-5"),
        ("department=engineering/feature=reviw/usd/day", "unknown feature 'reviw'.*did you mean 'review'"),
        (
            "department=engineering/feature=chat/model=claude-opus-5-5/usd/day",
            "'chat' may use haiku only, by .*engineering.yaml",
        ),
    ],
)
def test_what_no_request_can_touch_is_not_changed(run, narrow, verb, identity, why):
    """A department, feature or model that no request could have is refused with the reason."""
    amount = [] if verb == "freeze" else ["5"]
    said = run("budget", verb, identity, *amount, "--reason", "x", *narrow.options, "--json")
    assert said.code == 2
    message = said.json["error"]["message"]
    assert message.startswith(f"no request can touch {identity}: ")
    assert re.search(why, message, re.DOTALL)
    assert identity not in listed(run, narrow)


@pytest.mark.parametrize(
    "identity",
    [
        "org/user=anybody/model=claude-opus-5-5/usd/day",  # legal has no list of users
        "org/feature=anything/usd/day",  # nor one of features
        "department=engineering/feature=chat/model=claude-haiku-5-5/usd/day",
        "org/department=legal/usd/day",
    ],
)
def test_what_some_request_can_touch_is_changed(narrow, change, identity):
    """Users and features that one department lets through can be granted to before they are seen."""
    assert change("grant", identity, "5")["budget"]["identity"] == identity


@pytest.mark.parametrize("option", ["--reason", "--actor"])
@pytest.mark.parametrize("text", ["two\nlines", "\x1b[2Jgone", "half \udcff", "a\u2028b"])
def test_what_is_no_plain_line_is_refused(run, firm, shown, option, text):
    """A line break or an escape sequence would forge or hide what others read of the journal."""
    given = {"--reason": "why", "--actor": "me", option: text}
    options = [word for pair in given.items() for word in pair]
    said = run("budget", "grant", TEAM, "5", *options, *firm.options)
    assert said.code == 2
    assert f"{option} has the control character" in said.err
    assert "\x1b" not in said.err
    assert shown(TEAM)["changes"] == []


@pytest.mark.parametrize("verb", ["grant", "set"])
@pytest.mark.parametrize("amount", ["-5", "-$5", "-0.5", "-.5"])
def test_an_amount_below_zero_is_refused_as_such(run, firm, verb, amount):
    """It is no option: the answer says how a grant is taken back and how a budget is stopped."""
    said = run("budget", verb, TEAM, amount, "--reason", "x", *firm.options, "--json")
    assert (said.code, said.json["error"]["exit_code"]) == (2, 2)
    assert "an amount is above: to take a grant back, run `governor budget revoke" in said.err


def test_every_record_names_the_policies_in_force(firm, change, org):
    """Calls, refusals and changes alike: the journal says under which version of the files each was made."""
    made = change("grant", TEAM, "5")["operation"]
    change("set", TEAM, "7", "--yes")
    change("freeze", TEAM, "--yes")
    change("unfreeze", TEAM)
    change("revoke", made)
    change("request", TEAM, "9")
    ledger = open_ledger(firm.ledger, org)
    entries = ledger.execute(c.ReadJournal(limit=100))
    ledger.close()
    kinds = {entry.kind for entry in entries if entry.kind != "create"}
    assert kinds == {"reserve", "settle", "grant", "set", "freeze", "unfreeze", "request"}
    told = {json.loads(entry.record).get("policy") for entry in entries if entry.kind != "create"}
    assert told == {load(firm.policies).hash}
