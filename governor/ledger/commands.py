"""What a ledger is asked and what it answers: plain frozen values, the same for every store.

Amounts are integers in the budget's own unit: nano-dollars for `usd`, else a count. Instants are Unix
milliseconds by the ledger's clock. Every changing command carries an id made by the caller; sending it
again with the same payload changes nothing and gives the same answer.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from governor.ledger.administration import (
    Administered,
    Change,
    Changes,
    FindGrant,
    Freeze,
    Grant,
    LimitChange,
    ListChanged,
    ReadChanges,
    SetLimit,
    Unfreeze,
)
from governor.ledger.board import Notice, Posted
from governor.ledger.entering import Enter
from governor.ledger.finding import FindHolds, FoundHold, ListHolds, OpenHold
from governor.ledger.orders import LiftOrder, ListOrders, Order, PlaceOrder, Reordered, TooManyOrders
from governor.ledger.policies import (
    ListPolicyVersions,
    Overtaken,
    PolicyHead,
    PolicyVersion,
    PushedPolicies,
    PushPolicies,
    ReadPolicies,
    ReadPolicyHead,
)
from governor.ledger.requests import (
    Answer,
    Approve,
    BudgetRequest,
    Deny,
    FindRequest,
    ListRequests,
    NotAnswered,
    Person,
    RequestGrant,
    TooManyRequests,
)
from governor.ledger.values import (
    BATCH,
    CLOSED_HOLD_KEPT_MS,
    DUE_PER_REPLY,
    EXPIRED_HOLD_KEPT_MS,
    FULL_MARK_BP,
    Ask,
    Balance,
    BudgetRow,
    Command,
    Crossing,
    DueHold,
    Posting,
    check_id,
)

__all__ = [
    "BATCH",
    "CLOSED_HOLD_KEPT_MS",
    "DUE_PER_REPLY",
    "EXPIRED_HOLD_KEPT_MS",
    "FULL_MARK_BP",
    "Administered",
    "Answer",
    "Approve",
    "Ask",
    "Balance",
    "BudgetRequest",
    "BudgetRow",
    "Change",
    "Changes",
    "Closed",
    "Command",
    "Create",
    "Crossing",
    "Deny",
    "DueHold",
    "Enter",
    "Expire",
    "Expired",
    "Extend",
    "Extended",
    "FindGrant",
    "FindHolds",
    "FindRequest",
    "FoundHold",
    "Freeze",
    "Grant",
    "Held",
    "Inspect",
    "JournalEntry",
    "KnownBalance",
    "LiftOrder",
    "LimitChange",
    "ListBalances",
    "ListChanged",
    "ListHolds",
    "ListOrders",
    "ListPolicyVersions",
    "ListRequests",
    "NotAnswered",
    "Notice",
    "OpenHold",
    "Order",
    "Overtaken",
    "Person",
    "PlaceOrder",
    "PolicyHead",
    "PolicyVersion",
    "Posted",
    "Posting",
    "PushPolicies",
    "PushedPolicies",
    "Read",
    "ReadChanges",
    "ReadJournal",
    "ReadPolicies",
    "ReadPolicyHead",
    "Readings",
    "Refused",
    "Release",
    "Reordered",
    "RequestGrant",
    "Reserve",
    "SetLimit",
    "Settle",
    "Status",
    "TooManyOrders",
    "TooManyRequests",
    "Unfreeze",
    "WindowMoved",
    "check_id",
    "note_of",
]


@dataclass(frozen=True, slots=True)
class Held:
    """The first candidate that fits was chosen and its amounts are held.

    Attributes:
        candidate: Its index in `Reserve.candidates`.
        balances: Of every budget asked, in order, as they were just *before* this hold; as they are now,
            when the command is a repetition.
        state: `open`, or how the hold has ended since, when the command is a repetition.
        expires_ms: When it will expire unless extended.
        now_ms: The ledger's clock.
        due: Expired holds that whoever reads this should send to `Expire`.
        board: What other processes have posted, newest first; empty where the command had no notice.
    """

    candidate: int
    balances: tuple[Balance, ...]
    state: str
    expires_ms: int
    now_ms: int
    due: tuple[DueHold, ...] = ()
    board: tuple[Posted, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """No candidate fits; nothing is held.

    Attributes:
        reason: `exhausted`, `contended` (would fit once open holds settle) or `frozen`.
        balances: Of every budget asked, in order.
        earliest_expiry_ms: When the first open hold of the organisation will expire, or `None`.
        now_ms: The ledger's clock.
        due: As in `Held`.
        board: As in `Held`.
    """

    reason: str
    balances: tuple[Balance, ...]
    earliest_expiry_ms: int | None
    now_ms: int
    due: tuple[DueHold, ...] = ()
    board: tuple[Posted, ...] = ()


@dataclass(frozen=True, slots=True)
class WindowMoved:
    """A window asked for is over, or has not begun, by the ledger's clock; recompute with *now_ms*."""

    now_ms: int


@dataclass(frozen=True, slots=True)
class Reserve(Command["Held | Refused | WindowMoved | Reordered"]):
    """Decide which candidate every budget can bear, and hold it, in one step.

    Attributes:
        id: Made by the caller.
        budgets: The union of the budgets that any candidate touches.
        candidates: Best first; for each one an `Ask` per budget, `None` where it does not touch it.
        ttl_ms: Time to live of the hold.
        charge_on_expiry: Whether expiry posts usd, tokens and requests (`concurrent` is always freed).
        record: The journal record, JSON.
        call: What tells this call from another one that took the same id: made anew for each call.
        quiet: Whether a contended refusal goes unrecorded, because the caller waits and asks again.
        trial: Whether any refusal goes unrecorded, because the caller asks again with a closer estimate.
        notice: What to tell other processes, and that they are to be heard; no part of what is asked.
        heard: The version of the orders that it was planned by: by others nothing is decided, and the answer
            is `Reordered`. `None`: orders do not concern it. No part of what is asked.
        note: What whoever ends the hold must know of it (`FindHolds`), where that may be another process.
    """

    id: str
    budgets: tuple[BudgetRow, ...]
    candidates: tuple[tuple[Ask | None, ...], ...]
    ttl_ms: int
    charge_on_expiry: bool = True
    record: str = "{}"
    call: str = ""
    quiet: bool = False
    trial: bool = False
    notice: Notice | None = None
    note: str = ""
    heard: str | None = None

    def payload(self) -> str:
        """A digest of what makes this the same request again; its windows too, for a hold belongs to them.

        The note follows it, so that a store keeps it with the hold; `note_of` reads it.
        """
        budgets = [(b.identity, b.window, b.unit.value, b.limit, b.steps) for b in self.budgets]
        asks = [
            [a and (a.amount, a.mark_bp, a.floor, a.comes_back, a.share_bp, a.enforced) for a in row]
            for row in self.candidates
        ]
        digest = _digest((budgets, asks, self.ttl_ms, self.charge_on_expiry, self.call))
        return f"{digest} {self.note}" if self.note else digest


@dataclass(frozen=True, slots=True)
class Closed:
    """A hold has ended.

    Attributes:
        state: `settled`, `released` or `settled_late`.
        balances: Of the postings' budgets, in order, afterwards; as they are now, in a repetition.
        crossings: Thresholds crossed by this very posting.
        overrun: More was posted than had been held.
        unknown: The ledger did not know the hold; posted all the same, and flagged for review.
        now_ms: The ledger's clock.
        due: As in `Held`.
        board: As in `Held`.
    """

    state: str
    balances: tuple[Balance, ...]
    crossings: tuple[Crossing, ...]
    overrun: bool
    unknown: bool
    now_ms: int
    due: tuple[DueHold, ...] = ()
    board: tuple[Posted, ...] = ()


@dataclass(frozen=True, slots=True)
class Settle(Command[Closed]):
    """Post what was really used and close the hold: always recorded, above the hold and after expiry too."""

    id: str
    postings: tuple[Posting, ...]
    record: str = "{}"
    call: str = ""
    """As in `Reserve`, for a call that was sent without asking: another one with its id is told."""
    notice: Notice | None = None
    """As in `Reserve`."""

    def payload(self) -> str:
        """A digest of what makes this the same settlement again."""
        return _digest(("settle", _posted(self.postings), *([self.call] if self.call else [])))


@dataclass(frozen=True, slots=True)
class Release(Command[Closed]):
    """Close the hold of a request that was never served; the postings keep what is not given back."""

    id: str
    postings: tuple[Posting, ...]
    record: str = "{}"
    notice: Notice | None = None
    """As in `Reserve`."""

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
class JournalEntry:
    """One record of the journal.

    Attributes:
        seq: Its place in the journal, ascending.
        kind: The verb (`reserve`, `settle`, `expire`, `grant`, `request`, …), `create` or `rebuild`.
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


def note_of(payload: str) -> str:
    """The note in what `Reserve.payload` gave; '' if it has none."""
    return payload.partition(" ")[2]


def _posted(postings: tuple[Posting, ...]) -> list[tuple[str, str, int]]:
    return [(p.budget.identity, p.budget.window, p.amount) for p in postings]


def _digest(payload: object) -> str:
    return hashlib.blake2b(repr(payload).encode(), digest_size=12).hexdigest()
