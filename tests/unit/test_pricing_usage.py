"""Reading the API's usage: every count lands in one dimension, and nothing is ignored."""

from __future__ import annotations

import anthropic.types
import pytest

from governor.pricing import Usage, merge_usage, read_usage


def test_sdk_usage_is_read():
    """The SDK's own usage object, dumped, gives every billable dimension."""
    raw = anthropic.types.Usage.model_validate(
        {
            "input_tokens": 10,
            "output_tokens": 20,
            "cache_creation_input_tokens": 7,
            "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
            "cache_read_input_tokens": 5,
            "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 9},
            "output_tokens_details": {"thinking_tokens": 11},
            "service_tier": "batch",
            "speed": "fast",
            "inference_geo": "us",
        }
    ).model_dump()
    usage = read_usage(raw)
    assert usage == Usage(10, 20, 3, 4, 5, web_searches=2, fast=True, batch=True, geo="us")
    assert (usage.prompt_tokens, usage.total_tokens) == (22, 42)


def test_absent_and_none_count_as_nothing():
    """Missing keys and `None` are zero, also for whole groups."""
    assert read_usage({}) == Usage()
    assert (
        read_usage(dict.fromkeys(("input_tokens", "cache_creation", "server_tool_use", "speed"))) == Usage()
    )


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        (None, (9, 0)),
        ({"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}, (9, 0)),
        ({"ephemeral_5m_input_tokens": 4}, (9, 0)),
        ({"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 1}, (4, 5)),
        ({"ephemeral_5m_input_tokens": 8, "ephemeral_1h_input_tokens": 8}, (8, 8)),
    ],
)
def test_cache_writes_are_never_lost(split, expected):
    """Writes beyond the split are charged, as one-hour writes if there were any; a larger split stands."""
    usage = read_usage({"cache_creation_input_tokens": 9, "cache_creation": split})
    assert expected == (usage.cache_write_5m_tokens, usage.cache_write_1h_tokens)


@pytest.mark.parametrize("value", [-1, 1.0, "3", True])
@pytest.mark.parametrize("field", ["input_tokens", "cache_creation.ephemeral_1h_input_tokens"])
def test_bad_counts_name_their_field(field, value):
    """A negative count, a float, a text and a truth value are refused by name."""
    group, _, key = field.rpartition(".")
    raw = {group: {key: value}} if group else {key: value}
    with pytest.raises(ValueError, match=rf"usage\.{field} must be a whole number"):
        read_usage(raw)


def test_group_that_is_no_object_is_refused():
    """A number where a group of counts belongs is refused by name."""
    with pytest.raises(ValueError, match=r"usage\.cache_creation must be an object"):
        read_usage({"cache_creation": 5})


@pytest.mark.parametrize(
    ("raw", "unknown"),
    [
        ({"video_tokens": 5}, "video_tokens"),
        ({"server_tool_use": {"code_execution_requests": 1}}, "server_tool_use.code_execution_requests"),
        ({"cache_creation": {"ephemeral_24h_input_tokens": 1}}, "cache_creation.ephemeral_24h_input_tokens"),
        ({"fallback_credit": {"amount": 1.5}}, "fallback_credit.amount"),
        ({"iterations": [{"type": "message"}, {"type": "compaction"}]}, "iterations"),
        ({"service_tier": "priority"}, "service_tier=priority"),
        ({"speed": "ludicrous"}, "speed=ludicrous"),
    ],
)
def test_what_has_no_price_is_told(raw, unknown):
    """Anything reported that this version cannot price is named in `unknown`."""
    assert read_usage({"input_tokens": 1, **raw}).unknown == (unknown,)


def test_ordinary_usage_has_nothing_unknown():
    """A single iteration, standard tier and standard speed are not worth telling."""
    raw = {
        "iterations": [{"type": "message", "input_tokens": 1}],
        "service_tier": "standard",
        "speed": "standard",
    }
    assert read_usage(raw).unknown == ()


def test_delta_replaces_and_never_adds():
    """A delta's cumulative counts overwrite; its `None`s and absent keys leave what the start said."""
    start = {
        "input_tokens": 10,
        "output_tokens": 1,
        "speed": "fast",
        "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 1},
    }
    delta = {
        "input_tokens": None,
        "output_tokens": 30,
        "cache_read_input_tokens": 4,
        "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": None},
    }
    merged = merge_usage(start, delta)
    assert merged == {
        "input_tokens": 10,
        "output_tokens": 30,
        "speed": "fast",
        "cache_read_input_tokens": 4,
        "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 1},
    }
    assert start["output_tokens"] == 1
    assert merge_usage(merged, delta) == merged
    assert merge_usage(None, None) == {}
