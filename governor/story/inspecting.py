"""What a request's data is, by the word of its caller and of the application's inspector."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from governor.findings import Findings
from governor.story.effects import Inspect

if TYPE_CHECKING:
    from governor.story.books import Story
    from governor.story.request import House, Request


def inspected(house: House, request: Request) -> Story:
    """*request* with what the inspector found in it, where there is one.

    A call that cannot be inspected goes on, and its record says that it was not, and why.
    """
    if not house.inspected:
        return request
    said = yield Inspect(request.body, request.who)
    found = Findings(unchecked=said.why) if said.value is None else said.value
    return replace(request, findings=(request.findings or Findings()).plus(found))
