"""The alert worker: follows the archive, evaluates the rules in journal time, stores alerts and tells them.

Of several, one acts: it holds the lease, and writes nothing without it. In one transaction stand the alerts
of an evaluation, what has to be told of them, and up to which instant was evaluated; so a worker that takes
over reads back what the rules need to remember, and goes on behind that instant.
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy import exc

from governor.errors import LedgerUnavailable
from governor.journal.alerts.alert import Alert, read_alert
from governor.journal.alerts.change import Change
from governor.journal.alerts.following import Follower
from governor.journal.alerts.outbox import Outbox, fitted
from governor.journal.alerts.teller import Teller
from governor.journal.archive import ArchiveError
from governor.journal.archiving import copy_new
from governor.journal.lease import Lease, LeaseLostError
from governor.ledger.commands import Inspect

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence

    import sqlalchemy as sa

    from governor.journal.alerts.couriers import Couriers
    from governor.journal.alerts.outbox import Backlog
    from governor.journal.alerts.teller import Respond
    from governor.journal.archive_sql import SqlArchive
    from governor.ledger import Ledger
    from governor.ledger.commands import JournalEntry

TASK = "alerts"
LEASE_PERIODS = 1.5
"""How many periods a lease lasts: with what a look for it may be late, a dead worker's place is taken within
two."""

MOST_LEASE_MS = 900_000
MOST_WAIT_MS = 15_000
LOOKS = 6
"""So often within its length a lease is renewed, or looked for."""


class Watching(Protocol):
    """What evaluates: `governor.journal.alerts.watch.Watch`."""

    @property
    def open(self) -> tuple[Alert, ...]:
        """The alerts that go on."""
        raise NotImplementedError

    def take(self, entry: JournalEntry) -> None:
        """Take in a record."""
        raise NotImplementedError

    def tick(self, now_ms: int) -> list[Change]:
        """Evaluate what is due up to an instant."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Place:
    """What a worker works on.

    Attributes:
        organization: Whose.
        ledger: Whose journal.
        books: Its archive.
        watch: Makes an evaluation that has seen nothing yet.
        memory_ms: How much of the journal it must see to judge as one that saw all of it.
        every_ms: The evaluation period.
    """

    organization: str
    ledger: Ledger
    books: SqlArchive
    watch: Callable[[], Watching]
    memory_ms: int
    every_ms: int


class AlertWorker:
    """One worker; `round` does what is to be done now.

    Args:
        place: What it works on.
        couriers: Who takes messages to channels.
        respond: Carries out an action of an alert.
        say: Is told what happens, a level of `logging`'s by name and a line.
        now_ms: Unix milliseconds; of when to try again, never of windows.
    """

    def __init__(
        self,
        place: Place,
        couriers: Couriers,
        respond: Respond,
        say: Callable[[str, str], None],
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._place, self._say, self._now_ms = place, say, now_ms
        self.lease = Lease(place.organization, TASK, lease_ms(place.every_ms))
        self._outbox = Outbox(place.organization)
        self._teller = Teller(place, couriers, respond, self._transaction, now_ms)
        self._acts = False
        self._watch: Watching | None = None
        self._follower: Follower | None = None
        self._pending: list[Change] = []
        self._same: dict[str, str] = {}
        self._noted = False
        self._done_ms = 0
        self._evaluated_ms = 0
        self._trouble: dict[str, str] = {}
        self._looked_ms = 0
        self._leased_ms = 0
        self._waits = False
        self._made = False

    @property
    def woken(self) -> threading.Event:
        """Set when something comes back, so that the next round need not wait."""
        return self._teller.woken

    @property
    def acts(self) -> bool:
        """Whether it is the one that acts."""
        return self._acts

    @property
    def troubled(self) -> bool:
        """Whether something that it needs is away."""
        return bool(self._trouble)

    def round(self) -> None:
        """Take or renew the lease, evaluate if it is time, send what is due; what it can outlive it says."""
        try:
            if not self._leads():
                return
            if self._now_ms() - self._looked_ms >= min(self._place.every_ms // 4, MOST_WAIT_MS):
                self._looked_ms = self._now_ms()
                self._evaluate()
            with self._going_on("telling alerts"):
                self._teller.round(self._say)
        except LeaseLostError:
            self._step_down("another worker has taken over")

    def finish(self) -> None:
        """Wait for what is on its way, store what became of it, and give the lease back."""
        with suppress(LeaseLostError), self._going_on("telling alerts"):
            if self._acts:
                self._store()
                self._teller.finish(self._say)
                with self._place.books.engine.begin() as connection:
                    self.lease.release(connection)
        self._acts = False

    def catch_up(self) -> Backlog | None:
        """One evaluation, and all that is due sent once: what waits or is dead then; `None`: it cannot."""
        self.round()
        if self._acts:
            with suppress(LeaseLostError), self._going_on("telling alerts"):
                return self._teller.until_idle(self._say)
        return None

    def _leads(self) -> bool:
        """Whether this worker acts: asked of the database when a part of the lease is over."""
        now_ms = self._now_ms()
        if now_ms - self._leased_ms < self.lease.length_ms // LOOKS:
            return self._acts
        with self._going_on("taking the lease"):
            if not self._made:
                self._place.books.append("", ())  # makes the tables, if nobody has
                self._made = True
            with self._place.books.engine.begin() as connection:
                taken = self.lease.take(connection)
            self._leased_ms = now_ms
            if taken and not self._acts:
                self._step_up()
            elif not taken and self._acts:
                self._step_down("another worker has taken over")
            elif not taken and not self._waits:
                self._step_down("another worker acts")
            return taken
        return False

    def _step_up(self) -> None:
        """Act: as the worker before did, but for what the rules remember, which is read back first."""
        self._acts, self._waits, self._looked_ms, self._watch = True, False, 0, None
        self._pending.clear()
        self._say("info", f"{self.lease.worker} acts")

    def _step_down(self, why: str) -> None:
        self._acts, self._waits, self._watch, self._follower = False, True, None, None
        self._pending.clear()
        self._say("info", f"{self.lease.worker} waits: {why}")

    def _evaluate(self) -> None:
        """Bring the archive up to date, feed the rules, and store what comes of it."""
        now_ms = None
        with self._going_on("reading the ledger"):
            asked_ms = self._place.ledger.execute(Inspect()).now_ms
            copy_new(self._place.ledger, self._place.books, lambda *_: self._beat())
            now_ms = asked_ms  # every record up to this instant is in the archive, and so may be judged
        if now_ms is None:
            return
        with self._going_on("evaluating"):
            if self._watch is None:
                self._read_back(now_ms)
            self._feed(now_ms)
            self._store()

    def _read_back(self, now_ms: int) -> None:
        """Let a new watch see what it must remember, and compare what goes on with what is stored."""
        every = self._place.every_ms
        with self._place.books.engine.begin() as connection:
            state = _state(self.lease.read(connection))
        first = "done_ms" not in state
        self._done_ms = now_ms // every * every if first else int(state["done_ms"])
        self._noted = not first  # else the next one would begin anew, and never see what came between
        watch = self._place.watch()
        self._follower = Follower(self._place.organization, self._done_ms - self._place.memory_ms)
        self._pending.clear()
        late: list[JournalEntry] = []
        while page := self._page():
            at = next((n for n, entry in enumerate(page) if entry.at_ms > self._done_ms), len(page))
            late = list(page[at:])  # by its place, not its time: the ledger's clock may have gone back
            for entry in page[:at]:
                watch.tick(entry.at_ms)
                watch.take(entry)
            if late:
                break
        watch.tick(self._done_ms)
        with self._place.books.engine.begin() as connection:
            self._compare(watch, self._outbox.going_on(connection))
        self._watch = watch
        self._take(late)

    def _compare(self, watch: Watching, stored: dict[str, str]) -> None:
        """Raise what goes on and is not stored; end what is stored and goes on no more."""
        live = {alert.key: alert for alert in map(fitted, watch.open)}
        left = {key: told for key, told in stored.items() if key not in live}
        self._same.clear()
        for key, alert in live.items():
            if key in stored:
                continue
            # It is remembered from a later beginning on, where the first one is too long ago.
            same = next((one for one in left if _incident(one) == _incident(key)), None)
            if same is None:
                self._pending.append(Change("raised", self._done_ms, alert))
            else:
                self._same[key] = same
                left.pop(same)
        for told in left.values():
            alert = read_alert(told)
            over = replace(alert, ended_ms=max(alert.seen_ms, self._done_ms))
            self._pending.append(Change("ended", self._done_ms, over))

    def _feed(self, now_ms: int) -> None:
        while page := self._page():
            self._take(page)
            if len(self._pending) > 1000:
                self._store()
        if self._watch is not None:
            self._pending += self._watch.tick(now_ms)
            self._evaluated_ms = max(self._evaluated_ms, now_ms)

    def _take(self, entries: Sequence[JournalEntry]) -> None:
        if self._watch is None:
            return
        for entry in entries:
            self._pending += self._watch.tick(entry.at_ms)
            self._watch.take(entry)
            self._evaluated_ms = max(self._evaluated_ms, entry.at_ms)

    def _page(self) -> Sequence[JournalEntry]:
        self._beat()
        if self._follower is None:
            return ()
        with self._place.books.engine.begin() as connection:
            return self._follower.page(connection)

    def _beat(self) -> None:
        """Renew the lease amid long work.

        Raises:
            LeaseLostError: It is another worker's.
        """
        with self._transaction():
            pass

    def _store(self) -> None:
        """Write the changes, what has to be told of them, and up to when was evaluated: all or nothing."""
        every = self._place.every_ms
        done_ms = max(self._done_ms, self._evaluated_ms // every * every)
        idle = self._noted and not self._pending and done_ms == self._done_ms
        if self._watch is None or idle:
            return
        said: list[tuple[str, str]] = []
        seen = {fitted(one).key: one.seen_ms for one in self._watch.open}
        with self._transaction() as connection:
            for change in self._pending:
                said += self._apply(connection, _seen(change, seen))
            self.lease.write(connection, json.dumps({"done_ms": done_ms}))
        self._pending.clear()
        self._done_ms, self._noted = done_ms, True
        for level, line in said:
            self._say(level, line)

    def _apply(self, connection: sa.Connection, change: Change) -> Iterator[tuple[str, str]]:
        alert = change.alert
        alert = replace(alert, key=self._same.get(alert.key, alert.key))
        now_ms = self._now_ms()
        if change.kind == "raised" and self._outbox.raise_(connection, alert, now_ms):
            yield _LEVELS[alert.severity], f"raised {alert.key}: {alert.title}"
        elif change.kind == "updated":
            self._outbox.update(connection, alert, now_ms)
        elif change.kind == "ended" and self._outbox.end(connection, alert, now_ms):
            yield "info", f"ended {alert.key}: {alert.title}"

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        """A transaction that is this worker's to write, or none.

        Raises:
            LeaseLostError: Another one acts.
        """
        with self._place.books.engine.begin() as connection:
            self.lease.renew(connection)
            yield connection

    @contextmanager
    def _going_on(self, doing: str) -> Iterator[None]:
        """Say once that something fails, and once that it works again; go on meanwhile."""
        try:
            yield
        except (LedgerUnavailable, ArchiveError, exc.SQLAlchemyError, OSError) as error:
            text = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            if doing not in self._trouble:
                self._say("error", f"{doing} failed: {text}; nothing is lost, and it is tried again")
            self._trouble[doing] = text
        else:
            if self._trouble.pop(doing, None) is not None:
                self._say("warning", f"{doing} works again")


_LEVELS = {"info": "info", "warning": "warning", "critical": "error"}


def lease_ms(every_ms: int) -> int:
    """How long a lease lasts at an evaluation period."""
    return min(int(every_ms * LEASE_PERIODS), MOST_LEASE_MS)


def _seen(change: Change, seen: dict[str, int]) -> Change:
    """The change, its alert seen as late as it is by now: a worker may store long after what it evaluates."""
    last_ms = seen.get(fitted(change.alert).key, 0)
    if last_ms <= change.alert.seen_ms:
        return change
    return change._replace(alert=replace(change.alert, seen_ms=last_ms))


def _incident(key: str) -> str:
    """A key without its end, which is when it began."""
    return key.rpartition("/")[0]


def _state(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
