"""A call as everybody looks at it: one row from the records that tell of it. Pure.

Reports, alerts and the audit's export read these rows; an archive keeps them beside its records, written in
the same transaction, and they can be made anew from the records at any time: they are no second source.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

OPEN = "open"
BLOCKED = "blocked"
EXPIRED = "expired"
ANSWERED, REFUSED, CUT, SILENT = "answered", "refused", "cut", "silent"
STATES = (OPEN, BLOCKED, ANSWERED, REFUSED, CUT, SILENT, EXPIRED)

FORBIDDEN = ("policy", "unpriced")
"""Why a call is blocked that no budget was asked for."""

SERVED, DOWNGRADED, SHRUNK, MOVED = "served", "downgraded", "shrunk", "moved"


@dataclass(slots=True)  # nobody changes one; but made frozen, one takes three times as long to make
class Call:
    """One hold or refusal: a call, or one leg of it.

    Attributes:
        id: Of the hold; with *turn*, the key. `turn` counts the calls that used the id before (0: none), for
            a ledger forgets an id a week after its call.
        call_id: The id that the caller knows the whole call by: that of its first leg.
        leg: Which leg of its call, from 1 on.
        final: Whether it is its call's last leg, so far as is known. Counting these counts calls.
        began_ms: When it was held or refused, Unix milliseconds by the ledger's clock. Its money belongs to
            this instant's windows.
        ended_ms: When it ended; `None` while it is open.
        state: `open`; `blocked` by a budget; `answered`; `refused` by the API or on the way to it; `cut`;
            `silent`; `expired`.
        reason: Of a blocked one, the ledger's (`exhausted`, `contended`, `frozen`), or of `FORBIDDEN`; or ''.
        refusals: How often a budget refused it before it was held, or until it was given up; of one that the
            policy forbade, how many such refusals its record stands for.
        user, department: Who asked; '' where no record says it.
        feature, run, priority: For what; '' where it has none.
        tags: The others, sorted by name.
        door: `batch`, or '' for every other one.
        asked: `auto`, a line or a model id.
        model, line: Which served, or is held for; of a blocked one, which would have been tried first.
        tier: As it was served, or ''.
        preferred: The model that would have served but for budgets and the API, or ''.
        decision: `served` by the preferred model, `downgraded` to another for a budget's sake, `shrunk`: with
            a smaller `max_tokens`, `moved` to another because the API pushed back, or `blocked`.
        complexity: 0 to 10; `None` where nothing went by it.
        load_bp: How busy the API was when it was planned, basis points.
        limit_bp: How much of the fullest rate limit was used, as its answer said, basis points, or `None`.
        max_tokens: As it was sent; 0 where no record says it.
        input_tokens: Neither written to nor read from the cache; like the next three, as the API reported.
        output_tokens, cache_write_tokens, cache_read_tokens: The rest of them.
        estimated_tokens: Of the prompt, before it was sent.
        window_tokens: The model's context window; 0: unknown.
        cost_nanos: What was charged, nano-dollars; 0 while it is open.
        ceiling_nanos: What was held for it; 0 of a blocked one.
        expected_nanos: What it was expected to cost; `None` where nothing was learned yet.
        latency_ms: From its sending to its end; `None` where nothing was sent, or no record says it.
        first_token_ms: From its sending to the first event; `None` likewise.
        stop_reason: The answer's, or ''.
        status: HTTP status of its end; 0: none.
        error: The class of the SDK's error, or ''.
        attempts: How often it was sent on this hold.
        pushed_429, pushed_529: How often the API pushed back so, on this hold.
        uncertain: Charged by rule, because no final usage was seen.
        overrun: More was posted than was held.
        late: It settled after its hold had expired.
        unknown: The ledger did not know the hold when it ended.
        admitted: `held`; or, while the ledger was away, `allowed` or `leased`.
        endpoint: The kind of cloud endpoint, or ''.
        policy, prices: The hash of the policies, the version of the price table.
        api_request_id: The API's, or ''.
        classification, region: What the caller, or a hook, says of the data; or ''.
        pii: What kinds of personal data were found, sorted, joined by commas; or ''.
        content_hash: SHA-256 of what was sent, hexadecimal, or ''. Never the content.
    """

    id: str
    turn: int = 0
    call_id: str = ""
    leg: int = 1
    final: bool = True
    began_ms: int = 0
    ended_ms: int | None = None
    state: str = OPEN
    reason: str = ""
    refusals: int = 0
    user: str = ""
    department: str = ""
    feature: str = ""
    run: str = ""
    priority: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    door: str = ""
    asked: str = ""
    model: str = ""
    line: str = ""
    tier: str = ""
    preferred: str = ""
    decision: str = SERVED
    complexity: float | None = None
    load_bp: int = 0
    limit_bp: int | None = None
    max_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_write_tokens: int = 0
    cache_read_tokens: int = 0
    estimated_tokens: int = 0
    window_tokens: int = 0
    cost_nanos: int = 0
    ceiling_nanos: int = 0
    expected_nanos: int | None = None
    latency_ms: int | None = None
    first_token_ms: int | None = None
    stop_reason: str = ""
    status: int = 0
    error: str = ""
    attempts: int = 0
    pushed_429: int = 0
    pushed_529: int = 0
    uncertain: bool = False
    overrun: bool = False
    late: bool = False
    unknown: bool = False
    admitted: str = "held"
    endpoint: str = ""
    policy: str = ""
    prices: str = ""
    api_request_id: str = ""
    classification: str = ""
    region: str = ""
    pii: str = ""
    content_hash: str = ""

    @property
    def prompt_tokens(self) -> int:
        """The whole prompt: input, cache writes and cache reads."""
        return self.input_tokens + self.cache_write_tokens + self.cache_read_tokens

    @property
    def failed(self) -> bool:
        """Whether it went to the API and got no whole answer. A budget's refusal is no failure."""
        return self.state in (REFUSED, CUT, SILENT, EXPIRED)

    def as_json(self) -> dict[str, Any]:
        """Every field by its name; tags as an object."""
        row = {one.name: getattr(self, one.name) for one in fields(self)}
        return {**row, "tags": dict(self.tags)}


@dataclass(frozen=True, slots=True)
class Result:
    """What calls were good for, as the application said it (`governor.outcome`).

    Attributes:
        id: Of the record; told again, it is the same.
        at_ms: When it was said, Unix milliseconds by the ledger's clock.
        name: What was reached: `ticket_resolved`, `quality`.
        value: What it was worth, or its score; `None`: nothing was said. A decimal number as text.
        unit: `usd`, `score`, or any word of the application's; '' where there is no value.
        run, call_id: What it was the result of: a run, a call; or ''.
        department, user, feature: Whose, where that was said; else ''.
    """

    id: str
    at_ms: int
    name: str
    value: str | None = None
    unit: str = ""
    run: str = ""
    call_id: str = ""
    department: str = ""
    user: str = ""
    feature: str = ""
