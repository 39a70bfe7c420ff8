"""How many legs the earlier attempts of a call of the SDK's had, so that no two legs bear one id."""

from __future__ import annotations

from collections import OrderedDict

MOST_CALLS = 10_000
"""Calls that are kept in mind between two attempts; the oldest is forgotten first."""


class Attempts:
    """What this process knows of calls that the SDK may try again."""

    def __init__(self) -> None:
        self._legs: OrderedDict[str, int] = OrderedDict()

    def begins(self, call_id: str, number: int) -> int:
        """The number of the first leg of a call's attempt, which is the call's *number*th."""
        return max(self._legs.get(call_id, 0) + 1, number)

    def ended(self, call_id: str, legs: int, *, again: bool) -> None:
        """An attempt had so many legs; *again*: whether the SDK may make another one."""
        before = self._legs.pop(call_id, 0)
        if again:
            self._legs[call_id] = before + legs
            if len(self._legs) > MOST_CALLS:
                self._legs.popitem(last=False)
