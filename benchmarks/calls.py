"""A governed call against an ungoverned one, through the same SDK client to the same fake API."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

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

    from governor.ledger.commands import Command

R = TypeVar("R")

REPETITIONS = 500
WARM_UP = 20
MODEL = "claude-opus-5-5"
_COLUMNS = ("", "p50", "CPU mean", "p50 ratio", "CPU ratio")

IMAGE = {"type": "image", "source": {"type": "url", "url": "https://example.com/diff.png"}}
UNCOUNTABLE = [{"role": "user", "content": [IMAGE, {"type": "text", "text": PROMPT}]}]
"""The API refuses to count what it would have to fetch, so the governor sends no count either."""


def text() -> list[dict[str, Any]]:
    """A prompt that nobody has counted yet."""
    return [{"role": "user", "content": f"{PROMPT}{secrets.token_hex(8)}"}]


@dataclass(frozen=True, slots=True)
class Case:
    """One way to make a call, and the name of the way it is compared with."""

    name: str
    work: Callable[[], Any]
    yardstick: str


class MeteredRedis:
    """A redis-py client that notes the time inside it; one entry of the series per governed call."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.calls = Series()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def evalsha(self, *words: Any) -> Any:
        """`EVALSHA`, timed."""
        return self.calls.timed(lambda: self._client.evalsha(*words))


class MeteredLedger(RedisLedger):
    """A Redis ledger that notes the time of each command, redis-py's part included."""

    commands: Series

    def execute(self, command: Command[R]) -> R:
        """Carry out *command*, timed."""
        return self.commands.timed(lambda: super(MeteredLedger, self).execute(command))


def steps(options: Options) -> int:
    """How many steps `calls` will tell."""
    return options.times(REPETITIONS)


def calls(redis_url: str, options: Options, step: Step) -> Result:
    """Every case once per round, in turns, and where the governed call's time goes."""
    with fake_api() as url:
        transport = anthropic.DefaultHttpxClient(trust_env=False)
        client = anthropic.Anthropic(base_url=url, api_key=API_KEY, max_retries=0, http_client=transport)
        redis = MeteredRedis(connect(redis_url))
        ledger = MeteredLedger(
            cast("Any", redis), Keys(f"bench-{secrets.token_hex(4)}"), redis_url, create=True
        )
        ledger.commands = Series()
        with Governor(house(), ledger, client) as governor:
            cases = _cases(client, governor)
            _round(cases, WARM_UP, None, lambda advance=1: None)  # noqa: ARG005 - the warm-up has no bar
            redis.calls, ledger.commands = Series(), Series()
            measured = {case.name: Series() for case in cases}
            _round(cases, steps(options), measured, step)
        client.close()
    result = Result("A call on the fake API, with the Redis ledger", _COLUMNS)
    for case in cases:
        _add(result, case, measured)
    governed = sum(len(measured[case.name].wall_s) for case in cases if case.name.startswith("governed"))
    _add_part(result, "… of a governed call in the ledger", ledger.commands, governed)
    _add_part(result, "… … of that in redis-py and the server", redis.calls, governed)
    return result


def _round(cases: list[Case], rounds: int, measured: dict[str, Series] | None, step: Step) -> None:
    for _ in range(rounds):
        for case in cases:
            if measured is None:
                case.work()
            else:
                measured[case.name].timed(case.work)
        step()


def _cases(client: anthropic.Anthropic, governor: Governor) -> list[Case]:
    def create(messages: Any) -> Any:
        return client.messages.create(model=MODEL, max_tokens=1024, messages=messages)

    def stream(messages: Any) -> Any:
        with client.messages.stream(model=MODEL, max_tokens=1024, messages=messages) as events:
            for _ in events:
                pass
            return events.get_final_message()

    def count_and_stream(messages: Any) -> Any:
        client.messages.count_tokens(model=MODEL, messages=messages)
        return stream(messages)

    def governed(messages: Any, department: str = "team") -> Any:
        return governor.call(**{**WHO, "department": department}, max_tokens=1024, messages=messages)

    return [
        Case("messages.create", lambda: create(text()), "messages.create"),
        Case("messages.stream", lambda: stream(text()), "messages.stream"),
        Case("count_tokens and messages.stream", lambda: count_and_stream(text()), "messages.stream"),
        Case("governed call, counted", lambda: governed(text()), "messages.stream"),
        Case("governed call, little at stake", lambda: governed(text(), "quick"), "messages.stream"),
        Case("messages.stream, uncountable body", lambda: stream(UNCOUNTABLE), "messages.stream"),
        Case(
            "governed call, uncountable body",
            lambda: governed(UNCOUNTABLE),
            "messages.stream, uncountable body",
        ),
    ]


def _add(result: Result, case: Case, measured: dict[str, Series]) -> None:
    mine, bare = measured[case.name], measured[case.yardstick]
    wall, cpu = mine.p50_s / bare.p50_s, mine.cpu_mean_s / bare.cpu_mean_s
    result.rows.append((case.name, micros(mine.p50_s), micros(mine.cpu_mean_s), times(wall), times(cpu)))
    result.figures |= {
        f"{case.name}.p50_s": mine.p50_s,
        f"{case.name}.cpu_mean_s": mine.cpu_mean_s,
        f"{case.name}.p50_ratio": wall,
        f"{case.name}.cpu_ratio": cpu,
    }


def _add_part(result: Result, name: str, series: Series, governed: int) -> None:
    """What a governed call spends in *series* altogether: reserve and settle, or their scripts."""
    wall_s, cpu_s = sum(series.wall_s) / governed, sum(series.cpu_s) / governed
    result.rows.append((name, f"{micros(wall_s)} (mean)", micros(cpu_s), "", ""))
    result.figures |= {f"{name}.mean_s": wall_s, f"{name}.cpu_mean_s": cpu_s}
