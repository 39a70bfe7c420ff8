"""What tells one request's content from another's."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_CONTENT = ("messages", "system", "tools")


def digest(content: Any) -> bytes | None:
    """16 bytes that stand for *content*, the SDK's objects as sent; `None` for what JSON cannot write."""
    try:
        text = json.dumps(content, separators=(",", ":"), default=_as_sent)
    except (TypeError, ValueError):
        return None
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def content_hash(body: Mapping[str, Any]) -> str:
    """SHA-256, hexadecimal, of what a request asks: its messages, system prompt and tools; '' without JSON.

    The same conversation has the same hash, whichever model it is for and however its members are ordered.
    """
    asked = {name: body[name] for name in _CONTENT if body.get(name)}
    try:
        text = json.dumps(asked, separators=(",", ":"), sort_keys=True, default=_as_sent)
    except (TypeError, ValueError):
        return ""
    return hashlib.sha256(text.encode()).hexdigest()


def _as_sent(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)  # of pydantic, which a start of the command does not pay for
    if dump is None:
        raise TypeError(f"{type(value).__name__} is no value of JSON")
    return dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)
