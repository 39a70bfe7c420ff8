"""Test support: a fake Claude API that speaks HTTP, with faults and a bill of its own.

Names are loaded on first use, so that the pytest plugin costs nothing to those who do not ask for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from governor.testing.fake_api import (
        BillLine,
        FakeClaude,
        Fault,
        FaultKind,
        RateLimits,
        ReceivedRequest,
        Reply,
        Traffic,
        clean_end_without_stop,
        count_tokens,
        cut_before_head,
        cut_mid_stream,
        error_mid_stream,
        hang_before_head,
        overloaded,
        rate_limited,
        spend_limit_reached,
        stall_mid_stream,
        status_error,
    )

__all__ = [
    "BillLine",
    "FakeClaude",
    "Fault",
    "FaultKind",
    "RateLimits",
    "ReceivedRequest",
    "Reply",
    "Traffic",
    "clean_end_without_stop",
    "count_tokens",
    "cut_before_head",
    "cut_mid_stream",
    "error_mid_stream",
    "hang_before_head",
    "overloaded",
    "rate_limited",
    "spend_limit_reached",
    "stall_mid_stream",
    "status_error",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("governor.testing.fake_api"), name)
