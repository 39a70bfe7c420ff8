"""What OpenTelemetry is told of governed calls, with its own SDK and the real spans of Anthropic's."""

from __future__ import annotations

from collections import defaultdict

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from support.doors import BY_NAME, Doorway, Leave, Visit
from support.endings import BUDGETS, USD, policy
from support.governed import SONNET, department
from support.pauses import pauses
from support.stages import on_sqlite, once

from governor import BudgetExceeded, PolicyViolation
from governor.telemetry import Telemetry
from governor.testing import Reply, overloaded

TEXT = Reply(text="It is what it is. " * 20)
SLOW = Reply(text="It is what it is. " * 20, event_delay_ms=25)


class Listener:
    """Providers of OpenTelemetry's own SDK, and what they were told."""

    def __init__(self) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meter_provider = MeterProvider(metric_readers=[self.reader])

    def telemetry(self, **more):
        return Telemetry(tracer_provider=self.tracer_provider, meter_provider=self.meter_provider, **more)

    def traced(self, stage):
        """A client of the stage's API whose SDK's spans come here."""
        make = stage.api.async_client if stage.is_async else stage.api.client
        return make(open_telemetry={"tracer_provider": self.tracer_provider})

    def spans(self, name=None):
        return [one for one in self.exporter.get_finished_spans() if name in (None, one.name)]

    def metrics(self):
        """The data points of each metric by its name."""
        data, found = self.reader.get_metrics_data(), defaultdict(list)
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    found[metric.name] += metric.data.data_points
        return found


@pytest.fixture
def listener():
    made = Listener()
    yield made
    made.meter_provider.shutdown()
    made.tracer_provider.shutdown()


@on_sqlite
def test_a_call_has_a_span_with_the_sdks_own_inside(stage, listener):
    """The span of a whole `call()` says what it cost; those of its attempts, on which hold they were sent."""
    stage.api.inject(overloaded())
    client = listener.traced(stage)
    caller = stage.governor(policy(), client=client, telemetry=listener.telemetry())
    if stage.is_async:
        caller._client = client  # it is closed with the caller, on its loop
    pauses(caller)
    receipt = caller.call(model="opus", run="r-1").receipt
    (whole,) = listener.spans("governor.call")
    told = whole.attributes
    assert (told["governor.cost.nanos"], told["governor.cost.usd"]) == (
        receipt.cost.nanos,
        receipt.cost.nanos / 1e9,
    )
    assert told["governor.ceiling.nanos"] == receipt.ceiling.nanos
    assert (told["governor.decision"], told["governor.line"], told["governor.legs"]) == ("moved", "sonnet", 2)
    assert (told["governor.tier"], told["governor.uncertain"]) == ("standard", False)
    assert 0 < told["governor.budget.utilization"] < 1
    sent = listener.spans("anthropic.messages.create")
    assert {one.parent.span_id for one in sent} == {whole.context.span_id}
    assert [one.attributes["governor.hold.id"] for one in sent] == [
        receipt.request_id,
        f"{receipt.request_id}~2",
    ]
    assert all(one.attributes["governor.ceiling.nanos"] > 0 for one in sent)


@on_sqlite
@pytest.mark.parametrize("name", ["create", "raw-stream", "stream"])
def test_the_middleware_tells_the_sdks_own_span(stage, listener, name):
    """An answer that is read to its end has its costs on the SDK's span, and no other span."""
    stage.api.replies(TEXT)
    caller = stage.governor(policy(), telemetry=listener.telemetry())
    doorway = Doorway(stage, caller, open_telemetry={"tracer_provider": listener.tracer_provider})
    doorway.go(BY_NAME[name])
    (span,) = listener.spans()
    assert span.name == "anthropic.messages.create" or span.name.startswith("anthropic.messages")
    assert span.attributes["governor.cost.nanos"] == stage.posted(USD) > 0
    assert span.attributes["governor.ceiling.nanos"] > stage.posted(USD)
    assert span.attributes["governor.decision"] == "served"
    assert span.attributes["gen_ai.usage.output_tokens"] > 0


@on_sqlite
def test_a_stream_that_is_left_has_its_cost_in_a_span_under_the_sdks(stage, listener):
    """The SDK ends its span before that is known, so another one, under it, says it."""
    stage.api.replies(SLOW)
    caller = stage.governor(policy(), telemetry=listener.telemetry())
    doorway = Doorway(stage, caller, open_telemetry={"tracer_provider": listener.tracer_provider})
    doorway.go(BY_NAME["raw-stream"], Visit(Leave.CLOSE))
    (sdks,), (settled,) = listener.spans("anthropic.messages.create"), listener.spans("governor.settle")
    assert settled.parent.span_id == sdks.context.span_id
    assert sdks.attributes["governor.ceiling.nanos"] > 0
    assert settled.attributes["governor.cost.nanos"] == stage.posted(USD) > 0
    assert settled.attributes["governor.uncertain"]


@on_sqlite
def test_a_refusal_is_an_error_of_its_span(stage, listener):
    """A budget's refusal, and the policy's, are told where the call was made."""
    caller = stage.governor(department({"per": "department", "usd": 1, "window": "life"}, features={"a": {}}),
                            telemetry=listener.telemetry())  # fmt: skip
    stage.spend(USD, 1_000_000_000, 1_000_000_000)
    with pytest.raises(BudgetExceeded):
        caller.call(feature="a")
    with pytest.raises(PolicyViolation):
        caller.call(feature="b")
    spent, forbidden = (one.attributes for one in listener.spans("governor.call"))
    assert (spent["governor.state"], spent["governor.reason"]) == ("blocked", "exhausted")
    assert (spent["error.type"], spent["governor.budget.utilization"]) == ("BudgetExceeded", 1.0)
    assert (forbidden["governor.reason"], forbidden["error.type"]) == ("policy", "PolicyViolation")


@on_sqlite
def test_metrics_agree_with_the_ledger(stage, listener):
    """Calls, cost, tokens and balances are those of the ledger, under the names of the conventions."""
    stage.api.inject(overloaded())
    caller = stage.governor(policy(), telemetry=listener.telemetry())
    pauses(caller)
    caller.call(model="opus", feature="chat")
    caller.call(model="sonnet", feature="chat")
    stage.api.replies(TEXT)
    found = listener.metrics()
    posted, tokens = stage.posted(USD), stage.posted("department=team/tokens/life")
    assert sum(one.value for one in found["governor.cost"]) == pytest.approx(posted / 1e9, abs=1e-12)
    assert sum(one.value for one in found["governor.calls"]) == 2
    assert sum(one.value for one in found["governor.tokens"]) == tokens
    assert sum(one.sum for one in found["gen_ai.client.token.usage"]) == tokens
    assert {one.attributes["gen_ai.token.type"] for one in found["gen_ai.client.token.usage"]} == {
        "input",
        "output",
    }
    assert sum(one.count for one in found["gen_ai.client.operation.duration"]) == 3
    assert [one.attributes.get("error.type") for one in found["gen_ai.client.operation.duration"]].count(
        None
    ) == 2
    assert sum(one.count for one in found["gen_ai.client.operation.time_to_first_chunk"]) == 2
    (pushed,) = found["governor.pushbacks"]
    assert (pushed.value, pushed.attributes["http.response.status_code"]) == (1, 529)
    balances = {one.attributes["governor.budget"]: one.value for one in found["governor.budget.posted"]}
    assert balances == {USD: posted / 1e9}
    (full,) = found["governor.budget.utilization"]
    assert full.value == pytest.approx(posted / 100e9)


@once
def test_users_and_runs_are_no_labels_unless_asked_for(stage, listener):
    """By default no series is a user's or a run's; where they are asked for, they are, budgets included."""
    per_user = {"per": "user", "usd": 5, "window": "life"}
    team = department(*BUDGETS, per_user)
    usual = stage.governor(team, telemetry=listener.telemetry())
    usual.call(run="r-1", tags={"project": "atlas"})
    seen = str(listener.metrics())
    assert "r-1" not in seen
    assert "user" not in seen
    asked = stage.governor(team, telemetry=listener.telemetry(labels=("user", "tag:project")))
    asked.call(run="r-1", tags={"project": "atlas"})
    found = listener.metrics()
    told = [dict(one.attributes) for one in found["governor.calls"]]
    assert {(one.get("governor.user"), one.get("governor.tag.project")) for one in told} == {
        (None, None),
        ("u", "atlas"),
    }
    assert "department=team/user=u/usd/life" in str(found["governor.budget.posted"])
    assert "r-1" not in str(found)


def test_a_label_that_is_none_is_refused(monkeypatch):
    """By the argument or by the environment, the error names it and says what there is."""
    with pytest.raises(PolicyViolation, match=r"'prompt' is no label .* use user, run"):
        Telemetry(labels=("prompt",))
    monkeypatch.setenv("GOVERNOR_METRIC_LABELS", "user, colour")
    with pytest.raises(PolicyViolation, match="'colour' is no label"):
        Telemetry()


@once
def test_more_series_than_there_is_room_for_are_one(stage, listener, monkeypatch):
    """However many runs are labels, the process keeps a bounded number of sums, and loses nothing of them."""
    monkeypatch.setattr("governor.telemetry.metrics.MOST_SERIES", 3)
    caller = stage.governor(policy(), telemetry=listener.telemetry(labels=("run",)))
    for number in range(8):
        caller.call(run=f"r-{number}")
    points = listener.metrics()["governor.calls"]
    assert len(points) == 4
    assert sum(one.value for one in points) == 8
    assert [one.value for one in points if one.attributes.get("otel.metric.overflow")] == [5]


@once
def test_what_is_turned_off_is_not_told(stage, listener):
    """`Telemetry(spans=False, metrics=False)` leaves the registered providers alone."""
    caller = stage.governor(policy(), telemetry=listener.telemetry(spans=False, metrics=False))
    assert caller.call().model == SONNET
    assert listener.spans() == []
    assert not listener.metrics()


@once
def test_an_outcome_is_an_event_of_the_span_it_is_said_in(stage, listener):
    """A score is an evaluation by the conventions' names; what is worth money keeps it as exact text."""
    caller = stage.governor(policy(), telemetry=listener.telemetry())
    with listener.tracer_provider.get_tracer("app").start_as_current_span("answering"):
        receipt = caller.call(run="r-1").receipt
        caller.governor.outcome("quality", value=0.9, unit="score", call=receipt.request_id)
        caller.governor.outcome("ticket_resolved", value="12.50", run="r-1")
    (span,) = listener.spans("answering")
    score, resolved = span.events
    assert score.name == "gen_ai.evaluation.result"
    assert dict(score.attributes) == {
        "gen_ai.evaluation.name": "quality",
        "gen_ai.evaluation.score.value": 0.9,
        "governor.call.id": receipt.request_id,
    }
    assert resolved.name == "governor.outcome"
    assert resolved.attributes["governor.outcome.value"] == "12.50"
    assert resolved.attributes["governor.run"] == "r-1"
