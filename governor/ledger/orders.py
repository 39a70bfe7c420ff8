"""Standing orders: what an automated response, or an administrator, has every process do for a while.

An order ends by itself. It is kept where administrators write and applications read. A reserve says which
orders its process has heard of; where these are not the newest, it is answered with them and decides nothing,
so that no request is planned without an order that was given before it was held.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from governor.budgets import Period, Unit, balance_identity
from governor.ledger.administration import Administered
from governor.ledger.values import Command

if TYPE_CHECKING:
    from collections.abc import Iterable


TIGHTEN, SLOW, OPEN_BREAKER, FREEZE_RUN = ORDERS = ("tighten", "slow", "open_breaker", "freeze_run")

MOST_ORDERS = 200
"""How many may be in force at once: each process is told all of them."""

KIND, LIFTED = "response", "lifted"
"""The kind of their records in the journal, and what one is called that ends an order."""

SCOPE = "order"
"""How the identities of the budgets begin that orders make: no policy file has any such."""


@dataclass(frozen=True, slots=True)
class Order:
    """One standing order.

    Attributes:
        id: Of the operation that gave it.
        kind: `tighten` a tier, `slow` somebody, `open_breaker` of a line or model, or `freeze_run`.
        subject: Whom it concerns: pairs of `department`, `user`, `feature`, `run`, `tag:NAME`, and their
            values, of which all must be a request's; of a breaker `model` or `line`. Empty: everybody.
        setting: The tier that is the best one left; how many requests a minute; else ''.
        until_ms: When it is over, Unix milliseconds by the ledger's clock.
        reason: Why, for people.
        actor: Who gave it.
        alert: The key of the alert that asked for it; '' where a person did.
        at_ms: When it was given, by the ledger's clock.
    """

    id: str
    kind: str
    subject: tuple[tuple[str, str], ...]
    setting: str
    until_ms: int
    reason: str
    actor: str
    alert: str = ""
    at_ms: int = 0

    @property
    def identity(self) -> str:
        """The budget by which it refuses: of a run that is frozen, of who is slowed; else ''.

        Its own and nobody's else, so that it works under every policy and disturbs no budget of one.
        """
        if self.kind not in (SLOW, FREEZE_RUN):
            return ""
        period = Period.MINUTE if self.kind == SLOW else Period.LIFE
        whose = {name.replace(":", "."): value for name, value in self.subject}  # no identity has a colon
        return balance_identity({SCOPE: None, **whose}, Unit.REQUESTS, period)

    @property
    def frozen(self) -> str:
        """The budget that it freezes; '' if none."""
        return self.identity if self.kind == FREEZE_RUN else ""

    @property
    def why(self) -> str:
        """Why a budget is frozen by it, and how that is undone."""
        return f"{self.reason or self.alert or 'by order'} (undo: governor responses undo {self.id})"

    @property
    def said(self) -> str:
        """What it says, as it is kept and journalled."""
        subject = ",".join(f"{_quoted(name)}={_quoted(value)}" for name, value in self.subject)
        return (
            f"kind={self.kind} setting={_quoted(self.setting)} until={self.until_ms} subject={subject} "
            f"alert={_quoted(self.alert)} actor={_quoted(self.actor)} reason={_quoted(self.reason)}"
        )

    @property
    def operation(self) -> str:
        """What makes it the same order again."""
        return f"order {self.said}"

    @property
    def row(self) -> str:
        """As Redis keeps it: `id until at frozen why said;`, a budget and why it is frozen (`-`: none)."""
        why = _quoted(self.why) if self.frozen else "-"
        return f"{self.id} {self.until_ms} {self.at_ms} {self.frozen or '-'} {why} {self.said};"

    def in_force(self, now_ms: int) -> bool:
        """Whether it holds at an instant, Unix milliseconds."""
        return now_ms < self.until_ms


@dataclass(frozen=True, slots=True)
class TooManyOrders:
    """So many orders are in force that no other is taken."""

    open: int


@dataclass(frozen=True, slots=True)
class Reordered:
    """The newest orders are others than the process has heard of; nothing was decided.

    Attributes:
        version: Tells these from any others; '' where there are none, and never were.
        orders: Those in force, in the order in which they were given.
        now_ms: The ledger's clock.
    """

    version: str
    orders: tuple[Order, ...]
    now_ms: int


@dataclass(frozen=True, slots=True)
class PlaceOrder(Command[Administered | TooManyOrders]):
    """Give an order; again, with its id, it is the same. *record* as in `JournalEntry`."""

    order: Order
    record: str = "{}"

    @property
    def id(self) -> str:
        """Of the operation."""
        return self.order.id


@dataclass(frozen=True, slots=True)
class LiftOrder(Command[Administered | None]):
    """End the order of that id before its time; `None` where none is in force.

    Attributes:
        order: The order's id.
        record: The journal record, JSON.
    """

    order: str
    record: str = "{}"

    @property
    def id(self) -> str:
        """Of the operation: an order is lifted once."""
        return f"lift-{self.order}"

    @property
    def said(self) -> str:
        """What the journal keeps of it."""
        return f"order={self.order}"


@dataclass(frozen=True, slots=True)
class ListOrders(Command[Reordered]):
    """Every order in force, as a reserve that has heard of none is told."""


def read_order(identifier: str, said: str, at_ms: int) -> Order:
    """The inverse of `Order.said`.

    Raises:
        KeyError: It is not whole.
        ValueError: It is no order.
    """
    found = dict(word.split("=", 1) for word in said.split(" "))
    pairs = (pair.partition("=") for pair in found["subject"].split(",") if pair)
    return Order(
        id=identifier,
        kind=found["kind"],
        subject=tuple((unquote(name), unquote(value)) for name, _, value in pairs),
        setting=unquote(found["setting"]),
        until_ms=int(found["until"]),
        reason=unquote(found["reason"]),
        actor=unquote(found["actor"]),
        alert=unquote(found["alert"]),
        at_ms=at_ms,
    )


def read_rows(rows: str, now_ms: int) -> tuple[Order, ...]:
    """The orders in force of those that Redis keeps; what cannot be read is left out."""
    found = []
    for row in rows.split(";")[:-1]:
        try:
            identifier, _, at_ms, _, _, said = row.split(" ", 5)
            found.append(read_order(identifier, said, int(at_ms)))
        except (KeyError, ValueError):
            continue
    return tuple(one for one in found if one.in_force(now_ms))


def given(order: Order, at_ms: int) -> Order:
    """The order, given at an instant."""
    return replace(order, at_ms=at_ms)


def freezes(orders: Iterable[Order]) -> dict[str, Order]:
    """Of each budget that orders freeze, the order that does so longest."""
    longest: dict[str, Order] = {}
    for one in orders:
        if one.frozen and (one.frozen not in longest or one.until_ms > longest[one.frozen].until_ms):
            longest[one.frozen] = one
    return longest


def rebuilt_version(source: str) -> str:
    """The version of orders that were restored: none that any process has heard of before."""
    return "rebuilt-" + hashlib.blake2b(source.encode(), digest_size=8).hexdigest()


def _quoted(text: str) -> str:
    return quote(text, safe="@:+./-_!()'*")
