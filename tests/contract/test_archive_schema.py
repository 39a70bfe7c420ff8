"""The tables of an archive: made at once, or migrated from an older release's, on SQLite and PostgreSQL."""

from __future__ import annotations

import threading
from dataclasses import replace
from importlib.resources import files

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from support.journals import assert_archived, many

from governor.journal import schema
from governor.journal.archive import Archived, ArchiveError
from governor.journal.archive_sql import SqlArchive
from governor.journal.tables import META, calls, heads, journal
from governor.ledger.recovery import place

RELEASED = """
CREATE TABLE governor_journal (
    organization VARCHAR(64) NOT NULL,
    epoch VARCHAR(64) NOT NULL,
    place BIGINT NOT NULL,
    place_minor BIGINT NOT NULL,
    seq VARCHAR(64) NOT NULL,
    after VARCHAR(64),
    kind VARCHAR(32) NOT NULL,
    id VARCHAR(128) NOT NULL,
    at_ms BIGINT NOT NULL,
    outcome TEXT NOT NULL,
    detail TEXT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (organization, epoch, place, place_minor)
)
"""
"""As the release before the chain made it."""

INDEX = "CREATE INDEX ix_governor_journal_id ON governor_journal (id)"
COLUMNS = ["organization", "epoch", "place", "place_minor", "seq", "after"]
COLUMNS += ["kind", "id", "at_ms", "outcome", "detail", "record"]
INSERT = sa.text(
    f"INSERT INTO governor_journal ({', '.join(COLUMNS)}) VALUES ({', '.join(':' + one for one in COLUMNS)})"
)
RECORDS = 1_020


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path) -> str:
    """Of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/archive.db"
    return str(request.getfixturevalue("postgres_server").database())


def expected(lives=("first", "second")) -> list[Archived]:
    """What the old archive has: the records of two lives."""
    found: list[Archived] = []
    for number, epoch in enumerate(lives):
        after = None
        for entry in many(RECORDS):
            one = entry if not number else _later(entry)
            found.append(Archived(epoch, one, after))
            after = one.seq
    return found


def _later(entry):
    return replace(entry, id=f"later.{entry.id}", at_ms=entry.at_ms + 10**10)


def old_archive(url: str, org: str) -> list[Archived]:
    """Make an archive as the release before did."""
    records = expected()
    engine = SqlArchive(url, org).engine
    with engine.begin() as connection:
        connection.execute(sa.text(RELEASED))
        connection.execute(sa.text(INDEX))
        rows = []
        for epoch, entry, after in records:
            major, minor = place(entry.seq)
            told = (entry.kind, entry.id, entry.at_ms, entry.outcome, entry.detail, entry.record)
            row = (org, epoch, major, minor, entry.seq, after, *told)
            rows.append(dict(zip(COLUMNS, row, strict=True)))
        connection.execute(INSERT, rows)
    engine.dispose()
    return records


def differences(engine: sa.Engine) -> list[object]:
    """How the tables that are there differ from `tables.META`, as Alembic sees it."""
    with engine.connect() as connection:
        options = {
            "compare_type": True,
            "include_name": lambda name, kind, _: kind != "table" or name != schema.VERSION_TABLE,
        }
        return list(compare_metadata(MigrationContext.configure(connection, opts=options), META))


def layout(engine: sa.Engine) -> dict[str, object]:
    """Every table's columns with types, defaults and nullness, its key and its indexes."""
    inspect = sa.inspect(engine)
    return {
        name: (
            [{**one, "type": str(one["type"])} for one in inspect.get_columns(name)],
            inspect.get_pk_constraint(name)["constrained_columns"],
            sorted((one["name"], tuple(one["column_names"])) for one in inspect.get_indexes(name)),
        )
        for name in inspect.get_table_names()
    }


def rows_of(archive: SqlArchive, table: sa.Table) -> list[tuple[object, ...]]:
    with archive.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key))]


def test_the_last_step_is_this_release_s_schema():
    """What a new archive is stamped with is where the steps lead."""
    scripts = ScriptDirectory(str(files("governor.journal") / "migrations"))
    assert scripts.get_current_head() == schema.HEAD
    assert [one.revision for one in scripts.walk_revisions()][-1] == schema.FIRST


def test_the_tables_are_those_of_this_release_however_they_came(url, org, request, tmp_path):
    """Migrated or made at once: no column, type, default, key or index differs."""
    old_archive(url, org)
    archive = SqlArchive(url, org)
    assert archive.migrate() == schema.FIRST
    assert differences(archive.engine) == []
    assert (archive.migrate(), archive.schema()) == (schema.HEAD, schema.HEAD)
    other = f"sqlite:///{tmp_path}/made.db"
    if not url.startswith("sqlite"):
        other = request.getfixturevalue("postgres_server").database()
    made = SqlArchive(other, org)
    assert made.migrate() == schema.NOTHING
    assert differences(made.engine) == []
    assert layout(made.engine) == layout(archive.engine)
    for one in (archive, made):
        one.close()


def test_a_migrated_archive_is_as_one_that_was_written_so(url, org, tmp_path):
    """Every record is chained and told of, in each life, and the archive goes on."""
    records = old_archive(url, org)
    archive, told = SqlArchive(url, org), []
    archive.migrate(lambda *progress: told.append(progress))
    assert told[-1] == (len(records), len(records))
    fresh = SqlArchive(f"sqlite:///{tmp_path}/fresh.db", org)
    for epoch in ("first", "second"):
        own = [one.entry for one in records if one.epoch == epoch]
        for at in range(0, RECORDS, 400):
            fresh.append(epoch, own[at : at + 400], own[at - 1].seq if at else None)
    for table in (journal, calls, heads):
        assert rows_of(archive, table) == rows_of(fresh, table)
    assert list(archive.read()) == records
    more = [_later(_later(entry)) for entry in many(RECORDS + 3)][RECORDS:]
    assert archive.append("second", more, records[-1].entry.seq) == 3
    for one in (archive, fresh):
        one.close()


def test_a_migration_that_is_broken_off_leaves_all_as_it_was(url, org):
    """It is one transaction; readers are told what to do, and the next try does it."""
    records = old_archive(url, org)
    archive = SqlArchive(url, org)

    def stop(done: int, _: int | None) -> None:
        if done > RECORDS:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        archive.migrate(stop)
    assert archive.schema() == schema.FIRST
    with archive.engine.connect() as connection:
        assert sa.inspect(connection).get_table_names() == ["governor_journal"]
    with pytest.raises(ArchiveError, match=r"has schema 0001, .* run `governor archive migrate ARCHIVE`"):
        archive.last()
    assert archive.append("second", [], None) == 0
    assert list(archive.read()) == records
    archive.close()


def test_tables_of_a_newer_release_are_left_alone(url, org):
    """Whoever reads or writes is told which release it takes."""
    archive = SqlArchive(url, org)
    archive.append("e", list(many(3)))
    with archive.engine.begin() as connection:
        connection.execute(sa.text("UPDATE governor_schema SET version_num = '0999'"))
    archive.close()
    again = SqlArchive(url, org)
    for use in (again.last, again.migrate, lambda: again.append("e", list(many(4)))):
        with pytest.raises(
            ArchiveError, match="have schema 0999, which a newer release made; this one knows"
        ):
            use()
    again.close()


def test_several_make_or_migrate_the_tables_at_once(url, org):
    """Whoever comes second waits and finds it done; every record is there once."""
    records = old_archive(url, org)
    barrier, failed = threading.Barrier(3), []

    def work() -> None:
        own = SqlArchive(url, org)
        barrier.wait()
        try:
            own.migrate()
        except Exception as error:  # noqa: BLE001 - told below
            failed.append(error)
        own.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    archive = SqlArchive(url, org)
    assert list(archive.read()) == records
    archive.close()


def test_a_user_who_may_make_no_table_writes_into_those_that_are_there(postgres_server, org):
    """Rights to read, insert, update and delete are enough on tables of this release."""
    url = postgres_server.database()
    owner = SqlArchive(url, org)
    owner.migrate()
    writer = f"writer_{org[-16:]}"
    with owner.engine.begin() as connection:
        connection.execute(sa.text(f"CREATE ROLE {writer} LOGIN"))
        connection.execute(sa.text("REVOKE CREATE ON SCHEMA public FROM PUBLIC"))
        rights = f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {writer}"
        connection.execute(sa.text(rights))
    archive = SqlArchive(url.replace("//me@", f"//{writer}@"), org)
    records = list(many(20))
    assert archive.append("e", records) == 20
    befores = (None, *(one.seq for one in records))
    assert_archived(
        archive, [Archived("e", one, after) for one, after in zip(records, befores, strict=False)]
    )
    archive.close()
    owner.close()
