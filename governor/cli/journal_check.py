"""What `governor doctor` says of the journal and its archive, and of a store that is no ledger."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

from governor.cli.findings import NOTE, OK, WRONG, Finding
from governor.cli.output import stamp
from governor.journal.archive import ArchiveError, open_archive
from governor.ledger.opening import redact
from governor.ledger.recovery import MeasureJournal, place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.journal.archive import Position
    from governor.ledger import Ledger
    from governor.ledger.commands import Status

MANY = 1_000_000
"""So many records take gigabytes of a Redis; more are worth a note."""


def no_ledger(where: str, status: Status, organization: str, archive: str | None) -> Iterator[Finding]:
    """A store without the marker: emptied, or never created."""
    text = f"{where} ({status.server}) holds no ledger of {organization!r}: it was emptied or never created"
    source = redact(archive) if archive else "ARCHIVE"
    advice = (
        f"if it was emptied, `governor ledger rebuild {source} {where}`; if it is new, "
        f"`governor ledger create {where}`; or correct --ledger (GOVERNOR_LEDGER)"
    )
    yield Finding(WRONG, "ledger", text, advice)
    if archive:
        yield _archive(archive, organization, None, status.now_ms)[0]


def journal(store: Ledger, now_ms: int, organization: str, archive: str | None) -> Iterator[Finding]:
    """How much of the journal the ledger keeps, and whether the archive has it."""
    size = store.execute(MeasureJournal())
    text = f"{size.records:,} records"
    if size.first is not None:
        text += f" since {stamp(size.first.at_ms)} UTC"
    if archive is None:
        advice = (
            "`governor ledger archive ARCHIVE --trim`: until then they only grow, and a loss cannot be undone"
        )
        grown = size.records > MANY
        yield Finding(
            NOTE if grown else OK, "journal", f"{text}; no archive was named", advice if grown else ""
        )
        return
    found, last = _archive(archive, organization, size.epoch, now_ms)
    yield found
    if found.state == WRONG:
        return
    if size.last is None or (last is not None and place(last.seq) >= place(size.last.seq)):
        yield Finding(OK, "journal", f"{text}, the newest archived")
        return
    yield Finding(
        NOTE, "journal", f"{text}, the newest not archived", f"`governor ledger archive {redact(archive)}`"
    )


def _archive(
    where: str, organization: str, epoch: str | None, now_ms: int
) -> tuple[Finding, Position | None]:
    """The archive's last record (of *epoch*), and how far it lags behind."""
    try:
        with closing(open_archive(where, organization)) as kept:
            last = kept.last(epoch)
    except ArchiveError as error:
        return Finding(WRONG, "archive", str(error), "correct --archive (GOVERNOR_ARCHIVE)"), None
    if last is None:
        text = f"{redact(where)} has no record of this ledger"
        return Finding(NOTE, "archive", text, f"`governor ledger archive {redact(where)}`"), None
    lag = timedelta(seconds=max(0, now_ms - last.at_ms) // 1000)
    text = f"{redact(where)}: the last record is of {stamp(last.at_ms)} UTC, {lag} ago"
    return Finding(OK, "archive", text), last
