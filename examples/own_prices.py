"""A company's own prices on top of the shipped table: a discount on one line, until a contract ends.

python examples/own_prices.py

No key, no server: it talks to the fake Claude API that comes with the package.
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
  - {per: department, usd: 100, window: month}
routing:
  lines: {sonnet: claude-sonnet-5-5, opus: claude-opus-5-5}
"""

PRICES = """
version: 1
extends: anthropic
discounts:
  - {percent: "12.5", lines: [opus], from: 2026-10-01, source: "Order form 4711"}
"""


def main() -> None:
    """Make the same call on two lines and print what each posted, against the list price."""
    with tempfile.TemporaryDirectory() as name, FakeClaude() as api:
        folder = Path(name)
        policies = folder / "policies"
        policies.mkdir()
        (policies / "research.yaml").write_text(POLICY, encoding="utf-8")
        (folder / "acme.yaml").write_text(PRICES, encoding="utf-8")
        with governor.Governor.load(
            policies,
            ledger=f"sqlite:///{folder}/governor.db",
            client=api.client(),
            prices=folder / "acme.yaml",
        ) as gov:
            for line in ("sonnet", "opus"):
                before = api.billed_nanos
                message = gov.call(
                    user="ada@example.com",
                    department="research",
                    model=line,
                    max_tokens=1000,
                    messages=[{"role": "user", "content": "Which of two contracts is the better one?"}],
                )
                listed = governor.Money(api.billed_nanos - before)
                print(f"{message.receipt.model}: {message.receipt.cost}, {listed} by the list")


if __name__ == "__main__":
    main()
