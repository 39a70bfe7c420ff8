"""An archive in a database as the audit reads it: every column as it is, whatever it holds."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from governor.journal.archive import ArchiveError
from governor.journal.audit.chain_check import Kept, Stored
from governor.journal.tables import calls, heads, journal, results
from governor.ledger.commands import JournalEntry
from governor.ledger.recovery import place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.journal.archive_sql import SqlArchive

_PAGE = 1000


@contextmanager
def snapshot(archive: SqlArchive) -> Iterator[sa.Connection]:
    """A connection that sees the archive as it is at this moment, however long it reads.

    Raises:
        ArchiveError: It is not there, or cannot be read.
    """
    with archive.reading() as there:
        if there is None:
            raise ArchiveError(
                f"there is no archive at {archive.where}: correct its URL; `governor archive run` makes it"
            )
        with archive.engine.connect() as connection:
            if connection.dialect.name == "sqlite":
                with _lenient(connection):
                    connection.exec_driver_sql("BEGIN")
                    yield connection
            elif connection.dialect.name == "postgresql":
                yield connection.execution_options(isolation_level="REPEATABLE READ")
            else:
                yield connection


@contextmanager
def _lenient(connection: sa.Connection) -> Iterator[None]:
    """A text that is not UTF-8 is to be named, not to end the reading."""
    driver: Any = connection.connection.driver_connection
    sqlite3: Any = connection.dialect.dbapi
    driver.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")
    try:
        yield
    finally:
        driver.text_factory = str
        with suppress(sqlite3.ProgrammingError):  # Ctrl-C in the middle of a row has closed it
            driver.rollback()


def read_kept(connection: sa.Connection, organization: str) -> dict[str, Kept]:
    """What the archive keeps of each chain, by its epoch."""
    query = sa.select(*raw(heads)).where(heads.c.organization == organization)
    return {
        row.epoch: Kept(row.first_seq, row.before_hash, row.seq, row.hash, row.records)
        for row in connection.execute(query)
    }


def read_lives(connection: sa.Connection, organization: str) -> list[str]:
    """The epochs of the records, oldest first."""
    query = sa.select(journal.c.epoch).where(journal.c.organization == organization)
    query = query.group_by(journal.c.epoch).order_by(sa.func.min(sa.type_coerce(journal.c.at_ms, sa.Integer)))
    return list(connection.execute(query).scalars())


def count_rows(connection: sa.Connection, organization: str) -> int:
    """How many records, calls and results there are."""
    return sum(
        int(
            connection.execute(
                sa.select(sa.func.count()).select_from(table).where(table.c.organization == organization)
            ).scalar_one()
        )
        for table in (journal, calls, results)
    )


def read_chain(connection: sa.Connection, organization: str, epoch: str, content_ms: int) -> Iterator[Stored]:
    """The records of one epoch, in the order of their places.

    What was found in the content of those from before *content_ms* may be gone.
    """
    query = (
        sa.select(*raw(journal))
        .where(journal.c.organization == organization, journal.c.epoch == epoch)
        .order_by(journal.c.place, journal.c.place_minor)
    )
    for row in connection.execute(query, execution_options={"yield_per": _PAGE}):
        yield _stored(row, content_ms)


def _stored(row: Any, content_ms: int) -> Stored:
    entry = JournalEntry(row.seq, row.kind, row.id, row.at_ms, row.outcome, row.detail, row.record)
    faults: list[str] = []
    others: tuple[str, ...] = ()
    try:
        here = place(row.seq)
    except (ValueError, TypeError, AttributeError):
        here = None
    if here != (row.place, row.place_minor):
        others = (str(row.place), f"{row.place}-{row.place_minor}")
        faults.append(f"it stands at place {row.place}, {row.place_minor}, which is not that of its `seq`")
    if isinstance(row.findings, str):
        if hashlib.sha256(row.findings.encode(errors="surrogateescape")).hexdigest() != row.findings_hash:
            faults.append("what was found in its content is not what was archived")
    elif row.findings is not None:
        faults.append("its `findings` is no text")
    elif row.findings_hash is not None and not (isinstance(row.at_ms, int) and row.at_ms < content_ms):
        faults.append("what was found in its content was taken away before its time")
    return Stored(entry, row.after, row.findings_hash, row.hash, tuple(faults), others)


def raw(table: sa.Table) -> list[Any]:
    """Its columns without their types: nothing is made of what they hold."""
    return [sa.column(one.name) for one in table.c]
