"""Errors carry what a caller needs to act on, survive pickling, and are none that an SDK retries."""

from __future__ import annotations

import pickle

import anthropic
import pytest

import governor
from governor.errors import Problem, nearest
from governor.pricing import PriceTable

PROBLEM = Problem("policies/legal.yaml", 7, 3, "unknown key 'budget'", "did you mean 'budgets'?")
KINDS = [
    governor.BudgetContended,
    governor.BudgetExceeded,
    governor.LedgerUnavailable,
    governor.PolicyError,
    governor.PolicyViolation,
    governor.ReservationConflict,
    governor.UnknownModel,
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_is_a_governors_error_and_no_sdks(kind):
    """One base catches all, and none is an error that the SDK or its users' retries would try again."""
    assert issubclass(kind, governor.GovernorError)
    assert not issubclass(kind, (anthropic.AnthropicError, OSError, TimeoutError))


def test_a_problem_says_where_and_what_to_do():
    """File, line and column as editors open them, the message, and the hint in brackets."""
    assert str(PROBLEM) == "policies/legal.yaml:7:3: unknown key 'budget' (did you mean 'budgets'?)"
    assert str(Problem("policies", 0, 0, "no such folder")) == "policies: no such folder"


def test_a_policy_error_has_every_problem():
    """All problems are told, one a line, and the first one's place is the error's own."""
    error = governor.PolicyError([PROBLEM, Problem("b.yaml", 1, 1, "empty")])
    assert str(error).splitlines() == [str(PROBLEM), "b.yaml:1:1: empty"]
    assert (error.file, error.line, error.column, error.hint) == (
        "policies/legal.yaml",
        7,
        3,
        "did you mean 'budgets'?",
    )


def test_errors_cross_a_process_border():
    """Errors can be pickled, as process pools and task queues do, with what they carry."""
    exceeded = governor.BudgetExceeded("spent", affordable_max_tokens=12, cheapest_model="m")
    again = pickle.loads(pickle.dumps(exceeded))
    assert (str(again), again.affordable_max_tokens, again.cheapest_model) == ("spent", 12, "m")
    contended = pickle.loads(pickle.dumps(governor.BudgetContended("held", retry_after=0.5)))
    assert contended.retry_after == 0.5
    assert pickle.loads(pickle.dumps(governor.PolicyError([PROBLEM]))).problems == (PROBLEM,)


def test_the_nearest_name_is_offered():
    """A misspelt word gets the one that was probably meant, a strange one the known names."""
    assert nearest("mounth", ["month", "week"]) == "did you mean 'month'?"
    assert nearest("zzz", ["week", "month"]) == "known: month, week"
    assert nearest("zzz", []) == ""


def test_of_many_known_names_some_are_offered():
    """A hint stays a line: hundreds of names are counted, not told."""
    told = nearest("zzz", [f"feature-{number:03}" for number in range(300)])
    assert told.startswith("known: feature-000, ")
    assert told.endswith("feature-011 and 288 more")
    with pytest.raises(governor.UnknownModel) as refused:
        PriceTable.load().price_at("zzz", 0)
    assert "known: claude-" in str(refused.value)
    assert len(str(refused.value)) < 600
