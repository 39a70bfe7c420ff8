"""Every private attribute of the SDK and of its HTTP library that is touched: here and nowhere else.

`tests/sdk/test_private_attributes.py` fails with the attribute's name when a release changes one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx2


class Decoder(Protocol):
    """Takes the parts of a compressed body as they come."""

    def decode(self, data: bytes) -> Iterator[bytes]:
        """What *data* adds to the body."""
        ...


def set_request_id(message: Any, request_id: str | None) -> None:
    """Give a message the API's id of its request, where the SDK's own messages have it (`_request_id`)."""
    message._request_id = request_id  # noqa: SLF001 - the SDK has no other way


def deprecated_models() -> dict[str, str] | None:
    """The SDK's own list of deprecated models, each with the day it retires; `None` if it has none."""
    try:
        from anthropic._data.deprecated_models import DEPRECATED_MODELS  # noqa: PLC0415 - private, so it may go
    except ImportError:
        return None
    return {name: str(told) for name, told in DEPRECATED_MODELS.items()}


def decoder_of(response: httpx2.Response) -> Decoder | None:
    """A decoder of its own for *response*'s body, which is read beside it; `None` where it is not compressed.

    Raises:
        LookupError: It is compressed in a way that the HTTP library does not read either.
    """
    from httpx2 import _decoders  # noqa: PLC0415 - the library's decoders are not public

    codings = [name.strip().lower() for name in response.headers.get("content-encoding", "").split(",")]
    codings = [name for name in codings if name and name != "identity"]
    if not codings:
        return None
    if len(codings) > 1:
        raise LookupError(f"several codings: {', '.join(codings)}")
    decoder: Decoder = _decoders.SUPPORTED_DECODERS[codings[0]]()
    return decoder
