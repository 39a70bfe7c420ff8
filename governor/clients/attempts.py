"""How many legs a call of the SDK's has had, over all of its attempts, so that no two legs bear one id."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_CALLS = 10_000
"""Calls that are kept in mind; the one that was sent least recently is forgotten first."""


class Attempts:
    """What this process knows of calls that may come again: by the SDK's retries, or by other middleware.

    An answered call may come again, too: the SDK's own middleware for refusals sends it to another model.
    """

    def __init__(self) -> None:
        self._legs: OrderedDict[str, int] = OrderedDict()

    def begins(self, call_id: str, number: int) -> int:
        """The number of the first leg of an attempt, which is at least the call's *number*th."""
        first = max(self._legs.get(call_id, 0) + 1, number)
        self.reached(call_id, first)
        return first

    def reached(self, call_id: str, leg: int) -> None:
        """An attempt has had a leg of this number."""
        self._legs[call_id] = max(self._legs.pop(call_id, 0), leg)
        if len(self._legs) > MOST_CALLS:
            self._legs.popitem(last=False)


_UNDER_WAY: ContextVar[tuple[tuple[Attempts, str | None], ...]] = ContextVar("governor_under_way", default=())


@contextmanager
def under_way(attempts: Attempts, key: str | None) -> Iterator[None]:
    """Inside, the request with the SDK's *key* is held and handed on in its chain."""
    token = _UNDER_WAY.set((*_UNDER_WAY.get(), (attempts, key)))
    try:
        yield
    finally:
        _UNDER_WAY.reset(token)


def is_under_way(attempts: Attempts, key: str | None) -> bool:
    """Whether a door of the same governor, further out in the chain, holds the request already."""
    return (attempts, key) in _UNDER_WAY.get()
