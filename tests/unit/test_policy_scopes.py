"""Tags, combinations and rolling windows: what a file may say of them, and which balances that makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.budgets import Period, Unit, period_of
from governor.errors import PolicyError, PolicyViolation
from governor.ledger.commands import BudgetRow
from governor.policy import Attribution, load
from governor.policy.check import check
from governor.policy.positions import read_yaml
from governor.policy.remarks import remarks
from governor.policy.schema import json_schema
from governor.policy.scopes import SCOPES, in_order
from governor.policy.terms import BudgetRow as Row
from governor.pricing import PriceTable
from governor.story import matrix

if TYPE_CHECKING:
    from pathlib import Path

    from governor.policy import Policies

USD = 10**9
MODELS = ["claude-haiku-5-5", "claude-opus-5-5"]
TEAM = """\
version: 1
department: team
budgets:
  - {budget}
routing:
  lines: {{haiku: claude-haiku-5-5, opus: claude-opus-5-5}}
features:
  chat: {{max_tokens: 5}}
users:
  ada: {{user_tier: premium}}
  "*": {{user_tier: basic}}
"""
ORGANIZATION = """\
version: 1
organization: acme
budgets:
  - {budget}
"""
FALLBACK = "{per: department, usd: 1, window: month}"
TIERS = """\
{per: user, user_tier: premium, usd: 9, window: month}
  - {per: user, user_tier: basic, usd: 5, window: month}"""


def team(folder: Path, *budgets: str, shared: str = "") -> Policies:
    """The policies of one team with these budgets, and of its organisation with *shared*."""
    (folder / "team.yaml").write_text(TEAM.format(budget="\n  - ".join([TIERS, *budgets])))
    if shared:
        (folder / "organization.yaml").write_text(ORGANIZATION.format(budget=shared))
    return load(folder)


def touched(policies: Policies, who: Attribution) -> dict[str, str | None]:
    """Identity to the only model of every budget that a request touches, but the tiered ones."""
    terms = policies.budgets(who, MODELS)
    return {term.identity: term.model for term in terms if not term.identity.endswith("user=ada/usd/month")}


@pytest.mark.parametrize(
    ("budget", "tags", "identities"),
    [
        (
            '{per: "tag:project", usd: 5, window: day}',
            {"project": "atlas"},
            ["department=team/tag.project=atlas/usd/day"],
        ),
        ("{per: tag:project, usd: 5, window: day}", {"team": "x"}, []),
        (
            '{per: "tag:project", name: atlas, usd: 50, window: day}',
            {"project": "atlas"},
            ["department=team/tag.project=atlas/usd/day"],
        ),
        ('{per: "tag:project", name: atlas, usd: 50, window: day}', {"project": "zeus"}, []),
        (
            "{per: [model, user], usd: 20, window: day}",
            {},
            [
                "department=team/user=ada/model=claude-haiku-5-5/usd/day",
                "department=team/user=ada/model=claude-opus-5-5/usd/day",
            ],
        ),
        (
            "{per: [user, model], name: {model: claude-opus-5-5}, usd: 20, window: day}",
            {},
            ["department=team/user=ada/model=claude-opus-5-5/usd/day"],
        ),
        (
            '{per: ["tag:b", "tag:a", run, feature], tokens: 20}',
            {"a": "1/2", "b": "x=y"},
            ["department=team/feature=chat/run=r1/tag.a=1%2F2/tag.b=x%3Dy/tokens/life"],
        ),
        (
            '{per: [user, "tag:a"], name: {"tag:a": "on"}, usd: 7, window: rolling 7d}',
            {"a": "on"},
            ["department=team/user=ada/tag.a=on/usd/rolling-7d"],
        ),
        (
            "{per: user, requests: 5, window: rolling 90m}",
            {},
            ["department=team/user=ada/requests/rolling-90m"],
        ),
    ],
)
def test_a_request_touches_the_budgets_of_what_it_carries(
    tmp_path: Path, budget: str, tags: dict[str, str], identities: list[str]
) -> None:
    """A budget per tag or combination is touched by requests that carry all of it, under one identity."""
    policies = team(tmp_path, budget)
    who = Attribution("team", "ada", "chat", "r1", tuple(sorted(tags.items())))
    found = touched(policies, who)
    assert list(found) == identities
    assert list(found.values()) == [
        next((model for model in MODELS if f"model={model}/" in identity), None) for identity in identities
    ]
    assert all(policies.limit_of(term.identity) == term for term in policies.budgets(who, MODELS))


def test_the_organisation_counts_combinations_across_departments(tmp_path: Path) -> None:
    """In the organisation's file a combination may name the department; without it, it is one for all."""
    shared = """{per: ["tag:project", department], usd: 5, window: day}
  - {per: ["tag:project", model], usd: 5, window: day}
  - {per: department, usd: 5, window: day}"""
    policies = team(tmp_path, FALLBACK, shared=shared)
    who = Attribution("team", "ada", tags=(("project", "atlas"),))
    assert list(touched(policies, who))[:4] == [
        "org/department=team/tag.project=atlas/usd/day",
        "org/model=claude-haiku-5-5/tag.project=atlas/usd/day",
        "org/model=claude-opus-5-5/tag.project=atlas/usd/day",
        "org/department=team/usd/day",
    ]
    assert all(policies.limit_of(term.identity) == term for term in policies.budgets(who, MODELS))


def test_a_tier_holds_for_combinations_with_the_user(tmp_path: Path) -> None:
    """A combination for a tier is touched by its users only, and found again at the user's own limit."""
    rows = [
        f"{{per: [user, model], user_tier: {tier}, usd: {usd}, window: day}}"
        for tier, usd in (("premium", 3), ("basic", 1))
    ]
    policies = team(tmp_path, *rows)
    limits = {}
    for user in ("ada", "bob"):
        for term in policies.budgets(Attribution("team", user), MODELS[:1]):
            limits[term.identity] = term.limit
            assert policies.limit_of(term.identity) == term
    assert limits["department=team/user=ada/model=claude-haiku-5-5/usd/day"] == 3 * USD
    assert limits["department=team/user=bob/model=claude-haiku-5-5/usd/day"] == USD


def test_one_departments_tier_decides_its_own_share_of_the_organisations_budget(tmp_path: Path) -> None:
    """Of a budget per department and user, the department in the identity says the user's tier."""
    shared = """{per: [department, user], user_tier: premium, usd: 9, window: day}
  - {per: [department, user], user_tier: basic, usd: 1, window: day}"""
    (tmp_path / "other.yaml").write_text(
        TEAM.format(budget=TIERS).replace("department: team", "department: other").replace("  ada", "  eve")
    )
    policies = team(tmp_path, FALLBACK, shared=shared)
    for department, limit in (("team", 9), ("other", 1)):
        found = policies.limit_of(f"org/department={department}/user=ada/usd/day")
        assert found.limit == limit * USD
    assert policies.limit_of("org/department=nobody/user=ada/usd/day") is None


@pytest.mark.parametrize(
    "identity",
    [
        "department=team/model=claude-opus-5-5/user=ada/usd/day",
        "department=team/user=ada/usd/day",
        "department=team/user=ada/user=ada/model=claude-opus-5-5/usd/day",
        "department=team/user=ada/model=/usd/day",
        "department=team/tag:project=atlas/usd/day",
        "department=team/tag.project=zeus/usd/day",
        "department=team/tag.=atlas/usd/day",
        "department=team/tag.project=atlas/usd/rolling-1d",
    ],
)
def test_what_no_budget_is_called_is_found_nowhere(tmp_path: Path, identity: str) -> None:
    """Another order, a dimension too many or too few, another value of a named tag: no budget."""
    combined = "{per: [user, model], usd: 20, window: day}"
    policies = team(tmp_path, combined, '{per: "tag:project", name: atlas, usd: 5, window: day}')
    assert policies.limit_of(identity) is None
    assert policies.limit_of("department=team/user=x/model=m/usd/day").limit == 20 * USD
    assert policies.limit_of("department=team/tag.project=atlas/usd/day").limit == 5 * USD


ids = st.text(min_size=1, max_size=8).filter(
    lambda text: not any(0xD800 <= ord(char) <= 0xDFFF for char in text)
)
tags = st.from_regex(r"[a-z0-9_-]{1,6}", fullmatch=True).map("tag:{}".format)
inner_scopes = st.sampled_from([scope for scope in SCOPES if scope != "organization"]) | tags
balances = st.tuples(
    st.sampled_from(["team", None]),
    st.dictionaries(inner_scopes, ids, min_size=1, max_size=4),
    st.sampled_from(Unit),
    st.sampled_from([*Period, period_of("rolling 7d"), period_of("rolling 24h")]),
)


def identity_of(department, values, unit, period):
    """The identity of one balance under a row that counts per all of *values*."""
    scopes = in_order(values)
    return Row(department, scopes, {}, None, unit, period, "UTC", 1, (), (), {}, "").identity(values)


@given(balances, balances)
def test_identities_never_collide(one, other):
    """Two balances have one identity only if file, scopes, values, unit and window are the same."""
    first, second = (identity_of(*balance) for balance in (one, other))
    said = [
        (
            department,
            {scope: value for scope, value in values.items() if not (department and scope == "department")},
            *rest,
        )
        for department, values, *rest in (one, other)
    ]
    assert (first == second) == (said[0] == said[1])
    assert not set(first) & set(":{} \n*")


@given(balances)
def test_the_order_a_file_lists_scopes_in_does_not_matter(balance):
    """The identity is of the combination, in one order."""
    department, values, unit, period = balance
    turned = dict(reversed(values.items()))
    assert identity_of(department, values, unit, period) == identity_of(department, turned, unit, period)


@pytest.mark.parametrize(
    ("budget", "column", "says"),
    [
        ("{per: tags:project, usd: 5, window: day}", 11, "unknown scope 'tags:project'"),
        ("{per: tag:Project, usd: 5, window: day}", 11, "'Project' cannot be a tag's name"),
        ('{per: "tag:", usd: 5, window: day}', 11, "cannot be a tag's name"),
        ("{per: project, usd: 5, window: day}", 11, "tag:NAME"),
        ("{per: [user, modle], usd: 5, window: day}", 18, "did you mean 'model'?"),
        ("{per: [user, [model]], usd: 5, window: day}", 18, "valid string"),
        ("{per: {user: ada}, usd: 5, window: day}", 11, "valid string"),
        ("{per: [user], usd: 5, window: day}", 11, "one scope is written without brackets"),
        ("{per: [], usd: 5, window: day}", 11, "2 to 4 scopes, not 0"),
        ("{per: [user, model, run, feature, 'tag:a'], usd: 5}", 11, "2 to 4 scopes, not 5"),
        ("{per: [user, model, user], usd: 5, window: day}", 25, "'user' stands here twice"),
        ("{per: [user, department], usd: 5, window: day}", 18, "goes without saying"),
        ("{per: [organization, user], usd: 5, window: day}", 12, "move it to organization.yaml"),
        ("{per: [user, model], usd: 5}", 5, "no window"),
        ("{per: [user, model], concurrent: 5, window: rolling 1d}", 49, "remove the window"),
        ("{per: user, concurrent: 5, window: rolling 1d}", 40, "remove the window"),
        ("{per: user, usd: 5, window: rolling-7d}", 33, "did you mean 'rolling 7d'?"),
        ("{per: user, usd: 5, window: rolling 7w}", 33, "did you mean 'rolling 7d'?"),
        ("{per: user, usd: 5, window: rolling 0d}", 33, "did you mean 'rolling 7d'?"),
        ("{per: [user, model], name: claude-opus-5-5, usd: 5, window: day}", 26, "{model: claude-opus-5-5}"),
        ("{per: ['tag:a', user], name: x, usd: 5, window: day}", 28, '{"tag:a": x}'),
        (
            "{per: model, name: {model: claude-opus-5-5}, usd: 5, window: day}",
            18,
            "write name: claude-opus-5-5",
        ),
        (
            "{per: [user, model], name: {feature: chat}, usd: 5, window: day}",
            33,
            "'feature' is not counted here",
        ),
        ("{per: [user, model], name: {modle: m}, usd: 5, window: day}", 33, "did you mean 'model'?"),
        ("{per: [user, model], name: {user: ada}, usd: 5, window: day}", 33, "not one per user"),
        ("{per: [user, model], name: {model: opus}, usd: 5, window: day}", 33, "is a line, not a model"),
        ("{per: [user, model], name: {}, usd: 5, window: day}", 32, "at least one is needed"),
        ("{per: [user, model], name: {model: 5}, usd: 5, window: day}", 40, "valid string"),
        ("{per: [user, model], name: [opus], usd: 5, window: day}", 32, "valid string"),
        ("{per: [user, feature], name: {feature: chta}, usd: 5, window: day}", 44, "did you mean 'chat'?"),
        ("{per: ['tag:a', model], user_tier: basic, usd: 5, window: day}", 29, "not one per tag:a and model"),
        ("{per: [user, model], user_tier: basik, usd: 5, window: day}", 37, "did you mean 'basic'?"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_its_place(
    tmp_path: Path, budget: str, column: int, says: str
) -> None:
    """One fault of a tag, a combination or a rolling window is one problem, with a hint."""
    with pytest.raises(PolicyError) as caught:
        team(tmp_path, budget)
    (problem,) = caught.value.problems
    assert says in str(problem)
    assert (problem.line, problem.column) == (6, column), problem


@pytest.mark.parametrize(
    ("one", "other", "clash"),
    [
        ("{per: [user, model], usd: 5, window: day}", "{per: [model, user], usd: 9, window: day}", True),
        ("{per: tag:a, usd: 5, window: rolling 24h}", "{per: tag:a, usd: 9, window: rolling 1d}", True),
        ("{per: tag:a, usd: 5, window: rolling 1d}", "{per: tag:a, usd: 9, window: day}", False),
        ("{per: tag:a, usd: 5, window: day}", "{per: tag:b, usd: 9, window: day}", False),
        ("{per: tag:a, usd: 5, window: day}", "{per: tag:a, name: x, usd: 9, window: day}", True),
        ("{per: tag:a, name: y, usd: 5, window: day}", "{per: tag:a, name: x, usd: 9, window: day}", False),
        (
            "{per: [user, tag:a], name: {tag:a: x}, usd: 5, window: day}",
            "{per: [user, tag:a], name: {tag:a: y}, usd: 5, window: day}",
            False,
        ),
        (
            "{per: [model, tag:a], name: {tag:a: x}, usd: 5, window: day}",
            "{per: [model, tag:a], name: {model: claude-opus-5-5}, usd: 5, window: day}",
            True,
        ),
        (
            "{per: [user, tag:a], user_tier: basic, usd: 5, window: day}",
            "{per: [user, tag:a], user_tier: premium, usd: 5, window: day}",
            False,
        ),
    ],
)
def test_two_budgets_that_count_the_same_are_refused(
    tmp_path: Path, one: str, other: str, clash: bool
) -> None:
    """Whatever their order or spelling; budgets for different names, tiers or tags are two."""
    if not clash:
        assert len(team(tmp_path, one, other).all_terms()) == 4
        return
    with pytest.raises(PolicyError, match="counts the same as the budget on line 6") as caught:
        team(tmp_path, one, other)
    assert (caught.value.line, caught.value.column) == (7, 5)


def test_the_organisation_combines_itself_with_nothing(tmp_path: Path) -> None:
    """Every request is of the organisation, so `[organization, user]` says no more than `user`."""
    with pytest.raises(PolicyError, match="it makes no combination") as caught:
        team(tmp_path, FALLBACK, shared="{per: [user, organization], usd: 5, window: day}")
    assert (caught.value.line, caught.value.column) == (4, 18)


def test_prices_and_the_organisations_limits_are_checked_in_combinations(tmp_path: Path) -> None:
    """A model without a price is named where it stands, and a limit above the organisation's is remarked."""
    shared = "{per: [department, model], name: {model: claude-opus-5-5}, usd: 5, window: day}"
    policies = team(
        tmp_path,
        "{per: model, name: claude-opus-5-5, usd: 6, window: day}",
        "{per: [user, model], name: {model: claude-opus-9}, usd: 6, window: day}",
        shared=shared,
    )
    (problem,) = check(policies, PriceTable.load())
    assert (problem.line, problem.column) == (7, 40)
    assert problem.message == "model 'claude-opus-9' has no price"
    (remark,) = remarks(policies)
    assert (remark.line, remark.path) == (6, "budgets[2].usd")


@pytest.mark.parametrize(
    ("windows", "longest"),
    [
        (("day", "rolling 23h"), "day"),
        (("day", "rolling 25h"), "rolling-25h"),
        (("week", "rolling 7d", "month"), "month"),
        (("month", "rolling 30d"), "month"),
        (("month", "rolling 31d"), "rolling-31d"),
        (("rolling 9999d", "life"), "life"),
        (("rolling 48h", "rolling 90m"), "rolling-48h"),
    ],
)
def test_floors_are_judged_on_the_longest_window(tmp_path: Path, windows: tuple, longest: str) -> None:
    """A rolling window is as long as it says, a month 30.4 days, and a combination bears no floor."""
    budgets = [f"{{per: user, usd: 50, window: {window}}}" for window in windows]
    text = TEAM.format(budget="\n  - ".join([*budgets, "{per: [user, run], usd: 50}"]))
    text = text.partition("users:")[0].replace("routing:\n", "routing:\n  floors: {opus: 9}\n")
    (tmp_path / "team.yaml").write_text(text)
    terms = load(tmp_path).budgets(Attribution("team", "ada", None, "r1"), ())
    assert [term.identity.rsplit("/", 1)[-1] for term in terms if term.floors] == [longest]


def test_a_rolling_budget_reaches_the_ledger_with_its_buckets(tmp_path: Path) -> None:
    """Its row has no end and one window for good, 48 buckets long; a calendar one has no buckets."""
    policies = team(tmp_path, "{per: department, usd: 5, window: rolling 7d}")
    terms = policies.budgets(Attribution("team", "ada"), ())
    rolling, month = (
        next(row for row in matrix.build(terms, (), 1_795_176_000_000).rows if f"/usd/{span}" in row.identity)
        for span in ("rolling-7d", "month")
    )
    assert rolling == BudgetRow(
        "department=team/usd/rolling-7d", "rolling", 0, 0, Unit.USD, 5 * USD, (), 7 * 86_400_000 // 48
    )
    assert month.bucket_ms == 0
    assert policies.not_in_force == ()


@pytest.mark.parametrize(
    ("tags", "says"),
    [
        ((("Project", "x"),), "'Project' cannot be a tag's name"),
        (((5, "x"),), "5 cannot be a tag's name"),
        ((("", "x"),), "cannot be a tag's name"),
        ((("project", ""),), "'' cannot be a value of the tag project"),
        ((("project", "a\nb"),), "cannot be a value of the tag project"),
        ((("project", None),), "None cannot be a value of the tag project"),
        ((("project", ["x"]),), "cannot be a value of the tag project"),
        (tuple((f"t{n:02}", "x") for n in range(17)), "at most 16 tags, this one has 17"),
    ],
)
def test_odd_tags_are_a_violation(tmp_path: Path, tags: tuple, says: str) -> None:
    """A tag that cannot be in an identity is refused by the policy, before anything else looks at it."""
    policies = team(tmp_path, FALLBACK)
    with pytest.raises(PolicyViolation) as caught:
        policies.rules(Attribution("team", "ada", tags=tags))
    assert says in str(caught.value)
    sixteen = tuple((f"t{n:02}", "é" * 256) for n in range(16))
    assert policies.rules(Attribution("team", "ada", tags=sixteen)).attribution.tags == sixteen


@pytest.mark.parametrize(
    ("budget", "right"),
    [
        ({"per": "tag:project"}, True),
        ({"per": ["user", "tag:project"], "name": {"tag:project": "atlas"}}, True),
        ({"per": "model", "name": "claude-opus-5-5", "window": "rolling 36h"}, True),
        ({"per": "tag:Project"}, False),
        ({"per": ["user"]}, False),
        ({"per": ["user", "user"]}, False),
        ({"per": ["user", "modle"]}, False),
        ({"per": ["user", "model"], "name": {"modle": "x"}}, False),
        ({"per": ["user", "model"], "name": {}}, False),
        ({"per": "user", "window": "rolling 7w"}, False),
    ],
)
def test_editors_know_them(budget: dict, right: bool) -> None:
    """The JSON schema takes tags, combinations and rolling windows, and refuses what is misspelt."""
    text = TEAM.format(budget=FALLBACK)
    policy = read_yaml("team.yaml", text).root.plain()
    policy["budgets"] = [{"usd": 5, "window": "day", **budget}]
    errors = list(jsonschema.Draft202012Validator(json_schema()).iter_errors(policy))
    assert (errors == []) == right, errors
