"""From a request in the SDK's chain to one of the governor's, and back to the SDK's."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
from anthropic import APIRequest, NotGiven
from anthropic.types import MessageTokensCount
from anthropic.types.messages import MessageBatch

from governor.clients.attribution import attribution_of, current, stripped
from governor.clients.counting import COUNT_TIMEOUT_S
from governor.clients.request import check_request, pairs_of
from governor.clients.streaming import silence
from governor.errors import PolicyViolation
from governor.findings import read_findings
from governor.ids import new_id
from governor.policy import Attribution
from governor.story.legs import leg_id
from governor.story.request import Door, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from governor.clients.attempts import Attempts
    from governor.clients.attribution import Attributed
    from governor.clients.threads import Threads
    from governor.findings import Findings
    from governor.story.decision import Receipt
    from governor.story.effects import CountTokens, Send

MESSAGES, COUNT, BATCHES = "/v1/messages", "/v1/messages/count_tokens", "/v1/messages/batches"
RESULTS = "/results"
"""How the path of a batch's results ends, after the batch's own."""

COMPLETIONS = "/v1/complete"
"""The legacy endpoint, whose models have no price."""

SDK_SILENCE_S = 600.0
"""How long the SDK's clients wait for a byte unless they are told otherwise (its `DEFAULT_TIMEOUT`)."""

LONGEST_SILENCE_S = 3600.0
"""What a client without a time-out is taken to wait: the hold of a process that died ends some time."""

_KEY_PREFIX = "stainless-python-retry-"


@dataclass(frozen=True)
class Order:
    """What the governor is told of a request beside its body.

    Attributes:
        who: Who asks, and for what.
        tier: As `call()` takes it.
        pin: As `call()` takes it.
        request_id: Made by the caller; `None`: derived from the SDK's own id of the call.
        door: Where it came in.
        accounts: Who is told the receipt.
        max_tokens: Of a stream of the governor's own, what its caller asked for; `None`: the feature's.
        stop_when_spent: As `stream()` takes it.
        findings: What is said of its data; `None`: nothing.
        opened: Told when an answer begins that its caller reads, with who reads it beside.
    """

    who: Attribution
    tier: str | None = None
    pin: bool = False
    request_id: str | None = None
    door: Door = Door.SDK
    accounts: tuple[Callable[[Receipt], object], ...] = ()
    max_tokens: int | None = None
    stop_when_spent: bool = False
    opened: Callable[[Any], None] | None = None
    findings: Findings | None = None


ORDER: ContextVar[Order | None] = ContextVar("governor_order", default=None)
"""The order of a request that the governor itself has the SDK make, in this context."""


def endpoint_of(request: APIRequest) -> str:
    """The path that *request* goes to, without a slash at its end, whatever the client's base URL is."""
    path = "/" + httpx2.URL(request.url).path.strip("/")
    start = max(path.rfind(MESSAGES), path.rfind(COMPLETIONS))
    return path[start:] if start > 0 else path


def order_of(
    request: APIRequest,
    told: object,
    defaults: Mapping[str, Any],
    on_receipt: Callable[[Receipt], object] | None,
) -> Order:
    """The order of a request of anybody's, by its attribution.

    Raises:
        PolicyViolation: Nobody says whose it is, or what is said is malformed.
    """
    around: Attributed | None = current()
    parts = attribution_of(request.headers, told, around, defaults)
    pin = False if parts["pin"] is None else parts["pin"]
    who = Attribution(
        parts["department"],
        parts["user"],
        parts["feature"],
        parts["run"],
        pairs_of(parts["tags"]),
        parts["priority"],
    )
    told_to = (None if around is None else around.account, on_receipt)
    return Order(
        who,
        tier=parts["tier"],
        pin=pin,
        findings=None if parts["data"] is None else read_findings(parts["data"]),
        accounts=tuple(each for each in told_to if each is not None),
    )


def body_of(request: APIRequest) -> dict[str, Any]:
    """The body as the SDK would send it: with what `extra_body` puts over it.

    Raises:
        PolicyViolation: It is no JSON object, so it cannot be priced.
    """
    body, extra = request.json, request.options.extra_json
    if not isinstance(body, dict):
        raise PolicyViolation("the request's body is no JSON object, so it cannot be priced")
    return {**body, **(extra or {})}  # as the SDK merges them


def asked_for(request: APIRequest, order: Order, threads: Threads, attempts: Attempts) -> Request:
    """What is asked of the governor.

    Raises:
        PolicyViolation: The body cannot be priced.
    """
    body = body_of(request)
    model, most = body.pop("model", None), body.pop("max_tokens", None)
    body.pop("stream", None)
    if order.door is Door.STREAM:
        most = order.max_tokens
    if not isinstance(body.get("messages"), list):
        raise PolicyViolation("messages is missing: give the conversation, as to messages.create")
    check_request(model, order.tier, most, pin=order.pin)
    call_id = order.request_id or _call_id(request)
    held = threads.held(body.get("thread"))
    number = attempts.begins(call_id, request.retries_taken + 1) if order.door is Door.SDK else 1
    return Request(
        id=leg_id(call_id, number),
        who=order.who,
        asked=str(model),
        max_tokens=most,
        body=body,
        pin=order.pin,
        tier=order.tier,
        of=call_id if number > 1 else "",
        leg=number,
        door=order.door,
        silence_s=_silence_s(request) if order.door is Door.SDK else None,
        held_tokens=held.tokens,
        held_by=held.model,
        stop_when_spent=order.stop_when_spent,
        findings=order.findings,
    )


def to_send(request: APIRequest, effect: Send, planned: Request) -> APIRequest:
    """*request* as it goes out: the body that was held for, without the governor's headers."""
    given = body_of(request)
    body = {**effect.body, **({"stream": given["stream"]} if "stream" in given else {})}
    update: dict[str, Any] = {"json_data": body, "extra_json": None, "headers": stripped(request.headers)}
    if planned.silence_s is None or effect.silence_s < planned.silence_s:
        update["timeout"] = silence(effect.silence_s)
    return _copy(request, update, request.stream)


def ungoverned(request: APIRequest) -> APIRequest:
    """*request*, which is none of the governor's business, without the governor's headers."""
    headers = stripped(request.headers)
    if len(headers) == len(request.headers):
        return request
    return _copy(request, {"headers": headers}, request.stream)


def rewritten(request: APIRequest, body: Mapping[str, Any]) -> APIRequest:
    """*request* with another body, without the governor's headers."""
    update = {"json_data": body, "extra_json": None, "headers": stripped(request.headers)}
    return _copy(request, update, request.stream)


def to_count(request: APIRequest, effect: CountTokens) -> APIRequest:
    """A request to count a prompt, made by the client that *request* is of."""
    url = f"{request.url.rpartition(MESSAGES[1:])[0]}{COUNT[1:]}"
    headers = {name: value for name, value in stripped(request.headers).items() if not _is_raw(name)}
    update = {
        "url": url,
        "json_data": dict(effect.body),
        "extra_json": None,
        "headers": headers,
        "timeout": COUNT_TIMEOUT_S,
        "idempotency_key": None,
    }
    counting = _copy(request, update, stream=False)
    counting.cast_to, counting.stream_cls = MessageTokensCount, None
    return counting


def to_retrieve_batch(request: APIRequest) -> APIRequest:
    """A request for the batch whose results *request* asks for, made by the same client."""
    url = httpx2.URL(request.url)
    headers = {name: value for name, value in stripped(request.headers).items() if not _is_raw(name)}
    path = url.path.rstrip("/").removesuffix(RESULTS)
    retrieving = _copy(request, {"url": str(url.copy_with(path=path)), "headers": headers}, stream=False)
    retrieving.cast_to, retrieving.stream_cls = MessageBatch, None
    return retrieving


def _copy(request: APIRequest, update: dict[str, Any], stream: bool) -> APIRequest:
    """*request* with other options; unlike its own `copy` it does not copy a body that is replaced."""
    options = request.options.model_copy(update=update)
    return APIRequest(
        options=options,
        cast_to=request.cast_to,
        stream=stream,
        stream_cls=request.stream_cls,
        retries_taken=request.retries_taken,
    )


def _is_raw(name: str) -> bool:
    return name.lower() in (
        "x-stainless-raw-response",
        "x-stainless-helper-method",
        "x-stainless-stream-helper",
    )


def _call_id(request: APIRequest) -> str:
    """The id of a call of the SDK's: the same for all of its attempts."""
    key = request.options.idempotency_key
    return key.removeprefix(_KEY_PREFIX) if key and key.startswith(_KEY_PREFIX) else new_id()


def _silence_s(request: APIRequest) -> float:
    """How long the client waits in silence, where the request says it; else as the SDK's clients do.

    A client's own time-out does not show in its requests.
    """
    timeout = request.timeout
    if isinstance(timeout, NotGiven):
        return SDK_SILENCE_S
    if isinstance(timeout, httpx2.Timeout):
        timeout = timeout.read
    return LONGEST_SILENCE_S if timeout is None else min(float(timeout), LONGEST_SILENCE_S)
