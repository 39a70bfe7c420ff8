"""Users that no file names come from a callable, whose answers are kept for a few seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from governor.clients.people import KEPT_S, People
from governor.errors import PolicyViolation
from governor.policy import Attribution, load

if TYPE_CHECKING:
    from pathlib import Path

FILE = """
version: 1
department: research
budgets:
  - {per: user, user_tier: premium, usd: 9, window: day}
  - {per: user, user_tier: basic, usd: 1, window: day}
routing:
  lines: {haiku: claude-haiku-5-5}
users_from: application
users:
  ada: {user_tier: premium}
"""
ELSE = '  "*": {user_tier: basic}\n'


def policies(folder: Path, answer: Any, *, more: str = "") -> Any:
    """The department's policies with a callable that gives *answer* for everybody, or raises it."""
    (folder / "research.yaml").write_text(FILE + more, encoding="utf-8")
    loaded = load(folder)

    def ask(user: str, department: str) -> Any:
        assert department == "research"
        if isinstance(answer, Exception):
            raise answer
        return answer

    loaded.directory = People(ask)
    return loaded


@pytest.mark.parametrize(
    ("user", "answer", "more", "tier"),
    [
        ("ada", {"user_tier": "basic"}, "", "premium"),
        ("eve", {"user_tier": "premium"}, "", "premium"),
        ("eve", {"user_tier": "premium"}, ELSE, "premium"),
        ("eve", {}, ELSE, None),
        ("eve", None, ELSE, "basic"),
    ],
)
def test_a_file_goes_before_the_callable_and_that_before_everybody_else(
    tmp_path: Path, user: str, answer: Any, more: str, tier: str | None
) -> None:
    """A user's own row, else what the callable says, else the row of everybody else."""
    assert policies(tmp_path, answer, more=more).rules(Attribution("research", user)).user_tier == tier


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (None, "unknown user 'eve'"),
        (KeyError("eve"), "the callable for users failed for 'eve': KeyError"),
        ({"tier": "basic"}, "give a mapping such as"),
        ("basic", "give a mapping such as"),
        ({"user_tier": ["basic"]}, "give a mapping such as"),
        ({"user_tier": "gold"}, "the application says that 'eve' is of the user_tier 'gold'"),
    ],
    ids=["unknown", "raises", "another key", "text", "several tiers", "another tier"],
)
def test_a_callable_that_knows_nobody_or_errs_refuses(tmp_path: Path, answer: Any, said: str) -> None:
    """An unknown user, an error, an answer of another form or of an unknown tier: refused, each in words."""
    with pytest.raises(PolicyViolation, match=said):
        policies(tmp_path, answer).rules(Attribution("research", "eve"))


def test_without_a_callable_unknown_users_are_refused_with_what_to_do(tmp_path: Path) -> None:
    """A file that names the application as its source needs one; those in the file are known without it."""
    loaded = policies(tmp_path, None)
    loaded.directory = None
    assert loaded.rules(Attribution("research", "ada")).user_tier == "premium"
    with pytest.raises(PolicyViolation, match=r"Governor\.load\(\.\.\., users="):
        loaded.rules(Attribution("research", "eve"))


def test_a_listed_user_may_be_of_a_tier_that_no_budget_names(tmp_path: Path) -> None:
    """Such a user has the budgets of everybody, and is no stranger to the file that lists them."""
    text = FILE.replace("user_tier: premium, usd", "usd").replace("  - {per: user, user_tier: basic,", "  #")
    (tmp_path / "research.yaml").write_text(text, encoding="utf-8")
    loaded = load(tmp_path)
    loaded.directory = People(lambda _user, _department: {})
    for user in ("ada", "eve"):
        (term,) = loaded.budgets(Attribution("research", user), ())
        assert term.identity == f"department=research/user={user}/usd/day"


def test_an_answer_is_kept_for_a_few_seconds() -> None:
    """Within them the callable is not asked again; after them, what it says now holds."""
    now, told = [0.0], [{"user_tier": "basic"}, None]
    people = People(lambda _user, _department: told.pop(0), lambda: now[0])
    assert people("eve", "research") == people("eve", "research") == {"user_tier": "basic"}
    now[0] = KEPT_S
    assert people("eve", "research") is None
