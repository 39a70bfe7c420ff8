"""What the audit finds amiss. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Kind = Literal["changed", "missing", "inserted", "head", "call", "result"]
"""A record is not as it was written, or gone, or was put in; a chain's head is wrong; a row that is made from
the records differs from what they tell."""

MOST_FAULTS = 1000
"""So many are kept and told; more are counted."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing amiss.

    Attributes:
        kind: See `Kind`.
        epoch: Whose ledger's record; '' of a row that is made from records.
        seq: The record's place; of missing ones, that of the last of them. '' where there is none.
        id: The record's, or the row's key; '' where it is not known.
        text: What is wrong, for people.
    """

    kind: Kind
    epoch: str
    seq: str
    id: str
    text: str

    @property
    def where(self) -> str:
        """How it is named: `epoch/seq id`."""
        place = f"{self.epoch}/{self.seq}" if self.seq else self.epoch
        return " ".join(part for part in (place, self.id) if part)


class Head(NamedTuple):
    """How far a chain goes: to be noted elsewhere, where nobody who can write the archive can change it.

    Attributes:
        epoch: The ledger's.
        seq: The place of its newest record.
        hash: That record's.
        records: How many are kept.
    """

    epoch: str
    seq: str
    hash: str
    records: int

    def __str__(self) -> str:
        """As `--head` takes it."""
        return f"{self.epoch}/{self.seq}={self.hash}"


@dataclass(slots=True)
class Found:
    """What a verification has found so far.

    Attributes:
        faults: The first of them.
        amiss: How many there are.
        heads: Of every chain, oldest first.
        records: How many records were read.
        unchained: How many of them have no hash, because an older release wrote them.
        calls, results: How many rows were compared with what the records tell.
        uncertain: How many of them could not be: records that they were made from were pruned.
        pruned: Noted heads whose records were pruned since.
        cuts: Before which instants what was pruned, as the archive says (`retention.Cuts`); `None` of a file.
        keyed: Whether the hashes were made with a key.
    """

    faults: list[Fault] = field(default_factory=list)
    amiss: int = 0
    heads: list[Head] = field(default_factory=list)
    records: int = 0
    unchained: int = 0
    calls: int = 0
    results: int = 0
    uncertain: int = 0
    pruned: list[str] = field(default_factory=list)
    cuts: Any = None
    keyed: bool = False

    def add(self, fault: Fault) -> None:
        """Take in a fault."""
        self.amiss += 1
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(fault)
