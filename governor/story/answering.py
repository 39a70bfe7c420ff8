"""An earlier answer to exactly the same request, where a call is refused or fails and the policy allows it.

It is given to the department and feature that it was made for. Nothing of it is in the ledger or the journal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.story.digests import digest
from governor.story.request import Door

if TYPE_CHECKING:
    from governor.story.kept import Kept
    from governor.story.request import House, Plan

LONGEST_BYTES = 65_536
"""Of an answer as JSON; a longer one is not kept."""


def find(house: House, planned: Plan) -> Kept | None:
    """An answer to exactly this request, no older than the policy's `cached_answers.max_age`."""
    key = _digest(planned) if age_ms(house, planned) is not None else None
    return None if key is None else house.answers.find(key, house.clock.now_ms())


def age_ms(house: House, planned: Plan) -> int | None:
    """How old the answer is that `find` would give, milliseconds; `None` if it would give none."""
    age = house.answers.age_ms(_digest(planned), house.clock.now_ms())
    return age if age is not None and age <= planned.rules.routes.cached_s * 1000 else None


def keep(house: House, planned: Plan, message: Any) -> None:
    """Keep the answer to a request that was not made smaller, where the policy lets it be given again."""
    key = None if planned.shrunk else _digest(planned)
    if key is not None and message is not None and _bytes(message) <= LONGEST_BYTES:
        house.answers.keep(key, message, house.clock.now_ms())


def _digest(planned: Plan) -> bytes | None:
    """What tells one request from another; `None` where answers are not kept, or JSON cannot write it.

    A door at which callers read the answer themselves has none to keep.
    """
    rules, request = planned.rules, planned.request
    if request.door is not Door.CALL or not rules.routes.cached_s or rules.shadow or planned.unpriced:
        return None
    who = request.who
    wanted = [request.named, request.tier, request.pin, request.max_tokens]
    return digest([who.department, who.feature, *wanted, request.body])


def _bytes(message: Any) -> int:
    return len(message.model_dump_json(warnings=False))
