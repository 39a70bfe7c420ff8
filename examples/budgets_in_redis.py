"""Two services, one budget: what one spends, the other no longer has.

    REDIS_URL=redis://localhost:6379/0 python examples/budgets_in_redis.py

Without REDIS_URL it uses a SQLite file, which serves all processes of one host in the same way. In Redis it
keeps to an organisation of its own, `governor-example`, and leaves that ledger behind.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

import governor
from governor.ledger.commands import ListBalances
from governor.testing import FakeClaude

ORGANIZATION = "{version: 1, organization: governor-example}"
POLICY = """
version: 1
department: research
budgets:
  - {per: department, usd: 500, window: month}
  - {per: run, usd: 0.05}
routing:
  lines: {haiku: claude-haiku-5-5, sonnet: claude-sonnet-5-5}
"""


def main() -> None:
    """Spend one run's budget from two services in turns, until it is used up."""
    with FakeClaude() as api, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "organization.yaml").write_text(ORGANIZATION, encoding="utf-8")
        (folder / "research.yaml").write_text(POLICY, encoding="utf-8")
        api.replies(output_tokens=900)
        url = os.environ.get("REDIS_URL")
        if url is None:
            print("REDIS_URL is not set: using a SQLite file instead")
            url = f"sqlite:///{folder}/governor.db"
        # In production a Redis ledger is made once, on purpose: governor ledger create URL
        first, second = (
            governor.Governor.load(folder, ledger=url, client=api.client(), create_ledger=True)
            for _ in range(2)
        )
        with first, second:
            spend(first, second, f"example-{secrets.token_hex(4)}")


def spend(first: governor.Governor, second: governor.Governor, run: str) -> None:
    """Call by turns until the run's budget refuses; then show what the ledger keeps."""
    for number in range(100):
        service = (first, second)[number % 2]
        try:
            message = service.call(
                user="ada@example.com",
                department="research",
                run=run,
                model="sonnet",
                pin=True,
                max_tokens=1024,
                messages=[{"role": "user", "content": "One more experiment."}],
            )
        except governor.BudgetExceeded as refused:
            print(f"service {number % 2 + 1} was refused: {refused}")
            break
        print(f"service {number % 2 + 1} spent {message.receipt.cost}")
    for known in first.ledger.execute(ListBalances(contains=run)):
        balance = known.balance
        print(f"{known.identity}: {governor.Money(balance.posted)} of {governor.Money(balance.limit)} spent")


if __name__ == "__main__":
    main()
