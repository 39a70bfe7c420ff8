"""From the keywords of `call()` to a request, and from an answer to a message with its receipt."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from io import IOBase
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anthropic
from anthropic import types
from pydantic import BaseModel, PrivateAttr

from governor.clients.private import set_request_id
from governor.errors import PolicyViolation
from governor.findings import read_findings
from governor.ids import new_id
from governor.ledger.commands import check_id
from governor.policy import Attribution
from governor.story.request import Request

if TYPE_CHECKING:
    from governor.story.decision import Receipt


_MOST_TOKENS = 10_000_000
"""Far above what any model may put out; the API judges the rest."""

_LEFT_OUT = (anthropic.Omit, anthropic.NotGiven)
"""The SDK's ways to say that a parameter is not given."""

_WHOLE = (str, int, float, type(None), bytes, bytearray, BaseModel)
"""Values that are one thing to the SDK, some of them iterable."""

_REFUSED = {
    "stream": "it returns a whole message",
    "extra_body": "what it adds would not be priced; give the parameters themselves",
    "extra_query": "what it adds would not be priced",
    "output_format": "its schema would not be counted; give `output_config` with the schema",
    "timeout": "the policy's tier says how long a silence is waited for",
}


class Message(types.Message):
    """The SDK's message, with the receipt of its call."""

    _receipt: Receipt = PrivateAttr()

    @property
    def receipt(self) -> Receipt:
        """What the call cost, and why it went where it went."""
        return self._receipt


def with_receipt(message: types.Message, receipt: Receipt) -> Message:
    """*message* again, carrying *receipt*; every field and the API's request id stay."""
    governed = Message.__new__(Message)
    governed.__setstate__({**message.__getstate__(), "__pydantic_private__": {"_receipt": receipt}})
    set_request_id(governed, receipt.api_request_id)
    return governed


def make_request(
    *,
    user: str,
    department: str,
    feature: str | None,
    run: str | None,
    tags: Mapping[str, str] | None,
    priority: str | None,
    model: str,
    max_tokens: int | None,
    pin: bool,
    request_id: str | None,
    params: dict[str, Any],
    tier: str | None = None,
    deferrable: bool = False,
    data: object = None,
) -> Request:
    """The request for these keywords; *params* are the other ones of `messages.create`.

    What the SDK would put into the request past the price (`extra_body`, betas) is refused, and so is what
    the policy decides (`timeout`, `stream`).

    Raises:
        PolicyViolation: One of those was given, `messages` was not, a value is of the wrong type, or
            *request_id* is not one a ledger can keep.
    """
    body = {name: _settled(value) for name, value in params.items() if not isinstance(value, _LEFT_OUT)}
    for name, why in _REFUSED.items():
        if body.pop(name, None) not in (None, False):
            raise PolicyViolation(f"`{name}` cannot be given to call(): {why}")
    if any(str(header).lower() == "anthropic-beta" for header in body.get("extra_headers") or {}):
        raise PolicyViolation("the header anthropic-beta cannot be given to call(): betas may bill otherwise")
    if not isinstance(body.get("messages"), list):
        raise PolicyViolation("messages is missing: give the conversation, as to messages.create")
    if isinstance(max_tokens, _LEFT_OUT):
        max_tokens = None
    check_request(model, tier, max_tokens, pin=pin, deferrable=deferrable)
    return Request(
        id=checked_id(request_id) if request_id is not None else new_id(),
        who=Attribution(department, user, feature, run, pairs_of(tags), priority),
        asked=model,
        max_tokens=max_tokens,
        body=body,
        pin=pin,
        tier=tier,
        deferrable=deferrable,
        findings=None if data is None else read_findings(data),
    )


def check_request(model: object, tier: object, max_tokens: object, **flags: object) -> None:
    """Refuse what is priced and routed by, where it is of the wrong type.

    Raises:
        PolicyViolation: It is; the text says what to give.
    """
    _check_routing(model, tier, **flags)
    if max_tokens is not None and not _is_count(max_tokens):
        raise PolicyViolation(f"max_tokens is {max_tokens!r:.40}: give a whole number of tokens")


def _check_routing(model: object, tier: object, **flags: object) -> None:
    """Refuse what routing goes by, where it is of the wrong type."""
    if not isinstance(model, str):
        raise PolicyViolation(f"model is {model!r}: give `auto`, a line or a model id")
    if tier is not None and not isinstance(tier, str):
        raise PolicyViolation(f"tier is {tier!r:.40}: give `premium`, `standard` or `economy`")
    for name, flag in flags.items():
        if not isinstance(flag, bool):
            raise PolicyViolation(f"{name} is {flag!r:.40}: give True or False")


def pairs_of(tags: object) -> tuple[tuple[str, str], ...]:
    """Tags as an attribution has them, sorted by name; what is in them is the policy's to judge."""
    if tags is not None and not isinstance(tags, Mapping):
        raise PolicyViolation(f"tags is {tags!r:.60}: give a mapping such as {{'project': 'atlas'}}")
    return tuple(sorted((tags or {}).items(), key=lambda pair: str(pair[0])))


def checked_id(request_id: object) -> str:
    """*request_id* as a ledger keeps it; raises `PolicyViolation` where none can."""
    try:
        return check_id(str(request_id))
    except ValueError as error:
        raise PolicyViolation(str(error)) from None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_TOKENS


def _settled(value: Any) -> Any:
    """*value* with what can be read only once read: it is counted, priced and maybe sent twice.

    Iterators become lists; open files and paths become their content in base64, which the SDK would make of
    them as it sends.
    """
    if isinstance(value, _WHOLE):
        return value
    if isinstance(value, Mapping):
        return {key: _settled(inner) for key, inner in value.items()}
    if isinstance(value, (PathLike, IOBase)):
        return _base64(value)
    if isinstance(value, Iterable):
        return [_settled(inner) for inner in value]
    return value


def _base64(file: PathLike[str] | IOBase) -> str:
    """The content of a file in base64.

    Raises:
        PolicyViolation: It cannot be read.
    """
    try:
        content = file.read() if isinstance(file, IOBase) else Path(file).read_bytes()
    except (OSError, ValueError) as error:
        raise PolicyViolation(f"the file {str(file)[:200]!r} cannot be read: {error}") from None
    return base64.b64encode(content.encode() if isinstance(content, str) else content).decode("ascii")
