"""What `governor doctor` says of spend that Anthropic has and the ledger does not, given an admin key."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from governor.cli.context import checked_now_ms, load_policies, load_prices
from governor.cli.findings import NOTE, OK, WRONG, Finding
from governor.errors import GovernorError
from governor.money import Money

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date
    from pathlib import Path

    from governor.journal.archive import Archived
    from governor.journal.reconcile import Comparison, Reconciliation, Source
    from governor.journal.reconcile_booked import Books
    from governor.ledger import Ledger
    from governor.pricing import PriceTable

KEY_NAME = "ANTHROPIC_ADMIN_KEY"
Table = tuple["Sequence[str]", "Sequence[Sequence[str]]", int]

DAYS: Any = typer.Option(
    7,
    "--days",
    min=1,
    max=31,
    metavar="N",
    help="How many days up to yesterday are compared with Anthropic's.",
)
ADMIN_KEY_FILE: Any = typer.Option(
    None,
    "--admin-key-file",
    metavar="FILE",
    help="A file with an Anthropic admin key and nothing else; without it, ANTHROPIC_ADMIN_KEY.",
    show_default=False,
)
ADMIN_URL: Any = typer.Option(
    "https://api.anthropic.com",
    "--admin-url",
    envvar="GOVERNOR_ADMIN_URL",
    metavar="URL",
    help="Where the admin key is sent, and nowhere else; ANTHROPIC_BASE_URL does not count.",
)
WORKSPACES: Any = typer.Option(
    [],
    "--workspace",
    metavar="WORKSPACE",
    help="Compare only what this workspace spent (wrkspc_…); may be given again.",
    show_default=False,
)


class Place(NamedTuple):
    """Where the ledger's side is: policies, ledger, prices and archive, as the command was given them."""

    policies: str
    ledger: str
    prices: str | None
    archive: str | None


@dataclass(frozen=True, slots=True)
class Spend:
    """What was found.

    Attributes:
        findings: As every check's.
        tables: What differs, for people: the columns' titles, the rows, and how many columns are words.
        data: The same for programs; `None`: nothing was compared.
    """

    findings: Sequence[Finding]
    tables: Sequence[Table] = ()
    data: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class _Range:
    """The days that are compared, and the instant of the comparison (Unix milliseconds)."""

    first: date
    last: date
    now_ms: int
    workspaces: Sequence[str] = field(default=())

    def __str__(self) -> str:
        """Both days, in UTC."""
        return f"{self.first} to {self.last}" if self.first != self.last else str(self.first)


def look(place: Place, days: int, key_file: Path | None, url: str, workspaces: Sequence[str]) -> Spend:
    """Compare Anthropic's figures with the ledger's, if there is an admin key; else ask nobody anything.

    Args:
        place: The ledger's side.
        days: How many days up to yesterday, in UTC.
        key_file: A file with the admin key; `None`: it is in the environment, or there is none.
        url: Where the key is sent.
        workspaces: Only what these spent; none: all.
    """
    key = os.environ.get(KEY_NAME, "").strip()
    if key_file is None and not key:
        return Spend([Finding(NOTE, "usage", _NOT_ASKED)])
    from governor.clients.usage import FiguresError  # noqa: PLC0415 - the SDK is needed with a key alone

    try:
        now = datetime.now(UTC)
        yesterday = now.date() - timedelta(days=1)
        asked = _Range(
            yesterday - timedelta(days=days - 1), yesterday, int(now.timestamp() * 1000), tuple(workspaces)
        )
        return _compare(place, asked, key if key_file is None else _read_key(key_file), url)
    except FiguresError as error:
        return _not_compared(f"Anthropic's figures cannot be read: {error}", error.advice)
    except GovernorError as error:
        return _not_compared(f"nothing to compare Anthropic's figures with: {error}")


_NOT_ASKED = (
    "not compared with what Anthropic billed: give an admin key in ANTHROPIC_ADMIN_KEY or --admin-key-file"
)


def _not_compared(text: str, advice: str = "") -> Spend:
    return Spend([Finding(WRONG, "usage", text, advice)])


def _read_key(file: Path) -> str:
    from governor.clients.usage import FiguresError  # noqa: PLC0415 - as above

    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        text = f"{file} cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}"
        raise FiguresError(text, "correct --admin-key-file") from None


def _compare(place: Place, asked: _Range, key: str, url: str) -> Spend:
    from governor.clients.usage import read_figures  # noqa: PLC0415 - as above
    from governor.journal.reconcile import reconcile  # noqa: PLC0415 - as above

    prices = load_prices(place.prices)
    books = _books(place, asked, prices)
    figures = read_figures(
        key,
        asked.first,
        asked.last,
        base_url=url,
        workspaces=asked.workspaces,
        negotiated=bool(prices.discounts),
    )
    found = reconcile(figures, books, asked.first, asked.last, prices, asked.now_ms)
    data = _json(found, books, figures.refreshed_ms)
    return Spend(list(_findings(found, books, asked)), _tables(found), data)


def _books(place: Place, asked: _Range, prices: PriceTable) -> Books:
    from governor.journal.reconcile_booked import Bookkeeper  # noqa: PLC0415 - as above
    from governor.ledger.opening import open_ledger, redact  # noqa: PLC0415 - as above

    organization = load_policies(place.policies).organization
    keeper = Bookkeeper(asked.first, asked.last, prices)
    with closing(open_ledger(place.ledger, organization)) as store:
        checked_now_ms(store, redact(place.ledger), organization)
        keeper.read(_records(store, place.archive, organization))
    return keeper.close()


def _records(store: Ledger, archive: str | None, organization: str) -> Iterator[Archived]:
    """Every record of the archive, then those that only the ledger has, oldest first."""
    from governor.journal.archive import Archived, open_archive  # noqa: PLC0415 - as above
    from governor.ledger.recovery import MeasureJournal, ReadSince  # noqa: PLC0415 - as above

    epoch, at = store.execute(MeasureJournal()).epoch, None
    if archive is not None:
        with closing(open_archive(archive, organization)) as kept:
            for one in kept.read():
                at = one.entry.seq if one.epoch == epoch else at
                yield one
    while True:
        page = store.execute(ReadSince(at))
        before = page.after
        for entry in page.entries:
            yield Archived(page.epoch, entry, before)
            before = at = entry.seq
        if not page.entries:
            return


def _findings(found: Reconciliation, books: Books, asked: _Range) -> Iterator[Finding]:
    from governor.journal.reconcile import Verdict  # noqa: PLC0415 - as above

    outside = found.of(Verdict.OUTSIDE)
    dearer = [row for row in found.of(Verdict.PRICES) if row.anthropic > row.ledger.nanos]
    cheaper = [row for row in found.of(Verdict.PRICES) if row.anthropic < row.ledger.nanos]
    if outside:
        least = "at least " if any(row.ledger.most > row.ledger.nanos for row in outside) else ""
        total = _sum(row.outside for row in outside)
        text = f"{asked}: {least}{total} that Anthropic has and the ledger has not"
        yield Finding(WRONG, "usage", text, "whose keys spent it stands below; docs/reconciling.md goes on")
    if dearer:
        total = _sum(row.anthropic - row.ledger.nanos for row in dearer)
        text = f"{asked}: the same tokens cost {total} more at Anthropic than in the ledger"
        yield Finding(WRONG, "usage", text, "`governor prices check`, and correct the prices")
    if cheaper:
        total = _sum(row.ledger.nanos - row.anthropic for row in cheaper)
        text = f"{asked}: the same tokens cost {total} less at Anthropic than in the ledger"
        yield Finding(
            NOTE, "usage", text, "`governor prices check`; or a discount that --prices does not have"
        )
    yield from _more(found, asked)
    yield from _unjudged(found)
    if found.rows and not outside and not dearer:
        total = _sum(row.anthropic for row in found.rows)
        text = f"{asked}: all of the {total} that Anthropic has is in the ledger"
        yield Finding(OK, "usage", text)
    if books.clouds_nanos:
        text = f"{Money(books.clouds_nanos)} of the ledger's was on a cloud, which bills it: not compared"
        yield Finding(OK, "usage", text)
    if books.unreadable:
        text = f"{books.unreadable} records of the journal cannot be read, and count as nothing"
        yield Finding(NOTE, "usage", text)


def _more(found: Reconciliation, asked: _Range) -> Iterator[Finding]:
    """Where the ledger has more."""
    from governor.journal.reconcile import Verdict  # noqa: PLC0415 - as above

    uncertain, ledger = found.of(Verdict.UNCERTAIN), found.of(Verdict.LEDGER)
    if uncertain:
        text = f"{asked}: {_sum(row.ledger.nanos - row.anthropic for row in uncertain)} more in the ledger"
        charged = _sum(row.ledger.uncertain for row in uncertain)
        yield Finding(NOTE, "usage", f"{text}, within its uncertain charges ({charged}) or across midnight")
    if ledger:
        text = f"{asked}: {_sum(row.ledger.nanos - row.anthropic for row in ledger)} more in the ledger"
        advice = "is it the admin key of the organization whose key the governor uses? the right --workspace?"
        yield Finding(NOTE, "usage", f"{text}, and no uncertain charge explains it", advice)


def _unjudged(found: Reconciliation) -> Iterator[Finding]:
    reasons: dict[str, list[date]] = {}
    for day, reason in found.unjudged.items():
        reasons.setdefault(reason, []).append(day)
    for reason, days in reasons.items():
        yield Finding(NOTE, "usage", f"{', '.join(map(str, days))} not judged: {reason}")


def _tables(found: Reconciliation) -> list[Table]:
    """The rows that differ; and of those with spend outside of the ledger, whose it is."""
    from governor.journal.reconcile import Verdict  # noqa: PLC0415 - as above

    differing = [_cells(row) for row in found.rows if row.verdict is not Verdict.SAME]
    sources = [
        (str(row.day), row.model, *_source(source))
        for row in found.of(Verdict.OUTSIDE)
        for source in row.sources
    ]
    titles = ("day (UTC)", "model", "is", "Anthropic", "ledger", "Anthropic more by")
    whose = ("day (UTC)", "model", "API key", "workspace", "product", "Anthropic")
    return [(head, rows, left) for head, rows, left in ((titles, differing, 3), (whose, sources, 5)) if rows]


def _cells(row: Comparison) -> tuple[str, ...]:
    amounts = (row.anthropic, row.ledger.nanos, row.anthropic - row.ledger.nanos)
    return (str(row.day), row.model, row.verdict.value, *(str(Money(amount)) for amount in amounts))


def _source(source: Source) -> tuple[str, ...]:
    words = (source.api_key_id or "none", source.workspace_id or "default", source.product or "-")
    return (*words, str(Money(source.nanos)))


def _sum(amounts: Iterator[int]) -> Money:
    return Money(sum(amounts))


def _json(found: Reconciliation, books: Books, refreshed_ms: int | None) -> dict[str, Any]:
    return {
        "first": str(found.first),
        "last": str(found.last),
        "refreshed_at": None if refreshed_ms is None else datetime.fromtimestamp(refreshed_ms / 1000, UTC),
        "outside_nanos": sum(row.outside for row in found.rows),
        "clouds_nanos": books.clouds_nanos,
        "not_judged": {str(day): reason for day, reason in found.unjudged.items()},
        "rows": [_row_json(row) for row in found.rows],
    }


def _row_json(row: Comparison) -> dict[str, Any]:
    return {
        "day": str(row.day),
        "model": row.model,
        "verdict": row.verdict.value,
        "outside_nanos": row.outside,
        "anthropic_nanos": row.anthropic,
        "anthropic_tokens": row.tokens,
        "ledger_nanos": row.ledger.nanos,
        "ledger_tokens": row.ledger.tokens,
        "ledger_least_nanos": row.ledger.least,
        "ledger_most_nanos": row.ledger.most,
        "uncertain_nanos": row.ledger.uncertain,
        "calls": row.ledger.calls,
        "sources": [source._asdict() for source in row.sources],
    }
