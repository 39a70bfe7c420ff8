"""What a price file says that a model accepts, and when a model is retired."""

from __future__ import annotations

import datetime as dt

import pytest
from support import price_files

from governor.accepts import ANYTHING, Accepts
from governor.errors import PolicyError
from governor.pricing import PriceTable

ACCEPTS = """\
    accepts:
      source: "a test"
      checked: 2026-01-02
      thinking: [disabled, adaptive]
      thinking_off_up_to: high
      efforts: [max, low, high]
      forced_tool_choice: without_thinking
      prefill: false
      inference_geo: true
"""
RETIRES = "    retires_not_before: null\n"
GOOD = price_files.TABLE.replace(RETIRES, RETIRES + ACCEPTS, 1)


def at(day):
    return int(dt.datetime.fromisoformat(f"{day}T12:00+00:00").timestamp() * 1000)


def test_a_file_says_what_a_model_accepts(tmp_path):
    """What stands in the file is what the model accepts, efforts lowest first; without it nothing is said."""
    table = price_files.load(tmp_path, GOOD)
    assert table.model("claude-test-1").accepts == Accepts(
        thinking=frozenset({"adaptive", "disabled"}),
        thinking_off_up_to="high",
        efforts=("low", "high", "max"),
        forced_tool_choice="without_thinking",
        prefill=False,
        inference_geo=True,
    )
    assert table.model("claude-test-1").accepts_checked == dt.date(2026, 1, 2)
    assert table.model("claude-test-2").accepts is ANYTHING


def test_what_a_file_leaves_out_is_unknown(tmp_path):
    """Each key may be absent and is unknown then; an empty list of efforts is none, not unknown."""
    bare = GOOD[: GOOD.index("      thinking: [")] + GOOD[GOOD.index("    prices:") :]
    assert price_files.load(tmp_path, bare).model("claude-test-1").accepts == ANYTHING
    none = GOOD.replace("[max, low, high]", "[]")
    assert price_files.load(tmp_path, none).model("claude-test-1").accepts.efforts == ()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[disabled, adaptive]", "[on]", "expected adaptive or enabled"),
        ("[disabled, adaptive]", "adaptive", "expected a list of words"),
        ("[max, low, high]", "[low, low]", "a word stands here twice"),
        ("up_to: high", "up_to: highest", "expected low or medium"),
        ("[disabled, adaptive]", "[adaptive]", "thinking is never off"),
        ("without_thinking", "sometimes", "expected always or without_thinking or never"),
        ("prefill: false", "prefill: 0", "expected true or false"),
        ("prefill: false", "prefil: false", "unknown key 'prefil'"),
        ('      source: "a test"\n      checked: 2026-01-02\n      th', "      th", "'source' is missing"),
    ],
)
def test_a_mistake_is_told(tmp_path, old, new, said):
    """A word that is none, a key that is none and a source that is missing are refused with their place."""
    assert old in GOOD
    with pytest.raises(PolicyError, match=said) as caught:
        price_files.load(tmp_path, GOOD.replace(old, new, 1))
    assert caught.value.line > GOOD[: GOOD.index(ACCEPTS)].count("\n")


def test_ones_own_file_keeps_what_the_shipped_one_says(tmp_path):
    """Prices of one's own for a shipped model leave what it accepts as it is."""
    text = (
        "version: 1\nextends: anthropic\nmodels:\n  - id: claude-haiku-5-5\n    prices:\n"
        '      - {from: 2026-12-01, source: "contract", checked: 2026-11-01, input: "1", output: "5",\n'
        '         cache_write_5m: "1", cache_write_1h: "2", cache_read: "0.1", above: null}\n'
    )
    own, shipped = price_files.load(tmp_path, text), PriceTable.load()
    assert own.model("claude-haiku-5-5").accepts == shipped.model("claude-haiku-5-5").accepts
    accepts = '    accepts: {source: "x", checked: 2026-11-01}\n'
    with pytest.raises(PolicyError, match="unknown key 'accepts'"):
        price_files.load(tmp_path, text.replace("    prices:", f"{accepts}    prices:"))


@pytest.mark.parametrize(
    ("name", "day", "retired", "soon"),
    [
        ("claude-sonnet-4-5", "2026-09-30", False, None),
        ("claude-sonnet-4-5", "2026-10-01", False, dt.date(2026, 11, 30)),
        ("claude-sonnet-4-5-20250929", "2026-11-29", False, dt.date(2026, 11, 30)),
        ("claude-sonnet-4-5", "2026-11-30", True, None),
        ("claude-opus-4-1", "2026-01-01", True, None),
        ("claude-haiku-5-5", "2026-11-21", False, None),
    ],
)
def test_a_model_retires_on_its_day(name, day, retired, soon):
    """From its day on a model is retired, and 60 days before it retires soon; with no day it does neither."""
    table = PriceTable.load()
    assert table.retired(name, at(day)) is retired
    assert table.retires_soon(name, at(day)) == soon


def test_soon_is_as_many_days_as_one_says():
    """A retirement 10 days ahead is soon within 10 days and not within 9."""
    table = PriceTable.load()
    assert table.retires_soon("claude-sonnet-4-5", at("2026-11-20"), within_days=10) is not None
    assert table.retires_soon("claude-sonnet-4-5", at("2026-11-20"), within_days=9) is None
