"""`governor budget request`, `requests`, `approve` and `deny`: one asks, another answers, once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from governor.budgets import Period, window_at
from governor.cli import who
from governor.ids import new_id
from governor.ledger import commands as c
from governor.ledger import open_ledger
from governor.ledger.requests import OPEN_AT_MOST

TEAM = "department=engineering/usd/month"
CALLS = "department=engineering/user=ada@example.com/requests/life"
ADA = c.Person("Ada", "ada@laptop-7")


@pytest.fixture
def budget(run, firm):
    """Run `governor budget` on the firm as JSON; the answer must be 0."""

    def invoke(*arguments):
        said = run("budget", *arguments, *firm.options, "--json")
        assert said.code == 0, said.err
        return said.json

    return invoke


@pytest.fixture
def refused(run, firm):
    """Run `governor budget` on the firm; the exit code and the message it is refused with."""

    def invoke(*arguments):
        said = run("budget", *arguments, *firm.options, "--json")
        assert said.json["error"]["exit_code"] == said.code
        return said.code, said.json["error"]["message"]

    return invoke


@pytest.fixture
def colleague(firm, org):
    """Requests as somebody at another host made them; changed by what is given."""

    def ask(identity=TEAM, **other):
        ledger = open_ledger(firm.ledger, org)
        now_ms = ledger.execute(c.Read(())).now_ms
        window = window_at(Period.MONTH if "month" in identity else Period.LIFE, "Europe/Berlin", now_ms)
        asked = c.BudgetRequest(
            new_id(), identity, window.id, 5 * 10**9, ADA, "a launch", ends_ms=window.end_ms
        )
        ledger.execute(c.RequestGrant(replace(asked, **other)))
        ledger.close()
        return asked.id

    return ask


def ask(budget, *more, identity=TEAM, amount="5", actor="Ada"):
    """Ask for it here; the request as JSON."""
    return budget("request", identity, amount, "--reason", "a launch", "--actor", actor, *more)


def test_a_request_changes_no_limit_and_is_listed(run, firm, budget):
    """Who asks for how much of what, when, why; and the text says who may approve it, and how."""
    before = budget("show", TEAM)
    said = run("budget", "request", TEAM, "5", "-r", "a launch", "--actor", "Ada", *firm.options)
    assert said.code == 0, said.err
    (row,) = budget("requests")["requests"]
    assert said.out.startswith(f"{TEAM}: asked for $5.00 more for {before['window']}, as {row['id']}")
    login = row["login"]
    assert f"an administrator other than Ada ({login}): governor budget approve {row['id']}" in said.out
    told = {key: row[key] for key in ("identity", "window", "amount", "actor", "reason", "state", "answer")}
    assert told == {
        "identity": TEAM,
        "window": before["window"],
        "amount": 5 * 10**9,
        "actor": "Ada",
        "reason": "a launch",
        "state": "open",
        "answer": None,
    }
    assert row["ends"] == before["resets_at"]
    after = budget("show", TEAM)
    assert (after["limit"], after["requests"]) == (before["limit"], [row])
    line = run("budget", "requests", *firm.options).out.splitlines()[1]
    for word in (row["id"], TEAM, "$5.00", before["window"], f"Ada ({login})", "open", "a launch"):
        assert word in line


def test_show_tells_what_is_asked_of_that_budget_alone(run, firm, budget):
    """Open requests of the budget, and in its changes who asked; nothing of another budget's."""
    asked = ask(budget)
    ask(budget, identity=CALLS, amount="7")
    told = run("budget", "show", TEAM, *firm.options).out
    assert f"  requested  $5.00 for {asked['window']} by Ada (" in told
    assert f"UTC: a launch ({asked['id']})" in told
    assert "asked for $5.00 by Ada: a launch" in told
    assert "7 requests" not in told
    (change,) = budget("show", CALLS)["changes"]
    assert (change["kind"], change["amount"], change["actor"]) == ("request", 7, "Ada")


def test_another_s_request_is_approved_at_once(run, firm, budget, colleague):
    """The limit is higher, the request closed, the grant named by it and taken back like any other."""
    made = colleague()
    said = run("budget", "approve", made, "--reason", "go on", "--actor", "Grace", *firm.options)
    assert said.code == 0, said.err
    assert f"{TEAM}: granted $5.00 for " in said.out
    assert "as Ada (ada@laptop-7) asked" in said.out
    assert f"to take it back: governor budget revoke approve-{made}" in said.out
    shown = budget("show", TEAM)
    assert (shown["limit"], shown["granted"], shown["requests"]) == (6 * 10**9, 5 * 10**9, [])
    told = [(entry["kind"], entry["actor"], entry["request"]) for entry in shown["changes"]]
    assert told == [("request", "", made), ("grant", "Grace", made)]
    assert "granted as asked $5.00 by Grace: go on" in run("budget", "show", TEAM, *firm.options).out
    assert budget("requests")["requests"] == []
    (row,) = budget("requests", "--all")["requests"]
    assert (row["state"], row["answer"]["amount"], row["answer"]["actor"]) == ("approved", 5 * 10**9, "Grace")
    budget("revoke", f"approve-{made}", "--reason", "too much")
    assert budget("show", TEAM)["limit"] == 10**9


def test_less_can_be_granted_and_never_more(run, firm, budget, refused, colleague):
    """The answer says of how much; more than was asked for is a grant of one's own."""
    made = colleague()
    code, message = refused("approve", made, "--amount", "6")
    assert (code, "is more than the $5.00 that was asked for" in message) == (2, True)
    told = budget("approve", made, "--amount", "2")
    assert "granted $2.00 of the $5.00 asked for" in told["done"]
    assert budget("show", TEAM)["limit"] == 3 * 10**9


def test_nobody_approves_what_they_asked_for_here(budget, refused):
    """Not under another name either, for the login is the same; the request stays open."""
    made = ask(budget)["id"]
    for actor in ("Ada", "Grace"):
        code, message = refused("approve", made, "--actor", actor)
        assert code == 4
        assert f"Ada ({who.person(None).login}) asked for {made}, and you are {actor}" in message
        assert "nobody approves their own; let another administrator do it" in message
    assert [row["id"] for row in budget("requests")["requests"]] == [made]
    assert budget("show", TEAM)["limit"] == 10**9


def test_nobody_approves_from_another_host_under_their_own_name(refused, colleague):
    """Whoever asked from elsewhere is known by the name they gave, whatever its case."""
    made = colleague()
    assert refused("approve", made, "--actor", "ADA")[0] == 4
    assert refused("approve", made, "--actor", "ada@laptop-7")[0] == 4


def test_a_login_is_not_what_the_environment_says(budget, refused, monkeypatch):
    """USER and LOGNAME make another actor, not another person."""
    made = budget("request", TEAM, "5", "--reason", "x")["id"]
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "grace")
    assert who.actor_of(None).startswith("grace@")
    assert refused("approve", made)[0] == 4


@pytest.mark.parametrize("actor", ["Eve", "Ada"])
@pytest.mark.parametrize("verb", [["approve"], ["deny", "--reason", "no"]], ids=lambda verb: verb[0])
def test_an_answered_request_is_not_answered_again(run, firm, budget, refused, colleague, verb, actor):
    """Neither way: the error says how, by whom, when and why it was answered; nothing is changed."""
    made = colleague()
    budget("deny", made, "--reason", "no money", "--actor", "Grace")
    code, message = refused(verb[0], made, "--actor", actor, *verb[1:])
    assert code == 1
    assert message.startswith(f"the request {made} was denied by Grace (")
    assert "UTC: no money; nothing was changed" in message
    assert budget("show", TEAM)["limit"] == 10**9


def test_a_request_is_denied_and_one_s_own_is_withdrawn(run, firm, budget, colleague):
    """Both are told as what they are, in the list, in the budget's changes and in `why`."""
    theirs, mine = colleague(), ask(budget)["id"]
    said = run("budget", "deny", theirs, "--reason", "no", "--actor", "Grace", *firm.options)
    assert said.out == f"denied the request of Ada (ada@laptop-7) for $5.00 more of {TEAM}\n"
    told = budget("deny", mine, "--reason", "found some", "--actor", "Ada")
    assert (told["state"], told["answer"]["reason"], told["answer"]["amount"]) == (
        "withdrawn",
        "found some",
        None,
    )
    assert [row["state"] for row in budget("requests", "--all")["requests"]] == ["denied", "withdrawn"]
    shown = run("budget", "show", TEAM, *firm.options).out
    assert "denied the request of $5.00 by Grace: no" in shown
    assert "withdrew the request of $5.00 by Ada: found some" in shown
    assert "withdrew the request of $5.00" in run("why", f"deny-{mine}", *firm.options).out


def test_what_is_over_is_refused_with_what_to_do(run, firm, budget, refused, colleague):
    """A window that has ended gets nothing, nor the one after it; the request can be closed."""
    made = colleague(window="2001-01", ends_ms=10**12)
    assert budget("requests")["requests"] == []
    assert [row["state"] for row in budget("requests", "--all")["requests"]] == ["over"]
    code, message = refused("approve", made, "--actor", "Grace")
    assert code == 4
    assert message.startswith(f"the request {made} was for {TEAM} for 2001-01: that is over")
    assert f"run `governor budget grant {TEAM} AMOUNT`" in message
    budget("deny", made, "--reason", "too late", "--actor", "Grace")


def test_a_request_with_an_end_is_granted_until_then(budget, monkeypatch):
    """From another host, a grant between the instants that were asked for."""
    asked = ask(budget, "--from", "2998-01-01", "--until", "2999-01-01")
    assert (asked["window"], asked["ends"]) == (None, asked["until"])
    monkeypatch.setattr("socket.gethostname", lambda: "another-host")
    budget("approve", asked["id"], "--actor", "Grace")
    (coming,) = budget("show", TEAM)["coming"]
    assert coming == {"granted": 5 * 10**9, "from": asked["from"], "until": asked["until"]}


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["request", TEAM, "0", "-r", "x"], "is nothing"),
        (["request", TEAM, "-5", "-r", "x"], "is below 0"),
        (["request", TEAM, "5", "-r", " "], "--reason is empty"),
        (["request", TEAM, "5", "-r", "a\nb"], "control character"),
        (["request", TEAM, "5", "-r", "x", "--from", "2998-01-01"], "--from needs --until"),
        (["request", TEAM, "5", "-r", "x", "--until", "2001-01-01"], "is over already"),
        (["request", TEAM, "9000000", "-r", "x"], "the ledger counts to"),
        (["request", "department=enginering/usd/month", "5", "-r", "x"], f"did you mean '{TEAM}'"),
        (["request", "department=engineering/model=opus/usd/month", "5", "-r", "x"], "no budget"),
        (["approve", "01KAH7Q0M8"], "no request has the id '01KAH7Q0M8': `governor budget requests"),
        (["approve", "half \udcff"], "control character"),
        (["deny", "01KAH7Q0M8", "-r", "x"], "no request has the id"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(map(repr, value)),
)
def test_what_cannot_be_meant_is_refused(budget, refused, arguments, why):
    """With what is wrong, and nothing is kept of it."""
    code, message = refused(*arguments)
    assert (code, why in message) == (2, True), message
    assert budget("requests", "--all")["requests"] == []


def test_no_request_is_said_so(run, firm):
    """Nothing on stdout for programs, one line on stderr for people."""
    said = run("budget", "requests", *firm.options)
    assert (said.code, said.out, said.err) == (0, "", "no request is open; --all lists those answered, too\n")


def test_too_many_open_requests_are_told(firm, org, refused):
    """At the bound the answer says how many there are and what to do."""
    ledger = open_ledger(firm.ledger, org)
    for index in range(OPEN_AT_MOST):
        ledger.execute(c.RequestGrant(c.BudgetRequest(f"q{index}", TEAM, "", 1, ADA, "", ends_ms=0)))
    ledger.close()
    code, message = refused("request", TEAM, "5", "--reason", "x")
    assert code == 1
    assert f"{OPEN_AT_MOST} requests are open already" in message


def test_what_others_wrote_cannot_command_a_terminal(run, firm, colleague):
    """Whoever may write the ledger may write anything: it is shown without control characters."""
    made = colleague(by=c.Person("Eve\x1b[2J", "eve@\x07"), reason="x\ny\x1b]0;z")
    for arguments in (["requests"], ["show", TEAM], ["approve", made, "--actor", "Eve\ufffd"]):
        said = run("budget", *arguments, *firm.options)
        assert not {"\x1b", "\x07"} & set(said.out + said.err)
        assert said.code == 0


def test_a_freeze_shows_until_when(run, firm, budget):
    """In `list` and `show`, for people and programs; one without an end has none."""
    budget("freeze", TEAM, "--reason", "audit", "--until", "2999-01-01T00:00Z", "--yes")
    budget("freeze", CALLS, "--reason", "audit", "--yes")
    rows = {row["identity"]: row for row in budget("list")["budgets"]}
    assert [rows[name]["frozen_until"] for name in (TEAM, CALLS, "org/usd/month")] == [
        "2999-01-01T00:00:00+00:00",
        None,
        None,
    ]
    listed = run("budget", "list", *firm.options).out
    assert f"{TEAM} FROZEN until 2999-01-01 00:00 UTC" in listed
    assert f"{CALLS} FROZEN  " in listed
    assert "frozen     audit (until 2999-01-01 00:00 UTC)" in run("budget", "show", TEAM, *firm.options).out
    assert budget("show", TEAM)["frozen_until"] == "2999-01-01T00:00:00+00:00"
