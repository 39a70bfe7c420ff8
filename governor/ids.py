"""Ids made by the caller's side, for requests and for an administrator's operations."""

from __future__ import annotations

import base64
import secrets
import time

_CROCKFORD = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789ABCDEFGHJKMNPQRSTVWXYZ")
"""From the digits of base 32 as the library writes them to a ULID's."""


def new_id() -> str:
    """A new id: a ULID, so that ids sort by time. For example `01KAH7Q0M8…` (26 characters)."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return base64.b32encode(number.to_bytes(20, "big"))[-26:].translate(_CROCKFORD).decode()
