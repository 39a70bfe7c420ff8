"""What is under way: the open holds and the notice board, read at a glance and at a small price.

For whoever watches: unlike `ListHolds` it costs the same however many holds are open, and unlike a notice it
posts nothing and takes no line off the board.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.ledger.board import NOTICE_CHARS, Posted, others
from governor.ledger.values import Command

if TYPE_CHECKING:
    from collections.abc import Iterable

    from governor.ledger.finding import OpenHold

GLANCED_HOLDS = 100
"""How many holds one look names, unless it asks for another number."""

_LINE = re.compile(r"([a-z0-9]{1,32}) ([0-9]{1,15}) (.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Glanced:
    """What was seen.

    Attributes:
        open: How many holds are open; those of which the store has not heard for long are among them.
        holds: The first of them to expire.
        board: What processes have posted in the last two minutes, newest first.
        now_ms: The ledger's clock.
    """

    open: int
    holds: tuple[OpenHold, ...]
    board: tuple[Posted, ...]
    now_ms: int


@dataclass(frozen=True, slots=True)
class Glance(Command[Glanced]):
    """Look at the open holds, the first *limit* to expire by name, and at the notice board."""

    limit: int = GLANCED_HOLDS


def board_of(lines: Iterable[str], now_ms: int) -> tuple[Posted, ...]:
    """The lines of a board that are notices, as everybody is told them: `process at_ms text` each."""
    found = (_LINE.fullmatch(line) for line in lines)
    read = (Posted(one[1], int(one[2]), one[3]) for one in found if one is not None)
    return others((line for line in read if 0 < len(line.text) <= NOTICE_CHARS), "", now_ms)
