"""The archive as a table of any database that SQLAlchemy speaks to; needs the extra `archive`."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from governor.journal.archive import (
    ArchiveDownError,
    ArchiveError,
    ArchiveKeyError,
    ArchiveReadOnlyError,
    ArchiveStandbyError,
    DamagedArchiveError,
    audit_key,
    newer,
)
from governor.journal.archive_rows import Link, Row, fault
from governor.ledger.commands import JournalEntry
from governor.ledger.recovery import place

try:
    import sqlalchemy as sa
    from sqlalchemy import exc
except ImportError:
    raise ArchiveError(
        "an archive in a database needs SQLAlchemy: pip install 'claude-governor[archive]', or use a file"
    ) from None

from governor.journal import schema
from governor.journal.chain import Split, join, link, split
from governor.journal.projection import insert, project
from governor.journal.tables import heads
from governor.journal.tables import journal as _journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from governor.journal.archive import Archived, Position

R = TypeVar("R", bound=Link)

TABLE = _journal.name
MOST_RACES = 20
"""How often another archiver may be faster with the same records before that is no coincidence."""

LOOKED_AT = 6
"""So many of the newest records are looked at to tell whether their hashes have this key."""

BUSY_TIMEOUT_S = 30.0
"""How long a transaction on SQLite waits for another process's."""

CONNECT_TIMEOUT_S = 10
"""How long a server that does not answer is waited for, where neither URL nor environment says it."""

_PASSING = (exc.OperationalError, exc.InterfaceError, exc.TimeoutError)
"""What SQLAlchemy raises of a server that is away or restarts, a full disk, a lock that is not let go."""

_MAY_NOT, _STANDBY = "42501", "25006"
"""PostgreSQL's codes of a user without a right, and of a server that takes no changes now."""

_FIELDS = ("seq", "kind", "id", "at_ms", "outcome", "detail", "record")
_NOTHING = sa.insert(_journal).from_select(list(_journal.c), sa.select(_journal).where(sa.false()))
"""Asks the server for the right to write, and writes no row."""

_PLACE = (_journal.c.place, _journal.c.place_minor)
_NEWEST_FIRST = tuple(column.desc() for column in _PLACE)


class SqlArchive:
    """An archive in the table `governor_journal` and what is made from it; a writer makes what is missing.

    Args:
        url: A URL of SQLAlchemy's; `postgresql://` is spoken to by psycopg 3.
        organization: Whose journal; one table may keep many.
    """

    def __init__(self, url: str, organization: str) -> None:
        self._organization = organization
        try:
            parsed = sa.make_url(url)
            if parsed.drivername in ("postgresql", "postgres"):
                parsed = parsed.set(drivername="postgresql+psycopg")
            self._where = parsed.render_as_string(hide_password=True)
            lite = parsed.get_backend_name() == "sqlite"
            self._engine = sa.create_engine(parsed, connect_args=_patience(parsed))
        except (exc.ArgumentError, ImportError, ValueError) as error:
            # Of the URL itself nothing is said: it may hold a password in a wrong place.
            raise ArchiveError(
                f"this archive's URL cannot be used: {type(error).__name__}; write for example "
                "postgresql://user:password@host/database, and install the driver that it names"
            ) from None
        self._key = audit_key()
        self._mine = _journal.c.organization == organization
        database = parsed.database or ":memory:"
        plain = lite and not database.startswith((":memory:", "file:"))
        self._file = Path(database) if plain else None
        self._made = self._key_holds = False

    def append(self, epoch: str, entries: Sequence[JournalEntry], after: str | None = None) -> int:
        """See `Archive.append`."""
        for _ in range(MOST_RACES):
            try:
                with self._begin(make=True) as connection:
                    new = newer(epoch, entries, after, self._last(connection, epoch))
                    if new:
                        self._write(connection, epoch, new)
                    else:
                        connection.execute(_NOTHING)
                    return len(new)
            except exc.IntegrityError:
                continue  # another archiver was faster; whatever it had not, comes with the next look
        raise ArchiveError(
            f"{self._where}: other archivers keep writing the same records; let one of them do it"
        )

    def _write(self, connection: Any, epoch: str, new: list[Archived]) -> None:
        """Write records, the chain's new head, and what the records tell."""
        head = self._head(connection, epoch)
        self._check_key(connection, epoch if head is not None else self._newest_life(connection))
        before, rows = "" if head is None else head.hash, []
        for one in new:
            parts = split(one.entry.record)
            bare = one.entry if parts.findings is None else replace(one.entry, record=parts.record)
            before = link(before, self._organization, epoch, bare, one.after, parts.findings_hash, self._key)
            rows.append(self._row(one, parts, before))
        insert(connection, _journal, rows)
        self._put_head(connection, head, epoch, rows)
        project(connection, self._organization, [one.entry for one in new])

    def _check_key(self, connection: Any, epoch: str) -> None:
        """Refuse to go on with a chain of another key: each hash that is added would be a lie to the audit.

        One record that somebody changed does not hold either, so several are looked at; once.

        Raises:
            ArchiveKeyError: None of an epoch's newest hashes holds with this key.
        """
        head = None if self._key_holds else self._head(connection, epoch)
        if head is None:
            return
        columns = [_journal.c[name] for name in (*_FIELDS, "after", "findings_hash", "hash")]
        query = sa.select(*columns).where(self._mine, _journal.c.epoch == epoch).order_by(*_NEWEST_FIRST)
        rows = connection.execute(query.limit(LOOKED_AT)).all()
        befores = [row.hash for row in rows[1:]]
        befores += [head.before_hash] if len(rows) < LOOKED_AT else []
        for row, before in zip(rows, befores, strict=False):
            entry = JournalEntry(*(getattr(row, name) for name in _FIELDS))
            told = (before, self._organization, epoch, entry, row.after, row.findings_hash)
            if link(*told, self._key) == row.hash:
                self._key_holds = True
                return
        if rows:
            key = "the GOVERNOR_AUDIT_KEY that is set here" if self._key else "no GOVERNOR_AUDIT_KEY set"
            raise ArchiveKeyError(
                f"the archive {self._where} has hashes that do not hold with {key}, and nothing was added: "
                "set the key that it was begun with, or none if it had none; a new key needs a new archive"
            )

    def _head(self, connection: Any, epoch: str) -> Any:
        mine = (heads.c.organization == self._organization, heads.c.epoch == epoch)
        return connection.execute(sa.select(heads).where(*mine)).first()

    def _put_head(self, connection: Any, head: Any, epoch: str, rows: list[dict[str, Any]]) -> None:
        now = {"seq": rows[-1]["seq"], "hash": rows[-1]["hash"]}
        if head is None:
            first = {"first_seq": rows[0]["seq"], "before_hash": "", "records": len(rows)}
            connection.execute(
                sa.insert(heads), {"organization": self._organization, "epoch": epoch, **first, **now}
            )
            return
        mine = (heads.c.organization == self._organization, heads.c.epoch == epoch)
        # Counted by the database: a `prune` may have let go of some since the head was read.
        added = heads.c.records + len(rows)
        connection.execute(sa.update(heads).where(*mine).values(**now, records=added))

    def last(self, epoch: str | None = None) -> Position | None:
        """See `Archive.last`."""
        with self._begin() as connection:
            if not self._made:
                return None
            return self._last(connection, self._newest_life(connection) if epoch is None else epoch)

    def back_to(self, epoch: str, seq: str) -> Iterator[Link]:
        """See `Archive.back_to`."""
        major, minor = place(seq)
        column, column_minor = _PLACE
        reached = (column >= major, sa.or_(column > major, column_minor >= minor))
        with self._begin() as connection:
            if self._made:
                query = self._rows(Link, epoch).where(*reached).order_by(*_NEWEST_FIRST)
                yield from self._read(connection, Link, query)

    def read(self) -> Iterator[Archived]:
        """See `Archive.read`."""
        with self._begin() as connection:
            if not self._made:
                raise ArchiveError(f"the archive {self._where} has no table {TABLE}: correct its URL")
            for epoch in self._lives(connection):
                query = self._rows(Row, epoch).order_by(*_PLACE)
                yield from (row.archived for row in self._read(connection, Row, query))

    def count(self) -> int:
        """See `Archive.count`."""
        with self._begin() as connection:
            if not self._made:
                return 0
            query = sa.select(sa.func.count()).select_from(_journal).where(self._mine)
            return int(connection.execute(query).scalar_one())

    @contextmanager
    def reading(self) -> Iterator[sa.Connection | None]:
        """A transaction that reads; `None` where there are no tables yet.

        Raises:
            ArchiveError: It cannot be read.
        """
        with self._begin() as connection:
            yield connection if self._made else None

    @property
    def organization(self) -> str:
        """Whose journal."""
        return self._organization

    @property
    def where(self) -> str:
        """Its URL, without a password."""
        return self._where

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that may write, in tables of this release's schema.

        Raises:
            ArchiveError: It cannot be used.
        """
        with self._begin(make=True) as connection:
            yield connection

    @property
    def engine(self) -> sa.Engine:
        """The connections of what else looks at these tables: reports, alerts."""
        return self._engine

    def close(self) -> None:
        """Close the connections; the next use makes new ones."""
        self._engine.dispose()

    def schema(self) -> str:
        """The schema of the tables that are there; `schema.NOTHING`: none are.

        Raises:
            ArchiveError: It cannot be read, or a newer release made them.
        """
        with self._errors():
            if self._file is not None and not self._file.exists():
                return schema.NOTHING
            with self._engine.connect() as connection:
                return self._find(connection)

    def migrate(self, tell: Callable[[int, int | None], None] = lambda *_: None) -> str:
        """Make the tables, or bring those of an older release to this one, in one transaction.

        Args:
            tell: Is told how many records were brought up to date, and of how many.

        Returns:
            The schema that was found; `schema.HEAD`: there was nothing to do, and nothing was written.

        Raises:
            ArchiveError: It cannot be done, or a newer release made the tables.
        """
        with self._errors():
            if self.schema() == schema.HEAD:  # then no right to make anything is needed
                self._made = True
                return schema.HEAD
            if self._file is not None:
                with self._engine.connect() as connection:
                    connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            # Two archivers may make them at once; a later look finds what is there.
            lost = retry_if_exception_type(exc.DatabaseError)
            found = Retrying(stop=stop_after_attempt(MOST_RACES), retry=lost, reraise=True)(
                self._ensure, tell
            )
            self._made = True
            return found

    def _ensure(self, tell: Callable[[int, int | None], None]) -> str:
        with self._write_transaction() as connection:
            return schema.ensure(connection, self._key, tell)

    @contextmanager
    def _begin(self, *, make: bool = False) -> Iterator[Any]:
        """A transaction. Only a writer makes the table, or the file of SQLite; readers look at `_made`."""
        if make and not self._made:
            self.migrate()
        with self._errors():
            if not self._made and self._file is not None and not self._file.exists():
                yield None
                return
            with self._write_transaction() if make else self._engine.begin() as connection:
                self._made = self._made or self._is_made(connection)
                yield connection

    @contextmanager
    def _write_transaction(self) -> Iterator[sa.Connection]:
        """A transaction that on SQLite has the lock from its beginning, so that what it read stays true."""
        with self._engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    def _is_made(self, connection: sa.Connection) -> bool:
        """Whether the tables are there, as this release has them."""
        found = self._find(connection)
        if found not in (schema.HEAD, schema.NOTHING):
            raise ArchiveError(
                f"the archive {self._where} has schema {found}, this release reads {schema.HEAD}: "
                "run `governor archive migrate ARCHIVE`"
            )
        return found == schema.HEAD

    def _find(self, connection: sa.Connection) -> str:
        try:
            return schema.find(connection)
        except ArchiveError as error:
            raise ArchiveError(f"the archive {self._where} cannot be used: {error}") from None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn the database's errors into the governor's, naming the archive and what to do."""
        try:
            yield
        except exc.IntegrityError:
            raise
        except exc.SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            raise _kind(error, cause)(
                f"the archive {self._where} cannot be used: {str(cause).strip()}; check its URL, its server "
                "and the user's rights (to create the tables, read, insert, update and delete)"
            ) from error

    def _lives(self, connection: Any) -> list[str]:
        """The epochs, oldest first."""
        query = (
            sa.select(_journal.c.epoch)
            .where(self._mine)
            .group_by(_journal.c.epoch)
            .order_by(sa.func.min(_journal.c.at_ms))
        )
        return list(connection.execute(query).scalars())

    def _newest_life(self, connection: Any) -> str:
        """The epoch that began last; '' where there is none. It is asked often, so no table is read whole."""
        mine = heads.c.organization == self._organization
        found: list[tuple[int, str]] = []
        for row in connection.execute(sa.select(heads.c.epoch, heads.c.first_seq).where(mine)).all():
            major, minor = place(row.first_seq)
            here = (_journal.c.epoch == row.epoch, _journal.c.place == major, _journal.c.place_minor == minor)
            at_ms = connection.execute(sa.select(_journal.c.at_ms).where(self._mine, *here)).scalar()
            found.append((at_ms or 0, row.epoch))
        return max(found)[1] if found else ""

    def _last(self, connection: Any, epoch: str) -> Position | None:
        query = self._rows(Row, epoch).order_by(*_NEWEST_FIRST).limit(1)
        found = connection.execute(query).first()
        return None if found is None else self._checked(Row, found).position

    def _rows(self, kind: type[Link], epoch: str) -> Any:
        """What a *kind* is made of, of every record of *epoch*."""
        columns = [_journal.c[name] for name in kind.model_fields]
        if kind is Row:
            columns.append(_journal.c.findings)
        return sa.select(*columns).where(self._mine, _journal.c.epoch == epoch)

    def _read(self, connection: Any, kind: type[R], query: Any) -> Iterator[R]:
        for row in connection.execute(query, execution_options={"yield_per": 1000}):
            yield self._checked(kind, row)

    def _checked(self, kind: type[R], row: Any) -> R:
        try:
            told = row._asdict()
            if "findings" in told:
                told["record"] = join(told["record"], told.pop("findings"))
            return kind(**told)
        except ValidationError as error:
            raise DamagedArchiveError(
                f"{self._where}: the row of table {TABLE} with seq {row.seq!r} is no record of a journal "
                f"({fault(error)}): use another archive, or repair it"
            ) from None

    def _row(self, one: Archived, parts: Split, digest: str) -> dict[str, Any]:
        major, minor = place(one.entry.seq)
        row = {"organization": self._organization, "epoch": one.epoch, "place": major, "place_minor": minor}
        row |= {"after": one.after} | {name: getattr(one.entry, name) for name in _FIELDS}
        return row | {**parts._asdict(), "findings_hash": parts.findings_hash, "hash": digest}


def _patience(url: sa.URL) -> dict[str, Any]:
    """How long its driver waits."""
    if url.get_backend_name() == "sqlite":
        return {"timeout": BUSY_TIMEOUT_S}
    ours = url.drivername == "postgresql+psycopg" and "PGCONNECT_TIMEOUT" not in os.environ
    return {"connect_timeout": CONNECT_TIMEOUT_S} if ours and "connect_timeout" not in url.query else {}


def _kind(error: exc.SQLAlchemyError, cause: Any) -> type[ArchiveError]:
    """What kind of error the database's is."""
    code = getattr(cause, "sqlstate", None)
    if code == _STANDBY or str(getattr(cause, "sqlite_errorname", "")).startswith("SQLITE_READONLY"):
        return ArchiveStandbyError
    if code == _MAY_NOT:
        return ArchiveReadOnlyError
    return ArchiveDownError if isinstance(error, _PASSING) else ArchiveError
