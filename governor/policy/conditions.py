"""The conditions and bands of routing, as a file writes them: read once, asked for every request."""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SIGNS: dict[str, Callable[[int, int], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_COMPARISON = re.compile(r"(budget|load)\s*(<=|>=|<|>)\s*([0-9]+)%")
_HIGHEST = 10


class Shares(NamedTuple):
    """What a condition is asked with; 1 is the whole.

    Attributes:
        budget: How much is spent of the fullest usd budget that the request touches; `None` if nobody knows.
        load: How much of what the API can take is taken.
    """

    budget: Fraction | None
    load: Fraction


@dataclass(frozen=True, slots=True)
class Condition:
    """For example `budget > 90% or load > 85%`; `and` binds closer than `or`.

    Attributes:
        text: As it is written.
        any_of: What may hold, each a list of comparisons that must hold together.
    """

    text: str
    any_of: tuple[tuple[tuple[str, str, Fraction], ...], ...]

    @classmethod
    def read(cls, text: str) -> Condition:
        """Read a condition whose words were checked already (`words.When`)."""
        parts = re.split(r"\s+or\s+", text.strip())
        return cls(text.strip(), tuple(tuple(_comparisons(part)) for part in parts))

    def holds(self, shares: Shares) -> bool:
        """Whether it holds for these shares; of one that is unknown no comparison does."""
        return any(all(_holds(one, shares) for one in together) for together in self.any_of)

    def asks(self, name: str) -> bool:
        """Whether it is about *name*: `budget` or `load`."""
        return any(named == name for together in self.any_of for named, _, _ in together)

    def marks(self, name: str) -> set[Fraction]:
        """The shares of *name* at which it may turn."""
        return {mark for together in self.any_of for named, _, mark in together if named == name}


def _holds(comparison: tuple[str, str, Fraction], shares: Shares) -> bool:
    """By whole numbers: fractions compare ten times slower, and every request asks."""
    name, sign, mark = comparison
    share = shares.budget if name == "budget" else shares.load
    if share is None:
        return False
    return _SIGNS[sign](share.numerator * mark.denominator, mark.numerator * share.denominator)


def _comparisons(text: str) -> Iterator[tuple[str, str, Fraction]]:
    for name, sign, percent in _COMPARISON.findall(text):
        yield name, sign, Fraction(int(percent), 100)


@dataclass(frozen=True, slots=True)
class Band:
    """The complexities that a line is for, such as `<3`, `3-7` or `>7`.

    Attributes:
        text: As it is written.
        low: Its lowest, from 0; *high* its highest, to 10.
        low_in: Whether the lowest itself belongs to it; likewise *high_in*.
    """

    text: str
    low: int
    high: int
    low_in: bool = True
    high_in: bool = True

    @classmethod
    def read(cls, text: str) -> Band:
        """Read a band whose form was checked already (`words.Band`)."""
        mark, *rest = (int(number) for number in re.findall(r"[0-9]+", text))
        if rest:
            return cls(text, mark, rest[0])
        inclusive = "=" in text
        if text.startswith("<"):
            return cls(text, 0, mark, high_in=inclusive)
        return cls(text, mark, _HIGHEST, low_in=inclusive)

    def holds(self, complexity: float) -> bool:
        """Whether a request of this complexity, 0 to 10, is in it."""
        above = complexity >= self.low if self.low_in else complexity > self.low
        below = complexity <= self.high if self.high_in else complexity < self.high
        return above and below
