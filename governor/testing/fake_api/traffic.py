"""How many requests arrived and what they were answered, and answers that overload takes away."""

from __future__ import annotations

import random
import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_ALL_BP = 10_000


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests so far, of every path.

    Attributes:
        received: Requests that arrived.
        statuses: Answers by status, counted as their head is sent. A request that is still waiting, or whose
            client left, or whose connection was cut, has none.
        models: Requests by the model that their body names; under '' those that name none.
        paths: Requests by path.
        overloads: Of the answers, those that `overload_share_bp` made a 529.
    """

    received: int
    statuses: Mapping[int, int]
    models: Mapping[str, int]
    paths: Mapping[str, int]
    overloads: int


class Tally:
    """Counts the traffic; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.clear()

    def clear(self) -> None:
        """Forget every count."""
        with self._lock:
            self._received = self._overloads = 0
            self._statuses: Counter[int] = Counter()
            self._models: Counter[str] = Counter()
            self._paths: Counter[str] = Counter()

    def arrived(self, path: str, model: object) -> None:
        """A request arrived whole."""
        with self._lock:
            self._received += 1
            self._paths[path] += 1
            self._models[model if isinstance(model, str) else ""] += 1

    def answered(self, status: int) -> None:
        """The head of an answer is sent."""
        with self._lock:
            self._statuses[status] += 1

    def overloaded(self) -> None:
        """Overload takes an answer away."""
        with self._lock:
            self._overloads += 1

    def so_far(self) -> Traffic:
        """A copy of the counts."""
        with self._lock:
            return Traffic(
                self._received,
                dict(self._statuses),
                dict(self._models),
                dict(self._paths),
                self._overloads,
            )


class Overload:
    """Which requests the API is too busy for: a share of them, drawn from a seed in order of arrival.

    Args:
        share_bp: The share, in basis points.
        seed: Two runs with one seed refuse the same numbers in the order.
    """

    def __init__(self, share_bp: int, seed: int) -> None:
        self._share_bp = share_bp
        self._drawn = random.Random(seed)  # noqa: S311 - a test's weather, not a secret

    def strikes(self) -> bool:
        """Whether the next request is one of them."""
        return bool(self._share_bp) and self._drawn.randrange(_ALL_BP) < self._share_bp
