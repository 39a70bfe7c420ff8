"""`governor budget` on budgets per tag and combination and on rolling ones; `why` and `policy check` too."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from governor import BudgetExceeded, Governor
from governor.budgets import Unit
from governor.cli.output import resets
from governor.story.decision import BudgetView
from governor.testing import FakeClaude

BUDGETS = """\
budgets:
  - {per: [user, model], usd: 0.5, window: day}
  - {per: "tag:project", name: atlas, usd: 7, window: month}
  - {per: "tag:project", name: zeus, usd: 8, window: month}
  - {per: [feature, "tag:project"], requests: 9, window: rolling 7d}
  - {per: department, usd: 50, window: rolling 36h}
  - {per: [run, "tag:env"], usd: 2}
"""
PAIR = "department=engineering/user={}/model={}/usd/day"
HAIKU = "claude-haiku-5-5"
ROLLING = "department=engineering/usd/rolling-36h"
FEATURE = "department=engineering/feature=chat/tag.project=atlas/requests/rolling-7d"
ATLAS, ZEUS = (f"department=engineering/tag.project={name}/usd/month" for name in ("atlas", "zeus"))


@pytest.fixture
def scoped(firm):
    """The firm once its engineers count by combination and tag, and one call has been made so."""
    file = firm.policies / "engineering.yaml"
    file.write_text(file.read_text().replace("budgets:\n", BUDGETS))
    ask(firm, request_id="tagged")
    return firm


def ask(firm, user="ada", **request):
    """One call on haiku for the project atlas."""
    with (
        FakeClaude() as api,
        Governor.load(firm.policies, ledger=firm.ledger, client=api.client()) as governor,
    ):
        return governor.call(
            user=user,
            department="engineering",
            feature="chat",
            tags={"project": "atlas", "env": "test"},
            model="haiku",
            max_tokens=100,
            messages=[{"role": "user", "content": "Why?"}],
            **request,
        )


def listed(run, firm, *options):
    """The budgets of a `list --json`, by identity."""
    said = run("budget", "list", *firm.options, *options, "--json")
    assert said.code == 0, said.err
    return {row["identity"]: row for row in said.json["budgets"]}


def test_list_shows_what_was_counted_and_what_the_files_name(run, scoped):
    """Combinations and tags that a call brought are listed, and tags that a file names, touched or not."""
    found = listed(run, scoped)
    assert (
        found[PAIR.format("ada", HAIKU)]["posted"] == found[ATLAS]["posted"] == found[ROLLING]["posted"] > 0
    )
    assert (found[ZEUS]["posted"], found[ZEUS]["limit"]) == (0, 8 * 10**9)
    assert (found[FEATURE]["posted"], found[FEATURE]["limit"]) == (1, 9)
    assert set(listed(run, scoped, "--user", "ada")) == {
        PAIR.format("ada", HAIKU),
        *(f"department=engineering/user=ada/{rest}" for rest in ("usd/life", "requests/life")),
    }
    assert set(listed(run, scoped, "--contains", "tag.project=zeus")) == {ZEUS}


def test_a_rolling_budget_is_never_said_to_never_reset(run, scoped):
    """Its line in the list and its window in `show` speak of rolling, not of a window without an end."""
    lines = run("budget", "list", *scoped.options).out.splitlines()
    (line,) = (line for line in lines if line.startswith(ROLLING))
    assert "never" not in line
    shown = run("budget", "show", ROLLING, *scoped.options).out
    (window,) = (line for line in shown.splitlines() if line.startswith("  window"))
    assert "rolling 36h" in window
    assert "never" not in window


@pytest.mark.parametrize(
    ("identity", "frees_at", "said"),
    [
        (ROLLING, datetime(2026, 11, 28, 9, 45, tzinfo=UTC), "frees 2026-11-28 09:45"),
        (ROLLING, None, "rolls"),
        (ZEUS, datetime(2026, 12, 1, tzinfo=UTC), "2026-12-01 00:00"),
        ("org/usd/life", None, "never"),
    ],
)
def test_when_a_budget_resets_is_said_of_its_window(identity, frees_at, said):
    """A rolling budget frees at an instant, or just rolls; a calendar one resets, a life never does."""
    assert resets(BudgetView(identity, "w", Unit.USD, 10, 5, 0, frees_at)) == said


@pytest.mark.parametrize(
    "identity",
    [
        PAIR.format("nobody-yet%40example.com", "claude-opus-5-5"),
        "department=engineering/feature=new/tag.project=new/requests/rolling-7d",
        "department=engineering/run=r9/tag.env=prod/usd/life",
        ZEUS,
        ROLLING,
    ],
)
def test_every_change_reaches_a_budget_before_any_call(run, scoped, identity):
    """Grant, set, freeze and unfreeze take a combination, tag or rolling budget that nothing has touched."""

    def change(verb, *rest):
        said = run("budget", verb, identity, *rest, *scoped.options, "--json")
        assert said.code == 0, said.err
        (done,) = said.json.get("changes", [said.json])
        return done["budget"]

    before = run("budget", "show", identity, *scoped.options, "--json").json
    unit = 1 if before["unit"] == "requests" else 10**9
    assert before["limit"] == before["file_limit"] > 0
    assert change("set", "3", "--reason", "x", "--yes")["limit"] == 3 * unit
    assert change("grant", "2", "--reason", "x")["limit"] == 5 * unit
    assert change("freeze", "--reason", "a look first", "--yes")["frozen"] == "a look first"
    assert change("unfreeze")["frozen"] is None
    shown = run("budget", "show", identity, *scoped.options, "--json").json
    assert (shown["override"], shown["granted"]) == (3 * unit, 2 * unit)
    assert [change["kind"] for change in shown["changes"]] == ["set", "grant", "freeze", "unfreeze"]


def test_a_combination_frozen_before_its_first_call_is_refused(run, scoped):
    """A freeze by hand of a user's model holds from the first call, for that user only."""
    identity = PAIR.format("bob", HAIKU)
    assert run("budget", "freeze", identity, "--reason", "later", "--yes", *scoped.options).code == 0
    with pytest.raises(BudgetExceeded, match="frozen: later"):
        ask(scoped, "bob", pin=True)
    assert ask(scoped, "eve", pin=True).receipt.settled


@pytest.mark.parametrize(
    ("identity", "hint"),
    [
        (PAIR.format("ada", HAIKU).replace("model", "modle"), PAIR.format("ada", HAIKU)),
        (ATLAS.replace("tag.project", "tag.projekt"), ATLAS),
        (ATLAS.replace("tag.project", "tag:project"), ATLAS),
        (ROLLING.replace("36h", "35h"), ROLLING),
    ],
)
def test_a_misspelt_budget_is_refused_with_the_nearest(run, scoped, identity, hint):
    """No file counts so: a usage error names the budget that was probably meant."""
    said = run("budget", "freeze", identity, "--reason", "x", "--yes", *scoped.options)
    assert (said.code, f"did you mean '{hint}'?" in said.err) == (2, True), said.err


def test_grant_says_that_a_rolling_grant_stays(run):
    """The help says what a window of this moment means where there is one for good."""
    assert "stays" in run("budget", "grant", "--help").out


def test_why_tells_the_tags(run, scoped):
    """Who asked, for what and under which tags; with --json as the journal has them."""
    said = run("why", "tagged", *scoped.options)
    assert "ada, department engineering, feature chat, env=test, project=atlas" in said.out
    assert f"{ROLLING}: " in said.out
    story = run("why", "tagged", *scoped.options, "--json").json
    tags = {"env": "test", "project": "atlas"}
    assert story["decisions"][0]["request"]["tags"] == story["endings"][0]["record"]["tags"] == tags
    assert run("why", "first", *scoped.options).code == 0


def test_policy_check_prints_them(run, scoped, monkeypatch):
    """Combinations, tags with their value and rolling windows read as they are meant; none is left out."""
    monkeypatch.setenv("COLUMNS", "200")
    said = run("policy", "check", *scoped.options[:2])
    assert said.code == 0
    for text in (
        "user and model",
        "tag:project atlas",
        "feature and tag:project",
        "9 requests in rolling 7d",
    ):
        assert text in said.out
    budgets = run("policy", "check", *scoped.options[:2], "--json").json["budgets"]
    assert [(b["per"], b["name"], b["window"]) for b in budgets[1:5]] == [
        (["user", "model"], None, "day"),
        ("tag:project", "atlas", "month"),
        ("tag:project", "zeus", "month"),
        (["feature", "tag:project"], None, "rolling 7d"),
    ]
