"""A governor in front of a fake Claude API, blocking or async, on SQLite or Redis: a stage for many tests."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from governor import AsyncGovernor, Governor, Money
from governor.budgets import Unit
from governor.ledger import commands as c
from governor.ledger import open_ledger
from governor.ledger.detail import read_closing
from governor.testing import FakeClaude, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from pathlib import Path

    from governor.ledger import Ledger
    from governor.ledger.commands import Balance, JournalEntry, OpenHold
    from governor.story.decision import ThresholdCrossed

HAIKU, SONNET, OPUS = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"
LINES = {"haiku": HAIKU, "sonnet": SONNET, "opus": OPUS}
HELLO = [{"role": "user", "content": "Hello, Claude"}]
NOON_MS = 1_795_176_000_000
"""2026-11-20, 12:00 UTC: a Friday in the middle of a month."""

LADDER = {"80%": ["warn", {"downgrade": "sonnet"}], "90%": {"downgrade": "haiku"}, "100%": "block"}


class Clock:
    """Unix milliseconds that stand still until they are moved, or run from `run` on."""

    def __init__(self, now_ms: int = NOON_MS) -> None:
        self._now_ms = now_ms
        self._running_since: float | None = None

    def __call__(self) -> int:
        ran_s = 0.0 if self._running_since is None else time.monotonic() - self._running_since
        return self._now_ms + int(ran_s * 1000)

    def forward(self, seconds: float) -> None:
        """Move on by *seconds*."""
        self._now_ms += int(seconds * 1000)

    def run(self) -> None:
        """Go on at the speed of real time."""
        self._running_since = time.monotonic()


def department(
    *budgets: Mapping[str, Any], timeout: float = 5, retries: int = 2, **more: Any
) -> dict[str, Any]:
    """A department's policy `team` with these budgets; `routing` in *more* goes over the default one."""
    routing = {
        "lines": LINES,
        "tiers": {"standard": {"prefer": "sonnet", "timeout": timeout, "retries": retries}},
        "when_contended": {"max_wait": 0},
        **more.pop("routing", {}),
    }
    return {
        "version": 1,
        "department": "team",
        "budgets": list(budgets),
        "routing": routing,
        "estimate": "count",
        **more,
    }


@dataclass
class Seen:
    """What the ledger held while the API had a request."""

    body: Mapping[str, Any]
    holds: tuple[OpenHold, ...]
    held: dict[str, int]


@dataclass
class Stage:
    """One organisation's files, ledger and API, and the governors made from them; closed by `close`."""

    api: FakeClaude
    folder: Path
    url: str
    org: str
    is_async: bool = False
    clock: Callable[[], int] | None = field(default_factory=Clock)
    events: list[ThresholdCrossed] = field(default_factory=list)
    _open: list[Any] = field(default_factory=list)

    @property
    def policies(self) -> Path:
        """The folder of policy files."""
        return self.folder / "policies"

    def write(self, team: Mapping[str, Any], *, shared: Mapping[str, Any] | None = None) -> None:
        """Write the department's file, and the organisation's with what *shared* adds to its name."""
        self.policies.mkdir(exist_ok=True)
        floor = {"version": 1, "organization": self.org, **(shared or {})}
        for name, content in (("organization", floor), ("team", team)):
            (self.policies / f"{name}.yaml").write_text(json.dumps(content, indent=1), encoding="utf-8")

    def governor(self, team: Mapping[str, Any] | None = None, **options: Any) -> Caller:
        """A governor of this stage; *team* is written first, and *options* go to `load` (or `shared`)."""
        shared = options.pop("shared", None)
        if team is not None:
            self.write(team, shared=shared)
        options = {
            "ledger": self.url,
            "create_ledger": True,
            "on_event": self.events.append,
            "clock": self.clock,
            **options,
        }
        kind = AsyncCaller if self.is_async else Caller
        caller = kind(self, options)
        self._open.append(caller)
        return caller

    @property
    def ledger(self) -> Ledger:
        """The ledger as another process sees it."""
        if not hasattr(self, "_ledger"):
            self._ledger = open_ledger(self.url, self.org, create=True, clock=self.clock)
            self._open.append(self._ledger)
        return self._ledger

    def balances(self) -> dict[str, Balance]:
        """Every balance by identity; of a budget with several windows, the last."""
        return {known.identity: known.balance for known in self.ledger.execute(c.ListBalances(past=True))}

    def posted(self, identity: str = "department=team/usd/life") -> int:
        """What is spent of one budget."""
        return self.balances()[identity].posted

    def holds(self) -> tuple[OpenHold, ...]:
        """Every open hold."""
        return self.ledger.execute(c.ListHolds())

    def journal(self, kind: str | None = None, identifier: str | None = None) -> list[JournalEntry]:
        """The journal, oldest first, of one kind and of one request if they are given."""
        entries = self.ledger.execute(c.ReadJournal(id=identifier, limit=10_000))
        return [entry for entry in entries if kind in (None, entry.kind)]

    def last_ending(self) -> dict[str, Any]:
        """The record of the newest settle or release, with what the ledger says of it."""
        entry = [entry for entry in self.journal() if entry.kind in ("settle", "release", "expire")][-1]
        return {**json.loads(entry.record), **read_closing(entry.detail), "outcome": entry.outcome}

    def row(self, identity: str, limit: int) -> c.BudgetRow:
        """A life-long budget as a command names it."""
        unit = identity.rsplit("/", 2)[-2]
        return c.BudgetRow(identity, "life", 0, 0, Unit(unit), limit)

    def hold(self, identity: str, amount: int, limit: int, *, name: str = "another-call") -> c.Release:
        """Hold *amount* of a life-long budget as another process would; returns the command that ends it."""
        row = self.row(identity, limit)
        reply = self.ledger.execute(c.Reserve(name, (row,), ((c.Ask(amount),),), 600_000))
        assert isinstance(reply, c.Held), reply
        return c.Release(name, (c.Posting(row, 0),))

    def spend(self, identity: str, amount: int, limit: int, *, name: str = "another-call") -> None:
        """Spend *amount* of a life-long budget as another process would."""
        release = self.hold(identity, amount, limit, name=name)
        self.ledger.execute(c.Settle(name, (c.Posting(release.postings[0].budget, amount),)))

    def meet(self, **options: Any) -> FakeClaude:
        """Put an API of this stage's own in place of the shared one; its minutes go by the stage's clock."""
        ends = ExitStack()
        self.api = ends.enter_context(FakeClaude(now_ms=self.clock or Clock(), **options))
        self._open.append(ends)
        return self.api

    def watch(self, reply: Reply | None = None) -> list[Seen]:
        """From now on, note what the ledger holds whenever the API has received a request."""
        seen: list[Seen] = []

        def note(body: Mapping[str, Any]) -> Reply:
            held = {name: balance.held for name, balance in self.balances().items()}
            seen.append(Seen(body, self.holds(), held))
            return reply or Reply()

        self.api.replies(note)
        return seen

    def sent(self) -> list[Mapping[str, Any]]:
        """The bodies that reached `/v1/messages`."""
        return [request.body for request in self.api.requests if request.path == "/v1/messages"]

    def close(self) -> None:
        """Close every governor and ledger made here."""
        for each in reversed(self._open):
            each.close()


class Caller:
    """A blocking governor whose calls may also be started in a thread."""

    def __init__(self, stage: Stage, options: dict[str, Any]) -> None:
        options.setdefault("client", stage.api.client())
        self.clock: Any = options["clock"]
        self.governor: Any = Governor.load(stage.policies, **options)
        self._threads = ThreadPoolExecutor(64)

    def call(self, **request: Any) -> Any:
        """One call as user u of the team, unless *request* says otherwise; `...` leaves one out."""
        return self.governor.call(**_filled(request))

    def decide(self, **request: Any) -> Any:
        """The same, decided only."""
        return self.governor.decide(**_filled(request))

    def outcome(self, name: str, **said: Any) -> str:
        """Say what calls were good for; nothing is filled in."""
        return self.governor.outcome(name, **said)

    def start(self, **request: Any) -> Future[Any]:
        """The same call, in the background."""
        return self._threads.submit(self.call, **request)

    def close(self) -> None:
        """Wait for what was started, and close the governor."""
        self._threads.shutdown()
        self.governor.close()


class AsyncCaller(Caller):
    """An async governor on a loop of its own, called from outside."""

    def __init__(self, stage: Stage, options: dict[str, Any]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="governor-loop")
        self._thread.start()
        self._client: Any = None
        self.clock = options["clock"]
        if "client" not in options:
            self._client = options["client"] = stage.api.async_client()
        try:
            self.governor = AsyncGovernor.load(stage.policies, **options)
        except BaseException:
            self._end()
            raise

    def call(self, **request: Any) -> Any:
        return self.start(**request).result()

    def decide(self, **request: Any) -> Any:
        return self.on_loop(self.governor.decide(**_filled(request))).result()

    def outcome(self, name: str, **said: Any) -> str:
        async def tell() -> str:
            return await self.governor.outcome(name, **said)

        return asyncio.run_coroutine_threadsafe(tell(), self._loop).result()

    def start(self, **request: Any) -> Future[Any]:
        return self.on_loop(self.governor.call(**_filled(request)))

    def close(self) -> None:
        self.on_loop(self.governor.aclose()).result()
        self._end()

    def on_loop(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Begin *work* on the governor's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def _end(self) -> None:
        if self._client is not None:
            self.on_loop(self._client.close()).result()
        self.on_loop(_others_done()).result()
        self.on_loop(self._loop.shutdown_asyncgens()).result()
        self.on_loop(self._loop.shutdown_default_executor()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _others_done() -> None:
    """Let tasks that close what was dropped come to their end: without a loop they cannot."""
    if others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others, timeout=10)


def _filled(request: dict[str, Any]) -> dict[str, Any]:
    whole = {"user": "u", "department": "team", "messages": HELLO, "max_tokens": 100, **request}
    return {name: value for name, value in whole.items() if value is not ...}


def usd(nanos: int) -> str:
    """Nano-dollars as a policy file writes dollars."""
    return str(Money(nanos)).removeprefix("$").replace(",", "")


def until(holds: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    """Wait until *holds* gives something true, and return that."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = holds()
        if found:
            return found
        time.sleep(0.002)
    raise AssertionError("it did not come true in time")
