"""A client with the governor in its chain against the same client without it, on answers made beforehand.

The sides take turns, so that a drift of the machine meets both; a ratio is the median over the turns. CPU
time is this process's, all threads and the kernel's share included; the API and Redis are processes of their
own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol

import anthropic

from benchmarks.canned_api import EVENTS, PAUSE_S, canned_api
from benchmarks.scene import POLICIES, WHO
from benchmarks.timing import Options, Result, Series, Step, micros, times
from governor import AsyncGovernor, Governor

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LONG_TURNS, SHORT_TURNS, CREATE_TURNS, BLOCK = 12, 150, 30, 10
WARM_UP = 2
ASKED: dict[str, Any] = {
    "model": "claude-opus-5-5",
    "max_tokens": 1024,
    "messages": [{"role": "user", "content": "Review this diff."}],
}
ATTRIBUTED: dict[str, Any] = {**WHO, "department": "quick"}  # whose prompts are not counted
_COLUMNS = ("", "bare p50", "governed p50", "ratio", "CPU ratio", "target")

Work = Callable[[], float]
"""Does what is measured; returns the wall seconds of it that count."""


class Side(Protocol):
    """A client, with the governor in its chain or without."""

    def read(self, answer: str) -> float:
        """Seconds to read an answer that streams, from the call on."""

    def first(self, answer: str) -> float:
        """Seconds from the head of an answer to its first token."""

    def create(self) -> float:
        """Seconds of an answer that does not stream; the mean of a few."""


class Head:
    """When the head of the last answer came, as the HTTP library tells its hooks."""

    def __init__(self) -> None:
        self.at = 0.0

    def note(self, _: object) -> None:
        """For a blocking client."""
        self.at = time.perf_counter()

    async def anote(self, _: object) -> None:
        """For an async one."""
        self.at = time.perf_counter()


class Blocking:
    """A blocking client."""

    def __init__(self, url: str, chain: Sequence[anthropic.Middleware], ends: ExitStack) -> None:
        self._url, self._head = url, Head()
        hooks: dict[str, list[Any]] = {"response": [self._head.note]}
        transport = anthropic.DefaultHttpxClient(trust_env=False, event_hooks=hooks)
        self._client = anthropic.Anthropic(
            base_url=url, api_key="fake-key", max_retries=0, middleware=[*chain], http_client=transport
        )
        ends.callback(self._client.close)

    def _at(self, answer: str) -> anthropic.Anthropic:
        return self._client.with_options(base_url=f"{self._url}/{answer}")

    def read(self, answer: str) -> float:
        """As `Side` says."""
        client, began = self._at(answer), time.perf_counter()
        with client.messages.create(**ASKED, stream=True) as stream:
            for _ in stream:
                pass
        return time.perf_counter() - began

    def first(self, answer: str) -> float:
        """As `Side` says."""
        seconds = 0.0
        with self._at(answer).messages.create(**ASKED, stream=True) as stream:
            for event in stream:
                if event.type == "content_block_delta":
                    seconds = seconds or time.perf_counter() - self._head.at
        return seconds

    def create(self) -> float:
        """As `Side` says."""
        began = time.perf_counter()
        for _ in range(BLOCK):
            self._client.messages.create(**ASKED)
        return (time.perf_counter() - began) / BLOCK


class Async:
    """An async client, run from outside of its loop."""

    def __init__(
        self, url: str, chain: Sequence[anthropic.Middleware], runner: asyncio.Runner, ends: ExitStack
    ) -> None:
        self._url, self._head, self._runner = url, Head(), runner
        hooks: dict[str, list[Any]] = {"response": [self._head.anote]}
        transport = anthropic.DefaultAsyncHttpxClient(trust_env=False, event_hooks=hooks)
        self._client = anthropic.AsyncAnthropic(
            base_url=url, api_key="fake-key", max_retries=0, middleware=[*chain], http_client=transport
        )
        ends.callback(lambda: runner.run(self._client.close()))

    def _at(self, answer: str) -> anthropic.AsyncAnthropic:
        return self._client.with_options(base_url=f"{self._url}/{answer}")

    def read(self, answer: str) -> float:
        """As `Side` says."""
        return self._runner.run(self._read(answer))

    async def _read(self, answer: str) -> float:
        client, began = self._at(answer), time.perf_counter()
        async with await client.messages.create(**ASKED, stream=True) as stream:
            async for _ in stream:
                pass
        return time.perf_counter() - began

    def first(self, answer: str) -> float:
        """As `Side` says."""
        return self._runner.run(self._first(answer))

    async def _first(self, answer: str) -> float:
        seconds = 0.0
        async with await self._at(answer).messages.create(**ASKED, stream=True) as stream:
            async for event in stream:
                if event.type == "content_block_delta":
                    seconds = seconds or time.perf_counter() - self._head.at
        return seconds

    def create(self) -> float:
        """As `Side` says."""
        return self._runner.run(self._create())

    async def _create(self) -> float:
        began = time.perf_counter()
        for _ in range(BLOCK):
            await self._client.messages.create(**ASKED)
        return (time.perf_counter() - began) / BLOCK


@dataclass(frozen=True, slots=True)
class Case:
    """What is done on each side.

    Attributes:
        target: The most that the ratio may be; `None`: none is set.
    """

    name: str
    work: Callable[[Side], float]
    turns: int
    target: float | None = None


CASES = (
    Case(f"stream of {EVENTS:,} events", lambda side: side.read("long"), LONG_TURNS, 1 / 0.9),
    Case(f"the same, gzip: {EVENTS:,} events", lambda side: side.read("gzip"), LONG_TURNS, 1 / 0.8),
    Case(
        f"head to first token, {PAUSE_S * 1000:.0f} ms apart",
        lambda side: side.first("paused"),
        SHORT_TURNS,
        1.05,
    ),
    Case("head to first token, sent at once", lambda side: side.first("short"), SHORT_TURNS),
    Case("messages.create", lambda side: side.create(), CREATE_TURNS),
)


def steps(options: Options) -> int:
    """How many steps `doors` will tell."""
    return 2 * sum(options.times(case.turns) for case in CASES)


def doors(redis_url: str, options: Options, step: Step) -> Result:
    """Every case, blocking and async."""
    result = Result("The middleware against the bare SDK", _COLUMNS)
    ledger: dict[str, Any] = {"ledger": redis_url, "create_ledger": True, "reload": False}
    with canned_api() as url, asyncio.Runner() as runner, ExitStack() as ends:
        gov, agov = Governor.load(POLICIES, **ledger), AsyncGovernor.load(POLICIES, **ledger)
        ends.callback(gov.close)
        ends.callback(lambda: runner.run(agov.aclose()))
        door, adoor = gov.middleware(**ATTRIBUTED), agov.middleware(**ATTRIBUTED)
        blocking = [Blocking(url, chain, ends) for chain in ([], [door])]
        on_loop = [Async(url, chain, runner, ends) for chain in ([], [adoor])]
        for case in CASES:
            for kind, sides in (("sync", blocking), ("async", on_loop)):
                _measure(kind, case, sides, options, step, result)
    return result


def _measure(
    kind: str, case: Case, sides: Iterable[Side], options: Options, step: Step, result: Result
) -> None:
    bare, governed = Series(), Series()
    for number in range(-WARM_UP, options.times(case.turns)):
        for side, series in zip(sides, (bare, governed), strict=True):
            cpu = time.process_time()
            wall = case.work(side)
            if number >= 0:
                series.wall_s.append(wall)
                series.cpu_s.append(time.process_time() - cpu)
        if number >= 0:
            step()
    wall_ratio, cpu_ratio = _ratio(bare.wall_s, governed.wall_s), _ratio(bare.cpu_s, governed.cpu_s)
    name = f"{kind}: {case.name}"
    target = "" if case.target is None else f"{case.target:.2f} x"
    cells = (micros(bare.p50_s), micros(governed.p50_s), times(wall_ratio), times(cpu_ratio), target)
    result.rows.append((name, *cells))
    result.figures |= {
        f"{name}.bare_p50_s": bare.p50_s,
        f"{name}.governed_p50_s": governed.p50_s,
        f"{name}.ratio": wall_ratio,
        f"{name}.cpu_ratio": cpu_ratio,
    }


def _ratio(bare: list[float], governed: list[float]) -> float:
    return median(mine / its for its, mine in zip(bare, governed, strict=True))
