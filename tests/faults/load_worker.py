"""One process of the load test: many tasks that call until their budget is used up.

Run as `load_worker.py POLICIES LEDGER API_URL TASKS`; prints what it saw as one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import sys

import anthropic

from governor import AsyncGovernor, BudgetContended, BudgetExceeded

CONNECTIONS = 100


async def spend(gov: AsyncGovernor, number: int, seen: dict[str, list[list[int]]]) -> None:
    """Call until told that the budget is exceeded; note the numbers of every refusal."""
    while True:
        try:
            message = await gov.call(
                user=f"user-{number}",
                department="team",
                max_tokens=1000,
                messages=[{"role": "user", "content": "Hello, Claude"}],
            )
        except (BudgetContended, BudgetExceeded) as refused:
            needed = min(view.ceiling.nanos for view in refused.decision.candidates)
            numbers = [refused.budget.posted, refused.budget.held, refused.budget.limit, needed]
            if isinstance(refused, BudgetExceeded):
                seen["exceeded"].append(numbers)
                return
            seen["contended"].append(numbers)
        else:
            receipt = message.receipt
            seen["served"].append([receipt.cost.nanos, receipt.ceiling.nanos, int(receipt.settled)])


async def main() -> None:
    """Start the tasks together, and report."""
    policies, ledger, url, tasks = sys.argv[1:]
    seen: dict[str, list[list[int]]] = {"served": [], "contended": [], "exceeded": []}
    client = anthropic.AsyncAnthropic(base_url=url, api_key="fake-key")
    async with client, AsyncGovernor.load(policies, ledger=ledger, client=client, create_ledger=True) as gov:
        await asyncio.gather(*(spend(gov, number, seen) for number in range(int(tasks))))
    print(json.dumps(seen))  # noqa: T201 - read by the test


if __name__ == "__main__":
    asyncio.run(main())
