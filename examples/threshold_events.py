"""Be told when a budget crosses a threshold, and watch the model step down as it fills.

python examples/threshold_events.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import governor
from governor.testing import FakeClaude

POLICY = """
version: 1
department: research
budgets:
  - {per: department, usd: 0.50, window: month}
thresholds:
  50%: warn
  80%: [warn, {downgrade: sonnet}]
  90%: {downgrade: haiku}
  100%: block
routing:
  lines: {haiku: claude-haiku-5-5, sonnet: claude-sonnet-5-5, opus: claude-opus-5-5}
  default: opus
"""


def main() -> None:
    """Spend a month's budget of fifty cents."""
    with FakeClaude() as api, tempfile.TemporaryDirectory() as folder:
        policy = Path(folder, "research.yaml")
        policy.write_text(POLICY, encoding="utf-8")
        api.replies(output_tokens=1500)
        ledger = f"sqlite:///{folder}/governor.db"
        with governor.Governor.load(policy, ledger=ledger, client=api.client(), on_event=tell) as gov:
            spend(gov)


def tell(event: governor.ThresholdCrossed) -> None:
    """Once per balance and threshold, in the thread of the call that crossed it."""
    print(f"{'WARNING' if event.warns else 'event'}: {event}")


def spend(gov: governor.Governor) -> None:
    """Call until the budget refuses; print a line whenever another model serves."""
    served = None
    for number in range(1, 1000):
        try:
            message = gov.call(
                user="ada@example.com",
                department="research",
                max_tokens=1500,
                messages=[{"role": "user", "content": "Next chapter."}],
            )
        except governor.BudgetExceeded as refused:
            print(f"call {number} was refused: {refused}")
            return
        if message.receipt.model != served:
            served = message.receipt.model
            print(f"call {number}: {message.receipt.decision.reason}")


if __name__ == "__main__":
    main()
