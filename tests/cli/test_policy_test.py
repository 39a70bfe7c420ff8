"""`governor policy test`: requests on given balances and series in virtual time, held to what is expected."""

from __future__ import annotations

import shutil

import pytest

from governor.data import data_file

TESTS = """\
version: 1
tests:
  - name: opus while there is money
    spent: {department/month: 0.5, user/life: 10%}
    request: {user: ada@example.com}
    expect: {decision: served, line: opus, model: claude-opus-5-5}
  - name: a step down at 80 %
    spent: {department/month: 80%}
    request: {user: ada@example.com}
    expect: {decision: downgraded, line: sonnet, budget: department/month, reason: may fill it to 80 %}
  - name: a month's end
    steps:
      - {at: 2026-11-29T10:00, user: ada@example.com, spend: 0.79, warns: ["user/life 80%"]}
      - {after: 30m, user: bob@example.com, spend: 0.01, warns: [department/month 80%]}
      - after: 2h
        request: {user: bob@example.com, output_tokens: 10}
        expect: {decision: downgraded, line: sonnet, budget: department/month}
      - {at: 2026-11-30T23:59:59, request: {user: bob@example.com}, expect: {decision: downgraded}}
      - {after: 1s, request: {user: bob@example.com, max_tokens: 8}, expect: {decision: served, line: opus}}
"""


@pytest.fixture
def write(policies):
    """Write the tests of engineering.yaml."""

    def put(text, name="engineering.tests.yaml"):
        (policies / name).write_text(text, encoding="utf-8")
        return policies / name

    return put


def test_tests_that_pass(run, policies, write):
    """One line for each, and which thresholds none of them reaches, with file and line."""
    write(TESTS)
    said = run("policy", "test", str(policies))
    assert said.code == 0
    assert "  ok      a step down at 80 %\n" in said.out
    assert "3 tests: 3 passed, 0 failed\n" in said.out
    assert f"not reached: {policies}/engineering.yaml:6: user: the limit, $0.50\n" in said.out
    assert "engineering.yaml:5: department/month: opus may fill it" not in said.out
    assert "engineering.yaml:5: department/month: warns" not in said.out
    assert f"{policies}/legal.yaml has no tests" in said.out
    assert run("policy", "test", str(policies), "--require-all").code == 1


def test_only_the_thresholds_of_the_file_that_is_tested(run, policies, write):
    """Of one policy or tests file, nothing is said of the others."""
    file = write(TESTS)
    for path in (file, policies / "engineering.yaml"):
        left = run("policy", "test", str(path), "--json").json["not_reached"]
        assert {goal["place"].rpartition(":")[0] for goal in left} == {f"{policies}/engineering.yaml"}


def test_tests_that_fail(run, policies, write):
    """Exit code 1; what was expected, what came, where it is written, and the whole explanation."""
    file = write(
        TESTS.replace("line: opus, model", "line: haiku, model")
        .replace("budget: department/month, reason: may fill it to 80 %", "budget: user/life, reason: nope")
        .replace("warns: [department/month 80%]", "warns: []")
    )
    said = run("policy", "test", str(policies))
    assert (said.code, "3 tests: 0 passed, 3 failed" in said.out) == (1, True)
    assert f"{file}:6: line: expected haiku, got opus\n" in said.out
    assert f"{file}:10: budget: expected user/life, got department/month\n" in said.out
    assert f"{file}:10: reason: expected nope, got claude-sonnet-5-5 instead: department=" in said.out
    assert f"{file}:14: warns: expected none, got department/month 80%\n" in said.out
    assert "1. claude-opus-5-5 (the standard tier's line), up to $0.024736: exhausted" in said.out
    told = run("policy", "test", str(policies), "--json").json
    assert (told["passed"], told["failed"]) == (0, 3)
    miss = told["tests"][0]["misses"][0]
    assert (miss["place"], miss["what"]) == (f"{file}:6", "line")
    assert (miss["expected"], miss["got"]) == ("haiku", "opus")
    assert miss["explanation"]["candidates"][0]["verdict"] == "fits"
    assert told["tests"][2]["misses"][0]["explanation"] is None


EXPECTED = [
    ("{decision: served}", "decision: expected served, got refused"),
    ("{line: opus}", "line: expected opus, got none: it is refused"),
    ("{model: claude-opus-5-5}", "model: expected claude-opus-5-5, got none: it is refused"),
    ("{budget: org/month}", "budget: expected org/month, got user"),
    ("{reason: contended}", "reason: expected contended, got refused: "),
    ("{decision: refused, budget: user/life, reason: (exhausted)}", None),
]


@pytest.mark.parametrize(("expect", "told"), EXPECTED)
def test_each_expectation_is_held(run, write, expect, told):
    """Every key of `expect` fails by itself where it does not hold, and passes where it does."""
    request = "request: {user: ada@example.com}"
    file = write(
        f"version: 1\ntests:\n- {{name: a, spent: {{user/life: 100%}}, {request}, expect: {expect}}}\n"
    )
    said = run("policy", "test", str(file))
    assert said.code == (0 if told is None else 1)
    assert f"{file}:3: {told}" in said.out if told else "1 passed" in said.out


@pytest.mark.parametrize(
    ("old", "new", "place", "told"),
    [
        ("decision: served", "decison: served", "6:14", "unknown key 'decison' (did you mean 'decision'?)"),
        ("line: opus, m", "line: opsu, m", "6:38", "'opsu' is not known here (did you mean 'opus'?)"),
        ("department/month: 0.5", "departmnt/month: 0.5", "4:13", "did you mean 'department/month'?"),
        ("user/life: 10%", "user/life: lots", "4:36", "'lots' is no amount of user/life"),
        ("after: 30m", "after: soon", "14:17", "'soon' is no time span"),
        ("2026-11-29T10:00", "tomorrow", "13:14", "'tomorrow' is no instant"),
        ("2026-11-30T23:59:59", "2026-11-28", "18:14", "time goes forward only"),
        ("spend: 0.79", "spend: -1", "13:62", "must be above zero"),
        ("[department/month 80%]", "[department/month]", "14:66", "is no warning"),
        ("[department/month 80%]", "[departmnt/month 80%]", "14:66", "did you mean 'department/month'?"),
        ("a step down at 80 %", "opus while there is money", "7:11", "is written twice"),
        ("tests:\n", "test:\n", "1:1", "unknown key 'test' (did you mean 'tests'?)"),
        ("version: 1\n", "version: 1\npolicy: legl.yaml\n", "2:9", "did you mean 'legal.yaml'?"),
        ("version: 1\n", "version: 2\n", "1:10", "write version: 1"),
        ("tests:\n", "tests: [\n", "", "this is not valid YAML"),
    ],
)
def test_mistakes_have_a_place_and_a_hint(run, policies, write, old, new, place, told):
    """A tests file is read as strictly as a policy: file, line, column, a hint, exit code 3."""
    assert old in TESTS
    file = write(TESTS.replace(old, new, 1))
    said = run("policy", "test", str(policies), "--json")
    assert (said.code, told in said.err) == (3, True), said.err
    assert said.err.startswith(f"{file}:{place}:" if place else f"{file}:")
    assert said.json["error"]["problems"]


@pytest.mark.parametrize(
    ("test", "told"),
    [
        ("{name: a}", "asks nothing"),
        ("{name: a, request: {user: u}}", "expects nothing"),
        ("{name: a, request: {user: u}, expect: {}}", "expects nothing"),
        ("{name: a, spent: {org: 1}, steps: [{user: u, spend: 1}]}", "a series says this in its steps"),
        ("{name: a, steps: []}", "at least one is needed"),
        ("{name: a, steps: [{}]}", "does nothing"),
        ("{name: a, steps: [{spend: 1}]}", "does not say who spends"),
        ("{name: a, steps: [{user: u}]}", "nothing is spent in this step"),
        ("{name: a, steps: [{after: 1h, expect: {line: opus}}]}", "asks nothing"),
        ("{name: a, steps: [{after: 1h, warns: []}]}", "nothing warns"),
        ("{name: a, steps: [{at: 2026-11-01, after: 1h}]}", "both when and how long after"),
        ("{name: a, steps: [{user: u, department: sales, spend: 1}]}", "unknown department 'sales'"),
        (
            "{name: a, steps: [{user: u, spent: {org: 5}}, {user: u, spent: {org: 4}}]}",
            "more is spent already",
        ),
        ("{name: a, request: {user: u, output_tokens: 5}, expect: {line: opus}}", "nothing is sent here"),
        ("{name: a, spent: {user/concurrent: 1}, request: {user: u}, expect: {line: opus}}", "no budget"),
    ],
)
def test_what_a_test_cannot_mean(run, policies, write, test, told):
    """Half a test, and steps that do nothing or contradict themselves, are refused with a place."""
    file = write(f"version: 1\ntests:\n  - {test}\n")
    said = run("policy", "test", str(policies))
    assert (said.code, told in said.err) == (3, True), said.err
    assert said.err.startswith(f"{file}:3:")


def test_the_policies_are_checked_first(run, policies, write):
    """A malformed policy, or one with a model without a price, is what is said: exit code 3."""
    write(TESTS)
    file = policies / "engineering.yaml"
    good = file.read_text(encoding="utf-8")
    for old, new in (("usd: 1,", "usd: -1,"), ("claude-opus-5-5", "claude-opus-9")):
        file.write_text(good.replace(old, new), encoding="utf-8")
        said = run("policy", "test", str(policies))
        assert (said.code, said.err.startswith(f"{file}:")) == (3, True)


def test_the_organisation_s_tests_name_their_department(run, policies, write):
    """Its budgets are tested through a department, which each request names, or the file is refused."""
    test = "{name: a, spent: {org: 100%}, request: {user: ada}, expect: {decision: refused, budget: org}}"
    legal = test.replace("user: ada", "user: ada, department: legal")
    file = write(f"version: 1\ntests: [{legal}]\n", "organization.tests.yaml")
    said = run("policy", "test", str(file))
    assert (said.code, "every threshold is reached" in said.out) == (0, True)
    write(f"version: 1\ntests: [{test}]\n", file.name)
    said = run("policy", "test", str(file))
    assert (said.code, "add `department`" in said.err) == (3, True)


def test_without_tests(run, policies):
    """There is nothing to run: a failure that says how to begin."""
    said = run("policy", "test", str(policies))
    assert (said.code, "--init` writes a first file" in said.err) == (1, True)
    assert run("policy", "test", str(policies / "none.tests.yaml")).code == 3


def test_a_first_file_passes_and_reaches_everything(run, policies):
    """`--init` writes a file beside every policy; run, they pass, and no threshold is left."""
    said = run("policy", "test", str(policies), "--init", "--json").json
    assert said["written"] == [
        f"{policies}/{name}.tests.yaml" for name in ("organization", "engineering", "legal")
    ]
    said = run("policy", "test", str(policies), "--require-all")
    assert (said.code, "every threshold is reached" in said.out) == (0, True), said.out


def test_what_is_there_is_never_written_over(run, policies, write):
    """`--init` keeps a tests file as it is, and fails where there is nothing else to write."""
    file = write(TESTS)
    said = run("policy", "test", str(policies), "--init", "--json")
    assert (said.code, said.json["kept"]) == (0, [str(file)])
    said = run("policy", "test", str(policies / "engineering.yaml"), "--init")
    assert (said.code, "is never written over" in said.err) == (1, True)
    assert file.read_text(encoding="utf-8") == TESTS


RICH = """\
version: 1
department: research
timezone: America/New_York
budgets:
  - {per: department, tokens: 5000000, window: week}
  - {per: [user, model], usd: 20, window: day}
  - {per: model, name: claude-opus-5-5, usd: 7, window: hour}
  - {per: "tag:project", usd: 500.5, window: rolling 7d}
  - {per: feature, usd: 12.34, window: day}
  - {per: user, user_tier: gold, usd: 40, window: month}
  - {per: user, user_tier: tin, usd: 30, window: month}
thresholds: {33%: warn, 50%: {downgrade: sonnet}, 77%: [warn, {downgrade: haiku}], 90%: block}
routing:
  lines: {haiku: claude-haiku-5-5, sonnet: claude-sonnet-5-5, opus: claude-opus-5-5}
  floors: {opus: 29}
features: {draft: {lines: [haiku]}, long: {max_tokens: 9000}}
users: {eve: {user_tier: gold}, "*": {user_tier: tin}}
"""


NEWER = """\
version: 1
department: research
timezone: America/New_York
budgets:
  - {per: department, tokens: 500000, window: week, thresholds: {60%: [warn, {downgrade: haiku}], 95%: block}}
  - {per: user, usd: 400, window: month, pace: even, thresholds: {30%: [warn, {downgrade: sonnet}]}}
  - {per: department, usd: 9000, window: month, keep: 10%, for: [production, urgent]}
  - {per: feature, usd: 12.34, window: day, mode: shadow}
  - {per: user, concurrent: 10, thresholds: {50%: {downgrade: haiku}}}
  - {per: department, requests: 100, window: hour, keep: 20%, for: [production], thresholds: {70%: warn}}
  - {per: run, usd: 3}
thresholds:
  33%: warn
  50%: {downgrade: sonnet}
  90%: block
  department: {80%: warn}
routing:
  lines: {haiku: claude-haiku-5-5, sonnet: claude-sonnet-5-5, opus: claude-opus-5-5}
features: {draft: {lines: [haiku]}, long: {max_tokens: 9000}, production: {}}
"""

TOLD = """\
version: 1
department: research
budgets:
  - {per: user, user_tier: gold, usd: 40, window: month}
  - {per: user, user_tier: tin, usd: 30, window: month}
thresholds: {80%: warn, 90%: {downgrade: haiku}}
routing:
  lines: {haiku: claude-haiku-5-5, sonnet: claude-sonnet-5-5}
users_from: application
"""


@pytest.mark.parametrize("policy", [RICH, NEWER, TOLD], ids=["rich", "newer", "told"])
def test_a_first_file_for_every_kind_of_budget(run, tmp_path, policy):
    """Combinations, tags, tiers, floors, blocks, pace, kept parts, shadow, other units: all are reached."""
    (tmp_path / "research.yaml").write_text(policy, encoding="utf-8")
    assert run("policy", "test", str(tmp_path), "--init").code == 0
    said = run("policy", "test", str(tmp_path), "--require-all")
    assert (said.code, "every threshold is reached" in said.out) == (0, True), said.out


SHADOW = """\
version: 1
tests:
  - name: shadow lets it go, and says what it would do
    spent: {feature/day: 50%}
    request: {user: ada@example.com, feature: long, model: opus}
    expect: {decision: served, line: opus, shadow: SHADOW, reason: opus may fill it to 50 %}
  - name: the last part is kept
    spent: {department/month: 90%}
    request: {user: ada@example.com}
    expect: {decision: refused, budget: department/month, reason: "kept for production, urgent"}
  - name: but not from what is urgent
    spent: {department/month: 90%}
    request: {user: ada@example.com, priority: urgent}
    expect: {decision: served}
  - name: an even pace lets the month's share be spent, and no more
    steps:
      - {at: 2026-11-16, user: ada@example.com, spent: {user/month: 49%}, warns: []}
      - {request: {user: ada@example.com, model: opus}, expect: {line: opus}}
      - {user: ada@example.com, spent: {user/month: 51%}, warns: [user/month 30%]}
      - {request: {user: ada@example.com, model: opus}, expect: {line: sonnet, budget: user/month}}
"""


def test_shadow_pace_and_what_is_kept(run, tmp_path):
    """Tests say what a budget in shadow would have done, at which pace a month is spent, for whom is kept."""
    (tmp_path / "research.yaml").write_text(NEWER, encoding="utf-8")
    file = tmp_path / "research.tests.yaml"
    file.write_text(SHADOW.replace("SHADOW", "downgraded"), encoding="utf-8")
    said = run("policy", "test", str(file))
    assert (said.code, "4 passed, 0 failed" in said.out) == (0, True), said.out
    file.write_text(SHADOW.replace("SHADOW", "refused"), encoding="utf-8")
    said = run("policy", "test", str(file))
    assert (said.code, "shadow: expected refused, got downgraded" in said.out) == (1, True)
    assert "In shadow, and if it were enforced it would say: claude-sonnet-5-5 instead" in said.out


def test_the_reference_tests_pass_and_reach_every_threshold(run):
    """The tests that ship beside the reference policies."""
    said = run("policy", "test", str(data_file("policies")), "--require-all", "--json")
    assert (said.code, said.json["failed"], said.json["not_reached"]) == (0, 0, [])
    assert {test["file"].rpartition("/")[2] for test in said.json["tests"]} == {
        f"{name}.tests.yaml" for name in ("organization", "engineering", "legal", "support")
    }


@pytest.mark.parametrize("name", ["engineering", "legal", "organization", "support"])
def test_the_reference_tests_notice_a_changed_limit(run, tmp_path, name):
    """With any one budget of a reference file raised, one of its tests fails."""
    for source in data_file("policies").iterdir():
        if source.name.endswith(".yaml"):
            shutil.copy(str(source), tmp_path)
    file = tmp_path / f"{name}.yaml"
    good = file.read_text(encoding="utf-8")
    limits = [line for line in good.splitlines() if line.startswith("  - {per: ")]
    for line in limits:
        raised = line.replace("usd: ", "usd: 2").replace("requests: ", "requests: 2")
        raised = raised.replace("concurrent: ", "concurrent: 2")
        file.write_text(good.replace(line, raised), encoding="utf-8")
        assert run("policy", "test", str(tmp_path / f"{name}.tests.yaml")).code == 1, raised


def test_a_series_leaves_nothing_behind(run, policies, write, tmp_path, monkeypatch):
    """Its ledger is a file in the folder for temporary ones, and gone afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    write(TESTS)
    assert run("policy", "test", str(policies)).code == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["policies"]
    assert sorted(entry.name for entry in policies.iterdir() if entry.suffix != ".yaml") == []


def test_a_hundred_tests_and_more(run, write):
    """So many are run with progress shown, and come out as few do."""
    tests = "".join(
        f"  - {{name: t{number}, request: {{user: ada}}, expect: {{line: opus}}}}\n" for number in range(120)
    )
    file = write(f"version: 1\ntests:\n{tests}")
    said = run("policy", "test", str(file))
    assert (said.code, "120 tests: 120 passed, 0 failed" in said.out) == (0, True)
