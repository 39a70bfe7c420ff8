"""Pricing one usage against `genai_prices`, and the local bound against sending the request."""

from __future__ import annotations

import datetime as dt
from functools import partial
from typing import TYPE_CHECKING, Any

import anthropic
import genai_prices

from benchmarks.api_process import API_KEY, fake_api
from benchmarks.scene import house
from benchmarks.timing import Options, Result, Series, Step, micros
from governor.pricing import Usage, cost_nanos, local_bound

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 100
WARM_UP = 5
CALLS = 200
"""Pricings of one measurement: the clock is too coarse for a single one."""
MODEL = "claude-opus-5-5"
INPUT_TOKENS, OUTPUT_TOKENS, CACHE_READ_TOKENS, CACHE_WRITE_TOKENS = 1_200, 350, 80_000, 4_000

PROMPT_CHARACTERS = 400_000
MESSAGES = 201
TOOLS = 20
ENGLISH = "Review this diff and say what could go wrong with it, line by line. "
MIXED = "Prüfe diesen Diff, was könnte schiefgehen? この差分を確認してください。 "
_FINE_S = 1e-5
_COLUMNS = ("", "p50", "CPU mean", "p50 ratio", "CPU ratio")


def steps(options: Options) -> int:
    """How many steps `pricing` will tell."""
    return 2 * options.times(ROUNDS)


def pricing(options: Options, step: Step) -> Result:
    """Both comparisons, each with its two sides in turns."""
    result = Result("Pricing", _COLUMNS)
    _price(result, options.times(ROUNDS), step)
    _bound(result, options.times(ROUNDS), step)
    return result


def _price(result: Result, rounds: int, step: Step) -> None:
    """One usage, priced by `genai_prices` and by the governor."""
    prices = house().prices
    at = dt.datetime.now(dt.UTC)
    at_ms = int(at.timestamp() * 1000)
    usage = Usage(
        input_tokens=INPUT_TOKENS,
        output_tokens=OUTPUT_TOKENS,
        cache_read_tokens=CACHE_READ_TOKENS,
        cache_write_5m_tokens=CACHE_WRITE_TOKENS,
    )
    theirs = genai_prices.Usage(
        input_tokens=usage.prompt_tokens,  # theirs includes what is cached
        output_tokens=OUTPUT_TOKENS,
        cache_read_tokens=CACHE_READ_TOKENS,
        cache_write_tokens=CACHE_WRITE_TOKENS,
    )
    sides = {
        "genai_prices.calc_price": lambda: [
            genai_prices.calc_price(theirs, MODEL, provider_id="anthropic", genai_request_timestamp=at)
            for _ in range(CALLS)
        ],
        "cost_nanos": lambda: [cost_nanos(prices, MODEL, usage, at_ms) for _ in range(CALLS)],
    }
    measured = _in_turns(sides, rounds, step)
    _add(result, "one usage: ", "genai_prices.calc_price", "cost_nanos", measured, each=CALLS)


def _bound(result: Result, rounds: int, step: Step) -> None:
    """The local bound of a long request, and the SDK's time to build and send it and read the answer."""
    bodies = {
        "text": _body(ENGLISH, agent=False),
        "text, not all ASCII": _body(MIXED, agent=False),
        "tool uses and results": _body(ENGLISH, agent=True),
    }
    with fake_api() as url:
        transport = anthropic.DefaultHttpxClient(trust_env=False)
        client = anthropic.Anthropic(base_url=url, api_key=API_KEY, max_retries=0, http_client=transport)
        sides: dict[str, Callable[[], Any]] = {}
        for name, body in bodies.items():
            sides[f"send {name}"] = partial(client.messages.create, **body)
            sides[f"bound {name}"] = partial(local_bound, body, PROMPT_CHARACTERS**2)
        measured = _in_turns(sides, rounds, step)
        client.close()
    for name in bodies:
        named = {
            call: measured[f"{side} {name}"]
            for call, side in (("messages.create", "send"), ("local_bound", "bound"))
        }
        _add(result, f"400 KB of {name}: ", "messages.create", "local_bound", named)


def _add(
    result: Result, what: str, yardstick: str, mine: str, measured: dict[str, Series], each: int = 1
) -> None:
    """Two rows: the yardstick, and ours with its ratios to it; *each* measurement was of so many calls."""
    bare = measured[yardstick]
    for name in (yardstick, mine):
        series = measured[name]
        wall_s, cpu_s = series.p50_s / each, series.cpu_mean_s / each
        wall, cpu = series.p50_s / bare.p50_s, series.cpu_mean_s / bare.cpu_mean_s
        ratios = ("", "") if name == yardstick else (f"{wall:.1%}", f"{cpu:.1%}")
        result.rows.append((f"{what}`{name}`", _fine(wall_s), _fine(cpu_s), *ratios))
        result.figures |= {
            f"{what}{name}.p50_s": wall_s,
            f"{what}{name}.cpu_mean_s": cpu_s,
            f"{what}{name}.p50_ratio": wall,
            f"{what}{name}.cpu_ratio": cpu,
        }


def _fine(seconds: float) -> str:
    """As `micros`, with a digit more where that would say next to nothing."""
    return f"{seconds * 1e6:.1f} µs" if seconds < _FINE_S else micros(seconds)


def _in_turns(sides: dict[str, Callable[[], Any]], rounds: int, step: Step) -> dict[str, Series]:
    measured = {name: Series() for name in sides}
    for number in range(WARM_UP + rounds):
        for name, work in sides.items():
            if number < WARM_UP:
                work()
            else:
                measured[name].timed(work)
        if number >= WARM_UP:
            step()
    return measured


def _body(phrase: str, *, agent: bool) -> dict[str, Any]:
    """A request of 201 messages and 20 tools; its texts have 400,000 characters, tool inputs included."""
    size = PROMPT_CHARACTERS // MESSAGES
    text = (phrase * (size // len(phrase) + 1))[:size]
    turns = [_agent_turn(number, text) if agent else _text_turn(number, text) for number in range(MESSAGES)]
    return {
        "model": MODEL,
        "max_tokens": 1024,
        "messages": turns,
        "tools": [_tool(number) for number in range(TOOLS)],
    }


def _text_turn(number: int, text: str) -> dict[str, Any]:
    role = "assistant" if number % 2 else "user"
    return {"role": role, "content": [{"type": "text", "text": text}]}


def _agent_turn(number: int, text: str) -> dict[str, Any]:
    """Every answer thinks aloud and writes a file; every question is the result of that."""
    if number == 0:
        return _text_turn(number, text)
    half = len(text) // 2
    if number % 2 == 0:
        result = {"type": "tool_result", "tool_use_id": f"toolu_{number - 1}", "content": text}
        return {"role": "user", "content": [result]}
    use = {
        "type": "tool_use",
        "id": f"toolu_{number}",
        "name": "tool_1",
        "input": {"path": "src/service.py", "overwrite": True, "text": text[half:]},
    }
    return {"role": "assistant", "content": [{"type": "text", "text": text[:half]}, use]}


def _tool(number: int) -> dict[str, Any]:
    """A tool definition of about 1 kB."""
    field = {"type": "string", "description": "What to look for, in plain words.", "enum": ["a", "b", "c"]}
    return {
        "name": f"tool_{number}",
        "description": "Looks up records of the service and returns them as rows of a table. " * 4,
        "input_schema": {
            "type": "object",
            "properties": {f"field_{index}": field for index in range(6)},
            "required": ["field_0"],
        },
    }
