"""The price table: complete, dated, versioned, and refused as a whole when malformed."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, get_args

import pytest
from anthropic.types import model as sdk_models
from ruamel.yaml import YAML

from governor.data import data_file
from governor.errors import PolicyError, UnknownModel
from governor.pricing import PriceTable

if TYPE_CHECKING:
    from pathlib import Path

SHIPPED = data_file("pricing/anthropic.yaml").read_text(encoding="utf-8")

GOOD = """\
version: 1
currency: USD per million tokens
web_search_per_thousand: "10"
models:
  - id: claude-test-1
    line: haiku
    aliases: [claude-test-1-20260101]
    context: 1000
    max_output: 100
    tokenizer: 2026
    retires: null
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


def ms(day: str, time: str = "00:00:00.000") -> int:
    moment = dt.datetime.fromisoformat(f"{day}T{time}+00:00")
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(milliseconds=1)


def load_text(tmp_path: Path, text: str) -> PriceTable:
    path = tmp_path / "prices.yaml"
    path.write_text(text, encoding="utf-8")
    return PriceTable.load(path)


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
    plain = load_text(tmp_path, GOOD).version
    assert len(plain) == 12
    assert load_text(tmp_path, "# a remark\n" + GOOD).version == plain
    assert load_text(tmp_path, GOOD.replace('"5"', '"6"')).version != plain


def test_shipped_file_follows_its_json_schema():
    """The schema that editors use accepts the shipped file and refuses an unquoted price."""
    import jsonschema

    schema = json.loads(data_file("pricing/schema.json").read_text(encoding="utf-8"))
    data = json.loads(json.dumps(YAML(typ="safe").load(SHIPPED), default=str))
    jsonschema.validate(data, schema)
    data["models"][0]["prices"][0]["input"] = 0.1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, schema)


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ('input: "1"', "input: 1.50", (16, 16), r"quoted decimal above 0, got .1\.5.* \(quote it"),
        ('input: "1"', 'input: "0"', (16, 16), "above 0"),
        ('input: "1"', 'input: "NaN"', (16, 16), "above 0"),
        ('input: "1"', 'input: "-1"', (16, 16), "above 0"),
        (
            "        cache_read:",
            "        cache_raed:",
            (20, 9),
            r"unknown key 'cache_raed' \(did you mean 'cache_read'\?",
        ),
        ("    max_output: 100\n", "", (5, 5), "'max_output' is missing"),
        ("context: 1000", "context: true", (8, 14), "whole number above 0"),
        ("from: 2026-01-01", "from: soon", (13, 15), r"expected a date.*2026-10-07"),
        ("version: 1", "version: 2", (1, 10), "expected 1, got '2'"),
        ("retires: null", "retires: never", (11, 14), "expected a date"),
        ("aliases: [claude-test-1-20260101]", "aliases: [claude-test-1]", (5, 5), "used twice"),
        ('source: "a test"', 'source: ""', (14, 17), "expected a text"),
        ("line: haiku", "line: haiku\n    line: opus", (7, 5), "duplicate key"),
        ('output: "5"', 'output: "5', (18, 26), "is not YAML"),
    ],
)
def test_bad_file_is_refused_with_its_place(tmp_path, old, new, place, message):
    """A malformed price file is refused, naming file, line and column and what to do."""
    assert old in GOOD
    with pytest.raises(PolicyError, match=message) as caught:
        load_text(tmp_path, GOOD.replace(old, new, 1))
    assert (caught.value.line, caught.value.column) == place
    assert caught.value.file.endswith("prices.yaml")


def test_all_problems_are_told_at_once(tmp_path):
    """One error lists every problem, in the order of the file."""
    with pytest.raises(PolicyError) as caught:
        load_text(tmp_path, GOOD.replace('"5"', "5").replace("1000", "zero"))
    assert [problem.line for problem in caught.value.problems] == [8, 17]


def test_entries_out_of_order_are_refused(tmp_path):
    """A dated entry that does not come after the one before it is refused where it stands."""
    entry = GOOD[GOOD.index("      - from") :]
    with pytest.raises(PolicyError, match="does not come after") as caught:
        load_text(tmp_path, GOOD + entry)
    assert (caught.value.line, caught.value.column) == (21, 9)


@pytest.mark.parametrize("text", ["", "- 1\n", "models\n", "\x01"])
def test_files_of_another_kind_are_refused(tmp_path, text):
    """An empty file, a list, a bare word and a binary file are each a PolicyError."""
    with pytest.raises(PolicyError):
        load_text(tmp_path, text)


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
