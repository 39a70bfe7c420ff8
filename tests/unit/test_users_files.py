"""Users may be listed in a file of their own beside the policy file that names it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from governor.errors import PolicyError, PolicyViolation
from governor.policy import Attribution, load

if TYPE_CHECKING:
    from pathlib import Path

POLICY = """version: 1
department: research
users_from: people.users.yaml
budgets:
  - {per: user, user_tier: premium, usd: 9, window: day}
  - {per: user, user_tier: basic, usd: 1, window: day}
routing:
  lines: {haiku: claude-haiku-5-5}
users:
  ada: {user_tier: basic}
"""
PEOPLE = "grace: {user_tier: premium}\nada: {user_tier: premium}\n"


def write(folder: Path, people: str | None = PEOPLE, policy: str = POLICY) -> Path:
    """A folder with a policy file and its users file."""
    (folder / "research.yaml").write_text(policy, encoding="utf-8")
    if people is not None:
        (folder / "people.users.yaml").write_text(people, encoding="utf-8")
    return folder


@pytest.mark.parametrize("alone", [False, True])
def test_users_of_the_file_are_known_and_rows_of_the_policy_go_before(tmp_path: Path, alone: bool) -> None:
    """A folder or one file of it: the same users, who else is refused, and the hash has the users in it."""
    folder = write(tmp_path)
    source = folder / "research.yaml" if alone else folder
    policies = load(source)
    tiers = [policies.rules(Attribution("research", user)).user_tier for user in ("grace", "ada")]
    assert tiers == ["premium", "basic"]
    with pytest.raises(PolicyViolation, match="unknown user 'eve'"):
        policies.rules(Attribution("research", "eve"))
    write(tmp_path, PEOPLE + "eve: {}\n")
    changed = load(source)
    assert changed.rules(Attribution("research", "eve")).user_tier is None
    assert changed.hash != policies.hash


@pytest.mark.parametrize(
    ("people", "policy", "name", "place", "said"),
    [
        (None, POLICY, "research.yaml", (3, 13), "there is no file 'people.users.yaml' beside"),
        (
            "grace: {user_teir: premium}\nada: {user_tier: premium}\n",
            POLICY,
            "",
            (1, 9),
            "did you mean 'user_tier'",
        ),
        (
            "grace: {user_tier: gold}\nx: {user_tier: premium}\n",
            POLICY,
            "",
            (1, 20),
            "no budget is for the user_tier 'gold'",
        ),
        ("- grace\n", POLICY, "", (1, 1), "should be a mapping"),
        ("", POLICY, "", (1, 1), "the file is empty"),
        ("grace: {user_tier: premium}\ngrace: {}\n", POLICY, "", (2, 1), "written twice"),
        (
            PEOPLE,
            POLICY.replace("people.users.yaml", "people.csv"),
            "research.yaml",
            (3, 13),
            "names no source of users",
        ),
        (
            PEOPLE,
            POLICY.replace("people.users.yaml", "../people.users.yaml"),
            "research.yaml",
            (3, 13),
            "names no source",
        ),
        (
            PEOPLE,
            POLICY.replace("users_from: people.users.yaml\n", "")
            .replace("basic}\n", "premium}\n", 1)
            .replace("  - {per: user, user_tier: premium, usd: 1, window: day}\n", ""),
            "",
            (1, 1),
            "no policy file names this file",
        ),
    ],
    ids=["missing", "key", "tier", "list", "empty", "twice", "csv", "outside", "unnamed"],
)
def test_a_mistake_is_refused_in_the_file_that_makes_it(
    tmp_path: Path, people: str | None, policy: str, name: str, place: tuple[int, int], said: str
) -> None:
    """Each with its line and column, and with what to write."""
    with pytest.raises(PolicyError) as raised:
        load(write(tmp_path, people, policy))
    found = [problem for problem in raised.value.problems if said in f"{problem.message} ({problem.hint})"]
    assert found, raised.value
    assert found[0].file.endswith(name or "people.users.yaml")
    assert (found[0].line, found[0].column) == place
