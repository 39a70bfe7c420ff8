"""Spend that Anthropic's figures have and the ledger does not, and the other way round. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

from governor.journal.reconcile_booked import Booked, days_between, known
from governor.money import ceil_nanos

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from governor.journal.reconcile_booked import Books
    from governor.pricing import PriceTable

ROW_NANOS = 100
"""How far one row of Anthropic's figures may be off: 1/100,000 of a cent. Amounts are text in fractions of a
cent; how many digits they keep is not stated."""

SETTLES_AFTER_MS = 3_600_000
"""A day is judged once the figures were refreshed an hour after its end. Usage arrives within minutes as a
rule (Anthropic's documentation of the older reports: five)."""

NO_MODEL = "(no model)"
"""Where Anthropic's figures name none: sessions and code execution."""


class Charged(NamedTuple):
    """A row of Anthropic's cost figures.

    Attributes:
        day: In UTC.
        model: As Anthropic names it; `None`: it names none.
        nanos: Exact nano-dollars.
        api_key_id: The key that was used, `apikey_…`; `None`: no key.
        workspace_id: `wrkspc_…`; `None`: the default workspace, or none.
        product: `messages_api`, `claude_code`, …; `None`: not told.
    """

    day: date
    model: str | None
    nanos: Fraction
    api_key_id: str | None = None
    workspace_id: str | None = None
    product: str | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """What Anthropic has of a range of days.

    Attributes:
        charged: The rows of its cost figures.
        tokens: Tokens by day and model, as Anthropic names it.
        refreshed_ms: When the figures were last refreshed, Unix milliseconds; `None`: not told.
    """

    charged: Sequence[Charged]
    tokens: Mapping[tuple[date, str | None], int]
    refreshed_ms: int | None


class Verdict(enum.StrEnum):
    """How one model's spend of one day compares."""

    SAME = "same"
    OUTSIDE = "outside"
    """Anthropic has more than the ledger's calls can have cost."""

    PRICES = "prices"
    """The tokens are the same, the money is not."""

    UNCERTAIN = "uncertain"
    """The ledger has more, and what it charged by rule or across midnight explains it."""

    LEDGER = "ledger"
    """The ledger has more, and nothing in it explains that."""


class Source(NamedTuple):
    """Whose spend it is, with the amount in nano-dollars."""

    api_key_id: str | None
    workspace_id: str | None
    product: str | None
    nanos: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """One model on one day.

    Attributes:
        day: In UTC.
        model: Its id in the price table, else as Anthropic names it.
        anthropic: Nano-dollars that Anthropic has, rounded up.
        ledger: What the ledger has of it.
        tokens: What Anthropic counted, all kinds together.
        verdict: How they compare.
        sources: Whose spend Anthropic's is, the largest first.
    """

    day: date
    model: str
    anthropic: int
    ledger: Booked
    tokens: int
    verdict: Verdict
    sources: tuple[Source, ...]

    @property
    def outside(self) -> int:
        """Nano-dollars beyond the most that the ledger's calls can have cost; 0 unless it is `OUTSIDE`."""
        return self.anthropic - self.ledger.most if self.verdict is Verdict.OUTSIDE else 0


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The comparison of a range of days.

    Attributes:
        first: The first day.
        last: The last one.
        rows: Every model of every day that was judged, in that order.
        unjudged: The days that were not, each with the reason, as what follows "not judged:".
    """

    first: date
    last: date
    rows: tuple[Comparison, ...]
    unjudged: Mapping[date, str]

    def of(self, *verdicts: Verdict) -> list[Comparison]:
        """The rows of those verdicts."""
        return [row for row in self.rows if row.verdict in verdicts]


def reconcile(
    figures: Figures, books: Books, first: date, last: date, prices: PriceTable, now_ms: int
) -> Reconciliation:
    """Compare Anthropic's figures with a ledger's books, day by day and model by model.

    They are the same if they differ by no more than a nano-dollar a call of the ledger's, which rounds each
    up, and `ROW_NANOS` a row of Anthropic's.

    Args:
        figures: Anthropic's.
        books: The ledger's.
        first: The first day.
        last: The last one.
        prices: Tells which names are one model.
        now_ms: Unix milliseconds, for figures that do not tell when they were refreshed: a day of those is
            judged a day after its end.
    """
    fresh_ms = figures.refreshed_ms
    unjudged: dict[date, str] = {}
    for day in days_between(first, last):
        reason = _reason(day, books, now_ms - 86_400_000 if fresh_ms is None else fresh_ms)
        if reason:
            unjudged[day] = reason
    theirs: dict[tuple[date, str], list[Charged]] = {}
    for row in figures.charged:
        theirs.setdefault((row.day, _name(row.model, prices)), []).append(row)
    tokens: dict[tuple[date, str], int] = {}
    for (day, model), count in figures.tokens.items():
        key = (day, _name(model, prices))
        tokens[key] = tokens.get(key, 0) + count
    keys = sorted({*theirs, *books.booked})
    rows = tuple(
        _compare(key, theirs.get(key, []), books.booked.get(key, Booked()), tokens.get(key, 0))
        for key in keys
        if first <= key[0] <= last and key[0] not in unjudged
    )
    return Reconciliation(first, last, rows, unjudged)


def _reason(day: date, books: Books, fresh_ms: int) -> str:
    end_ms = int(datetime.combine(day + timedelta(days=1), datetime.min.time(), UTC).timestamp()) * 1000
    if end_ms + SETTLES_AFTER_MS > fresh_ms:
        return "Anthropic's figures are still being refreshed"
    if books.complete_from is None or day < books.complete_from:
        return "the journal does not have the whole of it"
    return "records of the journal are missing" if day in books.missing else ""


def _name(model: str | None, prices: PriceTable) -> str:
    return NO_MODEL if model is None else known(prices, model)


def _compare(key: tuple[date, str], charged: Sequence[Charged], ours: Booked, tokens: int) -> Comparison:
    nanos = _whole(row.nanos for row in charged)
    tolerance = ours.calls + ROW_NANOS * len(charged)
    if nanos > ours.most + tolerance:
        verdict = Verdict.OUTSIDE
    elif nanos >= ours.nanos - tolerance:
        verdict = Verdict.SAME
    elif nanos >= ours.least - tolerance:
        verdict = Verdict.UNCERTAIN
    else:
        verdict = Verdict.LEDGER
    if verdict in (Verdict.OUTSIDE, Verdict.LEDGER) and tokens and tokens == ours.tokens:
        verdict = Verdict.PRICES
    return Comparison(*key, nanos, ours, tokens, verdict, _sources(charged))


def _sources(charged: Sequence[Charged]) -> tuple[Source, ...]:
    by: dict[tuple[str | None, str | None, str | None], list[Fraction]] = {}
    for row in charged:
        by.setdefault((row.api_key_id, row.workspace_id, row.product), []).append(row.nanos)
    found = (Source(*whose, _whole(amounts)) for whose, amounts in by.items())
    return tuple(sorted(found, key=lambda source: (-source.nanos, str(source))))


def _whole(amounts: Iterable[Fraction]) -> int:
    total = sum(amounts, Fraction())
    return ceil_nanos(total.numerator, total.denominator)
