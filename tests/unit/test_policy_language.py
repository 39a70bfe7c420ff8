"""The language: every word of a file that cannot be meant is refused at its place, with a hint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from governor.errors import PolicyError
from governor.policy import load

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """\
version: 1
department: research
timezone: Europe/Berlin
budgets:
  - {per: department, usd: 100, window: month}
  - {per: user, user_tier: basic, usd: 10, window: month}
  - {per: feature, name: chat, requests: 60, window: minute}
  - {per: run, usd: 5}
thresholds:
  80%: [warn, {downgrade: sonnet}]
  90%: {downgrade: haiku}
  100%: block
routing:
  lines: {haiku: claude-haiku-5-5, sonnet: claude-sonnet-5-5, opus: claude-opus-5-5}
  default: auto
  complexity: {haiku: "<3", sonnet: "3-7", opus: ">7"}
  floors: {opus: 2}
  tiers:
    standard: {prefer: sonnet, timeout: 30, retries: 2}
    economy: {prefer: haiku}
  choose:
    - {when: "budget > 90% or load > 85%", tier: economy}
    - {tier: standard}
limits: {cost_per_request: 1}
features:
  chat: {max_tokens: 256, lines: [haiku]}
users:
  "*": {user_tier: basic}
mode: enforce
"""


def refuse(tmp_path: Path, old: str, new: str) -> PolicyError:
    """The error that the good file raises once *old* is *new*."""
    assert old in GOOD
    file = tmp_path / "research.yaml"
    file.write_text(GOOD.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(PolicyError) as caught:
        load(tmp_path)
    return caught.value


def test_the_good_file_loads(tmp_path: Path) -> None:
    """What the other tests break is right as it stands."""
    (tmp_path / "research.yaml").write_text(GOOD, encoding="utf-8")
    assert load(tmp_path).departments == ("research",)


@pytest.mark.parametrize(
    ("old", "new", "line", "column", "says"),
    [
        # unknown keys and words, with the nearest name
        ("timezone:", "timezon:", 3, 1, "did you mean 'timezone'?"),
        ("window: month}\n  - {per: user", "windw: month}\n  - {per: user", 5, 33, "did you mean 'window'?"),
        ("window: minute", "window: minut", 7, 54, "did you mean 'minute'?"),
        ("per: department", "per: departement", 5, 11, "did you mean 'department'?"),
        ("{prefer: haiku}", "{prefered: haiku, prefer: haiku}", 20, 15, "did you mean 'prefer'?"),
        ("Europe/Berlin", "Europe/Berln", 3, 11, "did you mean 'Europe/Berlin'?"),
        ("Europe/Berlin", "../etc/passwd", 3, 11, "unknown time zone"),
        ("[warn,", "[wran,", 10, 9, "did you mean 'warn'?"),
        ("downgrade: haiku", "downgrade: haiki", 11, 20, "did you mean 'haiku'?"),
        ("100%: block", "100%: {downgrad: haiku, downgrade: haiku}", 12, 10, "did you mean 'downgrade'?"),
        ("tier: standard", "tier: standart", 23, 14, "did you mean 'standard'?"),
        ("mode: enforce", "mode: shadwo", 29, 7, "did you mean 'shadow'?"),
        ("chat: {max_tokens", "chat: {max_token: 2, max_tokens", 26, 10, "did you mean 'max_tokens'?"),
        # money
        ("usd: 100", "usd: 0", 5, 28, "above zero"),
        ("usd: 100", "usd: -5", 5, 28, "above zero"),
        ("usd: 100", "usd: .nan", 5, 28, "not a number of dollars"),
        ("usd: 100", "usd: NaN", 5, 28, "not a number of dollars"),
        ("usd: 100", "usd: .inf", 5, 28, "not a number of dollars"),
        ("usd: 100", "usd: true", 5, 28, "should be a number of dollars"),
        ("usd: 100", "usd: 1_000", 5, 28, "not a number of dollars"),
        ("usd: 100", "usd: $100", 5, 28, "not a number of dollars"),
        ("usd: 100", "usd: [100]", 5, 28, "should be a number of dollars"),
        ("usd: 100", "usd: 9000001", 5, 28, "at most 9000000"),
        ("usd: 100", "usd: 1e400", 5, 28, "at most 9000000"),
        ("usd: 100", "usd: 1e999999999", 5, 28, "not a number of dollars"),
        ("usd: 100", "usd: 0.0000000001", 5, 28, "finer than one nano-dollar"),
        ("usd: 100", "usd: ", 5, 23, "'usd' has no value"),
        ("usd: 100", "usd: ~", 5, 23, "'usd' has no value"),
        ("opus: 2}", "opus: 0}", 17, 18, "above zero"),
        ("cost_per_request: 1", "cost_per_request: -1", 24, 28, "above zero"),
        # counts, seconds and other types
        ("requests: 60", "requests: 0", 7, 42, "greater than 0"),
        ("requests: 60", "requests: 1.5", 7, 42, "valid integer"),
        ("requests: 60", "requests: true", 7, 42, "valid integer"),
        ("requests: 60", 'requests: "60"', 7, 42, "valid integer"),
        ("timeout: 30", "timeout: soon", 19, 41, "valid number"),
        ("timeout: 30", "timeout: 0", 19, 41, "greater than 0"),
        ("retries: 2", "retries: 99", 19, 54, "less than or equal to 10"),
        ("version: 1", "version: 2", 1, 10, "write version: 1"),
        ("version: 1", "version: true", 1, 10, "write version: 1"),
        ("version: 1\n", "", 1, 1, "lacks the key 'version'"),
        ("department: research", "department: 5", 2, 13, "valid string"),
        ("department: research", "department: R & D", 2, 13, "cannot be a name"),
        ("mode: enforce", "mode: enforce\nretry_uncertain: 1", 30, 18, "valid boolean"),
        ("limits: {cost_per_request: 1}", "limits: 5", 24, 9, "should be a mapping"),
        ("lines: [haiku]}", "lines: []}", 26, 34, "at least one"),
        ('"*": {user_tier: basic}', '"": {user_tier: basic}', 28, 3, "cannot be an id"),
        ('"*": {user_tier: basic}', '"a\\nb": {user_tier: basic}', 28, 3, "no control characters"),
        # YAML that says a thing twice, or in a language of its own
        ("mode: enforce", "mode: enforce\nmode: enforce", 30, 1, "written twice"),
        ("usd: 100", "usd: 100, usd: 200", 5, 33, "written twice"),
        ("usd: 100", "usd: !!str 100", 5, 28, "tags are not part"),
        # thresholds
        ("  80%:", "  80:", 10, 3, "whole percentage such as 80%"),
        ("  80%:", "  80.5%:", 10, 3, "whole percentage"),
        ("  80%:", "  101%:", 10, 3, "from 1% to 100%"),
        ("  80%:", "  0%:", 10, 3, "from 1% to 100%"),
        ("100%: block", "95%: {downgrade: sonnet}", 12, 3, "allows sonnet again"),
        ("[warn, {downgrade: sonnet}]", "block", 11, 3, "comes after 80%, which blocks already"),
        ("100%: block", "100%: [block, block]", 12, 9, "the same thing twice"),
        ("100%: block", "100%: 5", 12, 9, "warn, block or {downgrade: LINE}"),
        # budgets
        ("{per: run, usd: 5}", "{per: run}", 8, 5, "no limit"),
        ("{per: run, usd: 5}", "{per: run, usd: 5, tokens: 9}", 8, 24, "one unit"),
        ("{per: run, usd: 5}", "{per: user, usd: 5}", 8, 5, "no window"),
        ("{per: run, usd: 5}", "{per: run, concurrent: 5, window: day}", 8, 39, "remove the window"),
        ("{per: run, usd: 5}", "{per: run, usd: 5, name: x}", 8, 24, "has a name"),
        ("{per: run, usd: 5}", "{per: run, usd: 5, user_tier: basic}", 8, 24, "has a user_tier"),
        ("{per: run, usd: 5}", "{per: organization, usd: 5, window: day}", 8, 11, "organization.yaml"),
        ("{per: run, usd: 5}", "{per: model, name: opus, usd: 5, window: day}", 8, 18, "is a line"),
        ("{per: run, usd: 5}", "{per: department, usd: 5, window: month}", 8, 5, "the budget on line 5"),
        ("{per: run, usd: 5}", "{per: user, usd: 5, window: month}", 8, 5, "the budget on line 6"),
        ("{per: run, usd: 5}", "{per: feature, requests: 5, window: minute}", 8, 5, "the budget on line 7"),
        ("name: chat", "name: chta", 7, 26, "did you mean 'chat'?"),
        # lines, floors, tiers and choices
        ("  floors: {opus: 2}", "  floors: {fable: 2}", 17, 12, "not in routing.lines"),
        ("  floors: {opus: 2}", "  floors: {haiku: 2}", 17, 12, "the cheapest line"),
        ("lines: [haiku]", "lines: [mythos]", 26, 35, "not in routing.lines"),
        ("{prefer: haiku}", "{prefer: fable}", 20, 23, "not in routing.lines"),
        ("default: auto", "default: atuo", 15, 12, "did you mean 'auto'?"),
        ("default: auto", "default: fable", 15, 12, "nor a line"),
        ("opus: claude-opus-5-5", "opus: claude-haiku-5-5", 14, 69, "the same model"),
        ('"3-7"', '"7-3"', 16, 37, "not a band"),
        ("budget > 90%", "budgte > 90%", 22, 14, "not a condition"),
        ("    - {tier: standard}\n", "", 22, 7, "last choice must always hold"),
        ("    - {tier: standard}", "    - {tier: standard}\n    - {tier: economy}", 23, 7, "always holds"),
        ("    economy: {prefer: haiku}\n", "", 21, 50, "not in routing.tiers"),
        ("per: user, user_tier: basic, usd: 10", "per: user, tokens: 9", 17, 3, "longest usd budget"),
    ],
)
def test_a_malformed_file_is_refused_at_its_place(
    tmp_path: Path, old: str, new: str, line: int, column: int, says: str
) -> None:
    """One fault is one problem, placed at the key or value concerned, saying what to do."""
    error = refuse(tmp_path, old, new)
    texts = [str(problem) for problem in error.problems]
    assert len(texts) == 1, texts
    assert says in texts[0]
    assert (error.line, error.column) == (line, column), texts
    assert texts[0].startswith(f"{tmp_path / 'research.yaml'}:{line}:{column}: ")


def test_a_tier_of_nobody_is_refused_at_both_ends(tmp_path: Path) -> None:
    """Where budgets and users differ on a tier's name, either may be the typo: both places are named."""
    error = refuse(tmp_path, "user_tier: basic, usd", "user_tier: basik, usd")
    (budget, user) = (str(problem) for problem in error.problems)
    file = tmp_path / "research.yaml"
    assert budget.startswith(
        f"{file}:6:28: budgets[1].user_tier: no user in this file is of the user_tier 'b"
    )
    assert "did you mean 'basic'?" in budget
    assert user.startswith(f"{file}:28:20: no budget is for the user_tier 'basic'")
    assert "did you mean 'basik'?" in user


@pytest.mark.parametrize("users", ["", 'users:\n  "*": {}\n'])
def test_a_budget_for_a_tier_without_users_is_refused(tmp_path: Path, users: str) -> None:
    """Without a user of its tier a budget would limit nobody, whatever other budgets there are."""
    error = refuse(tmp_path, 'users:\n  "*": {user_tier: basic}\n', users)
    assert (error.line, error.column) == (6, 28)
    assert "give it to somebody under `users`" in error.hint


def test_dollars_may_be_quoted_or_have_cents(tmp_path: Path) -> None:
    """Money is read as it was written, to the nano-dollar."""
    text = GOOD.replace("usd: 100", 'usd: "0.1"').replace("usd: 5", "usd: 0.000000001")
    (tmp_path / "research.yaml").write_text(text, encoding="utf-8")
    limits = [row.limit for row in load(tmp_path).all_terms()]
    assert limits == [100_000_000, 10 * 10**9, 60, 1]


def test_the_largest_limit_is_nine_million_dollars(tmp_path: Path) -> None:
    """The largest limit a ledger can count exactly loads."""
    (tmp_path / "research.yaml").write_text(GOOD.replace("usd: 100", "usd: 9e6"), encoding="utf-8")
    assert load(tmp_path).all_terms()[0].limit == 9_000_000 * 10**9
