"""What must hold after any fault: bills are in the ledger, holds end in time, what is left can be spent."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from governor.ledger import commands as c
from governor.ledger.detail import read_closing
from support.endings import BUDGETS, USD
from support.governed import department

if TYPE_CHECKING:
    from collections.abc import Collection

    from governor.ledger.commands import JournalEntry
    from support.governed import Stage

SILENCE_S = 5
TTL_MS = (SILENCE_S + 60) * 1000
"""Time to live of a hold under `policy`: the silence time-out and a minute."""

LIMIT_NANOS = 100 * 10**9
"""Of the department's usd budget in `policy`."""


def policy(**more: Any) -> dict[str, Any]:
    """A policy with a budget in each unit, whose calls are patient with a slow machine."""
    return department(*BUDGETS, **{"timeout": SILENCE_S, **more})


def tagged(name: str, **more: Any) -> dict[str, Any]:
    """Keywords of a call by which the fake API's bill and the ledger's journal name it alike."""
    return {"request_id": name, "extra_headers": {"x-fake-tag": name}, **more}


@dataclass(frozen=True)
class Books:
    """What the API billed and what the ledger charged, by the calls' names, in nano-dollars."""

    billed: dict[str, int]
    charged: dict[str, int]

    @property
    def excess(self) -> int:
        """By how much the ledger charged more than was billed."""
        return sum(self.charged.values()) - sum(self.billed.values())


def sound(stage: Stage, *, guessed: Collection[str] = (), lost: Collection[str] = ()) -> Books:
    """Check the three invariants, once whatever was under way has ended or died; turns the clock on.

    Args:
        stage: Its policy is `policy()` and its calls are `tagged`.
        guessed: The calls that may be charged more than their bill: their process died, say.
        lost: The calls whose bill the ledger may not know: what the docs say that this fault loses.
    """
    assert stage.api.wait_idle()
    no_hold_outlives_its_time(stage)
    books = every_bill_is_in_the_ledger(stage, guessed=guessed, lost=lost)
    what_is_left_can_be_spent(stage)
    return books


def no_hold_outlives_its_time(stage: Stage) -> None:
    """No hold was given more than its time; once that is over, calls are served and close every one."""
    holds = stage.holds()
    now_ms = stage.clock() if stage.clock else stage.ledger.execute(c.Inspect()).now_ms
    assert [hold for hold in holds if hold.expires_ms > now_ms + TTL_MS] == []
    stage.clock.forward(TTL_MS / 1000 + 1)
    living = stage.governor(None)
    for number in range(max(1, -(-len(holds) // c.DUE_PER_REPLY))):
        living.call(**tagged(f"living-{len(stage.sent())}-{number}", user="living"))
    assert stage.holds() == ()
    assert {name: balance.held for name, balance in stage.balances().items() if balance.held} == {}


def every_bill_is_in_the_ledger(
    stage: Stage, *, guessed: Collection[str] = (), lost: Collection[str] = ()
) -> Books:
    """Each call is charged its bill, or more if it is *guessed*; the balance is the sum of the charges."""
    billed: dict[str, int] = defaultdict(int)
    for line in stage.api.bill:
        billed[line.tag or ""] += line.nanos
    charged = charges(stage.journal())
    for name in billed.keys() | charged.keys():
        bill, charge = billed.get(name, 0), charged.get(name, 0)
        assert charge >= bill or name in lost, f"{name}: {bill} billed, {charge} charged"
        assert charge <= bill or name in guessed, f"{name}: {bill} billed, {charge} charged"
    assert stage.posted(USD) == sum(charged.values())
    return Books(dict(billed), charged)


def charges(journal: list[JournalEntry]) -> dict[str, int]:
    """What each call cost in the end, by the journal: a later record replaces an earlier one."""
    found: dict[str, int] = {}
    for entry in journal:
        if entry.kind in ("settle", "release", "expire"):
            found[entry.id] = int(read_closing(entry.detail)["posted"].partition(",")[0])
    return found


def what_is_left_can_be_spent(stage: Stage) -> None:
    """A hold of all that is neither spent nor held is granted; one of a nano-dollar more is not."""
    balance = stage.balances()[USD]
    row = stage.row(USD, LIMIT_NANOS)
    left = LIMIT_NANOS - balance.posted - balance.held
    for amount, answer in ((left + 1, c.Refused), (left, c.Held)):
        reply = stage.ledger.execute(c.Reserve(f"probe-{amount}", (row,), ((c.Ask(amount),),), TTL_MS))
        assert isinstance(reply, answer), reply
    stage.ledger.execute(c.Release(f"probe-{left}", (c.Posting(row, 0),)))
