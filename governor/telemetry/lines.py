"""One line of JSON for each call, through the standard `logging`."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from opentelemetry import trace
from pydantic_core import to_json

from governor.journal.call import Call

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import Span

LOGGER = logging.getLogger("governor.calls")
"""Calls are logged here at INFO; whoever wants them gives it a handler and the level."""

_JOURNALS_OWN = ("turn", "refusals")
"""What only the ledger counts."""

NAMES = tuple(one.name for one in fields(Call) if one.name not in _JOURNALS_OWN)
"""The fields of a line, in order: `Call`'s, but for what only the ledger counts."""

_values = attrgetter(*NAMES)


_ENDS = {ord(char): f"\\u{ord(char):04x}" for char in "\x85\u2028\u2029"}
"""What some readers take for the end of a line, and JSON lets stand."""


def _one_line(told: Mapping[str, Any]) -> str:
    """JSON in one line, whoever reads it."""
    text = to_json(told, fallback=str).decode()
    return text if text.isascii() else text.translate(_ENDS)


class Line:
    """A call as the message of a log record: its text is made when a handler wants it.

    Attributes:
        fields: What is told: no prompt, no answer, no key.
    """

    __slots__ = ("_text", "fields")

    def __init__(self, told: Mapping[str, Any]) -> None:
        self.fields = told
        self._text: str | None = None

    def __str__(self) -> str:
        """One line of JSON."""
        if self._text is None:
            self._text = _one_line(self.fields)
        return self._text

    def __reduce__(self) -> tuple[Any, ...]:  # a record may cross to another process
        return Line, (dict(self.fields),)


def log(call: Call, span: Span | None = None) -> None:
    """Log a call, with the trace that it is part of: *span*'s, else the current one's, if there is one."""
    told = dict(zip(NAMES, _values(call), strict=True))
    told["tags"] = dict(call.tags)
    context = (span or trace.get_current_span()).get_span_context()
    if context.is_valid:
        told["trace_id"], told["span_id"] = f"{context.trace_id:032x}", f"{context.span_id:016x}"
    # Not `LOGGER.info`, which looks for its caller on the stack: that is this file every time.
    record = LOGGER.makeRecord(
        LOGGER.name, logging.INFO, __file__, 0, Line(told), (), None, "log", {"call": told}
    )
    LOGGER.handle(record)


class JsonLines(logging.Formatter):
    """Formats every record as one line of JSON: calls with their fields, all else with its message.

    For a handler of the logger `governor.calls`, of `governor`, or of a whole application.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON: `timestamp` (ISO 8601, UTC), `level`, `logger`, and what it says."""
        at = dt.datetime.fromtimestamp(record.created, dt.UTC)
        line: dict[str, Any] = {
            "timestamp": at.isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
        }
        if isinstance(record.msg, Line):
            return _one_line(line | dict(record.msg.fields))
        line["message"] = record.getMessage()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _one_line(line)


def log_calls(to: str | Path | TextIO | None = None) -> logging.Handler:
    """Write a line for each call to a file, or to standard error; returns the handler, to remove it by.

    For scripts and first looks; an application configures `logging` as it does for all else.

    Args:
        to: A path, which is appended to, or an open text file; `None`: standard error.
    """
    if isinstance(to, str | Path):
        handler: logging.Handler = logging.FileHandler(to, encoding="utf-8")
    else:
        handler = logging.StreamHandler(to)
    handler.setFormatter(JsonLines())
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    return handler
