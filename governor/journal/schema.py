"""Which schema an archive's tables have, and how they come to this release's: made, or migrated."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from governor.journal.archive import ArchiveError
from governor.journal.chain import join, link, split
from governor.journal.projection import project
from governor.journal.tables import META, heads, journal
from governor.ledger.commands import JournalEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Tell = Callable[[int, int | None], None]

HEAD = "0002"
"""The schema of this release; `migrations/versions` has the way to it."""

FIRST = "0001"
"""The schema of archives from before the schema was kept: the records alone."""

NOTHING = "nothing"
"""What `find` says of a database without these tables."""

VERSION_TABLE = "governor_schema"

_versions = sa.Table(
    VERSION_TABLE, sa.MetaData(), sa.Column("version_num", sa.String(32), nullable=False, primary_key=True)
)
_PAGE = 1000
_LOCK = 0x676F7665726E6F72
"""Of PostgreSQL's advisory locks, the one of whoever makes or migrates these tables ("governor")."""


def find(connection: sa.Connection) -> str:
    """The schema that the tables have: a number, or `NOTHING`.

    Raises:
        ArchiveError: A newer release made them.
    """
    inspect = sa.inspect(connection)
    if inspect.has_table(VERSION_TABLE):
        found = connection.execute(sa.select(_versions.c.version_num)).scalar()
        if found is not None:
            return _known(str(found))
    if not inspect.has_table(journal.name):
        return NOTHING
    names = {column["name"] for column in inspect.get_columns(journal.name)}
    return HEAD if "hash" in names else FIRST


def _known(found: str) -> str:
    if found > HEAD:
        raise ArchiveError(
            f"its tables have schema {found}, which a newer release made; this one knows {HEAD} at most: "
            "use that release, or one after it"
        )
    return found


def ensure(connection: sa.Connection, key: bytes, tell: Tell) -> str:
    """Bring the tables to this release, in the transaction of *connection*; returns what they were before.

    All of it is done or, whatever interrupts it, nothing. Whoever comes second waits, and finds it done.

    Args:
        connection: In a transaction that may write.
        key: Of the chain; see `chain.link`.
        tell: Is told how many records are chained, and of how many.

    Raises:
        ArchiveError: A newer release made them, or the extra lacks Alembic.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    found = find(connection)
    if found == NOTHING:
        META.create_all(connection)
        _stamp(connection, HEAD)
    elif found == FIRST:
        _stamp(connection, FIRST)
        _upgrade(connection)
        _fill(connection, key, tell)
    elif not sa.inspect(connection).has_table(VERSION_TABLE):
        _stamp(connection, HEAD)
    return found


def _stamp(connection: sa.Connection, schema: str) -> None:
    _versions.create(connection, checkfirst=True)
    connection.execute(sa.delete(_versions))
    connection.execute(sa.insert(_versions), {"version_num": schema})


def _upgrade(connection: sa.Connection) -> None:
    """Run Alembic's steps from what is there to this release's schema."""
    try:
        from alembic.config import Config  # noqa: PLC0415 - only an older archive needs it
        from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415 - as above
        from alembic.script import ScriptDirectory  # noqa: PLC0415 - as above
    except ImportError:
        raise ArchiveError(
            "an older release made its tables, and to migrate them needs Alembic: "
            "pip install 'claude-governor[archive]'"
        ) from None
    with as_file(files("governor.journal") / "migrations") as folder:
        scripts = ScriptDirectory(str(folder))

        def steps(revision: Any, _: Any) -> Any:
            return scripts._upgrade_revs("head", revision)  # noqa: SLF001 - as Alembic's own commands do

        with EnvironmentContext(Config(), scripts, fn=steps) as environment:
            environment.configure(connection=connection, version_table=VERSION_TABLE)
            environment.run_migrations()


def _fill(connection: sa.Connection, key: bytes, tell: Tell) -> None:
    """Chain the records that have no hash yet, and write what they tell; page by page, in their order."""
    total = connection.execute(sa.select(sa.func.count()).select_from(journal)).scalar_one()
    lives = sa.select(journal.c.organization, journal.c.epoch).group_by(
        journal.c.organization, journal.c.epoch
    )
    done = 0
    for organization, epoch in connection.execute(
        lives.order_by(journal.c.organization, sa.func.min(journal.c.at_ms))
    ).all():
        first, last, count, digest = "", "", 0, ""
        for page in _pages(connection, organization, epoch):
            first = first or page[0].seq
            digest = _fill_page(connection, page, digest, key)
            last, count = page[-1].seq, count + len(page)
            tell(done + count, total)
        done += count
        row = {"organization": organization, "epoch": epoch, "first_seq": first, "before_hash": ""}
        connection.execute(sa.insert(heads), {**row, "seq": last, "hash": digest, "records": count})


def _pages(connection: sa.Connection, organization: str, epoch: str) -> Iterator[list[Any]]:
    """The rows of one life, in order."""
    place = sa.tuple_(journal.c.place, journal.c.place_minor)
    mine = sa.select(journal).where(journal.c.organization == organization, journal.c.epoch == epoch)
    query = mine.order_by(journal.c.place, journal.c.place_minor).limit(_PAGE)
    reached = (-1, -1)
    while page := list(connection.execute(query.where(place > reached)).all()):
        yield page
        reached = (page[-1].place, page[-1].place_minor)


def _fill_page(connection: sa.Connection, page: list[Any], before: str, key: bytes) -> str:
    """Chain one page and project it; returns the hash of its last record."""
    entries, rows = [], []
    for row in page:
        parts = split(join(row.record, row.findings))
        entry = JournalEntry(row.seq, row.kind, row.id, row.at_ms, row.outcome, row.detail, parts.record)
        before = link(before, row.organization, row.epoch, entry, row.after, parts.findings_hash, key)
        entries.append(replace(entry, record=join(*parts)))
        rows.append(
            {"o": row.organization, "e": row.epoch, "p": row.place, "m": row.place_minor, "digest": before}
            | {"text": parts.record, "found": parts.findings, "found_hash": parts.findings_hash}
        )
    mine = (journal.c.organization == sa.bindparam("o"), journal.c.epoch == sa.bindparam("e"))
    here = (journal.c.place == sa.bindparam("p"), journal.c.place_minor == sa.bindparam("m"))
    values: dict[str, Any] = {"hash": sa.bindparam("digest"), "record": sa.bindparam("text")}
    values |= {"findings": sa.bindparam("found"), "findings_hash": sa.bindparam("found_hash")}
    connection.execute(sa.update(journal).where(*mine, *here).values(values), rows)
    project(connection, page[0].organization, entries)
    return before
