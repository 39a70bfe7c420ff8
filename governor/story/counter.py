"""What was counted before, and whether the API may be asked to count now."""

from __future__ import annotations

MOST_COUNTS = 4_096
PAUSE_MS = (1_000, 60_000)
"""How long the API is left alone, at least and at most, once it was asked for counts too often."""


class Counter:
    """Counts by the content that was counted, and how long not to ask for more."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, bytes], int] = {}
        self._paused_until_ms = 0

    def find(self, group: str, digest: bytes | None) -> int | None:
        """The count of that content by that tokenizer or model, if it is remembered."""
        return None if digest is None else self._counts.get((group, digest))

    def keep(self, group: str, digest: bytes | None, tokens: int) -> None:
        """Remember a count."""
        if len(self._counts) >= MOST_COUNTS:
            self._counts.clear()
        if digest is not None:
            self._counts[group, digest] = tokens

    def pause(self, now_ms: int, seconds: float) -> None:
        """Ask for no count for a while: the API said that it is asked too often."""
        shortest, longest = PAUSE_MS
        self._paused_until_ms = now_ms + min(max(int(seconds * 1000), shortest), longest)

    def paused(self, now_ms: int) -> bool:
        """Whether to leave the API alone."""
        return now_ms < self._paused_until_ms
