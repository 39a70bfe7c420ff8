"""Metrics of governed calls, through OpenTelemetry's API: for Prometheus or whatever the application has.

Sums are kept as integers, nano-dollars among them, and read when somebody collects: so they are exact, and a
call costs next to nothing. Times and token counts are histograms, under the names of the conventions for
generative AI where these have one.
"""

from __future__ import annotations

import os
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary, WeakSet

from opentelemetry.context import Context
from opentelemetry.metrics import NoOpMeterProvider, Observation, get_meter_provider

from governor.money import NANOS_PER_DOLLAR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from opentelemetry.metrics import CallbackOptions, Histogram, Meter, MeterProvider

    from governor.journal.call import Call
    from governor.ledger.values import Balance

METER = "governor"
MOST_SERIES = 2000
"""As many sets of labels as OpenTelemetry's own SDK keeps of one metric; what is beyond is one series."""

OVERFLOW = (("otel.metric.overflow", True),)
OLDEST_BALANCE_MS = 15 * 60_000
"""A balance that was heard longer ago is not shown: others have spent since."""

_OPEN_SCOPES = ("user", "run")
_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS = tuple(4**power for power in range(14))
"""Bucket boundaries that the conventions for generative AI advise."""

_CHAT = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "anthropic"}

_UNTRACED = Context()
"""Of a call's measurements only its duration leads to its trace, as an exemplar; each one costs CPU time."""

Key = tuple[tuple[str, Any], ...]


class Sums:
    """What the calls of one set of labels come to."""

    __slots__ = ("calls", "nanos", "tokens")

    def __init__(self) -> None:
        self.calls, self.nanos = 0, 0
        self.tokens = [0, 0, 0, 0]


TOKEN_TYPES = ("input", "cache_write", "cache_read", "output")


class Heard(NamedTuple):
    """A balance as the process last heard of it: its identity, itself, and how long ago, milliseconds."""

    identity: str
    balance: Balance
    age_ms: int


Balances = Any
"""A callable that answers `Heard`s; held weakly, by its governor's teller."""


class Meters:
    """The instruments of one meter provider, for every governor of the process that tells it."""

    def __init__(self, provider: MeterProvider) -> None:
        self._renew()
        self.sources: WeakSet[Any] = WeakSet()
        meter = provider.get_meter(METER)
        self._duration = _times(
            meter, "gen_ai.client.operation.duration", "From sending to the end of the answer."
        )
        self._first = _times(
            meter,
            "gen_ai.client.operation.time_to_first_chunk",
            "From sending to the first event of the answer.",
        )
        self._usage = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Input (with what the cache gave or took) and output tokens of a call.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self._wait = _times(
            meter,
            "governor.holds.wait",
            "How long a call waited for the holds of others, of those that waited.",
        )
        counters: tuple[tuple[str, str, str, Callable[[], Iterable[Observation]]], ...] = (
            ("governor.calls", "{call}", "Calls that ended or were refused.", self._calls),
            ("governor.cost", "USD", "What was charged.", self._cost),
            ("governor.tokens", "{token}", "Tokens that were charged.", self._tokens),
            ("governor.pushbacks", "{response}", "How often the API pushed back.", self._pushbacks),
        )
        for name, unit, about, read in counters:
            meter.create_observable_counter(name, [_callback(read)], unit, about)
        gauges: tuple[tuple[str, str, str, Callable[[Balance], float]], ...] = (
            ("utilization", "1", "How full a usd budget is, spent and held; 1 is full.", _utilization),
            ("posted", "USD", "What is spent of it.", lambda one: one.posted / NANOS_PER_DOLLAR),
            ("held", "USD", "What open holds promise of it.", lambda one: one.held / NANOS_PER_DOLLAR),
            ("limit", "USD", "Its limit.", lambda one: one.limit / NANOS_PER_DOLLAR),
        )
        for name, unit, about, value in gauges:
            meter.create_observable_gauge(f"governor.budget.{name}", [self._budgets(value)], unit, about)

    def _renew(self) -> None:
        """Begin anew, as a forked child does: what was counted is its parent's to tell."""
        self._lock = threading.Lock()
        self._sums: dict[Key, Sums] = {}
        self._pushed: dict[tuple[str, int], int] = defaultdict(int)

    def tell(self, call: Call, labels: tuple[str, ...], waited_s: float) -> None:
        """A call, or a leg of it, has ended or was refused."""
        key = _key(call, labels)
        with self._lock:
            sums = self._sums.get(key) or self._new(key)
            sums.calls += call.final
            sums.nanos += call.cost_nanos
            if call.prompt_tokens or call.output_tokens:
                counts = (call.input_tokens, call.cache_write_tokens, call.cache_read_tokens)
                for index, count in enumerate((*counts, call.output_tokens)):
                    sums.tokens[index] += count
            for status, count in ((429, call.pushed_429), (529, call.pushed_529)):
                if count:
                    self._pushed[call.model, status] += count
        if waited_s:
            self._wait.record(waited_s, {"governor.department": call.department})
        if call.latency_ms is not None and call.attempts:
            self._sent(call)

    def _sent(self, call: Call) -> None:
        told = {**_CHAT, "gen_ai.request.model": call.asked, "gen_ai.response.model": call.model}
        if call.failed:
            status = str(call.status) if call.status >= 400 else ""
            error = {"error.type": call.error or status or call.state}
        else:
            error = {}
        self._duration.record((call.latency_ms or 0) / 1000, {**told, **error})
        if call.first_token_ms is not None:
            self._first.record(call.first_token_ms / 1000, told, _UNTRACED)
        if call.prompt_tokens or call.output_tokens:
            self._usage.record(call.prompt_tokens, {**told, "gen_ai.token.type": "input"}, _UNTRACED)
            self._usage.record(call.output_tokens, {**told, "gen_ai.token.type": "output"}, _UNTRACED)

    def _new(self, key: Key) -> Sums:
        if len(self._sums) >= MOST_SERIES:
            key = OVERFLOW
        return self._sums.setdefault(key, Sums())

    def _now(self) -> list[tuple[dict[str, Any], Sums]]:
        with self._lock:
            return [(dict(key), sums) for key, sums in self._sums.items()]

    def _calls(self) -> Iterator[Observation]:
        return (Observation(sums.calls, told) for told, sums in self._now() if sums.calls)

    def _cost(self) -> Iterator[Observation]:
        return (Observation(sums.nanos / NANOS_PER_DOLLAR, told) for told, sums in self._now())

    def _tokens(self) -> Iterator[Observation]:
        for told, sums in self._now():
            for kind, count in zip(TOKEN_TYPES, sums.tokens, strict=True):
                if count:
                    yield Observation(count, {**told, "governor.token.type": kind})

    def _pushbacks(self) -> Iterator[Observation]:
        with self._lock:
            pushed = dict(self._pushed)
        for (model, status), count in pushed.items():
            yield Observation(count, {"governor.model": model, "http.response.status_code": status})

    def _budgets(self, value: Callable[[Balance], float]) -> Any:
        def read() -> Iterator[Observation]:
            newest: dict[str, Heard] = {}
            for source in list(self.sources):
                for heard in source.balances():
                    known = newest.get(heard.identity)
                    if known is None or heard.age_ms < known.age_ms:
                        newest[heard.identity] = heard
            for one in newest.values():
                yield Observation(value(one.balance), {"governor.budget": one.identity})

        return _callback(read)


def _times(meter: Meter, name: str, about: str) -> Histogram:
    return meter.create_histogram(
        name, unit="s", description=about, explicit_bucket_boundaries_advisory=_SECONDS
    )


def shown(identity: str, labels: tuple[str, ...]) -> bool:
    """Whether metrics show a budget: one of usd, and of no user, run or tag unless these are labels."""
    *scopes, unit, _ = identity.split("/")
    names = [part.partition("=")[0] for part in scopes]
    wide = [name for name in names if name in _OPEN_SCOPES or name.startswith("tag.")]
    return unit == "usd" and all(name.replace("tag.", "tag:") in labels for name in wide)


def _key(call: Call, labels: tuple[str, ...]) -> Key:
    """The labels of a call's sums."""
    usual = (
        ("governor.department", call.department),
        ("governor.feature", call.feature),
        ("governor.model", call.model),
        ("governor.line", call.line),
        ("governor.decision", call.decision),
        ("governor.state", call.state),
        ("governor.reason", call.reason),
        ("governor.door", call.door),
    )
    if not labels:
        return usual
    tags: Mapping[str, str] = dict(call.tags)
    return (
        *usual,
        *(
            (f"governor.{name.replace(':', '.')}", tags.get(name[4:], ""))
            if name.startswith("tag:")
            else (f"governor.{name}", getattr(call, name))
            for name in labels
        ),
    )


def _utilization(balance: Balance) -> float:
    return (balance.posted + balance.held) / balance.limit if balance.limit > 0 else 1.0


def _callback(read: Callable[[], Iterable[Observation]]) -> Any:
    """As OpenTelemetry calls it, for every collection."""

    def observe(_: CallbackOptions) -> Iterable[Observation]:
        return list(read())

    return observe


_BY_PROVIDER: WeakKeyDictionary[MeterProvider, Meters] = WeakKeyDictionary()
_LOCK = [threading.Lock()]


def meters_of(provider: MeterProvider | None) -> Meters | None:
    """The instruments of *provider*, else of the one registered; `None` where there is none that records."""
    provider = provider or get_meter_provider()
    found = _BY_PROVIDER.get(provider)
    if found is not None:
        return found
    # What stands in for a provider until one is registered has no public name.
    if isinstance(provider, NoOpMeterProvider) or type(provider).__name__ == "_ProxyMeterProvider":
        return None
    with _LOCK[0]:
        if provider not in _BY_PROVIDER:
            _BY_PROVIDER[provider] = Meters(provider)
        return _BY_PROVIDER[provider]


def _after_fork() -> None:
    _LOCK[0] = threading.Lock()
    for meters in _BY_PROVIDER.values():
        meters._renew()  # noqa: SLF001 - the same module


os.register_at_fork(after_in_child=_after_fork)
