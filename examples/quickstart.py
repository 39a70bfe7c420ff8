"""The README's ten lines, on a fake Claude API: no key, no server, no cost.

python examples/quickstart.py
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import governor
from governor.testing import FakeClaude, Reply

POLICIES = Path(__file__).resolve().parent.parent / "policies"


def main() -> None:
    """Configure by the environment, as a service would be, and make one call."""
    with FakeClaude() as api, tempfile.TemporaryDirectory() as folder:
        api.replies(Reply("The diff swallows the exception on line 12; log it, or let it rise."))
        os.environ |= {
            "ANTHROPIC_BASE_URL": api.url,
            "ANTHROPIC_API_KEY": api.api_key,
            "GOVERNOR_POLICIES": str(POLICIES),
            "GOVERNOR_LEDGER": f"sqlite:///{folder}/governor.db",
        }
        review()


def review() -> None:
    """The ten lines."""
    message = governor.call(
        user="ada@example.com",
        department="engineering",
        feature="code_review",
        run="pr-1423",
        model="auto",
        max_tokens=1024,
        messages=[{"role": "user", "content": "Review this diff …"}],
    )
    receipt = message.receipt
    print("".join(block.text for block in message.content if block.type == "text"))
    print(f"served by {receipt.model}, because: {receipt.decision.reason}")
    print(f"cost {receipt.cost}; {receipt.ceiling} was held while it ran")
    for budget in receipt.decision.budgets:
        print(f"  {budget}")


if __name__ == "__main__":
    main()
