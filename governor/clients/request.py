"""From the keywords of `call()` to a request, and from an answer to a message with its receipt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anthropic import types
from pydantic import PrivateAttr

from governor.errors import PolicyViolation
from governor.ids import new_id
from governor.ledger.commands import check_id
from governor.policy import Attribution
from governor.story.request import Request

if TYPE_CHECKING:
    from governor.story.decision import Receipt


class Message(types.Message):
    """The SDK's message, with the receipt of its call."""

    _receipt: Receipt = PrivateAttr()

    @property
    def receipt(self) -> Receipt:
        """What the call cost, and why it went where it went."""
        return self._receipt


def with_receipt(message: types.Message, receipt: Receipt) -> Message:
    """*message* again, carrying *receipt*; every field and the API's request id stay."""
    fields = {name: getattr(message, name) for name in message.model_fields_set}
    governed = Message.model_construct(message.model_fields_set, **fields, **(message.model_extra or {}))
    governed._request_id = receipt.api_request_id  # noqa: SLF001 - where the SDK's own messages have it
    governed._receipt = receipt  # noqa: SLF001 - a private attribute of our own subclass
    return governed


def make_request(
    *,
    user: str,
    department: str,
    feature: str | None,
    run: str | None,
    model: str,
    max_tokens: int | None,
    pin: bool,
    request_id: str | None,
    params: dict[str, Any],
) -> Request:
    """The request for these keywords; *params* are the other ones of `messages.create`.

    Raises:
        PolicyViolation: `stream` was given, or `messages` was not.
        ValueError: *request_id* is not one a ledger can keep.
    """
    if params.pop("stream", None):
        raise PolicyViolation("call() returns a whole message: leave `stream` out")
    if "messages" not in params:
        raise PolicyViolation("messages is missing: give the conversation, as to messages.create")
    params["messages"] = list(params["messages"])
    return Request(
        id=check_id(request_id) if request_id is not None else new_id(),
        who=Attribution(department=department, user=user, feature=feature, run=run),
        asked=model,
        max_tokens=max_tokens,
        body=params,
        pin=pin,
    )
