"""Reports say the same of the same records, whichever database keeps them; only in the deep profile."""

from __future__ import annotations

import random
from datetime import date

import pytest
from support.postgres_server import PostgresServer, postgres_is_installed
from support.told_calls import ORGANIZATION, Journal

from governor.journal.reports.asked import Asked
from governor.journal.reports.chargeback import chargeback
from governor.journal.reports.daily import daily
from governor.journal.reports.outcomes import outcomes
from governor.journal.reports.queries import Source
from governor.journal.reports.spans import days_span, midnight_ms
from governor.journal.reports.today import today
from governor.journal.reports.views import views
from governor.journal.reports.written import as_json

pytestmark = pytest.mark.deep
ZONE = "Europe/Berlin"
FIRST, CHANGE, LAST = date(2026, 10, 20), date(2026, 10, 25), date(2026, 11, 9)
HOUR_MS = 3_600_000


def journal() -> Journal:
    """Three weeks over a clock change, with calls of every end, and results."""
    draw, found, base = random.Random(2), Journal(), midnight_ms(FIRST, ZONE)
    ends = ["answered"] * 4 + ["cut", "refused", "open", "blocked", "expired"]
    for number in range(300):
        found.call(
            base + draw.randrange(20 * 24 * HOUR_MS),
            cost=draw.randrange(10**11),
            ended=draw.choice(ends),
            took_ms=draw.randrange(10**5),
            user=draw.choice(["ada", "", "bob"]),
            department=draw.choice(["legal", ""]),
            run=f"r{number % 9}",
            tags={"project": "x"} if number % 2 else {},
        )
    for number in range(9):
        found.result(base + 19 * 24 * HOUR_MS, "ticket", run=f"r{number}", value="3.5", unit="usd")
    return found


def told(archive) -> list[object]:
    """Every report, and days by a tag."""
    asked = Asked(ORGANIZATION, midnight_ms(date(2026, 11, 1), ZONE) + 13 * HOUR_MS, ZONE)
    span = days_span(FIRST, LAST, ZONE)
    with archive.engine.connect() as connection:
        source = Source(connection, ORGANIZATION)
        pages = (
            views(source, asked, span),
            today(source, asked, ()),
            daily(source, asked, CHANGE),
            chargeback(source, asked, span, ("project",)),
            outcomes(source, asked, span, {}),
        )
        return [*map(as_json, pages), source.by_day(span, ("department", "tag.project"))]


def test_postgresql_says_what_sqlite_says():
    """To the nano-dollar and the millisecond."""
    if not postgres_is_installed():
        pytest.skip("no PostgreSQL was found")
    with PostgresServer() as server:
        archive = journal().archive(server.url)
        found = told(archive)
        archive.close()
    assert found == told(journal().archive())
