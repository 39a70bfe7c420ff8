"""Test support: a fake Claude API that speaks HTTP, assertions, a frozen clock; see docs/testing.md.

Names are loaded on first use, so that the pytest plugin costs nothing to those who do not ask for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from governor.testing.asserts import assert_downgraded, assert_not_downgraded, assert_spent
    from governor.testing.clock import FrozenClock
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
    from governor.testing.making import MakeAsyncGovernor, MakeGovernor

__all__ = [
    "BillLine",
    "FakeClaude",
    "Fault",
    "FaultKind",
    "FrozenClock",
    "MakeAsyncGovernor",
    "MakeGovernor",
    "RateLimits",
    "ReceivedRequest",
    "Reply",
    "Traffic",
    "assert_downgraded",
    "assert_not_downgraded",
    "assert_spent",
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

_ELSEWHERE = {
    "FrozenClock": "clock",
    "MakeAsyncGovernor": "making",
    "MakeGovernor": "making",
    "assert_downgraded": "asserts",
    "assert_not_downgraded": "asserts",
    "assert_spent": "asserts",
}
"""The module of each name that is not the fake API's."""


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ELSEWHERE.get(name, 'fake_api')}"), name)
