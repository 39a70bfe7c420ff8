"""What a store refuses a command with."""

from __future__ import annotations

import asyncio

import pytest

from governor.budgets import Unit
from governor.errors import LedgerUnavailable
from governor.ledger import commands as c
from governor.ledger import open_async_ledger, open_ledger

ROW = c.BudgetRow("department=eng/usd/life", "life", 0, 0, Unit.USD, 1000)
RESERVE = c.Reserve("r1", (ROW,), ((c.Ask(10),),), 60_000)
SECRET = "hunter2"


def refusal(
    url: str, command: c.Command[object] = RESERVE, *, create: bool = False, org: str = "acme"
) -> str:
    """What a command on *url* is refused with, the same on the blocking and the async ledger."""
    ledger = open_ledger(url, org, create=create)
    with pytest.raises(LedgerUnavailable) as blocking:
        ledger.execute(command)
    ledger.close()

    async def attempt() -> None:
        other = open_async_ledger(url, org, create=create)
        try:
            await other.execute(command)
        finally:
            await other.close()

    with pytest.raises(LedgerUnavailable) as waiting:
        asyncio.run(attempt())
    assert SECRET not in str(blocking.value) + str(waiting.value) + repr(blocking.value)
    return str(blocking.value)
