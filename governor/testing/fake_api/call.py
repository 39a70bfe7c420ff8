"""One request on its way through the fake API, and the ways to break its answer before the head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from governor.testing.fake_api.errors import ApiError, error_body
from governor.testing.fake_api.faults import Fault, FaultKind

if TYPE_CHECKING:
    from governor.testing.fake_api.connection import Connection, Incoming


@dataclass(frozen=True, slots=True)
class Call:
    """One request, recorded and to be answered.

    Attributes:
        connection: Where the answer goes.
        request: As it arrived.
        body: Its JSON object; `None` where it has none.
        request_id: The `request-id` of its answer.
        at_ms: When it had arrived, Unix milliseconds.
    """

    connection: Connection
    request: Incoming
    body: dict[str, Any] | None
    request_id: str
    at_ms: int

    def refuse(self, error: ApiError) -> None:
        """Answer with *error*; where an answer has begun, cut it."""
        if self.connection.head_sent:
            self.connection.cut()
            return
        headers = {"content-type": "application/json", "request-id": self.request_id, **error.headers}
        body = error_body(error.type, error.message, self.request_id, error.error_code)
        self.connection.respond(error.status, headers, body)

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


def status_of(fault: Fault, headers: dict[str, str]) -> ApiError:
    """The error of a `STATUS` fault, with *headers* beside its own."""
    headers = dict(headers)
    if fault.retry_after is not None:
        headers["retry-after"] = f"{fault.retry_after:g}"
    message = fault.message or f"Injected {fault.type}"
    return ApiError(fault.status, message, type=fault.type, error_code=fault.error_code, headers=headers)


async def break_before_head(call: Call, fault: Fault) -> None:
    """Answer with a status, hang, or cut; a fault of streams has no meaning here and cuts too.

    Raises:
        ApiError: The status.
    """
    if fault.kind is FaultKind.STATUS:
        raise status_of(fault, {})
    if fault.kind is FaultKind.HANG:
        await call.connection.pause(None)
    call.connection.cut()
