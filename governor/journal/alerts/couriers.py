"""Takes messages to their channels: a thread for each, none waits for another; few to people at once."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from governor.journal.alerts.channels import Told, open_channel
from governor.journal.alerts.message import ENDED, digest, message_of
from governor.journal.alerts.rule import Channel as ChannelSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from governor.journal.alerts.channels import Channel
    from governor.journal.alerts.message import Message
    from governor.journal.alerts.outbox import Delivery

BURST = 10
"""So many messages a channel that people read gets at once; what is more comes as one digest."""

REFILL_S = 60.0
"""After so many seconds it may get one more."""

MOST_LOST = 4
"""So many threads of one channel may hang; then it is sent nothing more until one comes back."""

HANGS_S = 90.0
"""A sending that takes so long is given up: time-outs end the others much sooner."""

Parcel = tuple[tuple["Delivery", ...], "Message"]
"""A message, and the deliveries that it is."""


@dataclass(slots=True)
class _Route:
    """What is known of one channel."""

    channel: Channel
    tokens: float = BURST
    at_s: float = 0.0
    rests_until_s: float = 0.0
    parcels: list[Parcel] = field(default_factory=list)
    since_s: float | None = None
    trip: int = 0
    lost: int = 0


class Couriers:
    """Sends in the background; what became of it is collected by `done`.

    Args:
        organization: Whose alerts.
        channels: Those of the rules, by name.
        clock: Seconds, steady.
    """

    def __init__(
        self,
        organization: str,
        channels: Mapping[str, ChannelSpec],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._organization, self._specs, self._clock = organization, channels, clock
        self._routes: dict[str, _Route] = {}
        self._done: queue.SimpleQueue[tuple[str, int, tuple[Delivery, ...], Told | None]] = (
            queue.SimpleQueue()
        )
        self.woken: Callable[[], None] = lambda: None

    def free(self, name: str) -> bool:
        """Whether *name* has nothing on its way, and may be sent something now."""
        route, now_s = self._route(name), self._clock()
        _refill(route, now_s)
        if route.since_s is not None or now_s < route.rests_until_s or route.lost >= MOST_LOST:
            return False
        return route.tokens >= 1 or not route.channel.digests

    @property
    def busy(self) -> bool:
        """Whether anything is on its way."""
        return any(route.since_s is not None for route in self._routes.values())

    def send(self, name: str, rows: Sequence[Delivery]) -> None:
        """Send *rows* to a channel that is free, in order; the first failure ends the trip."""
        route = self._route(name)
        route.parcels = self._pack(route, rows)
        if route.channel.digests:
            counted = [message for _, message in route.parcels if not _closes(route, message)]
            route.tokens -= min(route.tokens, len(counted))
        route.since_s, route.trip = self._clock(), route.trip + 1
        work = (name, route.trip, route.channel, tuple(route.parcels))
        threading.Thread(target=self._travel, args=work, name=f"alerts to {name}", daemon=True).start()

    def done(self) -> list[tuple[Delivery, Told]]:
        """What became of what was sent, since the last time this was asked."""
        found: list[tuple[Delivery, Told]] = []
        while True:
            try:
                name, trip, rows, told = self._done.get_nowait()
            except queue.Empty:
                break
            route = self._routes[name]
            if trip != route.trip or route.since_s is None:
                route.lost -= told is None  # it was given up, and comes back after all
            elif told is None:
                route.since_s = None
            else:
                route.parcels = [one for one in route.parcels if one[0] != rows]
                found += [(row, told) for row in rows]
                if told.after_s:
                    route.rests_until_s = self._clock() + min(told.after_s, 3600.0)
        return found + self._hanging()

    def _hanging(self) -> list[tuple[Delivery, Told]]:
        """Give up what takes too long: the first parcel that did not arrive."""
        found: list[tuple[Delivery, Told]] = []
        for route in self._routes.values():
            if route.since_s is None or self._clock() - route.since_s < HANGS_S * max(1, len(route.parcels)):
                continue
            route.since_s, route.lost = None, route.lost + 1
            for rows, _ in route.parcels[:1]:
                found += [(row, Told("no end of it in time")) for row in rows]
        return found

    def _travel(self, name: str, trip: int, channel: Channel, parcels: Sequence[Parcel]) -> None:
        for rows, message in parcels:
            told = channel.send(message)
            self._done.put((name, trip, rows, told))
            if told.error:
                break
        self._done.put((name, trip, (), None))
        self.woken()

    def _pack(self, route: _Route, rows: Sequence[Delivery]) -> list[Parcel]:
        """Each row a parcel of its own; of too many for people, those that may be are one digest."""
        single: list[Parcel] = [((row,), self._message(row)) for row in rows]
        loose = [one for one in single if not _closes(route, one[1])]
        if not route.channel.digests or len(loose) <= min(int(route.tokens), BURST):
            return single
        pages = [one for one in single if _closes(route, one[1])]
        together = tuple(row for part, _ in loose for row in part)
        return [(together, digest([message for _, message in loose])), *pages]

    def _message(self, row: Delivery) -> Message:
        return message_of(self._organization, row.key, row.event, row.body)

    def _route(self, name: str) -> _Route:
        route = self._routes.get(name)
        if route is None:
            channel = open_channel(self._specs.get(name) or ChannelSpec(name))
            route = self._routes[name] = _Route(channel, at_s=self._clock())
        return route


def _closes(route: _Route, message: Message) -> bool:
    """Whether it closes an incident: no person is told by it, and each incident has to be closed itself."""
    return route.channel.resolves and message.event == ENDED


def _refill(route: _Route, now_s: float) -> None:
    route.tokens = min(float(BURST), route.tokens + (now_s - route.at_s) / REFILL_S)
    route.at_s = now_s
