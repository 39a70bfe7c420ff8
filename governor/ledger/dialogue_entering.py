"""What is said to Redis to enter a record; see `governor.ledger.dialogue`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.errors import ReservationConflict
from governor.ledger.dialogue import check
from governor.ledger.entering import ENTERED_KEPT_MS, Enter
from governor.ledger.keys import SCHEMA
from governor.ledger.scripts import script
from governor.ledger.talk import ScriptCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.ledger import commands as c
    from governor.ledger.keys import Keys
    from governor.ledger.talk import Dialogue


def _enter(command: Enter, keys: Keys, now: str) -> Dialogue:
    args = (now, str(SCHEMA), command.id, command.payload(), command.record, command.kind, command.outcome)
    named = (keys.meta, keys.entered(command.id), keys.journal)
    reply = yield ScriptCall(script("enter"), named, (*args, str(ENTERED_KEPT_MS)))
    if reply[0] == "conflict":
        raise ReservationConflict(f"the id {command.id!r} was used before for another {command.kind}")
    check(reply, keys, "entered")
    return reply[1] == "1"


DIALOGUES: dict[type[c.Command[Any]], Callable[[Any, Keys, str], Dialogue]] = {Enter: _enter}
