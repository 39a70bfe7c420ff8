"""Anthropic's figures against a ledger's books: what is outside, what is uncertain, what is not judged."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from fractions import Fraction

import pytest

from governor.journal.archive import Archived
from governor.journal.reconcile import NO_MODEL, ROW_NANOS, Charged, Figures, Verdict, reconcile
from governor.journal.reconcile_booked import Booked, Bookkeeper
from governor.ledger.commands import JournalEntry
from governor.pricing import PriceTable

HAIKU, OPUS, ALIAS = "claude-haiku-5-5", "claude-opus-5-5", "claude-haiku-4-5-20251001"
FIRST, LAST = date(2026, 11, 10), date(2026, 11, 14)
PRICES = PriceTable.load()
USAGE = {"input_tokens": 10, "output_tokens": 20}


def ms(day: int, hour: int = 12, minute: int = 0) -> int:
    """That hour of that day of November, Unix milliseconds."""
    return int(datetime(2026, 11, day, hour, minute, tzinfo=UTC).timestamp() * 1000)


class Journal:
    """A journal that is written record by record, from the creation of its ledger on the 1st."""

    def __init__(self) -> None:
        self.records: list[Archived] = []
        self.write("create", "ledger", ms(1))

    def write(self, kind: str, name: str, at_ms: int, outcome: str = "", detail: str = "", **record) -> None:
        after = str(len(self.records)) if self.records else None
        entry = JournalEntry(
            str(len(self.records) + 1), kind, name, at_ms, outcome, detail, json.dumps(record)
        )
        self.records.append(Archived("epoch", entry, after))

    def reserve(self, name: str, at_ms: int, nanos: int, model: str = HAIKU) -> None:
        budget = {"identity": "department=d/usd/month", "window": "w", "end_ms": 0, "limit": 10**12}
        offer = {"model": model, "line": "haiku", "ceiling_nanos": nanos, "ceiling_tokens": 9}
        self.write(
            "reserve",
            name,
            at_ms,
            "held",
            "0 0:0:1000000000000:0",
            user=None,
            department="d",
            asked="auto",
            max_tokens=9,
            input_tokens=9,
            candidates=[offer],
            budgets=[budget],
            asks=[[[nanos, 10_000, 0, 1]]],
        )

    def settle(self, name: str, at_ms: int, nanos: int, outcome: str = "settled", **more) -> None:
        said = {
            "department": "d",
            "model": HAIKU,
            "usage": USAGE,
            "cost_nanos": nanos,
            "ceiling_nanos": 5 * nanos,
            "uncertain": False,
            "priced_at_ms": at_ms,
            "endpoint": "",
        }
        self.write(
            "settle", name, at_ms, outcome, f"overrun=0 unknown=0 posted={nanos} crossed=", **said | more
        )

    def expire(self, name: str, at_ms: int, posted: int) -> None:
        self.write("expire", name, at_ms, "expired", f"overrun=0 unknown=0 posted={posted} crossed=")

    def books(self):
        keeper = Bookkeeper(FIRST, LAST, PRICES)
        keeper.read(self.records)
        return keeper.close()

    def row(self, day: int = 12, model: str = HAIKU) -> Booked | None:
        return self.books().booked.get((date(2026, 11, day), model))

    def against(self, *charged: Charged, tokens: int = 0, refreshed_ms: int | None = ms(20)):
        counted = {(row.day, row.model): tokens for row in charged}
        figures = Figures(charged, counted, refreshed_ms)
        return reconcile(figures, self.books(), FIRST, LAST, PRICES, ms(15, 1))


def charged(nanos: int, model: str | None = HAIKU, day: int = 12, **whose: str) -> Charged:
    return Charged(date(2026, 11, day), model, Fraction(nanos), **whose)


@pytest.fixture
def journal() -> Journal:
    return Journal()


def test_a_call_counts_on_its_day_under_its_models_id(journal):
    """Names of one model are one model, on both sides; what is not of the range is left out."""
    journal.settle("a", ms(12), 700, model=ALIAS)
    journal.settle("b", ms(12), 300, model=PRICES.canonical(ALIAS))
    journal.settle("old", ms(9), 50)
    (row,) = journal.against(charged(400, ALIAS), charged(600, PRICES.canonical(ALIAS)), tokens=30).rows
    assert (row.day.day, row.model, row.ledger.nanos) == (12, PRICES.canonical(ALIAS), 1000)
    assert (row.verdict, row.ledger.tokens, row.tokens) == (Verdict.SAME, 60, 60)


@pytest.mark.parametrize(
    ("nanos", "verdict"),
    [
        (1001 + ROW_NANOS, Verdict.SAME),
        (1002 + ROW_NANOS, Verdict.OUTSIDE),
        (999 - ROW_NANOS, Verdict.SAME),
        (998 - ROW_NANOS, Verdict.LEDGER),
    ],
)
def test_the_tolerance_to_the_nano_dollar(journal, nanos, verdict):
    """A nano-dollar a call and ROW_NANOS a row are rounding; one more is not."""
    journal.settle("a", ms(12), 1000)
    (row,) = journal.against(charged(nanos)).rows
    assert row.verdict is verdict
    assert row.outside == (nanos - 1000 if verdict is Verdict.OUTSIDE else 0)


def test_amounts_finer_than_a_nano_dollar_are_summed_before_they_are_rounded(journal):
    """Three thirds of a nano-dollar are one."""
    third = charged(0)._replace(nanos=Fraction(1, 3))
    (row,) = journal.against(third, third, third).rows
    assert row.anthropic == 1


def test_the_same_tokens_for_another_amount_are_a_matter_of_prices(journal):
    """With equal counts of tokens nobody went around; with others somebody did."""
    journal.settle("a", ms(12), 10_000)
    for nanos in (20_000, 5_000):
        (row,) = journal.against(charged(nanos), tokens=30).rows
        assert row.verdict is Verdict.PRICES
    (row,) = journal.against(charged(20_000), tokens=31).rows
    assert row.verdict is Verdict.OUTSIDE


def test_a_call_over_midnight_may_be_billed_on_either_day(journal):
    """It is booked where it began; neither day is accused wherever Anthropic billed it."""
    journal.settle("a", ms(13, 0, 5), 4000, priced_at_ms=ms(12, 23, 55))
    for day in (12, 13):
        verdicts = {row.day.day: row.verdict for row in journal.against(charged(4000, day=day)).rows}
        assert verdicts[day] is Verdict.SAME
        assert verdicts[12] is (Verdict.SAME if day == 12 else Verdict.UNCERTAIN)
        assert verdicts[13] is Verdict.SAME
    (outside,) = journal.against(charged(4000), charged(9000, day=13)).of(Verdict.OUTSIDE)
    assert outside.outside == 5000


def test_a_charge_by_rule_may_have_been_anything_up_to_its_hold(journal):
    """Nothing billed is uncertain, the whole hold is the same, beyond it is outside."""
    journal.settle("a", ms(12), 1000, uncertain=True)
    expected = {0: Verdict.UNCERTAIN, 1000: Verdict.SAME, 5000: Verdict.SAME, 6000: Verdict.OUTSIDE}
    for nanos, verdict in expected.items():
        (row,) = journal.against(charged(nanos)).rows
        assert row.verdict is verdict
        assert row.ledger.uncertain == 1000
    assert row.outside == 1000


def test_an_expired_hold_is_an_uncertain_charge(journal):
    """What its expiry posted counts, on the model that was held for."""
    journal.reserve("a", ms(12), 8000, OPUS)
    journal.expire("a", ms(12, 13), 8000)
    row = journal.row(12, OPUS)
    assert (row.nanos, row.least, row.most, row.uncertain) == (8000, 0, 8000, 8000)


def test_an_expiry_that_charged_nothing_may_have_been_billed(journal):
    """With `on_expiry: release` the ledger has nothing of it, and Anthropic may have the whole hold."""
    journal.reserve("a", ms(12), 8000)
    journal.expire("a", ms(12, 13), 0)
    (row,) = journal.against(charged(8000)).rows
    assert row.verdict is Verdict.SAME
    assert row.ledger.nanos == 0


def test_a_late_settlement_takes_the_place_of_the_expiry(journal):
    """The call is counted once, at what it cost; a late release leaves nothing."""
    for name in "ab":
        journal.reserve(name, ms(12), 8000)
        journal.expire(name, ms(12, 13), 8000)
    journal.settle("a", ms(12, 14), 600, "settled_late", priced_at_ms=ms(12))
    journal.write("release", "b", ms(12, 14), "settled_late", "posted=0")
    row = journal.row()
    assert (row.nanos, row.least, row.most, row.calls) == (600, 600, 600, 1)


def test_a_call_that_is_still_open_may_have_been_billed(journal):
    """Up to its hold, from its day on; what it will cost is not in the ledger yet."""
    journal.reserve("a", ms(13), 8000)
    journal.reserve("done", ms(13), 8000)
    journal.write("release", "done", ms(13), "released", "posted=0")
    assert journal.row(12) is None
    assert [(journal.row(day).nanos, journal.row(day).most) for day in (13, 14)] == [(0, 8000), (0, 8000)]


def test_a_call_of_several_models_may_be_billed_at_each(journal):
    """Passes of an advisor are billed at its own model: neither model's row accuses anybody."""
    passes = [
        {"type": "message", **USAGE},
        {"type": "advisor_message", "model": OPUS, **USAGE},
    ]
    journal.settle("a", ms(12), 9000, usage={**USAGE, "iterations": passes})
    found = journal.against(charged(2000), charged(7000, OPUS))
    assert {row.model: row.verdict for row in found.rows} == {HAIKU: Verdict.UNCERTAIN, OPUS: Verdict.SAME}


def test_calls_on_a_cloud_are_left_out(journal):
    """Their cloud bills them: a Bedrock name tells, or the policy's endpoint."""
    journal.settle("a", ms(12), 400, model="anthropic.claude-haiku-5-5")
    journal.settle("b", ms(12), 500, endpoint="global")
    journal.reserve("c", ms(12), 8000, "anthropic.claude-haiku-5-5")
    assert journal.books().booked == {}
    assert journal.books().clouds_nanos == 900


def test_leases_and_refusals_are_no_calls(journal):
    """A lease is a hold without a call, and what was refused was never sent."""
    journal.write("reserve", "lease.a", ms(12), "held", "0 ", lease="d", budgets=[], asks=[[]])
    journal.write("reserve", "no", ms(12), "exceeded", "- ", department="d")
    journal.write("settle", "lease.b", ms(12), "settled", "posted=9", lease="d")
    journal.expire("lease.a", ms(12), 70)
    assert journal.books().booked == {}


@pytest.mark.parametrize("broken", [{"cost_nanos": None}, {"model": 5}, {"priced_at_ms": 10**20}])
def test_a_record_that_cannot_be_read_is_counted(journal, broken):
    """It does not end the comparison; how many there were is told."""
    journal.settle("a", ms(12), 400, **broken)
    journal.settle("b", ms(12), 500)
    assert journal.row().nanos == 500
    assert journal.books().unreadable == 1


def test_what_the_ledger_does_not_know_is_outside_under_its_own_name(journal):
    """A model without a price and spend without a model are rows like any other."""
    found = journal.against(charged(500, "claude-next"), charged(700, None))
    assert {row.model: row.outside for row in found.rows} == {"claude-next": 500, NO_MODEL: 700}


def test_sources_are_summed_by_key_workspace_and_product(journal):
    """The largest comes first; rows of one source are one."""
    mine = {"api_key_id": "apikey_a", "workspace_id": "wrkspc_a", "product": "messages_api"}
    rows = (charged(300, **mine), charged(400, **mine), charged(600, api_key_id="apikey_b"))
    (row,) = journal.against(*rows).rows
    assert [(source.api_key_id, source.nanos) for source in row.sources] == [
        ("apikey_a", 700),
        ("apikey_b", 600),
    ]


def test_days_before_the_journal_are_not_judged(journal):
    """The day on which a trimmed journal begins is not whole, either."""
    journal.settle("a", ms(11), 400)
    journal.settle("b", ms(12), 400)
    del journal.records[0]
    found = journal.against(charged(400), charged(400, day=11), charged(400, day=10))
    assert set(found.unjudged) == {date(2026, 11, 10), date(2026, 11, 11)}
    assert [row.day.day for row in found.rows] == [12]


def test_days_with_missing_records_are_not_judged(journal):
    """From the last record before a gap to the first one after it."""
    for day in (10, 11, 12, 13):
        journal.settle(str(day), ms(day), 400)
    del journal.records[2]
    found = journal.against(charged(400, day=12), charged(400, day=13))
    assert set(found.unjudged) == {date(2026, 11, day) for day in (10, 11, 12)}
    assert [row.day.day for row in found.rows] == [13]


def test_figures_that_do_not_tell_when_they_were_refreshed(journal):
    """A day of those is judged a day after its end, by the clock of who asks."""
    found = journal.against(charged(400), refreshed_ms=None)
    assert set(found.unjudged) == {LAST}
