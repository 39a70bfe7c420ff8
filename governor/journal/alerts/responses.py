"""Carries out what an alert asks for: each response is a standing order of the ledger, given once."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from governor.errors import ReservationConflict
from governor.ledger import orders as o

if TYPE_CHECKING:
    from governor.journal.alerts.alert import Action, Alert
    from governor.ledger import Ledger
    from governor.policy import Policies

ACTOR = "governor alerts"
"""Who gives the orders that alerts ask for."""

TIERS = ("economy", "standard", "premium")
WHOSE = ("department", "user", "feature", "run")
LONGEST_MS = 31 * 24 * 3600 * 1000
MOST_A_MINUTE = 1_000_000


def carry_out(ledger: Ledger, policies: Policies, action: Action, alert: Alert, now_ms: int) -> str:
    """Give the order that an action of an alert asks for; once, however often it is carried out.

    One that was undone is not given again for the same alert.

    Args:
        ledger: Opened as an administrator.
        policies: Those in force; the record names them.
        action: What is asked for.
        alert: Whose action it is.
        now_ms: The ledger's clock, Unix milliseconds.

    Returns:
        '', or why it cannot be done, for people.

    Raises:
        LedgerUnavailable: The ledger cannot be reached, or gives no right to it: try again.
    """
    why_not = refused(action)
    if why_not:
        return why_not
    order = o.Order(
        id=order_id(action, alert),
        kind=action.kind,
        subject=action.subject,
        setting=action.setting,
        until_ms=now_ms + action.for_ms,
        reason=alert.title,
        actor=ACTOR,
        alert=alert.key,
    )
    record = {"v": 1, "actor": ACTOR, "reason": alert.title, "alert": alert.key, "cause": alert.cause}
    told = {**record, **as_json(order), "policy": policies.hash}
    try:
        reply = ledger.execute(o.PlaceOrder(order, json.dumps(told, separators=(",", ":"))))
    except ReservationConflict:
        return ""  # given before, until another instant
    if isinstance(reply, o.TooManyOrders):
        return f"{reply.open} orders are in force, and no more are taken: undo some with `responses undo`"
    return ""


def order_id(action: Action, alert: Alert) -> str:
    """The id of the order that an action of an alert makes: the same whoever carries it out."""
    said = repr((alert.key, action.kind, action.subject, action.setting))
    return f"resp-{hashlib.blake2b(said.encode(), digest_size=10).hexdigest()}"


def refused(action: Action) -> str:
    """Why an action can be no order; '' where it can."""
    names = [name for name, _ in action.subject]
    known = (*WHOSE, *(("model", "line") if action.kind == o.OPEN_BREAKER else ()))
    strange = [name for name in names if name not in known and not name.startswith("tag:")]
    if strange or len(set(names)) < len(names) or not all(value for _, value in action.subject):
        return f"an order to {action.kind} cannot be of {dict(action.subject)}: it is of {', '.join(known)}"
    if not 0 < action.for_ms <= LONGEST_MS:
        return f"an order lasts up to 31 days, not {action.for_ms} ms"
    return _refused_setting(action, names)


def as_json(order: o.Order) -> dict[str, object]:
    """What an order says, as JSON."""
    subject = dict(order.subject)
    return {"response": order.kind, "subject": subject, "setting": order.setting, "until_ms": order.until_ms}


def _refused_setting(action: Action, names: list[str]) -> str:
    if action.kind == o.TIGHTEN and action.setting not in TIERS:
        return f"{action.setting!r} is no tier to tighten to: {', '.join(TIERS)}"
    if action.kind == o.SLOW:
        digits = action.setting.isascii() and action.setting.isdigit()
        if not names or not digits or not 0 < int(action.setting) <= MOST_A_MINUTE:
            return (
                f"{action.setting!r} is no number of requests a minute for {dict(action.subject) or 'nobody'}"
            )
    if action.kind == o.FREEZE_RUN and "run" not in names:
        return "it names no run to freeze"
    if action.kind == o.OPEN_BREAKER and not {"model", "line"} & set(names):
        return "it names no model or line whose breaker is to be opened"
    return "" if action.kind in o.ORDERS else f"{action.kind!r} is no response: {', '.join(o.ORDERS)}"
