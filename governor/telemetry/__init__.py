"""Calls told to logs, traces and metrics, by the means that an application has already.

Nothing is recorded, and no row is even made, where nobody listens: no handler takes INFO of `governor.calls`,
and no OpenTelemetry provider is registered. See docs/telemetry.md.
"""

from governor.telemetry.lines import JsonLines, log_calls
from governor.telemetry.settings import Telemetry

__all__ = ["JsonLines", "Telemetry", "log_calls"]
