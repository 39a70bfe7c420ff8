"""What a trace says of a governed call: attributes on the SDK's own span, and a span around a whole `call()`.

The names are `governor.*`: for what the conventions for generative AI name, the SDK sets attributes already.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from opentelemetry import context, trace
from opentelemetry.trace import Status, StatusCode

from governor.journal import call as states
from governor.money import NANOS_PER_DOLLAR

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import Span, Tracer

    from governor.journal.call import Call
    from governor.story.effects import Send

SCOPE = "governor"
CALL_SPAN, END_SPAN = "governor.call", "governor.settle"


class Whole:
    """The span around a whole `call()`, of one leg or several; its cost is their sum."""

    __slots__ = ("ceiling_nanos", "cost_nanos", "legs", "span")

    def __init__(self, span: Span) -> None:
        self.span, self.legs, self.cost_nanos, self.ceiling_nanos = span, 0, 0, 0


WHOLE: ContextVar[Whole | None] = ContextVar("WHOLE", default=None)
"""The `call()` under way in this context."""


class Around:
    """A span around a `call()`, the current one within it.

    As a class of its own, and not by `contextmanager`, it costs a call half as much.
    """

    __slots__ = ("_current", "_span", "_tracer", "_whole")

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def __enter__(self) -> None:
        self._span = span = self._tracer.start_span(CALL_SPAN)
        self._current = context.attach(trace.set_span_in_context(span))
        self._whole = WHOLE.set(Whole(span))

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._span.set_status(Status(StatusCode.ERROR, kind.__name__))
            self._span.set_attribute("error.type", kind.__name__)
        WHOLE.reset(self._whole)
        context.detach(self._current)
        self._span.end()


def tell_whole(whole: Whole, call: Call, fullest: float | None) -> None:
    """A leg of the `call()` under way has ended."""
    whole.legs += 1
    whole.cost_nanos += call.cost_nanos
    if (
        call.cost_nanos or call.final
    ):  # as its receipt sums them: what only was tried and was free holds nothing
        whole.ceiling_nanos += call.ceiling_nanos
    if not whole.span.is_recording():
        return
    told = attributes(call, fullest)
    told |= {**_money("cost", whole.cost_nanos), **_money("ceiling", whole.ceiling_nanos)}
    whole.span.set_attributes({**told, "governor.legs": whole.legs})


def tell_sending(span: Span, effect: Send) -> None:
    """A request is about to leave, inside the SDK's own *span*: on which hold, and for how much."""
    offer = effect.offer
    if offer is None or not span.is_recording():
        return
    told: dict[str, Any] = {
        "governor.hold.id": effect.hold,
        "governor.line": offer.candidate.line,
        **_money("ceiling", offer.ceiling.nanos),
    }
    if offer.expected_nanos is not None:
        told |= _money("expected", offer.expected_nanos)
    span.set_attributes(told)


def tell_end(tracer: Tracer | None, span: Span, call: Call, fullest: float | None) -> None:
    """An attempt whose SDK's span is *span* has ended.

    The SDK ends its span when the application closes a stream early, before anything can tell what that cost:
    then a span of its own, under that one, says it.
    """
    if span.is_recording():
        span.set_attributes(attributes(call, fullest))
    elif tracer is not None and span.get_span_context().is_valid:
        within = trace.set_span_in_context(span)
        tracer.start_span(END_SPAN, within, attributes=attributes(call, fullest)).end()


def tell_outcome(span: Span, name: str, said: Mapping[str, Any]) -> None:
    """An outcome is an event of the span that is current; a score is one of the conventions' evaluations."""
    if not span.is_recording():
        return
    about = {
        f"governor.{part}": said[part] for part in ("run", "user", "department", "feature") if part in said
    }
    if "call" in said:
        about["governor.call.id"] = said["call"]
    if said.get("unit") == "score":
        score: dict[str, Any] = {
            "gen_ai.evaluation.name": name,
            "gen_ai.evaluation.score.value": float(said["value"]),
        }
        span.add_event("gen_ai.evaluation.result", {**score, **about})
        return
    worth = {f"governor.outcome.{part}": said[part] for part in ("value", "unit") if part in said}
    span.add_event("governor.outcome", {"governor.outcome.name": name, **worth, **about})


def attributes(call: Call, fullest: float | None) -> dict[str, Any]:
    """What a span says of a call that has ended, or was refused."""
    told: dict[str, Any] = {
        "governor.call.id": call.call_id,
        "governor.hold.id": call.id,
        "governor.state": call.state,
        "governor.decision": call.decision,
        "governor.asked": call.asked,
        "governor.user": call.user,
        "governor.department": call.department,
        **_money("cost", call.cost_nanos),
        **_money("ceiling", call.ceiling_nanos),
        "governor.uncertain": call.uncertain,
    }
    more = {
        "governor.feature": call.feature,
        "governor.run": call.run,
        "governor.tier": call.tier,
        "governor.line": call.line,
        "governor.model": call.model,
        "governor.preferred": call.preferred if call.preferred != call.model else "",
        "governor.reason": call.reason,
    }
    told |= {name: value for name, value in more.items() if value}
    if call.expected_nanos is not None:
        told |= _money("expected", call.expected_nanos)
    if fullest is not None:
        told["governor.budget.utilization"] = fullest
    if call.admitted != "held":
        told["governor.admitted"] = call.admitted
    if call.state == states.BLOCKED and call.error:
        told["error.type"] = call.error
    return told


def _money(name: str, nanos: int) -> dict[str, Any]:
    """An amount under both names: exact, and in dollars for people."""
    return {f"governor.{name}.nanos": nanos, f"governor.{name}.usd": nanos / NANOS_PER_DOLLAR}
