"""Many callers in a loop against an API that pushes back, with the bare SDK or with a governor."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anthropic

from governor import AsyncGovernor, GovernorError
from governor.ledger import commands as c
from governor.ledger import open_ledger
from governor.testing import RateLimits, Reply
from support.api_process import api_process
from support.governed import HAIKU, HELLO, LINES, OPUS, SONNET

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from governor.testing import Traffic
    from support.api_process import ApiProcess

    Call = Callable[[str], Awaitable[object]]
    """One call of a user; raises what the caller would see."""

MAX_TOKENS, OUTPUT_TOKENS = 100, 40


@dataclass(frozen=True, slots=True)
class Storm:
    """Who calls, for how long, and what the API bears.

    Attributes:
        callers: Tasks that call in a loop, without a pause between two calls.
        users: Whom they call for.
        heavy: Callers of the first user; the others share the rest as evenly as it goes.
        seconds: When the last call begins.
        service_ms: How long the API takes for an answer. A refusal comes at once.
        overload_share_bp: Share of requests answered 529.
        burst_s: What a full bucket holds, in seconds of its refill.
        headers: Whether the API sends rate-limit headers.
    """

    callers: int = 200
    users: int = 20
    heavy: int = 60
    seconds: float = 60.0
    service_ms: int = 500
    overload_share_bp: int = 1000
    burst_s: float = 1.0
    headers: bool = True

    @property
    def needed_per_minute(self) -> int:
        """Requests that the callers would send if none was refused."""
        return self.callers * 60_000 // self.service_ms

    @property
    def limits(self) -> RateLimits:
        """A tenth of what is needed, for each model; 429s without `retry-after`."""
        requests = self.needed_per_minute // 10
        burst = max(int(requests * self.burst_s / 60), 1)
        return RateLimits(
            requests=requests, bucket=True, burst=burst, retry_after=False, headers=self.headers
        )

    @property
    def most(self) -> int:
        """Answers of one model that the limits allow."""
        return self.limits.full_bucket + int(self.limits.requests * self.seconds / 60)

    def people(self) -> list[str]:
        """The user of each caller."""
        others = [f"user-{1 + number % (self.users - 1)}" for number in range(self.callers - self.heavy)]
        return ["user-0"] * self.heavy + others

    @contextmanager
    def api(self) -> Iterator[ApiProcess]:
        """The API of this storm, with full buckets."""
        with api_process(
            Reply(output_tokens=OUTPUT_TOKENS, delay_ms=self.service_ms),
            model_rate_limits=dict.fromkeys((HAIKU, SONNET, OPUS), self.limits),
            overload_share_bp=self.overload_share_bp,
        ) as api:
            yield api


@dataclass(slots=True)
class Outcome:
    """What came of it.

    Attributes:
        successes: Answers by user, of those that arrived within the storm's seconds.
        errors: Calls that failed meanwhile, by the error's type.
        traffic: The API's counts when the seconds were over.
        latencies_ms: Of the successes, in order of size.
        cpu_s: Of this process, all callers together.
        late: Answers that arrived after the seconds were over, of calls that had begun before.
        drained_s: How long those took.
    """

    successes: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    traffic: Traffic | None = None
    latencies_ms: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    late: int = 0
    drained_s: float = 0.0

    @property
    def total(self) -> int:
        """Answers of all users."""
        return self.successes.total()

    @property
    def requests(self) -> int:
        """HTTP requests that the API received, counts of tokens too."""
        return self.traffic.received if self.traffic else 0

    def percentile_ms(self, percent: float) -> float:
        """The latency that *percent* of the successes stayed within."""
        return self.latencies_ms[min(int(len(self.latencies_ms) * percent / 100), len(self.latencies_ms) - 1)]

    def report(self, storm: Storm) -> str:
        """The figures, for `pytest -rP`."""
        shares = sorted(self.successes[user] for user in set(storm.people()))
        spread = ", ".join(f"p{percent} {self.percentile_ms(percent):.0f}" for percent in (50, 95, 99, 100))
        assert self.traffic is not None
        return (
            f"{self.total} answers ({storm.most} of one model possible), {self.requests} requests "
            f"{dict(sorted(self.traffic.statuses.items()))} {dict(self.traffic.models)} "
            f"{dict(self.traffic.paths)}; "
            f"errors {dict(self.errors)}; "
            f"by user {shares[0]} to {shares[-1]}, median {shares[len(shares) // 2]}, "
            f"the heavy one {self.successes['user-0']}; "
            f"ms {spread}; CPU {self.cpu_s:.1f} s; "
            f"{self.late} more answers in {self.drained_s:.1f} s after the end"
        )


async def blow(storm: Storm, call: Call, api: ApiProcess) -> Outcome:
    """Let the callers call; returns when the last call has ended, none being cut short."""
    seen = Outcome()
    cpu_s, ends_at = time.process_time(), time.monotonic() + storm.seconds

    async def caller(user: str) -> None:
        while (began := time.monotonic()) < ends_at:
            try:
                await call(user)
            except (anthropic.AnthropicError, GovernorError) as error:
                if time.monotonic() < ends_at:
                    seen.errors[type(error).__name__] += 1
                continue
            now = time.monotonic()
            if now >= ends_at:
                seen.late += 1
                continue
            seen.successes[user] += 1
            seen.latencies_ms.append((now - began) * 1000)

    tasks = [asyncio.create_task(caller(user)) for user in storm.people()]
    await asyncio.sleep(storm.seconds)
    seen.cpu_s = time.process_time() - cpu_s
    seen.traffic = await asyncio.to_thread(lambda: api.traffic)
    await asyncio.gather(*tasks)
    seen.drained_s = time.monotonic() - ends_at
    seen.latencies_ms.sort()
    return seen


async def bare(storm: Storm, api: ApiProcess, model: str = SONNET) -> Outcome:
    """The SDK as it comes, with its default retries."""
    async with anthropic.AsyncAnthropic(base_url=api.url, api_key=api.api_key) as client:

        async def call(user: str) -> object:
            return await client.messages.create(model=model, max_tokens=MAX_TOKENS, messages=HELLO)

        return await blow(storm, call, api)


@dataclass(frozen=True, slots=True)
class Books:
    """What the ledger and the API say of the money, when all is over."""

    posted: int
    billed: int
    open_holds: int


POLICY: dict[str, Any] = {
    "version": 1,
    "department": "team",
    "budgets": [
        {"per": "department", "usd": 1_000_000, "window": "life"},
        {"per": "user", "usd": 100_000, "window": "life"},
    ],
    "routing": {"lines": LINES},
}
"""Money for everybody, and the defaults for everything else."""


def write_policies(folder: Path, org: str) -> Path:
    """The policy of the governed arm, in files; returns *folder*."""
    for name, content in (("organization", {"version": 1, "organization": org}), ("team", POLICY)):
        (folder / f"{name}.yaml").write_text(json.dumps(content), encoding="utf-8")
    return folder


async def governed(
    storm: Storm, api: ApiProcess, policies: Path, ledger: str, org: str, **request: Any
) -> tuple[Outcome, Books]:
    """The same calls through a governor; *request* says which model."""
    client = anthropic.AsyncAnthropic(base_url=api.url, api_key=api.api_key)
    async with client, AsyncGovernor.load(policies, ledger=ledger, client=client, create_ledger=True) as gov:

        async def call(user: str) -> object:
            return await gov.call(
                user=user, department="team", max_tokens=MAX_TOKENS, messages=HELLO, **request
            )

        seen = await blow(storm, call, api)
    return seen, _books(api, ledger, org)


def _books(api: ApiProcess, url: str, org: str) -> Books:
    billed = api.billed_nanos
    ledger = open_ledger(url, org)
    try:
        known = {one.identity: one.balance for one in ledger.execute(c.ListBalances(past=True))}
        return Books(known["department=team/usd/life"].posted, billed, len(ledger.execute(c.ListHolds())))
    finally:
        ledger.close()
