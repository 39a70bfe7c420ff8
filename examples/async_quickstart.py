"""Five calls at once on an event loop; none of them can spend what another one holds.

python examples/async_quickstart.py
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import governor
from governor.testing import FakeClaude, Reply

POLICIES = Path(__file__).resolve().parent.parent / "policies"
TICKETS = ["Printer on fire", "Lost my badge", "VPN is slow", "New laptop?", "Coffee machine is down"]


async def main() -> None:
    """Triage some tickets, all at the same time."""
    with FakeClaude() as api, tempfile.TemporaryDirectory() as folder:
        api.replies(Reply("urgent"))
        async with (
            api.async_client() as client,
            governor.AsyncGovernor.load(
                POLICIES, ledger=f"sqlite:///{folder}/governor.db", client=client
            ) as gov,
        ):
            messages = await asyncio.gather(*(triage(gov, ticket) for ticket in TICKETS))
    for ticket, message in zip(TICKETS, messages, strict=True):
        said = "".join(block.text for block in message.content if block.type == "text")
        print(f"{ticket:24} {said:8} {message.receipt.model} {message.receipt.cost}")
    total = sum((message.receipt.cost for message in messages), governor.Money(0))
    print(f"all together {total}; the API billed {governor.Money(api.billed_nanos)}")


async def triage(gov: governor.AsyncGovernor, ticket: str) -> governor.Message:
    """One call. Its `max_tokens` is the feature's, from policies/support.yaml."""
    return await gov.call(
        user="grace@example.com",
        department="support",
        feature="triage",
        messages=[{"role": "user", "content": f"Urgent, normal or later? {ticket}"}],
    )


if __name__ == "__main__":
    asyncio.run(main())
