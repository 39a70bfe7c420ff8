"""Standing orders on SQLite; see `governor.ledger.orders`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.ledger import commands as c
from governor.ledger import orders as o
from governor.ledger.sqlite_admin import is_new
from governor.ledger.sqlite_holds import orders_in_force, orders_version, write_journal

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from governor.ledger.sqlite_holds import Verb


def place(db: sqlite3.Connection, command: o.PlaceOrder, now_ms: int) -> c.Administered | o.TooManyOrders:
    """Give an order; see `PlaceOrder`."""
    order = command.order
    known = db.execute("SELECT 1 FROM operation WHERE id = ?", (order.id,)).fetchone()
    kept = orders_in_force(db, now_ms)
    if len(kept) >= o.MOST_ORDERS and not known:
        return o.TooManyOrders(len(kept))
    if is_new(db, order.id, order.operation):
        _keep(db, [*kept, o.given(order, now_ms)], order.id)
        write_journal(db, o.KIND, order.id, now_ms, order.kind, order.said, command.record)
    return c.Administered(now_ms)


def lift(db: sqlite3.Connection, command: o.LiftOrder, now_ms: int) -> c.Administered | None:
    """End an order; see `LiftOrder`."""
    known = db.execute("SELECT 1 FROM operation WHERE id = ?", (command.id,)).fetchone()
    kept = orders_in_force(db, now_ms)
    left = [one for one in kept if one.id != command.order]
    if len(left) == len(kept) and not known:
        return None
    if is_new(db, command.id, command.id):
        _keep(db, left, command.id)
        write_journal(db, o.KIND, command.id, now_ms, o.LIFTED, command.said, command.record)
    return c.Administered(now_ms)


def list_orders(db: sqlite3.Connection, _: o.ListOrders, now_ms: int) -> o.Reordered:
    """Every order; see `ListOrders`."""
    return o.Reordered(orders_version(db), orders_in_force(db, now_ms), now_ms)


def restore_orders(db: sqlite3.Connection, orders: Iterable[o.Order], version: str) -> None:
    """Have these in force; see `Restore`."""
    _keep(db, list(orders), version)


VERBS: dict[type[c.Command[Any]], Verb] = {
    o.PlaceOrder: place,
    o.LiftOrder: lift,
    o.ListOrders: list_orders,
}


def _keep(db: sqlite3.Connection, orders: list[o.Order], version: str) -> None:
    """Keep these and no others, under a new version; and freeze what they freeze."""
    db.execute("DELETE FROM standing_order")
    rows = [(one.id, one.said, one.at_ms) for one in orders]
    db.executemany("INSERT INTO standing_order (id, said, at_ms) VALUES (?, ?, ?)", rows)
    db.execute("INSERT OR REPLACE INTO meta VALUES ('orders', ?)", (version,))
    db.execute("DELETE FROM freeze WHERE identity GLOB ?", (f"{o.SCOPE}/*",))
    frozen = [(identity, one.why, one.until_ms) for identity, one in o.freezes(orders).items()]
    db.executemany("INSERT INTO freeze VALUES (?, ?, ?)", frozen)
