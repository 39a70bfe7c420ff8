"""The endpoints: what happens to a request from its key to its bill."""

from __future__ import annotations

import json
import threading
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from governor.testing.fake_api import clouds, validate
from governor.testing.fake_api.answers import Answer, compose
from governor.testing.fake_api.bill import Account, Bill
from governor.testing.fake_api.catalogue import Catalogue, shipped_catalogue
from governor.testing.fake_api.delivery import Delivery
from governor.testing.fake_api.errors import ApiError
from governor.testing.fake_api.faults import Fault, FaultKind
from governor.testing.fake_api.limits import CountMeter, Meter, RateLimits
from governor.testing.fake_api.rates import Mode
from governor.testing.fake_api.script import Script
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
        path: The endpoint of the Messages API, without the query, for example `/v1/messages`.
        headers: By lower-case name.
        body: The parsed JSON, as the Messages API has it whichever cloud's client sent it; an empty
            dictionary where it was none.
        at: When it had arrived whole, in UTC.
        attempt: How often the SDK had tried this call before: 0 for the first attempt.
        request_id: The `request-id` of its answer.
        sent_to: The path as it arrived; a cloud's clients have others than *path*.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: datetime
    attempt: int
    request_id: str
    sent_to: str


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
    now_ms: Callable[[], int]


@dataclass(frozen=True, slots=True)
class _Call:
    """One request on its way through the service."""

    connection: Connection
    request: Incoming
    body: dict[str, Any] | None
    request_id: str
    at_ms: int
    visit: clouds.Visit

    def refuse(self, error: ApiError) -> None:
        """Answer with *error*; where an answer has begun, cut it."""
        if self.connection.head_sent:
            self.connection.cut()
            return
        self.connection.respond(*self.visit.refusal(error, self.request_id))

    def json(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises:
            ApiError: 413 or 400.
        """
        if self.request.too_large:
            raise ApiError(413, "Request exceeds the maximum size")
        if self.body is None:
            raise ApiError(400, "The request body is not a valid JSON object")
        return self.body


class Service:
    """The Messages API: script, limits, bill and the record of requests."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.catalogue = shipped_catalogue(settings.vertex_endpoint, settings.retired)
        self.bill = Bill()
        self.tally = Tally()
        self._lock = threading.Lock()
        self._requests: list[ReceivedRequest] = []
        self._numbered = 0
        self._endpoints = {"/v1/messages": self._messages, COUNT_PATH: self._count}
        self.reset()

    def reset(self) -> None:
        """Forget script, bill, requests and used limits."""
        self.script = Script()
        self._meter = Meter(self.settings.rate_limits)
        self._model_meters = self._meters()
        self._overload = Overload(self.settings.overload_share_bp, self.settings.seed)
        self._count_meter = CountMeter(self.settings.count_requests_per_minute)
        self.bill.clear()
        self.tally.clear()
        with self._lock:
            self._requests.clear()

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
        visit = clouds.visit(request)
        request, connection.form = visit.request, visit
        call = self._record(connection, visit)
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

    def _endpoint(self, request: Incoming) -> Callable[[_Call], Coroutine[Any, Any, None]]:
        endpoint = self._endpoints.get(request.path) if request.method == "POST" else None
        if endpoint is None:
            raise ApiError(404, f"The fake API has no {request.method} {request.path}")
        return endpoint

    def _record(self, connection: Connection, visit: clouds.Visit) -> _Call:
        request = visit.request
        at_ms = self.settings.now_ms()
        try:
            body = json.loads(request.body)
        except ValueError:
            body = None
        body = body if isinstance(body, dict) else None
        attempt = request.headers.get("x-stainless-retry-count", "")
        self.tally.arrived(request.path, (body or {}).get("model"))
        connection.on_head = self.tally.answered
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
                    sent_to=visit.sent_to,
                )
            )
        return _Call(connection, request, body, request_id, at_ms, visit)

    def _catalogue(self, call: _Call) -> Catalogue:
        endpoint = call.visit.vertex_endpoint or self.settings.vertex_endpoint
        return shipped_catalogue(endpoint, self.settings.retired)

    def _cloud(self, call: _Call) -> str | None:
        """The cloud's endpoint that serves a request, `None` for Anthropic's own API."""
        return self._catalogue(call).endpoint(call.json()["model"]) or call.visit.vertex_endpoint

    async def _count(self, call: _Call) -> None:
        body = call.json()
        model = validate.check_count(body, self._catalogue(call), call.at_ms)
        self._count_meter.admit(call.at_ms)
        fault = self.script.take_count_fault()
        if fault is not None:
            await _break_before_head(call, fault)
            return
        count = {"input_tokens": count_tokens(body, model.tokenizer)}
        headers = {"content-type": "application/json", "request-id": call.request_id}
        call.connection.respond(200, headers, json.dumps(count).encode())

    async def _messages(self, call: _Call) -> None:
        body = call.json()
        call.visit.check_name(body.get("model"))
        model = validate.check_message(body, self._catalogue(call), call.at_ms)
        if self._overload.strikes():
            self.tally.overloaded()
            raise ApiError(529, "Overloaded")
        counted = count_tokens(body, model.tokenizer)
        validate.check_context(counted, model)
        meter = self._meter_of(model)
        limits = meter.admit(counted, call.at_ms)
        reply, fault = self.script.take(body)
        reply = call.visit.answered_as(reply, model.id)
        if fault is not None and fault.kind is FaultKind.STATUS:
            raise _status(fault, limits)
        answer = compose(
            reply,
            body,
            f"msg_{call.request_id[4:]}",
            input_tokens=counted + self._drift(call.request, counted),
            context_tokens=model.context_tokens,
            inference_geo=self._geography(reply.model or body["model"], call),
        )
        account = self._account(call, answer)
        account.price(answer.usage, answer.stop_reason)
        if fault is not None and fault.kind in (FaultKind.HANG, FaultKind.CUT):
            if fault.billed:
                account.charge(answer.usage, complete=True, stop_reason=answer.stop_reason)
            await _break_before_head(call, fault)
            return
        headers = {"request-id": call.request_id, **limits}
        width = self.settings.tokens_per_delta
        await Delivery(call.connection, answer, account, reply, fault, headers, width).send()
        meter.served(answer.usage["output_tokens"], call.at_ms)

    def _geography(self, name: str, call: _Call) -> str:
        """Where the model of that name serves a request.

        The workspace's default stands in for an `inference_geo` that the request does not give (documented).
        `not_available` where there is no choice: of models before 4.6 (documented), on a cloud (assumed).
        """
        model, body = self.catalogue.find(name), call.json()
        if model is None or self.catalogue.endpoint(name) or self._cloud(call):
            return "not_available"
        if not model.prices(Mode(us=True), call.at_ms):
            return "not_available"
        return body.get("inference_geo") or self.settings.workspace_geo

    def _account(self, call: _Call, answer: Answer) -> Account:
        return Account(
            bill=self.bill,
            catalogue=self._catalogue(call),
            request_id=call.request_id,
            model=answer.model,
            streamed=bool(call.json().get("stream")),
            at_ms=call.at_ms,
            tag=call.request.headers.get("x-fake-tag"),
            endpoint=self._cloud(call),
        )

    def _drift(self, request: Incoming, counted: int) -> int:
        """Input tokens billed beyond the count: the same request always drifts by the same share."""
        ceiling = int(counted * self.settings.count_drift)
        if not ceiling:
            return 0
        return zlib.crc32(request.body, self.settings.seed) % (ceiling + 1)


def _status(fault: Fault, headers: dict[str, str]) -> ApiError:
    headers = dict(headers)
    if fault.retry_after is not None:
        headers["retry-after"] = f"{fault.retry_after:g}"
    message = fault.message or f"Injected {fault.type}"
    return ApiError(fault.status, message, type=fault.type, error_code=fault.error_code, headers=headers)


async def _break_before_head(call: _Call, fault: Fault) -> None:
    """Answer with a status, hang, or cut; a fault of streams has no meaning here and cuts too."""
    if fault.kind is FaultKind.STATUS:
        raise _status(fault, {})
    if fault.kind is FaultKind.HANG:
        await call.connection.pause(None)
    call.connection.cut()
