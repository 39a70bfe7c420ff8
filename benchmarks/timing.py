"""Series of measurements, and results as tables and figures."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Step(Protocol):
    """Tells the progress bar that *advance* of the announced steps are done."""

    def __call__(self, advance: int = 1) -> None:
        """Move the bar."""


@dataclass(frozen=True, slots=True)
class Options:
    """How long to measure.

    Attributes:
        quick: A tenth of the repetitions: to see that it runs, not for figures.
    """

    quick: bool = False

    def times(self, repetitions: int) -> int:
        """*repetitions*, or a tenth of them if quick; at least 3."""
        return max(repetitions // 10, 3) if self.quick else repetitions


@dataclass(slots=True)
class Series:
    """Repeated measurements of one thing, wall and process CPU time, in seconds."""

    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    def timed(self, work: Callable[[], T]) -> T:
        """Do *work* once and note how long it took."""
        cpu, wall = time.process_time(), time.perf_counter()
        answer = work()
        self.wall_s.append(time.perf_counter() - wall)
        self.cpu_s.append(time.process_time() - cpu)
        return answer

    @property
    def p50_s(self) -> float:
        """Median wall time in seconds."""
        return median(self.wall_s)

    @property
    def p99_s(self) -> float:
        """The wall time in seconds that 99 of 100 stay below."""
        return quantiles(self.wall_s, n=100, method="inclusive")[98]

    def cpu_of_block_s(self, block: int, size: int) -> float:
        """Mean CPU time in seconds of the *block*-th *size* measurements, counted from 0."""
        return sum(self.cpu_s[block * size : (block + 1) * size]) / size

    @property
    def cpu_mean_s(self) -> float:
        """Mean CPU time of this process in seconds: its clock is too coarse for the median of one call."""
        return sum(self.cpu_s) / len(self.cpu_s)


@dataclass(slots=True)
class Result:
    """One benchmark's outcome.

    Attributes:
        title: The table's title.
        columns: Its column heads; the first column is text, the others are figures.
        rows: Its cells.
        figures: The same unrounded, in seconds or as ratios, by `name.figure`; goes into the JSON.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)


def micros(seconds: float) -> str:
    """Seconds as microseconds or milliseconds: `143 µs`, `2.31 ms`, `412 ms`."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    return f"{seconds * 1e3:.2f} ms" if seconds < 0.1 else f"{seconds * 1e3:.0f} ms"


def kilobytes(size: float) -> str:
    """Bytes for people: `312 B`, `4.1 kB`, `4.12 GB`; a kB is 1,000 bytes."""
    for unit, worth in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= worth:
            return f"{size / worth:.1f} {unit}"
    return f"{size:.0f} B"


def times(ratio: float) -> str:
    """A ratio: `2.40 x`."""
    return f"{ratio:.2f} x"
