"""What an answer's usage is settled at, whatever it lists; what it teaches; and the policy's `max_tokens`."""

from __future__ import annotations

import json

import anthropic
import pytest
from support.governed import HAIKU, OPUS, SONNET, department
from support.stages import blocking, on_sqlite

from governor import PolicyViolation
from governor.data import data_file
from governor.testing import Reply, rate_limited

TEAM = {"per": "department", "usd": "100", "window": "life"}
FABLE = "claude-fable-5-2"
ADVISOR = {"type": "advisor_20260301", "name": "advisor", "model": FABLE, "max_uses": 2, "max_tokens": 2_000}


def a_pass(kind, input_tokens, output_tokens, model=None, **more):
    """An entry of `usage.iterations`."""
    return {
        "type": kind,
        "model": model,
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0,
        **more,
    }


def record(stage):
    """What the journal has of the newest decision."""
    return json.loads(stage.journal("reserve")[-1].record)


# Passes of other models.

LISTED = {
    "an advisor": (
        {"input_tokens": 50, "output_tokens": 90},
        [
            a_pass("message", 20, 30),
            a_pass("advisor_message", 700, 400, FABLE),
            a_pass("message", 30, 60, SONNET),
        ],
        50 * 2_000 + 90 * 10_000 + 700 * 8_000 + 400 * 40_000,
    ),
    "a compaction": (
        {"input_tokens": 20, "output_tokens": 90},
        [a_pass("compaction", 60_000, 3_000), a_pass("message", 20, 90)],
        60_020 * 2_000 + 3_090 * 10_000,
    ),
    "a fallback that was declined": (
        {"input_tokens": 40, "output_tokens": 90},
        [a_pass("message", 20, 0, OPUS), a_pass("fallback_message", 20, 90, SONNET)],
        20 * 2_000 + 90 * 10_000,
    ),
    "a fallback after some output": (
        {"input_tokens": 40, "output_tokens": 97},
        [a_pass("message", 20, 7, OPUS), a_pass("fallback_message", 20, 90, SONNET)],
        20 * 4_000 + 7 * 20_000 + 20 * 2_000 + 90 * 10_000,
    ),
    "a pass above a step": (
        {"input_tokens": 150_020, "output_tokens": 90},
        [a_pass("message", 20, 30, HAIKU), a_pass("message", 150_000, 60, HAIKU)],
        20 * 100 + 30 * 500 + 150_000 * 500 + 60 * 2_500,
    ),
    "a cache of the advisor's": (
        {"input_tokens": 20, "output_tokens": 90},
        [
            a_pass("message", 20, 90),
            a_pass(
                "advisor_message",
                100,
                10,
                FABLE,
                cache_creation_input_tokens=500,
                cache_creation={"ephemeral_1h_input_tokens": 500},
                cache_read_input_tokens=40,
            ),
        ],
        20 * 2_000 + 90 * 10_000 + 100 * 8_000 + 500 * 16_000 + 40 * 200 + 10 * 40_000,
    ),
    "totals beyond the passes": (
        {"input_tokens": 100, "output_tokens": 90},
        [a_pass("message", 60, 90)],
        100 * 2_000 + 90 * 10_000,
    ),
}


@on_sqlite
@pytest.mark.parametrize("name", LISTED)
def test_each_pass_is_settled_at_its_own_price(stage, name):
    """What the usage lists is billed pass by pass, each at its model and step; ledger, bill and sum agree."""
    totals, passes, nanos = LISTED[name]
    stage.api.next(Reply(usage={**totals, "iterations": passes}))
    receipt = stage.governor(department(TEAM)).call(model="sonnet").receipt
    assert receipt.cost.nanos == nanos == stage.api.billed_nanos == stage.posted()
    assert receipt.usage["iterations"] == passes
    assert stage.last_ending()["unpriced"] == []


@blocking
def test_an_advisor_is_held_before_it_is_billed(stage):
    """The hold has room for all that the advisor may be asked, at its own model's price."""
    caller = stage.governor(department(TEAM))
    passes = [
        a_pass("message", 700, 60),
        a_pass("advisor_message", 5_000, 2_000, FABLE),
        a_pass("advisor_message", 8_000, 2_000, FABLE),
        a_pass("message", 5_000, 40),
    ]
    stage.api.next(Reply(usage={"input_tokens": 5_700, "output_tokens": 100, "iterations": passes}))
    receipt = caller.call(model="sonnet", tools=[ADVISOR]).receipt
    assert receipt.cost.nanos == stage.api.billed_nanos == stage.posted() <= receipt.ceiling.nanos
    assert not receipt.overrun
    assert stage.sent()[-1]["tools"] == [ADVISOR]


@on_sqlite
def test_the_tokens_of_every_listed_pass_count(stage):
    """A tokens budget counts compaction and advice too, which the totals leave out."""
    totals, passes, _ = LISTED["an advisor"]
    stage.api.next(Reply(usage={**totals, "iterations": passes}))
    budget = {"per": "department", "tokens": 10**7, "window": "life"}
    stage.governor(department(TEAM, budget)).call(model="sonnet")
    assert stage.posted("department=team/tokens/life") == 50 + 90 + 700 + 400


@on_sqlite
def test_a_pass_of_a_model_without_a_price_is_charged_the_hold(stage):
    """A pass of a model that the price table does not know: at least the hold is charged, and it is named."""
    models = data_file("pricing/anthropic.yaml").read_text(encoding="utf-8").split("\n  - id: ")
    known = [part for part in models if not part.startswith(f"{FABLE}\n")]
    assert len(known) == len(models) - 1
    prices = stage.folder / "prices.yaml"
    prices.write_text("\n  - id: ".join(known), encoding="utf-8")
    passes = [a_pass("message", 19, 5), a_pass("advisor_message", 7, 4, FABLE)]
    stage.api.next(Reply(usage={"input_tokens": 19, "output_tokens": 5, "iterations": passes}))
    receipt = stage.governor(department(TEAM), prices=prices).call(model="sonnet").receipt
    assert receipt.cost == receipt.ceiling
    assert stage.posted() == receipt.ceiling.nanos >= stage.api.billed_nanos
    ending = stage.last_ending()
    assert ending["uncertain"]
    assert FABLE in ending["unpriced"][0]


# Usage of tomorrow.


@on_sqlite
@pytest.mark.parametrize(
    ("usage", "told"),
    [
        ({"hologram_tokens": 9}, "hologram_tokens"),
        ({"server_tool_use": {"telepathy_requests": 1}}, "server_tool_use.telepathy_requests"),
        ({"cache_creation": {"ephemeral_1w_input_tokens": 5}}, "cache_creation.ephemeral_1w_input_tokens"),
        ({"service_tier": "priority"}, "service_tier=priority"),
        ({"speed": "ludicrous"}, "speed=ludicrous"),
        ({"iterations": [a_pass("dream", 5, 5)]}, "iterations.type=dream"),
        ({"iterations": [a_pass("message", 5, 5, hologram_tokens=3)]}, "iterations.hologram_tokens"),
        ({"fallback_credit": {"status": {"type": "redeemed"}}}, "fallback_credit=redeemed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_usage_of_tomorrow_is_recorded_and_charged_the_hold(stage, usage, told):
    """What this release has no price for is named in the journal, and at least the hold is charged."""
    stage.api.next(Reply(usage=usage))
    receipt = stage.governor(department(TEAM)).call(model="sonnet").receipt
    assert receipt.cost == receipt.ceiling
    assert stage.posted() == receipt.ceiling.nanos >= stage.api.billed_nanos
    ending = stage.last_ending()
    assert ending["unpriced"] == [told]
    assert ending["usage"].items() >= {key: receipt.usage[key] for key in usage}.items()


@on_sqlite
def test_what_is_known_beside_it_is_charged_even_above_the_hold(stage):
    """An unknown number does not make the known ones cheaper."""
    stage.api.next(Reply(usage={"hologram_tokens": 9, "cache_read_input_tokens": 10**6}))
    receipt = stage.governor(department(TEAM)).call(model="sonnet").receipt
    assert receipt.cost.nanos == stage.api.billed_nanos > receipt.ceiling.nanos
    assert receipt.overrun


# What is expected.


@on_sqlite
def test_what_a_call_will_probably_cost_is_learned(stage):
    """Nothing is expected at first; then about what calls of this feature and model really cost."""
    team = department(TEAM, features={"review": {"max_tokens": 1_000}, "chat": {"max_tokens": 1_000}})
    caller = stage.governor(team)
    stage.api.replies(Reply(output_tokens=40))

    def expected(**request):
        found = caller.call(**{"feature": "review", "max_tokens": 1_000, **request}).receipt
        views = {view.model: view for view in found.decision.candidates}
        assert all(view.expected is None or view.expected <= view.ceiling for view in views.values())
        return views[SONNET].expected, found.cost

    assert expected()[0] is None
    for _ in range(3):
        learned, cost = expected()
        assert 0.9 * cost.nanos <= learned.nanos <= 1.1 * cost.nanos
    _, usual = expected()
    assert expected(feature="chat")[0] is None
    assert record(stage)["candidates"][0]["expected_nanos"] is None
    small, _ = expected(max_tokens=10)
    assert small.nanos <= 0.5 * usual.nanos
    assert record(stage)["candidates"][0]["expected_nanos"] == small.nanos


@on_sqlite
def test_a_call_without_an_answer_teaches_nothing(stage):
    """What was refused or broke off says nothing of what an answer costs."""
    caller = stage.governor(department(TEAM, retries=0))
    stage.api.inject(rate_limited())
    with pytest.raises(anthropic.RateLimitError):
        caller.call()
    assert caller.decide().candidates[0].expected is None


@on_sqlite
def test_what_is_expected_holds_nothing(stage):
    """However little was used before, the whole ceiling is held for the next call."""
    caller = stage.governor(department(TEAM))
    stage.api.next(Reply(output_tokens=1))
    caller.call()
    seen = stage.watch()
    receipt = caller.call().receipt
    assert receipt.decision.candidates[0].expected < receipt.ceiling
    assert seen[0].held["department=team/usd/life"] == receipt.ceiling.nanos


# The policy's bounds.


@on_sqlite
@pytest.mark.parametrize(
    ("own", "shared", "feature", "asked", "sent"),
    [
        (50, None, None, None, 50),
        (50, None, None, 80, 50),
        (50, None, None, 20, 20),
        (None, 60, None, None, 60),
        (50, 60, None, 80, 50),
        (60, 50, None, 80, 50),
        (50, None, 30, None, 30),
        (30, None, 50, 80, 30),
    ],
)
def test_max_tokens_of_the_policy_is_default_and_cap(stage, own, shared, feature, asked, sent):
    """Of the department's, the organisation's, the feature's and the caller's the smallest is sent."""
    team = department(TEAM, limits={"max_tokens": own} if own else {})
    if feature:
        team["features"] = {"review": {"max_tokens": feature}}
    caller = stage.governor(team, shared={"limits": {"max_tokens": shared}} if shared else {})
    request = {"feature": "review"} if feature else {}
    receipt = caller.call(max_tokens=asked, **request).receipt
    assert receipt.decision.max_tokens == stage.sent()[-1]["max_tokens"] == sent


@on_sqlite
def test_without_any_max_tokens_the_refusal_names_both_places(stage):
    """Nothing bounds the answer: refused, with the two places of the file that would."""
    caller = stage.governor(department(TEAM))
    with pytest.raises(PolicyViolation, match="`max_tokens` for the feature, or under `limits`"):
        caller.call(max_tokens=None)
    assert stage.api.requests == []
