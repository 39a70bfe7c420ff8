"""`governor archive run` and `migrate`: follow the journal into a database, and keep its tables current."""

from __future__ import annotations

import signal
import threading
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import typer

from governor.cli.archive import age_ms
from governor.cli.books import archive_url
from governor.cli.context import JSON, LEDGER, POLICIES, flag, load_policies
from governor.cli.output import console, note, print_json, usage
from governor.cli.progress import progress
from governor.ledger.opening import open_ledger, redact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from governor.journal.archive_sql import SqlArchive
    from governor.journal.archive_worker import ArchiveWorker
    from governor.journal.archiving import Copied

ARCHIVE: Any = typer.Argument(
    None,
    metavar="[ARCHIVE]",
    envvar="GOVERNOR_ARCHIVE",
    help="The archive's database (SQLAlchemy's URL). Else the one beside a SQLite ledger.",
    show_default=False,
)
ONCE: Any = flag("--once", help="End when the archive has all that the journal has now.")
TRIM: Any = flag(
    "--trim", help="Also remove from the ledger what every archive has and is older than --keep."
)
KEEP: Any = typer.Option("7d", "--keep", metavar="7d", help="How much stays in the ledger, with --trim.")
NAME: Any = typer.Option(
    None,
    "--name",
    metavar="NAME",
    help="What the ledger knows this archive by; else a name made for it, and kept in it.",
    show_default=False,
)
LEASE: Any = typer.Option(
    15.0,
    "--lease",
    min=1,
    metavar="SECONDS",
    help="Another worker takes over so long after the one that acts fell silent.",
)
DRY_RUN: Any = flag("--dry-run", help="Say what would be done, and change nothing.")
MIGRATING = "nothing is changed before all of it is done; run it again"
_GOES_ON = "they are safe; run it again, and it goes on from there"


def run(
    archive: str | None = ARCHIVE,
    once: bool = ONCE,
    trim: bool = TRIM,
    keep: str = KEEP,
    name: str | None = NAME,
    lease: float = LEASE,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    as_json: bool = JSON,
) -> None:
    """Follow the ledger's journal into a database. Run as many as you like: one acts, the others wait.

    Each record is archived once and in order, however often a worker dies. SIGTERM or Ctrl-C ends it after
    the batch under way. While the archive or the ledger is away it waits, and calls go on; with --once it
    fails.
    """
    keep_ms = age_ms(keep)
    where, organization = database(archive, ledger), load_policies(policies).organization
    store = open_ledger(ledger, organization)
    with closing(store), closing(open_database(where, organization)) as kept, _told_to_end() as stop:
        from governor.journal.archive_worker import ArchiveWorker, Terms  # noqa: PLC0415 - needs an extra

        terms = Terms(_named(name), lease, keep_ms if trim else None)
        if once:
            up_to_date(kept)
            with progress("records archived", _GOES_ON) as tell:
                copied = ArchiveWorker(store, kept, terms, stop, note, tell).once()
            _end(where, copied, as_json=as_json)
            return
        _follow(ArchiveWorker(store, kept, terms, stop, note), kept, stop)


def migrate(
    archive: str | None = ARCHIVE,
    dry_run: bool = DRY_RUN,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    as_json: bool = JSON,
) -> None:
    """Make an archive's tables, or bring those of an older release to this one, in one transaction."""
    from governor.journal import schema  # noqa: PLC0415 - needs an extra

    where, organization = database(archive, ledger), load_policies(policies).organization
    with closing(open_database(where, organization)) as kept:
        found = kept.schema()
        if not dry_run and found != schema.HEAD:
            with progress("records brought up to date", MIGRATING) as tell:
                found = kept.migrate(tell)
        if as_json:
            print_json({"archive": redact(where), "found": found, "schema": schema.HEAD, "dry_run": dry_run})
            return
        told = "there are no tables yet" if found == schema.NOTHING else f"schema {found}"
        if found == schema.HEAD:
            text = f"{told}: nothing to do"
        elif dry_run:
            text = f"{told}: would be brought to {schema.HEAD}"
        else:
            text = f"{told}: brought to {schema.HEAD}"
        console().print(f"{redact(where)}: {text}", soft_wrap=True)


def database(given: str | None, ledger: str) -> str:
    """The URL of the archive's database.

    Raises:
        Failure: It is no database, or none was named where the ledger is in Redis.
    """
    url = archive_url(given, ledger)
    if url == "sqlite://":
        raise usage("name the archive's database: sqlite:////var/lib/governor/archive.db, postgresql://…")
    if "://" not in url or url.startswith("file://"):
        raise usage(
            f"{url} is a file of JSON lines, which `governor ledger archive` writes; this command needs a "
            "database: sqlite:////var/lib/governor/archive.db, postgresql://…"
        )
    return url


def open_database(url: str, organization: str) -> SqlArchive:
    """The archive in the database at *url*.

    Raises:
        ArchiveError: It cannot be used, or the extra is missing.
    """
    from governor.journal.archive import open_archive  # noqa: PLC0415 - `--help` need not pay for it

    return cast("SqlArchive", open_archive(url, organization))


def up_to_date(kept: SqlArchive) -> None:
    """Bring an archive of an older release to this one, and say how far that is."""
    with progress("records brought up to date", MIGRATING) as tell:
        kept.migrate(tell)


def _follow(worker: ArchiveWorker, kept: SqlArchive, stop: threading.Event) -> None:
    from governor.journal.archive import ArchiveDownError  # noqa: PLC0415 - as above

    with suppress(ArchiveDownError):  # the worker says so, and waits
        up_to_date(kept)
    worker.run()
    if stop.is_set():
        note("ended after the batch under way; run it again, and it goes on from there")


def _end(where: str, copied: Copied | None, *, as_json: bool) -> None:
    count = 0 if copied is None else copied.records
    if as_json:
        print_json({"archive": redact(where), "added": count, "by_another": copied is None})
        return
    text = "another worker archived them" if copied is None else f"{count:,} records added"
    console().print(f"{redact(where)}: {text}", style="green", soft_wrap=True)


def _named(name: str | None) -> str | None:
    from governor.ledger.values import check_id  # noqa: PLC0415 - as above

    if name is not None:
        try:
            check_id(name)
        except ValueError:
            raise usage(f"--name {name!r}: use 1 to 128 of A-Z a-z 0-9 . _ : @ + -") from None
    return name


@contextmanager
def _told_to_end() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set; a second one ends the process as ever."""
    stop = threading.Event()
    kinds = (signal.SIGTERM, signal.SIGINT)
    before = {kind: signal.getsignal(kind) for kind in kinds}

    def end(kind: int, _: Any) -> None:
        stop.set()
        signal.signal(kind, before[signal.Signals(kind)])

    for kind in kinds:
        signal.signal(kind, end)
    try:
        yield stop
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
