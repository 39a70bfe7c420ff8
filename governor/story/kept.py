"""Answers given before, by what they answered: in this process's memory, the last used ones."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any, NamedTuple

MOST_ANSWERS = 1_000


class Kept(NamedTuple):
    """An answer given before.

    Attributes:
        message: The SDK's message: a copy, the caller's to keep.
        age_ms: How long ago it came.
    """

    message: Any
    age_ms: int


class Answers:
    """The last answers of this process, by the digest of their request."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, tuple[Any, int]] = OrderedDict()

    def age_ms(self, key: bytes | None, now_ms: int) -> int | None:
        """How old the answer under *key* is, milliseconds; `None` if there is none."""
        found = None if key is None else self._known.get(key)
        return None if found is None else max(0, now_ms - found[1])

    def find(self, key: bytes, now_ms: int) -> Kept | None:
        """The answer under *key*."""
        found = self._known.get(key)
        if found is None:
            return None
        self._known[key] = self._known.pop(key, found)
        return Kept(copy.deepcopy(found[0]), max(0, now_ms - found[1]))

    def keep(self, key: bytes, message: Any, now_ms: int) -> None:
        """Keep an answer under *key*."""
        self._known.pop(key, None)
        self._known[key] = (copy.deepcopy(message), now_ms)
        if len(self._known) > MOST_ANSWERS:
            self._known.popitem(last=False)
