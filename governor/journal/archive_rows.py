"""What a record of an archive is made of, read strictly: a file or a table may hold anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field, StringConstraints

from governor.journal.archive import Archived, Position
from governor.ledger.commands import JournalEntry

if TYPE_CHECKING:
    from pydantic import ValidationError

LATEST_MS = 253_402_300_799_999
"""The last millisecond that a date can be written of: the end of the year 9999."""

Seq = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,18}(-[0-9]{1,18})?$")]
"""A place as `governor.ledger.recovery.place` reads it, its numbers no larger than a database keeps."""


class Link(BaseModel, strict=True):
    """What joins an archived record to the one before it: both places, and when it was written (Unix ms)."""

    seq: Seq
    after: Seq | None
    at_ms: Annotated[int, Field(ge=0, le=LATEST_MS)]


class Row(Link):
    """A record as an archive keeps it: whose it is, and its fields as the ledger wrote them."""

    organization: str
    epoch: str
    kind: str
    id: str
    outcome: str
    detail: str
    record: str

    @property
    def position(self) -> Position:
        """Where it is."""
        return Position(self.epoch, self.seq, self.at_ms, self.kind, self.id)

    @property
    def archived(self) -> Archived:
        """As it is read."""
        entry = JournalEntry(self.seq, self.kind, self.id, self.at_ms, self.outcome, self.detail, self.record)
        return Archived(self.epoch, entry, self.after)


def fault(error: ValidationError) -> str:
    """Why something is no `Row`."""
    field = error.errors()[0]["loc"]
    return f"its {field[0]!r} is missing or wrong" if field else "it is no JSON object"
