"""`governor audit export`: what the archive says of whom, for those who ask for it."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from governor.cli import completion
from governor.cli.books import ARCHIVE, archive_url, open_books
from governor.cli.context import LEDGER, POLICIES, load_policies, open_desk
from governor.cli.output import Failure, note, usage
from governor.cli.progress import progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from governor.journal.archive_sql import SqlArchive

FROM: Any = typer.Option(
    None,
    "--from",
    metavar="TIME",
    help="Calls that began on this date or later, or from this instant on; UTC where it names no zone.",
    show_default=False,
)
TO: Any = typer.Option(
    None, "--to", metavar="TIME", help="Up to and with this date, or before this instant.", show_default=False
)
DEPARTMENT: Any = typer.Option(
    None, "--department", "-d", help="Only this department's.", autocompletion=completion.departments
)
USER: Any = typer.Option(None, "--user", "-u", help="Only this user's.", autocompletion=completion.users)
RUN: Any = typer.Option(None, "--run", help="Only this run's.")
FORMAT: Any = typer.Option("jsonl", "--format", metavar="jsonl|csv", help="JSON lines, or CSV.")
OUTPUT: Any = typer.Option(
    None, "-o", "--output", metavar="FILE", help="Write to this file, whole or not at all; else to stdout."
)
AGAIN = "no file was written; run it again"


def export(
    from_: str | None = FROM,
    to: str | None = TO,
    department: str | None = DEPARTMENT,
    user: str | None = USER,
    run: str | None = RUN,
    form: str = FORMAT,
    output: str | None = OUTPUT,
    archive: str | None = ARCHIVE,
    policies: str = POLICIES,
    ledger: str = LEDGER,
) -> None:
    """Hand out every call: who, which model, what it cost, of what data, with its record's hash.

    By when they began. Amounts are integers of nano-dollars. In CSV, a text that a spreadsheet would run as a
    formula has an apostrophe before it. An archive that is named is read as it is, without its ledger; the
    one beside a SQLite ledger is brought up to date first.
    """
    if form not in ("jsonl", "csv"):
        raise usage(f"--format {form!r} is none: write jsonl or csv")
    begin_ms, end_ms = _moment_ms("--from", from_), _moment_ms("--to", to, whole=True)
    if begin_ms is not None and end_ms is not None and end_ms <= begin_ms:
        raise usage(f"--to {to} is not after --from {from_}: correct one of them")
    with _books(archive, policies, ledger) as books:
        from governor.journal.audit import export as trail  # noqa: PLC0415 - needs an extra
        from governor.journal.tables import calls  # noqa: PLC0415 - as above

        where = [] if begin_ms is None else [calls.c.began_ms >= begin_ms]
        where += [] if end_ms is None else [calls.c.began_ms < end_ms]
        for column, wanted in ((calls.c.department, department), (calls.c.user, user), (calls.c.run, run)):
            where += [] if wanted is None else [column == wanted]
        count = 0
        with progress("calls exported", AGAIN) as tell, _file(output) as file:
            if form == "csv":
                file.write(trail.as_csv_line(trail.FIELDS))
            for line in trail.export(books, where, tell):
                file.write(trail.as_json_line(line) if form == "jsonl" else trail.as_csv_line(line.values()))
                count += 1
    note(f"{count:,} calls" + (f" in {output}" if output else ""))


@contextmanager
def _books(archive: str | None, policies: str, ledger: str) -> Iterator[SqlArchive]:
    """An archive that was named, as it is; else the one beside the ledger, brought up to date."""
    if archive is None:
        with open_desk(policies, ledger) as desk, open_books(desk, None, ledger) as books:
            yield books
        return
    from governor.journal.archive import open_archive  # noqa: PLC0415 - `--help` need not pay for it
    from governor.journal.archive_lines import LinesArchive  # noqa: PLC0415 - as above

    kept: Any = open_archive(archive_url(archive, ledger), load_policies(policies).organization)
    try:
        if isinstance(kept, LinesArchive):
            raise Failure(
                f"{archive} is a file of JSON lines, which has the records and no calls: name a database "
                "(`governor archive run` keeps one)"
            )
        yield kept
    finally:
        kept.close()


@contextmanager
def _file(output: str | None) -> Iterator[IO[str]]:
    """Where it goes: stdout, or a file that appears when it is whole."""
    if output is None:
        if sys.stdout is None:
            raise usage("stdout is closed: name a file with -o")
        yield sys.stdout
        return
    path = Path(output)
    try:
        # A pipe or a device, as /dev/stdout, is written to: it must not be replaced by a file.
        whole = path.is_file() or not path.exists()
        with _part_of(path) if whole else path.open("w", encoding="utf-8", newline="") as file:
            yield file
    except OSError as error:
        raise Failure(f"{output} cannot be written: {error.strerror}; correct -o, or make room") from error


@contextmanager
def _part_of(path: Path) -> Iterator[IO[str]]:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _moment_ms(option: str, text: str | None, *, whole: bool = False) -> int | None:
    """An instant, Unix milliseconds; of a date its beginning, or with *whole* its end."""
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
        moment = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1 if whole else 0)
    except (ValueError, OverflowError):
        try:
            moment = datetime.fromisoformat(text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        except ValueError:
            raise usage(
                f"{option} {text!r} is no time: write for example 2026-11-01 or 2026-11-01T14:00"
            ) from None
    return int(moment.timestamp() * 1000)
