"""An error answer of the API: status, type, message and code."""

from __future__ import annotations

import json
from typing import Any

from governor.testing.fake_api.faults import ERROR_TYPES


class ApiError(Exception):
    """A request that is answered with an error.

    Attributes:
        status: HTTP status.
        type: `error.type`.
        message: `error.message`.
        error_code: `error.details.error_code`, or `None` for no details.
        headers: Further response headers.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = "",  # noqa: A002 - the name of the field in the API's error body
        error_code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = type or ERROR_TYPES.get(status, "api_error")
        self.message = message
        self.error_code = error_code
        self.headers = headers or {}


def error_body(kind: str, message: str, request_id: str, error_code: str | None = None) -> bytes:
    """The JSON of an error answer or of an SSE `error` event."""
    error: dict[str, Any] = {"type": kind, "message": message}
    if error_code is not None:
        error["details"] = {"error_code": error_code}
    return json.dumps({"type": "error", "error": error, "request_id": request_id}).encode()
