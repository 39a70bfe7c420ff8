"""Thresholds of a file, a scope and a budget, pace and kept parts: what is read, and what cannot be meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from governor.errors import PolicyError
from governor.policy import Attribution, load
from governor.policy.remarks import remarks

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "version: 1\ndepartment: research\n"
LINES = "routing:\n  lines: {haiku: claude-haiku-5-5, sonnet: claude-sonnet-5-5, opus: claude-opus-5-5}\n"
MONTH = "  - {per: department, usd: 10, window: month}\n"


def write(folder: Path, text: str, *, shared: str = "") -> Path:
    """A folder with this department's file, and an organisation's if *shared* says something."""
    (folder / "research.yaml").write_text(HEAD + text + LINES, encoding="utf-8")
    if shared:
        floor = f"version: 1\norganization: acme\n{shared}"
        (folder / "organization.yaml").write_text(floor, encoding="utf-8")
    return folder


def terms(folder: Path, who: Attribution | None = None):
    """The budgets that a request of the department touches."""
    return load(folder).budgets(who or Attribution("research", "ada"), ["claude-haiku-5-5"])


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("budgets:\n" + MONTH + "thresholds:\n  usr: {80%: warn}\n", (6, 3), "unknown scope 'usr'"),
        ("budgets:\n" + MONTH + "thresholds:\n  user: {80%: warn}\n", (6, 3), "no usd budget per user"),
        ("budgets:\n" + MONTH + "thresholds:\n  department: {}\n", (6, 15), "at least one is needed"),
        ("budgets:\n" + MONTH + "thresholds:\n  department: warn\n", (6, 15), "should be a mapping"),
        ("budgets:\n" + MONTH + "thresholds:\n  180%: warn\n", (6, 3), "'180%' is not a threshold"),
        (
            "budgets:\n  - {per: department, usd: 1, window: day, thresholds: {80%: wran}}\n",
            (4, 62),
            "did you mean 'warn'",
        ),
        (
            "budgets:\n  - {per: department, usd: 1, window: day, thresholds: {80%: {downgrade: mythos}}}\n",
            (4, 74),
            "'mythos' is not in routing.lines",
        ),
        (
            "budgets:\n  - per: user\n    concurrent: 3\n    thresholds: {80%: warn}\n",
            (6, 5),
            "calls in flight are not spent",
        ),
        ("budgets:\n  - {per: user, usd: 1, window: day, keep: 10%}\n", (4, 38), "'keep' goes with 'for'"),
        ("budgets:\n  - {per: user, usd: 1, window: day, keep: 10, for: [a]}\n", (4, 44), "such as 80%"),
        ("budgets:\n  - {per: user, usd: 1, window: day, for: [a]}\n", (4, 38), "'for' goes with 'keep'"),
        ("budgets:\n  - {per: user, usd: 1, window: day, for: [], keep: 9%}\n", (4, 43), "at least one"),
        ("budgets:\n  - {per: user, usd: 1, window: day, keep: 100%, for: [a]}\n", (4, 38), "all of it"),
        (
            "budgets:\n  - {per: feature, name: a, usd: 1, window: day, keep: 9%, for: [a]}\n",
            (4, 60),
            "all that this budget counts is of the feature 'a'",
        ),
        (
            "budgets:\n  - {per: user, usd: 1, window: day, pace: odd}\n",
            (4, 44),
            "'odd' is not known here",
        ),
        (
            "budgets:\n  - {per: user, usd: 1, window: rolling 7d, pace: even}\nthresholds: {80%: warn}\n",
            (4, 45),
            "only a window with a beginning and an end",
        ),
        ("budgets:\n  - {per: user, usd: 1, window: day, pace: even}\n", (4, 38), "no warn and no downgrade"),
        ("budgets:\n  - {per: user, usd: 1, window: day, mode: quiet}\n", (4, 44), "'quiet' is not known"),
        ("mode: shadwo\nbudgets:\n" + MONTH, (3, 7), "did you mean 'shadow'"),
        ("budgets:\n  - {per: user, usd: 1, window: day, kep: 10%}\n", (4, 38), "did you mean 'keep'"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_its_place(
    tmp_path: Path, text: str, place: tuple[int, int], said: str
) -> None:
    """Each mistake is named with line, column and what to write instead."""
    with pytest.raises(PolicyError) as raised:
        load(write(tmp_path, text))
    (problem,) = raised.value.problems
    assert said in f"{problem.message} ({problem.hint})"
    assert (problem.line, problem.column) == place


def test_the_nearest_steps_are_a_budgets_only_ones(tmp_path: Path) -> None:
    """Its own before its scope's before the file's; budgets of another unit have only their own."""
    text = (
        "budgets:\n" + MONTH + "  - {per: user, usd: 10, window: month}\n"
        "  - {per: user, usd: 10, window: day, thresholds: {50%: warn, 60%: block}}\n"
        "  - {per: user, requests: 10, window: day}\n"
        "thresholds:\n  80%: {downgrade: haiku}\n  user: {70%: warn}\n"
    )
    found = terms(write(tmp_path, text))
    assert [(term.steps, term.warn_steps, term.block_bp) for term in found] == [
        ((8000,), (), 10_000),
        ((7000,), (7000,), 10_000),
        ((5000, 6000), (5000,), 6000),
        ((), (), 10_000),
    ]


def test_the_organisations_file_may_be_made_stricter_and_not_looser(tmp_path: Path) -> None:
    """Of two caps the lower holds; warnings are each file's own; one in shadow is no floor."""
    text = "budgets:\n" + MONTH + "thresholds: {60%: {downgrade: haiku}, 95%: warn}\n"
    shared = "thresholds: {50%: warn, 70%: {downgrade: sonnet}, 90%: block}\n"
    (term,) = terms(write(tmp_path, text, shared=shared))
    assert (term.steps, term.warn_steps) == ((6000, 7000, 9000, 9500), (9500,))
    assert [term.mark_bp(line, 0) for line in ("haiku", "sonnet", "opus")] == [9000, 6000, 6000]
    (term,) = terms(write(tmp_path, text, shared=shared + "mode: shadow\n"))
    assert [term.mark_bp(line, 0) for line in ("haiku", "sonnet", "opus")] == [10_000, 6000, 6000]


def test_a_kept_part_is_kept_from_all_but_those_named(tmp_path: Path) -> None:
    """By feature or by priority; in the rows of `all_terms` it is said for whom."""
    folder = write(
        tmp_path,
        "budgets:\n  - {per: user, usd: 1, window: day, keep: 25%, for: [production, urgent]}\n",
    )
    asked = [
        Attribution("research", "ada"),
        Attribution("research", "ada", feature="production"),
        Attribution("research", "ada", feature="play", priority="urgent"),
        Attribution("research", "ada", feature="play"),
    ]
    assert [terms(folder, who)[0].share_bp for who in asked] == [7500, 10_000, 10_000, 7500]
    (row,) = load(folder).all_terms()
    assert (row.keep_bp, row.kept_for) == (2500, ("production", "urgent"))


@pytest.mark.parametrize(
    ("budgets", "features", "paths"),
    [
        (MONTH, "features: {a: {}}\n", []),
        ("  - {per: feature, name: a, usd: 1, window: day}\n", "features: {a: {}, b: {}}\n", ["b", ""]),
        ("  - {per: feature, usd: 1, window: day}\n", "features: {a: {}}\n", [""]),
        ("  - {per: run, usd: 1}\n", "features: {a: {}}\n", ["a", ""]),
        ("  - {per: user, requests: 1, window: day}\n", "", [""]),
        ("  - {per: [user, model], usd: 1, window: day}\n", "", []),
    ],
)
def test_requests_that_no_money_limits_are_remarked(
    tmp_path: Path, budgets: str, features: str, paths: list[str]
) -> None:
    """A feature without a budget in usd or tokens is named, and so are requests without any feature."""
    policies = load(write(tmp_path, f"budgets:\n{budgets}{features}"))
    found = [notice.path.removeprefix("features.").replace("budgets", "") for notice in remarks(policies)]
    assert found == paths


def test_a_tier_without_a_budget_of_money_is_not_covered(tmp_path: Path) -> None:
    """A budget for one tier leaves the users of another unlimited, unless another one covers them."""
    text = (
        "budgets:\n  - {per: user, user_tier: basic, usd: 1, window: day}\n"
        "users: {ada: {}, bob: {user_tier: basic}}\n"
    )
    (notice,) = remarks(load(write(tmp_path, text)))
    assert "requests without a feature" in notice.text
    shared = "budgets:\n  - {per: user, tokens: 1000, window: day}\n"
    assert remarks(load(write(tmp_path, text, shared=shared))) == []


def test_a_budget_that_only_watches_covers_nothing(tmp_path: Path) -> None:
    """A budget in shadow refuses nobody; of a file in shadow it is asked what holds once it is enforced."""
    text = "budgets:\n  - {per: user, usd: 1, window: day, mode: shadow}\n"
    (notice,) = remarks(load(write(tmp_path, text)))
    assert "no budget in usd or tokens covers requests" in notice.text
    enforced = text.replace(", mode: shadow", "")
    assert remarks(load(write(tmp_path, enforced + "mode: shadow\n"))) == []


def test_a_part_above_its_whole_is_remarked(tmp_path: Path) -> None:
    """A user's limit above the department's own for the same window can never be reached."""
    text = "budgets:\n" + MONTH + "  - {per: user, usd: 11, window: month}\n"
    (notice,) = remarks(load(write(tmp_path, text)))
    assert (notice.line, notice.path) == (5, "budgets[1].usd")


@pytest.mark.parametrize(
    ("budget", "steps", "remarked"),
    [
        ("{per: user, tokens: 9, window: day}", "80%: warn", True),
        ("{per: user, usd: 1, window: day, thresholds: {90%: warn}}", "80%: warn", True),
        ("{per: user, usd: 1, window: day}", "80%: warn, user: {90%: warn}", True),
        ("{per: [user, model], usd: 1, window: day}", "80%: warn", False),
        ("{per: user, usd: 1, window: day}", "80%: warn", False),
    ],
    ids=["tokens only", "a budget's own", "its scope's", "a combination", "in use"],
)
def test_thresholds_that_no_budget_goes_by_are_remarked(
    tmp_path: Path, budget: str, steps: str, remarked: bool
) -> None:
    """A file's steps are of usd budgets; where none goes by them they would silently do nothing."""
    found = remarks(load(write(tmp_path, f"budgets:\n  - {budget}\nthresholds: {{{steps}}}\n")))
    assert [(notice.line, notice.path) for notice in found if "goes by" in notice.text] == (
        [(5, "thresholds")] if remarked else []
    )


def test_the_organisation_sets_a_floor_for_a_scope_it_has_no_budget_of(tmp_path: Path) -> None:
    """Its steps under a scope hold for the departments' usd budgets per that scope, and for no others."""
    text = "budgets:\n" + MONTH + "  - {per: user, usd: 1, window: day}\n"
    shared = "thresholds: {user: {60%: {downgrade: haiku}}}\n"
    department, user = terms(write(tmp_path, text, shared=shared))
    assert (department.mark_bp("opus", 0), user.mark_bp("opus", 0)) == (10_000, 6000)
