"""What is said to Redis for archives that follow; see `governor.ledger.dialogue`.

Each is a consumer group of the journal's stream that reads nothing: its place is set behind every commit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.errors import LedgerUnavailable
from governor.ledger import following as f
from governor.ledger.dialogue import check
from governor.ledger.keys import SCHEMA
from governor.ledger.scripts import script
from governor.ledger.talk import PlainCall, ScriptCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.ledger import commands as c
    from governor.ledger.keys import Keys
    from governor.ledger.talk import Dialogue

BEGINNING = "0-0"


def _follow(command: f.Follow, keys: Keys, now: str) -> Dialogue:
    place = command.last.seq if command.last is not None else BEGINNING
    known = ("-" if command.before is None else command.before or BEGINNING, str(command.count))
    args = (now, str(SCHEMA), command.epoch, command.name, place, *known)
    reply = yield ScriptCall(script("follow"), (keys.meta, keys.journal), args)
    if reply[0] == "other_epoch":
        raise LedgerUnavailable(
            f"the ledger of organization {keys.organization!r} has epoch {reply[1]}, its archive follows "
            f"{command.epoch}: it was made anew meanwhile"
        )
    check(reply, keys, "follows")


def _unfollow(command: f.Unfollow, keys: Keys, _: str) -> Dialogue:
    return bool((yield PlainCall(("XGROUP DESTROY", keys.journal, command.name))))


def _list(_: f.ListFollowers, keys: Keys, now: str) -> Dialogue:
    reply = yield ScriptCall(script("followers"), (keys.meta, keys.journal), (now, str(SCHEMA)))
    check(reply, keys, "followers")
    found = []
    for name, seq, lag, oldest in zip(*[iter(reply[1:])] * 4, strict=True):
        place, behind = None if seq == BEGINNING else seq, int(lag) if lag else None
        found.append(f.Follower(name, place, behind, int(oldest) if oldest else None))
    return tuple(sorted(found, key=lambda one: one.name))


def _await(command: f.AwaitRecords, keys: Keys, _: str) -> Dialogue:
    after = command.after or BEGINNING
    words = ("XREAD", "COUNT", "1", "BLOCK", str(command.most_ms), "STREAMS", keys.journal, after)
    return bool((yield PlainCall(words)))


DIALOGUES: dict[type[c.Command[Any]], Callable[[Any, Keys, str], Dialogue]] = {
    f.Follow: _follow,
    f.Unfollow: _unfollow,
    f.ListFollowers: _list,
    f.AwaitRecords: _await,
}
