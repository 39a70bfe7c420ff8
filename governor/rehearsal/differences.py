"""What a comparison of policies finds: changes, and which way each goes. Pure."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from governor.policy import Attribution, BudgetRow


class Way(enum.StrEnum):
    """Which way something was changed."""

    SAME = "same"
    TIGHTER = "tighter"
    LOOSER = "looser"
    NEITHER = "neither"


def together(ways: Iterable[Way]) -> Way:
    """The way of several changes at once: neither, where they do not all go one way."""
    found = set(ways) - {Way.SAME}
    return found.pop() if len(found) == 1 else Way.NEITHER if found else Way.SAME


class Difference(NamedTuple):
    """One change.

    Attributes:
        what: What was changed, in words, with both values.
        way: Which way it goes, all else being equal.
        who: Somebody whom it concerns.
        rows: The budgets that it is about, of the old policies and the new ones.
        size: Input tokens, or nano-dollars of a request, around which it shows; 0 where there is no such.
    """

    what: str
    way: Way
    who: Attribution
    rows: tuple[BudgetRow, ...] = ()
    size: int = 0
