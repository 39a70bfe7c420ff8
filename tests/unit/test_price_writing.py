"""Writing a price file in one step: nobody's change is lost, and nobody else's file is taken over."""

from __future__ import annotations

import datetime as dt
import os
import stat
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from genai_prices.types import ClauseEquals, ModelInfo, ModelPrice

from governor.pricing import PriceTable
from governor.pricing.append import EMPTY, NotAppended, appended, write_whole
from governor.pricing.update import Update

if TYPE_CHECKING:
    from pathlib import Path

MORE = EMPTY + "discounts: []\n"
OTHER = EMPTY + "aliases: {}\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A company's own file that changes nothing."""
    made = tmp_path / "prices.yaml"
    made.write_text(EMPTY, encoding="utf-8")
    return made


def files(folder: Path) -> dict[str, str]:
    """Everything in a folder."""
    return {one.name: one.read_text(encoding="utf-8") for one in folder.iterdir()}


def test_a_file_as_it_was_read_is_replaced(path):
    """Where nobody changed it, the new text takes its place and nothing is left beside it."""
    write_whole(path, EMPTY, MORE)
    assert files(path.parent) == {"prices.yaml": MORE}


def test_a_file_that_is_new_is_made(tmp_path):
    """A file that was not there when it was read is made."""
    write_whole(tmp_path / "prices.yaml", None, MORE)
    assert files(tmp_path) == {"prices.yaml": MORE}


@pytest.mark.parametrize("before", [EMPTY, None, EMPTY.replace("\n", "\r\n"), OTHER + " "])
def test_a_file_changed_since_it_was_read_stays(path, before):
    """What somebody else wrote meanwhile is not overwritten, were it a line end or the file itself."""
    path.write_text(OTHER, encoding="utf-8")
    with pytest.raises(NotAppended, match="changed since it was read: run it again"):
        write_whole(path, before, MORE)
    assert files(path.parent) == {"prices.yaml": OTHER}


def test_a_file_that_was_deleted_is_not_made_again(path):
    """A file that is gone since it was read stays so."""
    path.unlink()
    with pytest.raises(NotAppended, match="changed since it was read"):
        write_whole(path, EMPTY, MORE)
    assert files(path.parent) == {}


@pytest.mark.parametrize("linked", [False, True])
def test_a_second_writer_is_kept_out(path, linked):
    """While the file beside it is there, whoever comes second changes nothing and is told which it is."""
    beside = path.with_name(".prices.yaml.new")
    beside.write_text(OTHER, encoding="utf-8")
    asked = path
    if linked:
        asked = path.with_name("link.yaml")
        asked.symlink_to(path)
    with pytest.raises(NotAppended, match=r"somebody else is changing it .*\.prices\.yaml\.new"):
        write_whole(asked, EMPTY, MORE)
    assert beside.read_text(encoding="utf-8") == OTHER
    assert path.read_text(encoding="utf-8") == EMPTY
    beside.unlink()
    write_whole(asked, EMPTY, MORE)
    assert path.read_text(encoding="utf-8") == MORE


def test_a_file_that_may_only_be_read_is_refused(path):
    """A file without permission to write is not replaced by way of its folder, which has it."""
    path.chmod(stat.S_IRUSR)
    if os.access(path, os.W_OK):
        pytest.skip("this user may write files that are read-only, as root may")
    with pytest.raises(PermissionError, match="read-only"):
        write_whole(path, EMPTY, MORE)
    assert files(path.parent) == {"prices.yaml": EMPTY}


def test_a_folder_in_its_place_is_refused(tmp_path):
    """What is no file at all is not replaced, and nothing is left beside it."""
    place = tmp_path / "prices.yaml"
    place.mkdir()
    with pytest.raises(OSError, match="directory"):
        write_whole(place, None, MORE)
    assert [one.name for one in tmp_path.iterdir()] == ["prices.yaml"]
    assert place.is_dir()


def test_an_update_may_take_a_step_away(path):
    """Where genai-prices lists no step any more, the entry for a company's own file says so and loads."""
    flat = ModelPrice(
        input_mtok=Decimal("0.10"),
        output_mtok=Decimal("0.50"),
        cache_write_mtok=Decimal("0.125"),
        cache_write_1h_mtok=Decimal("0.20"),
        cache_read_mtok=Decimal("0.01"),
    )
    haiku = "claude-haiku-5-5"
    theirs = ModelInfo(id=haiku, match=ClauseEquals(equals=haiku), prices=flat)
    day = dt.date(2026, 11, 21)
    plan = Update(PriceTable.load(path), [theirs], day, "genai-prices 9.9.9", day, own=True).plan()
    assert list(plan.additions.prices) == [haiku]
    write_whole(path, EMPTY, appended(EMPTY, plan.additions))
    assert PriceTable.load(path).prices(haiku)[-1].above is None
