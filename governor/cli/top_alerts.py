"""The alerts that go on, as an archive keeps them; without one there are those of the journal's tail."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from governor.cli.books import archive_url

if TYPE_CHECKING:
    from collections.abc import Callable

MOST = 50
AGAIN_S = 30.0
"""How long an archive that could not be read is left alone."""


def open_alerts(
    given: str | None, ledger: str, organization: str
) -> Callable[[], list[dict[str, Any]]] | None:
    """Reads the alerts that go on, the newest first; `None` where there is no archive to read.

    Nothing is made or brought up to date: `governor alerts run` does that.

    Args:
        given: What `--archive` says.
        ledger: The ledger's URL.
        organization: Whose.

    Raises:
        ArchiveError: An archive is named, and its URL cannot be used.
    """
    url = archive_url(given, ledger)
    if given is None and not _is_there(url):
        return None
    try:
        from governor.journal.archive_sql import SqlArchive  # noqa: PLC0415 - needs an extra
    except Exception:
        if given is not None:
            raise
        return None  # nobody asked for an archive
    books = SqlArchive(url, organization)
    again_s = 0.0

    def read() -> list[dict[str, Any]]:
        nonlocal again_s
        if time.monotonic() < again_s:
            return []
        import sqlalchemy as sa  # noqa: PLC0415 - as above

        from governor.journal.archive import ArchiveError  # noqa: PLC0415 - as above
        from governor.journal.tables import alerts  # noqa: PLC0415 - as above

        query = (
            sa.select(alerts.c.told)
            .where(alerts.c.organization == organization, alerts.c.ended_ms.is_(None))
            .order_by(alerts.c.began_ms.desc())
            .limit(MOST)
        )
        try:
            with books.reading() as connection:
                if connection is None:
                    return []
                found = [json.loads(told) for (told,) in connection.execute(query)]
        except (ArchiveError, ValueError):
            again_s = time.monotonic() + AGAIN_S  # one that does not answer would hold up every look
            return []  # an archive that is away, or has no such table yet, hides no figure of the ledger
        return [one for one in found if isinstance(one, dict)]

    return read


def _is_there(url: str) -> bool:
    """Whether a SQLite archive is on the disk."""
    path = url.removeprefix("sqlite:///")
    return path not in ("", url) and Path(unquote(path)).exists()
