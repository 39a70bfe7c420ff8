"""What is said to Redis of standing orders; see `governor.ledger.dialogue`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.errors import ReservationConflict
from governor.ledger import commands as c
from governor.ledger import orders as o
from governor.ledger.dialogue import check, clock_ms
from governor.ledger.keys import SCHEMA
from governor.ledger.scripts import script
from governor.ledger.talk import PlainCall, ScriptCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.ledger.keys import Keys
    from governor.ledger.talk import Dialogue


def _place(command: o.PlaceOrder, keys: Keys, now: str) -> Dialogue:
    order = command.order
    _, _, _, frozen, why, _ = order.row.split(" ", 5)
    args = (now, str(SCHEMA), order.id, order.operation, command.record, order.kind, order.said)
    more = (str(order.until_ms), frozen, why, str(o.MOST_ORDERS))
    reply = yield ScriptCall(script("place"), (keys.meta, keys.admin, keys.journal), (*args, *more))
    if reply[0] == "too_many":
        return o.TooManyOrders(int(reply[1]))
    return _done(reply, order.id, keys)


def _lift(command: o.LiftOrder, keys: Keys, now: str) -> Dialogue:
    args = (now, str(SCHEMA), command.id, command.id, command.record, command.order, command.said)
    reply = yield ScriptCall(script("lift"), (keys.meta, keys.admin, keys.journal), args)
    return None if reply[0] == "unknown" else _done(reply, command.id, keys)


def _done(reply: list[str], identifier: str, keys: Keys) -> c.Administered:
    if reply[0] == "conflict":
        raise ReservationConflict(f"operation id {identifier!r} was used before with another payload")
    check(reply, keys, "done")
    return c.Administered(int(reply[1]))


def _list(_: o.ListOrders, keys: Keys, now: str) -> Dialogue:
    version, rows = yield PlainCall(("HMGET", keys.admin, "orders:v", "orders"))
    now_ms = yield from clock_ms(now)
    return o.Reordered(version or "", o.read_rows(rows or "", now_ms), now_ms)


DIALOGUES: dict[type[c.Command[Any]], Callable[[Any, Keys, str], Dialogue]] = {
    o.PlaceOrder: _place,
    o.LiftOrder: _lift,
    o.ListOrders: _list,
}
