"""What processes tell each other of the models, in one short line each; and what they were told."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from governor.routing.lane import Others
from governor.routing.limits import KINDS, MOST_PER_MINUTE, RateLimit, RateLimits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LONGEST_LINE = 1_500
LONGEST_NAME = 100
MOST_PROCESSES = 256

TOLD_S = 60.0
"""What was told longer ago counts no more."""

LATELY_S = 5.0
"""Who sends or waits now is told by lines no older than that."""

AHEAD_MS = 5_000
"""A line from further in the future is not believed."""

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Word:
    """What one process says of one model; ages as of when it was said.

    Attributes:
        in_flight: Its requests in flight.
        answers: Its answers of the last minute.
        pushed: How many of those were 429 or 529.
        sent_per_min: At which rate it sends, requests per minute.
        waiting: Users that wait there.
        latency_ms: How long an answered request takes there; 0 if unknown.
        limited_ms: How long ago it heard a 429; `None` if not lately.
        pause_ms: How long nobody should send because of a `retry-after`; 0 if there was none.
        limits: The newest headers it knows, brought up to date; resets are milliseconds from then.
        limits_ms: How long ago the request left that they belong to.
        breaker: How its own answers last changed its breaker (`open`, `closed`), how long ago in
            milliseconds, and how often they had by then; `None` if not lately.
    """

    in_flight: int = 0
    answers: int = 0
    pushed: int = 0
    sent_per_min: int = 0
    waiting: int = 0
    latency_ms: int = 0
    limited_ms: int | None = None
    pause_ms: int = 0
    limits: RateLimits | None = None
    limits_ms: int = 0
    breaker: tuple[str, int, int] | None = None


_COUNTS = (
    ("f", "in_flight"),
    ("n", "answers"),
    ("p", "pushed"),
    ("s", "sent_per_min"),
    ("w", "waiting"),
    ("y", "latency_ms"),
    ("t", "pause_ms"),
)


def write(words: Iterable[tuple[str, Word]]) -> str:
    """One line for the others, shorter than `LONGEST_LINE`; the words that come last may be left out."""
    parts: list[str] = []
    length = 0
    for model, word in words:
        if len(model) > LONGEST_NAME:
            continue
        part = f"{json.dumps(model)}:{json.dumps(_packed(word), separators=(',', ':'))}"
        length += len(part) + 1
        if length >= LONGEST_LINE - 2:
            break
        parts.append(part)
    return "{" + ",".join(parts) + "}"


def read(text: str) -> dict[str, Word]:
    """What such a line says; what is malformed in it is left out."""
    if not isinstance(text, str) or len(text) > LONGEST_LINE:
        return {}
    try:
        packed = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(packed, dict):
        return {}
    return {model: _unpacked(one) for model, one in packed.items() if isinstance(one, dict)}


def _packed(word: Word) -> dict[str, Any]:
    packed: dict[str, Any] = {key: getattr(word, name) for key, name in _COUNTS if getattr(word, name)}
    if word.limited_ms is not None:
        packed["g"] = word.limited_ms
    if word.limits is not None:
        told = word.limits.told()
        packed["l"] = [
            word.limits_ms,
            {str(KINDS.index(kind)): [one.limit, one.remaining, one.reset_ms] for kind, one in told.items()},
        ]
    if word.breaker is not None:
        packed["b"] = list(word.breaker)
    return packed


def _unpacked(packed: Mapping[str, Any]) -> Word:
    counts = {name: _count(packed.get(key)) or 0 for key, name in _COUNTS}
    limits, limits_ms = _limits(packed.get("l"))
    return Word(
        **counts,
        limited_ms=_count(packed.get("g"), _DAY_MS),
        limits=limits,
        limits_ms=limits_ms,
        breaker=_breaker(packed.get("b")),
    )


def _count(value: Any, most: int = MOST_PER_MINUTE) -> int | None:
    return value if type(value) is int and 0 <= value <= most else None


def _limits(value: Any) -> tuple[RateLimits | None, int]:
    match value:
        case [int() as age_ms, dict() as told] if 0 <= age_ms <= _DAY_MS:
            limits = {kind: _limit(told.get(str(place))) for place, kind in enumerate(KINDS)}
            return (RateLimits(**limits), age_ms) if any(limits.values()) else (None, 0)
    return None, 0


def _limit(value: Any) -> RateLimit | None:
    match value:
        case [int() as limit, int() as left, int() as full_in_ms] if (
            0 <= left <= limit <= MOST_PER_MINUTE and limit > 0 and 0 <= full_in_ms <= _DAY_MS
        ):
            return RateLimit(limit, left, full_in_ms)
    return None


def _breaker(value: Any) -> tuple[str, int, int] | None:
    match value:
        case ["open" | "closed" as state, int() as age_ms, int() as serial] if 0 <= age_ms <= _DAY_MS:
            return state, age_ms, serial
    return None


@dataclass(slots=True)
class _Told:
    """The last line of one process, and when it was written: seconds by a clock that never goes back."""

    line: tuple[int, str]
    at_s: float
    words: Mapping[str, Word] = field(default_factory=dict)


class Board:
    """The last line of each other process.

    Args:
        process: This one, whose own lines are ignored.
    """

    def __init__(self, process: str) -> None:
        self._process = process
        self._told: dict[str, _Told] = {}

    def learn(self, line: Any, now_ms: int, now_s: float) -> list[tuple[str, Word, float, bool]]:
        """Take in one line.

        Args:
            line: Process, Unix milliseconds, text; anything else is ignored.
            now_ms: The same clock, now.
            now_s: Now, by the clock that never goes back.

        Returns:
            Of each model of which something new was said: the word, how many seconds ago it was said, and
            whether it is the first of a change of the breaker. Nothing if the line is known or old.
        """
        match line:
            case (str() as process, int() as at_ms, str() as text) if process != self._process:
                pass
            case _:
                return []
        age_s = max(0.0, (now_ms - at_ms) / 1000)
        before = self._told.get(process)
        if at_ms > now_ms + AHEAD_MS or age_s > TOLD_S or (before and before.line == (at_ms, text)):
            return []
        words = read(text)
        self._told[process] = _Told((at_ms, text), now_s - age_s, words)
        self._forget(now_s)
        news = []
        for model, word in words.items():
            earlier = before.words.get(model) if before else None
            same = earlier is not None and _serial(earlier) == _serial(word)
            news.append((model, word, age_s, word.breaker is not None and not same))
        return news

    def others(self, model: str, now_s: float) -> Others:
        """What the other processes said of *model*, added up."""
        every = [(told.words.get(model), now_s - told.at_s) for told in self._told.values()]
        said = [(word, age_s) for word, age_s in every if word is not None and age_s <= TOLD_S]
        lately = [word for word, age_s in said if age_s <= LATELY_S]
        latencies = [word.latency_ms for word, _ in said if word.latency_ms]
        return Others(
            sum(word.in_flight for word, _ in said),
            sum(word.answers for word, _ in said),
            sum(min(word.pushed, word.answers) for word, _ in said),
            sum(word.sent_per_min for word in lately) / 60,
            sum(word.sent_per_min for word in lately if not word.waiting) / 60,
            sum(word.waiting for word in lately),
            sum(latencies) / len(latencies) / 1000 if latencies else 0.0,
        )

    def _forget(self, now_s: float) -> None:
        for process in [name for name, told in self._told.items() if now_s - told.at_s > TOLD_S]:
            del self._told[process]
        if len(self._told) > MOST_PROCESSES:
            del self._told[min(self._told, key=lambda name: self._told[name].at_s)]


def _serial(word: Word) -> int | None:
    return word.breaker[2] if word.breaker is not None else None
