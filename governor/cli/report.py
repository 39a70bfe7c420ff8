"""`governor report`: what the journal says of calls, money and results, for people and for programs."""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Any

import typer

from governor.cli.books import ARCHIVE
from governor.cli.context import JSON, LEDGER, POLICIES
from governor.cli.output import Failure, note, print_json, usage
from governor.cli.report_options import (
    CSV,
    DEPARTMENT,
    FEATURE,
    FOLDER,
    FROM,
    HTML,
    TABLE,
    TO,
    TOP,
    USER,
    Place,
    open_room,
    parse_day,
    parse_month,
    parse_targets,
    span_between,
)
from governor.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from governor.cli.context import Desk
    from governor.journal.reports.asked import Asked
    from governor.journal.reports.page import Page, Table
    from governor.journal.reports.spans import Span
    from governor.story.decision import BudgetView

DAY: Any = typer.Option(None, "--day", metavar="DATE", help="Which day; else yesterday.", show_default=False)
MONTH: Any = typer.Option(
    None, "--month", metavar="MONTH", help="Which month, as 2026-11; else this one.", show_default=False
)
TAGS: Any = typer.Option(
    [], "--tag", metavar="NAME", help="By the values of this tag, too; may be repeated.", show_default=False
)
TARGET: Any = typer.Option(
    [],
    "--target",
    metavar="NAME=DOLLARS",
    help="What one such outcome may cost; may be repeated.",
    show_default=False,
)
TARGETS: Any = typer.Option(
    None, "--targets", metavar="FILE", help="A file of targets, NAME: DOLLARS a line.", show_default=False
)

WEEK_DAYS = 7
OutOption = tuple[bool, bool, "str | None", "Path | None", "Path | None", int]


def today(
    department: str | None = DEPARTMENT,
    feature: str | None = FEATURE,
    user: str | None = USER,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    archive: str | None = ARCHIVE,
    csv: bool = CSV,
    table: str | None = TABLE,
    folder: Path | None = FOLDER,
    html: Path | None = HTML,
    top: int = TOP,
    as_json: bool = JSON,
) -> None:
    """Answer at once: spend against yesterday, the slowest calls, 429s, top users, the fullest budgets."""
    from governor.journal.reports.today import today as build  # noqa: PLC0415 - `--help` need not pay for it

    place = Place(policies, ledger, archive)
    with open_room(place, department=department, feature=feature, user=user) as room:
        page = build(room.source, room.asked, _budgets(room.desk))
    _give(page, (as_json, csv, table, folder, html, top))


def views(
    from_: str | None = FROM,
    to: str | None = TO,
    department: str | None = DEPARTMENT,
    feature: str | None = FEATURE,
    user: str | None = USER,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    archive: str | None = ARCHIVE,
    csv: bool = CSV,
    table: str | None = TABLE,
    folder: Path | None = FOLDER,
    html: Path | None = HTML,
    top: int = TOP,
    as_json: bool = JSON,
) -> None:
    """Show errors, latency, cost per call, cache hits and cut answers by feature, user, department and model.

    Without --from, of the last seven days, today among them.
    """
    from governor.journal.reports.views import views as build  # noqa: PLC0415 - as above

    place = Place(policies, ledger, archive)
    with open_room(place, department=department, feature=feature, user=user) as room:
        page = build(room.source, room.asked, span_between(from_, to, _last_week(room.asked)))
    _give(page, (as_json, csv, table, folder, html, top))


def daily(
    day: str | None = DAY,
    department: str | None = DEPARTMENT,
    feature: str | None = FEATURE,
    user: str | None = USER,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    archive: str | None = ARCHIVE,
    csv: bool = CSV,
    table: str | None = TABLE,
    folder: Path | None = FOLDER,
    html: Path | None = HTML,
    top: int = TOP,
    as_json: bool = JSON,
) -> None:
    """Sum a day up, beside the day before it and the same weekday of the week before."""
    from governor.journal.reports.daily import daily as build  # noqa: PLC0415 - as above
    from governor.journal.reports.spans import local_date  # noqa: PLC0415 - as above

    chosen = None if day is None else parse_day(day)
    place = Place(policies, ledger, archive)
    with open_room(place, department=department, feature=feature, user=user) as room:
        asked = room.asked
        yesterday = local_date(asked.now_ms, asked.zone) - timedelta(days=1)
        page = build(room.source, asked, chosen or yesterday)
    _give(page, (as_json, csv, table, folder, html, top))


def forecast(
    department: str | None = DEPARTMENT,
    feature: str | None = FEATURE,
    user: str | None = USER,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    archive: str | None = ARCHIVE,
    csv: bool = CSV,
    table: str | None = TABLE,
    folder: Path | None = FOLDER,
    html: Path | None = HTML,
    top: int = TOP,
    as_json: bool = JSON,
) -> None:
    """Say where each usd budget will stand when its week or month ends, and on which day it runs out."""
    from governor.journal.reports.forecast import forecast as build  # noqa: PLC0415 - as above

    place = Place(policies, ledger, archive)
    with open_room(place, department=department, feature=feature, user=user) as room:
        page = build(room.source, room.asked, _budgets(room.desk))
    _give(page, (as_json, csv, table, folder, html, top))


def chargeback(
    month: str | None = MONTH,
    tag: list[str] = TAGS,
    from_: str | None = FROM,
    to: str | None = TO,
    department: str | None = DEPARTMENT,
    feature: str | None = FEATURE,
    user: str | None = USER,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    archive: str | None = ARCHIVE,
    csv: bool = CSV,
    table: str | None = TABLE,
    folder: Path | None = FOLDER,
    html: Path | None = HTML,
    top: int = TOP,
    as_json: bool = JSON,
) -> None:
    """Say who bears what of a month, exactly: by department, feature, user, tags; and what nobody bears."""
    from governor.journal.reports.chargeback import chargeback as build  # noqa: PLC0415 - as above

    place = Place(policies, ledger, archive)
    with open_room(place, department=department, feature=feature, user=user) as room:
        span = _month(room.asked, month, from_, to)
        page = build(room.source, room.asked, span, tuple(dict.fromkeys(tag)))
    _give(page, (as_json, csv, table, folder, html, top))


def outcomes(
    target: list[str] = TARGET,
    targets: Path | None = TARGETS,
    month: str | None = MONTH,
    from_: str | None = FROM,
    to: str | None = TO,
    department: str | None = DEPARTMENT,
    feature: str | None = FEATURE,
    user: str | None = USER,
    policies: str = POLICIES,
    ledger: str = LEDGER,
    archive: str | None = ARCHIVE,
    csv: bool = CSV,
    table: str | None = TABLE,
    folder: Path | None = FOLDER,
    html: Path | None = HTML,
    top: int = TOP,
    as_json: bool = JSON,
) -> None:
    """Say what each result cost (a ticket, a lead), what it was worth, and whether it met its target."""
    from governor.journal.reports.outcomes import outcomes as build  # noqa: PLC0415 - as above

    goals = parse_targets(target, targets)
    place = Place(policies, ledger, archive)
    with open_room(place, department=department, feature=feature, user=user) as room:
        page = build(room.source, room.asked, _month(room.asked, month, from_, to), goals)
    _give(page, (as_json, csv, table, folder, html, top))


def _budgets(desk: Desk) -> Sequence[BudgetView]:
    from governor.cli import balances  # noqa: PLC0415 - as above

    return balances.views(desk)


def _last_week(asked: Asked) -> Span:
    from governor.journal.reports.spans import days_span, local_date  # noqa: PLC0415 - as above

    now = local_date(asked.now_ms, asked.zone)
    return days_span(now - timedelta(days=WEEK_DAYS - 1), now, asked.zone)


def _month(asked: Asked, month: str | None, from_: str | None, to: str | None) -> Span:
    from governor.journal.reports.spans import local_date, month_span  # noqa: PLC0415 - as above

    if month is not None and (from_ is not None or to is not None):
        raise usage("give --month, or --from and --to, not both")
    day = local_date(asked.now_ms, asked.zone) if month is None else parse_month(month)
    return span_between(from_, to, month_span(day, asked.zone))


def _give(page: Page, how: OutOption) -> None:
    """Give a report as it was asked for: JSON, CSV, files, or a screen."""
    as_json, csv, table, folder, html, top = how
    if csv and as_json:
        raise usage("give --csv or --json, not both")
    if table is not None and not csv:
        raise usage("--table says which table --csv prints: add --csv")
    if csv:
        from governor.journal.reports.written import as_csv  # noqa: PLC0415 - as above

        typer.echo(as_csv(_table(page, table)), nl=False)
    elif as_json:
        from governor.journal.reports.written import as_json as written  # noqa: PLC0415 - as above

        print_json(written(page))
    elif folder is None and html is None:
        from governor.cli.report_screen import print_page  # noqa: PLC0415 - as above

        print_page(page, top)
    if folder is not None:
        _write_tables(page, folder)
    if html is not None:
        _write(html, _page(page))


def _table(page: Page, key: str | None) -> Table:
    """The table of that key; without one, the first."""
    from governor.journal.reports.page import Table  # noqa: PLC0415 - as above

    tables = {one.key: one for one in page.sections if isinstance(one, Table)}
    if key is None and tables:
        return next(iter(tables.values()))
    if key not in tables:
        raise usage(f"this report has no table {key!r} now: {nearest(str(key), tables) or 'there is none'}")
    return tables[key]


def _write_tables(page: Page, folder: Path) -> None:
    from governor.journal.reports.page import Table  # noqa: PLC0415 - as above
    from governor.journal.reports.written import as_csv  # noqa: PLC0415 - as above

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failure(f"{folder} cannot be made: {error.strerror or error}") from None
    for one in page.sections:
        if isinstance(one, Table):
            _write(folder / f"{page.key}-{one.key}.csv", as_csv(one))


def _page(page: Page) -> str:
    """The report as HTML."""
    try:
        return str(import_module("governor.journal.reports.html").render(page))
    except ImportError:
        raise Failure("--html needs the extra: pip install 'claude-governor[report]'") from None


def _write(file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise Failure(f"{file} cannot be written: {error.strerror or error}") from None
    note(f"{file} is written")
