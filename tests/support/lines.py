"""What governors log of their calls, and whether the journal tells the same."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from governor.journal.fold import Fold
from governor.telemetry.lines import LOGGER, NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.governed import Stage

OF_THE_HOLD = ("began_ms", "preferred", "tier", "max_tokens", "complexity", "load_bp", "estimated_tokens")
"""What only the process knows that held: one that reads a batch's results days later does not say it."""

NOT_TOLD_WHILE_AWAY = (*OF_THE_HOLD, "decision", "expected_nanos", "ended_ms", "unknown")
"""What the journal is not told, or says otherwise, of a call that no hold was opened for."""


class _Kept(logging.Handler):
    """Keeps what is logged of each call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.calls.append(dict(record.call))  # type: ignore[attr-defined]


@contextmanager
def listening() -> Iterator[list[dict[str, Any]]]:
    """Inside, what is logged of each call, in order."""
    kept, level = _Kept(), LOGGER.level
    LOGGER.addHandler(kept)
    LOGGER.setLevel(logging.INFO)
    try:
        yield kept.calls
    finally:
        LOGGER.setLevel(level)
        LOGGER.removeHandler(kept)


def of_the_journal(stage: Stage) -> list[dict[str, Any]]:
    """The ended calls that a stage's journal tells of, as lines."""
    fold = Fold()
    fold.take(stage.journal())
    assert fold.unreadable == 0
    rows = [row.as_json() for row in fold.rows() if row.ended_ms is not None]
    return [{name: row[name] for name in NAMES} for row in rows]


def agree(stage: Stage, lines: list[dict[str, Any]], *, but: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """Check that the lines are what the journal tells, but for some fields; returns them."""
    told = {one["id"]: _without(one, but) for one in lines}
    journal = {one["id"]: _without(one, but) for one in of_the_journal(stage)}
    assert told == journal
    assert len(told) == len(lines)
    return lines


def _without(line: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name not in (*names, "trace_id", "span_id")}
