"""What is said to Redis to find holds: those that are open, and those of an id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.budgets import unit_of
from governor.ledger import commands as c
from governor.ledger import lifecycle
from governor.ledger.dialogue import check, due_hold
from governor.ledger.glance import Glance, Glanced, board_of
from governor.ledger.keys import SCHEMA
from governor.ledger.scripts import script
from governor.ledger.talk import PlainCall, ScriptCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.ledger.keys import Keys
    from governor.ledger.talk import Dialogue


def _list_holds(command: c.ListHolds, keys: Keys, _: str) -> Dialogue:
    reply = yield PlainCall(("ZRANGE", keys.expiry, "0", "-1"))
    holds: list[c.OpenHold] = []
    for member in reply:
        if not member.startswith(command.prefix):
            continue
        hold = due_hold(member)
        state, expires = yield PlainCall(("HMGET", keys.hold(hold.id), "state", "expires"))
        if state == lifecycle.OPEN:
            holds.append(c.OpenHold(hold.id, int(expires), hold.balances))
    return tuple(sorted(holds, key=lambda hold: (hold.expires_ms, hold.id)))


def _find_holds(command: c.FindHolds, keys: Keys, _: str) -> Dialogue:
    found: list[c.FoundHold | None] = []
    for identifier in command.ids:
        words = ("HMGET", keys.hold(identifier), "state", "candidate", "payload", "member", "rows")
        state, candidate, payload, member, rows = yield PlainCall(words)
        kept: tuple[tuple[c.BudgetRow, int], ...] = ()
        if member is not None and state not in lifecycle.ENDED:
            kept = _kept_rows(member, rows)
        note = c.note_of(payload or "")
        found.append(state and c.FoundHold(identifier, state, int(candidate or 0), kept, note))
    return tuple(found)


def _kept_rows(member: str, rows: str) -> tuple[tuple[c.BudgetRow, int], ...]:
    """What a hold that was not ended by a caller keeps of its budgets, and the amounts."""
    refs = due_hold(member).balances
    return tuple(_kept_row(*ref, row) for ref, row in zip(refs, rows.split(";"), strict=False))


def _kept_row(identity: str, window: str, row: str) -> tuple[c.BudgetRow, int]:
    """As reserve.lua writes it: `amount charge slot`, then `terms`."""
    amount, _, _, end_ms, limit, bucket_ms, _, steps = row.split(" ")
    steps, _, pace = steps.partition("@")
    budget = c.BudgetRow(
        identity=identity,
        window=window,
        start_ms=0,
        end_ms=int(end_ms),
        unit=unit_of(identity),
        limit=int(limit),
        steps=tuple(int(step) for step in steps.split(",") if step),
        bucket_ms=int(bucket_ms),
        pace_bp=int(pace or 0),
    )
    return budget, int(amount)


def _glance(command: Glance, keys: Keys, now: str) -> Dialogue:
    named = (keys.meta, keys.expiry, keys.board)
    reply = yield ScriptCall(script("glance"), named, (now, str(SCHEMA), str(command.limit)))
    check(reply, keys, "glance")
    _, now_ms, count, many, *rest = reply
    ends = 2 * int(many)
    pairs = [
        (due_hold(member), int(score)) for member, score in zip(rest[:ends:2], rest[1:ends:2], strict=True)
    ]
    holds = tuple(c.OpenHold(hold.id, expires_ms, hold.balances) for hold, expires_ms in pairs)
    return Glanced(int(count), holds, board_of(rest[ends:], int(now_ms)), int(now_ms))


DIALOGUES: dict[type[c.Command[Any]], Callable[[Any, Keys, str], Dialogue]] = {
    c.ListHolds: _list_holds,
    c.FindHolds: _find_holds,
    Glance: _glance,
}
