"""`governor responses list` and `undo`: what alerts had done, and its end before its time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from governor.cli.context import JSON, LEDGER, POLICIES, open_desk
from governor.cli.output import Failure, console, note, print_json, print_rows, when
from governor.cli.typed import harmless, plain
from governor.cli.who import actor_of
from governor.journal.records import administration
from governor.ledger import commands as c
from governor.story.decision import instant

if TYPE_CHECKING:
    from governor.ledger.orders import Order

ID: Any = typer.Argument(..., metavar="ID", help="As `governor responses list` prints it.")
REASON: Any = typer.Option("", "--reason", "-r", help="Why, in one line; kept in the journal.")
ACTOR: Any = typer.Option(None, "--actor", help="Who decided it; default: you, at this host.")


def list_responses(policies: str = POLICIES, ledger: str = LEDGER, as_json: bool = JSON) -> None:
    """List the automated responses in force: what each does, to whom, until when, and why."""
    with open_desk(policies, ledger) as desk:
        orders = desk.ledger.execute(c.ListOrders()).orders
    if as_json:
        print_json({"ledger": desk.where, "responses": [order_json(one) for one in orders]})
    elif orders:
        titles = ("response", "of", "until (UTC)", "by", "why", "id")
        print_rows(titles, [_cells(one) for one in orders])
    else:
        note("no response is in force")


def undo(
    identifier: str = ID,
    reason: str = REASON,
    actor: str = ACTOR,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    as_json: bool = JSON,
) -> None:
    """End a response before its time, in every process at its next request; it is journalled."""
    record = administration(actor_of(actor), plain("--reason", reason) if reason else "")
    with open_desk(policies, ledger) as desk:
        orders = {one.id: one for one in desk.ledger.execute(c.ListOrders()).orders}
        done = desk.ledger.execute(c.LiftOrder(identifier, record))
    if done is None:
        known = f"in force: {', '.join(orders)}" if orders else "none is in force"
        raise Failure(f"no response has the id {identifier!r}: {known}; see `governor responses list`")
    order = orders.get(identifier)
    if as_json:
        told = None if order is None else order_json(order)
        print_json({"ledger": desk.where, "undone": identifier, "response": told})
        return
    what = "it was undone before" if order is None else f"undone: {sentence(order)}"
    console().print(what, soft_wrap=True, highlight=False)


def sentence(order: Order) -> str:
    """For example `tighten to economy of user=ada until 2026-12-01 00:00 UTC by ops: it is dear`."""
    whose = f"alert {order.alert}" if order.alert else order.actor
    why = f": {order.reason}" if order.reason else ""
    until = when(instant(order.until_ms))
    return harmless(f"{what(order)} of {whom(order)} until {until} UTC by {whose}{why}")


def what(order: Order) -> str:
    """For example `slow to 6 a minute`."""
    said = {"tighten": f"to {order.setting}", "slow": f"to {order.setting} requests a minute"}.get(
        order.kind, ""
    )
    return f"{order.kind.replace('_', ' ')} {said}".strip()


def whom(order: Order) -> str:
    """For example `department=legal user=ada`; `everybody`."""
    return " ".join(f"{name}={value}" for name, value in order.subject) or "everybody"


def order_json(order: Order) -> dict[str, Any]:
    """An order as JSON."""
    return {
        "id": order.id,
        "kind": order.kind,
        "subject": dict(order.subject),
        "setting": order.setting or None,
        "at": instant(order.at_ms),
        "until": instant(order.until_ms),
        "reason": order.reason,
        "actor": order.actor,
        "alert": order.alert or None,
    }


def _cells(order: Order) -> tuple[str, ...]:
    whose = order.alert or order.actor
    cells = (what(order), whom(order), when(instant(order.until_ms)), whose, order.reason, order.id)
    return tuple(harmless(cell) for cell in cells)
