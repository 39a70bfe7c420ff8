"""What the API refuses before processing a request, in its own words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from governor.testing.fake_api.capabilities import check_capabilities
from governor.testing.fake_api.errors import ApiError
from governor.testing.fake_api.rates import Mode, ServedModel
from governor.testing.fake_api.server_tools import LIMITED, SERVER_TOOLS
from governor.testing.fake_api.tokens import uncountable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.testing.fake_api.catalogue import Catalogue

_SHARED_KEYS = frozenset(
    {
        "billing_policy",
        "cache_control",
        "compaction",
        "context_management",
        "mcp_servers",
        "messages",
        "model",
        "output_config",
        "speed",
        "system",
        "thinking",
        "tool_choice",
        "tools",
    }
)
_MESSAGE_KEYS = _SHARED_KEYS | {
    "container",
    "diagnostics",
    "fallback_credit_token",
    "fallbacks",
    "inference_geo",
    "max_tokens",
    "metadata",
    "service_tier",
    "stop_sequences",
    "stream",
    "thread",
}


def check_key(headers: Mapping[str, str], api_key: str) -> None:
    """Refuse a request that does not carry *api_key* as `Authorization: Bearer` or `x-api-key`.

    A request signed by AWS's Signature Version 4 carries it as its access key; the signature is not
    verified.

    Raises:
        ApiError: 401 `authentication_error`.
    """
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme == "AWS4-HMAC-SHA256":
        given = token.partition("Credential=")[2].partition("/")[0]
    else:
        given = token.strip() if scheme.lower() == "bearer" else headers.get("x-api-key", "")
    if not given:
        raise ApiError(401, "x-api-key header is required")
    if given != api_key:
        raise ApiError(401, "invalid x-api-key")


def check_message(body: Mapping[str, Any], catalogue: Catalogue, at_ms: int) -> ServedModel:
    """Check a body of `/v1/messages`, and find the model that serves it.

    Raises:
        ApiError: 404 for a model that is unknown, retired or without a price, else 400.
    """
    _check_keys(body, _MESSAGE_KEYS)
    model = _check_model(body, catalogue, at_ms)
    _check_max_tokens(body, model)
    _check_messages(body)
    if not isinstance(body.get("stream", False), bool):
        raise ApiError(400, "stream: Input should be a valid boolean")
    check_capabilities(body, model.id)
    _check_mode(body, model, catalogue.endpoint(body["model"]), at_ms)
    return model


def check_count(body: Mapping[str, Any], catalogue: Catalogue, at_ms: int) -> ServedModel:
    """Check a body of `/v1/messages/count_tokens`, and find its model.

    Raises:
        ApiError: 404 as for a message; 400 for a key that belongs to `/v1/messages` only, and for what
            the API does not count (see `uncountable`).
    """
    _check_keys(body, _SHARED_KEYS)
    model = _check_model(body, catalogue, at_ms)
    _check_messages(body)
    reason = uncountable(body)
    if reason is not None:
        raise ApiError(400, reason)
    return model


def check_context(input_tokens: int, model: ServedModel) -> None:
    """Refuse a prompt that does not fit the model's context window.

    Raises:
        ApiError: 400.
    """
    if input_tokens > model.context_tokens:
        raise ApiError(400, f"prompt is too long: {input_tokens} tokens > {model.context_tokens} maximum")


def _check_keys(body: Mapping[str, Any], known: frozenset[str]) -> None:
    unknown = sorted(body.keys() - known)
    if unknown:
        raise ApiError(400, f"{unknown[0]}: Extra inputs are not permitted")


def _check_model(body: Mapping[str, Any], catalogue: Catalogue, at_ms: int) -> ServedModel:
    name = body.get("model")
    if not isinstance(name, str):
        raise ApiError(
            400, "model: Field required" if name is None else "model: Input should be a valid string"
        )
    model = catalogue.find(name)
    mode = Mode(endpoint=catalogue.endpoint(name))
    if model is None or catalogue.gone(model, at_ms) or not model.prices(mode, at_ms):
        raise ApiError(404, f"model: {name}")
    return model


def _check_max_tokens(body: Mapping[str, Any], model: ServedModel) -> None:
    limit = body.get("max_tokens")
    if limit is None:
        raise ApiError(400, "max_tokens: Field required")
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise ApiError(400, "max_tokens: Input should be a valid integer")
    if limit < 0:
        raise ApiError(400, "max_tokens: Input should be greater than or equal to 0")
    if limit > model.max_output_tokens:
        rule = (
            f"{model.max_output_tokens}, which is the maximum allowed number of output tokens for {model.id}"
        )
        raise ApiError(400, f"max_tokens: {limit} > {rule}")


def _check_messages(body: Mapping[str, Any]) -> None:
    messages = body.get("messages")
    if messages is None:
        raise ApiError(400, "messages: Field required")
    if not isinstance(messages, list):
        raise ApiError(400, "messages: Input should be a valid list")
    if not messages:
        raise ApiError(400, "messages: at least one message is required")
    for index, message in enumerate(messages):
        _check_turn(f"messages.{index}", message)
    for key in ("system", "tools"):
        value = body.get(key)
        if (
            value is not None
            and not isinstance(value, list)
            and not (key == "system" and isinstance(value, str))
        ):
            raise ApiError(400, f"{key}: Input should be a valid list")
    _check_tools(body)


def _check_turn(place: str, message: Any) -> None:
    if not isinstance(message, dict):
        raise ApiError(400, f"{place}: Input should be a valid dictionary")
    if message.get("role") not in ("user", "assistant", "system"):
        raise ApiError(400, f"{place}.role: Input should be 'user', 'assistant' or 'system'")
    content = message.get("content")
    if not isinstance(content, (str, list)):
        raise ApiError(400, f"{place}.content: Input should be a valid string or list")
    if isinstance(content, list) and not all(
        isinstance(block, dict) and "type" in block for block in content
    ):
        raise ApiError(400, f"{place}.content: every block needs a type")


def _check_tools(body: Mapping[str, Any]) -> None:
    """Check `max_uses`: a whole number of at least 1, or null, of the tools that take it (SDK types)."""
    for index, tool in enumerate(body.get("tools") or ()):
        if not isinstance(tool, dict):
            raise ApiError(400, f"tools.{index}: Input should be a valid dictionary")
        place, kind, limit = f"tools.{index}.max_uses", str(tool.get("type")), tool.get("max_uses")
        if "max_uses" in tool and kind.startswith(SERVER_TOOLS) and not kind.startswith(LIMITED):
            raise ApiError(400, f"{place}: Extra inputs are not permitted")
        if limit is None or not kind.startswith(LIMITED):
            continue
        if not isinstance(limit, int) or isinstance(limit, bool):
            raise ApiError(400, f"{place}: Input should be a valid integer")
        if limit < 1:
            raise ApiError(400, f"{place}: Input should be greater than or equal to 1")


def _check_mode(body: Mapping[str, Any], model: ServedModel, endpoint: str | None, at_ms: int) -> None:
    """Check speed and geography.

    A model without a price for fast mode, or on a cloud, refuses `speed` whatever it says ("a model without
    fast mode rejects the parameter", SDK `lib/middleware/_fallbacks.py`). Opus 4.6, which takes it and serves
    at standard speed, is no exception here. A model without a price for the USA refuses `inference_geo`
    whatever it says (documented of models before 4.6), as a cloud does (assumed).
    """
    speed, geo = body.get("speed"), body.get("inference_geo")
    if speed not in (None, "standard", "fast"):
        raise ApiError(400, "speed: Input should be 'standard' or 'fast'")
    if geo not in (None, "global", "us"):
        raise ApiError(400, "inference_geo: Input should be 'global' or 'us'")
    no_geo = geo is not None and (endpoint is not None or not model.prices(Mode(us=True), at_ms))
    no_speed = speed is not None and not model.prices(Mode(fast=True, endpoint=endpoint), at_ms)
    for key, value, refused in (("speed", speed, no_speed), ("inference_geo", geo, no_geo)):
        if refused:
            raise ApiError(400, f"{key}: '{value}' is not supported by {body['model']}")
