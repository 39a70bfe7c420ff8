"""Test a policy as code: real calls through the real SDK, on a fake API, in milliseconds.

    python examples/testing_your_policy.py       or       pytest examples/testing_your_policy.py

The fixture `fake_claude` comes with the package; nothing is to be configured.
"""
# ruff: noqa: S101 - tests assert

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

import governor
from governor.testing import overloaded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from governor.testing import FakeClaude

POLICY = """
version: 1
department: research
budgets:
  - {per: run, usd: 0.10}
thresholds:
  80%: {downgrade: haiku}
  100%: block
routing:
  lines: {haiku: claude-haiku-5-5, sonnet: claude-sonnet-5-5}
  default: sonnet
"""


@pytest.fixture
def gov(fake_claude: FakeClaude, tmp_path: Path) -> Iterator[governor.Governor]:
    """A governor with the policy above, a ledger of its own, and the fake API."""
    (tmp_path / "research.yaml").write_text(POLICY, encoding="utf-8")
    ledger = f"sqlite:///{tmp_path}/governor.db"
    with governor.Governor.load(tmp_path, ledger=ledger, client=fake_claude.client()) as loaded:
        yield loaded


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
    served = []
    with pytest.raises(governor.BudgetExceeded) as refused:  # noqa: PT012 - the loop ends by the refusal
        while True:
            served.append(ask(gov).receipt.model)
    assert served[0] == "claude-sonnet-5-5"
    assert served[-1] == "claude-haiku-5-5"
    assert served == sorted(served, reverse=True)
    assert fake_claude.billed_nanos <= refused.value.budget.limit


def test_an_overloaded_api_costs_nothing(gov: governor.Governor, fake_claude: FakeClaude) -> None:
    """A 529 is retried and not charged: the receipt is what the API billed."""
    fake_claude.inject(overloaded())
    receipt = ask(gov).receipt
    assert receipt.attempts == 2  # the refused one, and the one that served
    assert receipt.cost.nanos == fake_claude.billed_nanos


if __name__ == "__main__":
    # This very script has imported the governor before pytest could look into it.
    quietly = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    sys.exit(pytest.main([__file__, "-q", "-p", "no:cacheprovider", *quietly]))
