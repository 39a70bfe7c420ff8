"""How much will be spent by a date, and when a budget runs out: from daily spend. Pure.

The method, in a sentence: a level of daily spend, newer days weighing more, times a factor for each weekday,
with a range from how far past days were from that. docs/reports.md says what it was measured to miss by.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DAYS_BACK = 56
"""So many whole days of the past are looked at: eight of each weekday."""

HALF_LIFE_DAYS = 7.0
"""Of the level: a day so much older weighs half as much."""

WEEKDAYS_HALF_LIFE_DAYS = 28.0
"""Of the weekdays' factors: they change more slowly than what is spent."""

WEEKDAYS_FROM = 7
"""With fewer whole days, no weekday is told from another."""

DOUBT_DAYS = 0.5
"""Each weekday's factor is drawn to 1 as if it had so many average days more."""

DRIFT = 0.08
"""How far a level moves in a week, as a share of it: what has been steady need not stay so."""

Z80 = 1.2816
"""Four fifths of a normal distribution are within so many standard deviations."""

HORIZON_DAYS = 366
"""A budget that lasts longer is not said to run out."""

GUESS = 0.5
"""The standard deviation of a day's spend, as a share of it, before any is known …"""

GUESSED_DAYS = 1.0
"""… which weighs as so many days."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """How a budget's spend goes.

    Attributes:
        days: How many whole days it was read from.
        level: An average day's spend, nano-dollars.
        factors: Of each weekday, Monday first; 1 on average.
        spread: The standard deviation of a day of factor 1, nano-dollars.
        weight: How many equal days the weighed ones are worth.
    """

    days: int
    level: float
    factors: tuple[float, ...]
    spread: float
    weight: float


@dataclass(frozen=True, slots=True)
class Reach:
    """How much more will have been spent by the end of a day.

    Attributes:
        day: Which day.
        rest: Expected from now until its end, nano-dollars.
        low, high: In four of five cases between these.
    """

    day: date
    rest: int
    low: int
    high: int


def pattern_of(spent: Mapping[date, int], today: date, gone: float) -> Pattern:
    """How spend goes, from the days before today.

    Args:
        spent: Nano-dollars by date; a date that is missing had none. Today's may be among them.
        today: The date of now.
        gone: How much of it is gone, 0 to 1.
    """
    whole = [
        day for day, nanos in spent.items() if nanos and today - timedelta(days=DAYS_BACK) <= day < today
    ]
    if not whole:
        level = spent.get(today, 0) / max(gone, 1 / 24)
        return Pattern(0, level, (1.0,) * 7, GUESS * level, 1.0)
    count = (today - min(whole)).days
    past = [today - timedelta(days=age) for age in range(count, 0, -1)]
    weights = [0.5 ** ((today - day).days / HALF_LIFE_DAYS) for day in past]
    values = [float(spent.get(day, 0)) for day in past]
    factors = _factors(past, values, [0.5 ** ((today - day).days / WEEKDAYS_HALF_LIFE_DAYS) for day in past])
    scales = [factors[day.weekday()] for day in past]
    level = _dot(weights, values) / (_dot(weights, scales) or 1.0)
    weight = sum(weights) ** 2 / _dot(weights, weights)
    return Pattern(count, level, factors, _spread(weights, values, scales, level), weight)


def _factors(days: list[date], values: list[float], weights: list[float]) -> tuple[float, ...]:
    """Each weekday's spend against the average day's, drawn to 1 where little is known; their mean is 1."""
    average = _dot(weights, values) / sum(weights)
    if len(days) < WEEKDAYS_FROM or not average:
        return (1.0,) * 7
    sums, known = [0.0] * 7, [0.0] * 7
    for day, value, weight in zip(days, values, weights, strict=True):
        sums[day.weekday()] += weight * value
        known[day.weekday()] += weight
    doubt = DOUBT_DAYS
    drawn = [(s + doubt * average) / (k + doubt) / average for s, k in zip(sums, known, strict=True)]
    mean = sum(drawn) / 7
    return tuple(one / mean for one in drawn)


def _spread(weights: list[float], values: list[float], scales: list[float], level: float) -> float:
    """The standard deviation of a day of factor 1, of what the level and the factors leave unexplained."""
    squares = [
        (value - level * scale) ** 2 / max(scale, 0.25) for value, scale in zip(values, scales, strict=True)
    ]
    guessed = GUESSED_DAYS * (GUESS * level) ** 2
    return math.sqrt((_dot(weights, squares) + guessed) / (sum(weights) + GUESSED_DAYS))


def reaches(pattern: Pattern, today: date, gone: float, until: date) -> Iterator[Reach]:
    """What more will have been spent by the end of each day, from today to *until*, both included.

    Args:
        pattern: How spend goes.
        today: The date of now.
        gone: How much of it is gone, 0 to 1.
        until: The last date.
    """
    scale = 0.0
    for ahead in range((until - today).days + 1):
        day = today + timedelta(days=ahead)
        scale += pattern.factors[day.weekday()] * (1 - gone if ahead == 0 else 1.0)
        rest = pattern.level * scale
        drift = rest * DRIFT * (ahead + 1) / 7
        deviation = math.sqrt(pattern.spread**2 * (scale + scale**2 / pattern.weight) + drift**2)
        low, high = max(rest - Z80 * deviation, 0.0), rest + Z80 * deviation
        yield Reach(day, round(rest), round(low), round(high))


@dataclass(frozen=True, slots=True)
class RunsOut:
    """On which date nothing is left; `None`: not in this window, or not within a year.

    Attributes:
        day: As expected.
        early, late: In four of five cases between these; `late` is `None` where it may well last.
    """

    day: date | None
    early: date | None
    late: date | None


def runs_out(found: list[Reach], left: int) -> RunsOut:
    """When a budget runs out.

    Args:
        found: What more will have been spent, day by day.
        left: What is left now, nano-dollars.
    """
    return RunsOut(
        next((one.day for one in found if one.rest >= left), None),
        next((one.day for one in found if one.high >= left), None),
        next((one.day for one in found if one.low >= left), None),
    )


def _dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
