"""A company's own price file on top of the shipped table: aliases, discounts, fees and prices of its own."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest
from ruamel.yaml import YAML
from support import price_files
from support.price_files import ms

from governor.data import data_file
from governor.errors import PolicyError, UnknownModel
from governor.pricing import PriceTable, Usage, Way, cost_nanos

if TYPE_CHECKING:
    from pathlib import Path

RATES = 'input: "{0}", output: "5", cache_write_5m: "1.25", cache_write_1h: "2", cache_read: "0.10"'

OWN = """\
version: 1
extends: anthropic
aliases:
  fast-one: claude-haiku-5-5
  ours-in-europe: eu.anthropic.claude-sonnet-5-5
discounts:
  - percent: "10"
    from: 2026-10-01
    source: "frame contract 7"
  - percent: "12.5"
    lines: [haiku]
    from: 2026-10-20
    until: 2026-12-31
    source: "contract 8"
  - percent: "20"
    models: [claude-haiku-5-5]
    from: 2026-11-01
    until: 2026-11-30
    source: "contract 9"
fees:
  - from: 2026-12-01
    source: "contract 7"
    checked: 2026-11-01
    web_search_per_thousand: "8"
models:
  - id: claude-opus-4-8
    prices:
      - from: 2026-11-15
        source: "contract 7"
        checked: 2026-11-01
        input: "4"
        output: "20"
        cache_write_5m: "5"
        cache_write_1h: "8"
        cache_read: "0.40"
  - id: claude-ours-1
    line: opus
    aliases: [claude-ours-1-latest]
    bedrock: [anthropic.claude-ours-1]
    vertex: []
    context: 1000
    max_output: 100
    tokenizer: 2026
    lifecycle: active
    retires: null
    retires_not_before: null
    prices:
      - from: 2026-11-01
        source: "contract 9"
        checked: 2026-11-01
        input: "1"
        output: "5"
        cache_write_5m: "1.25"
        cache_write_1h: "2"
        cache_read: "0.10"
"""


def load(tmp_path: Path, text: str = OWN) -> PriceTable:
    return price_files.load(tmp_path, text)


def discount(*lines: str) -> str:
    """A file of discounts, each written as the inside of a mapping."""
    return "version: 1\nextends: anthropic\ndiscounts:\n" + "".join(f"  - {{{line}}}\n" for line in lines)


def per_token(table: PriceTable, name: str, at_ms: int, way: Way | None = None) -> list[Fraction]:
    """The five prices of a short prompt's token, in nano-dollars."""
    tariff = table.tariff(name, at_ms, way or Way())
    return [Fraction(amount, tariff.unit) for amount in tariff.base]


def test_an_empty_file_of_ones_own_changes_nothing(tmp_path):
    """The two lines that every such file begins with give the shipped prices."""
    shipped, own = PriceTable.load(), load(tmp_path, "version: 1\nextends: anthropic\n")
    for model in shipped.models():
        assert own.prices(model.id) == shipped.prices(model.id)
    assert own.models() == shipped.models()
    assert own.fees == shipped.fees
    assert own.discounts == ()


def test_the_version_follows_ones_own_file(tmp_path):
    """The journal's name for the table changes with a discount, and names the file it came from."""
    own = load(tmp_path)
    assert own.version != PriceTable.load().version
    assert own.version != load(tmp_path, OWN.replace('"10"', '"11"')).version
    assert own.source.endswith("prices.yaml")


def test_an_alias_is_a_name_of_its_model(tmp_path):
    """A company's own name means the model it points to; one for a Bedrock name keeps its endpoint."""
    table = load(tmp_path)
    assert table.model("fast-one").id == "claude-haiku-5-5"
    assert table.endpoint("fast-one") == ""
    assert table.model("ours-in-europe").id == "claude-sonnet-5-5"
    assert table.endpoint("ours-in-europe") == "regional"
    assert per_token(table, "fast-one", ms("2026-10-10")) == per_token(
        table, "claude-haiku-5-5", ms("2026-10-10")
    )


def test_a_discount_is_exact_on_every_token_price(tmp_path):
    """12.5 % is taken off all five prices, up to the step and above it, and not off web searches."""
    shipped, own = PriceTable.load(), load(tmp_path)
    at, keep = ms("2026-10-25"), Fraction(875, 1000)
    for way in (Way(), Way(batch=True), Way(geo="us"), Way(batch=True, endpoint="regional")):
        full, less = (table.tariff("claude-haiku-5-5", at, way) for table in (shipped, own))
        for whole, rest in ((full.base, less.base), (full.above, less.above)):
            assert [Fraction(n, less.unit) for n in rest] == [Fraction(n, full.unit) * keep for n in whole]
        assert Fraction(less.web_search, less.unit) == Fraction(full.web_search, full.unit) == 10_000_000


def test_a_discount_is_off_fast_mode_too(tmp_path):
    """A discount stacks with fast mode's prices: 10 % off $8 and $40 a million tokens."""
    found = per_token(load(tmp_path), "claude-opus-5-5", ms("2026-11-21"), Way(fast=True))
    assert found[:2] == [7200, 36_000]


@pytest.mark.parametrize("name", ["claude-opus-4-8", "claude-ours-1"])
def test_no_discount_is_taken_off_a_price_of_ones_own(tmp_path, name):
    """A price that the company's file gives is agreed as it stands, whatever discount is on everything."""
    table = load(tmp_path)
    assert table.discount_at(name, ms("2026-11-21")) is None
    assert per_token(table, name, ms("2026-11-21"))[0] == table.price_at(name, ms("2026-11-21")).rates.input


def test_a_list_price_in_ones_own_file_is_discounted(tmp_path):
    """What is marked `listed` is no agreement: a discount on everything is taken off it."""
    listed = f"models:\n  - {{id: claude-opus-5, prices: [{{{PRICED}, listed: true}}]}}\n"
    table = load(tmp_path, discount('percent: "5", from: 2026-10-01, source: "x"') + listed)
    assert per_token(table, "claude-opus-5", ms("2026-12-01"))[0] == 950


def test_what_a_discounted_answer_costs(tmp_path):
    """One token of input at 12.5 % off $1 is 875 nano-dollars, with one search at its full fee."""
    usage = Usage(input_tokens=1, output_tokens=0, web_searches=1)
    assert cost_nanos(load(tmp_path), "claude-haiku-4-5", usage, ms("2026-11-21")) == 875 + 10_000_000


@pytest.mark.parametrize(
    ("name", "day", "percent"),
    [
        ("claude-opus-5-5", "2026-11-21", 10),
        ("claude-haiku-4-5", "2026-11-21", Fraction(25, 2)),
        ("claude-haiku-5-5", "2026-11-21", 20),
        ("claude-haiku-5-5", "2026-12-01", Fraction(25, 2)),
        ("claude-haiku-5-5", "2027-01-01", 10),
        ("fast-one", "2026-11-21", 20),
        ("claude-opus-4-8", "2026-11-14", 10),
    ],
)
def test_the_most_particular_discount_counts_alone(tmp_path, name, day, percent):
    """Models come before lines, lines before everything; they do not add up."""
    found = load(tmp_path).discount_at(name, ms(day))
    assert found is not None
    assert found.percent == percent


@pytest.mark.parametrize(
    ("day", "time", "cents"),
    [
        ("2026-09-30", "23:59:59.999", 100),
        ("2026-10-01", "00:00:00.000", 90),
        ("2026-10-19", "23:59:59.999", 90),
        ("2026-10-20", "00:00:00.000", Fraction(175, 2)),
        ("2026-12-31", "23:59:59.999", Fraction(175, 2)),
        ("2027-01-01", "00:00:00.000", 90),
    ],
)
def test_contract_dates_change_at_midnight_utc(tmp_path, day, time, cents):
    """A discount holds from the first millisecond of `from` to the last of `until`, in UTC."""
    assert per_token(load(tmp_path), "claude-haiku-4-5", ms(day, time))[0] == cents * 10


def test_a_whole_discount_makes_tokens_free(tmp_path):
    """A discount of 100 % leaves web searches to pay, and nothing else."""
    table = load(tmp_path, discount('percent: "100", from: 2026-10-01, source: "x"'))
    usage = Usage(input_tokens=10**6, output_tokens=10**6, web_searches=2)
    assert cost_nanos(table, "claude-opus-5-5", usage, ms("2026-11-21")) == 20_000_000


def test_discounts_of_one_width_may_follow_each_other(tmp_path):
    """One that ends the day before the next begins does not overlap it."""
    lines = ('percent: "5", from: 2026-10-01, until: 2026-10-31, source: "x"',)
    table = load(tmp_path, discount(*lines, 'percent: "6", from: 2026-11-01, source: "x"'))
    percents = [table.discount_at("claude-opus-5-5", ms(day)) for day in ("2026-10-31", "2026-11-01")]
    assert [one and one.percent for one in percents] == [5, 6]


def test_own_prices_are_appended_to_a_shipped_model(tmp_path):
    """Before their first day the shipped prices hold; from then on they alone, whatever ships for later."""
    own, shipped = load(tmp_path), PriceTable.load()
    assert own.prices("claude-opus-4-8")[0] == shipped.prices("claude-opus-4-8")[0]
    before, after = (own.price_at("claude-opus-4-8", ms(day)) for day in ("2026-11-14", "2026-11-15"))
    assert (before.own, before.rates.input) == (False, 5000)
    assert (after.own, after.rates.input) == (True, 4000)
    assert own.price_at("claude-opus-4-8", ms("2026-11-30")) == after


def test_a_way_that_ones_own_price_leaves_out_is_refused(tmp_path):
    """An own price without `batch_percent` has no price for batches, though the shipped one had."""
    table = load(tmp_path)
    assert per_token(table, "claude-opus-4-8", ms("2026-11-14"), Way(batch=True))[0] == 2250
    with pytest.raises(UnknownModel, match="no price for batches"):
        table.tariff("claude-opus-4-8", ms("2026-11-15"), Way(batch=True))


def test_a_whole_new_model(tmp_path):
    """A model that only the company has is priced under all its names, from its own first day."""
    table = load(tmp_path)
    assert {table.model(f"{name}").id for name in ("claude-ours-1-latest", "us.anthropic.claude-ours-1")} == {
        "claude-ours-1"
    }
    assert table.price_at("claude-ours-1", ms("2026-11-01")).own
    with pytest.raises(UnknownModel, match="no price before 2026-11-01"):
        table.price_at("claude-ours-1", ms("2026-10-31"))


def test_own_fees(tmp_path):
    """A fee of one's own is in force from its day, the shipped one before."""
    table = load(tmp_path)
    fees = [table.tariff("claude-opus-5-5", ms(day), Way()) for day in ("2026-11-30", "2026-12-01")]
    assert [fee.web_search // fee.unit for fee in fees] == [10_000_000, 8_000_000]


PLAIN = "version: 1\nextends: anthropic\n"
PRICED = f'from: 2026-12-01, source: "x", checked: 2026-11-01, {RATES.format("1")}'


def more_prices(*entries: str) -> str:
    """A file of prices appended to one model, each written as the inside of a mapping."""
    return f"{PLAIN}models:\n  - id: claude-opus-5\n    prices:\n" + "".join(
        f"      - {{{entry}}}\n" for entry in entries
    )


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        (f"{PLAIN}alaises: {{}}\n", (3, 1), r"unknown key 'alaises' \(did you mean 'aliases'\?"),
        (PLAIN.replace("anthropic", "openai"), (2, 10), "expected anthropic, got 'openai'"),
        ("extends: anthropic\n", (1, 1), "'version' is missing"),
        (f"{PLAIN}aliases: {{a: claude-haiku-55}}\n", (3, 11), r"'a' points nowhere.*'claude-haiku-5-5'\?"),
        (f"{PLAIN}aliases: {{a: b, b: claude-haiku-5-5}}\n", (3, 11), "'a' points nowhere"),
        (f"{PLAIN}aliases: {{claude-opus-5: claude-opus-5-5}}\n", (3, 11), "is a model's name already"),
        (f"{PLAIN}aliases: [a]\n", (3, 10), "expected a mapping of names to names"),
        (f'{PLAIN}aliases: {{a: ""}}\n', (3, 14), "expected a text"),
        (discount('percent: "100.1", from: 2026-10-01, source: "x"'), (4, 15), "100.1 percent would pay"),
        (discount('percent: "0", from: 2026-10-01, source: "x"'), (4, 15), "above 0"),
        (discount('percent: "-5", from: 2026-10-01, source: "x"'), (4, 15), "above 0"),
        (discount('percent: 12.5, from: 2026-10-01, source: "x"'), (4, 15), r'quote it: "12.5"'),
        (
            discount('percent: "5", models: [], from: 2026-10-01, source: "x"'),
            (4, 5),
            "a discount on no models",
        ),
        (
            discount('percent: "5", lines: [], from: 2026-10-01, source: "x"'),
            (4, 5),
            "a discount on no lines",
        ),
        (
            f"{PLAIN}models:\n" + 2 * f"  - {{id: claude-opus-5, prices: [{{{PRICED}}}]}}\n",
            (5, 5),
            "'claude-opus-5' stands here twice",
        ),
        (
            f"{PLAIN}models:\n  - {{id: claude-opus-5, prices: [{{{PRICED}, listed: false}}]}}\n",
            (4, 185),
            "expected true",
        ),
        (discount('percent: "5", source: "x"'), (4, 5), "'from' is missing"),
        (discount('percent: "5", from: 2026-10-01'), (4, 5), "'source' is missing"),
        (
            discount('percent: "5", modles: [claude-opus-5], from: 2026-10-01, source: "x"'),
            (4, 20),
            r"unknown key 'modles' \(did you mean 'models'\?",
        ),
        (
            discount('percent: "5", models: [claude-opus-55], from: 2026-10-01, source: "x"'),
            (4, 5),
            r"'claude-opus-55', which is no model's id \(did you mean 'claude-opus-5-5'\?",
        ),
        (
            discount('percent: "5", models: [claude-haiku-4-5-20251001], from: 2026-10-01, source: "x"'),
            (4, 5),
            "which is no model's id",
        ),
        (
            discount('percent: "5", lines: [opsu], from: 2026-10-01, source: "x"'),
            (4, 28),
            "expected haiku or sonnet",
        ),
        (
            discount('percent: "5", lines: [opus], models: [claude-opus-5], from: 2026-10-01, source: "x"'),
            (4, 5),
            "on models or on lines, not on both",
        ),
        (
            discount('percent: "5", from: 2026-10-02, until: 2026-10-01, source: "x"'),
            (4, 5),
            "until 2026-10-01, before it begins",
        ),
        (
            discount(
                'percent: "5", from: 2026-10-01, source: "x"', 'percent: "6", from: 2027-01-01, source: "y"'
            ),
            (5, 5),
            "two discounts on claude-.* at the same time",
        ),
        (
            discount(
                'percent: "5", lines: [opus, haiku], from: 2026-10-01, until: 2026-11-01, source: "x"',
                'percent: "6", lines: [opus], from: 2026-11-01, source: "y"',
            ),
            (5, 5),
            "two discounts on claude-opus-.* at the same time",
        ),
        (f"{PLAIN}fees: []\n", (3, 7), "a web search needs a price"),
        (f"{PLAIN}models:\n  - {{id: claude-opus-5}}\n", (4, 5), "'prices' is missing"),
        (f"{PLAIN}models:\n  - {{id: claude-opus-5, prices: []}}\n", (4, 33), "at least one dated price"),
        (
            more_prices(PRICED.replace("from: 2026-12-01, ", "")),
            (6, 9),
            "'from' is missing",
        ),
        (
            more_prices(PRICED, PRICED),
            (7, 9),
            "2026-12-01 does not come after 2026-12-01",
        ),
        (
            f"{PLAIN}models:\n  - id: claude-opus-5\n    line: opus\n    prices:\n      - {{{PRICED}}}\n",
            (5, 5),
            "unknown key 'line'",
        ),
        (
            f"{PLAIN}models:\n  - id: claude-opus-55\n    prices:\n      - {{{PRICED}}}\n",
            (4, 5),
            "'line' is missing",
        ),
        (OWN.replace("[claude-ours-1-latest]", "[claude-opus-5]"), (36, 5), "'claude-opus-5' is used twice"),
        (f"{PLAIN}currency: EUR\n", (3, 11), "expected USD per million tokens"),
        (f"{PLAIN}discounts: 5\n", (3, 12), "expected a list of discounts"),
    ],
)
def test_a_bad_file_of_ones_own_is_refused_with_its_place(tmp_path, text, place, message):
    """What is misspelt, unknown, contradictory or undated is refused, naming file, line and column."""
    with pytest.raises(PolicyError, match=message) as caught:
        load(tmp_path, text)
    assert (caught.value.line, caught.value.column) == place
    assert caught.value.file.endswith("prices.yaml")


def fits_the_schema(text: str) -> bool:
    import jsonschema

    schema = json.loads(data_file("pricing/schema.json").read_text(encoding="utf-8"))
    data = json.loads(json.dumps(YAML(typ="safe").load(text), default=str))
    return jsonschema.Draft202012Validator(schema).is_valid(data)


def test_the_schema_accepts_files_of_ones_own(tmp_path):
    """An editor finds nothing wrong with the file of these tests, nor with the empty one."""
    load(tmp_path)
    assert fits_the_schema(OWN)
    assert fits_the_schema(PLAIN)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("extends: anthropic", "extends: openai"),
        ("aliases:", "alaises:"),
        ('percent: "10"', 'percent: "100.5"'),
        ('percent: "10"', "percent: 10"),
        ('percent: "10"', 'percent: "0"'),
        ("lines: [haiku]", "lines: [haikku]"),
        ("lines: [haiku]", "lines: [haiku]\n    models: [claude-haiku-4-5]"),
        ("    from: 2026-10-20\n", ""),
        ('    source: "contract 8"\n', ""),
        ('        cache_read: "0.40"\n', ""),
        ("    prices:\n      - from: 2026-11-15", "    prices: []\n    x:\n      - from: 2026-11-15"),
        ("    context: 1000\n", ""),
        ("    line: opus\n", ""),
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(tmp_path, old, new):
    """What an editor underlines in a file of one's own does not load either."""
    assert len(re.findall(re.escape(old), OWN)) >= 1
    text = OWN.replace(old, new, 1)
    assert not fits_the_schema(text)
    with pytest.raises(PolicyError):
        load(tmp_path, text)


def test_the_schema_accepts_a_price_without_a_step(tmp_path):
    """`above: null`, as the loader advises where a step has gone, is right in an editor too."""
    text = more_prices(f"{PRICED}, above: null").replace("claude-opus-5", "claude-haiku-5-5")
    assert load(tmp_path, text).prices("claude-haiku-5-5")[-1].above is None
    assert fits_the_schema(text)
