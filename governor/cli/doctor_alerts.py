"""What `governor doctor` says of alerts: what has still to be told, and whether a worker acts."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

from governor.cli.books import archive_url
from governor.cli.findings import NOTE, OK, WRONG, Finding
from governor.cli.output import stamp
from governor.errors import GovernorError

if TYPE_CHECKING:
    from collections.abc import Iterator

ABOUT = "alerts"


def alerts(given: str | None, ledger: str, organization: str) -> Iterator[Finding]:
    """Look into the archive's database, if there is one; nothing is made, and nothing changed.

    Args:
        given: What `--archive` says; `None`: the one beside a SQLite ledger.
        ledger: The ledger's URL.
        organization: Whose.
    """
    where = archive_url(given, ledger)
    if "://" not in where or where.startswith("file://") or where == "sqlite://":
        return
    try:
        yield from _look(where, organization)
    except GovernorError as error:
        if given is not None:
            yield Finding(WRONG, ABOUT, str(error), "correct --archive (GOVERNOR_ARCHIVE), or its server")


def _look(where: str, organization: str) -> Iterator[Finding]:
    from governor.journal.archive import ArchiveError, open_archive  # noqa: PLC0415 - only needed here

    books: Any = open_archive(where, organization)
    with closing(books):
        if books.last() is None:
            return
        from sqlalchemy import exc  # noqa: PLC0415 - an extra, which is there by now

        try:
            yield from _examine(books.engine, organization)
        except exc.SQLAlchemyError as error:
            cause = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            raise ArchiveError(f"the tables of alerts cannot be read: {cause}") from None


def _examine(engine: Any, organization: str) -> Iterator[Finding]:
    import sqlalchemy as sa  # noqa: PLC0415 - as above

    from governor.journal.alerts.outbox import Outbox  # noqa: PLC0415 - as above
    from governor.journal.lease import database_now_ms  # noqa: PLC0415 - as above
    from governor.journal.tables import deliveries, workers  # noqa: PLC0415 - as above

    if not sa.inspect(engine).has_table(deliveries.name):
        return
    with engine.begin() as connection:
        mine = (workers.c.organization == organization, workers.c.task == ABOUT)
        worker = connection.execute(sa.select(workers).where(*mine)).first()
        now_ms = database_now_ms(connection)
        backlog = Outbox(organization).backlog(connection)
    if worker is None:
        return  # nobody ever watched: alerts are not in use here
    if worker.until_ms >= now_ms:
        yield Finding(OK, ABOUT, f"{worker.worker} acts; evaluated up to {_position(worker.state)}")
    else:
        advice = "start `governor alerts run`; it goes on where the last one was"
        text = f"no worker acts; evaluated up to {_position(worker.state)}"
        yield Finding(NOTE, ABOUT, text, advice)
    if backlog.dead:
        text = f"{backlog.dead} messages were given up"
        advice = "`governor alerts deliveries --dead` says why; then `--retry all`"
        yield Finding(WRONG, ABOUT, text, advice)
    if backlog.waiting:
        since = "" if backlog.oldest_ms is None else f", of alerts since {stamp(backlog.oldest_ms)[:19]} UTC"
        yield Finding(
            NOTE, ABOUT, f"{backlog.waiting} messages wait{since}", "`governor alerts deliveries` says why"
        )


def _position(state: str) -> str:
    try:
        return f"{stamp(int(json.loads(state)['done_ms']))[:19]} UTC"
    except (ValueError, KeyError, TypeError):
        return "nothing yet"
