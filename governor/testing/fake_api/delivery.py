"""Sending an answer, whole or broken, and charging what was sent."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.testing.fake_api import sse
from governor.testing.fake_api.errors import ApiError, error_body
from governor.testing.fake_api.faults import ERROR_TYPES, Fault, FaultKind

if TYPE_CHECKING:
    from governor.testing.fake_api.answers import Answer
    from governor.testing.fake_api.bill import Account
    from governor.testing.fake_api.connection import Connection
    from governor.testing.fake_api.script import Reply

_STATUSES = {name: status for status, name in ERROR_TYPES.items() if status not in (422, 503)}


@dataclass(frozen=True, slots=True)
class Delivery:
    """One answer on its way to its client.

    Attributes:
        connection: Where it goes.
        answer: What is sent.
        account: Where it is charged, once.
        reply: Its delays.
        fault: How it breaks, if it does.
        headers: Response headers, beside the content type.
        tokens_per_delta: Tokens of text in one event of a stream.
    """

    connection: Connection
    answer: Answer
    account: Account
    reply: Reply
    fault: Fault | None
    headers: dict[str, str]
    tokens_per_delta: int

    async def send(self) -> None:
        """Send the answer, and charge it.

        Raises:
            ApiError: The fault makes a plain answer an error; nothing is charged.
        """
        kind = self.fault.kind if self.fault else None
        if self.fault and kind is FaultKind.ERROR_STREAM and not self.account.streamed:
            raise ApiError(_STATUSES.get(self.fault.type, 500), self.fault.message, type=self.fault.type)
        try:
            if self.reply.delay_ms and not await self.connection.pause(self.reply.delay_ms / 1000):
                return
            if self.account.streamed:
                await self._stream(kind)
            else:
                await self._plain(kind)
        finally:
            # The client left before the head, or the server stops: the prompt was read, so it is charged.
            self._charge_part(0)

    def _charge_whole(self) -> None:
        self.account.charge(self.answer.usage, complete=True, stop_reason=self.answer.stop_reason)

    def _charge_part(self, output_tokens: int) -> None:
        if self.account.charged:
            return
        # Why it ended is known of an answer without any output only: nothing was still to come.
        reason = None if self.answer.usage["output_tokens"] else self.answer.stop_reason
        usage = self.answer.partial_usage(output_tokens)
        self.account.charge(usage, complete=False, stop_reason=reason)

    async def _plain(self, kind: FaultKind | None) -> None:
        """One JSON message. It is charged first, so whoever has the answer finds it on the bill."""
        self._charge_whole()
        body = json.dumps(self.answer.message()).encode()
        headers = {"content-type": "application/json", **self.headers}
        if kind not in (FaultKind.CUT_STREAM, FaultKind.STALL_STREAM):
            self.connection.respond(200, headers, body)
            return
        self.connection.head(200, {**headers, "content-length": str(len(body))})
        self.connection.data(body[: len(body) // 2])
        if kind is FaultKind.STALL_STREAM:
            await self.connection.pause(None)
        self.connection.cut()

    async def _stream(self, kind: FaultKind | None) -> None:
        """Server-sent events.

        Charged just before the final usage leaves; a broken one just before it breaks; one that its client
        left, when that is noticed.
        """
        headers = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache"}
        self.connection.head(200, {**headers, **self.headers})
        events = self._events(kind)
        delay_ms = self.reply.event_delay_ms
        sent = 0
        try:
            for number, group in enumerate([[event] for event in events] if delay_ms else [events]):
                if number and not await self.connection.pause(delay_ms / 1000):
                    return
                if any(event.final for event in group):
                    self._charge_whole()
                self.connection.pieces(event.raw for event in group)
                sent = group[-1].output_tokens if group else 0
        finally:
            self._charge_part(sent)
        await self._finish(kind)

    def _events(self, kind: FaultKind | None) -> list[sse.Event]:
        """The events that are sent before the answer ends or breaks."""
        events = sse.events(self.answer, self.tokens_per_delta)
        if self.fault is None:
            return events
        if kind is FaultKind.CLEAN_END:
            events = [event for event in events[:-1] if not event.final]
        return events[: self.fault.after_events]

    async def _finish(self, kind: FaultKind | None) -> None:
        if kind in (FaultKind.CUT_STREAM, FaultKind.STALL_STREAM):
            if kind is FaultKind.STALL_STREAM:
                await self.connection.pause(None)
            self.connection.cut()
            return
        if self.fault and kind is FaultKind.ERROR_STREAM:
            error = error_body(self.fault.type, self.fault.message, self.account.request_id)
            self.connection.data(b"event: error\ndata: " + error + b"\n\n")
        self.connection.end()
