"""Tells calls to whoever listens: a governor's log line, spans and metrics."""

from __future__ import annotations

import logging
from contextlib import nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING

from opentelemetry import trace
from pydantic_core import from_json

from governor.telemetry import lines, spans
from governor.telemetry.metrics import OLDEST_BALANCE_MS, Heard, meters_of, shown
from governor.telemetry.settings import Telemetry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from types import TracebackType

    from opentelemetry.trace import Span, Tracer, TracerProvider

    from governor.journal.call import Call
    from governor.ledger.entering import Enter
    from governor.story.effects import Send
    from governor.story.request import House
    from governor.story.told import Tell
    from governor.telemetry.metrics import Meters

log = logging.getLogger("governor")

_SDK = "com.anthropic"
"""How the name begins of the scope of the SDK's own spans."""


class _Safely:
    """What fails in its block is said once, and goes no further; where it cannot be said, neither."""

    def __init__(self) -> None:
        self._failed = False

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> bool:
        if kind is None or not issubclass(kind, Exception):
            return False
        if not self._failed:
            self._failed = True
            with suppress(Exception):  # a handler of the application's that raises
                log.error(
                    "a call could not be told to logs, traces or metrics; this is said once", exc_info=error
                )
        return True


class _Guarded:
    """A context manager whose own failures go no further than *safely*; what its block raises passes."""

    __slots__ = ("_inner", "_is_open", "_safely")

    def __init__(self, inner: AbstractContextManager[None], safely: _Safely) -> None:
        self._inner, self._safely = inner, safely
        self._is_open = False

    def __enter__(self) -> None:
        with self._safely:
            self._inner.__enter__()
            self._is_open = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._is_open:
            with self._safely:
                self._inner.__exit__(kind, error, where)


class Teller:
    """What a governor tells of its calls, to whom; without listeners, nothing.

    Args:
        house: What every request consults, whose balances the metrics show.
        settings: What the application says; `None`: as usual.
    """

    def __init__(self, house: House, settings: Telemetry | None = None) -> None:
        self._house = house
        self._settings = settings or Telemetry()
        self._provider: TracerProvider | None = None
        self._tracer: Tracer | None = None
        self._safely = _Safely()

    def tell(self, effect: Tell, span: Span | None = None) -> None:
        """Tell how a call ended; *span* is the SDK's own, of a request that went by the middleware.

        What fails in it is logged once, and never reaches the call.
        """
        with self._safely:
            self._tell(effect, span)

    def _tell(self, effect: Tell, span: Span | None) -> None:
        whole, meters = spans.WHOLE.get(), self._meters()
        listens = lines.LOGGER.isEnabledFor(logging.INFO)
        if not listens and meters is None and whole is None and span is None:
            return
        call: Call = effect.row()
        if listens:
            with self._safely:  # each by itself: who fails keeps nothing from the others
                lines.log(call, span)
        if meters is not None:
            with self._safely:
                meters.tell(call, self._settings.labels, effect.waited_s)
        if call.door:  # the items of a batch have no span of their own
            return
        if whole is not None:
            spans.tell_whole(whole, call, effect.fullest())
        elif span is not None:
            spans.tell_end(self.tracer(), span, call, effect.fullest())

    def outcome(self, command: Enter) -> None:
        """Tell the span that an application is in what a call of its own was good for."""
        with self._safely:
            if self.tracer() is not None:
                spans.tell_outcome(trace.get_current_span(), command.outcome, from_json(command.record))

    def around(self) -> AbstractContextManager[None]:
        """Around a whole `call()`: a span, where traces are recorded."""
        tracer = self.tracer()
        return nullcontext() if tracer is None else _Guarded(spans.Around(tracer), self._safely)

    def span(self) -> Span | None:
        """The SDK's own span, inside of its chain; `None` where it has none, or it does not record."""
        if self.tracer() is None:
            return None
        span = trace.get_current_span()
        scope = getattr(span, "instrumentation_scope", None)
        return span if scope is not None and scope.name.startswith(_SDK) else None

    def departing(self, effect: Send) -> Callable[[], None] | None:
        """What tells the SDK's span, once that is current, on which hold a request is sent; or `None`."""
        return None if self.tracer() is None else partial(self._departs, effect)

    def _departs(self, effect: Send) -> None:
        with self._safely:
            span = self.span()
            if span is not None:
                spans.tell_sending(span, effect)

    def tracer(self) -> Tracer | None:
        """The governor's tracer; `None` where no provider records."""
        if not self._settings.spans:
            return None
        with self._safely:
            provider = self._settings.tracer_provider or trace.get_tracer_provider()
            if provider is not self._provider:
                self._provider, self._tracer = provider, None
                idle = isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider)
                self._tracer = None if idle else provider.get_tracer(spans.SCOPE)
        return self._tracer

    def _meters(self) -> Meters | None:
        if not self._settings.metrics:
            return None
        with self._safely:
            meters = meters_of(self._settings.meter_provider)
            if meters is not None and self not in meters.sources:
                meters.sources.add(self)
            return meters
        return None

    def balances(self) -> Iterator[Heard]:
        """What this process last heard of the budgets that metrics show."""
        now_ms = self._house.clock.now_ms()
        for identity, balance, at_ms in self._house.hints.heard():
            if now_ms - at_ms <= OLDEST_BALANCE_MS and shown(identity, self._settings.labels):
                yield Heard(identity, balance, now_ms - at_ms)
