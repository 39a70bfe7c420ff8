"""A ledger in memory, for tests: it is known by its name within one process, and ends with it.

It is the embedded ledger on a SQLite database without a file: the same rules, tables and records. Everybody
in the process who opens a name has the same balances, in any thread and on any event loop, each by a clock of
their own. Another process, a forked child too, never sees them: there every limit would be whole again.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import threading
import uuid
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

from governor.errors import LedgerUnavailable
from governor.ledger.migration import Migrate, OldLedger
from governor.ledger.sqlite import SqliteLedger

if TYPE_CHECKING:
    from collections.abc import Callable

    from governor.ledger.migration import FindOld

_NAMELESS = "unnamed-"
_LOCK = threading.Lock()
"""All names take turns, and nobody forks while one is at work: SQLite's own locks are not for a child."""

os.register_at_fork(before=_LOCK.acquire, after_in_parent=_LOCK.release, after_in_child=_LOCK.release)


class _Database:
    """One name's database; its connection is all there is of it, so it stays open."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.connection: sqlite3.Connection | None = None

    def keep(self, connection: sqlite3.Connection) -> None:
        """Take the connection; it is closed when nobody knows this database any more."""
        self.connection = connection
        weakref.finalize(self, connection.close)


_KNOWN: weakref.WeakValueDictionary[str, _Database] = weakref.WeakValueDictionary()
_FOR_GOOD: dict[str, _Database] = {}
"""Those with a name that was chosen, which may be opened again by it."""


def new_name() -> str:
    """A name that nobody else has; its ledger ends with the last one that was opened by it."""
    return _NAMELESS + secrets.token_hex(8)


class InMemoryLedger(SqliteLedger):
    """The ledger of that *name* in this process.

    Args:
        name: What it is known by.
        organization: Whose ledger it is; one that belongs to another organization is refused.
        create: Whether it is made by its first command.
        clock: Unix milliseconds; each who opens it may have their own.
    """

    _thing = "name"

    def __init__(
        self, name: str, organization: str, *, create: bool = True, clock: Callable[[], int] | None = None
    ) -> None:
        super().__init__(Path(name), organization, create=create, clock=clock)
        self._where = f"memory://{name}"
        self._lock = _LOCK
        self._database = _database(name)
        self._greeted = False

    def _be_ready_for_forks(self) -> None:
        """Nothing to close: a child is refused."""

    def _open(self, *, create: bool, epoch: str | None = None) -> sqlite3.Connection:
        self._refuse_a_child()
        connection = self._database.connection
        if connection is None and not create:
            raise LedgerUnavailable(
                f"there is no ledger at {self._where}, and `governor ledger create` cannot make one: "
                "the test opens it with create=True"
            )
        if connection is None:
            connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            self._database.keep(connection)
        if not self._greeted:
            self._greet(connection, epoch or uuid.uuid4().hex)
            self._greeted = True
        return connection

    def _is_empty(self) -> bool:
        self._refuse_a_child()
        return self._database.connection is None

    def _migrate(self, command: FindOld | Migrate) -> OldLedger | int:
        """It is of this release's layout, always."""
        return 0 if isinstance(command, Migrate) else OldLedger(None)

    def _refuse_a_child(self) -> None:
        if os.getpid() != self._database.pid:
            raise LedgerUnavailable(
                f"{self._where} is in the memory of the process {self._database.pid}, which forked this one: "
                "where processes share a ledger, use sqlite:///path/governor.db"
            )


def _database(name: str) -> _Database:
    with _LOCK:
        found = _KNOWN.get(name)
        if found is None or (found.pid != os.getpid() and found.connection is None):
            found = _KNOWN[name] = _Database()
            if not name.startswith(_NAMELESS):
                _FOR_GOOD[name] = found
        return found
