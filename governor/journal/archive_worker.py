"""Follows the ledger's journal into an archive in a database, for ever; many may run, and one acts.

Where the archive is, is what its last transaction committed, and nothing else: the place that the ledger
knows is moved behind that, and is put right after a crash between the two.
"""

from __future__ import annotations

import json
import random
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from governor.errors import LedgerUnavailable
from governor.journal.archive import ArchiveDownError
from governor.journal.archiving import copy_new, trim
from governor.journal.lease import Lease
from governor.ledger.commands import Inspect
from governor.ledger.following import AwaitRecords, Follow, Unfollow
from governor.ledger.recovery import MeasureJournal, place

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from governor.journal.archive_sql import SqlArchive
    from governor.journal.archiving import Batch, Copied
    from governor.ledger import Ledger

TASK = "archive"
_WAIT_MS = 1000
"""How long one look for new records takes at most; less than any time-out of the ledger's client."""

_LINGER_S = 0.25
"""How long new records are left to gather, so that a busy journal is not archived one by one."""

_MOST_S = 30.0
"""The longest pause between two tries while the ledger or the archive is away."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How a worker works.

    Attributes:
        name: What the ledger knows the archive by; `None`: the name it has, or one made for it.
        lease_s: After so many seconds without a word from the worker that acts, another one does.
        keep_ms: How much of the journal the ledger keeps; `None`: all, nothing is trimmed.
        trim_every_s: How often it is trimmed.
    """

    name: str | None = None
    lease_s: float = 15.0
    keep_ms: int | None = None
    trim_every_s: float = 600.0


class ArchiveWorker:
    """One worker.

    Args:
        ledger: Whose journal.
        archive: Where to.
        terms: How.
        stop: Set, it ends the work after the batch under way.
        say: Is told what somebody should know: that it begins, waits for the archive, goes on.
        tell: Is told how many records were copied, and of how many.
    """

    def __init__(
        self,
        ledger: Ledger,
        archive: SqlArchive,
        terms: Terms,
        stop: threading.Event,
        say: Callable[[str], None] = lambda _: None,
        tell: Callable[[int, int], None] = lambda *_: None,
    ) -> None:
        self._ledger, self._archive, self._terms = ledger, archive, terms
        self._stop, self._say, self._tell = stop, say, tell
        self._lease = Lease(archive.organization, TASK, int(1000 * terms.lease_s))
        self._name = ""
        self._acts = False
        self._told: str | None = None
        self._tries = 0
        self._trimmed_s: float | None = None
        self._followed: tuple[str, str | None] | None = None

    def run(self) -> None:
        """Follow until it is stopped.

        Raises:
            ArchiveError: The archive cannot take the journal, and waiting will not help.
        """
        while not self._stop.is_set():
            try:
                if not self._take():
                    self._stop.wait(self._terms.lease_s / 3)
                    continue
                copied = self._copy()
                self._trim(copied.epoch)
                self._went_well()
                self._await(copied)
            except (LedgerUnavailable, ArchiveDownError) as error:
                self._went_wrong(error)
        self._leave()

    def once(self) -> Copied | None:
        """Copy all that the journal has at this moment; `None`: another worker did.

        Raises:
            LedgerUnavailable: The ledger cannot be read.
            ArchiveError: The archive cannot be written, or is another ledger's.
        """
        size = self._ledger.execute(MeasureJournal())
        while not self._take():
            last = self._archive.last(size.epoch)
            if size.last is None or (last is not None and place(last.seq) >= place(size.last.seq)):
                return None
            if self._stop.wait(0.2):
                return None
        try:
            copied = self._copy()
            self._trim(copied.epoch)
        finally:
            self._leave()
        return copied

    def _take(self) -> bool:
        """Whether this worker acts, by a lease that it takes or renews."""
        with self._archive.writing() as connection:
            acts = self._lease.take(connection)
            known = self._lease.read(connection) if acts and not self._acts else ""
            if acts and not self._acts:
                self._name = self._terms.name or name_of(known) or f"archive-{secrets.token_hex(4)}"
                self._lease.write(connection, json.dumps({"name": self._name}))
        if acts and not self._acts:
            self._followed = None
            before = name_of(known)
            if before and before != self._name:
                self._ledger.execute(Unfollow(before))
            self._say(f"{self._archive.where} follows the journal as {self._name!r}")
        elif not acts and self._acts:
            self._say("another worker acts now; this one waits")
        self._acts = acts
        return acts

    def _copy(self) -> Copied:
        copied = copy_new(self._ledger, self._archive, self._tell, self._behind)
        if copied.gap:
            self._say(
                "the ledger had been trimmed behind another archive: some records are missing in this one"
            )
        return copied

    def _behind(self, batch: Batch) -> bool:
        """After a commit: tell the ledger, and keep the lease; whether to go on."""
        now = (batch.epoch, None if batch.last is None else batch.last.seq)
        if now != self._followed:
            mark = None if batch.last is None else batch.last.mark
            self._ledger.execute(Follow(self._name, batch.epoch, mark, batch.before, batch.count))
            self._followed = now
        if batch.count:
            with self._archive.writing() as connection:
                self._acts = self._lease.take(connection)
        return self._acts and not self._stop.is_set()

    def _trim(self, epoch: str) -> None:
        keep_ms, now_s = self._terms.keep_ms, time.monotonic()
        due = self._trimmed_s is None or now_s - self._trimmed_s >= self._terms.trim_every_s
        if keep_ms is None or not due or self._stop.is_set() or not self._acts:
            return
        self._trimmed_s = now_s
        before_ms = self._ledger.execute(Inspect()).now_ms - keep_ms
        gone = trim(self._ledger, self._archive, epoch, before_ms, lambda _: None)
        if gone:
            self._say(f"{gone:,} records removed from the ledger")

    def _await(self, copied: Copied) -> None:
        """Wait for more. A store that does not wake anybody is looked at again after as long."""
        began_s = time.monotonic()
        found = self._ledger.execute(AwaitRecords(copied.last.seq if copied.last else None, _WAIT_MS))
        rest_s = _LINGER_S if found else max(0.0, _WAIT_MS / 1000 - (time.monotonic() - began_s))
        self._stop.wait(rest_s)

    def _went_well(self) -> None:
        if self._told is not None:
            self._say("it works again, and goes on where it stopped")
        self._told, self._tries = None, 0

    def _went_wrong(self, error: Exception) -> None:
        """Say it once, and pause for longer each time."""
        kind = type(error).__name__  # its text may have what changes from try to try
        if kind != self._told:
            self._say(f"{error}; nothing is lost, it is tried again until it works")
        self._told = kind
        self._tries += 1
        self._followed = None
        self._stop.wait(min(_MOST_S, 0.5 * 2 ** min(self._tries, 10)) * random.uniform(0.5, 1))  # noqa: S311 - jitter

    def _leave(self) -> None:
        """Let the next worker act at once."""
        if not self._acts:
            return
        self._acts = False
        try:
            with self._archive.writing() as connection:
                self._lease.release(connection)
        except ArchiveDownError:
            pass  # then the lease runs out


def name_of(state: str) -> str:
    """What a ledger knows an archive by, from what its worker left for the next; '' where it is not said."""
    try:
        name = json.loads(state)["name"]
    except (ValueError, KeyError, TypeError):
        return ""
    return name if isinstance(name, str) else ""
