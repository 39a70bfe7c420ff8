"""What `governor doctor` says of the journal and its archive, and of a store that is no ledger."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, cast

from governor.cli.archive_keep import behind
from governor.cli.findings import NOTE, OK, WRONG, Finding
from governor.cli.output import stamp
from governor.errors import LedgerUnavailable
from governor.journal.archive import ArchiveError, open_archive
from governor.ledger.following import ListFollowers
from governor.ledger.opening import redact
from governor.ledger.recovery import MeasureJournal, place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.journal.archive import Position
    from governor.journal.archive_sql import SqlArchive
    from governor.ledger import Ledger
    from governor.ledger.commands import Status

MANY = 1_000_000
"""So many records take gigabytes of a Redis; more are worth a note."""

LATE_MS = 3_600_000
"""An archive that lacks records for longer is no archive: nothing is trimmed, and a loss loses them."""


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
    """How much of the journal the ledger keeps, and whether its archives have it."""
    yield from _journal(store, now_ms, organization, archive)
    yield from _followers(store, now_ms)
    if archive is not None and "://" in archive and not archive.startswith("file://"):
        yield from _database(archive, organization)


def _journal(store: Ledger, now_ms: int, organization: str, archive: str | None) -> Iterator[Finding]:
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


def _followers(store: Ledger, now_ms: int) -> Iterator[Finding]:
    """How far each archive that follows is behind."""
    try:
        found = store.execute(ListFollowers())
    except LedgerUnavailable as error:
        yield Finding(NOTE, "archives", f"who follows the journal cannot be seen: {error}")
        return
    for one in found:
        if not one.lag and one.oldest_ms is None:
            yield Finding(OK, "archives", f"{one.name} has every record")
            continue
        count, age = behind(one, now_ms)
        text = f"{one.name} lacks {count} records"
        if one.oldest_ms is not None:
            text += f", the oldest from {age} ago: nothing behind it is trimmed"
        advice = (
            f"see that `governor archive run` runs; if it is out of use, `governor archive forget {one.name}`"
        )
        late = one.oldest_ms is not None and now_ms - one.oldest_ms > LATE_MS
        yield Finding(WRONG if late else NOTE, "archives", text, advice)


def _database(where: str, organization: str) -> Iterator[Finding]:
    """The tables of an archive in a database, who works on it, and what it could not tell."""
    try:
        from governor.journal.standing import look  # noqa: PLC0415 - needs an extra

        with closing(open_archive(where, organization)) as kept:
            stands = look(cast("SqlArchive", kept))
    except ArchiveError:
        return  # said above
    yield Finding(OK, "tables", f"schema {stands.schema}, {stands.records:,} records, {stands.calls:,} calls")
    if stands.lease_ms:
        yield Finding(OK, "worker", f"{stands.worker} archives, as {stands.name!r}")
    elif stands.worker:
        text = f"nobody works on it; {stands.worker} did last, as {stands.name!r}"
        yield Finding(NOTE, "worker", text, f"`governor archive run {redact(where)}`")
    if stands.dead:
        text = f"{stands.dead:,} alerts could not be delivered, and are not tried any more"
        yield Finding(NOTE, "alerts", text, "see the table governor_deliveries for why, and mend the channel")


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
