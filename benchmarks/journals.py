"""A made-up journal of a firm's calls, in JSON lines: decided by the story, on balances that add up.

Every record has what a ledger's and the flow's have, so a back-test under the same policies finds no change.
"""

from __future__ import annotations

import heapq
import json
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from governor.budgets import Unit
from governor.clock import LedgerClock
from governor.errors import PolicyViolation
from governor.flow import weigh
from governor.journal import records
from governor.ledger import admission, detail
from governor.ledger import commands as c
from governor.ledger.commands import Balance
from governor.policy import Attribution
from governor.pricing import cost_nanos, read_usage
from governor.rehearsal import made_up
from governor.story.hints import Hints
from governor.story.planning import prepare
from governor.story.request import House, matrix_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from governor.ledger.commands import BudgetRow
    from governor.policy import Policies
    from governor.pricing import PriceTable
    from governor.story.books import Story
    from governor.story.matrix import Matrix
    from governor.story.request import Plan

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MONTH_MS = 30 * DAY_MS
START_MS = 1_793_491_200_000
"""2026-11-01, 00:00 UTC."""

PROMPT_TOKENS = (500, 40_000)
ANSWER_SHARE = (0.05, 0.8)
"""Of `max_tokens`."""
CACHED_SHARE = 0.5
"""Of the calls of runs: most of their prompt is read from the API's cache."""
SECONDS = (1, 40)
MAX_TOKENS = (256, 1024, 4096)
COMPLEXITIES = (0, 1, 2, 4, 5, 7, 8, 10)
LOADS_BP = (0, 0, 0, 2_000, 5_000, 9_000)


@dataclass(frozen=True, slots=True)
class Crowd:
    """Who calls.

    Attributes:
        people: Department, user and feature of each kind of caller; drawn alike.
        runs: Whether calls are of runs: one a day of each caller.
        asked: What they ask for, drawn alike: `auto`, lines or model ids.
    """

    people: tuple[tuple[str, str, str | None], ...]
    runs: bool = False
    asked: tuple[str, ...] = ("auto",)


def shipped_crowd(users: int = 300) -> Crowd:
    """People of the three departments in `policies/`."""
    kinds = (
        ("engineering", "code_review"),
        ("engineering", "classify"),
        ("legal", "contract_review"),
        ("legal", "summarize"),
        ("support", "triage"),
        ("support", "reply_draft"),
    )
    people = [
        (department, f"user-{n:04d}@example.com", feature)
        for n in range(users)
        for department, feature in kinds
    ]
    people += [("engineering", "ada@example.com", "code_review")]
    return Crowd(tuple(people), runs=True, asked=("auto", "auto", "auto", "opus", "claude-opus-5-5"))


@dataclass(slots=True)
class Account:
    """One balance."""

    posted: int = 0
    held: int = 0


@dataclass(order=True, slots=True)
class Landing:
    """The end of a call, when it comes."""

    at_ms: int
    id: str
    chosen: int = field(compare=False)
    table: Matrix = field(compare=False)
    planned: Plan = field(compare=False)
    usage: dict[str, Any] = field(compare=False)
    kind: str = field(compare=False, default="settle")


class Firm:
    """Makes the records of calls under policies, in order.

    Args:
        policies: The policies in force.
        prices: The price table.
        crowd: Who calls.
        seed: Of what is drawn.
    """

    def __init__(self, policies: Policies, prices: PriceTable, crowd: Crowd, seed: int = 7) -> None:
        self._policies, self._prices, self._crowd = policies, prices, crowd
        self._draw = random.Random(seed)
        self._accounts: dict[tuple[str, str], Account] = {}
        self._now_ms = 0
        self._house = House(policies, prices, LedgerClock(lambda: self._now_ms))
        self._landings: list[Landing] = []
        self._seq = 0

    def lines(self, calls: int, *, start_ms: int = START_MS, length_ms: int = MONTH_MS) -> Iterator[bytes]:
        """The archive's lines of so many calls, evenly over a length of time; each call has two or one."""
        yield self._line("create", "bench", start_ms - 1, "created", "", "{}")
        for number in range(calls):
            at_ms = start_ms + length_ms * number // calls
            while self._landings and self._landings[0].at_ms <= at_ms:
                yield self._land(heapq.heappop(self._landings))
            yield from self._call(f"call-{number:08d}", at_ms)
        while self._landings:
            yield self._land(heapq.heappop(self._landings))

    def _call(self, name: str, at_ms: int) -> Iterator[bytes]:
        draw = self._draw
        department, user, feature = draw.choice(self._crowd.people)
        run = f"{user}-{at_ms // DAY_MS}" if self._crowd.runs else None
        request = made_up(
            Attribution(department, user, feature, run),
            model=draw.choice(self._crowd.asked),
            max_tokens=draw.choice(MAX_TOKENS),
            input_tokens=int(draw.uniform(*PROMPT_TOKENS)),
            complexity=draw.choice(COMPLEXITIES),
            load_bp=draw.choice(LOADS_BP),
            identifier=name,
        )
        self._now_ms = at_ms
        house = replace(self._house, hints=Hints())
        try:
            planned = self._play(prepare(house, request, at_once=False))
            weighed = self._play(weigh(house, planned))
        except PolicyViolation:
            return
        table = matrix_of(house, weighed.planned)
        balances = self._balances(table.rows)
        told = admission.decide(table.asks, balances)
        text = detail.write_balances(told.chosen, balances)
        outcome = "held" if told.chosen is not None else told.reason
        yield self._line(
            "reserve", name, at_ms, outcome, text, records.reserve(house, weighed.planned, table)
        )
        if told.chosen is not None:
            self._take_off(weighed.planned, at_ms, told.chosen, table)

    def _play(self, story: Story) -> Any:
        """Tell a story to its end, of which nothing but balances is asked."""
        reply = None
        try:
            while True:
                effect = story.send(reply)
                reply = c.Readings(tuple(self._balances(effect.budgets)), self._now_ms)
        except StopIteration as done:
            return done.value

    def _take_off(self, planned: Plan, at_ms: int, chosen: int, table: Matrix) -> None:
        for row, ask in zip(table.rows, table.asks[chosen], strict=True):
            if ask is not None:
                self._accounts[row.identity, row.window].held += ask.amount
        draw, ceiling = self._draw, table.offers[chosen].ceiling
        tokens = planned.input_tokens
        cached = tokens * 9 // 10 if self._crowd.runs and draw.random() < CACHED_SHARE else 0
        usage = {
            "input_tokens": tokens - cached,
            "output_tokens": int(ceiling.max_tokens * draw.uniform(*ANSWER_SHARE)),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": cached,
            "inference_geo": "global",
            "service_tier": "standard",
            "speed": "standard",
        }
        kind = draw.choices(("settle", "release", "expire"), (97, 2, 1))[0]
        length_s = 600 if kind == "expire" else draw.uniform(*SECONDS)
        end_ms = at_ms + int(1000 * length_s)
        end = Landing(end_ms, planned.request.id, chosen, table, planned, usage, kind)
        heapq.heappush(self._landings, end)

    def _land(self, end: Landing) -> bytes:
        offer = end.table.offers[end.chosen]
        model, tokens = offer.candidate.model, 0
        if end.kind == "settle":
            used = read_usage(end.usage)
            nanos, tokens = cost_nanos(self._prices, model, used, end.at_ms), used.total_tokens
        else:
            nanos = 0 if end.kind == "release" else offer.ceiling.nanos
            tokens = 0 if end.kind == "release" else offer.ceiling.tokens
        amounts = []
        by_unit = {Unit.USD: nanos, Unit.TOKENS: tokens, Unit.REQUESTS: 1, Unit.CONCURRENT: 0}
        for row, ask in zip(end.table.rows, end.table.asks[end.chosen], strict=True):
            if ask is None:
                continue
            account = self._accounts[row.identity, row.window]
            account.held -= ask.amount
            account.posted += by_unit[row.unit]
            amounts.append(by_unit[row.unit])
        text = detail.write_closing(overrun=False, amounts=amounts, crossed="")
        outcome = {"settle": "settled", "release": "released", "expire": "expired"}[end.kind]
        record = {} if end.kind == "expire" else self._closing_record(end, nanos)
        if end.kind == "settle":
            request = end.planned.request
            asked = (request.asked, request.tier)
            self._house.conversations.note(
                request.who,
                request.body,
                asked,
                offer.candidate,
                end.usage,
                end.at_ms,
                swapped=model != end.planned.preferred,
                planned_ms=end.planned.at_ms,
            )
        return self._line(end.kind, end.id, end.at_ms, outcome, text, _dump(record))

    def _balances(self, rows: Iterable[BudgetRow]) -> list[Balance]:
        accounts = [(self._accounts.setdefault((row.identity, row.window), Account()), row) for row in rows]
        return [Balance(account.posted, account.held, row.limit) for account, row in accounts]

    def _closing_record(self, end: Landing, nanos: int) -> dict[str, Any]:
        offer, released = end.table.offers[end.chosen], end.kind == "release"
        who = end.planned.request.who
        return {
            "v": 1,
            "user": who.user,
            "department": who.department,
            "feature": who.feature,
            "run": who.run,
            "tags": {},
            "asked": end.planned.request.asked,
            "admitted": "held",
            "model": offer.candidate.model,
            "line": offer.candidate.line,
            "ended": "refused" if released else "answered",
            "usage": {} if released else end.usage,
            "cost_nanos": nanos,
            "ceiling_nanos": offer.ceiling.nanos,
            "uncertain": False,
            "unpriced": [],
            "stop_reason": None if released else "end_turn",
            "status": 529 if released else 200,
            "error": "OverloadedError" if released else None,
            "attempts": 1,
            "limit_bp": 1_000,
            "window": self._prices.model(offer.candidate.priced_as).context_tokens,
            "latency_ms": 900,
            "first_token_ms": 300,
            "api_request_id": f"req_{end.id}",
            "policy": self._policies.hash,
            "prices": self._prices.version,
            "priced_at_ms": end.at_ms,
            "endpoint": "",
        }

    def _line(self, kind: str, name: str, at_ms: int, outcome: str, text: str, record: str) -> bytes:
        before = str(self._seq) if self._seq else None
        self._seq += 1
        row = {
            "organization": self._policies.organization,
            "epoch": "bench",
            "after": before,
            "seq": str(self._seq),
            "kind": kind,
            "id": name,
            "at_ms": at_ms,
            "outcome": outcome,
            "detail": text,
            "record": record,
        }
        return _dump(row).encode() + b"\n"


def write_journal(
    path: Path, firm: Firm, calls: int, tell: Callable[[int], None] = lambda _: None, **length: int
) -> int:
    """Write the archive of so many calls; returns how many records it has. *tell* hears of every 10,000."""
    count = 0
    with path.open("wb") as file:
        for count, line in enumerate(firm.lines(calls, **length), 1):
            file.write(line)
            if count % 10_000 == 0:
                tell(count)
    return count


_dump = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
