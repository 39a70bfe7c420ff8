"""How an archive in a database stands: its schema, how far it is, who works on it, what could not be told."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import sqlalchemy as sa

from governor.journal import schema
from governor.journal.archive_worker import TASK, name_of
from governor.journal.lease import database_now_ms
from governor.journal.retention import Cuts, read_cuts
from governor.journal.tables import calls, deliveries, heads, workers

if TYPE_CHECKING:
    from governor.journal.archive import Position
    from governor.journal.archive_sql import SqlArchive


@dataclass(frozen=True, slots=True)
class Standing:
    """As said.

    Attributes:
        schema: Of its tables.
        records: How many it keeps.
        calls: How many of them it can tell of.
        last: Its newest record.
        name: What the ledger knows it by; '': nobody followed with it yet.
        worker: Who acts, or acted last; '': nobody did.
        lease_ms: How long that one's lease still holds, milliseconds; 0: nobody acts now.
        dead: How many alerts could not be delivered, and are not tried any more.
        cuts: What was pruned.
    """

    schema: str
    records: int = 0
    calls: int = 0
    last: Position | None = None
    name: str = ""
    worker: str = ""
    lease_ms: int = 0
    dead: int = 0
    cuts: Cuts = field(default_factory=Cuts)


def look(archive: SqlArchive) -> Standing:
    """Look at an archive; changes nothing.

    Raises:
        ArchiveError: It cannot be read, or has not this release's schema.
    """
    mine = archive.organization
    with archive.reading() as connection:
        if connection is None:
            return Standing(schema.NOTHING)
        records = sa.select(sa.func.coalesce(sa.func.sum(heads.c.records), 0))
        work = sa.select(workers).where(workers.c.organization == mine, workers.c.task == TASK)
        row = connection.execute(work).first()
        lost = sa.select(sa.func.count()).select_from(deliveries)
        told = sa.select(sa.func.count()).select_from(calls).where(calls.c.organization == mine)
        dead = lost.where(deliveries.c.organization == mine, deliveries.c.state == "dead")
        standing = Standing(
            schema.find(connection),
            int(connection.execute(records.where(heads.c.organization == mine)).scalar_one()),
            int(connection.execute(told).scalar_one()),
            None,
            "" if row is None else name_of(row.state),
            "" if row is None else row.worker,
            0 if row is None else max(0, row.until_ms - database_now_ms(connection)),
            int(connection.execute(dead).scalar_one()),
            read_cuts(connection, mine),
        )
    return replace(standing, last=archive.last())
