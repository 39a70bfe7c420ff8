"""Twelve things that go wrong, each put into an ordinary life of the four teams."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from support.fortnight import (
    DAY_MS,
    HABITS,
    HAIKU,
    HOUR_MS,
    MINUTE_MS,
    MONDAY_MS,
    OPUS,
    SONNET,
    SPEED,
    Fortnight,
    Turn,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from governor.ledger.commands import JournalEntry
    from support.fortnight import Habit

AFTER_DAYS = 15
"""A fortnight and a day of ordinary life come first: a Tuesday's midnight."""

TUESDAY_MS = MONDAY_MS + AFTER_DAYS * DAY_MS
BY_FEATURE = {habit.feature: habit for habit in HABITS}


@dataclass(frozen=True)
class Incident:
    """One thing that goes wrong.

    Attributes:
        name: As a test is called.
        causes: What an alert may name as its cause.
        began_ms: When it begins.
        evident_ms: When it can be seen at the earliest: once the window of the rule that is to tell of it has
            enough of it. It must be told within two evaluation periods of that.
        length_ms: How long it lasts.
        change: What becomes of ordinary calls.
        more: Makes calls beside them.
        behind: A user, feature, model or run that the alert must name.
    """

    name: str
    causes: tuple[str, ...]
    began_ms: int
    evident_ms: int
    length_ms: int
    behind: str
    change: Callable[[Turn], Turn | None] = lambda turn: turn
    more: Callable[[Fortnight], list[Turn]] = lambda _: []

    @property
    def eve_ms(self) -> int:
        """Until when the day is anybody's: an hour before it begins, or midnight."""
        return max(TUESDAY_MS, self.began_ms // HOUR_MS * HOUR_MS - HOUR_MS)

    def entries(self, life: Fortnight) -> Iterator[JournalEntry]:
        """The journal from its eve until two hours after it; *life* has been ordinary until then."""
        days = (self.began_ms + self.length_ms + 2 * HOUR_MS - self.eve_ms) / DAY_MS
        return life.entries(days, start_ms=self.eve_ms, change=self._change, more=lambda: self.more(life))

    def _change(self, turn: Turn) -> Turn | None:
        during = self.began_ms <= turn.at_ms < self.began_ms + self.length_ms
        return self.change(turn) if during else turn


def _at(hour: int, minute: int = 0) -> int:
    return TUESDAY_MS + hour * HOUR_MS + minute * MINUTE_MS


def _only(feature: str, **change: object) -> Callable[[Turn], Turn]:
    return lambda turn: replace(turn, **change) if turn.habit.feature == feature else turn  # type: ignore[arg-type]


def _model(turn: Turn, model: str) -> Turn:
    first, token = SPEED[model]
    return replace(turn, model=model, first_ms=first, token_ms=token)


def _series(
    life: Fortnight, habit: Habit, user: str, start_ms: int, every_ms: int, count: int
) -> Iterator[tuple[int, Turn]]:
    for number in range(count):
        turn = life.turn(habit, start_ms + number * every_ms, user)
        yield number, replace(turn, status=200, error=None, stop="end_turn", pushed=())


def _bloat(life: Fortnight) -> list[Turn]:
    """One agent's context grows with every turn, from 50,000 tokens to 1,200,000, and is never cut."""
    turns = _series(life, BY_FEATURE["agent"], "agent-03@example.com", _at(10), 40_000, 60)
    growth = (1_200_000 / 50_000) ** (1 / 59)
    return [
        replace(turn, run="bloated", prompt=int(50_000 * growth**number), cached=0.85)
        for number, turn in turns
    ]


def _loop(life: Fortnight) -> list[Turn]:
    """An agent calls itself: the same again every three seconds, 1.1 $ each; $8,000 in six hours."""
    turns = _series(life, BY_FEATURE["agent"], "agent-07@example.com", _at(11), 3_000, 1_200)
    return [
        replace(
            turn, run="looping", prompt=230_000, answer=8_000, max_tokens=16_000, cached=0.0, content="f" * 16
        )
        for _, turn in turns
    ]


def _noon(life: Fortnight) -> list[Turn]:
    """The job that tags at night is started at noon by mistake, on far more and with a larger model."""
    turns = _series(life, BY_FEATURE["nightly_tags"], "nightly_tags-00@example.com", _at(12), 1_200, 3_000)
    return [replace(_model(turn, SONNET), prompt=6_000, answer=200) for _, turn in turns]


def _leaked(life: Fortnight) -> list[Turn]:
    """At three in the night somebody with a lawyer's key asks Opus for a lot, for an hour."""
    turns = _series(life, BY_FEATURE["contract_review"], "contract_review-02@example.com", _at(3), 6_000, 600)
    return [replace(turn, prompt=30_000, answer=3_000, cached=0.0) for _, turn in turns]


def _costly(life: Fortnight) -> list[Turn]:
    """One request costs some $60: a million tokens of input at Opus's price, read ten times over."""
    turn = life.turn(BY_FEATURE["contract_review"], _at(14), "contract_review-01@example.com")
    return [
        replace(turn, prompt=14_950_000, cached=0.0, answer=4_000, status=200, error=None, stop="end_turn")
    ]


def _climbing(turn: Turn) -> Turn:
    """A release makes more and more requests malformed: three in a hundred more every hour."""
    share = 0.03 * (turn.at_ms - _at(9)) / HOUR_MS
    hit = int(turn.content, 16) % 1000 < 1000 * share
    return replace(turn, status=400, error="BadRequestError", first_ms=200) if hit else turn


def _storm(turn: Turn) -> Turn:
    """Two of five calls are pushed back, some until they are given up."""
    draw = int(turn.content, 16) % 100
    if draw < 20:
        return replace(turn, status=529, error="OverloadedError", pushed=(529, 529), first_ms=9_000)
    return replace(turn, pushed=(529,), first_ms=turn.first_ms + 5_000) if draw < 40 else turn


INCIDENTS = (
    Incident(
        "context bloat from 50,000 to 1,200,000 tokens",
        ("context_growth",),
        _at(10),
        _at(10, 10),
        50 * MINUTE_MS,
        "bloated",
        more=_bloat,
    ),
    Incident(
        "Opus in place of Haiku",
        ("model_mix",),
        _at(9),
        _at(10),
        6 * HOUR_MS,
        "triage",
        change=lambda turn: _model(turn, OPUS) if turn.model == HAIKU else turn,
    ),
    Incident(
        "a recursive loop that would burn $8,000 in six hours",
        ("runaway",),
        _at(11),
        _at(11, 5),
        HOUR_MS,
        "looping",
        more=_loop,
    ),
    Incident(
        "a storm of 529s",
        ("api_overloaded",),
        _at(13),
        _at(13, 5),
        20 * MINUTE_MS,
        "OverloadedError",  # of all models: which has the first three is chance
        change=_storm,
    ),
    Incident(
        "a slow model",
        ("slow_model",),
        _at(14),
        _at(14, 12),
        40 * MINUTE_MS,
        SONNET,
        change=lambda turn: (
            replace(turn, first_ms=turn.first_ms * 8, token_ms=turn.token_ms * 6)
            if turn.model == SONNET
            else turn
        ),
    ),
    Incident(
        "a leaking cache",
        ("cache_lost",),
        _at(9),
        _at(10),
        5 * HOUR_MS,
        "code_review",
        change=_only("code_review", cached=0.0),
    ),
    Incident(
        "a batch job at noon", ("unusual_spend",), _at(12), _at(12, 15), HOUR_MS, "nightly_tags", more=_noon
    ),
    Incident(
        "a leaked key at night",
        ("unusual_hours", "unusual_spend"),
        _at(3),
        _at(3, 15),
        HOUR_MS,
        "contract_review-02@example.com",
        more=_leaked,
    ),
    Incident(
        "a rate limit nearly used up",
        ("rate_limit",),
        _at(15),
        _at(15, 5),
        30 * MINUTE_MS,
        SONNET,
        change=lambda turn: replace(turn, limit_bp=9_300) if turn.model == SONNET else turn,
    ),
    Incident(
        "a feature cut off at max_tokens",
        ("truncated",),
        _at(9),
        _at(10),
        3 * HOUR_MS,
        "code_review",
        change=_only("code_review", stop="max_tokens"),
    ),
    Incident(
        "errors that climb after a release",
        ("client_errors",),
        _at(9),
        _at(11, 30),
        6 * HOUR_MS,
        "BadRequestError",
        change=_climbing,
    ),
    Incident(
        "one request of sixty dollars",
        ("costly_request",),
        _at(14),
        _at(14, 2),
        10 * MINUTE_MS,
        "contract_review-01@example.com",
        more=_costly,
    ),
)
