"""What tells one request's content from another's."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def digest(content: Any) -> bytes | None:
    """16 bytes that stand for *content*, the SDK's objects as sent; `None` for what JSON cannot write."""
    try:
        text = json.dumps(content, separators=(",", ":"), default=_as_sent)
    except (TypeError, ValueError):
        return None
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _as_sent(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)  # of pydantic, which a start of the command does not pay for
    if dump is None:
        raise TypeError(f"{type(value).__name__} is no value of JSON")
    return dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)
