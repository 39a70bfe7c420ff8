"""Journals in virtual time for tests of alerts: records as the flow and the ledger write them."""

from __future__ import annotations

import heapq
import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from governor.ledger.commands import JournalEntry

if TYPE_CHECKING:
    from collections.abc import Iterator

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
MONDAY = int(datetime(2026, 11, 2, tzinfo=UTC).timestamp()) * SECOND
"""2026-11-02, 00:00 UTC."""

USD = 1_000_000_000
"""Nano-dollars."""


def at(day: int, hour: float) -> int:
    """An instant: so many days after the first Monday, at an hour of the day, UTC."""
    return MONDAY + day * DAY + int(hour * HOUR)


@dataclass(frozen=True)
class Budget:
    """A budget that a call touches, and what was posted to it before; *crosses*: steps in basis points."""

    identity: str
    window: str
    end_ms: int
    limit: int
    posted: int = 0
    crosses: tuple[int, ...] = ()


@dataclass
class Journal:
    """Builds a journal, call by call, in any order; its entries come out in the journal's."""

    _rows: list[tuple[int, int, str, str, str, str, str]] = field(default_factory=list)
    _count: int = 0

    def call(
        self,
        at_ms: int,
        *,
        user: str = "ada@example.com",
        department: str = "engineering",
        feature: str | None = "code_review",
        run: str | None = None,
        line: str = "sonnet",
        tokens: int = 2_000,
        cached: int = 0,
        output: int = 300,
        nanos: int = USD // 100,
        latency_ms: int = 3_000,
        status: int = 200,
        stop: str = "end_turn",
        pushed: tuple[int, ...] = (),
        limit_bp: int | None = None,
        window: int = 1_000_000,
        max_tokens: int = 1_024,
        content: str | None = None,
        budgets: tuple[Budget, ...] = (),
        tags: dict[str, str] | None = None,
    ) -> str:
        """A call that is held at an instant and ends after its latency; returns its id."""
        self._count += 1
        name = f"call-{self._count:07d}"
        model = f"claude-{line}-5-5"
        failed = status != 200
        who = {"user": user, "department": department, "feature": feature, "run": run, "tags": tags or {}}
        reserve: dict[str, Any] = {
            "v": 1,
            **who,
            "asked": "auto",
            "max_tokens": max_tokens,
            "input_tokens": tokens,
            "preferred": model,
            "tier": "standard",
            "candidates": [{"model": model, "line": line, "why": "", "ceiling_nanos": 2 * nanos}],
            "skipped": [],
            "budgets": [
                {"identity": one.identity, "window": one.window, "end_ms": one.end_ms, "limit": one.limit}
                for one in budgets
            ],
            "asks": [[[2 * nanos, 10_000, 0, 0] for _ in budgets]],
            "policy": "p1",
            "prices": "2026-11",
        }
        if content is not None:
            reserve["findings"] = {"content": content}
        held = "0 " + ",".join(f"{one.posted}:0:{one.limit}:0" for one in budgets)
        self._add(at_ms, "reserve", name, "held", held, json.dumps(reserve))
        usage = {
            "input_tokens": tokens - cached,
            "output_tokens": output,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": cached,
        }
        end = {
            "v": 1,
            **who,
            "asked": "auto",
            "admitted": "held",
            "model": model,
            "line": line,
            "ended": "refused" if failed else "answered",
            "usage": {} if failed else usage,
            "cost_nanos": 0 if failed else nanos,
            "ceiling_nanos": 2 * nanos,
            "uncertain": False,
            "stop_reason": None if failed else stop,
            "status": status,
            "error": "APIStatusError" if failed else None,
            "attempts": 1 + len(pushed),
            "window": window,
            "latency_ms": latency_ms,
            "first_token_ms": latency_ms // 4,
            "policy": "p1",
            "prices": "2026-11",
        }
        if pushed:
            end["pushed"] = list(pushed)
        if limit_bp is not None:
            end["limit_bp"] = limit_bp
        crossed = ",".join(
            f"{index}:{step}:{one.posted + nanos}:{one.limit}"
            for index, one in enumerate(budgets)
            for step in one.crosses
        )
        posted = ",".join(str(0 if failed else nanos) for _ in budgets)
        text = f"overrun=0 unknown=0 posted={posted} crossed={crossed}"
        kind, outcome = ("release", "released") if failed else ("settle", "settled")
        self._add(at_ms + latency_ms, kind, name, outcome, text, json.dumps(end))
        return name

    def quality(self, at_ms: int, score: str, feature: str = "code_review") -> None:
        """An outcome named quality."""
        self._count += 1
        record = {"v": 1, "value": score, "unit": "score", "feature": feature}
        self._add(at_ms, "outcome", f"outcome-{self._count}", "quality", "", json.dumps(record))

    def _add(self, at_ms: int, kind: str, name: str, outcome: str, text: str, record: str) -> None:
        heapq.heappush(self._rows, (at_ms, len(self._rows), kind, name, outcome, text, record))

    def entries(self) -> Iterator[JournalEntry]:
        """The records, in order."""
        for seq, (at_ms, _, kind, name, outcome, text, record) in enumerate(sorted(self._rows), 1):
            yield JournalEntry(str(seq), kind, name, at_ms, outcome, text, record)


FEATURES = ("code_review", "triage", "summarize")
USERS = tuple(f"{name}@example.com" for name in ("ada", "bob", "cyd", "dee"))


def office(
    journal: Journal, days: int, *, from_day: int = 0, hourly: int = 24, seed: int = 7, **kind: Any
) -> None:
    """Ordinary office days: calls from nine to five on workdays, by four people for three features."""
    draw = random.Random(seed)
    for day in range(from_day, from_day + days):
        if day % 7 >= 5:
            continue
        for hour in range(9, 17):
            for _ in range(hourly):
                when = at(day, hour) + draw.randrange(HOUR - MINUTE)
                ordinary(journal, when, draw, **kind)


def ordinary(journal: Journal, when: int, draw: random.Random, **kind: Any) -> None:
    """One ordinary call; *kind* says what is not ordinary about it."""
    user = draw.choice(USERS)
    tokens = int(draw.uniform(1_000, 4_000))
    usual: dict[str, Any] = {
        "user": user,
        "feature": draw.choice(FEATURES),
        "line": draw.choice(("haiku", "haiku", "haiku", "sonnet")),
        "tokens": tokens,
        "cached": tokens * 7 // 10,
        "output": draw.randrange(100, 600),
        "nanos": int(draw.uniform(0.02, 0.06) * USD),
        "latency_ms": draw.randrange(800, 5_000),
        "limit_bp": draw.randrange(500, 4_000),
    }
    journal.call(when, **{**usual, **kind})


def every(journal: Journal, start: int, length: int, step: int, **kind: Any) -> None:
    """Calls at even distances, ordinary but for *kind*."""
    draw = random.Random(start)
    for when in range(start, start + length, step):
        ordinary(journal, when, draw, **kind)
