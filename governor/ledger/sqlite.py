"""The embedded ledger: one SQLite file, durable, shared by the processes of one host.

Every command is one `BEGIN IMMEDIATE` transaction that reads, decides with the pure rule and writes, so
that processes take turns. `synchronous=FULL`: what was answered survives a power cut.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import uuid
import weakref
from contextlib import closing, contextmanager
from importlib.resources import files
from typing import TYPE_CHECKING, Any, TypeVar, cast

import anyio
import anyio.to_thread

from governor.errors import LedgerDown, LedgerUnavailable
from governor.ledger import commands as c
from governor.ledger import (
    recovery,
    sqlite_admin,
    sqlite_entering,
    sqlite_following,
    sqlite_holds,
    sqlite_orders,
    sqlite_policies,
    sqlite_recovery,
    sqlite_requests,
)
from governor.ledger.migration import FindOld, Migrate, OldLedger
from governor.ledger.sqlite_migration import OLDEST, migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from governor.ledger.sqlite_holds import Verb

R = TypeVar("R")

SCHEMA = 2
BUSY_TIMEOUT_S = 30.0
"""How long a transaction waits for another process's before the ledger counts as unavailable."""

WAL_RETRY_S = 0.01
_PASSING = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
"""Errors of a ledger that is down for now: locked too long, a full disk, a disk that fails."""

_VERBS: dict[type[c.Command[Any]], Verb] = {
    **sqlite_holds.VERBS,
    **sqlite_admin.VERBS,
    **sqlite_entering.VERBS,
    **sqlite_orders.VERBS,
    **sqlite_requests.VERBS,
    **sqlite_policies.VERBS,
    **sqlite_recovery.VERBS,
    **sqlite_following.VERBS,
}


def wall_clock_ms() -> int:
    """Unix milliseconds by this host's clock."""
    return time.time_ns() // 1_000_000


class SqliteLedger:
    """A ledger in a SQLite file; made on first use, together with nothing but the file itself.

    Args:
        path: The file. Its folder must exist.
        organization: Whose ledger it is; a file that belongs to another one is refused.
        create: Whether a missing file is made.
        clock: Unix milliseconds; only tests give one.
    """

    _thing = "file"

    def __init__(
        self, path: Path, organization: str, *, create: bool = True, clock: Callable[[], int] | None = None
    ) -> None:
        self._path = path
        self._where = str(path)
        self._organization = organization
        self._create = create
        self._clock = clock or wall_clock_ms
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._pid = 0
        self._file: tuple[int, int] | None = None
        self._be_ready_for_forks()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._where!r})"

    def _be_ready_for_forks(self) -> None:
        _close_at_forks(weakref.ref(self))

    def execute(self, command: c.Command[R]) -> R:
        """Carry out *command* and return its answer.

        Raises:
            LedgerUnavailable: The file cannot be opened, written, or is not this organisation's ledger.
            ReservationConflict: An id came again with another payload.
        """
        with self._lock, _speaking_of(self._where, self._path):
            if isinstance(command, c.Inspect):
                return cast("R", self._inspect())
            if isinstance(command, FindOld | Migrate):
                return cast("R", self._migrate(command))
            if isinstance(command, c.Create):
                self._open(create=True, epoch=command.epoch)
                return cast("R", self._inspect())
            return cast("R", self._transact(command))

    def close(self) -> None:
        """Close the file; the next command opens it again."""
        with self._lock:
            self._disconnect()

    def _transact(self, command: c.Command[Any]) -> Any:
        connection = self._open(create=self._create or isinstance(command, recovery.BeginRestore))
        verb = _VERBS[type(command)]
        with _transaction(connection):
            sqlite_recovery.refuse_unfinished(connection, command)
            return verb(connection, command, self._clock())

    def _open(self, *, create: bool, epoch: str | None = None) -> sqlite3.Connection:
        if self._connection is not None and self._pid == os.getpid():
            self._refuse_another_file()
            return self._connection
        if not create and not self._path.exists():
            raise LedgerUnavailable(f"there is no ledger at {self._path}: run `governor ledger create` first")
        if not self._path.parent.is_dir():
            raise LedgerUnavailable(
                f"the folder {self._path.parent} of the ledger does not exist: make it first"
            )
        connection = sqlite3.connect(
            self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        try:
            _use_wal(connection)
            connection.execute("PRAGMA synchronous = FULL")
            self._greet(connection, epoch or uuid.uuid4().hex)
        except BaseException:
            connection.close()
            raise
        self._connection, self._pid, self._file = connection, os.getpid(), _identity(self._path)
        return connection

    def _refuse_another_file(self) -> None:
        """A ledger deleted under a running process would become two, each with every limit."""
        if _identity(self._path) != self._file:
            raise LedgerUnavailable(
                f"the ledger {self._path} was deleted or replaced while in use: put it back, or restart "
                "every process that uses it (what it held is lost with it)"
            )

    def _greet(self, connection: sqlite3.Connection, epoch: str) -> None:
        """Make the tables in an empty file; refuse a file of another organisation or schema."""
        with _transaction(connection):
            meta = _read_meta(connection)
            if not meta:
                self._found(connection, epoch)
                meta = _read_meta(connection)
            elif (meta.get("schema"), meta["organization"]) == (str(SCHEMA), self._organization):
                _make_tables(connection)  # a file of this schema may be older than one of them
        if meta.get("schema") != str(SCHEMA):
            older = meta.get("schema") == str(OLDEST)
            advice = "run `governor ledger migrate URL`" if older else "use the release that wrote it"
            raise LedgerUnavailable(
                f"{self._where} has ledger schema {meta.get('schema')}, this release knows {SCHEMA}: {advice}"
            )
        if meta["organization"] != self._organization:
            raise LedgerUnavailable(
                f"{self._where} is the ledger of organization {meta['organization']!r}, "
                f"the policies are {self._organization!r}'s: use another {self._thing}"
            )

    def _found(self, connection: sqlite3.Connection, epoch: str) -> None:
        if connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
            raise LedgerUnavailable(f"{self._path} is some other program's database: use another file")
        _make_tables(connection)
        now = self._clock()
        facts = {
            "schema": SCHEMA,
            "organization": self._organization,
            "epoch": epoch,
            "created_ms": now,
        }
        connection.executemany("INSERT INTO meta VALUES (?, ?)", [(k, str(v)) for k, v in facts.items()])
        sqlite_holds.write_journal(connection, "create", epoch, now, "created", "", "{}")

    def _migrate(self, command: FindOld | Migrate) -> OldLedger | int:
        """Look at a file of the layout before, or bring it to this one in one transaction."""
        if self._is_empty():
            return OldLedger(None)
        with closing(sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None)) as connection:
            with _transaction(connection):
                old = _read_meta(connection).get("schema") == str(OLDEST)
                if isinstance(command, Migrate) and old and command.last:
                    migrate(connection, _tables(), SCHEMA)
            return int(old) if isinstance(command, Migrate) else OldLedger(OLDEST if old else None)

    def _inspect(self) -> c.Status:
        server = f"SQLite {sqlite3.sqlite_version}"
        if self._connection is None and self._is_empty():
            return c.Status(created=False, schema=None, epoch=None, server=server, now_ms=self._clock())
        meta = _read_meta(self._open(create=False))
        schema = recovery.REBUILDING if "rebuilding" in meta else int(meta["schema"])
        return c.Status(created=True, schema=schema, epoch=meta["epoch"], server=server, now_ms=self._clock())

    def _is_empty(self) -> bool:
        """Whether there is no file, or one without a table; looking makes neither."""
        if not self._path.exists() or not self._path.stat().st_size:
            return True
        with closing(sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S)) as connection:
            return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is None

    def _disconnect(self) -> None:
        if self._connection is not None and self._pid == os.getpid():
            self._connection.close()
        self._connection = None


def _close_at_forks(ledger: weakref.ref[SqliteLedger]) -> None:
    """Fork only between commands and with the file closed; parent and child open it again when they need it.

    SQLite must not be carried across a fork: the child would inherit a table of locks that are not its own,
    and the first of the two to close the file would take its log away from under the other.
    """
    held: list[threading.Lock] = []

    def before() -> None:
        found = ledger()
        if found is not None:
            lock = found._lock  # noqa: SLF001 - this module's own class, as below
            lock.acquire()
            held.append(lock)
            found._disconnect()  # noqa: SLF001

    def in_parent() -> None:
        if held:  # not so for a ledger that another thread made just now
            held.pop().release()

    def in_child() -> None:
        held.clear()
        found = ledger()
        if found is not None:
            found._lock = threading.Lock()  # noqa: SLF001

    os.register_at_fork(before=before, after_in_parent=in_parent, after_in_child=in_child)


class AsyncSqliteLedger:
    """The same ledger for an event loop: each command runs in a worker thread."""

    def __init__(self, ledger: SqliteLedger) -> None:
        self._ledger = ledger

    @property
    def blocking(self) -> SqliteLedger:
        """The same ledger for blocking callers."""
        return self._ledger

    async def execute(self, command: c.Command[R]) -> R:
        """Carry out *command*; raises as `SqliteLedger.execute` does."""
        return await anyio.to_thread.run_sync(self._ledger.execute, command)

    async def close(self) -> None:
        """Close the file."""
        await anyio.to_thread.run_sync(self._ledger.close)


def _tables() -> str:
    return files("governor.ledger").joinpath("sqlite_schema.sql").read_text("utf-8")


def _make_tables(connection: sqlite3.Connection) -> None:
    """Make the tables that are missing."""
    for statement in _tables().split(";"):
        connection.execute(statement)


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file this is, whatever its name; `None` if there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _read_meta(connection: sqlite3.Connection) -> dict[str, str]:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
        return {}
    return dict(connection.execute("SELECT name, value FROM meta"))


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch the file to WAL. Here SQLite does not wait for a lock, so the first users of a file race."""
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(WAL_RETRY_S)
        else:
            return


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction: all of it or, whatever fails (its COMMIT too), nothing."""
    try:
        connection.execute("BEGIN IMMEDIATE")  # inside, since Ctrl-C may strike just after it has waited
        yield
        connection.execute("COMMIT")
    except BaseException:
        # On a full disk, for one, SQLite has rolled back already; a second time would hide the cause.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def _speaking_of(where: str, path: Path) -> Iterator[None]:
    """Turn SQLite's errors into the governor's, naming the ledger and what to do."""
    try:
        yield
    except sqlite3.OperationalError as error:
        kind = LedgerDown if getattr(error, "sqlite_errorcode", 0) & 0xFF in _PASSING else LedgerUnavailable
        raise kind(f"the ledger {where} cannot be used: {error}{_advice(path, error)}") from error
    except sqlite3.DatabaseError as error:
        raise LedgerUnavailable(f"{where} is not a SQLite database: {error}; use another file") from error


def _advice(path: Path, error: sqlite3.OperationalError) -> str:
    if "readonly" in str(error) or not os.access(path if path.exists() else path.parent, os.W_OK):
        return "; give this user write permission on the file and its folder"
    if "locked" in str(error):
        return f"; another process has held it for {BUSY_TIMEOUT_S:.0f} s"
    return ""
