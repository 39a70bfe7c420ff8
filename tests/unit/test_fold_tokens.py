"""The quick reading of a usage's tokens says what the careful one says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from governor.journal.fold import _plain_tokens
from governor.pricing import read_usage

COUNTS = st.one_of(st.none(), st.booleans(), st.integers(-1, 100_000_001), st.just("7"), st.floats(0, 9))
NAMES = (
    *("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"),
    *("iterations", "service_tier"),
)
SPLIT = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
USAGES = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(NAMES[:4], COUNTS),
        "cache_creation": st.one_of(
            st.none(), st.fixed_dictionaries({}, optional=dict.fromkeys(SPLIT, COUNTS))
        ),
        "iterations": st.one_of(st.none(), st.just([])),
    },
)


@given(USAGES)
def test_the_quick_reading_agrees_with_the_careful_one(usage):
    """Where it says anything at all; and where the careful one refuses, it says nothing."""
    quick = _plain_tokens(usage)
    try:
        read = read_usage(usage)
    except ValueError:
        assert quick is None
        return
    written = read.cache_write_5m_tokens + read.cache_write_1h_tokens
    assert quick == (read.input_tokens, read.output_tokens, written, read.cache_read_tokens)


def test_several_passes_are_read_with_care():
    """Their totals are of all passes, which only the careful reading adds up."""
    assert _plain_tokens({"input_tokens": 1, "output_tokens": 1, "iterations": [{"type": "message"}]}) is None


@pytest.mark.parametrize("split", [[], "x", 7])
def test_a_split_that_is_no_object_is_left_to_the_careful_reading(split):
    """It is refused there, with the field's name."""
    usage = {"input_tokens": 1, "output_tokens": 1, "cache_creation": split}
    with pytest.raises(AttributeError):
        _plain_tokens(usage)
