"""What telemetry adds to a governed call: a log line, metrics and span attributes, with OpenTelemetry's SDK.

Governors on the same API and ledger take turns, call by call: without any of it; with each alone; and with
all at once. The SDK's own spans are recorded for every side, for they are there without the governor. CPU
time is this process's, all threads and the kernel's share included; the line goes through a real handler to a
file. A ratio is the median over the turns of one side's calls to the silent one's.
"""

from __future__ import annotations

import logging
import secrets
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import anthropic
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from benchmarks.api_process import API_KEY, fake_api
from benchmarks.calls import text
from benchmarks.scene import POLICIES, WHO
from benchmarks.timing import Options, Result, Series, Step, micros, times
from governor import Governor
from governor.telemetry import JsonLines, Telemetry
from governor.telemetry.lines import LOGGER

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.sdk.trace import ReadableSpan

TURNS, BLOCK, WARM_UP = 150, 10, 3
TARGET = 0.05
_COLUMNS = ("", "p50", "CPU p50", "CPU added", "CPU ratio", "target")
_SILENT, _ALL = "nothing told", "log line, metrics and spans"


class Side(NamedTuple):
    """A governor, whether its calls are logged, and what was measured."""

    name: str
    governor: Governor
    logged: bool
    measured: Series


class _Nowhere(SpanExporter):
    """Takes spans as an exporter does, and keeps none."""

    def export(self, _: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


def steps(options: Options) -> int:
    """How many steps `telemetry` will tell."""
    return options.times(TURNS)


def telemetry(redis_url: str, options: Options, step: Step) -> Result:
    """Every side in turns."""
    tracers = TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(_Nowhere()))
    meters = MeterProvider(metric_readers=[InMemoryMetricReader()])
    wanted = {
        _SILENT: (False, False, False),
        "log line": (True, False, False),
        "metrics": (False, True, False),
        "spans": (False, False, True),
        _ALL: (True, True, True),
    }
    with fake_api() as url, _written():
        transport = anthropic.DefaultHttpxClient(trust_env=False)
        client = anthropic.Anthropic(
            base_url=url,
            api_key=API_KEY,
            max_retries=0,
            http_client=transport,
            open_telemetry={"tracer_provider": tracers},
        )
        sides = []
        for name, (logged, metrics, spans) in wanted.items():
            told = Telemetry(metrics=metrics, spans=spans, tracer_provider=tracers, meter_provider=meters)
            sides.append(Side(name, _governor(redis_url, client, told), logged, Series()))
        for _ in range(WARM_UP):
            _turn(sides, measure=False)
        for _ in range(steps(options)):
            _turn(sides, measure=True)
            step()
        for side in sides:
            side.governor.close()
        client.close()
    tracers.shutdown()
    meters.shutdown()
    return _result(sides)


def _governor(redis_url: str, client: anthropic.Anthropic, told: Telemetry) -> Governor:
    governor = Governor.load(
        POLICIES, ledger=redis_url, client=client, create_ledger=True, reload=False, telemetry=told
    )
    _call(governor)
    return governor


@contextmanager
def _written() -> Iterator[None]:
    """Lines go to a file in memory's place, through the handler and the formatter that an application has."""
    handler = logging.FileHandler("/dev/null", encoding="utf-8")
    handler.setFormatter(JsonLines())
    before = LOGGER.propagate, LOGGER.level
    LOGGER.addHandler(handler)
    LOGGER.propagate = False
    try:
        yield
    finally:
        LOGGER.removeHandler(handler)
        LOGGER.propagate = before[0]
        LOGGER.setLevel(before[1])
        handler.close()


def _turn(sides: list[Side], *, measure: bool) -> None:
    for number in range(BLOCK):
        first = number % len(sides)  # each side is as often behind each other: what one leaves, the next pays
        for side in (*sides[first:], *sides[:first]):
            LOGGER.setLevel(logging.INFO if side.logged else logging.WARNING)
            if measure:
                side.measured.timed(partial(_call, side.governor))
            else:
                _call(side.governor)


def _call(governor: Governor) -> Any:
    """A governed call whose prompt is not counted: the cheapest there is, so what is added shows most."""
    who = {**WHO, "department": "quick", "run": f"run-{secrets.token_hex(4)}"}
    return governor.call(**who, max_tokens=1024, messages=text())


def _blocks(side: Side) -> list[float]:
    series = side.measured
    return [series.cpu_of_block_s(number, BLOCK) for number in range(len(series.cpu_s) // BLOCK)]


def _result(sides: list[Side]) -> Result:
    silent = _blocks(sides[0])
    result = Result(f"Telemetry of a call, with the Redis ledger, n = {len(silent) * BLOCK}", _COLUMNS)
    for side in sides:
        mine = _blocks(side)
        added = median(one - bare for one, bare in zip(mine, silent, strict=True))
        ratio = median(one / bare for one, bare in zip(mine, silent, strict=True))
        target = f"≤ {times(1 + TARGET)}" if side.name == _ALL else ""
        cells = (micros(side.measured.p50_s), micros(median(mine)))
        result.rows.append((side.name, *cells, micros(max(added, 0.0)), times(ratio), target))
        result.figures |= {f"{side.name}.cpu_ratio": ratio, f"{side.name}.added_cpu_s": added}
    return result
