"""What administrators changed, as the journal keeps it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from governor.budgets import unit_of
from governor.cli.output import when
from governor.journal import records
from governor.ledger import commands as c
from governor.ledger import detail
from governor.story.decision import instant, show

if TYPE_CHECKING:
    from governor.cli.context import Desk

KINDS = ("grant", "set", "freeze", "unfreeze")
SEARCHED = 5000
"""How many of the journal's newest records are looked through for changes."""

SHOWN = 10


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one budget.

    Attributes:
        kind: `grant`, `set`, `freeze` or `unfreeze`.
        id: The operation's id.
        identity: The budget.
        at_ms: When, Unix milliseconds by the ledger's clock.
        amount: Granted, or the limit that was set, in the budget's unit; `None`: the file's limit again.
        actor: Who; may be empty, like *reason*.
        reason: Why.
        until_ms: When it ends by itself; 0: never.
    """

    kind: str
    id: str
    identity: str
    at_ms: int
    amount: int | None
    actor: str
    reason: str
    until_ms: int

    def __str__(self) -> str:
        """For example `set to $20.00 until 2026-12-01 00:00 UTC by ada@host: launch week`."""
        until = f" until {when(instant(self.until_ms))} UTC" if self.until_ms else ""
        return f"{self._what()}{until} by {self.actor or 'somebody'}" + (
            f": {self.reason}" if self.reason else ""
        )

    def as_json(self) -> dict[str, Any]:
        """The change as JSON; `amount` is an integer in the budget's unit, or `null`."""
        return {
            "kind": self.kind,
            "id": self.id,
            "identity": self.identity,
            "at": instant(self.at_ms),
            "amount": self.amount,
            "actor": self.actor,
            "reason": self.reason,
            "until": instant(self.until_ms),
        }

    def _what(self) -> str:
        if self.amount is not None:
            amount = show(unit_of(self.identity), self.amount)
            return f"granted {amount}" if self.kind == "grant" else f"set to {amount}"
        if self.kind == "set":
            return "set back to the file's limit"
        return "frozen" if self.kind == "freeze" else "unfrozen"


def change_of(entry: c.JournalEntry) -> Change:
    """The change that a journal entry of one of `KINDS` records."""
    record = json.loads(entry.record)
    return Change(
        kind=entry.kind,
        id=entry.id,
        identity=entry.outcome,
        at_ms=entry.at_ms,
        amount=_amount(entry),
        actor=str(record.get("actor", "")),
        reason=str(record.get("reason", "")),
        until_ms=int(record.get("until_ms", 0)),
    )


def _amount(entry: c.JournalEntry) -> int | None:
    if entry.kind == "grant":
        return detail.read_grant(entry.detail)[0]
    return detail.read_limit(entry.detail)[0] if entry.kind == "set" else None


def changes_of(desk: Desk, identity: str) -> list[Change]:
    """The last changes of a budget, oldest first, as far as the newest `SEARCHED` records tell."""
    entries = desk.ledger.execute(c.ReadJournal(limit=SEARCHED))
    return [change_of(e) for e in entries if e.kind in KINDS and e.outcome == identity][-SHOWN:]


def change_record(actor: str, reason: str, until_ms: int = 0) -> str:
    """The journal record of a change: who, why, and until when."""
    record = json.loads(records.administration(actor, reason))
    return json.dumps({**record, "until_ms": until_ms} if until_ms else record, separators=(",", ":"))
