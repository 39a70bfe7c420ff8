"""What was entered into the journal beside decisions and money, as `governor why` tells it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from governor.cli.typed import harmless
from governor.story.decision import instant

if TYPE_CHECKING:
    from governor.ledger import commands as c

SHOWN = ("value", "unit", "run", "call", "user", "department", "feature", "severity", "title", "reason")
"""The fields of a record that a line tells, in this order."""


@dataclass(frozen=True, slots=True)
class Told:
    """An outcome, an alert or a response.

    Attributes:
        kind: `outcome`, `alert` or `response`.
        name: What it is called.
        at_ms: When, Unix milliseconds by the ledger's clock.
        record: What was said of it.
    """

    kind: str
    name: str
    at_ms: int
    record: dict[str, Any]

    def __str__(self) -> str:
        """For example `outcome ticket_resolved: value 12.50, unit usd, run pr-1`."""
        said = ", ".join(
            f"{name} {harmless(str(self.record[name]))}" for name in SHOWN if self.record.get(name)
        )
        return f"{self.kind} {harmless(self.name)}" + (f": {said}" if said else "")

    def as_json(self) -> dict[str, Any]:
        """Every field by its name."""
        return {"kind": self.kind, "name": self.name, "at": instant(self.at_ms), "record": self.record}


def told_of(entry: c.JournalEntry) -> Told:
    """What a record of one of these kinds tells."""
    try:
        record = json.loads(entry.record)
    except ValueError:
        record = {}
    return Told(entry.kind, entry.outcome, entry.at_ms, record if isinstance(record, dict) else {})
