"""Test a policy as code: real calls through the real SDK, on a fake API, in milliseconds.

    python examples/testing_your_policy.py       or       pytest examples/testing_your_policy.py

The fixtures `make_governor`, `fake_claude` and `frozen_clock` come with the package; nothing is to be
configured. See docs/testing.md.
"""
# ruff: noqa: S101 - tests assert

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

import governor
from governor.testing import assert_downgraded, assert_not_downgraded, assert_spent, overloaded

if TYPE_CHECKING:
    from governor.testing import FakeClaude, FrozenClock, MakeGovernor

POLICY = """
version: 1
department: research
budgets:
  - {per: run, usd: 0.10}
  - {per: user, usd: 0.50, window: day}
thresholds:
  80%: {downgrade: haiku}
  100%: block
routing:
  lines: {haiku: claude-haiku-5-5, sonnet: claude-sonnet-5-5}
  default: sonnet
"""


@pytest.fixture
def gov(make_governor: MakeGovernor) -> governor.Governor:
    """A governor with the policy above, the fake API, a ledger in memory and a clock that stands still."""
    return make_governor(POLICY)


def ask(gov: governor.Governor) -> governor.Message:
    """One call of the run under test."""
    return gov.call(
        user="ada@example.com",
        department="research",
        run="r1",
        max_tokens=1000,
        messages=[{"role": "user", "content": "Go on."}],
    )


def test_a_run_steps_down_and_is_then_refused(gov: governor.Governor, fake_claude: FakeClaude) -> None:
    """Sonnet may fill the run's budget to 80 %, haiku to 100 %, and the bill never passes the limit."""
    fake_claude.replies(output_tokens=1000)
    answers = [ask(gov)]
    with pytest.raises(governor.BudgetExceeded):
        answers.extend(ask(gov) for _ in range(1000))
    moved = next(answer for answer in answers if answer.receipt.model != "claude-sonnet-5-5")
    assert_not_downgraded(answers[0])
    assert_downgraded(moved, to="haiku", because="run=r1")
    assert_spent(gov, nanos=fake_claude.billed_nanos, run="r1")
    assert_spent(gov, at_least="0.08", at_most="0.10", run="r1")


def test_an_overloaded_api_costs_nothing(gov: governor.Governor, fake_claude: FakeClaude) -> None:
    """A 529 is not charged: the receipt is what the API billed."""
    fake_claude.inject(overloaded())
    receipt = ask(gov).receipt
    assert receipt.attempts == 2  # the refused one, and the one that served
    assert receipt.cost.nanos == fake_claude.billed_nanos


def test_the_next_day_begins_with_nothing_spent(gov: governor.Governor, frozen_clock: FrozenClock) -> None:
    """The user's budget is per day, the run's is for its whole life."""
    cost = ask(gov).receipt.cost
    assert_spent(gov, cost, user="ada@example.com")
    frozen_clock.tick(days=1)
    assert_spent(gov, 0, user="ada@example.com")
    assert_spent(gov, cost, run="r1")


if __name__ == "__main__":
    # This very script has imported the governor before pytest could look into it.
    quietly = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    sys.exit(pytest.main([__file__, "-q", "-p", "no:cacheprovider", *quietly]))
