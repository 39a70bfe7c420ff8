"""What the processes of one organisation tell each other in passing: a notice board in the ledger.

A command that is sent anyway may carry a notice, and its answer then carries those of the others, so that
telling takes no round trip of its own. The ledger reads none of them: no balance, decision or journal record
depends on one. An older release that shares the store does not look at the board: it neither posts nor hears,
and everything else it shares as before.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

BOARD_KEPT_MS = 120_000
"""How long a notice is told to others after it was posted."""

BOARD_LINES = 64
"""How many notices of others one answer carries, and the board keeps for the next: the newest."""

NOTICE_CHARS = 4_000
"""How long a notice may be."""

_PROCESS = re.compile(r"[a-z0-9]{1,32}")


@dataclass(frozen=True, slots=True)
class Notice:
    """What a process puts on the board, in place of what it put there before.

    It is posted whenever the command is answered: with a repetition of the command too, and with a refusal;
    not where the command fails, or its window has moved. So a command that is sent again long after it was
    made should carry a new notice, or none.

    Attributes:
        process: Who posts it: 1 to 32 of `a-z 0-9`, each process its own.
        text: Up to 4,000 printable characters. Empty: the process only reads, and what it had posted goes.

    Raises:
        ValueError: The process or the text is not as said.
    """

    process: str
    text: str = ""

    def __post_init__(self) -> None:
        if not _PROCESS.fullmatch(self.process):
            raise ValueError(f"{self.process!r} is no name of a process: use 1 to 32 of a-z 0-9")
        if len(self.text) > NOTICE_CHARS:
            raise ValueError(f"a notice has at most {NOTICE_CHARS} characters, this one {len(self.text)}")
        if not self.text.isprintable():
            raise ValueError("a notice is printable: no line breaks or other control characters")


@dataclass(frozen=True, slots=True)
class Posted:
    """Another process's notice.

    Attributes:
        process: Who posted it.
        at_ms: When, Unix milliseconds by the ledger's clock.
        text: What it says.
    """

    process: str
    at_ms: int
    text: str


def others(lines: Iterable[Posted], process: str, now_ms: int) -> tuple[Posted, ...]:
    """What *process* is told of the lines of a board, the newest first; the lines of others left out here go.

    A line from further ahead than lines are kept is left out too: the clock was set back.
    """
    fresh = [x for x in lines if x.process != process and abs(now_ms - x.at_ms) <= BOARD_KEPT_MS]
    return tuple(sorted(fresh, key=lambda line: (-line.at_ms, line.process))[:BOARD_LINES])


def heading(notice: Notice | None) -> str:
    """The argument by which a script is told of a notice: `process kept_ms lines`, or '' for none."""
    return "" if notice is None else f"{notice.process} {BOARD_KEPT_MS} {BOARD_LINES}"


def read_line(line: str) -> Posted:
    """One line as a script answers it: `process at_ms text`."""
    process, at_ms, text = line.split(" ", 2)
    return Posted(process, int(at_ms), text)
