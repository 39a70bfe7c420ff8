"""Row B9 of the requirements: a swap sends what the other model takes; conversations stay on one."""

from __future__ import annotations

import pytest
from support.governed import HAIKU, HELLO, LADDER, LINES, OPUS, SONNET
from support.pauses import pauses
from support.routed import (
    BANDS,
    BUDGET,
    CHOOSE,
    FABLE,
    LIMIT,
    MYTHOS,
    USD,
    journalled,
    prompt,
    row,
    team,
)
from support.stages import on_sqlite

from governor import BudgetExceeded
from governor.testing import Reply, overloaded

OLD_HAIKU, OLD_OPUS = "claude-haiku-4-5", "claude-opus-4-6"
TOOLS = [{"name": "look", "input_schema": {"type": "object"}}]
FORCED = {"tools": TOOLS, "tool_choice": {"type": "any"}}
PREFILLED = [*HELLO, {"role": "assistant", "content": "{"}]
ENABLED = {"thinking": {"type": "enabled", "budget_tokens": 2000}, "max_tokens": 3000}


def effort(level):
    """A request's effort."""
    return {"output_config": {"effort": level}}


def swapped(stage, spent, lines, request):
    """A call of opus with so much of the budget spent, in percent, that it goes down the ladder."""
    caller = stage.governor(team(BUDGET, thresholds=LADDER, routing={"lines": {**LINES, **lines}}))
    stage.spend(USD, spent * LIMIT // 100, LIMIT)
    return caller.call(**{"model": "opus", **request})


SWAPS = [
    row("B9-plain", 85, {}, {}, SONNET, {}, ()),
    row(
        "B9-thinking-kept",
        95,
        {},
        {"thinking": {"type": "adaptive"}},
        HAIKU,
        {"thinking": {"type": "adaptive"}},
        (),
    ),
    row(
        "B9-thinking-enabled",
        95,
        {"opus": OLD_OPUS},
        ENABLED,
        HAIKU,
        {"thinking": {"type": "adaptive"}},
        ("thinking enabled → adaptive",),
    ),
    row(
        "B9-thinking-left-out",
        95,
        {"haiku": OLD_HAIKU},
        {"thinking": {"type": "adaptive"}},
        OLD_HAIKU,
        {"thinking": None},
        ("thinking adaptive left out",),
    ),
    row(
        "B9-thinking-disabled",
        85,
        {"opus": OLD_OPUS},
        {"thinking": {"type": "disabled"}},
        SONNET,
        {"thinking": {"type": "between_tools"}},
        ("thinking disabled → between_tools",),
    ),
    row("B9-effort-kept", 95, {}, effort("max"), HAIKU, effort("max"), ()),
    row(
        "B9-effort-lower",
        85,
        {"sonnet": "claude-sonnet-4-6"},
        effort("xhigh"),
        "claude-sonnet-4-6",
        effort("high"),
        ("effort xhigh → high",),
    ),
    row(
        "B9-effort-left-out",
        95,
        {"haiku": OLD_HAIKU},
        effort("high"),
        OLD_HAIKU,
        {"output_config": None},
        ("effort high left out",),
    ),
    row(
        "B9-effort-with-thinking-off",
        95,
        {"opus": "claude-opus-4-8"},
        {"thinking": {"type": "disabled"}, **effort("max")},
        HAIKU,
        effort("high"),
        ("effort max → high",),
    ),
    row("B9-tool-choice-skips-sonnet", 85, {"opus": "claude-opus-4-8"}, FORCED, HAIKU, FORCED, ()),
    row(
        "B9-tool-choice-without-thinking",
        95,
        {"opus": "claude-opus-4-8", "haiku": OLD_HAIKU},
        {**FORCED, "thinking": {"type": "adaptive"}},
        OLD_HAIKU,
        {**FORCED, "thinking": None},
        ("thinking left out: tool_choice forces a tool",),
    ),
    row("B9-speed", 95, {}, {"speed": "fast"}, HAIKU, {"speed": None}, ("speed fast left out",)),
    row("B9-geo-kept", 85, {}, {"inference_geo": "us"}, SONNET, {"inference_geo": "us"}, ()),
    row(
        "B9-geo-global",
        95,
        {"haiku": OLD_HAIKU},
        {"inference_geo": "global"},
        OLD_HAIKU,
        {"inference_geo": None},
        ("inference_geo global left out",),
    ),
    row(
        "B9-max-tokens",
        95,
        {"haiku": OLD_HAIKU},
        {"max_tokens": 100_000},
        OLD_HAIKU,
        {"max_tokens": 64_000},
        ("max_tokens 100000 → 64000",),
    ),
]


@pytest.mark.parametrize(("spent", "lines", "request_", "model", "sent", "changes"), SWAPS)
@on_sqlite
def test_a_swap_sends_what_the_other_model_takes(stage, spent, lines, request_, model, sent, changes):
    """The API, which refuses what the real one refuses, answers; the receipt says what was changed."""
    message = swapped(stage, spent, lines, request_)
    decision = message.receipt.decision
    body = stage.sent()[-1]
    assert body["model"] == model
    assert {name: body.get(name) for name in sent} == sent
    assert (decision.changes, decision.downgraded) == (changes, True)
    if "max_tokens" not in sent:
        journalled(stage, message)


SKIPPED = [
    row(
        "B9-tool-choice",
        85,
        {"opus": "claude-opus-4-8"},
        FORCED,
        "it does not take a tool_choice that forces a tool",
    ),
    row(
        "B9-prefill",
        85,
        {"opus": "claude-opus-4-5"},
        {"messages": PREFILLED},
        "it does not take a last message from the assistant",
    ),
    row(
        "B9-geo",
        85,
        {"sonnet": "claude-sonnet-4-5"},
        {"inference_geo": "us"},
        "it does not take inference_geo, and the request must stay in 'us'",
    ),
    row(
        "B9-context",
        85,
        {"sonnet": "claude-sonnet-4-5"},
        {"messages": prompt(260_000)},
        "does not fit its context window of 200000",
    ),
]


@pytest.mark.parametrize(("spent", "lines", "request_", "why"), SKIPPED)
@on_sqlite
def test_a_model_that_cannot_take_a_request_is_skipped(stage, spent, lines, request_, why):
    """What the caller relies on is never dropped: the next line serves, or none; the decision says why."""
    try:
        decision = swapped(stage, spent, lines, request_).receipt.decision
    except BudgetExceeded as refused:
        decision = refused.decision
    skipped = {view.line: view.why for view in decision.candidates if view.verdict == "skipped"}
    assert why in skipped["sonnet"]
    assert "sonnet" not in {body["model"] for body in stage.sent()}
    assert stage.holds() == ()


def turns(number):
    """A conversation that has had *number* answers, as its next request sends it."""
    answered = [{"role": "assistant", "content": "Well."}, {"role": "user", "content": "And then?"}]
    return [*HELLO, *(answered * number)]


STICKY = [
    row("B9-by-run", {"run": "agent-1"}, {"run": "agent-2"}, 0),
    row("B9-by-opening", {}, {"system": "Be brief."}, 1),
]


@pytest.mark.parametrize(("mine", "other", "first"), STICKY)
@on_sqlite
def test_a_conversation_stays_where_it_went(stage, mine, other, first):
    """It moved for an overload, and does not move back; another one begins on the preferred model."""
    caller = stage.governor(team(routing={"tiers": {"standard": {"prefer": "opus", "retries": 3}}}))
    pauses(caller)
    stage.api.inject(overloaded())
    assert caller.call(messages=turns(first), **mine).model == SONNET
    for number in range(1, 4):
        message = caller.call(messages=turns(first + number), **mine)
        assert message.model == SONNET
        assert message.receipt.decision.reason == f"{SONNET}: its conversation is on {SONNET}"
    assert caller.call(messages=turns(2), **other).model == OPUS
    assert caller.call(messages=turns(2), user="v", **mine).model == OPUS
    assert caller.call(messages=turns(2), model="opus", **mine).model == OPUS
    stage.clock.forward(3601)
    assert caller.call(messages=turns(5), **mine).model == OPUS


@on_sqlite
def test_a_conversation_changes_model_twice_at_most(stage):
    """The second move goes to the cheapest line at once, and there it stays."""
    lines = {**LINES, "fable": FABLE, "mythos": MYTHOS}
    tiers = {"standard": {"prefer": "mythos", "retries": 3}}
    caller = stage.governor(team(routing={"lines": lines, "tiers": tiers}))
    pauses(caller)
    served = []
    for number in range(8):
        if number in (1, 3, 5):
            stage.api.inject(overloaded())
        served.append(caller.call(run="agent-1", messages=turns(number)).model)
    assert served == [MYTHOS, FABLE, FABLE, HAIKU, HAIKU, HAIKU, HAIKU, HAIKU]


@on_sqlite
def test_a_conversation_follows_the_budget_down(stage):
    """Where its model may fill the budget no more, or the budget chooses economy, it moves, once."""
    caller = stage.governor(team(BUDGET, routing={"choose": CHOOSE}))
    assert caller.call(run="agent-1").model == OPUS
    stage.spend(USD, 70 * LIMIT // 100, LIMIT)
    stage.clock.forward(61)
    assert caller.call(run="agent-1").model == OPUS
    assert caller.call(run="agent-2").model == SONNET
    stage.spend(USD, 25 * LIMIT // 100, LIMIT, name="yet-another")
    stage.clock.forward(61)
    assert caller.call(run="agent-1").model == HAIKU
    assert caller.call(run="agent-2").model == HAIKU


@on_sqlite
def test_a_conversation_rises_once_where_it_gets_much_harder(stage):
    """By a whole point above its line's band; what wavers at the edge stays."""
    hard = iter([2, 3.5, 2, 4.5, 2, 9, 9])
    caller = stage.governor(team(routing={"complexity": BANDS}), scorer=lambda _body, _who: next(hard))
    served = [caller.call(run="agent-1", messages=turns(number)).model for number in range(7)]
    assert served == [HAIKU] * 3 + [SONNET] * 4


CACHED = {"input_tokens": 1000, "cache_read_input_tokens": 90_000}
WARM = [
    row("B9-warm-cache", 85, CACHED, 60, OPUS, "its prompt cache of 90,000 tokens makes it cheaper than"),
    row("B9-cold-cache", 85, CACHED, 301, SONNET, "opus may fill it to 80 %"),
    row("B9-no-cache", 85, {}, 60, SONNET, "opus may fill it to 80 %"),
    row("B9-warm-but-haiku-is-cheaper", 95, CACHED, 60, HAIKU, "opus may fill it to 80 %"),
]


@pytest.mark.parametrize(("spent", "usage", "after_s", "model", "why"), WARM)
@on_sqlite
def test_a_lost_prompt_cache_is_counted(stage, spent, usage, after_s, model, why):
    """Above opus's mark the conversation goes on there while sonnet with a cold cache would cost more."""
    stage.api.next(Reply(usage=usage))
    tiers = {"standard": {"prefer": "opus"}}
    caller = stage.governor(team(BUDGET, thresholds=LADDER, routing={"tiers": tiers}))
    assert caller.call(run="agent-1", messages=prompt(91_000)).model == OPUS
    stage.spend(USD, spent * LIMIT // 100, LIMIT)
    stage.clock.forward(after_s)
    message = caller.call(run="agent-1", messages=prompt(91_000))
    decision = message.receipt.decision
    assert (message.model, decision.downgraded) == (model, model != OPUS)
    assert why in decision.reason
    assert caller.call(run="agent-2", messages=prompt(91_000)).model == (SONNET if spent == 85 else HAIKU)
