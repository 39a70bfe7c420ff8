"""Counts what happens too often to be told each time. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

EVERY_MS = 60_000
"""Of one key, so often at most something is told."""

MOST_TOLD = 60
"""Of all keys together, so many in that time: who makes up new names does not tell more."""

MOST_KEYS = 1_000


@dataclass(slots=True)
class Tally:
    """What was told lately of each key, and what was not."""

    _told_ms: dict[tuple[str, ...], int] = field(default_factory=dict)
    _untold: dict[tuple[str, ...], int] = field(default_factory=dict)
    _since_ms: int = 0
    _told: int = 0

    def count(self, key: tuple[str, ...], now_ms: int) -> int:
        """Note one more; returns how many are to be told now, this one among them, or 0.

        What is not told is told with the next of its key that is. Of more than a thousand keys the oldest are
        forgotten, and what was not told of them.
        """
        if not 0 <= now_ms - self._since_ms < EVERY_MS:
            self._since_ms, self._told = now_ms, 0
        count = self._untold.pop(key, 0) + 1
        last_ms = self._told_ms.get(key)
        early = last_ms is not None and 0 <= now_ms - last_ms < EVERY_MS
        if early or self._told >= MOST_TOLD:
            self._untold[key] = count
            _forget_oldest(self._untold)
            return 0
        self._told += 1
        self._told_ms.pop(key, None)
        self._told_ms[key] = now_ms
        _forget_oldest(self._told_ms)
        return count


def _forget_oldest(kept: dict[tuple[str, ...], int]) -> None:
    while len(kept) > MOST_KEYS:
        kept.pop(next(iter(kept)), None)
