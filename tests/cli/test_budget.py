"""`governor budget`: what is left, and who may change it."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from governor.budgets import Period, window_at
from governor.story.matrix import gone_bp

TEAM = "department=engineering/usd/month"
ADA = "department=engineering/user=ada@example.com/usd/life"


def rows(said):
    """The budgets of a `list --json`, by identity."""
    assert said.code == 0, said.err
    return {row["identity"]: row for row in said.json["budgets"]}


def test_list_shows_the_numbers_the_ledger_keeps(run, firm):
    """Every balance of the application is listed, and all budgets of one call posted the same dollars."""
    found = rows(run("budget", "list", *firm.options, "--json"))
    team, ada, org = found[TEAM], found[ADA], found["org/usd/month"]
    assert 20_500_000 < team["posted"] == ada["posted"] == org["posted"] < 21_000_000
    assert (team["limit"], team["held"], team["available"]) == (10**9, 0, 10**9 - team["posted"])
    assert found["department=engineering/user=ada@example.com/requests/life"]["posted"] == 2


def test_list_prints_one_line_a_budget_for_other_programs(run, firm):
    """Piped, each budget is one line with limit, spent, held, available, percent and reset."""
    said = run("budget", "list", *firm.options)
    line = next(line for line in said.out.splitlines() if line.startswith(ADA))
    assert line.split()[1] == "$0.50"
    assert line.split()[-2:] == ["4", "never"]


def test_list_shows_budgets_nobody_has_touched(run, firm):
    """A department without a call yet is listed with its whole limit, from the file."""
    legal = rows(run("budget", "list", *firm.options, "--json"))["department=legal/usd/life"]
    assert (legal["limit"], legal["posted"], legal["resets_at"]) == (6 * 10**9, 0, None)
    assert legal["source"].endswith("legal.yaml:4")


def test_list_follows_the_file_at_once(run, firm):
    """A limit changed in the file shows although no call has come since."""
    file = firm.policies / "engineering.yaml"
    file.write_text(file.read_text().replace("usd: 1,", "usd: 3,"))
    assert rows(run("budget", "list", *firm.options, "--json"))[TEAM]["limit"] == 3 * 10**9


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--department", "legal", {"department=legal/usd/life"}),
        ("--user", "ada@example.com", {ADA, ADA.replace("usd", "requests")}),
        ("--contains", "org/", {"org/usd/month"}),
        ("--user", "ada@example", set()),
    ],
)
def test_list_filters(run, firm, option, value, expected):
    """A filter leaves exactly the budgets it names."""
    assert set(rows(run("budget", "list", *firm.options, option, value, "--json"))) == expected


def test_list_refuses_a_department_that_does_not_exist(run, firm):
    """A misspelt department is a usage error that names the nearest one, not an empty list."""
    said = run("budget", "list", *firm.options, "--department", "enginering")
    assert said.code == 2
    assert "did you mean 'engineering'?" in said.err


def test_list_sees_what_another_process_holds(run, policies, tmp_path, org):
    """While an application has the SQLite file open and a call in flight, its hold is listed as held."""
    url = f"sqlite:///{tmp_path}/governor.db"
    application = subprocess.Popen(
        [sys.executable, "-c", HOLDER, url, org, TEAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert application.stdout.readline() == "held\n"
        said = run("budget", "list", "--policies", str(policies), "--ledger", url, "--json")
    finally:
        application.communicate("done\n", timeout=30)
    assert rows(said)[TEAM]["held"] == 250_000_000


HOLDER = """
import sys
from governor.budgets import Period, Unit, window_at
from governor.ledger import open_ledger
from governor.ledger import commands as c
url, org, identity = sys.argv[1:]
ledger = open_ledger(url, org)
now = ledger.execute(c.Read(())).now_ms
window = window_at(Period.MONTH, "Europe/Berlin", now)
row = c.BudgetRow(identity, window.id, window.start_ms, window.end_ms, Unit.USD, 10**9)
ledger.execute(c.Reserve("in-flight", (row,), ((c.Ask(250_000_000),),), 60_000))
print("held", flush=True)
sys.stdin.readline()
ledger.close()
"""


def test_show_tells_where_a_limit_comes_from(run, firm):
    """One budget in detail: the file's line, the marks of each line, and what was spent."""
    said = run("budget", "show", TEAM, *firm.options)
    assert said.code == 0
    assert f"$1.00 in {firm.policies}/engineering.yaml:5" in said.out
    assert "opus may fill it to $0.80" in said.out
    assert "sonnet may fill it to $1.00" in said.out


def test_show_adds_up_override_and_grants(run, firm):
    """The limit in force is the override and the window's grants; both, and who made them, are shown."""
    run("budget", "set", TEAM, "2", "--reason", "launch", "--actor", "ada", "--yes", *firm.options)
    run("budget", "grant", TEAM, "$0.25", "--reason", "one more day", "--actor", "grace", *firm.options)
    shown = run("budget", "show", TEAM, *firm.options, "--json").json
    assert (shown["file_limit"], shown["override"], shown["granted"]) == (10**9, 2 * 10**9, 250_000_000)
    assert shown["limit"] == 2_250_000_000
    assert [(c["kind"], c["actor"], c["reason"]) for c in shown["changes"]] == [
        ("set", "ada", "launch"),
        ("grant", "grace", "one more day"),
    ]


def test_show_knows_an_override_that_equals_the_file(run, firm):
    """An override is shown as one even where it says what the file says."""
    assert run("budget", "show", TEAM, *firm.options, "--json").json["override"] is None
    run("budget", "set", TEAM, "1", "--reason", "pin it", "--yes", *firm.options)
    assert run("budget", "show", TEAM, *firm.options, "--json").json["override"] == 10**9


def test_show_marks_the_thresholds_that_are_crossed(run, firm):
    """A threshold counts as crossed once that share of the limit in force is spent."""
    run("budget", "set", TEAM, "0.025", "--reason", "nearly full", "--yes", *firm.options)
    thresholds = run("budget", "show", TEAM, *firm.options, "--json").json["thresholds"]
    assert thresholds == [{"percent": 80, "crossed": True}, {"percent": 100, "crossed": False}]


@pytest.mark.parametrize(
    "command", [["show"], ["grant", "5", "--reason", "x"], ["freeze", "--reason", "x", "-y"]]
)
@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("department=enginering/usd/month", f"did you mean {TEAM!r}?"),
        ("nonsense", "known budgets:\n  department=engineering/usd/month"),
        ("///", "known budgets:"),
        ("department=engineering/usd/fortnight", "did you mean"),
    ],
)
def test_an_unknown_budget_is_a_usage_error_with_a_hint(run, firm, command, typed, hint):
    """Whatever is typed for an identity, the answer is exit code 2 and the nearest or the known ones."""
    verb, *rest = command
    said = run("budget", verb, typed, *rest, *firm.options, "--json")
    assert said.code == 2
    assert hint in said.err
    assert said.json["error"]["exit_code"] == 2


def test_grant_adds_to_this_window(run, firm):
    """Grants add up, in the budget's unit, and hold at once."""
    for _ in range(2):
        said = run("budget", "grant", TEAM, "$1,500.50", "--reason", "launch", *firm.options)
        assert said.code == 0
    assert "($3,001.00 in all)" in said.out
    assert rows(run("budget", "list", *firm.options, "--json"))[TEAM]["limit"] == 3_002 * 10**9


def test_grant_counts_what_the_budget_counts(run, firm):
    """The amount for a budget of requests is a number of requests."""
    identity = ADA.replace("usd", "requests")
    said = run("budget", "grant", identity, "40", "--reason", "demo day", *firm.options, "--json")
    assert said.json["budget"]["limit"] == 100


@pytest.mark.parametrize(
    "amount",
    ["0", "$0.00", "NaN", "inf", "1e3", "ten", "1.5.2", "0.0000000001", "9000000", "9,000,001", "1,00"],
)
def test_grant_refuses_what_is_no_amount(run, firm, amount):
    """Zero, no number, finer than a nano-dollar, or beyond what the ledger counts: nothing is granted."""
    said = run("budget", "grant", TEAM, amount, "--reason", "x", *firm.options)
    assert said.code == 2
    assert rows(run("budget", "list", *firm.options, "--json"))[TEAM]["limit"] == 10**9


@pytest.mark.parametrize("reason", [[], ["--reason", " "]])
def test_a_change_needs_a_reason(run, firm, reason):
    """Without a reason nothing is changed."""
    assert run("budget", "grant", TEAM, "5", *reason, *firm.options).code == 2


def test_set_asks_first(run, terminal, firm):
    """Anything but yes leaves the limit as it is; yes changes it; `file` changes it back."""
    change = ["budget", "set", TEAM, "7", "--reason", "growth", *firm.options]
    refused = terminal(*change, typed="n\n")
    assert (refused.code, "nothing was changed" in refused.err) == (1, True)
    assert rows(run("budget", "list", *firm.options, "--json"))[TEAM]["limit"] == 10**9
    assert terminal(*change, typed="y\n").code == 0
    assert rows(run("budget", "list", *firm.options, "--json"))[TEAM]["limit"] == 7 * 10**9
    assert run("budget", "set", TEAM, "file", "--reason", "over", "--yes", *firm.options).code == 0
    assert rows(run("budget", "list", *firm.options, "--json"))[TEAM]["limit"] == 10**9


def test_set_tells_the_limit_before_and_after_with_what_is_granted(run, terminal, firm):
    """The question, and what is said afterwards: the file's limit, what is granted, and both sums."""
    run("budget", "grant", TEAM, "2.25", "--reason", "launch", *firm.options)
    change = ["budget", "set", TEAM, "7", "--reason", "growth", *firm.options]
    assert (
        f"Set {TEAM} to $7.00? Its limit is $3.25 (the file's $1.00 and $2.25 granted); "
        "it will be $9.25 ($7.00 set and $2.25 granted; the file's is $1.00)."
    ) in terminal(*change, typed="n\n").err
    said = run(*change, "--yes")
    assert "limit $3.25 → $9.25 ($7.00 set and $2.25 granted; the file's is $1.00)" in said.out
    told = run("budget", "set", TEAM, "file", "--reason", "over", "--yes", *firm.options, "--json").json
    assert (told["limit_before"], told["budget"]["limit"]) == (9_250_000_000, 3_250_000_000)
    assert (told["file_limit"], told["override"], told["granted"]) == (10**9, None, 2_250_000_000)


@pytest.mark.parametrize("change", [["set", TEAM, "7"], ["freeze", TEAM]])
def test_where_nobody_can_answer_a_change_needs_yes(run, firm, change):
    """Without a terminal it is a usage error that names --yes, and nothing is changed."""
    said = run("budget", *change, "--reason", "x", *firm.options, "--json")
    assert (said.code, said.json["error"]["type"]) == (2, "UsageError")
    assert "add --yes" in said.json["error"]["message"]
    kept = rows(run("budget", "list", *firm.options, "--json"))[TEAM]
    assert (kept["limit"], kept["frozen"]) == (10**9, None)


def test_until_is_a_day_in_the_budgets_time_zone(run, firm):
    """`--until 2999-01-01` of a budget in Berlin ends at Berlin's midnight."""
    run("budget", "set", TEAM, "7", "--reason", "x", "--until", "2999-01-01", "--yes", *firm.options)
    change = run("budget", "show", TEAM, *firm.options, "--json").json["changes"][-1]
    assert change["until"] == "2998-12-31T23:00:00+00:00"


@pytest.mark.parametrize(("until", "hint"), [("2020-01-01", "is over already"), ("soon", "no ISO date")])
def test_until_must_be_a_day_to_come(run, firm, until, hint):
    """A day that is over, or no day at all, is a usage error."""
    said = run("budget", "freeze", TEAM, "--reason", "x", "--until", until, "--yes", *firm.options)
    assert (said.code, hint in said.err) == (2, True)


def test_freeze_and_unfreeze(run, firm):
    """A frozen budget shows its reason until it is unfrozen."""
    assert run("budget", "freeze", TEAM, "--reason", "incident 7", "--yes", *firm.options).code == 0
    assert rows(run("budget", "list", *firm.options, "--json"))[TEAM]["frozen"] == "incident 7"
    assert f"{TEAM} FROZEN" in run("budget", "list", *firm.options).out
    assert run("budget", "unfreeze", TEAM, *firm.options).code == 0
    assert rows(run("budget", "list", *firm.options, "--json"))[TEAM]["frozen"] is None


def test_a_budget_no_file_has_any_more_is_still_shown(run, firm):
    """Money spent under a budget that was taken out of its file stays visible, and cannot be granted to."""
    file = firm.policies / "engineering.yaml"
    file.write_text(file.read_text().replace("  - {per: user, usd: 0.5, window: life}\n", ""))
    shown = run("budget", "show", ADA, *firm.options, "--json").json
    assert shown["posted"] > 0
    assert (shown["limit"], shown["file_limit"], shown["source"]) == (500_000_000, None, None)
    assert run("budget", "grant", ADA, "5", "--reason", "x", *firm.options).code == 2


ALL_OF_IT = """\
version: 1
department: research
budgets:
  - {per: department, usd: 100, window: month, pace: even, keep: 10%, for: [production, urgent], mode: shadow}
  - {per: user, tokens: 1000, window: day, thresholds: {75%: warn, 90%: {downgrade: haiku}}}
thresholds:
  1%: {downgrade: haiku}
routing:
  lines: {haiku: claude-haiku-5-5, opus: claude-opus-5-5}
"""


def test_show_tells_all_that_a_file_says_of_a_budget(run, firm):
    """A pace, a part that is kept and for whom, that it only watches; and steps of every unit."""
    (firm.policies / "research.yaml").write_text(ALL_OF_IT)
    said = run("budget", "show", "department=research/usd/month", *firm.options)
    assert "shadow     it counts, and refuses nothing" in said.out
    assert "pace       even; " in said.out
    assert "kept       above $90.00, with what is held, for production, urgent" in said.out
    told = run("budget", "show", "department=research/usd/month", *firm.options, "--json").json
    assert (told["mode"], told["pace"]) == ("shadow", "even")
    assert (told["kept_from"], told["kept_for"]) == (90 * 10**9, ["production", "urgent"])
    assert told["marks"]["haiku"] == 100 * 10**9
    tokens = run("budget", "show", "department=research/user=ada/tokens/day", *firm.options)
    assert "mark       opus may fill it to 900 tokens" in tokens.out
    assert "thresholds 75 %, 90 %" in tokens.out


def test_the_mark_of_a_paced_budget_is_that_of_the_moment(run, firm):
    """Not the file's one percent: as much as an even pace would have spent by now."""
    (firm.policies / "research.yaml").write_text(ALL_OF_IT)

    def even_nanos():
        now_ms = time.time_ns() // 1_000_000
        month = window_at(Period.MONTH, "UTC", now_ms)
        return 10**9 // 100 * max(100, gone_bp(month.start_ms, month.end_ms, now_ms))

    before = even_nanos()
    told = run("budget", "show", "department=research/usd/month", *firm.options, "--json").json
    assert before <= told["marks"]["opus"] <= even_nanos()
