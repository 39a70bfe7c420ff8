"""Message Batches: what they hold, when they end, and how each item is worked on.

Sources: the SDK's types (`types/messages/message_batch*.py`), the docstrings of its
`resources/messages/batches.py`, and Anthropic's documentation of batch processing. Assumed, where none of
them says: a batch is priced at the day it was created; a refused cancel or delete is a 400; results that are
not there yet, or not any more, are a 404.
"""

from __future__ import annotations

import json
import threading
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from governor.testing.fake_api.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from governor.testing.fake_api.batch_script import BatchScript

_HOUR_MS = 3_600_000
EXPIRES_AFTER_MS = 24 * _HOUR_MS
"""A batch ends so long after its creation, with what is not answered by then `expired` (SDK types)."""
ARCHIVED_AFTER_MS = 29 * 24 * _HOUR_MS
"""Its results are gone so long after its creation (documented)."""

_ENDINGS = ("succeeded", "errored", "canceled", "expired")


@dataclass(slots=True)
class Item:
    """One request of a batch.

    Attributes:
        number: Its place, from 0.
        custom_id: As its sender named it.
        params: A body of `/v1/messages`.
        result: How it ended, as the API spells it; `None` until then.
    """

    number: int
    custom_id: str
    params: dict[str, Any]
    result: dict[str, Any] | None = None


@dataclass(slots=True)
class Batch:
    """One batch.

    Attributes:
        id: Its id.
        request_id: The `request-id` of the answer that created it.
        created_ms: When it was created, Unix milliseconds; likewise `canceled_ms` and `ended_ms`.
        items: Its requests.
    """

    id: str
    request_id: str
    created_ms: int
    items: list[Item]
    canceled_ms: int | None = None
    ended_ms: int | None = None

    def archived(self, now_ms: int) -> bool:
        """Whether its results are not kept any more."""
        return now_ms >= self.created_ms + ARCHIVED_AFTER_MS

    def counts(self) -> dict[str, int]:
        """How many items ended how; all of them are `processing` until the whole batch ended (SDK types)."""
        if self.ended_ms is None:
            return {"processing": len(self.items), **dict.fromkeys(_ENDINGS, 0)}
        kinds = [item.result["type"] for item in self.items if item.result]
        return {"processing": 0, **{kind: kinds.count(kind) for kind in _ENDINGS}}

    def view(self, now_ms: int, base_url: str) -> dict[str, Any]:
        """The batch as the API shows it; *base_url* is where its client found the API."""
        running = "in_progress" if self.canceled_ms is None else "canceling"
        archived_ms = self.created_ms + ARCHIVED_AFTER_MS if self.archived(now_ms) else None
        readable = self.ended_ms is not None and archived_ms is None
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": running if self.ended_ms is None else "ended",
            "request_counts": self.counts(),
            "created_at": _instant(self.created_ms),
            "expires_at": _instant(self.created_ms + EXPIRES_AFTER_MS),
            "ended_at": _instant(self.ended_ms),
            "cancel_initiated_at": _instant(self.canceled_ms),
            "archived_at": _instant(archived_ms),
            "results_url": f"{base_url}/v1/messages/batches/{self.id}/results" if readable else None,
        }

    def lines(self) -> list[bytes]:
        """Its results, one JSON line each, in an order that is not the items' (documented as possible)."""
        shuffled = sorted(self.items, key=lambda item: zlib.crc32(item.custom_id.encode()))
        return [_line(item) for item in shuffled]


@dataclass(slots=True)
class Batches:
    """Every batch of a fake API; safe to use from several threads.

    Attributes:
        seed: Goes into the ids.
        at_once: Whether a batch ends when it is first looked at, and not only when told.
        script: How items end whose ending was said beforehand.
        work: Answers one item: its result, as the API spells it.
        now_ms: The clock, in Unix milliseconds.
    """

    seed: int
    at_once: bool
    script: BatchScript
    work: Callable[[Batch, Item], dict[str, Any]]
    now_ms: Callable[[], int]
    _batches: dict[str, Batch] = field(default_factory=dict[str, Batch])
    _numbered: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def create(self, requests: Iterable[Mapping[str, Any]], request_id: str, at_ms: int) -> Batch:
        """Take a batch whose requests were checked; see `batch_rules.check_batch`."""
        with self._lock:
            self._numbered += 1
            batch_id = f"msgbatch_{self.seed:04x}{self._numbered:012d}"
            items = [Item(n, one["custom_id"], one["params"]) for n, one in enumerate(requests)]
            batch = self._batches[batch_id] = Batch(batch_id, request_id, at_ms, items)
            return batch

    def get(self, batch_id: str) -> Batch:
        """The batch of that id, as it is now.

        Raises:
            ApiError: 404, there is none.
        """
        with self._lock:
            return self._turn(self._known(batch_id))

    def page(
        self, limit: int, after_id: str | None = None, before_id: str | None = None
    ) -> tuple[list[Batch], bool]:
        """Up to *limit* batches, the newest first, and whether there are more that way.

        Args:
            limit: The most batches to give.
            after_id: Begin behind this one, with the next older (documented).
            before_id: End before this one, with the next newer (documented).

        Raises:
            ApiError: 400, a cursor names no batch (assumed).
        """
        with self._lock:
            newest = list(reversed(self._batches))
            for cursor in (after_id, before_id):
                if cursor is not None and cursor not in self._batches:
                    raise ApiError(400, f"Invalid cursor: {cursor}")
            first = 0 if after_id is None else newest.index(after_id) + 1
            last = len(newest) if before_id is None else newest.index(before_id)
            shown = newest[first:last]
            kept = shown[-limit:] if before_id is not None else shown[:limit]
            return [self._turn(self._batches[one]) for one in kept], len(shown) > limit

    def cancel(self, batch_id: str) -> Batch:
        """Begin to cancel: what is not worked on when the batch ends will be `canceled`.

        Raises:
            ApiError: 404, there is no such batch; 400, it has ended.
        """
        with self._lock:
            batch = self._known(batch_id)
            if batch.ended_ms is not None:
                raise ApiError(400, f"Batch {batch_id} cannot be canceled because it has already ended")
            batch.canceled_ms = batch.canceled_ms or self.now_ms()
            return batch

    def delete(self, batch_id: str) -> None:
        """Forget a batch that has ended.

        Raises:
            ApiError: 404, there is no such batch; 400, it is still processed.
        """
        with self._lock:
            batch = self._known(batch_id)
            if batch.ended_ms is None:
                raise ApiError(
                    400, f"Batch {batch_id} cannot be deleted while it is being processed; cancel it"
                )
            del self._batches[batch_id]

    def results(self, batch_id: str) -> list[bytes]:
        """The results, one JSON line each.

        Raises:
            ApiError: 404: no such batch, not ended yet, or not kept any more.
        """
        with self._lock:
            batch = self.get(batch_id)
            if batch.ended_ms is None:
                raise ApiError(404, f"Batch {batch_id} has no results yet: it is still being processed")
            if batch.archived(self.now_ms()):
                raise ApiError(404, f"The results of batch {batch_id} are archived")
            return batch.lines()

    def end(self, batch_ids: Sequence[str] = ()) -> None:
        """Work on every item of those batches, of all where none is named, and end them.

        Raises:
            ValueError: There is no batch of that id.
        """
        with self._lock:
            unknown = [one for one in batch_ids if one not in self._batches]
            if unknown:
                raise ValueError(f"there is no batch {unknown[0]!r}; give the id that create() answered")
            for one in batch_ids or list(self._batches):
                self._end(self._batches[one], self.now_ms())

    def clear(self) -> None:
        """Forget every batch; numbers go on."""
        with self._lock:
            self._batches.clear()

    def _known(self, batch_id: str) -> Batch:
        batch = self._batches.get(batch_id)
        if batch is None:
            raise ApiError(404, f"Message batch {batch_id} not found")
        return batch

    def _turn(self, batch: Batch) -> Batch:
        """End *batch* if it is time."""
        now_ms, expires_ms = self.now_ms(), batch.created_ms + EXPIRES_AFTER_MS
        if batch.ended_ms is None and (self.at_once or now_ms >= expires_ms):
            self._end(batch, min(now_ms, expires_ms))
        return batch

    def _end(self, batch: Batch, at_ms: int) -> None:
        if batch.ended_ms is not None:
            return
        unasked = self._unasked(batch)
        for item in batch.items:
            if item.result is None:
                item.result = self._ending(batch, item, unasked)
        batch.ended_ms = at_ms

    def _unasked(self, batch: Batch) -> Literal["canceled", "expired"] | None:
        """What becomes of items without an ending of their own where the model is not asked any more."""
        if batch.canceled_ms is not None:
            return "canceled"
        if not self.at_once and self.now_ms() >= batch.created_ms + EXPIRES_AFTER_MS:
            return "expired"
        return None

    def _ending(self, batch: Batch, item: Item, unasked: str | None) -> dict[str, Any]:
        outcome = self.script.outcome(item.custom_id)
        if outcome in ("canceled", "expired"):
            return {"type": outcome}
        # An ending that was said stands for a request that could not be interrupted any more (SDK docstring).
        if outcome is None and unasked is not None:
            return {"type": unasked}
        return self.work(batch, item)


def _line(item: Item) -> bytes:
    return json.dumps({"custom_id": item.custom_id, "result": item.result}).encode() + b"\n"


def _instant(at_ms: int | None) -> str | None:
    if at_ms is None:
        return None
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
