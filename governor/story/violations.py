"""Records of what the policy forbade before any budget was asked: a few, however many are refused.

A refusal costs its sender nothing, so who sends a thousand bad requests a second must not fill the journal:
of one asker's refusals for one reason there is one record a minute, which says how many there were.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from governor.errors import GovernorError, PolicyViolation, UnknownModel
from governor.journal import records
from governor.ledger import commands as c
from governor.ledger.entering import VIOLATION
from governor.story import books
from governor.story.told import REASONS

if TYPE_CHECKING:
    from governor.story.books import Story
    from governor.story.request import House, Request

log = logging.getLogger("governor")

_FORBIDDEN = (PolicyViolation, UnknownModel)


def note(house: House, request: Request, refused: GovernorError) -> Story:
    """Enter a refusal into the journal, if it is one of the policy's and its turn has come.

    The refusal stands whatever becomes of its record: a ledger that is away is not asked.
    """
    if not isinstance(refused, _FORBIDDEN) or house.breaker.is_away:
        return
    reason = next(word for kind, word in REASONS if isinstance(refused, kind))
    who = request.who
    count = house.violations.count((who.department, who.user, reason), house.clock.local_ms())
    if not count:
        return
    record = records.violation(house, request, type(refused).__name__, str(refused), count)
    try:
        yield from books.ask(house, c.Enter(request.id, VIOLATION, reason, record))
    except GovernorError as error:
        log.debug("the refusal of request %s is not in the journal: %s", request.id, error)
