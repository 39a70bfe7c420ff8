"""What is said to Redis when more budget is asked for, and answered; see `governor.ledger.dialogue`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.errors import ReservationConflict
from governor.ledger import commands as c
from governor.ledger import detail
from governor.ledger import requests as q
from governor.ledger.dialogue import check
from governor.ledger.keys import SCHEMA
from governor.ledger.scripts import script
from governor.ledger.talk import PlainCall, ScriptCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.ledger.keys import Keys
    from governor.ledger.talk import Dialogue


def row_of(request: c.BudgetRequest) -> str:
    """A request as the ledger keeps it: when it was made, when it is over, what is asked."""
    return f"{request.at_ms} {request.ends_ms} {request.said}"


def answer_row(answer: c.Answer) -> str:
    """An answer as the ledger keeps it: when it was given, and how."""
    return f"{answer.at_ms} {answer.said}"


def _request(command: c.RequestGrant, keys: Keys, now: str) -> Dialogue:
    asked = command.asked
    bounds = (q.OPEN_AT_MOST, q.CLOSED_KEPT_MS, q.CLOSED_AT_MOST)
    args = (now, str(SCHEMA), asked.id, asked.said, command.record, asked.identity, str(asked.ends_ms))
    named = (keys.meta, keys.requests, keys.journal)
    reply = yield ScriptCall(script("request"), named, (*args, *map(str, bounds)))
    if reply[0] == "conflict":
        raise ReservationConflict(f"request id {asked.id!r} was used before for something else")
    if reply[0] == "too_many":
        return c.TooManyRequests(int(reply[1]))
    check(reply, keys, "requested")
    return _read(asked.id, reply[1], reply[2]) or asked


def _approve(command: c.Approve, keys: Keys, now: str) -> Dialogue:
    if command.by.is_also(command.request.by):
        return c.NotAnswered("own", command.request)
    grant = command.grant
    change = (grant.window, str(grant.amount), str(grant.from_ms), str(grant.until_ms))
    more = (grant.id, detail.operation(grant), *change)
    return (yield from _answer(command, "approve", detail.write_approval(command), more, keys, now))


def _deny(command: c.Deny, keys: Keys, now: str) -> Dialogue:
    return (yield from _answer(command, "deny", command.said, (command.id, command.operation), keys, now))


def _answer(
    command: c.Approve | c.Deny, verb: str, said: str, more: tuple[str, ...], keys: Keys, now: str
) -> Dialogue:
    request, answer = command.request, command.answer
    args = (
        now,
        str(SCHEMA),
        request.id,
        row_of(request),
        command.record,
        request.identity,
        said,
        answer.said,
    )
    named = (keys.meta, keys.admin, keys.requests, keys.journal)
    reply = yield ScriptCall(script(verb), named, (*args, *more))
    if reply[0] == "done":
        return q.answered(request, answer, int(reply[1]))
    if reply[0] == "conflict":
        raise ReservationConflict(f"operation id {more[0]!r} was used before with another payload")
    check(reply, keys, "answered", "changed", "over", "unknown")
    if reply[0] == "over":
        return c.NotAnswered("over", request)
    return c.NotAnswered(reply[0], _read(request.id, *reply[1:]) if reply[1:] else None)


def _find(command: c.FindRequest, keys: Keys, _: str) -> Dialogue:
    row, answer = yield PlainCall(("HMGET", keys.requests, f"r:{command.id}", f"a:{command.id}"))
    return _read(command.id, row or "", answer or "")


def _list(_: c.ListRequests, keys: Keys, __: str) -> Dialogue:
    found = yield PlainCall(("HGETALL", keys.requests))
    ids = [name[2:] for name in found if name.startswith("r:")]
    kept = [_read(one, found[f"r:{one}"], found.get(f"a:{one}", "")) for one in ids]
    return q.in_order([request for request in kept if request is not None])


def _read(identifier: str, row: str, answer: str = "") -> c.BudgetRequest | None:
    """A request as it is kept; `None` where it cannot be read, for applications may write there."""
    try:
        at_ms, _, said = row.split(" ", 2)
        answer_ms, _, how = answer.partition(" ")
        given = q.read_answer(how, int(answer_ms)) if answer else None
        return q.read_request(identifier, said, int(at_ms), given)
    except (KeyError, ValueError):
        return None


DIALOGUES: dict[type[c.Command[Any]], Callable[[Any, Keys, str], Dialogue]] = {
    c.RequestGrant: _request,
    c.Approve: _approve,
    c.Deny: _deny,
    c.FindRequest: _find,
    c.ListRequests: _list,
}
