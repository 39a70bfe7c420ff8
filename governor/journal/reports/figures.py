"""What calls come to: counts, sums, and the rates that reports show. Pure.

A *call* is a row that is its call's last leg (`final`); every leg's money and tokens count. Rates are of
calls that ended: `answered` and `failed` (refused by the API or on the way to it, cut, silent, expired). What
a budget blocked never went to the API; it is counted apart, and so are calls that are still open.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from itertools import chain

P50, P95 = 50, 95


@dataclass(slots=True)
class Figures:
    """Sums over calls; they add up.

    Attributes:
        calls: How many, whatever became of them.
        answered: Answered to the end.
        failed: Went to the API and got no whole answer.
        blocked: Refused by a budget, or by the policy.
        open: Not ended yet.
        swapped: Served by another model than preferred, or with a smaller `max_tokens`, for a budget's sake.
        stopped: Answered, and stopped by `max_tokens`.
        pushed_429, pushed_529: How often the API pushed back so, on every leg.
        uncertain: Legs that were charged by rule.
        cost_nanos: Of every leg, nano-dollars.
        input_tokens, output_tokens, cache_write_tokens, cache_read_tokens: Of every leg.
        latencies: How long answered calls took, milliseconds, in lists that are each ascending.
    """

    calls: int = 0
    answered: int = 0
    failed: int = 0
    blocked: int = 0
    open: int = 0
    swapped: int = 0
    stopped: int = 0
    pushed_429: int = 0
    pushed_529: int = 0
    uncertain: int = 0
    cost_nanos: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_write_tokens: int = 0
    cache_read_tokens: int = 0
    latencies: list[list[int]] = field(default_factory=list)

    def add(self, other: Figures) -> None:
        """Count in others."""
        for name in COUNTED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.latencies += other.latencies

    @property
    def ended(self) -> int:
        """Calls that went to the API and ended: what rates are of."""
        return self.answered + self.failed

    @property
    def prompt_tokens(self) -> int:
        """Whole prompts: input, cache writes and cache reads."""
        return self.input_tokens + self.cache_write_tokens + self.cache_read_tokens

    @property
    def tokens(self) -> int:
        """All of them, as budgets of tokens count."""
        return self.prompt_tokens + self.output_tokens

    @property
    def error_percent(self) -> float | None:
        """Failed calls, of those that ended."""
        return percent(self.failed, self.ended)

    @property
    def cache_percent(self) -> float | None:
        """What was read from the cache, of all tokens of prompts."""
        return percent(self.cache_read_tokens, self.prompt_tokens)

    @property
    def stop_percent(self) -> float | None:
        """Answers that `max_tokens` stopped, of all answers."""
        return percent(self.stopped, self.answered)

    @property
    def cost_per_call_nanos(self) -> int | None:
        """What a call that ended cost on average, to the nearest nano-dollar."""
        return each(self.cost_nanos, self.ended)

    def percentiles(self) -> tuple[int | None, int | None]:
        """The 50th and the 95th percentile of latency, milliseconds, exact; `None` where nothing is known."""
        found = sorted(chain.from_iterable(self.latencies))  # quick, for it finds what is in order already
        return nearest_rank(found, P50), nearest_rank(found, P95)


COUNTED = tuple(one.name for one in fields(Figures) if one.name != "latencies")
"""The names of what is a number."""


def nearest_rank(ordered: list[int], rank: int) -> int | None:
    """The smallest value that at least *rank* percent of the values are not above; `None` of none.

    Args:
        ordered: The values, ascending.
        rank: 1 to 100.
    """
    return ordered[-(-len(ordered) * rank // 100) - 1] if ordered else None


def percent(part: int, whole: int) -> float | None:
    """How much of the whole a part is, 0 to 100; `None` of nothing."""
    return 100 * part / whole if whole else None


def change_percent(now: int, before: int) -> float | None:
    """By how much something grew; `None` where there was nothing before."""
    return 100 * (now - before) / before if before else None


def each(nanos: int, count: int) -> int | None:
    """An amount shared alike, to the nearest nano-dollar; `None` among none."""
    return (2 * nanos + count) // (2 * count) if count else None
