"""Comparing with `genai-prices`, and what an update plans for what differs."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    PriceVariant,
    StartDateConstraint,
    Tier,
    TieredPrices,
)
from support.price_files import SOURCE, TABLE, TODAY, load

from governor.pricing import PriceTable
from governor.pricing.append import EMPTY, Additions, appended
from governor.pricing.compare import KNOWN, compare, decimal_text, their_models
from governor.pricing.update import Plan, Update

if TYPE_CHECKING:
    from pathlib import Path


def prices(factor: str = "1", **changed: Any) -> ModelPrice:
    """What the table above says of its first model times *factor*, as genai-prices has it."""
    by = Decimal(factor)
    same = {"input_mtok": 1, "output_mtok": 5, "cache_write_1h_mtok": 2}
    same |= {"cache_write_mtok": Decimal("1.25"), "cache_read_mtok": Decimal("0.10")}
    return ModelPrice(**{**{key: value * by for key, value in same.items()}, **changed})


def model(
    standard: ModelPrice | list[ConditionalPrice] | None = None, name: str = "claude-test-1", **ways: Any
) -> ModelInfo:
    """A model of genai-prices that agrees with the table, but for what is given."""
    given = {"batch": prices("0.5"), "fast": prices("2"), **ways}
    keys = {"batch": {"processing": "batch"}, "fast": {"speed": "fast"}}
    return ModelInfo(
        id=name,
        match=ClauseEquals(equals=name),
        prices=standard or prices(web_searches_kcount=Decimal(10)),
        price_variants=[PriceVariant(when=keys[way], prices=one) for way, one in given.items() if one],
    )


def plan(table: PriceTable, *models: ModelInfo, since: dt.date = TODAY, own: bool = False) -> Plan:
    return Update(table, models, since, SOURCE, TODAY, own).plan()


def differing(tmp_path: Path, info: ModelInfo, text: str = TABLE) -> dict[str, tuple[str, str]]:
    """Price, and ours and theirs as texts, of every difference."""
    found = compare(load(tmp_path, text), [info], TODAY).differences
    return {
        str(one.unit): tuple(
            "-" if value is None else decimal_text(value) for value in (one.ours, one.theirs)
        )
        for one in found
    }


# Comparing


def test_the_shipped_table_agrees_with_the_installed_package():
    """No difference without a reason on the day the table was checked, over a fair number of prices."""
    found = compare(PriceTable.load(), their_models(), TODAY)
    assert found.unknown == ()
    assert found.unread == ()
    assert found.compared >= 200
    assert "claude-mythos-preview" in found.only_ours
    assert "claude-2" in found.only_theirs


def test_every_known_disagreement_still_exists():
    """Each one kept as data explains a difference on a day that it names: none outlives its cause."""
    table, models = PriceTable.load(), their_models()
    for known in KNOWN:
        found = compare(table, models, known.until or known.since or TODAY)
        assert [one for one in found.differences if one.reason == known.reason]


def test_a_known_disagreement_explains_no_other_price(tmp_path):
    """Two prices that differ are never known to be right, on the very model and way that has a reason."""
    table = load(tmp_path, TABLE.replace("claude-test-1", "claude-opus-4-1"))
    info = model(name="claude-opus-4-1", batch=prices("0.4"))
    assert len(compare(table, [info], TODAY).unknown) == 5


def test_equal_prices_are_no_difference(tmp_path):
    """Prices that agree are counted as compared, and the model nobody else lists is named."""
    found = compare(load(tmp_path), [model(), model(name="claude-test-3")], TODAY)
    assert found.differences == ()
    assert found.compared == 16
    assert (found.only_ours, found.only_theirs) == (("claude-test-2",), ("claude-test-3",))


def test_differences_are_exact(tmp_path):
    """A price that differs in its ninth decimal is a difference, shown to the last digit."""
    info = model(prices(input_mtok=Decimal("1.000000001"), web_searches_kcount=Decimal("10.5")))
    assert differing(tmp_path, info) == {"input": ("1", "1.000000001"), "web_search": ("10", "10.50")}


def test_a_way_only_one_side_lists(tmp_path):
    """Fast mode that genai-prices does not list is five differences, each without their price."""
    found = differing(tmp_path, model(fast=None))
    assert found["fast input"] == ("2", "-")
    assert len(found) == 5


def test_a_unit_we_do_not_know(tmp_path):
    """A price key that no entry of ours has is a difference, not ignored."""
    info = model(prices(web_searches_kcount=Decimal(10), input_audio_mtok=Decimal(7)))
    assert differing(tmp_path, info) == {"input_audio_mtok": ("-", "7")}


def test_steps(tmp_path):
    """A step within the context window is compared, with the prices above it; one beyond is not."""

    def stepped(start: int) -> ModelInfo:
        tiers = TieredPrices(base=Decimal(5), tiers=[Tier(start=start, price=Decimal(9))])
        return model(prices(web_searches_kcount=Decimal(10), output_mtok=tiers))

    found = differing(tmp_path, stepped(200_000))
    assert found["long above_tokens"] == ("-", "200000")
    assert found["long output"] == ("-", "9")
    assert found["long input"] == ("-", "1")
    assert differing(tmp_path, stepped(300_000)) == {}


def test_two_steps_are_not_comparable(tmp_path):
    """A form that no entry of ours can have is told, and is no agreement."""
    tiers = TieredPrices(base=Decimal(5), tiers=[Tier(start=n, price=Decimal(9)) for n in (1000, 2000)])
    found = compare(load(tmp_path), [model(prices(output_mtok=tiers))], TODAY)
    assert found.unread == (
        (
            "claude-test-1",
            "genai-prices has steps at 1,000, 2,000 tokens for claude-test-1; an entry of ours has one",
        ),
    )
    assert found.compared == 0


def test_the_day_decides(tmp_path):
    """Each side's price in force on the day is compared."""
    later = StartDateConstraint(start_date=dt.date(2026, 12, 1))
    ten = Decimal(10)
    info = model(
        [
            ConditionalPrice(prices=prices(web_searches_kcount=ten)),
            ConditionalPrice(later, prices=prices(web_searches_kcount=ten, input_mtok=Decimal(3))),
        ]
    )
    table = load(tmp_path)
    assert compare(table, [info], dt.date(2026, 11, 30)).differences == ()
    assert [str(one.unit) for one in compare(table, [info], dt.date(2026, 12, 1)).differences] == ["input"]
    assert compare(table, [info], dt.date(2025, 12, 31)).compared == 0


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(2), "2"),
        (Fraction(1, 10), "0.10"),
        (Fraction(25, 2), "12.50"),
        (Fraction(1, 8), "0.125"),
        (Fraction(1, 3), "1/3"),
    ],
)
def test_decimal_text(value, text):
    """Numbers are written with no digit lost, with cents where there is a fraction."""
    assert decimal_text(value) == text


# Planning


def test_a_new_entry_has_their_prices_and_our_regions(tmp_path):
    """What differs is theirs; the percentages that only we have stay."""
    info = model(prices("3", web_searches_kcount=Decimal(10)), batch=prices("1.2"), fast=prices("6"))
    assert plan(load(tmp_path), info).additions == Additions(
        {
            "claude-test-1": [
                {
                    "from": TODAY,
                    "source": SOURCE,
                    "checked": TODAY,
                    "input": "3",
                    "output": "15",
                    "cache_write_5m": "3.75",
                    "cache_write_1h": "6",
                    "cache_read": "0.30",
                    "fast": {"input": "6", "output": "30"},
                    "batch_percent": 40,
                    "us_percent": 110,
                }
            ]
        }
    )


def test_a_way_that_is_gone_loses_its_price(tmp_path):
    """Fast mode that genai-prices has no more is refused from the new entry on."""
    (entry,) = plan(load(tmp_path), model(fast=None)).additions.prices["claude-test-1"]
    assert "fast" not in entry
    assert entry["batch_percent"] == 50


def test_a_new_step_is_taken_over(tmp_path):
    """All five prices above the step are written, with the number of tokens."""

    def tiers(base: str, above: str) -> TieredPrices:
        return TieredPrices(base=Decimal(base), tiers=[Tier(start=200_000, price=Decimal(above))])

    def stepped(by: str) -> ModelPrice:
        return prices(
            by,
            input_mtok=tiers(by, str(2 * Decimal(by))),
            output_mtok=tiers(str(5 * Decimal(by)), str(8 * Decimal(by))),
        )

    info = model(stepped("1"), batch=stepped("0.5"), fast=stepped("2"))
    (entry,) = plan(load(tmp_path), info).additions.prices["claude-test-1"]
    assert entry["above"] == {
        "prompt_tokens": 200_000,
        "input": "2",
        "output": "8",
        "cache_write_5m": "1.25",
        "cache_write_1h": "2",
        "cache_read": "0.10",
    }


def test_a_new_fee(tmp_path):
    """A web search at another price becomes one dated fee, and no entry of a model."""
    found = plan(load(tmp_path), model(prices(web_searches_kcount=Decimal("12.5")))).additions
    fee = {"from": TODAY, "source": SOURCE, "checked": TODAY, "web_search_per_thousand": "12.50"}
    assert found == Additions({}, [fee])


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        (model(prices(cache_read_mtok=None)), "genai-prices lists no cache_read"),
        (model(prices(input_audio_mtok=Decimal(7))), "no entry has a price for input_audio_mtok"),
        (model(batch=prices("0.5", cache_read_mtok=Decimal(1))), "not the standard ones times one factor"),
        (model(batch=prices("0.333")), "not a whole percentage"),
        (model(fast=prices("2", cache_read_mtok=Decimal(1))), "not the standard ones times one factor"),
    ],
)
def test_what_no_entry_can_say_is_refused_by_name(tmp_path, info, reason):
    """Prices that do not fit the form are named with the reason, and nothing of them is appended."""
    found = plan(load(tmp_path), info)
    refused = dict(found.refused)
    assert reason in refused["claude-test-1"]
    assert not found.additions.prices


def test_nothing_is_put_before_what_stands(tmp_path):
    """An entry from a day that has one already is refused; from a day before the first, none is planned."""
    info = model(prices("3", web_searches_kcount=Decimal(10)))
    found = plan(load(tmp_path), info, since=dt.date(2026, 1, 1))
    assert not found.additions
    assert "there is an entry from 2026-01-01 already" in dict(found.refused)["claude-test-1"]
    assert not plan(load(tmp_path), info, since=dt.date(2025, 12, 31)).additions


# A company's own file


def opus_4_8(factor: str) -> ModelInfo:
    """Opus 4.8 at *factor* times its shipped prices, fast mode included."""
    standard = {"input_mtok": 5, "output_mtok": 25, "cache_write_1h_mtok": 10}
    standard |= {"cache_write_mtok": Decimal("6.25"), "cache_read_mtok": Decimal("0.5")}

    def times(by: str) -> ModelPrice:
        return ModelPrice(**{key: value * Decimal(by) * Decimal(factor) for key, value in standard.items()})

    return model(
        ModelPrice(web_searches_kcount=Decimal(10), **vars(times("1"))),
        "claude-opus-4-8",
        batch=times("0.5"),
        fast=times("2"),
    )


def test_shipped_entries_that_a_new_one_hides_are_written_again(tmp_path):
    """The removal of fast mode that ships for 30 November outlives a new price from the 21st."""
    found = plan(load(tmp_path, EMPTY), opus_4_8("0.9"), own=True)
    first, second = found.additions.prices["claude-opus-4-8"]
    assert (first["from"], first["input"], first["fast"]) == (TODAY, "4.50", {"input": "9", "output": "45"})
    assert (second["from"], second["input"]) == (dt.date(2026, 11, 30), "4.50")
    assert "fast" not in second


def test_a_price_agreed_on_is_known_and_stays(tmp_path):
    """A price of one's own differs for the reason its source gives, and no update replaces it."""
    text = appended(EMPTY, plan(load(tmp_path, EMPTY), opus_4_8("0.9"), own=True).additions)
    agreed = load(tmp_path, text.replace(SOURCE, "contract 7").replace("listed: true", ""))
    found = compare(agreed, [opus_4_8("1")], TODAY)
    assert found.unknown == ()
    assert {one.reason for one in found.differences} == {"your own price: contract 7"}
    assert not plan(agreed, opus_4_8("1"), own=True).additions


def test_a_price_that_an_update_wrote_is_updated_again(tmp_path):
    """What is marked as the list price is nobody's agreement: a later price is appended behind it."""
    text = appended(EMPTY, plan(load(tmp_path, EMPTY), opus_4_8("0.9"), own=True).additions)
    later = plan(load(tmp_path, text), opus_4_8("1"), since=dt.date(2026, 12, 5), own=True)
    assert [entry["input"] for entry in later.additions.prices["claude-opus-4-8"]] == ["5"]
    between = plan(load(tmp_path, text), opus_4_8("1"), since=dt.date(2026, 11, 25), own=True)
    assert "there is an entry from 2026-11-30 already" in dict(between.refused)["claude-opus-4-8"]


def test_a_discount_is_taken_off_what_an_update_appends(tmp_path):
    """What `update` writes into a company's own file is marked as the list price, so discounts go on."""
    discount = 'discounts: [{percent: "5", from: 2026-01-01, source: "x"}]\n'
    found = plan(load(tmp_path, EMPTY + discount), opus_4_8("0.9"), own=True)
    entries = found.additions.prices["claude-opus-4-8"]
    assert all(entry["listed"] is True for entry in entries)
    assert found.refused == ()
