"""Which of several workers acts: one row of `governor_workers`, held by the database's clock."""

from __future__ import annotations

import os
import secrets
import socket
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import exc

from governor.journal.tables import workers

if TYPE_CHECKING:
    from collections.abc import Callable

_NOW_MS = {
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
    "postgresql": "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
    "mysql": "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)",
}
_NOW_MS["mariadb"] = _NOW_MS["mysql"]
_WHOLE_SECONDS = "CAST(EXTRACT(EPOCH FROM CURRENT_TIMESTAMP) * 1000 AS BIGINT)"


class LeaseLostError(Exception):
    """Another worker acts by now: what this one was about to write, it must not."""


def worker_name() -> str:
    """A name for this process that no other one has: host, process id and chance; at most 64 characters."""
    return f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(4)}"


def database_now_ms(connection: sa.Connection) -> int:
    """The database's clock, Unix milliseconds."""
    return int(connection.execute(sa.select(_now_ms(connection))).scalar_one())


def _now_ms(connection: sa.Connection) -> Any:
    text = _NOW_MS.get(connection.dialect.name, _WHOLE_SECONDS)
    return sa.literal_column(text, sa.BigInteger)


class Lease:
    """One worker's claim on a task of an organisation.

    Every call runs in the caller's transaction, so what a worker writes beside `renew` is written only while
    it acts.

    Args:
        organization: Whose task.
        task: `archive` or `alerts`.
        length_ms: How long it holds without being renewed.
        worker: Who claims it; another name for every process.
    """

    def __init__(self, organization: str, task: str, length_ms: int, worker: str | None = None) -> None:
        self.worker = worker or worker_name()
        self.length_ms = length_ms
        self._key = {"organization": organization, "task": task}
        self._mine = (workers.c.organization == organization, workers.c.task == task)

    def take(self, connection: sa.Connection, before: Callable[[], None] = lambda: None) -> bool:
        """Claim the task or renew the claim; answers whether it is this worker's.

        Args:
            connection: In its transaction.
            before: Is called before a row that was missing is made; for tests.
        """
        now = _now_ms(connection)
        free = sa.or_(workers.c.worker == self.worker, workers.c.until_ms < now)
        ours = {"worker": self.worker, "until_ms": now + self.length_ms}
        taken = connection.execute(sa.update(workers).where(*self._mine, free).values(**ours))
        if taken.rowcount:
            return True
        if connection.execute(sa.select(workers.c.task).where(*self._mine)).first() is not None:
            return False
        before()
        try:
            with connection.begin_nested():
                connection.execute(sa.insert(workers).values(**self._key, **ours, state=""))
        except exc.IntegrityError:
            return False  # another one was faster
        return True

    def renew(self, connection: sa.Connection) -> None:
        """Renew the claim, for a transaction that writes.

        Raises:
            LeaseLostError: It is another worker's by now.
        """
        values = {"until_ms": _now_ms(connection) + self.length_ms}
        own = sa.update(workers).where(*self._mine, workers.c.worker == self.worker)
        if not connection.execute(own.values(**values)).rowcount:
            raise LeaseLostError

    def release(self, connection: sa.Connection) -> None:
        """Give the claim back, so that another worker need not wait for its end."""
        own = sa.update(workers).where(*self._mine, workers.c.worker == self.worker)
        connection.execute(own.values(until_ms=0))

    def read(self, connection: sa.Connection) -> str:
        """What the last worker left behind for the next one, or ''."""
        found = connection.execute(sa.select(workers.c.state).where(*self._mine)).scalar()
        return found or ""

    def write(self, connection: sa.Connection, state: str) -> None:
        """Leave something behind for the next worker; in the transaction of `renew`."""
        connection.execute(sa.update(workers).where(*self._mine).values(state=state))
