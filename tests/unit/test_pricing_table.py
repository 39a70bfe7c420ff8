"""The price table: complete, dated, versioned, and refused as a whole when malformed."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import get_args

import pytest
from anthropic.types import model as sdk_models
from ruamel.yaml import YAML
from support.price_files import load, ms

from governor.data import data_file
from governor.errors import PolicyError, UnknownModel
from governor.pricing import PriceTable, Way

SHIPPED = data_file("pricing/anthropic.yaml").read_text(encoding="utf-8")

GOOD = """\
version: 1
currency: USD per million tokens
fees:
  - {from: 2026-01-01, source: "a test", checked: 2026-01-02, web_search_per_thousand: "10"}
bedrock_prefixes: {global: global, us: regional, us-gov: us-gov}
models:
  - id: claude-test-1
    line: haiku
    aliases: [claude-test-1-20260101]
    bedrock: ["anthropic.claude-test-1-v1:0"]
    vertex: [claude-test-1@20260101]
    context: 1000
    max_output: 100
    tokenizer: 2026
    lifecycle: active
    retires: null
    retires_not_before: null
    prices:
      - from: 2026-01-01
        source: "a test"
        checked: 2026-01-02
        input: "1"
        output: "5"
        cache_write_5m: "1.25"
        cache_write_1h: "2"
        cache_read: "0.10"
"""


def test_every_model_the_sdk_lists_is_priced_today():
    """Each model name in the installed SDK is known and has a price on the day the table was checked."""
    table = PriceTable.load()
    literal = next(option for option in get_args(sdk_models.Model) if get_args(option))
    names = get_args(literal)
    assert len(names) >= 20
    for name in names:
        assert table.price_at(name, ms("2026-11-20")).rates.output > 0
        assert table.model(name).line in name


def test_dated_id_is_an_alias_of_its_model():
    """A dated id names the same model as the plain one."""
    table = PriceTable.load()
    assert table.model("claude-haiku-4-5-20251001") is table.model("claude-haiku-4-5")
    assert len(table.models()) == len({model.id for model in table.models()})


@pytest.mark.parametrize(
    ("name", "endpoint"),
    [
        ("claude-haiku-4-5", ""),
        ("claude-haiku-4-5-20251001", ""),
        ("claude-haiku-4-5@20251001", "vertex"),
        ("anthropic.claude-haiku-4-5-20251001-v1:0", "regional"),
        ("global.anthropic.claude-haiku-4-5-20251001-v1:0", "global"),
        ("eu.anthropic.claude-haiku-4-5-20251001-v1:0", "regional"),
        ("us-gov.anthropic.claude-haiku-4-5", "us-gov"),
        ("arn:aws:bedrock:eu-west-1:123:inference-profile/eu.anthropic.claude-haiku-4-5", "regional"),
    ],
)
def test_every_name_tells_its_model_and_endpoint(name, endpoint):
    """Ids, aliases and the clouds' names are all names of one model, each served at its own endpoint."""
    table = PriceTable.load()
    assert table.knows(name)
    assert table.model(name).id == "claude-haiku-4-5"
    assert table.endpoint(name) == endpoint


def test_a_vertex_name_takes_the_endpoint_it_is_given():
    """A name of Vertex AI takes the endpoint it is given, for it tells none; a Bedrock name keeps its own."""
    table = PriceTable.load()
    assert table.served_at("claude-haiku-4-5@20251001", "global") == "global"
    assert table.served_at("us.anthropic.claude-haiku-4-5", "global") == "regional"


@pytest.mark.parametrize(
    ("name", "way", "unit"),
    [
        ("claude-haiku-4-5", Way(geo="us"), "inference_geo 'us'"),
        ("claude-haiku-4-5", Way(fast=True), "fast mode"),
        ("claude-opus-5", Way(fast=True, batch=True), "fast mode in a batch"),
        ("claude-mythos-preview", Way(batch=True), "batches"),
        ("us-gov.anthropic.claude-opus-4-6-v1", Way(), "a cloud's government region"),
    ],
)
def test_a_unit_without_a_price_is_refused_by_name(name, way, unit):
    """A way of being served that the entry does not price is refused, naming the model and the way."""
    with pytest.raises(UnknownModel, match=f"{re.escape(name)}' has no price for {re.escape(unit)}"):
        PriceTable.load().tariff(name, ms("2026-11-21"), way)


def test_fees_are_dated_too(tmp_path):
    """A later fee is in force from its day at midnight UTC, and not a millisecond before."""
    later = '  - {from: 2026-02-01, source: "x", checked: 2026-02-01, web_search_per_thousand: "12.5"}\n'
    table = load(tmp_path, GOOD.replace("bedrock_prefixes", later + "bedrock_prefixes"))
    before = table.tariff("claude-test-1", ms("2026-01-31", "23:59:59.999"), Way())
    after = table.tariff("claude-test-1", ms("2026-02-01"), Way())
    assert before.web_search == 10_000_000 * before.unit
    assert after.web_search == 12_500_000 * after.unit


def test_fees_out_of_order_are_refused(tmp_path):
    """A fee that does not come after the one before it is refused where it stands."""
    later = '  - {from: 2025-02-01, source: "x", checked: 2026-02-01, web_search_per_thousand: "12.5"}\n'
    with pytest.raises(PolicyError, match="2025-02-01 does not come after 2026-01-01") as caught:
        load(tmp_path, GOOD.replace("bedrock_prefixes", later + "bedrock_prefixes"))
    assert (caught.value.line, caught.value.column) == (5, 5)


def test_price_changes_at_midnight_utc():
    """Sonnet 5.5's cache read price is halved at the first millisecond of its day, not before."""
    table = PriceTable.load()
    before = table.price_at("claude-sonnet-5-5", ms("2026-10-06", "23:59:59.999"))
    after = table.price_at("claude-sonnet-5-5", ms("2026-10-07"))
    assert (before.rates.cache_read, after.rates.cache_read) == (200, 100)


def test_price_before_the_first_entry_is_unknown():
    """A model has no price before its first dated entry, and the error names the day."""
    with pytest.raises(UnknownModel, match="2026-10-07"):
        PriceTable.load().price_at("claude-haiku-5-5", ms("2026-10-06", "23:59:59.999"))


def test_fast_mode_ends_on_its_day():
    """Opus 4.8 has fast prices through 29 November 2026 and none from the 30th."""
    table = PriceTable.load()
    assert table.price_at("claude-opus-4-8", ms("2026-11-29")).fast == (2, 2)
    assert table.price_at("claude-opus-4-8", ms("2026-11-30")).fast is None


def test_unknown_model_names_the_nearest():
    """A misspelt model is refused with the name that was probably meant."""
    with pytest.raises(UnknownModel, match=r"did you mean 'claude-haiku-5-5'\?"):
        PriceTable.load().model("claude-haiku-55")


def test_every_entry_bears_source_and_dates():
    """No price is without a source, and none was checked before it was known."""
    for model in PriceTable.load().models():
        for price in PriceTable.load().prices(model.id):
            assert price.source
            assert price.checked >= dt.date(2026, 1, 1)


def test_version_follows_the_data_not_the_comments(tmp_path):
    """The version is stable across comments and changes with any number."""
    plain = load(tmp_path, GOOD).version
    assert len(plain) == 12
    assert load(tmp_path, "# a remark\n" + GOOD).version == plain
    assert load(tmp_path, GOOD.replace('"5"', '"6"')).version != plain


def fits_the_schema(text: str) -> bool:
    """Whether an editor finds nothing wrong with a price file."""
    import jsonschema

    schema = json.loads(data_file("pricing/schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    data = json.loads(json.dumps(YAML(typ="safe").load(text), default=str))
    return jsonschema.Draft202012Validator(schema).is_valid(data)


def test_the_schema_accepts_whole_tables():
    """The schema that editors use accepts the shipped file, which names it, and the one of these tests."""
    assert fits_the_schema(SHIPPED)
    assert SHIPPED.startswith("# yaml-language-server: $schema=schema.json\n")
    assert fits_the_schema(GOOD)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('input: "1"', "input: 1"),
        ('input: "1"', 'input: "0"'),
        ('input: "1"', 'inptu: "1"'),
        ('        cache_write_1h: "2"\n', ""),
        ("      - from: 2026-01-01\n        source", "      - source"),
        ("from: 2026-01-01\n", "from: soon\n"),
        ("context: 1000", "context: 0"),
        ("line: haiku", "line: haikku"),
        ("lifecycle: active", "lifecycle: fresh"),
        ("    vertex: [claude-test-1@20260101]\n", ""),
        ("us: regional", "us: continental"),
        ('"0.10"\n', '"0.10"\n        batch_percent: 5000\n'),
        ('"0.10"\n', '"0.10"\n        fast: {input: "2"}\n'),
        ("version: 1", "version: 2"),
        ("models:", "discounts: []\nmodels:"),
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(tmp_path, old, new):
    """What an editor underlines in a whole table does not load either."""
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    assert not fits_the_schema(text)
    with pytest.raises(PolicyError):
        load(tmp_path, text)


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ('input: "1"', "input: 1.50", (22, 16), r"quoted decimal above 0, got .1\.5.* \(quote it"),
        ('input: "1"', 'input: "0"', (22, 16), "above 0"),
        ('input: "1"', 'input: "NaN"', (22, 16), "above 0"),
        ('input: "1"', 'input: "-1"', (22, 16), "above 0"),
        ('input: "1"', 'input: "1e3"', (22, 16), "above 0"),
        ("        cache_read:", "        cache_raed:", (26, 9), r"unknown key 'cache_raed' .*'cache_read'\?"),
        ('        cache_write_1h: "2"\n', "", (19, 9), "'cache_write_1h' is missing"),
        ("      - from: 2026-01-01\n        source", "      - source", (19, 9), "'from' is missing"),
        ("from: 2026-01-01\n", "from: soon\n", (19, 15), r"expected a date.*2026-10-07"),
        ("from: 2026-01-01\n", "from: 2026-01-01 10:00:00\n", (19, 15), "expected a date"),
        ("    max_output: 100\n", "", (7, 5), "'max_output' is missing"),
        ("context: 1000", "context: true", (12, 14), "whole number above 0"),
        ("context: 1000", "context: -1", (12, 14), "whole number above 0"),
        ("version: 1", "version: 2", (1, 10), "expected 1, got '2'"),
        ("version: 1", "version: true", (1, 10), "expected 1, got 'True'"),
        ("line: haiku", "line: haikku", (8, 11), "expected haiku or sonnet"),
        ("line: haiku", "line: haiku\n    line: opus", (9, 5), "duplicate key"),
        ("lifecycle: active", "lifecycle: fresh", (15, 16), "expected active or legacy"),
        ("retires: null", "retires: never", (16, 14), "expected a date"),
        ("aliases: [claude-test-1-20260101]", "aliases: [claude-test-1]", (7, 5), "used twice"),
        ("vertex: [claude-test-1@20260101]", "vertex: [claude-test-1]", (7, 5), "used twice"),
        ("us: regional", "us: continental", (5, 40), "expected global or regional or us-gov"),
        ('        source: "a test"', '        source: ""', (20, 17), "expected a text"),
        ('web_search_per_thousand: "10"', "web_search_per_thousand: 10", (4, 88), r'quote it: "10"'),
        (
            GOOD[GOOD.index("  - {from") : GOOD.index("bedrock_p")],
            "  []\n",
            (4, 3),
            "a web search needs a price",
        ),
        (GOOD[GOOD.index("      - from") :], "      []\n", (19, 7), "a model needs at least one dated price"),
        ('"0.10"\n', '"0.10"\n        us_percent: "110"\n', (27, 21), "whole number above 0, got '110'"),
        ('"0.10"\n', '"0.10"\n        batch_percent: 5000\n', (27, 24), "no multiplier"),
        ('"0.10"\n', '"0.10"\n        fast: {input: "2"}\n', (27, 15), "'output' is missing"),
        ('output: "5"', 'output: "5', (24, 26), "is not YAML"),
    ],
)
def test_bad_file_is_refused_with_its_place(tmp_path, old, new, place, message):
    """A malformed price file is refused, naming file, line and column and what to do."""
    assert old in GOOD
    with pytest.raises(PolicyError, match=message) as caught:
        load(tmp_path, GOOD.replace(old, new, 1))
    assert (caught.value.line, caught.value.column) == place
    assert caught.value.file.endswith("prices.yaml")


def test_all_problems_are_told_at_once(tmp_path):
    """One error lists every problem, in the order of the file."""
    with pytest.raises(PolicyError) as caught:
        load(tmp_path, GOOD.replace('"5"', "5").replace("1000", "zero"))
    assert [problem.line for problem in caught.value.problems] == [12, 23]


def test_entries_out_of_order_are_refused(tmp_path):
    """A dated entry that does not come after the one before it is refused where it stands."""
    entry = GOOD[GOOD.index("      - from") :]
    with pytest.raises(PolicyError, match="does not come after") as caught:
        load(tmp_path, GOOD + entry)
    assert (caught.value.line, caught.value.column) == (27, 9)


@pytest.mark.parametrize("text", ["", "- 1\n", "models\n", "\x01"])
def test_files_of_another_kind_are_refused(tmp_path, text):
    """An empty file, a list, a bare word and a binary file are each a PolicyError."""
    with pytest.raises(PolicyError):
        load(tmp_path, text)


def test_unreadable_files_are_refused(tmp_path):
    """A missing file, a folder and a file that is not UTF-8 are each a PolicyError naming the file."""
    (tmp_path / "latin.yaml").write_bytes(b"version: \xff\n")
    for name in ("missing.yaml", ".", "latin.yaml"):
        with pytest.raises(PolicyError) as caught:
            PriceTable.load(tmp_path / name)
        assert str(tmp_path) in caught.value.file


def test_missing_data_file_names_what_to_do():
    """Asking for data that does not ship says which places were tried."""
    with pytest.raises(FileNotFoundError, match="reinstall"):
        data_file("pricing/nobody.yaml")
