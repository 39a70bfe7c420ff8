"""The model lines, cheapest first, and the steps down between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LINES = ("haiku", "sonnet", "opus", "fable", "mythos")
"""Every line there is, cheapest first: a downgrade goes to the left."""


def rank(line: str) -> int:
    """Where *line* stands on the ladder; 0 is the cheapest."""
    return LINES.index(line)


def at_or_below(line: str, lines: Mapping[str, str]) -> list[str]:
    """The lines of a policy that are not dearer than *line*, dearest first."""
    return sorted((name for name in lines if rank(name) <= rank(line)), key=rank, reverse=True)
