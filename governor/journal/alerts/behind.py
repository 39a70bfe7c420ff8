"""Who is behind what is amiss: the shares of the calls of late. Pure."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from governor.journal.alerts.alert import Share
from governor.journal.alerts.metrics import value_of, weight

if TYPE_CHECKING:
    from collections.abc import Iterable

    from governor.journal.alerts.cells import Subject
    from governor.journal.alerts.metrics import Metric
    from governor.journal.call import Call

KEPT_MS = 7_200_000
MOST_CALLS = 20_000
"""Shares are of the calls of the last two hours, and of the last 20,000 at most."""

SHOWN = ("run", "user", "feature", "model", "department", "error")
MOST_SHARES = 3
LEAST_PERCENT = 10.0


class Past(NamedTuple):
    """An ended call, when it ended, and the usd budgets that it touched."""

    at_ms: int
    call: Call
    budgets: tuple[str, ...]


class Recent:
    """The calls of late."""

    def __init__(self) -> None:
        self._calls: deque[Past] = deque(maxlen=MOST_CALLS)

    def take(self, call: Call, at_ms: int, budgets: tuple[str, ...]) -> None:
        """Remember an ended call."""
        self._calls.append(Past(at_ms, call, budgets))
        while self._calls[0].at_ms < at_ms - KEPT_MS:
            self._calls.popleft()

    def shares(
        self, metric: Metric, subject: Subject, threshold: float, since_ms: int, budget: str = ""
    ) -> dict[str, dict[str, float]]:
        """Per dimension, whose part is how many percent of what is amiss since an instant; '' is nobody's.

        With *budget*, of the calls that touched that one.
        """
        found: dict[str, dict[str, float]] = {name: {} for name in (*SHOWN, "budget", "status")}
        total = 0
        for past in self._calls:
            if past.at_ms < since_ms or (budget and budget not in past.budgets):
                continue
            if any(value_of(past.call, name) != one for name, one in subject):
                continue
            part = weight(metric, past.call, threshold)
            if not part:
                continue
            total += part
            for name in SHOWN:
                value = value_of(past.call, name)
                found[name][value] = found[name].get(value, 0) + part
            if past.call.status and past.call.failed:
                kind = f"{past.call.status // 100}xx"
                found["status"][kind] = found["status"].get(kind, 0) + part
            for touched in past.budgets:
                found["budget"][touched] = found["budget"].get(touched, 0) + part
        return {
            name: {value: 100 * part / total for value, part in parts.items()}
            for name, parts in found.items()
        }


def ranked(shares: Iterable[dict[str, dict[str, float]]]) -> tuple[Share, ...]:
    """The greatest shares that any of some symptoms has, in the order in which people look for them."""
    merged: dict[tuple[str, str], float] = {}
    for one in shares:
        for dimension, parts in one.items():
            for value, percent in parts.items():
                if value:
                    key = (dimension, value)
                    merged[key] = max(merged.get(key, 0.0), percent)
    told: list[Share] = []
    for dimension in (*SHOWN, "budget"):
        mine = [(percent, name) for (kind, name), percent in merged.items() if kind == dimension]
        top = sorted(mine, key=lambda item: (-item[0], item[1]))[:MOST_SHARES]
        told += [
            Share(dimension, name, round(percent, 1)) for percent, name in top if percent >= LEAST_PERCENT
        ]
    return tuple(sorted(told, key=lambda share: -share.percent))
