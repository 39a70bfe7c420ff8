"""What is said to Redis of the policies that were pushed; see `governor.ledger.dialogue`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.errors import ReservationConflict
from governor.ledger import policies as p
from governor.ledger.dialogue import check
from governor.ledger.keys import SCHEMA
from governor.ledger.scripts import script
from governor.ledger.talk import PlainCall, ScriptCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.ledger.keys import Keys
    from governor.ledger.talk import Dialogue
    from governor.ledger.values import Command


def _push(command: p.PushPolicies, keys: Keys, now: str) -> Dialogue:
    args = [now, str(SCHEMA), command.id, command.payload(), command.record, str(command.base)]
    args += [command.what, command.hash or "-", str(command.of), command.detail(), command.text()]
    named = (keys.meta, keys.policies, keys.journal)
    reply = yield ScriptCall(script("push"), named, (*args, str(p.KEPT_TEXTS)))
    if reply[0] == "conflict":
        raise ReservationConflict(f"operation id {command.id!r} was used before with another payload")
    check(reply, keys, "pushed", "overtaken")
    outcome, version, about = reply
    if outcome == "overtaken":
        return p.Overtaken(_version(int(version), about) if about else None)
    return _version(int(version), about)


def _head(_: p.ReadPolicyHead, keys: Keys, __: str) -> Dialogue:
    (head,) = yield PlainCall(("HMGET", keys.policies, "head"))
    if head is None:
        return None
    version, _, identifier = head.partition(" ")
    return p.PolicyHead(int(version), identifier)


def _read(command: p.ReadPolicies, keys: Keys, now: str) -> Dialogue:
    version = command.version
    if version is None:
        head = yield from _head(p.ReadPolicyHead(), keys, now)
        version = head.version if head else 0
    about, text = yield PlainCall(("HMGET", keys.policies, f"about:{version}", f"text:{version}"))
    return None if about is None else p.PushedPolicies(_version(version, about), p.read_files(text))


def _list(command: p.ListPolicyVersions, keys: Keys, now: str) -> Dialogue:
    head = yield from _head(p.ReadPolicyHead(), keys, now)
    if head is None:
        return ()
    numbers = range(head.version, max(head.version - command.limit, 0), -1)
    found = yield PlainCall(("HMGET", keys.policies, *(f"about:{number}" for number in numbers)))
    return tuple(_version(n, about) for n, about in zip(numbers, found, strict=True) if about is not None)


def _version(version: int, about: str) -> p.PolicyVersion:
    at, identifier, what, digest, of, record = about.split(" ", 5)
    return p.PolicyVersion(
        version, identifier, int(at), what, "" if digest == "-" else digest, int(of), record
    )


DIALOGUES: dict[type[Command[Any]], Callable[[Any, Keys, str], Dialogue]] = {
    p.PushPolicies: _push,
    p.ReadPolicyHead: _head,
    p.ReadPolicies: _read,
    p.ListPolicyVersions: _list,
}
