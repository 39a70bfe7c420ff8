"""What the commands that rehearse a policy say of its routing."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from governor import Governor
from governor.policy import Attribution
from governor.testing import FakeClaude

POLICIES = Path(__file__).resolve().parents[2] / "policies"
TEAM = """\
version: 1
department: team
budgets:
  - {per: user, usd: 10, window: day}
routing:
  lines: {haiku: claude-haiku-5-5, sonnet: claude-sonnet-5-5, opus: claude-opus-5-5}
  complexity: {haiku: "<3", sonnet: "3-7", opus: ">7"}
  tiers:
    premium: {prefer: opus}
    standard: {prefer: sonnet, context: 100000}
    economy: {prefer: haiku}
  choose:
    - {when: "budget > 90% or load > 85%", tier: economy}
    - {tier: standard}
  shrink: {min_tokens: 100}
  defer: {when: "load > 70%"}
"""


@pytest.fixture
def team(tmp_path):
    """A folder with one department that routes by budget, load and complexity."""
    (tmp_path / "team.yaml").write_text(TEAM, encoding="utf-8")
    return tmp_path


@pytest.fixture
def explain(run, team):
    """Explain a request of eve's."""
    return lambda *more: run("policy", "explain", str(team), "-u", "eve", *more)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), ["tier       standard (else), load 0%", "Served: claude-haiku-5-5"]),
        (("--complexity", "5"), ["complexity 5 (given 5)", "Served: claude-sonnet-5-5", "sonnet's (3-7)"]),
        (("--complexity", "8", "--load", "90%"), ["economy (budget > 90% or load > 85%), load 90%", "haiku"]),
        (("--tier", "premium"), ["asked for  auto, tier premium", "Served: claude-opus-5-5"]),
        (("--complexity", "8", "--spent", "user=9.5"), ["tier       economy", "Served: claude-haiku-5-5"]),
        (
            ("--input-tokens", "150000", "--complexity", "5"),
            ["150,000 tokens are above the standard tier's context", "Served: claude-opus-5-5"],
        ),
        (("--deferrable", "--load", "80%"), ["Deferred: to the Batches API", "load > 70%"]),
    ],
)
def test_explain_says_what_was_chosen_and_why(explain, options, told):
    """The tier with its rule, the load and the complexity stand above the models."""
    said = explain(*options)
    assert said.code == 0
    for part in told:
        assert part in said.out


def test_explain_shows_what_was_refused_before_it_was_made_smaller(explain):
    """The refusal of what was asked for, then what is served instead, with the change."""
    said = explain("--spent", "user=9.999", "--max-tokens", "4000")
    assert said.code == 0
    assert "max_tokens 4,000" in said.out
    assert "changed: max_tokens 4,000 → " in said.out
    assert "Models, best first, with the max_tokens of 4,000 that was asked for" in said.out
    as_json = explain("--spent", "user=9.999", "--max-tokens", "4000", "--json").json
    assert as_json["request"]["max_tokens"] == 4000
    assert 100 <= as_json["max_tokens"] < 4000
    assert [one["verdict"] for one in as_json["before_shrinking"]][-1] == "exhausted"
    assert [one["verdict"] for one in as_json["candidates"]][-1] == "fits"


@pytest.mark.parametrize("load", ["101%", "-1", "some"])
def test_a_load_that_is_none_is_a_mistake(explain, load):
    """Exit code 2, and an example."""
    said = explain("--load", load)
    assert (said.code, "90%" in said.err) == (2, True)


def test_a_tier_that_the_policy_does_not_have_is_refused(explain):
    """As a call would be, with the nearest name."""
    said = explain("--tier", "premum")
    assert (said.code, "did you mean 'premium'" in said.out) == (4, True)


TESTS = """\
version: 1
tests:
  - {name: easy, request: {user: eve}, expect: {tier: standard, line: haiku}}
  - {name: ordinary, request: {user: eve, complexity: 5.5}, expect: {line: sonnet}}
  - {name: hard, request: {user: eve, complexity: 9}, expect: {line: opus}}
  - {name: busy, load: 90%, request: {user: eve, complexity: 9}, expect: {tier: economy, line: haiku}}
  - name: later
    load: 75%
    request: {user: eve, deferrable: true}
    expect: {decision: deferred, reason: load > 70%}
  - name: smaller
    spent: {user/day: 9.999}
    request: {user: eve, max_tokens: 4000}
    expect: {decision: served, max_tokens: 1787, budget: user/day}
  - name: a series
    steps:
      - {user: eve, spend: 9.5, warns: []}
      - {after: 1s, load: 20%, request: {user: eve, complexity: 9}, expect: {tier: economy, line: haiku}}
      - {load: 90%, request: {user: eve, tier: premium, deferrable: true}, expect: {decision: deferred}}
      - {load: 0%, request: {user: eve, tier: premium, complexity: 2}, expect: {line: opus}}
"""


def test_tests_say_how_hard_and_how_busy(run, team):
    """Complexity, load, tiers, deferral and a smaller `max_tokens` are what the real story makes of them."""
    file = team / "team.tests.yaml"
    file.write_text(TESTS, encoding="utf-8")
    said = run("policy", "test", str(file))
    assert "7 passed, 0 failed" in said.out, said.out


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("{tier: standard, line: haiku}", "{tier: economy}", "tier: expected economy, got standard"),
        ("max_tokens: 1787", "max_tokens: 2000", "max_tokens: expected 2000, got 1787"),
        ("decision: deferred, reason", "decision: served, reason", "decision: expected served, got deferred"),
        ("load: 75%", "load: 65%", "decision: expected deferred, got served"),
    ],
)
def test_what_routing_does_otherwise_fails_a_test(run, team, old, new, place):
    """Each new expectation is compared, and says what came."""
    file = team / "team.tests.yaml"
    assert old in TESTS
    file.write_text(TESTS.replace(old, new), encoding="utf-8")
    said = run("policy", "test", str(file))
    assert (said.code, place in said.out) == (1, True), said.out


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("{name: a, load: 9, request: {user: eve}, expect: {line: haiku}}", "no load"),
        ("{name: a, request: {user: eve, complexity: 11}, expect: {line: haiku}}", "10"),
        ("{name: a, steps: [{load: 10%, user: eve, spend: 1}]}", "nothing is asked in this step"),
        ("{name: a, load: 10%, steps: [{user: eve, spend: 1}]}", "a series says this in its steps"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(run, team, text, hint):
    """Exit code 3, as for policies."""
    file = team / "team.tests.yaml"
    file.write_text(f"version: 1\ntests:\n  - {text}\n", encoding="utf-8")
    said = run("policy", "test", str(file))
    assert (said.code, hint in said.err) == (3, True), said.err


def test_rules_and_bands_that_no_test_reaches_are_told(run, team):
    """Each with its place, until a test's request goes by it; `--init` writes tests that reach them all."""
    file = team / "team.tests.yaml"
    only = "{name: easy, load: 20%, request: {user: eve}, expect: {line: haiku}}"
    file.write_text(f"version: 1\ntests:\n  - {only}\n", encoding="utf-8")
    said = run("policy", "test", str(file), "--require-all")
    assert said.code == 1
    left = [line for line in said.out.splitlines() if "routing." in line]
    assert [line.partition("routing.")[2] for line in left] == [
        "choose: economy where budget > 90% or load > 85%",
        "complexity: sonnet for 3-7",
        "complexity: opus for >7",
    ]
    assert f"{team}/team.yaml:13: " in left[0]
    file.unlink()
    assert run("policy", "test", str(team), "--init").code == 0
    said = run("policy", "test", str(team), "--require-all")
    assert (said.code, "every rule of routing" in said.out) == (0, True), said.out


def test_the_reference_tests_notice_another_choice(run, tmp_path):
    """Each rule, tier and band of engineering.yaml that is changed fails a test of it."""
    for source in POLICIES.glob("*.yaml"):
        shutil.copy(str(source), tmp_path)
    file = tmp_path / "engineering.yaml"
    good = file.read_text(encoding="utf-8")
    for old, new in (
        ("budget > 90% or load > 85%", "budget > 95% or load > 85%"),
        ("budget > 90% or load > 85%", "budget > 90% or load > 95%"),
        ("budget < 50% and load < 30%", "budget < 60% and load < 30%"),
        ("budget < 50% and load < 30%", "budget < 50% and load < 40%"),
        ('haiku: "<3", sonnet: "3-7"', 'haiku: "<1", sonnet: "1-7"'),
        ('sonnet: "3-7", opus: ">7"', 'sonnet: "3-9", opus: ">9"'),
        ("{prefer: opus,   context: 200000", "{prefer: sonnet, context: 200000"),
        ("{prefer: sonnet, context: 100000", "{prefer: sonnet, context: 180000"),
        ("  shrink:", "  # shrink:"),
    ):
        assert old in good
        file.write_text(good.replace(old, new), encoding="utf-8")
        assert run("policy", "test", str(tmp_path / "engineering.tests.yaml")).code == 1, new


def test_diff_says_which_line_auto_stands_for(run, team, tmp_path):
    """In plain words, with an example that says how hard and how busy it is."""
    new = tmp_path / "new"
    new.mkdir()
    changed = TEAM.replace("load > 85%", "load > 60%")
    (new / "team.yaml").write_text(changed, encoding="utf-8")
    said = run("policy", "diff", str(team / "team.yaml"), str(new / "team.yaml"))
    assert "team: tighter" in said.out
    assert (
        "routing.choose: economy if budget > 90% or load > 85%; standard → "
        "economy if budget > 90% or load > 60%; standard" in said.out
    )
    assert "complexity" in said.out
    assert "load " in said.out


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("tier: standard}", "tier: economy}", "no rule of routing.choose takes this tier"),
        ("routing:\n", "routing:\n  default: haiku\n", "nothing goes by complexity"),
        ('sonnet: "3-7"', 'sonnet: "4-7"', "no band holds 3"),
        ("usd: 10,", "tokens: 1000000,", "`budget` may always be 0 here"),
    ],
)
def test_check_remarks_on_what_changes_nothing(run, team, old, new, told):
    """What is legal, and can hardly be meant, is said with its place."""
    file = team / "team.yaml"
    assert told not in run("policy", "check", str(file)).out
    file.write_text(TEAM.replace(old, new), encoding="utf-8")
    said = run("policy", "check", str(file))
    assert (said.code, told in said.out) == (0, True), said.out


def test_why_says_by_which_tier_and_what_was_changed(run, team, tmp_path):
    """From the journal: the tier with its rule, the load, how hard it was, and the smaller `max_tokens`."""
    url = f"sqlite:///{tmp_path}/governor.db"
    with FakeClaude() as api, Governor.load(team, ledger=url, create_ledger=True, client=api.client()) as gov:
        asked = {"user": "eve", "department": "team", "messages": [{"role": "user", "content": "Hi"}]}
        plain = gov.call(**asked, max_tokens=50)
        options = ["--policies", str(team), "--ledger", url]
        said = run("why", plain.receipt.request_id, *options)
        assert "tier       standard (else), load 0 %" in said.out
        assert "complexity 0" in said.out
        record = run("why", plain.receipt.request_id, *options, "--json").json["decisions"][0]["request"]
        assert (record["tier"], record["complexity"], record["load"]) == ("standard", 0, 0)
        term = gov.policies.budgets(Attribution("team", "eve"), ())[0]
        assert run("budget", "set", term.identity, "0.001", "--reason", "r", "--yes", *options).code == 0
        small = gov.call(**asked, max_tokens=4000)
        said = run("why", small.receipt.request_id, *options)
        assert "changed: max_tokens 4,000 → " in said.out
