"""The archive as a table of any database that SQLAlchemy speaks to; needs the extra `archive`."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from governor.journal.archive import ArchiveError, DamagedArchiveError, newer
from governor.journal.archive_rows import Link, Row, fault
from governor.ledger.recovery import place

try:
    import sqlalchemy as sa
    from sqlalchemy import exc
except ImportError:
    raise ArchiveError(
        "an archive in a database needs SQLAlchemy: pip install 'claude-governor[archive]', or use a file"
    ) from None

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from governor.journal.archive import Archived, Position
    from governor.ledger.commands import JournalEntry

R = TypeVar("R", bound=Link)

TABLE = "governor_journal"
MOST_RACES = 20
"""How often another archiver may be faster with the same records before that is no coincidence."""

_journal = sa.Table(
    TABLE,
    sa.MetaData(),
    sa.Column("organization", sa.String(64), primary_key=True),
    sa.Column("epoch", sa.String(64), primary_key=True),
    # A place in two numbers, so that it sorts: of `1795262430000-7` the parts, of `42` that and 0.
    sa.Column("place", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("place_minor", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.String(64), nullable=False),
    sa.Column("after", sa.String(64)),  # the seq of the record before it, so that a missing row is seen
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("id", sa.String(128), nullable=False, index=True),
    sa.Column("at_ms", sa.BigInteger, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("record", sa.Text, nullable=False),
)
_FIELDS = ("seq", "kind", "id", "at_ms", "outcome", "detail", "record")
_NOTHING = sa.insert(_journal).from_select(list(_journal.c), sa.select(_journal).where(sa.false()))
"""Asks the server for the right to write, and writes no row."""

_PLACE = (_journal.c.place, _journal.c.place_minor)
_NEWEST_FIRST = tuple(column.desc() for column in _PLACE)


class SqlArchive:
    """An archive in the table `governor_journal`, which is made if it is missing.

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
            self._engine = sa.create_engine(parsed)
        except (exc.ArgumentError, ImportError, ValueError) as error:
            # Of the URL itself nothing is said: it may hold a password in a wrong place.
            raise ArchiveError(
                f"this archive's URL cannot be used: {type(error).__name__}; write for example "
                "postgresql://user:password@host/database, and install the driver that it names"
            ) from None
        self._mine = _journal.c.organization == organization
        database = parsed.database or ":memory:"
        plain = parsed.get_backend_name() == "sqlite" and not database.startswith((":memory:", "file:"))
        self._file = Path(database) if plain else None
        self._made = False

    def append(self, epoch: str, entries: Sequence[JournalEntry], after: str | None = None) -> int:
        """See `Archive.append`."""
        for _ in range(MOST_RACES):
            try:
                with self._begin(make=True) as connection:
                    new = newer(epoch, entries, after, self._last(connection, epoch))
                    if new:
                        connection.execute(sa.insert(_journal), [self._row(one) for one in new])
                    else:
                        connection.execute(_NOTHING)
                    return len(new)
            except exc.IntegrityError:
                continue  # another archiver was faster; whatever it had not, comes with the next look
        raise ArchiveError(
            f"{self._where}: other archivers keep writing the same records; let one of them do it"
        )

    def last(self, epoch: str | None = None) -> Position | None:
        """See `Archive.last`."""
        with self._begin() as connection:
            if not self._made:
                return None
            if epoch is None:
                lives = self._lives(connection)
                epoch = lives[-1] if lives else ""
            return self._last(connection, epoch)

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

    def close(self) -> None:
        """Close the connections; the next use makes new ones."""
        self._engine.dispose()

    @contextmanager
    def _begin(self, *, make: bool = False) -> Iterator[Any]:
        """A transaction. Only a writer makes the table, or the file of SQLite; readers look at `_made`."""
        try:
            if make:
                self._make_table()
            elif not self._made and self._file is not None and not self._file.exists():
                yield None
                return
            with self._engine.begin() as connection:
                self._made = self._made or sa.inspect(connection).has_table(TABLE)
                yield connection
        except exc.IntegrityError:
            raise
        except exc.SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            raise ArchiveError(
                f"the archive {self._where} cannot be used: {str(cause).strip()}; check its URL, its server "
                "and the user's rights (to create the table, read and insert)"
            ) from error

    def _make_table(self) -> None:
        if self._made:
            return
        try:
            _journal.metadata.create_all(self._engine)
        except exc.DatabaseError:  # two archivers may make it at once; the second look finds it
            _journal.metadata.create_all(self._engine)
        self._made = True

    def _lives(self, connection: Any) -> list[str]:
        """The epochs, oldest first."""
        query = (
            sa.select(_journal.c.epoch)
            .where(self._mine)
            .group_by(_journal.c.epoch)
            .order_by(sa.func.min(_journal.c.at_ms))
        )
        return list(connection.execute(query).scalars())

    def _last(self, connection: Any, epoch: str) -> Position | None:
        query = self._rows(Row, epoch).order_by(*_NEWEST_FIRST).limit(1)
        found = connection.execute(query).first()
        return None if found is None else self._checked(Row, found).position

    def _rows(self, kind: type[Link], epoch: str) -> Any:
        """What a *kind* is made of, of every record of *epoch*."""
        columns = (_journal.c[name] for name in kind.model_fields)
        return sa.select(*columns).where(self._mine, _journal.c.epoch == epoch)

    def _read(self, connection: Any, kind: type[R], query: Any) -> Iterator[R]:
        for row in connection.execute(query, execution_options={"yield_per": 1000}):
            yield self._checked(kind, row)

    def _checked(self, kind: type[R], row: Any) -> R:
        try:
            return kind(**row._asdict())
        except ValidationError as error:
            raise DamagedArchiveError(
                f"{self._where}: the row of table {TABLE} with seq {row.seq!r} is no record of a journal "
                f"({fault(error)}): use another archive, or repair it"
            ) from None

    def _row(self, one: Archived) -> dict[str, Any]:
        major, minor = place(one.entry.seq)
        row = {"organization": self._organization, "epoch": one.epoch, "place": major, "place_minor": minor}
        return row | {"after": one.after} | {name: getattr(one.entry, name) for name in _FIELDS}
