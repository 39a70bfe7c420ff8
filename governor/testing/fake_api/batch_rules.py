"""What the API refuses of a batch: the whole when it is created, an item when it is worked on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from governor.testing.fake_api import validate
from governor.testing.fake_api.errors import ApiError
from governor.testing.fake_api.rates import Mode, ServedModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.testing.fake_api.catalogue import Catalogue

MAX_ITEMS = 100_000
"""Most requests in one batch (documented)."""
PAGE, LARGEST_PAGE = 20, 1000
"""Batches in one page of the list: unless asked for otherwise, and at most (SDK types)."""

_CUSTOM_ID = re.compile("[a-zA-Z0-9_-]{1,64}")


def check_batch(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Check all of a batch but the params of its items; its requests.

    Raises:
        ApiError: 400.
    """
    unknown = sorted(body.keys() - {"requests"})
    if unknown:
        raise ApiError(400, f"{unknown[0]}: Extra inputs are not permitted")
    requests = body.get("requests")
    if requests is None:
        raise ApiError(400, "requests: Field required")
    if not isinstance(requests, list):
        raise ApiError(400, "requests: Input should be a valid list")
    if not requests:
        raise ApiError(400, "requests: at least one request is required")
    if len(requests) > MAX_ITEMS:
        raise ApiError(400, f"requests: {len(requests)} > {MAX_ITEMS}, the most requests of one batch")
    seen: set[str] = set()
    for number, request in enumerate(requests):
        _check_request(f"requests.{number}", request, seen)
    return requests


def _check_request(place: str, request: Any, seen: set[str]) -> None:
    if not isinstance(request, dict):
        raise ApiError(400, f"{place}: Input should be a valid dictionary")
    unknown = sorted(request.keys() - {"custom_id", "params"})
    if unknown:
        raise ApiError(400, f"{place}.{unknown[0]}: Extra inputs are not permitted")
    custom_id = request.get("custom_id")
    if not isinstance(custom_id, str):
        raise ApiError(400, f"{place}.custom_id: Field required")
    if not _CUSTOM_ID.fullmatch(custom_id):
        raise ApiError(400, f"{place}.custom_id: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'")
    if custom_id in seen:
        raise ApiError(400, f"{place}.custom_id: {custom_id} is not unique within the batch")
    seen.add(custom_id)
    if not isinstance(request.get("params"), dict):
        raise ApiError(400, f"{place}.params: Field required")


def check_item(params: Mapping[str, Any], catalogue: Catalogue, at_ms: int) -> ServedModel:
    """Check the params of an item, and find the model that serves it.

    As a message, and without what batches do not do: streams, fast mode and a `max_tokens` of 0 (documented),
    billing a user profile (SDK types), threads and a cloud's models (assumed).

    Raises:
        ApiError: 404 for a model that is not served, else 400; the item is then `errored`.
    """
    model = validate.check_message(params, catalogue, at_ms)
    bill_to = (params.get("billing_policy") or {}).get("bill_to", "self")
    refused = {
        "stream": bool(params.get("stream")),
        "speed": params.get("speed") == "fast",
        "thread": params.get("thread") is not None,
        "billing_policy": bill_to != "self",
        "model": not model.prices(Mode(batch=True, endpoint=catalogue.endpoint(params["model"])), at_ms),
    }
    for key, given in refused.items():
        if given:
            raise ApiError(400, f"{key}: '{params[key]}' is not supported in a batch")
    if params["max_tokens"] < 1:
        raise ApiError(400, "max_tokens: Input should be greater than or equal to 1 in a batch")
    return model


def page_of(query: Mapping[str, str]) -> int:
    """How many batches a list asks for.

    Raises:
        ApiError: 400, a `limit` that is not from 1 to 1,000.
    """
    limit = query.get("limit", str(PAGE))
    if not limit.isdecimal() or not 1 <= int(limit) <= LARGEST_PAGE:
        raise ApiError(400, f"limit: Input should be a number from 1 to {LARGEST_PAGE}")
    return int(limit)
