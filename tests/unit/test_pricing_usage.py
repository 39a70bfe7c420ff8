"""Reading the API's usage: every count lands in one dimension, and nothing is ignored."""

from __future__ import annotations

import re

import anthropic.types.beta
import pytest

from governor.pricing import Pass, Usage, merge_usage, read_usage

SAID = {"input_tokens": 1, "output_tokens": 2}
"""The least that the API says."""


def iteration(kind, tokens_in=1, tokens_out=2, model=None, **more):
    """An entry of `usage.iterations` as the API sends it."""
    cached = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    named = {} if model is None else {"model": model}
    return {"type": kind, "input_tokens": tokens_in, "output_tokens": tokens_out, **cached, **named, **more}


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
    assert read_usage(SAID) == Usage(1, 2, fast=None)
    absent = ("cache_creation", "cache_read_input_tokens", "iterations", "server_tool_use", "speed")
    assert read_usage({**SAID, **dict.fromkeys(absent)}) == Usage(1, 2, fast=None)


@pytest.mark.parametrize("where", ["usage", "usage.iterations[0]"])
@pytest.mark.parametrize("lacking", ["input_tokens", "output_tokens"])
@pytest.mark.parametrize("how", ["absent", "none"])
def test_the_counts_the_api_always_sends_may_not_be_missing(where, lacking, how):
    """Input and output tokens, of the whole and of each iteration, are refused by name where they lack."""
    partial = {**SAID, lacking: None} if how == "none" else {k: v for k, v in SAID.items() if k != lacking}
    raw = partial if where == "usage" else {**SAID, "iterations": [{"type": "message", **partial}]}
    with pytest.raises(ValueError, match=rf"^{re.escape(where)}\.{lacking} is missing$"):
        read_usage(raw)


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        (None, (9, 0)),
        ({"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}, (9, 0)),
        ({"ephemeral_5m_input_tokens": 4}, (9, 0)),
        ({"ephemeral_1h_input_tokens": 4}, (0, 9)),
        ({"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 1}, (4, 5)),
        ({"ephemeral_5m_input_tokens": 8, "ephemeral_1h_input_tokens": 8}, (8, 8)),
    ],
)
def test_cache_writes_are_never_lost(split, expected):
    """Writes beyond the split are charged, as one-hour writes if there were any; a larger split stands."""
    raw = {**SAID, "cache_creation_input_tokens": 9, "cache_creation": split}
    usage = read_usage(raw)
    assert expected == (usage.cache_write_5m_tokens, usage.cache_write_1h_tokens)
    (one,) = read_usage({**SAID, "iterations": [{"type": "compaction", **raw}]}).passes
    assert expected == (one.cache_write_5m_tokens, one.cache_write_1h_tokens)


@pytest.mark.parametrize(
    ("written", "passes", "writes"),
    [
        (1_000, [(400, "1h"), (600, "1h")], 1_000),
        (1_000, [(400, "1h")], 1_000),
        (1_000, [(400, "5m"), (600, "1h")], 1_000),
        (1_000, [(1_000, "1h"), (200, "5m")], 1_200),
    ],
    ids=["all listed", "a rest", "both lifetimes", "more than the totals"],
)
def test_writes_that_the_totals_cannot_split_are_billed_once(written, passes, writes):
    """Where the totals know no lifetimes, those of the passes count, and only a rest is added."""
    listed = [
        iteration(
            "message",
            cache_creation_input_tokens=tokens,
            cache_creation={f"ephemeral_{ttl}_input_tokens": tokens},
        )
        for tokens, ttl in passes
    ]
    sums = {"input_tokens": len(passes), "output_tokens": 2 * len(passes)}
    split = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}
    raw = {**sums, "cache_creation_input_tokens": written, "cache_creation": split, "iterations": listed}
    usage = read_usage(raw)
    for_5m = sum(tokens for tokens, ttl in passes if ttl == "5m")
    assert sum(part.cache_write_5m_tokens for part in usage.billed) == for_5m
    assert sum(part.cache_write_1h_tokens for part in usage.billed) == writes - for_5m
    assert usage.total_tokens == 3 * len(passes) + writes


def test_a_rest_of_writes_takes_the_longest_lifetime_of_the_totals():
    """Where the totals have one-hour writes, those that no pass lists are such."""
    listed = iteration("message", cache_creation_input_tokens=400)
    split = {"ephemeral_5m_input_tokens": 500, "ephemeral_1h_input_tokens": 500}
    raw = {**SAID, "cache_creation_input_tokens": 1_000, "cache_creation": split, "iterations": [listed]}
    assert read_usage(raw).billed[1:] == (Pass(cache_write_1h_tokens=600),)


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        (None, (0, 9)),
        ({"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}, (0, 9)),
        ({"ephemeral_5m_input_tokens": 4}, (4, 5)),
        ({"ephemeral_5m_input_tokens": 9}, (9, 0)),
    ],
)
def test_writes_without_a_lifetime_have_the_one_asked_for(split, expected):
    """Where the request asked for one-hour writes, what the split leaves out is one; the split stands."""
    raw = {**SAID, "cache_creation_input_tokens": 9, "cache_creation": split}
    usage = read_usage(raw, hour_writes=True)
    assert expected == (usage.cache_write_5m_tokens, usage.cache_write_1h_tokens)
    (one,) = read_usage({**SAID, "iterations": [{"type": "compaction", **raw}]}, hour_writes=True).passes
    assert expected == (one.cache_write_5m_tokens, one.cache_write_1h_tokens)


@pytest.mark.parametrize("value", [-1, 1.0, float("nan"), "3", True, False, [4], 100_000_001, 10**30])
@pytest.mark.parametrize(
    "field",
    [
        "input_tokens",
        "output_tokens",
        "cache_creation_input_tokens",
        "cache_read_input_tokens",
        "cache_creation.ephemeral_5m_input_tokens",
        "cache_creation.ephemeral_1h_input_tokens",
        "server_tool_use.web_search_requests",
    ],
)
def test_bad_counts_name_their_field(field, value):
    """What is negative, no whole number, a text, a list or more than any request has is refused by name."""
    group, _, key = field.rpartition(".")
    raw = {**SAID, group: {key: value}} if group else {**SAID, key: value}
    with pytest.raises(ValueError, match=rf"^usage\.{field} must be a whole number from 0 to 1"):
        read_usage(raw)


def test_the_largest_count_is_read():
    """A hundred million tokens of anything are still believed."""
    assert read_usage({"input_tokens": 100_000_000, "output_tokens": 0}).input_tokens == 100_000_000


@pytest.mark.parametrize("value", [-1, 1.0, "3", True, 100_000_001])
def test_bad_counts_of_an_iteration_name_it(value):
    """So are those of an iteration, by its place in the list."""
    good, bad = iteration("message"), {"type": "compaction", **SAID, "cache_read_input_tokens": value}
    with pytest.raises(ValueError, match=r"^usage\.iterations\[1\]\.cache_read_input_tokens must be a whole"):
        read_usage({**SAID, "iterations": [good, bad]})


def test_group_that_is_no_object_is_refused():
    """A number where a group of counts belongs is refused by name."""
    with pytest.raises(ValueError, match=r"usage\.cache_creation must be an object"):
        read_usage({**SAID, "cache_creation": 5})


@pytest.mark.parametrize("listed", ["message", {"type": "message"}, [5], [None], 7])
def test_iterations_that_are_no_list_of_objects_are_refused(listed):
    """What cannot be told apart into passes is refused, not priced by the totals alone."""
    with pytest.raises(ValueError, match=r"usage\.iterations must be a list of objects, got "):
        read_usage({**SAID, "iterations": listed})


@pytest.mark.parametrize(
    ("raw", "unknown"),
    [
        ({"video_tokens": 5}, "video_tokens"),
        ({"video_seconds": 0.5}, "video_seconds"),
        ({"server_tool_use": {"maps_requests": 1}}, "server_tool_use.maps_requests"),
        ({"cache_creation": {"ephemeral_24h_input_tokens": 1}}, "cache_creation.ephemeral_24h_input_tokens"),
        ({"video": {"input": {"frames": 3}}}, "video.input.frames"),
        ({"fallback_credit": {"amount": 1.5}}, "fallback_credit.amount"),
        ({"fallback_credit": {"status": {"type": "redeemed"}}}, "fallback_credit=redeemed"),
        ({"iterations": [iteration("message", audio_tokens=1)]}, "iterations.audio_tokens"),
        ({"iterations": [iteration("dream")]}, "iterations.type=dream"),
        ({"iterations": [SAID]}, "iterations.type=None"),
        ({"service_tier": "priority"}, "service_tier=priority"),
        ({"speed": "ludicrous"}, "speed=ludicrous"),
    ],
)
def test_what_has_no_price_is_told(raw, unknown):
    """Anything reported that this version cannot price, as the SDK may add it tomorrow, is in `unknown`."""
    assert read_usage({**SAID, **raw}).unknown == (unknown,)


def test_numbers_in_a_list_are_told_too():
    """A breakdown that comes as a list of objects is as unknown as one that comes as an object."""
    for listed in ([{"modality": "audio", "tokens": 3}], [0, 3], [[0.5]], [{"tokens": 0}, {"tokens": 3}]):
        told = read_usage({**SAID, "by_modality": listed}).unknown
        assert [name.startswith("by_modality") for name in told] == [True]


@pytest.mark.parametrize(
    "raw",
    [
        {"output_tokens_details": {"thinking_tokens": 3, "dreaming_tokens": 4, "parts": [{"tokens": 5}]}},
        {"iterations": [iteration("message", output_tokens_details={"dreaming_tokens": 4})]},
        {"video_tokens": 0},
        {"video_seconds": 0.0},
        {"by_modality": [{"modality": "audio", "tokens": 0}, 0]},
        {"iterations": [iteration("message", audio_tokens=0)]},
    ],
    ids=lambda raw: next(iter(raw)),
)
def test_what_costs_nothing_is_not_told(raw):
    """A breakdown of the output, which is billed whole, and none of something unknown are no surprise."""
    assert read_usage({**SAID, **raw}).unknown == ()


def test_a_field_the_sdk_adds_is_told_through_its_own_object():
    """A usage that the installed SDK does not know is kept by it as extra, and told here."""
    raw = {**SAID, "holograms": 3, "iterations": [iteration("message", holograms=4)]}
    dumped = anthropic.types.beta.BetaUsage.model_validate(raw).model_dump()
    assert read_usage(dumped).unknown == ("holograms", "iterations.holograms")


def test_ordinary_usage_has_nothing_unknown():
    """One iteration, the standard tier and speed, and a credit that was not applied are not worth telling."""
    raw = {
        **SAID,
        "iterations": [iteration("message")],
        "service_tier": "standard",
        "speed": "standard",
        "inference_geo": "not_available",
        "server_tool_use": {"web_search_requests": 0, "web_fetch_requests": 4, "code_execution_requests": 1},
        "output_tokens_details": {"thinking_tokens": 1},
        "fallback_credit": {"status": {"type": "not_applied", "reason": "expired"}},
    }
    assert read_usage(raw) == Usage(1, 2, geo="not_available")


def test_iterations_become_passes():
    """Each iteration is a pass with its kind, its model and its tokens; the totals stay the API's."""
    raw = {
        "input_tokens": 30,
        "output_tokens": 12,
        "iterations": [
            iteration("compaction", 900, 80),
            iteration("message", 30, 12, "claude-sonnet-5-5"),
            iteration("advisor_message", 60, 7, "claude-opus-5-5"),
        ],
    }
    usage = read_usage(anthropic.types.beta.BetaUsage.model_validate(raw).model_dump())
    assert usage.passes == (
        Pass(900, 80, kind="compaction"),
        Pass(30, 12, kind="message", model="claude-sonnet-5-5"),
        Pass(60, 7, kind="advisor_message", model="claude-opus-5-5"),
    )
    assert (usage.input_tokens, usage.output_tokens) == (30, 12)
    assert usage.total_tokens == 980 + 42 + 67
    assert usage.unknown == ()


def test_one_pass_of_the_model_that_served_is_no_pass_apart():
    """A lone `message` without a model says nothing that the totals do not."""
    assert read_usage({**SAID, "iterations": [iteration("message")]}).passes == ()


def test_totals_beyond_the_passes_are_billed_too():
    """Tokens that the totals show and no pass does are one more part; compaction is not in the totals."""
    said = iteration("message", 10, 4)
    usage = read_usage(
        {
            "input_tokens": 25,
            "output_tokens": 9,
            "cache_read_input_tokens": 3,
            "iterations": [said, said, iteration("compaction", 100, 50)],
        }
    )
    assert usage.billed == (*usage.passes, Pass(5, 1, 0, 0, 3))
    assert usage.total_tokens == 14 + 14 + 150 + 9


def test_a_declined_hop_is_listed_and_free():
    """Where a fallback served, the attempts of other models that gave no output are not billed."""
    raw = {
        "input_tokens": 50,
        "output_tokens": 7,
        "iterations": [
            iteration("message", 40, 0, "claude-opus-5-5"),
            iteration("message", 40, 1, "claude-opus-4-8"),
            iteration("message", 50, 0, "claude-sonnet-5-5"),
            iteration("fallback_message", 50, 7, "claude-sonnet-5-5"),
        ],
    }
    usage = read_usage(raw)
    assert [one.free for one in usage.passes] == [True, False, False, False]
    assert usage.billed == usage.passes[1:]


def test_a_refusal_without_a_fallback_frees_no_pass():
    """A pass without output is billed where no fallback served: it may be a cache that was warmed."""
    raw = {"input_tokens": 40, "output_tokens": 0}
    usage = read_usage({**raw, "iterations": [iteration("message", 40, 0, "claude-opus-5-5")]})
    assert usage.billed == (Pass(40, 0, model="claude-opus-5-5"),)


def test_a_declined_answer_bills_only_what_the_totals_leave_out():
    """Refused before any output, an answer's own passes are free, and counted; the advisor's are billed."""
    assert read_usage(SAID).declined().billed == ()
    assert read_usage(SAID).declined().total_tokens == 3
    advice = iteration("advisor_message", 9, 3, "claude-opus-5-5")
    usage = read_usage({**SAID, "iterations": [iteration("message"), advice]}).declined()
    assert usage.billed == (Pass(9, 3, kind="advisor_message", model="claude-opus-5-5"),)
    assert usage.total_tokens == 3 + 12


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


START = {
    "input_tokens": 100,
    "cache_creation_input_tokens": 30,
    "cache_read_input_tokens": 20,
    "output_tokens": 8,
    "service_tier": "standard",
}


@pytest.mark.parametrize(
    "delta",
    [
        {"input_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0},
        {"input_tokens": 0},
        {"input_tokens": 99},
        {"cache_read_input_tokens": 0, "input_tokens": 119},
        {"output_tokens": 0},
        {"output_tokens": 7},
        {"output_tokens": 0, "input_tokens": 0},
    ],
)
def test_a_count_cannot_fall(delta):
    """A delta with a smaller prompt or a smaller output leaves what was said before."""
    assert merge_usage(START, delta) == START
    grown = merge_usage(START, {**delta, "output_tokens": 9})
    assert grown == {**START, "output_tokens": 9}


@pytest.mark.parametrize(
    "delta",
    [
        {"input_tokens": 40, "cache_creation_input_tokens": 30, "cache_read_input_tokens": 80},
        {"input_tokens": 0, "cache_creation_input_tokens": 150, "cache_read_input_tokens": 0},
        {"input_tokens": 101},
        {"input_tokens": 0, "cache_read_input_tokens": 120},
    ],
)
def test_a_prompt_told_anew_replaces(delta):
    """A delta whose prompt is as large or larger is the truth, however it parts it."""
    assert merge_usage(START, delta) == {**START, **delta}
