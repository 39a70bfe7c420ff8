"""Where reports, the audit and alerts find the calls: the archive, brought up to date first."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from governor.cli.output import note
from governor.cli.progress import progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.cli.context import Desk
    from governor.journal.archive_sql import SqlArchive

GOES_ON = "what was read is safe; run it again, and it goes on from there"

IN_MEMORY = "sqlite://"
MANY = 20_000
"""So many records take some 4 s of CPU time and 60 MB to read."""

KEEP_ONE = "`governor archive run` keeps them in a database that GOVERNOR_ARCHIVE names"

ARCHIVE: Any = typer.Option(
    None,
    "--archive",
    envvar="GOVERNOR_ARCHIVE",
    metavar="URL",
    help="The archive's database (SQLAlchemy's URL). Else one is kept beside a SQLite ledger.",
    show_default=False,
)


def archive_url(given: str | None, ledger: str) -> str:
    """The URL of the archive that goes with a ledger.

    Args:
        given: What `--archive` says.
        ledger: The ledger's URL. Beside `sqlite:///path/governor.db` it is
            `sqlite:///path/governor.db.archive`; for a ledger in Redis it is in memory, read anew each time.
    """
    if given is not None:
        return given
    return f"{ledger}.archive" if ledger.startswith("sqlite:///") else IN_MEMORY


@contextmanager
def open_books(desk: Desk, given: str | None, ledger: str) -> Iterator[SqlArchive]:
    """The archive of a desk's ledger, with all that the journal has at this moment.

    One whose hashes have a key that is not set here, or that this user may only read, is left as it is, and
    that is said.

    Raises:
        ArchiveError: It cannot be used, is no database, or needs the extra `archive`.
        LedgerUnavailable: The ledger cannot be read.
    """
    from governor.journal.archive import (  # noqa: PLC0415 - `--help` need not pay for it
        ArchiveKeyError,
        ArchiveReadOnlyError,
    )
    from governor.journal.archive_sql import SqlArchive  # noqa: PLC0415 - needs an extra
    from governor.journal.archiving import copy_new  # noqa: PLC0415 - as above

    where = archive_url(given, ledger)
    books = SqlArchive(where, desk.policies.organization)
    try:
        try:
            with progress("records read", GOES_ON) as tell:
                copied = copy_new(desk.ledger, books, tell)
            if where == IN_MEMORY and copied.records >= MANY:
                note(f"{copied.records:,} records were read into memory, and are each time: {KEEP_ONE}")
        except ArchiveKeyError as error:  # who reads need not have the key of who writes
            note(f"{error}. What follows is what it has so far")
        except ArchiveReadOnlyError as error:
            if not _has_records(books):
                raise
            note(f"{error}. Nothing was added to it: what follows is what it has so far")
        yield books
    finally:
        books.close()


def _has_records(books: SqlArchive) -> bool:
    return books.last() is not None
