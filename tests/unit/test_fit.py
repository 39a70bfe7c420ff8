"""A request written for one model, changed for another: what changes, what is told, what makes it unfit."""

from __future__ import annotations

import copy

import pytest

from governor.accepts import ANYTHING, EFFORTS
from governor.pricing import PriceTable
from governor.routing import Fitted, Unfit, fit

TABLE = PriceTable.load()
HAIKU, SONNET, OPUS = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"
OLD, OLD_OPUS = "claude-haiku-4-5", "claude-opus-4-5"
HELLO = [{"role": "user", "content": "Hello, Claude"}]
TOOL = {"name": "get_weather", "input_schema": {"type": "object"}}
PREFILLED = [*HELLO, {"role": "assistant", "content": "{"}]
BUDGET = {"type": "enabled", "budget_tokens": 4000}
MISSING = object()


def fitted(model, *, fast=False, prompt_tokens=100, accepts=None, **parts):
    """What becomes of a request with these parts, for a model of the price file."""
    known = TABLE.model(model)
    return fit(
        {"model": "claude-asked", "max_tokens": 8000, "messages": HELLO, **parts},
        known.accepts if accepts is None else accepts,
        model=model,
        context=known.context_tokens,
        max_output=known.max_output_tokens,
        prompt_tokens=prompt_tokens,
        fast=fast,
    )


@pytest.mark.parametrize(
    ("model", "key", "value", "expected", "told"),
    [
        (HAIKU, "thinking", BUDGET, {"type": "adaptive"}, "thinking enabled → adaptive"),
        (
            OPUS,
            "thinking",
            {**BUDGET, "display": "omitted"},
            {"type": "adaptive", "display": "omitted"},
            "thinking enabled → adaptive",
        ),
        ("claude-opus-4-6", "thinking", BUDGET, BUDGET, None),
        (OLD, "thinking", BUDGET, BUDGET, None),
        (OLD, "thinking", {"type": "adaptive"}, MISSING, "thinking adaptive left out"),
        (SONNET, "thinking", {"type": "adaptive"}, {"type": "adaptive"}, None),
        (OPUS, "thinking", {"type": "disabled"}, MISSING, "thinking disabled left out"),
        ("claude-fable-5-2", "thinking", {"type": "disabled"}, MISSING, "thinking disabled left out"),
        (HAIKU, "thinking", {"type": "disabled"}, {"type": "disabled"}, None),
        (
            SONNET,
            "thinking",
            {"type": "disabled"},
            {"type": "between_tools"},
            "thinking disabled → between_tools",
        ),
        (
            HAIKU,
            "thinking",
            {"type": "between_tools"},
            {"type": "disabled"},
            "thinking between_tools → disabled",
        ),
        (OPUS, "thinking", {"type": "between_tools"}, MISSING, "thinking between_tools left out"),
        (SONNET, "thinking", {"type": "between_tools"}, {"type": "between_tools"}, None),
        (HAIKU, "thinking", {"type": "tomorrow"}, MISSING, "thinking tomorrow left out"),
        (HAIKU, "output_config", {"effort": "max"}, {"effort": "max"}, None),
        (OLD_OPUS, "output_config", {"effort": "max"}, {"effort": "high"}, "effort max → high"),
        (
            "claude-sonnet-4-6",
            "output_config",
            {"effort": "xhigh"},
            {"effort": "high"},
            "effort xhigh → high",
        ),
        (OLD, "output_config", {"effort": "low"}, MISSING, "effort low left out"),
        (OLD, "output_config", {"effort": "low", "format": {}}, {"format": {}}, "effort low left out"),
        (OLD, "output_config", {"format": {}}, {"format": {}}, None),
        (HAIKU, "output_config", {"effort": "utmost"}, MISSING, "effort utmost left out"),
        (HAIKU, "speed", "fast", MISSING, "speed fast left out"),
        (HAIKU, "speed", "standard", MISSING, "speed standard left out"),
        (OLD, "inference_geo", "global", MISSING, "inference_geo global left out"),
        (HAIKU, "inference_geo", "us", "us", None),
        (HAIKU, "max_tokens", 128_000, 128_000, None),
        (OLD, "max_tokens", 128_000, 64_000, "max_tokens 128000 → 64000"),
        (HAIKU, "tool_choice", {"type": "any"}, {"type": "any"}, None),
        (SONNET, "tool_choice", {"type": "auto"}, {"type": "auto"}, None),
    ],
)
def test_what_a_model_does_not_take_is_changed_and_told(model, key, value, expected, told):
    """Of each parameter the model gets what it takes, and the decision hears what was changed."""
    got = fitted(model, **{key: value})
    assert got.body.get(key, MISSING) == expected
    assert got.changes == ((told,) if told else ())
    assert got.body["model"] == model


@pytest.mark.parametrize(
    ("model", "parts", "why"),
    [
        (SONNET, {"tool_choice": {"type": "any"}}, "tool_choice that forces a tool"),
        (OPUS, {"tool_choice": {"type": "tool", "name": "get_weather"}}, "tool_choice that forces a tool"),
        (HAIKU, {"messages": PREFILLED}, "last message from the assistant"),
        (OLD, {"inference_geo": "us"}, "must stay in 'us'"),
        (OLD, {"inference_geo": "eu"}, "must stay in 'eu'"),
        (OLD, {"prompt_tokens": 200_000}, "200000 tokens does not fit its context window of 200000"),
    ],
)
def test_what_the_caller_relies_on_is_never_dropped(model, parts, why):
    """A forced tool, a prefill, a region and the prompt itself make a model unfit that does not take them."""
    got = fitted(model, **parts)
    assert isinstance(got, Unfit)
    assert why in got.why


def test_thinking_that_is_off_stays_off_at_a_lower_effort():
    """Where thinking may be off up to an effort only, the effort gives way, not the caller's choice."""
    off = {"thinking": {"type": "disabled"}, "output_config": {"effort": "max", "format": {}}}
    got = fitted(HAIKU, **off)
    assert got.body["thinking"] == {"type": "disabled"}
    assert got.body["output_config"] == {"effort": "high", "format": {}}
    assert got.changes == ("effort max → high",)
    assert fitted(SONNET, **off).changes == ("thinking disabled → between_tools", "effort max → high")
    assert fitted("claude-sonnet-5", **off).changes == ()


def test_a_forced_tool_goes_before_thinking():
    """A model that takes a forced tool only without thinking gets the tool, and no thinking."""
    choice = {"tools": [TOOL], "tool_choice": {"type": "any"}}
    got = fitted("claude-sonnet-4-6", thinking={"type": "adaptive"}, **choice)
    assert "thinking" not in got.body
    assert got.changes == ("thinking left out: tool_choice forces a tool",)
    assert fitted("claude-sonnet-4-6", thinking={"type": "disabled"}, **choice).changes == ()
    assert fitted(HAIKU, thinking={"type": "adaptive"}, **choice).changes == ()


def test_max_tokens_fit_into_what_the_prompt_leaves():
    """max_tokens are lowered to the room in the context window, and 0 stays 0 in a full one."""
    got = fitted(OLD, prompt_tokens=199_000)
    assert (got.body["max_tokens"], got.changes) == (1000, ("max_tokens 8000 → 1000",))
    assert fitted(OLD, prompt_tokens=199_999).body["max_tokens"] == 1
    assert fitted(OLD, prompt_tokens=200_000, max_tokens=0).changes == ()


@pytest.mark.parametrize(
    ("left", "thinking", "told"),
    [
        (4001, BUDGET, ()),
        (3000, {**BUDGET, "budget_tokens": 2999}, ("budget_tokens 4000 → 2999",)),
        (1025, {**BUDGET, "budget_tokens": 1024}, ("budget_tokens 4000 → 1024",)),
        (1024, MISSING, ("thinking left out: max_tokens leaves no room for its budget",)),
    ],
)
def test_the_budget_of_thinking_stays_below_max_tokens(left, thinking, told):
    """budget_tokens follow max_tokens down to 1024, the least there is; then thinking is left out."""
    got = fitted(OLD, thinking=BUDGET, prompt_tokens=200_000 - left)
    assert got.body.get("thinking", MISSING) == thinking
    assert got.changes[1:] == told


def test_fast_mode_is_kept_where_it_is_offered():
    """A model with fast mode gets the speed that was asked for."""
    got = fitted(OPUS, fast=True, speed="fast")
    assert (got.body["speed"], got.changes) == ("fast", ())


def test_of_an_unknown_model_everything_is_taken_as_accepted():
    """A model of which the price file says nothing gets the request as it is."""
    parts = {
        "thinking": {"type": "between_tools"},
        "output_config": {"effort": "max"},
        "tool_choice": {"type": "any"},
        "inference_geo": "us",
        "messages": PREFILLED,
    }
    got = fitted(OLD, accepts=ANYTHING, **parts)
    assert isinstance(got, Fitted)
    assert got.changes == ()
    assert {key: got.body[key] for key in parts} == parts


def test_several_changes_are_told_in_one_go():
    """Each change has its phrase; what did not change is the caller's own, and the body is not touched."""
    parts = {
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "xhigh"},
        "speed": "fast",
        "inference_geo": "global",
        "max_tokens": 100_000,
        "metadata": {"user_id": "ada"},
        "messages": [
            *HELLO,
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}]},
            {"role": "user", "content": "Go on"},
        ],
    }
    before = copy.deepcopy(parts)
    got = fitted(OLD, **parts)
    assert got.changes == (
        "max_tokens 100000 → 64000",
        "thinking adaptive left out",
        "effort xhigh left out",
        "speed fast left out",
        "inference_geo global left out",
    )
    assert parts == before
    assert got.body["messages"] is parts["messages"]
    assert got.body["metadata"] is parts["metadata"]


@pytest.mark.parametrize(
    "parts",
    [
        {"thinking": None, "output_config": None, "tool_choice": None, "speed": None, "inference_geo": None},
        {"thinking": "on", "output_config": "high", "tool_choice": "any"},
        {"thinking": {"type": 7}, "output_config": {"effort": None}, "max_tokens": "many"},
        {"messages": "Hello"},
        {"messages": []},
        {"messages": ["Hello"]},
    ],
)
def test_what_is_no_request_at_all_goes_as_it_is(parts):
    """Parts of a wrong kind are left for the API to refuse."""
    got = fitted(OLD, **parts)
    assert got.changes == ()
    assert {key: got.body[key] for key in parts} == parts


def test_fitting_a_long_conversation_copies_no_turn():
    """The turns of a conversation are shared whatever their number, and the order of efforts is the SDK's."""
    turns = [{"role": "user", "content": f"turn {number}"} for number in range(41)]
    assert fitted(OLD, messages=turns, output_config={"effort": "low"}).body["messages"] is turns
    assert EFFORTS == ("low", "medium", "high", "xhigh", "max")
