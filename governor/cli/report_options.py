"""What `governor report …` is told: which time, whose calls, and how it is shown."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import typer

from governor.cli import completion
from governor.cli.context import flag, open_desk
from governor.cli.output import Failure, usage
from governor.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from governor.cli.context import Desk
    from governor.journal.reports.asked import Asked
    from governor.journal.reports.queries import Source
    from governor.journal.reports.spans import Span
    from governor.policy import Policies

_DEPARTMENT_HELP = "Only this department's calls; days are those of its time zone."
DEPARTMENT: Any = typer.Option(
    None, "--department", "-d", help=_DEPARTMENT_HELP, autocompletion=completion.departments
)
FEATURE: Any = typer.Option(None, "--feature", "-f", help="Only this feature's calls.")
USER: Any = typer.Option(
    None, "--user", "-u", help="Only this user's calls.", autocompletion=completion.users
)
FROM: Any = typer.Option(
    None,
    "--from",
    metavar="TIME",
    help="From this date or instant on: 2026-11-01, or with a time, 2026-11-01T14:00.",
    show_default=False,
)
TO: Any = typer.Option(
    None,
    "--to",
    metavar="TIME",
    help="Up to and with this date, or up to this instant.",
    show_default=False,
)
CSV: Any = flag("--csv", help="Print one table as CSV: see --table.")
TABLE: Any = typer.Option(
    None,
    "--table",
    metavar="KEY",
    help="Which table --csv prints; a wrong one is answered with all there are.",
    show_default=False,
)
FOLDER: Any = typer.Option(
    None,
    "-o",
    "--output",
    metavar="DIR",
    help="Write every table as DIR/REPORT-KEY.csv.",
    show_default=False,
)
HTML: Any = typer.Option(
    None, "--html", metavar="FILE", help="Write a page that can be mailed.", show_default=False
)
TOP: Any = typer.Option(20, "--top", min=0, metavar="N", help="Show so many rows of a table; 0: all.")

UTC = "UTC"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the calls are: policies, ledger and archive, as the command was given them."""

    policies: str
    ledger: str
    archive: str | None


@dataclass(frozen=True, slots=True)
class Room:
    """What a report is made in: the desk, its calls, and who asks."""

    desk: Desk
    source: Source
    asked: Asked


@contextmanager
def open_room(
    place: Place, *, department: str | None = None, feature: str | None = None, user: str | None = None
) -> Iterator[Room]:
    """The calls in the archive that goes with a ledger, brought up to date first.

    Raises:
        Failure: There is no such department.
        ArchiveError: The archive cannot be used, or needs the extra `archive`.
        LedgerUnavailable: The ledger cannot be read.
    """
    from governor.cli.books import open_books  # noqa: PLC0415 - `--help` need not pay for it
    from governor.journal.reports.asked import Asked, Only  # noqa: PLC0415 - as above

    only = Only(department, feature, user)
    with (
        open_desk(place.policies, place.ledger) as desk,
        open_books(desk, place.archive, place.ledger) as books,
    ):
        from governor.journal.reports.queries import Source  # noqa: PLC0415 - needs an extra

        with books.reading() as connection:
            if connection is None:
                raise Failure(f"there is no archive at {books.where} any more: run it again")
            source = Source(connection, desk.policies.organization, only)
            _refuse_unknown(desk.policies, source, department)
            zone = zone_of(desk.policies, department)
            asked = Asked(desk.policies.organization, desk.now_ms, zone, only)
            yield Room(desk, source, asked)


def _refuse_unknown(policies: Policies, source: Source, department: str | None) -> None:
    """A department that neither the files nor any call have is a typo, and no department without calls."""
    if department is None or department in policies.departments or source.knows("department", department):
        return
    raise usage(f"no department {department!r}: {nearest(department, policies.departments)}")


def zone_of(policies: Policies, department: str | None) -> str:
    """The time zone of a report's days.

    A department's own, where the report is of one; else the organization's, where its file names one; else
    the one that all departments have; else UTC.
    """
    told: dict[str | None, Any] = {
        getattr(file.policy, "department", None): file.policy for file in policies.files
    }
    if department is not None and department in told:
        return str(told[department].timezone)
    shared = told.pop(None, None)
    if shared is not None and "timezone" in shared.model_fields_set:
        return str(shared.timezone)
    zones = {str(policy.timezone) for policy in told.values()}
    return zones.pop() if len(zones) == 1 else UTC


def span_between(from_: str | None, to: str | None, default: Span) -> Span:
    """The time between two texts, either of which may be left out.

    Args:
        from_: A date or an instant, in the zone of *default* unless it names one.
        to: Likewise; a date is meant whole.
        default: Its start and end hold where nothing is given, and its time zone.

    Raises:
        Failure: They are no times, or in the wrong order.
    """
    from governor.journal.reports.spans import Span, midnight_ms  # noqa: PLC0415 - as above

    if from_ is None and to is None:
        return default
    start = _moment("--from", from_, default.zone)
    end = _moment("--to", to, default.zone)
    start_ms = default.start_ms if start is None else start
    if isinstance(start_ms, date):
        start_ms = midnight_ms(start_ms, default.zone)
    end_ms = default.end_ms if end is None else end
    if isinstance(end_ms, date):
        end_ms = midnight_ms(end_ms + timedelta(days=1), default.zone)
    if end_ms <= start_ms:
        raise usage(f"--to {to or 'now'} is not after --from {from_ or default.title}: correct one of them")
    title = f"{from_ or 'so far'} to {to or 'now'}"
    return Span(start_ms, end_ms, default.zone, title)


def _moment(option: str, text: str | None, zone: str) -> date | int | None:
    """A date, or an instant as Unix milliseconds."""
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
        if 1970 < day.year < 9000:
            return day
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise usage(
            f"{option} {text!r} is no time: write for example 2026-11-01 or 2026-11-01T14:00"
        ) from None


def parse_day(text: str) -> date:
    """A date as it is typed.

    Raises:
        Failure: It is none.
    """
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise usage(f"--day {text!r} is no date: write for example 2026-11-21") from None
    return _known_year("--day", text, day)


def _known_year(option: str, text: str, day: date) -> date:
    if not 1970 < day.year < 9000:
        raise usage(f"{option} {text}: there are no calls of that year")
    return day


def parse_month(text: str) -> date:
    """The first date of a month as it is typed, `2026-11`.

    Raises:
        Failure: It is none.
    """
    try:
        if len(text) == len("2026-11"):
            return _known_year("--month", text, date.fromisoformat(f"{text}-01"))
    except ValueError:
        pass
    raise usage(f"--month {text!r} is no month: write for example 2026-11")


def parse_targets(given: list[str], file: Path | None) -> dict[str, int]:
    """What one outcome may cost, nano-dollars, by its name: of a file, and of options, which go before.

    Raises:
        Failure: A target is not `NAME=DOLLARS`, or the file has others.
    """
    pairs = [*_lines(file), *((text, f"--target {text}") for text in given)]
    return dict(_target(text, where) for text, where in pairs)


def _lines(file: Path | None) -> list[tuple[str, str]]:
    if file is None:
        return []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise usage(f"--targets {file} cannot be read: {error}") from None
    told = ((line.partition("#")[0].strip(), f"{file}:{number}") for number, line in enumerate(lines, 1))
    return [(line.replace(":", "=", 1), where) for line, where in told if line]


def _target(text: str, where: str) -> tuple[str, int]:
    from governor.budgets import Unit  # noqa: PLC0415 - as above
    from governor.cli.typed import parse_amount  # noqa: PLC0415 - as above

    name, given, amount = text.rpartition("=")
    if not given or not name.strip():
        raise usage(f"{where}: a target is written NAME=DOLLARS, for example ticket_resolved=12.50")
    return name.strip(), parse_amount(amount, Unit.USD)
