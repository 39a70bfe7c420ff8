"""Alerts as they are stored, and what has still to be told of them: both written in one transaction.

`governor_alerts` has one row for each incident; `governor_deliveries` one for each event of it and each place
that is to hear of it, made with the alert itself. So a worker may die at any point: what was stored is told
at least once, always under the same id, and nothing is stored twice.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from governor.journal.alerts.alert import SEVERITIES, read_alert
from governor.journal.alerts.message import ENDED, RAISED, WORSE, envelope
from governor.journal.tables import alerts, deliveries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from governor.journal.alerts.alert import Alert
    from governor.journal.alerts.channels import Told

WAITING, SENT, DEAD = "waiting", "sent", "dead"
STATES = (WAITING, SENT, DEAD)

JOURNAL = "@journal"
"""The place that stands for the ledger's journal; no channel is named so."""

ACTION = "@action/"
"""With a number: the place that stands for an alert's automated response."""

BACK_OFF_S = (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 28_800, 43_200)
"""How long it waits after the first try that failed, the second …; after the last it is dead: 28 hours."""

MOST_ERROR = 500
_LONGEST_KEY = 256
_EVENT_ORDER = sa.case((deliveries.c.event == RAISED, 0), (deliveries.c.event == ENDED, 2), else_=1)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event of an alert that one place is to hear of.

    Attributes:
        key: The alert's.
        event: `raised`, `now_warning` or `now_critical` if it got worse, or `ended`.
        channel: A channel's name, `@journal`, or `@action/0`.
        state: `waiting`, `sent` or `dead`.
        tries: How often it was sent without success, or 1 more if it is sent.
        next_ms: Not before then, Unix milliseconds by the worker's clock; of one that is sent or dead, when
            it became so.
        error: Why the last try failed, or ''.
        body: JSON, as `message.envelope` writes it.
    """

    key: str
    event: str
    channel: str
    state: str
    tries: int
    next_ms: int
    error: str
    body: str

    @property
    def id(self) -> tuple[str, str, str]:
        """What tells it from every other one."""
        return self.key, self.event, self.channel


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many deliveries wait, are dead, and since when (Unix milliseconds) the oldest one waits."""

    waiting: int
    dead: int
    oldest_ms: int | None


class Outbox:
    """The alerts and deliveries of one organisation; every call runs in the caller's transaction."""

    def __init__(self, organization: str) -> None:
        self._organization = organization

    def going_on(self, connection: sa.Connection) -> dict[str, str]:
        """The alerts that have not ended: their keys, and what was stored of them, a JSON object."""
        query = sa.select(alerts.c.key, alerts.c.told).where(
            alerts.c.organization == self._organization, alerts.c.ended_ms.is_(None)
        )
        return {row.key: row.told for row in connection.execute(query)}

    def raise_(self, connection: sa.Connection, alert: Alert, now_ms: int) -> bool:
        """Store an alert with its deliveries; answers whether it is new: one of its key is kept."""
        alert = fitted(alert)
        if self._found(connection, alert.key) is not None:
            return False
        connection.execute(sa.insert(alerts).values(organization=self._organization, **_row(alert)))
        actions = [f"{ACTION}{number}" for number in range(len(alert.actions))]
        places = (JOURNAL, *actions, *alert.channels)
        self._add(connection, alert, RAISED, places, now_ms)
        return True

    def update(self, connection: sa.Connection, alert: Alert, now_ms: int) -> None:
        """Store how an alert is by now; who joined its channels is told of it, and all that it got worse."""
        found = self._found(connection, fitted(alert).key)
        if found is None or found.ended_ms is not None:
            return
        before = read_alert(found.told)
        alert = _answered(fitted(alert), before)
        connection.execute(sa.update(alerts).where(*self._where(alert.key)).values(**_row(alert)))
        heard = self._heard(connection, alert.key)
        fresh = [name for name in alert.channels if name not in heard]
        fresh += [f"{ACTION}{number}" for number in range(len(before.actions), len(alert.actions))]
        if SEVERITIES.index(alert.severity) > SEVERITIES.index(before.severity):
            self._add(connection, alert, f"{WORSE}{alert.severity}", (JOURNAL, *heard), now_ms)
        self._add(connection, alert, RAISED, fresh, now_ms)

    def end(self, connection: sa.Connection, alert: Alert, now_ms: int) -> bool:
        """Store that an alert ended; answers whether that is new. Those that were told of it are told."""
        found = self._found(connection, fitted(alert).key)
        if found is None or found.ended_ms is not None:
            return False
        alert = _answered(fitted(alert), read_alert(found.told))
        connection.execute(sa.update(alerts).where(*self._where(alert.key)).values(**_row(alert)))
        self._add(connection, alert, ENDED, (JOURNAL, *self._heard(connection, alert.key)), now_ms)
        return True

    def due(self, connection: sa.Connection, now_ms: int, channel: str, most: int) -> list[Delivery]:
        """What *channel* is to be sent now: what waits longest first, an alert's events in order."""
        mine = (deliveries.c.channel == channel, deliveries.c.state == WAITING)
        rows = self._read(*mine, deliveries.c.next_ms <= now_ms)
        rows = rows.order_by(deliveries.c.next_ms, deliveries.c.key, _EVENT_ORDER).limit(most)
        found = [_delivery(row) for row in connection.execute(rows)]
        places = {one.key: at for at, one in reversed(list(enumerate(found)))}
        found.sort(key=lambda one: (places[one.key], _order(one.event)))
        later = {one.key for one in found if one.event != RAISED}
        if not later:
            return found
        taken = {(one.key, one.event) for one in found}
        # What came before it may wait for longer, because it was tried already.
        query = self._read(*mine, deliveries.c.key.in_(later)).order_by(deliveries.c.key, _EVENT_ORDER)
        first: dict[str, str] = {}
        for row in connection.execute(query):
            if (row.key, row.event) not in taken:
                first.setdefault(row.key, row.event)
        return [one for one in found if one.key not in first or _order(one.event) < _order(first[one.key])]

    def channels_waiting(self, connection: sa.Connection) -> dict[str, int]:
        """Every channel that something waits for, with when the first of it is due."""
        query = (
            sa.select(deliveries.c.channel, sa.func.min(deliveries.c.next_ms))
            .where(deliveries.c.organization == self._organization, deliveries.c.state == WAITING)
            .group_by(deliveries.c.channel)
        )
        return {name: int(next_ms) for name, next_ms in connection.execute(query)}

    def mark(self, connection: sa.Connection, one: Delivery, told: Told, now_ms: int) -> Delivery:
        """Store what became of a delivery, and return it as it is now."""
        after = judged(one, told, now_ms)
        names = ("state", "tries", "next_ms", "error")
        values = {name: getattr(after, name) for name in names}
        connection.execute(sa.update(deliveries).where(*self._one(one)).values(**values))
        return after

    def listed(self, connection: sa.Connection, *states: str, key: str | None = None) -> Iterator[Delivery]:
        """The deliveries in *states* (none: all), of one alert if *key* is given, the newest first."""
        wanted: list[Any] = [deliveries.c.state.in_(states)] if states else []
        if key is not None:
            wanted.append(deliveries.c.key == key)
        query = self._read(*wanted).order_by(
            deliveries.c.next_ms.desc(), deliveries.c.key, _EVENT_ORDER, deliveries.c.channel
        )
        for row in connection.execute(query, execution_options={"yield_per": 1000}):
            yield _delivery(row)

    def retry(self, connection: sa.Connection, now_ms: int, key: str | None = None) -> int:
        """Let what is dead wait again, of one alert if *key* is given; returns how many are."""
        wanted: list[Any] = [deliveries.c.organization == self._organization, deliveries.c.state == DEAD]
        if key is not None:
            wanted.append(deliveries.c.key == key)
        again = {"state": WAITING, "tries": 0, "next_ms": now_ms}
        return int(connection.execute(sa.update(deliveries).where(*wanted).values(**again)).rowcount)

    def backlog(self, connection: sa.Connection) -> Backlog:
        """How much waits."""
        query = (
            sa.select(deliveries.c.state, sa.func.count(), sa.func.min(alerts.c.began_ms))
            .select_from(
                deliveries.outerjoin(
                    alerts,
                    sa.and_(
                        alerts.c.organization == deliveries.c.organization, alerts.c.key == deliveries.c.key
                    ),
                )
            )
            .where(deliveries.c.organization == self._organization, deliveries.c.state != SENT)
            .group_by(deliveries.c.state)
        )
        rows = {state: (int(count), began_ms) for state, count, began_ms in connection.execute(query)}
        waiting, oldest_ms = rows.get(WAITING, (0, None))
        return Backlog(waiting, rows.get(DEAD, (0, None))[0], oldest_ms)

    def _add(
        self, connection: sa.Connection, alert: Alert, event: str, places: Iterable[str], now_ms: int
    ) -> None:
        at_ms = alert.began_ms if event == RAISED else (alert.ended_ms or alert.seen_ms)
        body = envelope(event, alert.as_json(), at_ms)
        known = set(
            connection.execute(sa.select(deliveries.c.channel).where(*self._told(alert.key, event))).scalars()
        )
        rows = [
            {
                "organization": self._organization,
                "key": alert.key,
                "event": event,
                "channel": place,
                "state": WAITING,
                "tries": 0,
                "next_ms": now_ms,
                "error": "",
                "body": body,
            }
            for place in dict.fromkeys(places)
            if place not in known
        ]
        if rows:
            connection.execute(sa.insert(deliveries), rows)

    def _heard(self, connection: sa.Connection, key: str) -> list[str]:
        """The channels that are told of an alert."""
        query = sa.select(deliveries.c.channel).where(*self._told(key, RAISED))
        return sorted(name for name in connection.execute(query).scalars() if not name.startswith("@"))

    def _found(self, connection: sa.Connection, key: str) -> Any:
        return connection.execute(sa.select(alerts).where(*self._where(key))).first()

    def _where(self, key: str) -> tuple[Any, ...]:
        return alerts.c.organization == self._organization, alerts.c.key == key

    def _told(self, key: str, event: str) -> tuple[Any, ...]:
        mine = (deliveries.c.organization == self._organization, deliveries.c.key == key)
        return (*mine, deliveries.c.event == event)

    def _one(self, one: Delivery) -> tuple[Any, ...]:
        return (*self._told(one.key, one.event), deliveries.c.channel == one.channel)

    def _read(self, *where: Any) -> Any:
        columns = [deliveries.c[name] for name in Delivery.__slots__]
        return sa.select(*columns).where(deliveries.c.organization == self._organization, *where)


def judged(one: Delivery, told: Told, now_ms: int, draw: random.Random | None = None) -> Delivery:
    """A delivery after a try: sent, waiting for the next one, or dead.

    Args:
        one: As it was.
        told: What became of it.
        now_ms: Unix milliseconds.
        draw: Of how much sooner the next try comes, up to a tenth, lest all come at once.
    """
    if not told.error:
        return replace(one, state=SENT, tries=one.tries + 1, next_ms=now_ms, error="")
    error, tries = told.error[:MOST_ERROR], one.tries + 1
    if told.final or tries > len(BACK_OFF_S):
        return replace(one, state=DEAD, tries=tries, next_ms=now_ms, error=error)
    wait_s = max(BACK_OFF_S[tries - 1], min(told.after_s, BACK_OFF_S[-1]))
    early = (draw or random.Random()).uniform(0.9, 1.0)  # noqa: S311 - spreads tries, guards nothing
    return replace(one, tries=tries, next_ms=now_ms + int(1000 * wait_s * early), error=error)


def fitted(alert: Alert) -> Alert:
    """The alert with a key and a cause that fit their columns; a long key ends with its hash instead."""
    key, cause = alert.key, alert.cause[:_LONGEST_KEY]
    if len(key) > _LONGEST_KEY:
        key = f"{key[: _LONGEST_KEY - 33]}~{hashlib.sha256(key.encode()).hexdigest()[:32]}"
    return alert if (key, cause) == (alert.key, alert.cause) else replace(alert, key=key, cause=cause)


def _answered(alert: Alert, before: Alert) -> Alert:
    """The alert with the responses that it asked for before first: each is known by its number for good."""
    return replace(alert, actions=tuple(dict.fromkeys((*before.actions, *alert.actions))))


def _order(event: str) -> int:
    return {RAISED: 0, ENDED: 2}.get(event, 1)


def _row(alert: Alert) -> dict[str, Any]:
    rule = alert.symptoms[0].rule if alert.symptoms else alert.cause
    told = json.dumps(alert.as_json(), separators=(",", ":"), ensure_ascii=False, default=str)
    values: dict[str, Any] = {"key": alert.key, "rule": rule[:128], "severity": alert.severity}
    values |= {"cause": alert.cause, "began_ms": alert.began_ms, "seen_ms": alert.seen_ms}
    return {**values, "ended_ms": alert.ended_ms, "told": told}


def _delivery(row: Any) -> Delivery:
    return Delivery(*row)
