"""What a ledger is asked and what it answers: plain frozen values, the same for every store.

Amounts are integers in the budget's own unit: nano-dollars for `usd`, else a count. Instants are Unix
milliseconds by the ledger's clock. Every changing command carries an id made by the caller; sending it
again with the same payload changes nothing and gives the same answer.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Generic, TypeVar

from governor.budgets import Unit

R = TypeVar("R")

FULL_MARK_BP = 10_000
"""A mark in basis points that lets a candidate fill a budget to its limit."""

DUE_PER_REPLY = 10
"""How many expired holds one reply may name, so that reaping is bounded work."""

CLOSED_HOLD_KEPT_MS = 7 * 24 * 3600 * 1000
"""How long a closed hold is remembered, so that a repeated command is recognised."""

_ID = re.compile(r"[A-Za-z0-9._:@+-]{1,128}")


def check_id(identifier: str) -> str:
    """Return *identifier* if a ledger can keep it.

    Raises:
        ValueError: It is empty, longer than 128 characters, or has one outside `A-Za-z0-9._:@+-`.
    """
    if not _ID.fullmatch(identifier):
        raise ValueError(f"{identifier!r} is no request id: use 1 to 128 of A-Z a-z 0-9 . _ : @ + -")
    return identifier


class Command(Generic[R]):
    """Something a ledger can be asked; `R` is what it answers."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """One budget a request touches, in the window it is asked for.

    Attributes:
        identity: `governor.budgets.balance_identity(…)`.
        window: The window's id.
        start_ms: First millisecond of the window.
        end_ms: First millisecond after it; 0 where it never ends.
        unit: What the budget counts.
        limit: The limit from the policy file.
        steps: Thresholds to report when posted crosses them, in basis points of the limit.
    """

    identity: str
    window: str
    start_ms: int
    end_ms: int
    unit: Unit
    limit: int
    steps: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """What one candidate needs of one budget.

    Attributes:
        amount: To hold.
        mark_bp: How full the budget may be, after this is posted, in basis points of the limit.
        floor: How much of the limit must be left over.
    """

    amount: int
    mark_bp: int = FULL_MARK_BP
    floor: int = 0


@dataclass(frozen=True, slots=True)
class Balance:
    """A reading of one balance.

    Attributes:
        posted: Spent.
        held: Promised to open holds.
        limit: In force now: the file's or the override's, plus grants.
        frozen: Why it is frozen; `None` where it is not.
    """

    posted: int
    held: int
    limit: int
    frozen: str | None = None

    @property
    def available(self) -> int:
        """What is neither spent nor promised; below 0 after an overrun."""
        return self.limit - self.posted - self.held


@dataclass(frozen=True, slots=True)
class DueHold:
    """A hold whose time to live is over, with all that `Expire` needs to name its keys."""

    id: str
    balances: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Crossing:
    """A threshold that posted crossed, reported once per balance and step.

    Attributes:
        identity: The balance's identity.
        window: Its window's id.
        step_bp: The threshold in basis points.
        posted: Spent, after the posting that crossed.
        limit: The limit then in force.
    """

    identity: str
    window: str
    step_bp: int
    posted: int
    limit: int


@dataclass(frozen=True, slots=True)
class Held:
    """The first candidate that fits was chosen and its amounts are held.

    Attributes:
        candidate: Its index in `Reserve.candidates`.
        balances: Of every budget asked, in order, as they were just *before* this hold.
        state: `open`, or how the hold has ended since, when the command is a repetition.
        expires_ms: When it will expire unless extended.
        now_ms: The ledger's clock.
        due: Expired holds that whoever reads this should send to `Expire`.
    """

    candidate: int
    balances: tuple[Balance, ...]
    state: str
    expires_ms: int
    now_ms: int
    due: tuple[DueHold, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """No candidate fits; nothing is held.

    Attributes:
        reason: `exhausted`, `contended` (would fit once open holds settle) or `frozen`.
        balances: Of every budget asked, in order.
        earliest_expiry_ms: When the first open hold of the organisation will expire, or `None`.
        now_ms: The ledger's clock.
        due: As in `Held`.
    """

    reason: str
    balances: tuple[Balance, ...]
    earliest_expiry_ms: int | None
    now_ms: int
    due: tuple[DueHold, ...] = ()


@dataclass(frozen=True, slots=True)
class WindowMoved:
    """A window asked for is over, or has not begun, by the ledger's clock; recompute with *now_ms*."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class Reserve(Command["Held | Refused | WindowMoved"]):
    """Decide which candidate every budget can bear, and hold it, in one step.

    Attributes:
        id: Made by the caller.
        budgets: The union of the budgets that any candidate touches.
        candidates: Best first; for each one an `Ask` per budget, `None` where it does not touch it.
        ttl_ms: Time to live of the hold.
        charge_on_expiry: Whether expiry posts usd, tokens and requests (`concurrent` is always freed).
        record: The journal record, JSON.
    """

    id: str
    budgets: tuple[BudgetRow, ...]
    candidates: tuple[tuple[Ask | None, ...], ...]
    ttl_ms: int
    charge_on_expiry: bool = True
    record: str = "{}"

    def payload(self) -> str:
        """A digest of what makes this the same request again: not the windows, which move."""
        budgets = [(b.identity, b.unit.value, b.limit, b.steps) for b in self.budgets]
        asks = [[a and (a.amount, a.mark_bp, a.floor) for a in row] for row in self.candidates]
        return _digest((budgets, asks, self.ttl_ms, self.charge_on_expiry))


@dataclass(frozen=True, slots=True)
class Posting:
    """What the end of a hold posts to one budget."""

    budget: BudgetRow
    amount: int


@dataclass(frozen=True, slots=True)
class Closed:
    """A hold has ended.

    Attributes:
        state: `settled`, `released` or `settled_late`.
        balances: Of the postings' budgets, in order, afterwards.
        crossings: Thresholds crossed by this very posting.
        overrun: More was posted than had been held.
        unknown: The ledger did not know the hold; posted all the same, and flagged for review.
        now_ms: The ledger's clock.
        due: As in `Held`.
    """

    state: str
    balances: tuple[Balance, ...]
    crossings: tuple[Crossing, ...]
    overrun: bool
    unknown: bool
    now_ms: int
    due: tuple[DueHold, ...] = ()


@dataclass(frozen=True, slots=True)
class Settle(Command[Closed]):
    """Post what was really used and close the hold: always recorded, above the hold and after expiry too."""

    id: str
    postings: tuple[Posting, ...]
    record: str = "{}"

    def payload(self) -> str:
        """A digest of what makes this the same settlement again."""
        return _digest(("settle", _posted(self.postings)))


@dataclass(frozen=True, slots=True)
class Release(Command[Closed]):
    """Close the hold of a request that was never served; the postings keep what is not given back."""

    id: str
    postings: tuple[Posting, ...]
    record: str = "{}"

    def payload(self) -> str:
        """A digest of what makes this the same release again."""
        return _digest(("release", _posted(self.postings)))


@dataclass(frozen=True, slots=True)
class Extended:
    """The hold's state, and when it expires if it is open (else 0)."""

    state: str
    expires_ms: int


@dataclass(frozen=True, slots=True)
class Extend(Command[Extended]):
    """Give an open hold *ttl_ms* more from now, while a long stream runs."""

    id: str
    budgets: tuple[BudgetRow, ...]
    ttl_ms: int


@dataclass(frozen=True, slots=True)
class Expired:
    """Which of the holds were expired by this very command, and the thresholds that crossed."""

    ids: tuple[str, ...]
    crossings: tuple[Crossing, ...]


@dataclass(frozen=True, slots=True)
class Expire(Command[Expired]):
    """Close the holds whose time is over; one that is not due, or has ended, is left as it is."""

    holds: tuple[DueHold, ...]


@dataclass(frozen=True, slots=True)
class Administered:
    """A change by an administrator is in force; *limit_added* is the total granted in the window."""

    now_ms: int
    limit_added: int = 0


@dataclass(frozen=True, slots=True)
class Grant(Command[Administered]):
    """Add *amount* to a budget's limit, in this window only."""

    id: str
    identity: str
    window: str
    amount: int
    record: str = "{}"


@dataclass(frozen=True, slots=True)
class SetLimit(Command[Administered]):
    """Put *limit* in place of the file's, until *until_ms* (0: until changed); `None` takes it away."""

    id: str
    identity: str
    limit: int | None
    until_ms: int = 0
    record: str = "{}"


@dataclass(frozen=True, slots=True)
class Freeze(Command[Administered]):
    """Refuse whatever touches the budget, until *until_ms* (0: until unfrozen)."""

    id: str
    identity: str
    reason: str
    until_ms: int = 0
    record: str = "{}"


@dataclass(frozen=True, slots=True)
class Unfreeze(Command[Administered]):
    """End a freeze."""

    id: str
    identity: str
    record: str = "{}"


@dataclass(frozen=True, slots=True)
class Readings:
    """Balances in the order asked, and the ledger's clock."""

    balances: tuple[Balance, ...]
    now_ms: int


@dataclass(frozen=True, slots=True)
class Read(Command[Readings]):
    """Read balances without changing anything."""

    budgets: tuple[BudgetRow, ...]


@dataclass(frozen=True, slots=True)
class KnownBalance:
    """A balance the ledger keeps: its window's end (0: none) and the file limit it was last asked with."""

    identity: str
    window: str
    end_ms: int
    balance: Balance


@dataclass(frozen=True, slots=True)
class ListBalances(Command[tuple[KnownBalance, ...]]):
    """Every balance whose identity contains *contains*; of windows that are over too if *past*."""

    contains: str = ""
    past: bool = False


@dataclass(frozen=True, slots=True)
class OpenHold:
    """A hold not yet ended."""

    id: str
    expires_ms: int
    balances: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ListHolds(Command[tuple[OpenHold, ...]]):
    """Every open hold, the first to expire first."""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One record of the journal.

    Attributes:
        seq: Its place in the journal, ascending.
        kind: `reserve`, `settle`, `release`, `expire`, `grant`, `set`, `freeze`, `unfreeze` or `create`.
        id: The request's or the operation's id.
        at_ms: The ledger's clock.
        outcome: What came of it: the state of the hold, or the reason of a refusal.
        detail: What the ledger itself adds, as text (`governor.ledger.detail` reads it).
        record: What the caller wrote, JSON.
    """

    seq: str
    kind: str
    id: str
    at_ms: int
    outcome: str
    detail: str
    record: str


@dataclass(frozen=True, slots=True)
class ReadJournal(Command[tuple[JournalEntry, ...]]):
    """The newest *limit* records, oldest first; only those of *id* if it is given."""

    id: str | None = None
    limit: int = 1000


@dataclass(frozen=True, slots=True)
class Status:
    """What a ledger is: *created* as one, its schema and epoch, its server, and its clock."""

    created: bool
    schema: int | None
    epoch: str | None
    server: str
    now_ms: int


@dataclass(frozen=True, slots=True)
class Inspect(Command[Status]):
    """Look at the store itself; works on one that was never created."""


@dataclass(frozen=True, slots=True)
class Create(Command[Status]):
    """Make an empty store a ledger; does nothing to one that already is."""

    epoch: str


def _posted(postings: tuple[Posting, ...]) -> list[tuple[str, str, int]]:
    return [(p.budget.identity, p.budget.window, p.amount) for p in postings]


def _digest(payload: object) -> str:
    return hashlib.blake2b(repr(payload).encode(), digest_size=12).hexdigest()
