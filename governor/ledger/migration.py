"""From the layout before to this one: what a ledger is asked for it, and the Redis side.

A migration is marked first, so that no other release reads or writes a half of it; then every key is moved,
each in one step, and the marker last. Broken off at any point, it goes on where it stopped.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from governor.ledger.keys import SCHEMA
from governor.ledger.scripts import script
from governor.ledger.talk import PlainCall, ScriptCall
from governor.ledger.values import Command

if TYPE_CHECKING:
    from governor.ledger.keys import Keys
    from governor.ledger.talk import Dialogue

OLDEST = 1
"""The oldest layout that is known here: the only one before this."""

UNDER_WAY = "1>2"
"""The schema number of a ledger whose migration has begun and not ended: refused by every release."""

MOVED_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class OldLedger:
    """A ledger of an older layout.

    Attributes:
        schema: Its layout; `None` if there is none to migrate.
        names: What is to be moved one by one, the marker aside; empty where it is one step.
    """

    schema: int | None
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FindOld(Command[OldLedger]):
    """Look for a ledger of an older layout; changes nothing."""


@dataclass(frozen=True, slots=True)
class Migrate(Command[int]):
    """Mark the migration as begun and move some names; answers how many were still there.

    Attributes:
        names: Of `OldLedger.names`, at most `MOVED_AT_ONCE`.
        last: Whether these are the last: then the marker moves too, and the ledger is of this release.
    """

    names: tuple[str, ...] = ()
    last: bool = False


def find_old(_: FindOld, keys: Keys, __: str) -> Dialogue:
    """The dialogue of `FindOld`."""
    old = replace(keys, schema=OLDEST)
    (schema,) = yield PlainCall(("HMGET", old.meta, "schema"))
    if schema is None:
        return OldLedger(None)
    names: set[str] = set()
    cursor = 0
    while True:
        cursor, found = yield PlainCall(("SCAN", str(cursor), "MATCH", f"{old.prefix}:*", "COUNT", "1000"))
        names.update(found)
        if int(cursor) == 0:
            break
    return OldLedger(OLDEST, tuple(sorted(names - {old.meta})))


def migrate(command: Migrate, keys: Keys, _: str) -> Dialogue:
    """The dialogue of `Migrate`."""
    old = replace(keys, schema=OLDEST)
    named = [old.meta, keys.meta]
    for name in command.names:
        named += [name, keys.prefix + name.removeprefix(old.prefix)]
    args = (str(OLDEST), UNDER_WAY, str(SCHEMA), str(int(command.last)))
    reply = yield ScriptCall(script("migrate"), tuple(named), args)
    return int(reply[1])
