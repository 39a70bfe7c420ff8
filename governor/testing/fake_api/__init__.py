"""The fake Claude API's parts; import them from `governor.testing`."""

from governor.testing.fake_api.bill import BillLine
from governor.testing.fake_api.fake import FakeClaude
from governor.testing.fake_api.faults import (
    Fault,
    FaultKind,
    clean_end_without_stop,
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
from governor.testing.fake_api.limits import RateLimits
from governor.testing.fake_api.script import Reply
from governor.testing.fake_api.service import ReceivedRequest
from governor.testing.fake_api.tokens import count_tokens
from governor.testing.fake_api.traffic import Traffic

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
