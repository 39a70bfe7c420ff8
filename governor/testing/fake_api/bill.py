"""The fake API's bill: what Anthropic would charge for what was really served."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from governor.testing.fake_api.catalogue import Catalogue


@dataclass(frozen=True, slots=True)
class BillLine:
    """One charged answer.

    Attributes:
        request_id: The `request-id` the answer carried, or would have carried.
        model: The model billed.
        usage: The usage charged, as the API spells it.
        nanos: The charge in nano-dollars, rounded up once.
        complete: Whether the whole answer was generated; false for a stream that broke or was left early,
            which is charged its input and the output sent so far.
        streamed: Whether the request asked for a stream.
        at_ms: When the request, or its batch, arrived, Unix milliseconds; it decides the prices.
        tag: The request's `x-fake-tag` header, if any; of an item of a batch its `custom_id`.
        batch_id: The batch it was an item of, if any.
    """

    request_id: str
    model: str
    usage: dict[str, Any]
    nanos: int
    complete: bool
    streamed: bool
    at_ms: int
    tag: str | None
    batch_id: str | None = None


class Bill:
    """Bill lines and their exact sum; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: list[BillLine] = []
        self._nanos = 0

    def add(self, line: BillLine) -> None:
        """Charge *line*."""
        with self._lock:
            self._lines.append(line)
            self._nanos += line.nanos

    def lines(self) -> list[BillLine]:
        """A copy of every line, in the order of charging."""
        with self._lock:
            return list(self._lines)

    def nanos(self) -> int:
        """The sum of all lines in nano-dollars."""
        with self._lock:
            return self._nanos

    def clear(self) -> None:
        """Forget every line."""
        with self._lock:
            self._lines.clear()
            self._nanos = 0


@dataclass(slots=True)
class Account:
    """Where one request is charged, at most once.

    Attributes:
        bill: The bill it goes to.
        catalogue: The prices.
        request_id: As in `BillLine`; likewise `model`, `streamed`, `at_ms`, `tag` and `batch_id`.
        endpoint: The cloud's endpoint that was asked, if any; see `Catalogue.charge`.
        on_whole: Told of a charge for the whole answer, before the answer's end can have left.
        charged: Whether it has been charged.
    """

    bill: Bill
    catalogue: Catalogue
    request_id: str
    model: str
    streamed: bool
    at_ms: int
    tag: str | None
    endpoint: str | None = None
    batch_id: str | None = None
    on_whole: Callable[[], None] | None = None
    charged: bool = False

    def price(self, usage: Mapping[str, Any], stop_reason: str | None) -> int:
        """The charge in nano-dollars, rounded up once; see `Catalogue.charge` for what is free.

        Raises:
            Unpriced: The usage reports what has no price.
        """
        exact = self.catalogue.charge(
            self.model, usage, self.at_ms, endpoint=self.endpoint, stop_reason=stop_reason
        )
        return math.ceil(exact)

    def charge(self, usage: Mapping[str, Any], *, complete: bool, stop_reason: str | None = None) -> None:
        """Charge *usage*, unless the request was charged already."""
        if self.charged:
            return
        self.charged = True
        line = BillLine(
            request_id=self.request_id,
            model=self.model,
            usage=dict(usage),
            nanos=self.price(usage, stop_reason),
            complete=complete,
            streamed=self.streamed,
            at_ms=self.at_ms,
            tag=self.tag,
            batch_id=self.batch_id,
        )
        self.bill.add(line)
        if complete and self.on_whole is not None:
            self.on_whole()
