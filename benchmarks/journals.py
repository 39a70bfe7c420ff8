"""A made-up journal of a firm's calls, in JSON lines: decided by the rule, on balances that add up.

Every record has what a ledger's and the flow's have, so a back-test under the same policies finds no change.
"""

from __future__ import annotations

import heapq
import json
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from governor.budgets import Unit
from governor.ledger import admission, detail
from governor.ledger.commands import Balance
from governor.policy import Attribution
from governor.pricing import bounded, ceiling_of, cost_nanos, demand, read_usage
from governor.routing import plan
from governor.story import matrix
from governor.story.request import bounds_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from governor.policy import Policies, Rules
    from governor.pricing import Ceiling, Demand, PriceTable
    from governor.routing import Candidate
    from governor.story.matrix import Matrix

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
MONTH_MS = 30 * DAY_MS
START_MS = 1_793_491_200_000
"""2026-11-01, 00:00 UTC."""

PROMPT_TOKENS = (500, 40_000)
ANSWER_SHARE = (0.05, 0.8)
"""Of `max_tokens`."""
SECONDS = (1, 40)
MAX_TOKENS = (256, 1024, 4096)


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
    record: dict[str, Any] = field(compare=False)
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
        self._candidates: dict[Any, tuple[Rules, tuple[Candidate, ...]]] = {}
        self._demands: dict[Any, Demand] = {}
        self._landings: list[Landing] = []
        self._seq = 0

    def lines(self, calls: int, *, start_ms: int = START_MS, length_ms: int = MONTH_MS) -> Iterator[bytes]:
        """The archive's lines of so many calls, evenly over a length of time; each call has two or one."""
        yield self._line("create", "bench", start_ms - 1, "created", "", {})
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
        asked = draw.choice(self._crowd.asked)
        who = Attribution(department, user, feature, run)
        rules, candidates = self._way(who, asked)
        most = draw.choice(MAX_TOKENS)
        most = most if rules.max_tokens is None else min(most, rules.max_tokens)
        tokens = min(int(draw.uniform(*PROMPT_TOKENS)), rules.input_tokens or PROMPT_TOKENS[1])
        offers = [matrix.Offer(one, self._ceiling(rules, one, tokens, most, at_ms)) for one in candidates]
        dearest = rules.cost_per_request_nanos
        offers = [one for one in offers if dearest is None or one.ceiling.nanos <= dearest]
        if not offers:
            return
        terms = self._policies.budgets(who, [one.candidate.priced_as for one in offers])
        table = matrix.build(terms, offers, at_ms)
        balances = [self._balance(row.identity, row.window, row.limit) for row in table.rows]
        told = admission.decide(table.asks, balances)
        record = self._reserve_record(who, asked, table, tokens, most, rules)
        text = detail.write_balances(told.chosen, balances)
        outcome = "held" if told.chosen is not None else told.reason
        yield self._line("reserve", name, at_ms, outcome, text, record)
        if told.chosen is not None:
            self._take_off(name, at_ms, told.chosen, table, record)

    def _take_off(self, name: str, at_ms: int, chosen: int, table: Matrix, record: dict[str, Any]) -> None:
        for row, ask in zip(table.rows, table.asks[chosen], strict=True):
            if ask is not None:
                self._accounts[row.identity, row.window].held += ask.amount
        draw, ceiling = self._draw, table.offers[chosen].ceiling
        usage = {
            "input_tokens": record["input_tokens"],
            "output_tokens": int(ceiling.max_tokens * draw.uniform(*ANSWER_SHARE)),
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "inference_geo": "global",
            "service_tier": "standard",
            "speed": "standard",
        }
        kind = draw.choices(("settle", "release", "expire"), (97, 2, 1))[0]
        length_s = 600 if kind == "expire" else draw.uniform(*SECONDS)
        end = Landing(at_ms + int(1000 * length_s), name, chosen, table, record, usage, kind)
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
        return self._line(end.kind, end.id, end.at_ms, outcome, text, record)

    def _balance(self, identity: str, window: str, limit: int) -> Balance:
        account = self._accounts.setdefault((identity, window), Account())
        return Balance(account.posted, account.held, limit)

    def _way(self, who: Attribution, asked: str) -> tuple[Rules, tuple[Candidate, ...]]:
        key = (who.department, who.user, who.feature, asked)
        found = self._candidates.get(key)
        if found is None:
            rules, look_up = self._policies.rules(who), self._prices.model
            candidates = plan(
                asked,
                pin=False,
                lines=rules.lines,
                default=rules.default,
                preferred_line=rules.preferred_line,
                feature_lines=rules.feature_lines,
                look_up=lambda name: (look_up(name).line, look_up(name).id),
            )
            found = self._candidates[key] = (rules, candidates)
        return found

    def _ceiling(self, rules: Rules, candidate: Candidate, tokens: int, most: int, at_ms: int) -> Ceiling:
        bounds = bounds_of(rules)
        asked = self._demands.get((most, bounds))
        if asked is None:
            body = bounded({"messages": [], "max_tokens": most}, bounds)
            asked = self._demands[most, bounds] = demand(body, bounds)
        return ceiling_of(
            self._prices, candidate.model, asked, input_tokens=tokens, counted=True, at_ms=at_ms
        )

    def _reserve_record(
        self, who: Attribution, asked: str, table: Matrix, tokens: int, most: int, rules: Rules
    ) -> dict[str, Any]:
        pairs = zip(table.rows, table.terms, strict=True)
        return {
            **_asker(who, asked),
            "pin": False,
            "max_tokens": most,
            "input_tokens": tokens,
            "estimate": "count_tokens",
            "hint_age_ms": None,
            "complexity": None,
            "load": None,
            "candidates": [
                {
                    "model": offer.candidate.model,
                    "line": offer.candidate.line,
                    "why": offer.candidate.why,
                    "ceiling_nanos": offer.ceiling.nanos,
                    "ceiling_tokens": offer.ceiling.tokens,
                    "expected_nanos": None,
                }
                for offer in table.offers
            ],
            "skipped": [],
            "budgets": [
                {
                    "identity": row.identity,
                    "window": row.window,
                    "end_ms": row.end_ms,
                    "limit": row.limit,
                    "source": term.source,
                }
                for row, term in pairs
            ],
            "asks": [
                [ask and [ask.amount, ask.mark_bp, ask.floor, int(ask.comes_back)] for ask in asks]
                for asks in table.asks
            ],
            "policy": rules.policy_hash,
            "prices": self._prices.version,
        }

    def _closing_record(self, end: Landing, nanos: int) -> dict[str, Any]:
        offer, released = end.table.offers[end.chosen], end.kind == "release"
        asker = ("v", "user", "department", "feature", "run", "tags", "asked")
        return {
            **{name: end.record[name] for name in asker},
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
            "latency_ms": 900,
            "first_token_ms": 300,
            "api_request_id": f"req_{end.id}",
            "policy": end.record["policy"],
            "prices": end.record["prices"],
            "priced_at_ms": end.at_ms,
            "endpoint": "",
        }

    def _line(
        self, kind: str, name: str, at_ms: int, outcome: str, text: str, record: dict[str, Any]
    ) -> bytes:
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
            "record": _dump(record),
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


def _asker(who: Attribution, asked: str) -> dict[str, Any]:
    return {
        "v": 1,
        "user": who.user,
        "department": who.department,
        "feature": who.feature,
        "run": who.run,
        "tags": {},
        "asked": asked,
    }


_dump = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
