"""A governed call against an ungoverned one, through the same SDK client to the same fake API.

The sides take turns in blocks of a few calls, so that a drift of the machine meets all of them. CPU time is
this process's, all threads and the kernel's share included; the API and Redis are processes of their own. A
CPU ratio is the median over the turns of one block to the yardstick's.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, cast

import anthropic

from benchmarks.api_process import API_KEY, fake_api
from benchmarks.scene import PROMPT, WHO, house
from benchmarks.timing import Options, Result, Series, Step, micros, times
from governor import Governor
from governor.ledger.keys import Keys
from governor.ledger.redis import RedisLedger
from governor.ledger.servers import connect

if TYPE_CHECKING:
    from collections.abc import Callable

TURNS, BLOCK = 50, 10
WARM_UP = 3
COUNTED_CALLS = 100
MODEL = "claude-opus-5-5"
_COLUMNS = ("", "p50", "p99", "CPU p50", "p50 ratio", "CPU ratio")

IMAGE = {"type": "image", "source": {"type": "url", "url": "https://example.com/diff.png"}}
UNCOUNTABLE = [{"role": "user", "content": [IMAGE, {"type": "text", "text": PROMPT}]}]
"""The API refuses to count what it would have to fetch, so the governor sends no count either."""

STREAM, SKIPPED = "messages.stream", "governed call, count skipped"
REPLAYED = "messages.stream and the same 2 EVALSHA"
"""The two scripts of a governed call sent again, before and after: what redis-py and the kernel take."""


def text() -> list[dict[str, Any]]:
    """A prompt that nobody has counted yet."""
    return [{"role": "user", "content": f"{PROMPT}{secrets.token_hex(8)}"}]


@dataclass(frozen=True, slots=True)
class Case:
    """One way to make a call, the name of the way it is compared with, and what was measured."""

    name: str
    work: Callable[[], Any]
    yardstick: str
    measured: Series = field(default_factory=Series)


class Spy:
    """A redis-py client that keeps the words of every script it ran."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.said: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def evalsha(self, *words: Any) -> Any:
        """`EVALSHA`, noted."""
        self.said.append(words)
        return self._client.evalsha(*words)


def steps(options: Options) -> int:
    """How many steps `calls` will tell."""
    return options.times(TURNS)


def calls(redis_url: str, options: Options, step: Step) -> Result:
    """Every side in turns, what of the governed one is redis-py's, and how often it asks Redis."""
    with fake_api() as url:
        transport = anthropic.DefaultHttpxClient(trust_env=False)
        client = anthropic.Anthropic(base_url=url, api_key=API_KEY, max_retries=0, http_client=transport)
        redis = connect(redis_url)
        keys = Keys(f"bench-{secrets.token_hex(4)}")
        spy = Spy(redis)
        with Governor(house(), RedisLedger(cast("Any", spy), keys, redis_url, create=True), client) as spied:
            _govern(spied, text(), "quick")
            _uncounted(spied)  # the balances of the first call are known now
            *_, before, after = spy.said
        with Governor(house(), RedisLedger(redis, keys, redis_url), client) as governor:
            _govern(governor, text(), "quick")
            cases = _cases(client, governor, lambda words: redis.evalsha(*words), before, after)
            for _ in range(WARM_UP):
                _turn(cases, measure=False)
            for _ in range(steps(options)):
                _turn(cases, measure=True)
                step()
            scripts, reads = _round_trips(redis, governor)
        client.close()
    return _result(cases, scripts, reads)


def _turn(cases: list[Case], *, measure: bool) -> None:
    for case in cases:
        for _ in range(BLOCK):
            if measure:
                case.measured.timed(case.work)
            else:
                case.work()


def _cases(
    client: anthropic.Anthropic,
    governor: Governor,
    evalsha: Callable[[tuple[Any, ...]], Any],
    before: tuple[Any, ...],
    after: tuple[Any, ...],
) -> list[Case]:
    def create(messages: Any) -> Any:
        return client.messages.create(model=MODEL, max_tokens=1024, messages=messages)

    def stream(messages: Any) -> Any:
        with client.messages.stream(model=MODEL, max_tokens=1024, messages=messages) as events:
            for _ in events:
                pass
            return events.get_final_message()

    def replayed() -> None:
        evalsha(before)
        stream(text())
        evalsha(after)

    def count_and_stream(messages: Any) -> Any:
        client.messages.count_tokens(model=MODEL, messages=messages)
        return stream(messages)

    return [
        Case("messages.create", lambda: create(text()), "messages.create"),
        Case(STREAM, lambda: stream(text()), STREAM),
        Case(REPLAYED, replayed, STREAM),
        Case(SKIPPED, lambda: _uncounted(governor), STREAM),
        Case("count_tokens and messages.stream", lambda: count_and_stream(text()), STREAM),
        Case("governed call, counted", lambda: _govern(governor, text()), STREAM),
        Case("messages.stream, uncountable body", lambda: stream(UNCOUNTABLE), STREAM),
        Case(
            "governed call, uncountable body",
            lambda: _govern(governor, UNCOUNTABLE),
            "messages.stream, uncountable body",
        ),
    ]


def _govern(governor: Governor, messages: Any, department: str = "team") -> Any:
    return governor.call(**{**WHO, "department": department}, max_tokens=1024, messages=messages)


def _uncounted(governor: Governor) -> None:
    """A governed call whose prompt is not counted, because next to nothing is at stake."""
    estimate = _govern(governor, text(), "quick").receipt.decision.estimate
    if estimate != "local bound":
        raise RuntimeError(f"the count was to be skipped, and the prompt was measured by {estimate}")


def _round_trips(redis: Any, governor: Governor) -> tuple[float, float]:
    """Scripts run, and requests read by the server, for each governed call that is not counted."""
    before = redis.info("everything")
    for _ in range(COUNTED_CALLS):
        _uncounted(governor)
    after = redis.info("everything")
    scripts = after["cmdstat_evalsha"]["calls"] - before["cmdstat_evalsha"]["calls"]
    reads = after["total_reads_processed"] - before["total_reads_processed"] - 1  # the INFO itself
    return scripts / COUNTED_CALLS, reads / COUNTED_CALLS


def _result(cases: list[Case], scripts: float, reads: float) -> Result:
    by_name = {case.name: case.measured for case in cases}
    count = len(by_name[STREAM].wall_s)
    result = Result(f"A call on the fake API, with the Redis ledger, n = {count}", _COLUMNS)
    for case in cases:
        _add(result, case, by_name[case.yardstick])
    yardstick = _blocks(by_name[STREAM])
    redis, governed = (
        [mine - bare for mine, bare in zip(_blocks(by_name[name]), yardstick, strict=True)]
        for name in (REPLAYED, SKIPPED)
    )
    own = [all_of_it - its for all_of_it, its in zip(governed, redis, strict=True)]
    for name, added in (("added", governed), ("… by redis-py", redis), ("… by the governor", own)):
        ratio = median(one / bare for one, bare in zip(added, yardstick, strict=True))
        share = (micros(median(added)), "", f"{ratio:.0%}")
        result.rows.append((f"CPU of the uncounted call: {name}", "", "", *share))
        result.figures |= {f"{name}.cpu_s": median(added), f"{name}.cpu_ratio": ratio}
    result.rows.append(("Redis: scripts run in an uncounted call", f"{scripts:g}", "", "", "", ""))
    result.rows.append(("Redis: requests read in an uncounted call", f"{reads:g}", "", "", "", ""))
    result.figures |= {"scripts_per_call": scripts, "requests_per_call": reads}
    return result


def _blocks(series: Series) -> list[float]:
    return [series.cpu_of_block_s(number, BLOCK) for number in range(len(series.cpu_s) // BLOCK)]


def _add(result: Result, case: Case, bare: Series) -> None:
    mine = case.measured
    blocks = zip(_blocks(mine), _blocks(bare), strict=True)
    wall, cpu = mine.p50_s / bare.p50_s, median(one / yardstick for one, yardstick in blocks)
    cpu_s = median(_blocks(mine))
    cells = (micros(mine.p50_s), micros(mine.p99_s), micros(cpu_s), times(wall), times(cpu))
    result.rows.append((case.name, *cells))
    result.figures |= {
        f"{case.name}.p50_s": mine.p50_s,
        f"{case.name}.p99_s": mine.p99_s,
        f"{case.name}.cpu_p50_s": cpu_s,
        f"{case.name}.p50_ratio": wall,
        f"{case.name}.cpu_ratio": cpu,
    }
