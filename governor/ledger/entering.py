"""What is entered into the journal beside decisions and money: it changes no balance."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from governor.ledger.values import CLOSED_HOLD_KEPT_MS, Command, check_id

VIOLATION = "violation"
"""The kind of a record of what the policy forbade before any budget was asked."""

ENTERED = ("outcome", "alert", "response", VIOLATION)
"""The kinds of records that are entered so."""

ENTERED_KEPT_MS = CLOSED_HOLD_KEPT_MS
"""How long a record is known by its id, so that it is entered once."""


@dataclass(frozen=True, slots=True)
class Enter(Command[bool]):
    """Write one record into the journal; answers whether it is new.

    Attributes:
        id: Made by the caller. Entered again with the same payload within 7 days, nothing is written and the
            answer is `False`.
        kind: `outcome`, `alert`, `response` or `violation`.
        outcome: What it is called: an outcome's name, an alert's cause, `policy` or `unpriced`.
        record: A JSON object, as in `JournalEntry`.

    Raises:
        ReservationConflict: The id was entered before with another payload.
        ValueError: The id, the kind or the record is not as said.
    """

    id: str
    kind: str
    outcome: str
    record: str

    def __post_init__(self) -> None:
        check_id(self.id)
        if self.kind not in ENTERED:
            raise ValueError(f"{self.kind!r} is no kind of record that is entered: {', '.join(ENTERED)}")
        if not isinstance(json.loads(self.record), dict):
            raise ValueError("the record is no JSON object")  # noqa: TRY004 - a wrong text, not a wrong type

    def payload(self) -> str:
        """A digest of what makes this the same record again."""
        said = repr((self.kind, self.outcome, self.record))
        return hashlib.blake2b(said.encode(errors="surrogatepass"), digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class Entered:
    """A record that was entered, as a ledger remembers it: its id, its payload, and when (Unix ms)."""

    id: str
    payload: str
    at_ms: int

    def kept(self, now_ms: int) -> bool:
        """Whether it is still known by its id at an instant."""
        return self.at_ms + ENTERED_KEPT_MS > now_ms
