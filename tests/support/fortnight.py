"""Four teams' ordinary weeks as a journal, into which what goes wrong can be put.

The records have what a governed call's have (a test holds their fields equal); prices are real; the clock is
made up. A life is a stream: only what is in flight is kept.
"""

from __future__ import annotations

import heapq
import json
import math
import random
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from governor.ledger import detail
from governor.ledger.commands import Balance, JournalEntry
from governor.pricing import PriceTable, cost_nanos, read_usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HAIKU, SONNET, OPUS = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"
LINE_OF = {HAIKU: "haiku", SONNET: "sonnet", OPUS: "opus"}

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
MONDAY_MS = 1_793_577_600_000
"""2026-11-02, 00:00 UTC: a Monday at the beginning of a month."""

SPEED = {HAIKU: (400, 4.0), SONNET: (900, 9.0), OPUS: (1_600, 14.0)}
"""First token (ms), and ms for each output token: about what the lines took in 2026."""

WORKDAY = (0, 0, 0, 0, 0, 0, 0.1, 0.5, 1, 1.3, 1.3, 1.2, 0.7, 1.1, 1.3, 1.2, 1, 0.6, 0.2, 0.05, 0, 0, 0, 0)
AROUND_THE_CLOCK = (
    (0.4,) * 6 + (0.8, 1, 1.2, 1.4, 1.4, 1.3, 1.2, 1.3, 1.4, 1.3, 1.2, 1.1) + (1, 0.9, 0.8, 0.6, 0.5, 0.4)
)
AT_TWO = (0, 0, 24) + (0,) * 21
"""Shares of a day's calls by hour of the day, UTC."""


@dataclass(frozen=True, slots=True)
class Habit:
    """What a team uses Claude for, day by day.

    Attributes:
        department, feature, model: As said.
        users: How many people.
        per_day: Calls of all of them on a working day.
        prompt: Tokens of a usual prompt (a median); `spread` is the sigma of its logarithm.
        answer: Tokens of a usual answer, at most `max_tokens`.
        cached: Share of the prompt that is read from the API's cache.
        hours: Shares by hour of day.
        weekend: Share of a working day's calls on Saturdays and Sundays.
        runs: Whether calls are turns of runs, whose context grows up to some 40,000 tokens.
    """

    department: str
    feature: str
    model: str
    users: int
    per_day: int
    prompt: int
    answer: int
    max_tokens: int
    cached: float = 0.5
    spread: float = 0.3
    hours: tuple[float, ...] = WORKDAY
    weekend: float = 0.05
    runs: bool = False


HABITS = (
    Habit("engineering", "code_review", SONNET, 20, 500, 9_000, 700, 4_096, 0.55),
    Habit("engineering", "agent", OPUS, 12, 500, 8_000, 500, 4_096, 0.8, runs=True),
    Habit("legal", "contract_review", OPUS, 6, 90, 16_000, 900, 4_096, 0.45, 0.25),
    Habit("legal", "summarize", SONNET, 6, 120, 9_000, 500, 2_048, 0.45),
    Habit("support", "triage", HAIKU, 15, 900, 1_800, 60, 256, 0.6, 0.2, AROUND_THE_CLOCK, 0.7),
    Habit("support", "reply_draft", SONNET, 15, 450, 3_000, 250, 1_024, 0.6, 0.25, AROUND_THE_CLOCK, 0.7),
    Habit("marketing", "copy", SONNET, 5, 80, 2_500, 600, 2_048, 0.4),
    Habit("marketing", "nightly_tags", HAIKU, 1, 300, 1_200, 40, 256, 0.7, 0.2, AT_TWO, 1.0),
)

MONTHLY = {"engineering": 15_000, "legal": 6_000, "support": 3_000, "marketing": 1_500}


@dataclass(slots=True)
class Turn:
    """One call as it will go; an incident may change any of it before it is written down."""

    at_ms: int
    habit: Habit
    user: str
    run: str | None
    model: str
    prompt: int
    answer: int
    cached: float
    first_ms: int
    token_ms: float
    status: int = 200
    error: str | None = None
    stop: str = "end_turn"
    pushed: tuple[int, ...] = ()
    limit_bp: int = 1_500
    content: str = ""
    max_tokens: int = 0

    @property
    def latency_ms(self) -> int:
        """From its sending to its end."""
        return self.first_ms if self.error else int(self.first_ms + self.answer * self.token_ms)


@dataclass
class Fortnight:
    """Writes the journal of the teams' days.

    Args:
        seed: Of all that is drawn.
        busy: How many calls there are, as a share of the habits' own.
    """

    seed: int = 7
    busy: float = 1.0
    prices: PriceTable = field(default_factory=PriceTable.load)

    def __post_init__(self) -> None:
        self._draw = random.Random(self.seed)
        self._seq = 0
        self._calls = 0
        self._posted: dict[tuple[str, str], int] = {}
        self._held: dict[tuple[str, str], int] = {}
        self._contexts: dict[str, tuple[str, int]] = {}

    def entries(
        self,
        days: float,
        *,
        start_ms: int = MONDAY_MS,
        change: Callable[[Turn], Turn | None] = lambda turn: turn,
        more: Callable[[], list[Turn]] = list,
    ) -> Iterator[JournalEntry]:
        """The records of so many days, in order; asked again, the life goes on.

        Args:
            days: How many.
            start_ms: When the first begins.
            change: Is given every ordinary call, and answers what becomes of it; `None`: it is not made.
            more: Calls beside the ordinary ones.
        """
        if not self._seq:
            yield self._entry("create", "fortnight", start_ms - 1, "created", "", "{}")
        waiting: list[tuple[int, int, Callable[[], JournalEntry]]] = []
        extra = sorted(more(), key=lambda turn: turn.at_ms)
        for turn in self._ordered(days, start_ms, change, extra):
            while waiting and waiting[0][0] <= turn.at_ms:
                yield heapq.heappop(waiting)[2]()
            self._calls += 1
            name = f"call-{self._calls:07d}"
            budgets = self._budgets(turn)
            ceiling = self._cost(turn, turn.prompt, turn.max_tokens, 0.0, turn.at_ms)
            yield self._reserve(name, turn, budgets, ceiling)
            end = self._ending(name, turn, budgets, ceiling)
            heapq.heappush(waiting, (turn.at_ms + turn.latency_ms, self._calls, end))
        while waiting:
            yield heapq.heappop(waiting)[2]()

    def copy(self) -> Fortnight:
        """One that goes on from here by itself."""
        return deepcopy(self, {id(self.prices): self.prices})

    def _ordered(
        self, days: float, start_ms: int, change: Callable[[Turn], Turn | None], extra: list[Turn]
    ) -> Iterator[Turn]:
        """Every call in order: those of the habits, and those beside them."""
        place = 0
        for hour in range(math.ceil(days * 24)):
            turns = [one for habit in HABITS for one in self._hour(habit, start_ms + hour * HOUR_MS)]
            kept = [one for one in (change(turn) for turn in turns) if one is not None]
            until = start_ms + (hour + 1) * HOUR_MS
            while place < len(extra) and extra[place].at_ms < until:
                kept.append(extra[place])
                place += 1
            yield from sorted(kept, key=lambda turn: turn.at_ms)

    def _hour(self, habit: Habit, at_ms: int) -> Iterator[Turn]:
        """The calls of one hour."""
        draw = self._draw
        weekday, hour = at_ms // DAY_MS % 7, at_ms // HOUR_MS % 24
        share = habit.hours[hour] / sum(habit.hours)
        weekend = weekday in (2, 3)  # 1970-01-01 was a Thursday
        mean = self.busy * habit.per_day * share * (habit.weekend if weekend else 1.0)
        count = max(0, round(draw.gauss(mean, math.sqrt(mean)))) if mean else 0
        for _ in range(count):
            yield self.turn(habit, at_ms + draw.randrange(HOUR_MS))

    def turn(self, habit: Habit, at_ms: int, user: str = "") -> Turn:
        """An ordinary call of a habit."""
        draw = self._draw
        user = user or f"{habit.feature}-{draw.randrange(habit.users):02d}@example.com"
        prompt = min(int(habit.prompt * math.exp(draw.gauss(0, habit.spread))), 44_000)
        run = None
        if habit.runs:
            run, context = self._contexts.get(user, ("", 99_000))
            context = int(context + draw.uniform(500, 3_000))
            if context > 40_000 or draw.random() < 0.05:
                run, context = f"{user}-{at_ms // 1000}", prompt // 2
            self._contexts[user] = (run, context)
            prompt = context
        first, token = SPEED[habit.model]
        turn = Turn(
            at_ms=at_ms,
            habit=habit,
            user=user,
            run=run,
            model=habit.model,
            prompt=prompt,
            answer=min(int(habit.answer * math.exp(draw.gauss(0, 0.35))), habit.max_tokens),
            cached=min(0.95, max(0.0, draw.gauss(habit.cached, 0.1))),
            first_ms=int(first * math.exp(draw.gauss(0, 0.25))),
            token_ms=token * math.exp(draw.gauss(0, 0.15)),
            limit_bp=draw.randrange(500, 3_500),
            content=f"{draw.getrandbits(64):016x}",
            max_tokens=habit.max_tokens,
        )
        return self._unlucky(turn)

    def _unlucky(self, turn: Turn) -> Turn:
        """What happens to some calls on any day: a 400, a lone 529, an answer that is too long."""
        chance = self._draw.random()
        if chance < 0.002:
            return replace(turn, status=400, error="BadRequestError")
        if chance < 0.003:
            return replace(turn, pushed=(529,))
        if chance < 0.008:
            return replace(turn, answer=turn.max_tokens, stop="max_tokens")
        return turn

    def _budgets(self, turn: Turn) -> list[tuple[str, str, int, int]]:
        """The budgets of a call: identity, window, its end, its limit."""
        day = turn.at_ms // DAY_MS
        who = turn.habit.department
        rows = [
            (f"department={who}/usd/month", "2026-11", MONDAY_MS + 29 * DAY_MS, MONTHLY[who] * 10**9),
            (f"department={who}/user={turn.user}/usd/day", f"{day}", (day + 1) * DAY_MS, 400 * 10**9),
        ]
        if turn.run:
            rows.append((f"department={who}/run={turn.run}/usd/life", "life", 0, 20_000 * 10**9))
        return rows

    def _cost(self, turn: Turn, prompt: int, answer: int, cached: float, at_ms: int) -> int:
        read = int(prompt * cached)
        usage = {"input_tokens": prompt - read, "cache_read_input_tokens": read, "output_tokens": answer}
        return cost_nanos(self.prices, turn.model, read_usage(usage), at_ms)

    def _reserve(
        self, name: str, turn: Turn, budgets: list[tuple[str, str, int, int]], ceiling: int
    ) -> JournalEntry:
        keys = [row[:2] for row in budgets]
        before = [
            Balance(self._posted.get(key, 0), self._held.get(key, 0), row[3])
            for key, row in zip(keys, budgets, strict=True)
        ]
        for key in keys:
            self._held[key] = self._held.get(key, 0) + ceiling
        record = {
            **_who(turn),
            "asked": "auto",
            "pin": False,
            "max_tokens": turn.max_tokens,
            "input_tokens": turn.prompt,
            "estimate": "count_tokens",
            "hint_age_ms": None,
            "complexity": None,
            "load": turn.limit_bp,
            "tier": "standard",
            "tier_why": "",
            "preferred": turn.model,
            "candidates": [
                {
                    "model": turn.model,
                    "line": LINE_OF[turn.model],
                    "why": "the standard tier's line",
                    "ceiling_nanos": ceiling,
                    "ceiling_tokens": turn.prompt + turn.max_tokens,
                    "expected_nanos": None,
                }
            ],
            "skipped": [],
            "budgets": [
                {"identity": name, "window": window, "end_ms": end, "limit": limit, "source": "team.yaml:8"}
                for name, window, end, limit in budgets
            ],
            "asks": [[[ceiling, 10_000, 0, 1] for _ in budgets]],
            "policy": "fortnight",
            "prices": self.prices.version,
            "findings": {"content": turn.content},
        }
        text = detail.write_balances(0, before)
        return self._entry("reserve", name, turn.at_ms, "held", text, _dump(record))

    def _ending(
        self, name: str, turn: Turn, budgets: list[tuple[str, str, int, int]], ceiling: int
    ) -> Callable[[], JournalEntry]:
        """Writes down how a call ended, once it does."""

        def end() -> JournalEntry:
            at_ms = turn.at_ms + turn.latency_ms
            refused = turn.error is not None
            nanos = 0 if refused else self._cost(turn, turn.prompt, turn.answer, turn.cached, turn.at_ms)
            for row in budgets:
                self._held[row[:2]] -= ceiling
                self._posted[row[:2]] = self._posted.get(row[:2], 0) + nanos
            record = self._closing(name, turn, nanos, ceiling)
            text = detail.write_closing(overrun=False, amounts=[nanos for _ in budgets], crossed="")
            kind, outcome = ("release", "released") if refused else ("settle", "settled")
            return self._entry(kind, name, at_ms, outcome, text, _dump(record))

        return end

    def _closing(self, name: str, turn: Turn, nanos: int, ceiling: int) -> dict[str, Any]:
        refused = turn.error is not None
        read = int(turn.prompt * turn.cached)
        usage = {
            "input_tokens": turn.prompt - read,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": 0,
            "output_tokens": turn.answer,
        }
        pushed = (*turn.pushed, turn.status) if turn.status in (429, 529) else turn.pushed
        return {
            **_who(turn),
            "asked": "auto",
            "admitted": "held",
            "model": turn.model,
            "line": LINE_OF[turn.model],
            "ended": "refused" if refused else "answered",
            "usage": {} if refused else usage,
            "cost_nanos": nanos,
            "ceiling_nanos": ceiling,
            "uncertain": False,
            "unpriced": [],
            "stop_reason": None if refused else turn.stop,
            "status": turn.status,
            "error": turn.error,
            "attempts": 1 + len(turn.pushed),
            **({"pushed": list(pushed)} if pushed else {}),
            "limit_bp": turn.limit_bp,
            "window": 1_000_000,
            "latency_ms": turn.latency_ms,
            "first_token_ms": None if refused else turn.first_ms,
            "api_request_id": f"req_{name}",
            "policy": "fortnight",
            "prices": self.prices.version,
            "priced_at_ms": turn.at_ms,
            "endpoint": "",
        }

    def _entry(self, kind: str, name: str, at_ms: int, outcome: str, text: str, record: str) -> JournalEntry:
        self._seq += 1
        return JournalEntry(str(self._seq), kind, name, at_ms, outcome, text, record)


def _who(turn: Turn) -> dict[str, Any]:
    habit = turn.habit
    who = {"user": turn.user, "department": habit.department, "feature": habit.feature, "run": turn.run}
    return {"v": 1, **who, "tags": {}}


_dump = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
