"""The doors of the clouds: their paths and bodies as the SDK's clients send them, and their answers.

A request that comes in by one becomes the request of the Messages API that it stands for (source of the
paths and of what moves where: `_prepare_options` of the clients in `anthropic.lib`). Bedrock's InvokeModel
answers in AWS's forms (see `clouds_frames`). Vertex AI and the gateways answer as Anthropic's own API does,
and refuse as it does, which is assumed.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from governor.testing.fake_api import clouds_frames
from governor.testing.fake_api.errors import ApiError, error_body

if TYPE_CHECKING:
    from collections.abc import Mapping

    from governor.testing.fake_api.connection import Incoming
    from governor.testing.fake_api.script import Reply

_BEDROCK = re.compile(r"/model/(?P<model>[^/]+)/invoke(?P<stream>-with-response-stream)?")
_VERTEX = re.compile(
    r"/v1/projects/[^/]+/locations/(?P<location>[^/]+)/publishers/anthropic/models/"
    r"(?P<model>[^/]+):(?:stream)?[rR]awPredict"
)
_GATEWAY = re.compile(r"(?:/anthropic|/v1/projects/[^/]+/locations/[^/]+/workspaces/[^/]+/invoke)(/v1/.+)")
"""Mantle and Foundry; Claude on Google Cloud. Claude Platform on AWS has the paths of Anthropic's own API."""

_VERTEX_COUNT = "count-tokens"
_BESIDE_THE_BODY = ("anthropic_version", "anthropic_beta", "user_profile_id")
"""What clients put into the body that Anthropic's own API reads from headers."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A request by the door it came in by; this one is Anthropic's own.

    Attributes:
        request: The request of the Messages API that it stands for.
        sent_to: The path as it arrived.
        vertex_endpoint: The endpoint of Vertex AI that was asked, `global` or `regional`; `None`: another
            door.
    """

    request: Incoming
    sent_to: str
    vertex_endpoint: str | None = None

    def check_name(self, name: object) -> None:
        """Refuse a model's name that belongs to another door.

        Raises:
            ApiError: 400 or 404.
        """

    def answered_as(self, reply: Reply, model_id: str) -> Reply:  # noqa: ARG002 - other doors read it
        """The reply with the name under which this door's answers name their model."""
        return reply

    def head(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """The headers of an answer as this door sends them."""
        return headers

    def part(self, data: bytes) -> bytes:
        """A part of an answer's body as this door sends it."""
        return data

    def refusal(self, error: ApiError, request_id: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of an error answer."""
        headers = {"content-type": "application/json", "request-id": request_id, **error.headers}
        return error.status, headers, error_body(error.type, error.message, request_id, error.error_code)


@dataclass(frozen=True, slots=True)
class _CloudVisit(Visit):
    def answered_as(self, reply: Reply, model_id: str) -> Reply:
        # Whichever name was asked: shown in public answers of Bedrock's, for Vertex AI's assumed.
        return reply if reply.model else replace(reply, model=model_id)


@dataclass(frozen=True, slots=True)
class _VertexVisit(_CloudVisit):
    def check_name(self, name: object) -> None:
        if _of_bedrock(name):
            raise ApiError(404, f"model: {name}")


@dataclass(slots=True)
class _Framing:
    """Whether the answer under way goes out in frames."""

    on: bool = False


@dataclass(frozen=True, slots=True)
class _BedrockVisit(_CloudVisit):
    framing: _Framing = field(default_factory=_Framing)

    def check_name(self, name: object) -> None:
        if not _of_bedrock(name):
            raise ApiError(400, "The provided model identifier is invalid.")

    def head(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        # The request's id goes by the name under which botocore.parsers reads it; AWS counts its own limits.
        sent = {name: value for name, value in headers.items() if not name.startswith("anthropic-")}
        sent["x-amzn-requestid"] = sent.pop("request-id", "")
        self.framing.on = sent.get("content-type", "").startswith("text/event-stream")
        if self.framing.on:
            sent["content-type"] = clouds_frames.CONTENT_TYPE
        return sent

    def part(self, data: bytes) -> bytes:
        return clouds_frames.from_sse(data) if self.framing.on else data

    def refusal(self, error: ApiError, request_id: str) -> tuple[int, dict[str, str], bytes]:
        status, headers, body = clouds_frames.refusal(error.type, error.message)
        return status, {**headers, "request-id": request_id, **error.headers}, body


def visit(request: Incoming) -> Visit:
    """See by its path which door *request* came in by, and what it stands for."""
    if found := _BEDROCK.fullmatch(request.path):
        stream = {"stream": True} if found["stream"] else {}
        own = _standing_for(request, "/v1/messages", model=_bedrock_name(found["model"]), **stream)
        return _BedrockVisit(own, request.path)
    if found := _VERTEX.fullmatch(request.path):
        endpoint = "global" if found["location"] == "global" else "regional"
        name = unquote(found["model"])
        if name == _VERTEX_COUNT:
            own = _standing_for(request, "/v1/messages/count_tokens")
        else:
            own = _standing_for(request, "/v1/messages", model=name)
        return _VertexVisit(own, request.path, endpoint)
    if found := _GATEWAY.fullmatch(request.path):
        return Visit(_standing_for(request, found[1]), request.path)
    return Visit(request, request.path)


def _of_bedrock(name: object) -> bool:
    """Whether a model's name is one of Bedrock, with or without the prefix of an endpoint."""
    return isinstance(name, str) and "anthropic." in name


def _bedrock_name(quoted: str) -> str:
    """The model's name in a path; an ARN's is its last part."""
    name = unquote(quoted)
    return name.rpartition("/")[2] if name.startswith("arn:") else name


def _standing_for(request: Incoming, path: str, **more: Any) -> Incoming:
    try:
        body = json.loads(request.body)
    except ValueError:
        return replace(request, path=path)
    if not isinstance(body, dict):
        return replace(request, path=path)
    own = {key: value for key, value in body.items() if key not in _BESIDE_THE_BODY}
    return replace(request, path=path, body=json.dumps({**own, **more}).encode())
