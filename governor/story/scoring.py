"""How hard a request is, by the application's word where it has one to say, else by the governor's own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from governor.routing import Complexity, score
from governor.story.effects import Score

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.story.books import Story
    from governor.story.request import House, Request


def complexity_of(house: House, request: Request, body: Mapping[str, Any]) -> Story:
    """How hard *request* is; returns a `Complexity`.

    What the application's scorer says is rounded to one decimal. Where it says nothing that can be used, the
    governor's own score counts, with a note that says why.

    Args:
        house: What every request consults.
        request: The request.
        body: The parameters of `messages.create`.
    """
    if not house.scored:
        return score(body)
    said = yield Score(body, request.who)
    if said.value is None:
        return replace(score(body), note=f"the application's scorer failed: {said.why}")
    value = said.value if isinstance(said.value, int) else round(said.value, 1)
    return Complexity(value, (("scorer", value),))
