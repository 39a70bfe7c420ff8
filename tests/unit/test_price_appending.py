"""Appending to a price file is pure insertion, and is written whole or not at all."""

from __future__ import annotations

import pytest
from support.price_files import SOURCE, TABLE, TODAY, load

from governor.errors import PolicyError
from governor.pricing import PriceTable
from governor.pricing.append import EMPTY, Additions, NotAppended, appended, write_whole

ENTRY = {"from": TODAY, "source": SOURCE, "checked": TODAY, "input": "3", "output": "15"}
ENTRY |= {"cache_write_5m": "3.75", "cache_write_1h": "6", "cache_read": "0.30"}
FEE = {"from": TODAY, "source": SOURCE, "checked": TODAY, "web_search_per_thousand": "8"}
FLOW = """\
models: [{id: claude-opus-5, prices: [{from: 2026-11-20, source: x, checked: 2026-11-20, input: "3",
  output: "15", cache_write_5m: "3.75", cache_write_1h: "6", cache_read: "0.30"}]}]
"""
MINE = """\
models:
- id: claude-opus-5
  prices:
  - from: 2026-11-01
    source: >
      a long
      contract
    checked: 2026-11-01
    input: "1"   # agreed
    output: "5"
    cache_write_5m: "1.25"
    cache_write_1h: "2"
    cache_read: "0.10"
    # the last word

aliases: {mine: claude-opus-5}
extends: anthropic
version: 1
# the end
"""


@pytest.mark.parametrize(
    "text",
    [
        EMPTY,
        EMPTY.rstrip("\n"),
        EMPTY + "# a remark\n",
        EMPTY + "models: []\n",
        EMPTY + "models: []   # none yet",
        EMPTY + FLOW,
        "{version: 1, extends: anthropic}\n",
        "{version: 1, extends: anthropic, models: []}\n",
        MINE,
        MINE.replace("\n", "\r\n"),
        "---\n" + MINE + "...\n",
        "# ä remark\n" + EMPTY + "aliases:\n    mine: claude-opus-5\n",
    ],
)
def test_every_byte_that_stands_stays(tmp_path, text):
    """Appending is pure insertion, whatever the file's layout, and the file loads with the new entries."""
    path = tmp_path / "own.yaml"
    path.write_bytes(text.encode())
    before = PriceTable.load(path)
    new = appended(text, Additions({"claude-opus-5": [ENTRY], "claude-haiku-4-5": [ENTRY]}, [FEE]))
    rest = iter(new)
    assert all(letter in rest for letter in text), "the old text is no subsequence of the new"
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        line for line in new.splitlines() if line.startswith("#")
    ]
    write_whole(path, text, new)
    assert path.read_bytes() == new.encode()
    after = PriceTable.load(path)
    for name in ("claude-opus-5", "claude-haiku-4-5"):
        assert after.prices(name)[:-1] == before.prices(name)
        assert (after.prices(name)[-1].since, after.prices(name)[-1].rates.input) == (TODAY, 3000)
    assert after.fees[:-1] == before.fees
    assert after.prices("claude-opus-5-5") == before.prices("claude-opus-5-5")


def test_a_whole_table_keeps_its_layout():
    """The new entry stands behind its model's last one, indented alike; every old line is still there."""
    new = appended(TABLE, Additions({"claude-test-1": [ENTRY | {"fast": {"input": "6", "output": "30"}}]}))
    added = """\
      - from: 2026-11-21
        source: "genai-prices 9.9.9"
        checked: 2026-11-21
        input: "3"
        output: "15"
        cache_write_5m: "3.75"
        cache_write_1h: "6"
        cache_read: "0.30"
        fast: {input: "6", output: "30"}
"""
    assert new == TABLE.replace("us_percent: 110\n", "us_percent: 110\n" + added)


def test_an_entry_of_several_lines_in_braces():
    """Behind an entry in braces over two lines the new one is a block of its own."""
    new = appended(TABLE, Additions({"claude-test-2": [ENTRY]}))
    assert new.endswith('cache_read: "0.30"\n# the end\n')
    assert new.startswith(TABLE.removesuffix("# the end\n"))


def test_a_file_that_shares_parts_is_left_alone(tmp_path):
    """Where an anchor would carry the new entry into another model too, nothing is appended."""
    text = MINE.replace("  prices:\n", "  prices: &shared\n").replace(
        "aliases:", "- {id: claude-opus-4-5, prices: *shared}\naliases:"
    )
    load(tmp_path, text)
    with pytest.raises(NotAppended, match="anchors"):
        appended(text, Additions({"claude-opus-4-5": [ENTRY]}))


def test_what_would_not_load_is_never_written(tmp_path):
    """A text that is no price file leaves the old file and no other behind."""
    path = tmp_path / "own.yaml"
    path.write_text(EMPTY)
    with pytest.raises(PolicyError):
        write_whole(path, EMPTY, EMPTY + "modles: []\n")
    assert path.read_text() == EMPTY
    assert [file.name for file in tmp_path.iterdir()] == ["own.yaml"]


def test_permissions_and_links_are_kept(tmp_path):
    """Writing through a symbolic link replaces the file behind it, with its permissions."""
    real, link = tmp_path / "real.yaml", tmp_path / "link.yaml"
    real.write_text(EMPTY)
    real.chmod(0o640)
    link.symlink_to(real)
    write_whole(link, EMPTY, EMPTY + "discounts: []\n")
    assert link.is_symlink()
    assert real.read_text().endswith("discounts: []\n")
    assert real.stat().st_mode & 0o777 == 0o640
