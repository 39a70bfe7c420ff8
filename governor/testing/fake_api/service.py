"""The endpoints: what happens to a request from its key to its bill."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from governor.testing.fake_api import validate
from governor.testing.fake_api.batch_endpoints import BatchEndpoints, BatchWorker, tallied
from governor.testing.fake_api.batch_script import BatchScript
from governor.testing.fake_api.batches import Batches
from governor.testing.fake_api.bill import Bill
from governor.testing.fake_api.call import Call, break_before_head, status_of
from governor.testing.fake_api.catalogue import shipped_catalogue
from governor.testing.fake_api.delivery import Delivery
from governor.testing.fake_api.errors import ApiError
from governor.testing.fake_api.faults import FaultKind
from governor.testing.fake_api.limits import CountMeter, Meter, RateLimits
from governor.testing.fake_api.message_threads import MessageThreads, Turn
from governor.testing.fake_api.script import Script
from governor.testing.fake_api.serving import Order, Serving
from governor.testing.fake_api.tokens import count_tokens
from governor.testing.fake_api.traffic import Overload, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from governor.testing.fake_api.connection import Connection, Incoming
    from governor.testing.fake_api.rates import ServedModel

COUNT_PATH = "/v1/messages/count_tokens"


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request as it arrived.

    Attributes:
        method: `POST`, `GET` and so on.
        path: Without the query, for example `/v1/messages`.
        headers: By lower-case name.
        body: The parsed JSON; an empty dictionary where it was none.
        at: When it had arrived whole, in UTC.
        attempt: How often the SDK had tried this call before: 0 for the first attempt.
        request_id: The `request-id` of its answer.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: datetime
    attempt: int
    request_id: str


@dataclass(frozen=True, slots=True)
class Settings:
    """How a fake API behaves; see `FakeClaude` for the meaning of each."""

    api_key: str
    seed: int
    latency_ms: int
    count_drift: float
    tokens_per_delta: int
    rate_limits: RateLimits
    model_rate_limits: Mapping[str, RateLimits]
    overload_share_bp: int
    count_requests_per_minute: int | None
    workspace_geo: str
    vertex_endpoint: str
    retired: frozenset[str]
    batches: str
    compress: str | None
    now_ms: Callable[[], int]


class Service:
    """The Messages API: script, limits, bill and the record of requests."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.catalogue = shipped_catalogue(settings.vertex_endpoint, settings.retired)
        self.bill = Bill()
        self.serving = Serving(
            self.catalogue, self.bill, settings.seed, settings.count_drift, settings.workspace_geo
        )
        self.threads = MessageThreads(settings.now_ms)
        self.tally = Tally()
        self._lock = threading.Lock()
        self._requests: list[ReceivedRequest] = []
        self._numbered = 0
        self._endpoints = {"/v1/messages": self._messages, COUNT_PATH: self._count}
        self.reset()

    def reset(self) -> None:
        """Forget script, bill, requests and used limits."""
        self.script = Script()
        self.batch_script = BatchScript()
        self.batches = self._new_batches()
        self._batch_endpoints = BatchEndpoints(self.batches, self.batch_script)
        self.threads.clear()
        self._meter = Meter(self.settings.rate_limits)
        self._model_meters = self._meters()
        self._overload = Overload(self.settings.overload_share_bp, self.settings.seed)
        self._count_meter = CountMeter(self.settings.count_requests_per_minute)
        self.bill.clear()
        self.tally.clear()
        with self._lock:
            self._requests.clear()

    def _new_batches(self) -> Batches:
        worker = BatchWorker(self.serving, self.batch_script, self.script.default)
        at_once = self.settings.batches == "at_once"
        return Batches(self.settings.seed, at_once, self.batch_script, worker.work, self.settings.now_ms)

    def _meters(self) -> dict[str, Meter]:
        meters: dict[str, Meter] = {}
        for name, limits in self.settings.model_rate_limits.items():
            model = self.catalogue.find(name)
            if model is None or model.id in meters:
                raise ValueError(f"model_rate_limits names {name!r}: give each model the API serves once")
            meters[model.id] = Meter(limits)
        return meters

    def _meter_of(self, model: ServedModel) -> Meter:
        return self._model_meters.get(model.id, self._meter)

    def requests(self) -> list[ReceivedRequest]:
        """A copy of every request received, in the order of arrival."""
        with self._lock:
            return list(self._requests)

    async def handle(self, connection: Connection, request: Incoming) -> None:
        """Answer one request."""
        call = self._record(connection, request)
        try:
            validate.check_key(request.headers, self.settings.api_key)
            endpoint = self._endpoint(request)
            if not self.settings.latency_ms or await connection.pause(self.settings.latency_ms / 1000):
                await endpoint(call)
        except ApiError as error:
            call.refuse(error)
        except Exception as error:  # noqa: BLE001 - a test's own reply may be at fault; its client must hear of it
            message = f"The fake API could not answer: {type(error).__name__}: {error}"
            call.refuse(ApiError(500, message, headers={"x-should-retry": "false"}))

    def _endpoint(self, request: Incoming) -> Callable[[Call], Coroutine[Any, Any, None]]:
        endpoint = self._batch_endpoints.find(request.method, request.path)
        if request.method == "POST":
            endpoint = self._endpoints.get(request.path, endpoint)
        if endpoint is None:
            raise ApiError(404, f"The fake API has no {request.method} {request.path}")
        return endpoint

    def _record(self, connection: Connection, request: Incoming) -> Call:
        at_ms = self.settings.now_ms()
        try:
            body = json.loads(request.body)
        except ValueError:
            body = None
        body = body if isinstance(body, dict) else None
        attempt = request.headers.get("x-stainless-retry-count", "")
        self.tally.arrived(tallied(request.path), (body or {}).get("model"))
        connection.on_head = self.tally.answered
        connection.gzip = self.settings.compress == "gzip" and request.takes_gzip
        with self._lock:
            self._numbered += 1
            request_id = f"req_{self.settings.seed:04x}{self._numbered:012d}"
            self._requests.append(
                ReceivedRequest(
                    method=request.method,
                    path=request.path,
                    headers=request.headers,
                    body=body or {},
                    at=datetime.fromtimestamp(at_ms / 1000, UTC),
                    attempt=int(attempt) if attempt.isdecimal() else 0,
                    request_id=request_id,
                )
            )
        return Call(connection, request, body, request_id, at_ms)

    async def _count(self, call: Call) -> None:
        body = call.json()
        model = validate.check_count(body, self.catalogue, call.at_ms)
        self._count_meter.admit(call.at_ms)
        fault = self.script.take_count_fault()
        if fault is not None:
            await break_before_head(call, fault)
            return
        count = {"input_tokens": count_tokens(body, model.tokenizer)}
        headers = {"content-type": "application/json", "request-id": call.request_id}
        call.connection.respond(200, headers, json.dumps(count).encode())

    async def _messages(self, call: Call) -> None:
        with self.threads.turn(call.json(), call.request.headers) as turn:
            await self._answer(call, turn)

    async def _answer(self, call: Call, turn: Turn) -> None:
        model = validate.check_message(turn.body, self.catalogue, call.at_ms)
        if self._overload.strikes():
            self.tally.overloaded()
            raise ApiError(529, "Overloaded")
        counted = count_tokens(turn.body, model.tokenizer)
        validate.check_context(counted, model)
        meter = self._meter_of(model)
        limits = meter.admit(counted, call.at_ms)
        reply, fault = self.script.take(turn.body)
        if fault is not None and fault.kind is FaultKind.STATUS:
            raise status_of(fault, limits)
        order = Order(
            body=turn.body,
            sent=call.request.body,
            request_id=call.request_id,
            at_ms=call.at_ms,
            tag=call.request.headers.get("x-fake-tag"),
            on_whole=turn.answered,
        )
        answer = self.serving.serve(order, reply, counted, model.context_tokens)
        account = self.serving.account(order, answer)
        account.price(answer.usage, answer.stop_reason)
        if fault is not None and fault.kind in (FaultKind.HANG, FaultKind.CUT):
            if fault.billed:
                account.charge(answer.usage, complete=True, stop_reason=answer.stop_reason)
            await break_before_head(call, fault)
            return
        headers = {"request-id": call.request_id, **limits}
        width = reply.tokens_per_delta or self.settings.tokens_per_delta
        await Delivery(call.connection, answer, account, reply, fault, headers, width).send()
        meter.served(answer.usage["output_tokens"], call.at_ms)
