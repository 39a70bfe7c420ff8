"""What single runs do: whether their context grows, whether they repeat themselves, what they burn. Pure."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from governor.journal import call as states
from governor.journal.alerts.rule import DAY_MS, HOUR_MS, MINUTE_MS

if TYPE_CHECKING:
    from governor.journal.alerts.rule import Rule
    from governor.journal.call import Call

MOST_RUNS = 2_000
MOST_FEATURES = 500
LAST_CALLS = 20
GROWTH = 2
"""A context grows without end, as far as can be told, once it is so many times what it grew from."""
SHRUNK = 0.9
"""Growth begins anew where a context is smaller than this part of the one before."""
SLOT_MS = 10 * MINUTE_MS
"""The usual rate of a feature's runs is what one of them spends in so long while it is active."""
LEAST_SLOTS = 10
WEEK_HOURS = 168


@dataclass(slots=True)
class Run:
    """One run of a feature.

    Attributes:
        calls: When its last calls ended, and what tells one from another.
        newest, lowest: Its context in tokens, now and where its growth began.
        rising: How many calls in a row were larger than the one before.
        slot: The last slot that it was counted in.
        spent: What it spent, by the minute.
    """

    feature: str
    calls: deque[tuple[int, tuple[object, ...]]] = field(default_factory=lambda: deque(maxlen=LAST_CALLS))
    newest: int = 0
    lowest: int = 0
    rising: int = 0
    slot: int = -1
    spent: dict[int, int] = field(default_factory=dict)

    def grown(self, at_least: int) -> int | None:
        """Its context in tokens; `None`: it does not grow with every call."""
        if self.rising < at_least or self.newest < GROWTH * self.lowest:
            return None
        return self.newest

    def repeats(self, now_ms: int, window_ms: int) -> int:
        """How many of its last calls within a window were the same as one another."""
        counts = Counter(what for at_ms, what in self.calls if at_ms >= now_ms - window_ms)
        return max(counts.values(), default=0)

    def cost(self, now_ms: int, window_ms: int) -> int:
        """What it spent within a window, nano-dollars."""
        first = (now_ms - window_ms) // MINUTE_MS
        return sum(nanos for minute, nanos in self.spent.items() if first <= minute < now_ms // MINUTE_MS)


class Runs:
    """All runs, and what those of a feature usually burn.

    Attributes:
        runs: By name, the one seen last at the end; some are forgotten for new ones.
        touched: Those with calls since this was emptied.
        first_ms: Since when each feature is known to have runs.
    """

    def __init__(self) -> None:
        self.runs: OrderedDict[str, Run] = OrderedDict()
        self.touched: dict[str, None] = {}
        self._features: dict[str, dict[int, list[int]]] = {}
        self.first_ms: dict[str, int] = {}

    def take(self, call: Call, at_ms: int) -> None:
        """Take in an ended call of a run."""
        run = self.runs.get(call.run)
        if run is None:
            run = self.runs[call.run] = Run(call.feature)
            if len(self.runs) > MOST_RUNS:
                self.runs.popitem(last=False)
        self.runs.move_to_end(call.run)
        self.touched[call.run] = None
        self._spend(run, call, at_ms)
        if call.state == states.ANSWERED:
            same = (
                (call.content_hash,)
                if call.content_hash
                else (call.model, call.max_tokens, call.prompt_tokens)
            )
            run.calls.append((at_ms, (call.feature, *same)))
            _grow(run, call.prompt_tokens)

    def usual(self, kind: str, run: Run, now_ms: int, rule: Rule) -> float | None:
        """What is usual for its feature; `None`: not known yet.

        Of `run_cost`, what an active run spends in the window, nano-dollars; else a call's input, tokens.
        """
        if now_ms - self.first_ms.get(run.feature, now_ms) < rule.history_ms:
            return None
        end = (now_ms - HOUR_MS) // HOUR_MS
        hours = self._features.get(run.feature, {}).items()
        past = [sums for hour, sums in hours if end - WEEK_HOURS <= hour < end]
        nanos, slots, tokens, calls = (sum(one[index] for one in past) for index in range(4))
        if slots < LEAST_SLOTS or not calls:
            return None
        return tokens / calls if kind == "growth" else nanos / slots * rule.window_ms / SLOT_MS

    def _spend(self, run: Run, call: Call, at_ms: int) -> None:
        nanos = call.cost_nanos
        minute, hour, slot = at_ms // MINUTE_MS, at_ms // HOUR_MS, at_ms // SLOT_MS
        run.spent[minute] = run.spent.get(minute, 0) + nanos
        while len(run.spent) > HOUR_MS // MINUTE_MS:
            del run.spent[next(iter(run.spent))]
        if run.feature not in self._features and len(self._features) >= MOST_FEATURES:
            return
        self.first_ms.setdefault(run.feature, at_ms)
        hours = self._features.setdefault(run.feature, {})
        sums = hours.setdefault(hour, [0, 0, 0, 0])
        sums[0] += nanos
        sums[1] += int(slot != run.slot)
        sums[2] += call.prompt_tokens
        sums[3] += int(call.state == states.ANSWERED)
        run.slot = slot
        while hours and next(iter(hours)) < hour - (8 * DAY_MS) // HOUR_MS:
            del hours[next(iter(hours))]


def _grow(run: Run, tokens: int) -> None:
    if not run.lowest or tokens < SHRUNK * run.newest:
        run.lowest, run.rising = tokens, 0
    elif tokens > run.newest:
        run.rising += 1
    run.newest = tokens
