"""Archive workers as processes of their own, which tests kill."""

from __future__ import annotations

import multiprocessing
import threading
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerProcess

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        *("anthropic.resources.messages", "governor.clients.aio", "governor.clients.governor"),
        *("governor.ledger.redis", "governor.ledger.servers", "governor.policy.check", "governor.testing"),
        *("governor.journal.archive_worker", "governor.journal.archive_sql", "psycopg"),
    ]
)

LEASE_S = 0.5


def archiver(
    ledger: str, archive: str, organization: str, page: int, *, once: bool = False
) -> ForkServerProcess:
    """A process, not yet started, that follows a journal in batches of so many records.

    Args:
        ledger: The ledger's URL.
        archive: The archive's.
        organization: Whose.
        page: Records in a batch: small ones make many places to be killed at.
        once: Whether it ends when it has all; else it goes on for ever.
    """
    return _FORKS.Process(target=_work, args=(ledger, archive, organization, page, once))


def _work(ledger: str, archive: str, organization: str, page: int, once: bool) -> None:
    from governor.journal import archiving
    from governor.journal.archive_sql import SqlArchive
    from governor.journal.archive_worker import ArchiveWorker, Terms
    from governor.ledger import open_ledger
    from governor.ledger.recovery import ReadSince

    archiving.ReadSince = partial(ReadSince, limit=page)  # type: ignore[misc, assignment]
    kept = SqlArchive(archive, organization)
    worker = ArchiveWorker(open_ledger(ledger, organization), kept, Terms(lease_s=LEASE_S), threading.Event())
    worker.once() if once else worker.run()
