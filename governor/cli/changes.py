"""What administrators changed, as the journal keeps it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from governor.budgets import unit_of
from governor.cli.output import when
from governor.cli.typed import harmless
from governor.ledger import commands as c
from governor.ledger import detail
from governor.ledger.requests import WITHDRAWN
from governor.story.decision import instant, show

if TYPE_CHECKING:
    from governor.cli.context import Desk

KINDS = ("grant", "set", "freeze", "unfreeze", "request", "deny")
SEARCHED = 5000
"""How many of the journal's newest records are looked through for changes."""

SHOWN = 10


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one budget.

    Attributes:
        kind: `grant`, `set`, `freeze`, `unfreeze`, or `request` and `deny`, which change no limit.
        id: The operation's id.
        identity: The budget.
        at_ms: When, Unix milliseconds by the ledger's clock.
        amount: Granted, set or asked for, in the budget's unit; below 0 where a grant was taken back; `None`
            for a freeze, or where the file's limit is back.
        actor: Who; may be empty, like *reason*.
        reason: Why.
        until_ms: When it ends by itself; 0: never.
        from_ms: When it begins; 0: when it was made.
        request: The id of the request that it makes or answers; empty where there is none.
        withdrawn: Whether a `deny` is by whoever asked.
    """

    kind: str
    id: str
    identity: str
    at_ms: int
    amount: int | None
    actor: str
    reason: str
    until_ms: int
    from_ms: int = 0
    request: str = ""
    withdrawn: bool = False

    def __str__(self) -> str:
        """For example `set to $20.00 until 2026-12-01 00:00 UTC by ada@host: launch week`."""
        begins = f" from {when(instant(self.from_ms))} UTC" if self.from_ms else ""
        until = f" until {when(instant(self.until_ms))} UTC" if self.until_ms else ""
        return f"{self._what()}{begins}{until} by {harmless(self.actor) or 'somebody'}" + (
            f": {harmless(self.reason)}" if self.reason else ""
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
            "from": instant(self.from_ms),
            "until": instant(self.until_ms),
            "request": self.request or None,
        }

    def _what(self) -> str:
        if self.kind == "set" and self.amount is None:
            return "set back to the file's limit"
        if self.amount is not None and self.amount < 0:
            return f"took back the grant of {show(unit_of(self.identity), -self.amount)}"
        if self.amount is not None:
            return f"{self._done()} {show(unit_of(self.identity), self.amount)}"
        return "frozen" if self.kind == "freeze" else "unfrozen"

    def _done(self) -> str:
        """What was done with an amount."""
        if self.kind == "deny":
            return f"{'withdrew' if self.withdrawn else 'denied'} the request of"
        done = {"grant": "granted", "request": "asked for"}.get(self.kind, "set to")
        return f"{done} as asked" if self.kind == "grant" and self.request else done


def change_of(entry: c.JournalEntry) -> Change:
    """The change that a journal entry of one of `KINDS` records."""
    record, said = json.loads(entry.record), detail.read_change(entry.detail)
    amount = said.get("amount") or said.get("limit")
    return Change(
        kind=entry.kind,
        id=entry.id,
        identity=entry.outcome,
        at_ms=entry.at_ms,
        amount=int(amount) if amount else None,
        actor=str(record.get("actor", "")),
        reason=str(record.get("reason", "")),
        until_ms=int(said.get("until", 0)),
        from_ms=int(said.get("from", 0)),
        request=entry.id if entry.kind == "request" else said.get("request", ""),
        withdrawn=said.get("state") == WITHDRAWN,
    )


def changes_of(desk: Desk, identity: str) -> list[Change]:
    """The last changes of a budget, oldest first, as far as the newest `SEARCHED` records tell."""
    entries = desk.ledger.execute(c.ReadJournal(limit=SEARCHED))
    return [change_of(e) for e in entries if e.kind in KINDS and e.outcome == identity][-SHOWN:]
