"""Resolving: which budgets and rules one request is under."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest

from governor import Governor
from governor.budgets import Period, Unit
from governor.errors import PolicyError, PolicyViolation
from governor.policy import LINES, Attribution, Policies, load
from governor.policy.check import check
from governor.policy.remarks import remarks
from governor.pricing import PriceTable

POLICIES = Path(__file__).parents[2] / "policies"
USD = 10**9
ADA = Attribution("engineering", "ada@example.com", "code_review", "pr-1423")
BOB = Attribution("engineering", "bob@example.com")


@pytest.fixture(scope="module")
def policies() -> Policies:
    return load(POLICIES)


def edited(tmp_path: Path, *edits: tuple[str, str], file: str = "engineering.yaml") -> Policies:
    """The reference policies with one file changed."""
    for source in POLICIES.glob("*.yaml"):
        text = source.read_text(encoding="utf-8")
        for old, new in edits if source.name == file else ():
            assert old in text
            text = text.replace(old, new)
        (tmp_path / source.name).write_text(text, encoding="utf-8")
    return load(tmp_path)


def limits(policies: Policies, who: Attribution, *models: str) -> dict[str, int]:
    """Identity to limit of every budget a request touches."""
    return {term.identity: term.limit for term in policies.budgets(who, models)}


def test_a_request_touches_the_organisation_first_and_every_budget_of_its_department(
    policies: Policies,
) -> None:
    """A premium user's request for a feature in a run touches all of these, in file order."""
    assert list(limits(policies, ADA).items()) == [
        ("org/usd/month", 25_000 * USD),
        ("org/user=ada@example.com/usd/day", 400 * USD),
        ("department=engineering/usd/month", 15_000 * USD),
        ("department=engineering/user=ada@example.com/usd/month", 1500 * USD),
        ("department=engineering/user=ada@example.com/usd/day", 100 * USD),
        ("department=engineering/feature=code_review/usd/day", 50 * USD),
        ("department=engineering/run=pr-1423/usd/life", 20 * USD),
        ("department=engineering/user=ada@example.com/requests/minute", 60),
        ("department=engineering/user=ada@example.com/concurrent/life", 8),
    ]


def test_a_request_without_feature_or_run_does_not_touch_theirs(policies: Policies) -> None:
    """Everybody else is of the tier of `*`, and only a named feature or run has its budgets."""
    found = limits(policies, BOB)
    assert found["department=engineering/user=bob@example.com/usd/month"] == 300 * USD
    assert not any("feature=" in identity or "run=" in identity for identity in found)


def test_a_budget_named_for_a_feature_is_for_that_one_only(policies: Policies) -> None:
    """`classify` does not touch the budget of `code_review`."""
    who = Attribution("engineering", "ada@example.com", "classify")
    assert not any("feature=" in identity for identity in limits(policies, who))


def test_promotion_and_new_limits_keep_the_balance(policies: Policies, tmp_path: Path) -> None:
    """Another tier or limit changes no identity, so nothing that was spent is forgotten."""
    changed = edited(
        tmp_path,
        ("ada@example.com: {user_tier: premium}", "ada@example.com: {user_tier: basic}"),
        ('"*": {user_tier: basic}', '"*": {user_tier: premium}'),
        ("usd: 15000", "usd: 1"),
    )
    before, after = limits(policies, BOB), limits(changed, BOB)
    assert list(before) == list(after)
    assert after["department=engineering/user=bob@example.com/usd/month"] == 1500 * USD
    assert after["department=engineering/usd/month"] == USD


def test_thresholds_compile_to_marks(policies: Policies) -> None:
    """80 % to sonnet and 90 % to haiku cap the lines above them, on usd budgets only."""
    for term in policies.budgets(BOB, ()):
        if not term.source.startswith(str(POLICIES / "engineering.yaml")):
            continue
        if term.unit is Unit.USD:
            assert term.caps == {"opus": 8000, "fable": 8000, "mythos": 8000, "sonnet": 9000}
            assert (term.steps, term.warn_steps) == ((8000, 9000, 10000), (8000,))
        else:
            assert (term.caps, term.steps, term.warn_steps, term.floors) == ({}, (), (), {})


def test_the_organisations_thresholds_are_its_own(policies: Policies) -> None:
    """The organisation's budgets warn at its steps and know nothing of a department's downgrades."""
    term = policies.budgets(BOB, ())[0]
    assert (term.scope, term.steps, term.warn_steps, term.caps) == (
        "organization",
        (8000, 9500, 10000),
        (8000, 9500),
        {},
    )


def test_a_block_below_the_limit_caps_every_line(tmp_path: Path) -> None:
    """`95%: block` leaves nobody the last 5 %, and does not loosen an earlier step."""
    policies = edited(tmp_path, ("  100%: block", "  95%: block"))
    term = policies.budgets(BOB, ())[2]
    assert term.caps == {"haiku": 9500, "sonnet": 9000, "opus": 8000, "fable": 8000, "mythos": 8000}
    assert term.steps == (8000, 9000, 9500)


def test_two_steps_to_one_line_keep_the_lower_mark(tmp_path: Path) -> None:
    """A second step to the same line takes nothing back."""
    policies = edited(tmp_path, ("90%: {downgrade: haiku}", "90%: {downgrade: sonnet}"))
    assert policies.budgets(BOB, ())[2].caps == {"opus": 8000, "fable": 8000, "mythos": 8000}


def test_floors_sit_on_the_users_longest_usd_budget(policies: Policies) -> None:
    """One budget bears the floors: the month, not the day; and the cheapest line has none."""
    bearing = {term.identity: term.floors for term in policies.budgets(ADA, ()) if term.floors}
    assert bearing == {
        "department=engineering/user=ada@example.com/usd/month": {
            "sonnet": 50 * USD,
            **dict.fromkeys(("opus", "fable", "mythos"), 200 * USD),
        }
    }


@pytest.mark.parametrize(
    ("lines", "written", "floors"),
    [
        ("haiku sonnet opus", {"sonnet": 50}, {"sonnet": 50, "opus": 50, "fable": 50, "mythos": 50}),
        ("haiku sonnet opus", {"opus": 9, "sonnet": 50}, dict.fromkeys(LINES[1:], 50)),
        ("haiku sonnet opus", {"opus": 9}, {"opus": 9, "fable": 9, "mythos": 9}),
        ("mythos sonnet opus", {"mythos": 7, "opus": 9}, {"opus": 9, "fable": 9, "mythos": 9}),
    ],
)
def test_no_dearer_line_escapes_a_floor(
    tmp_path: Path, lines: str, written: dict[str, int], floors: dict[str, int]
) -> None:
    """A line's floor is the largest of those at or below it, for lines the policy does not list too."""
    text = f"""version: 1
department: team
budgets:
  - {{per: user, usd: 100, window: day}}
routing:
  lines: {json.dumps({line: f"m-{line}" for line in lines.split()})}
  floors: {json.dumps(written)}
"""
    (tmp_path / "team.yaml").write_text(text, encoding="utf-8")
    (term,) = load(tmp_path).budgets(Attribution("team", "ada"), ())
    assert term.floors == {line: dollars * USD for line, dollars in floors.items()}


def test_a_budget_per_model_is_touched_by_that_model_only(tmp_path: Path) -> None:
    """Each model has its balance, and its term names the model."""
    row = "  - {per: model, tokens: 1000, window: day}\n"
    one = "  - {per: model, name: claude-opus-5-5, usd: 9, window: week}\n"
    policies = edited(tmp_path, ("budgets:\n", f"budgets:\n{row}{one}"))
    terms = policies.budgets(BOB, ["claude-haiku-5-5", "claude-opus-5-5"])
    assert [(term.model, term.identity) for term in terms if term.scope == "model"] == [
        ("claude-haiku-5-5", "department=engineering/model=claude-haiku-5-5/tokens/day"),
        ("claude-opus-5-5", "department=engineering/model=claude-opus-5-5/tokens/day"),
        ("claude-opus-5-5", "department=engineering/model=claude-opus-5-5/usd/week"),
    ]
    assert [term.model for term in terms if term.scope != "model"] == [None] * (len(terms) - 3)


def test_the_organisation_counts_departments_and_users_across(tmp_path: Path) -> None:
    """In the organisation's file a user's balance is one for all departments, a department's its own."""
    policies = edited(
        tmp_path,
        ("budgets:\n", "budgets:\n  - {per: department, usd: 20000, window: month}\n"),
        file="organization.yaml",
    )
    legal, engineering = (
        limits(policies, Attribution(name, "eve@example.com")) for name in ("legal", "engineering")
    )
    assert "org/user=eve@example.com/usd/day" in legal.keys() & engineering.keys()
    assert legal["org/department=legal/usd/month"] == 20_000 * USD
    assert "org/department=legal/usd/month" not in engineering


def test_rules_of_the_reference_file(policies: Policies) -> None:
    """The rules are the file's, and the stricter of a department's and the organisation's limits."""
    rules = policies.rules(ADA)
    assert rules.user_tier == "premium"
    assert list(rules.lines.items()) == [
        ("haiku", "claude-haiku-5-5"),
        ("sonnet", "claude-sonnet-5-5"),
        ("opus", "claude-opus-5-5"),
    ]
    assert (rules.routes.default, rules.routes.tiers["standard"].prefer) == ("auto", "sonnet")
    assert (rules.feature_lines, rules.max_tokens) == (None, 4096)
    assert (rules.cost_per_request_nanos, rules.input_tokens) == (50 * USD, 200_000)
    standard = rules.routes.tiers["standard"]
    assert (standard.timeout_s, standard.retries, rules.max_wait_s) == (30.0, 2, 2.0)
    assert rules.on_expiry_charge
    assert (rules.policy_hash, rules.owner) == (policies.hash, "eng-platform@example.com")


def test_the_organisations_limits_hold_where_they_are_stricter(tmp_path: Path) -> None:
    """A department cannot allow a larger request than the organisation does."""
    policies = edited(tmp_path, ("cost_per_request: 100", "cost_per_request: 7"), file="organization.yaml")
    assert policies.rules(BOB).cost_per_request_nanos == 7 * USD


def test_a_feature_restricts_lines_and_tokens(policies: Policies) -> None:
    """`classify` is for haiku and 256 tokens; `*` stands for any other feature where a file has it."""
    rules = policies.rules(Attribution("engineering", "ada@example.com", "classify"))
    assert (rules.feature_lines, rules.max_tokens) == (("haiku",), 256)
    other = policies.rules(Attribution("support", "sam@example.com", "anything"))
    assert (other.feature_lines, other.max_tokens) == (("haiku",), 512)


def test_without_a_standard_tier_auto_is_the_middle(tmp_path: Path) -> None:
    """A file without tiers prefers sonnet, or what it has nearest below."""
    policies = edited(
        tmp_path,
        ("  tiers:\n    standard: {prefer: haiku, timeout: 20, retries: 2}\n", ""),
        file="support.yaml",
    )
    rules = policies.rules(Attribution("support", "sam@example.com"))
    standard = rules.routes.tiers["standard"]
    assert (standard.prefer, standard.retries) == ("sonnet", 2)


def test_expired_holds_may_be_given_back(tmp_path: Path) -> None:
    """`on_expiry: release` reaches the rules."""
    policies = edited(tmp_path, ("mode: enforce", "on_expiry: release\nmode: enforce"))
    assert not policies.rules(BOB).on_expiry_charge


@pytest.mark.parametrize(
    ("who", "says"),
    [
        (Attribution("enginering", "a"), "did you mean 'engineering'?"),
        (Attribution("engineering", "a", "code_reveiw"), "did you mean 'code_review'?"),
        (Attribution("", "a"), "cannot be a department"),
        (Attribution("engineering", ""), "cannot be a user"),
        (Attribution("engineering", "a" * 257), "cannot be a user"),
        (Attribution("engineering", "a\nb"), "cannot be a user"),
        (Attribution("engineering", "a\ud800b"), "cannot be a user"),
        (Attribution("engineering", None), "cannot be a user"),  # type: ignore[arg-type]
        (Attribution("engineering", "a", None, "r\x00"), "cannot be a run"),
        (Attribution("engineering", "a", 5), "cannot be a feature"),  # type: ignore[arg-type]
    ],
)
def test_a_request_by_nobody_known_is_a_violation(policies: Policies, who: Attribution, says: str) -> None:
    """An unknown department or feature is refused with the nearest name; what is no id is refused too."""
    with pytest.raises(PolicyViolation) as caught:
        policies.rules(who)
    assert says in str(caught.value)


def test_without_a_row_for_everybody_an_unknown_user_is_refused(tmp_path: Path) -> None:
    """Where `users` lists people and no `*`, others may not ask; and no other name is given away."""
    policies = edited(tmp_path, ('  "*": {user_tier: basic}\n', "  eve: {user_tier: basic}\n"))
    for ask in (policies.rules, lambda who: policies.budgets(who, ())):
        with pytest.raises(PolicyViolation) as caught:
            ask(BOB)
        assert "engineering.yaml" in str(caught.value)
        assert "ada" not in str(caught.value)
    assert policies.rules(ADA).user_tier == "premium"


def test_ids_beyond_ascii_are_ids(policies: Policies) -> None:
    """A user may have any name; its balance is written percent-encoded and found again."""
    who = Attribution("engineering", "zoë/{x}=*")
    term = policies.budgets(who, ())[3]
    assert term.identity == "department=engineering/user=zo%C3%AB%2F%7Bx%7D%3D%2A/usd/month"
    assert policies.limit_of(term.identity) == term


@pytest.mark.parametrize("who", [ADA, BOB, Attribution("support", "sam", "reply_draft", "r")])
def test_an_identity_leads_back_to_its_budget(policies: Policies, who: Attribution) -> None:
    """Every balance a request touches is found again by its identity, at the user's own limit."""
    for term in policies.budgets(who, ()):
        assert policies.limit_of(term.identity) == term


@pytest.mark.parametrize(
    "identity",
    [
        "",
        "usd",
        "usd/month",
        "department=sales/usd/month",
        "department=engineering/usd/year",
        "department=engineering/feature=classify/usd/day",
        "org/feature=x/usd/day",
        "department=engineering/user=/usd/day",
        "department=engineering/user=%00/usd/day",
        f"department=engineering/user={'a' * 257}/usd/day",
        "///",
    ],
)
def test_an_identity_of_no_budget_is_none(policies: Policies, identity: str) -> None:
    """A balance that no file speaks of (any more) has no limit."""
    assert policies.limit_of(identity) is None


def test_all_terms_are_the_budgets_as_written(policies: Policies) -> None:
    """The rows name their file and line, the organisation's first."""
    rows = policies.all_terms()
    assert [(row.department, row.scope, row.user_tier) for row in rows[:4]] == [
        (None, "organization", None),
        (None, "user", None),
        ("engineering", "department", None),
        ("engineering", "user", "premium"),
    ]
    assert rows[2].source == f"{POLICIES / 'engineering.yaml'}:8"
    assert (rows[2].unit, rows[2].period, rows[2].timezone) == (Unit.USD, Period.MONTH, "Europe/Berlin")


def test_check_names_models_without_a_price(tmp_path: Path) -> None:
    """Every model a file names must be one the price table knows, or is reported at its place."""
    row = "budgets:\n  - {per: model, name: claude-opus-4, usd: 9, window: week}\n"
    policies = edited(tmp_path, ("budgets:\n", row), ("claude-sonnet-5-5", "claude-sonnet-6"))
    problems = check(policies, PriceTable.load())
    found = [(Path(p.file).name, p.line, p.column) for p in problems]
    assert found == [("engineering.yaml", 8, 24), ("engineering.yaml", 24, 44)]
    assert "claude-sonnet-6" in problems[1].message


def test_check_refuses_a_budget_named_for_an_alias(tmp_path: Path) -> None:
    """Requests count under a model's id, so a budget of an alias is reported; a line may name either."""
    dated = "claude-haiku-4-5-20251001"
    rows = "".join(
        f"  - {{per: model, name: {name}, usd: 9, window: week}}\n"
        for name in (dated, "claude-opus-5-5", "gpt")
    )
    policies = edited(tmp_path, ("budgets:\n", f"budgets:\n{rows}"), ("claude-haiku-5-5", dated))
    alias, unknown = check(policies, PriceTable.load())
    assert (Path(alias.file).name, alias.line, alias.column) == ("engineering.yaml", 8, 24)
    assert repr(dated) in alias.message
    assert alias.hint == "write claude-haiku-4-5"
    assert (unknown.line, unknown.column) == (10, 24)
    assert "no price" in unknown.message


def test_a_name_of_vertex_needs_its_endpoint(tmp_path: Path) -> None:
    """Such a name has two prices, so its file, or the organisation's, says which endpoint serves."""
    name, endpoint = "claude-haiku-4-5@20251001", "workspace: {endpoint: regional}\n"
    (problem,) = check(edited(tmp_path, ("claude-haiku-5-5", name)), PriceTable.load())
    assert (Path(problem.file).name, problem.line) == ("engineering.yaml", 23)
    assert problem.hint == "add `workspace: {endpoint: global}`, or regional"
    said = edited(tmp_path, ("claude-haiku-5-5", name), ("budgets:\n", f"{endpoint}budgets:\n"))
    assert check(said, PriceTable.load()) == []


def test_check_refuses_a_line_that_has_no_price_yet(tmp_path: Path) -> None:
    """A model whose first price is of a later day is reported until that day, at its place."""
    policies = edited(tmp_path, ("opus: claude-opus-5-5}", "opus: claude-opus-5-5, fable: claude-fable-5-2}"))
    (problem,) = check(policies, PriceTable.load(), date(2026, 11, 8))
    assert (Path(problem.file).name, problem.line) == ("engineering.yaml", 23)
    assert problem.message == "model 'claude-fable-5-2' has no price before 2026-11-09"
    assert check(policies, PriceTable.load(), date(2026, 11, 9)) == []


def test_a_dearer_model_cannot_stand_under_a_cheaper_line(tmp_path: Path) -> None:
    """Opus under haiku would dodge every step down; a cheaper model may stand anywhere."""
    policies = edited(tmp_path, ("haiku: claude-haiku-5-5", "haiku: claude-opus-4-8"))
    (problem,) = check(policies, PriceTable.load())
    assert (Path(problem.file).name, problem.line) == ("engineering.yaml", 23)
    assert "'claude-opus-4-8' is of the line 'opus', a dearer one" in problem.message
    cheaper = edited(tmp_path, ("sonnet: claude-sonnet-5-5", "sonnet: claude-haiku-4-5"))
    assert check(cheaper, PriceTable.load()) == []


def test_a_governor_does_not_load_with_a_line_that_has_no_price_yet(tmp_path: Path) -> None:
    """Loading is refused by the governor's own clock, to the last millisecond before the first price."""
    edited(tmp_path, ("opus: claude-opus-5-5}", "opus: claude-opus-5-5, fable: claude-fable-5-2}"))
    ledger, nov_9_ms = f"sqlite:///{tmp_path}/governor.db", 1_794_182_400_000
    with pytest.raises(PolicyError, match="has no price before 2026-11-09") as caught:
        Governor.load(tmp_path, ledger=ledger, clock=lambda: nov_9_ms - 1)
    assert caught.value.line == 23
    Governor.load(tmp_path, ledger=ledger, clock=lambda: nov_9_ms).close()


def test_a_limit_above_the_organisations_is_remarked(tmp_path: Path, policies: Policies) -> None:
    """A department's limit that the organisation's makes unreachable is a remark, not an error."""
    assert remarks(policies) == []
    changed = edited(
        tmp_path, ("usd: 15000", "usd: 30000"), ("usd: 100, window: day", "usd: 401, window: day")
    )
    assert [(notice.line, notice.path) for notice in remarks(changed)] == [
        (8, "budgets[0].usd"),
        (11, "budgets[3].usd"),
    ]


@pytest.mark.parametrize("odd", [None, "", 7])
def test_an_odd_department_is_refused_wherever_budgets_are_asked_for(policies: Policies, odd: object) -> None:
    """A damaged record may name anything: budgets are refused in words, like rules."""
    for ask in (policies.rules, lambda who: policies.budgets(who, ["claude-haiku-5-5"])):
        with pytest.raises(PolicyViolation, match="cannot be a department"):
            ask(Attribution(odd, "ada@example.com"))  # type: ignore[arg-type]
