"""What has to be told, told: channels through couriers, the journal and automated responses at once."""

from __future__ import annotations

import hashlib
import json
import threading
from typing import TYPE_CHECKING, Any

from governor.errors import GovernorError, LedgerUnavailable
from governor.journal.alerts.alert import alert_of
from governor.journal.alerts.channels import DELIVERED, Told
from governor.journal.alerts.outbox import ACTION, DEAD, JOURNAL, Outbox
from governor.ledger.entering import Enter

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    import sqlalchemy as sa

    from governor.journal.alerts.alert import Action, Alert
    from governor.journal.alerts.couriers import Couriers
    from governor.journal.alerts.outbox import Backlog, Delivery
    from governor.journal.alerts.worker import Place

    Respond = Callable[[Action, Alert], str]
    """Carries out an action; returns '' or why it cannot be done. Raises `LedgerUnavailable`."""
    Say = Callable[[str, str], None]

AT_ONCE = 200
"""So many deliveries of one channel are taken up together."""

FINISH_S = 20.0
"""How long what is on its way is waited for at the end."""


class Teller:
    """Sends what is due, and stores what became of it.

    Args:
        place: What the worker works on.
        couriers: Who takes messages to channels.
        respond: Carries out an action.
        transaction: One that the worker may write in.
        now_ms: Unix milliseconds.
    """

    def __init__(
        self,
        place: Place,
        couriers: Couriers,
        respond: Respond,
        transaction: Callable[[], AbstractContextManager[sa.Connection]],
        now_ms: Callable[[], int],
    ) -> None:
        self._place, self._couriers, self._respond = place, couriers, respond
        self._transaction, self._now_ms = transaction, now_ms
        self._outbox = Outbox(place.organization)
        self._undone: list[tuple[Delivery, Told]] = []
        self._failing: dict[str, str] = {}
        self.woken = threading.Event()
        couriers.woken = self.woken.set

    def round(self, say: Say) -> int:
        """Store what came back, and send what is due; returns how many. Raises what the database raises."""
        self._collect(say)  # if that fails nothing more is sent: it would be sent again and again
        with self._place.books.engine.begin() as connection:
            waiting = self._outbox.channels_waiting(connection)
            now_ms = self._now_ms()
            due = {
                name: self._outbox.due(connection, now_ms, name, AT_ONCE)
                for name, next_ms in waiting.items()
                if next_ms <= now_ms and (name.startswith("@") or self._couriers.free(name))
            }
        for name, rows in due.items():
            if name.startswith("@"):
                self._at_once(rows)
            elif rows:
                self._couriers.send(name, rows)
        self._collect(say)
        return sum(map(len, due.values()))

    def until_idle(self, say: Say) -> Backlog:
        """Send all that is due once, wait for what comes of it, and return what still waits or is dead."""
        while self.round(say) or self._couriers.busy:
            self.woken.wait(0.2)
            self.woken.clear()
        with self._place.books.engine.begin() as connection:
            return self._outbox.backlog(connection)

    def finish(self, say: Say) -> None:
        """Wait for what is on its way, for a while, and store what became of it."""
        waited_s = 0.0
        while self._couriers.busy and waited_s < FINISH_S:
            self.woken.wait(0.1)
            self.woken.clear()
            waited_s += 0.1
            self._collect(say)
        self._collect(say)

    def _collect(self, say: Say) -> None:
        self._undone += self._couriers.done()
        if not self._undone:
            return
        with self._transaction() as connection:
            marked = [self._outbox.mark(connection, row, told, self._now_ms()) for row, told in self._undone]
        self._undone.clear()
        for row in marked:
            self._tell(row, say)

    def _tell(self, row: Delivery, say: Say) -> None:
        """Say once that a place cannot be reached, and once that it can be again; each that is given up."""
        if row.state == DEAD:
            say("error", f"{row.channel}: gave up {row.event} {row.key} after {row.tries} tries: {row.error}")
        elif row.error and self._failing.get(row.channel) != row.error:
            say("warning", f"{row.channel}: {row.error}; it is tried again")
        elif not row.error and row.channel in self._failing:
            say("info", f"{row.channel}: it is reached again")
        if row.error:
            self._failing[row.channel] = row.error
        else:
            self._failing.pop(row.channel, None)

    def _at_once(self, rows: Sequence[Delivery]) -> None:
        """What the ledger is told; the first failure ends it, for the others would wait for the same."""
        for row in rows:
            told = self._enter(row) if row.channel == JOURNAL else self._act(row)
            self._undone.append((row, told))
            if told.error and not told.final:
                break

    def _enter(self, row: Delivery) -> Told:
        alert = json.loads(row.body)["data"]
        name = hashlib.sha256(f"{row.key}/{row.event}".encode()).hexdigest()[:32]
        record = json.dumps({"v": 1, "event": row.event, **alert}, separators=(",", ":"))
        try:
            self._place.ledger.execute(Enter(f"alert_{name}", "alert", str(alert["cause"]), record))
        except LedgerUnavailable as error:
            return Told(str(error))
        except (GovernorError, ValueError) as error:
            return Told(str(error), final=True)
        return DELIVERED

    def _act(self, row: Delivery) -> Told:
        alert = alert_of(json.loads(row.body)["data"])
        number = int(row.channel.removeprefix(ACTION))
        if number >= len(alert.actions):
            return Told("the alert asks for no such response", final=True)
        action = alert.actions[number]
        refused = self._too_late(action, alert)
        if refused:
            return Told(refused, final=True)
        try:
            why_not = self._respond(action, alert)
        except LedgerUnavailable as error:
            return Told(str(error))
        except (GovernorError, ValueError) as error:
            return Told(str(error), final=True)
        return Told(why_not, final=True) if why_not else DELIVERED

    def _too_late(self, action: Action, alert: Alert) -> str:
        """Why a response would come too late: it would be over, or what it was for is."""
        if self._now_ms() >= alert.seen_ms + action.for_ms:
            return "not carried out: it would be over by now"
        with self._place.books.engine.begin() as connection:
            going_on: dict[str, Any] = self._outbox.going_on(connection)
        return "" if alert.key in going_on else "not carried out: the alert had ended"
