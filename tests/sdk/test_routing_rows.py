"""Rows B1 to B3 of the requirements: which line serves, by name, tier and complexity; and how tiers serve."""

from __future__ import annotations

import anthropic
import pytest
from support.governed import HAIKU, HELLO, LINES, OPUS, SONNET
from support.hardness import band, body_of, labelled
from support.pauses import pauses
from support.routed import (
    BANDS,
    BUDGET,
    DOLLAR,
    FABLE,
    LIMIT,
    MYTHOS,
    TIERS,
    USER_USD,
    journalled,
    prompt,
    row,
    team,
)
from support.stages import on_sqlite, once

from governor import PolicyError, PolicyViolation
from governor.testing import Reply, hang_before_head, status_error

FIVE = {**LINES, "fable": FABLE, "mythos": MYTHOS}
TWO = {"haiku": HAIKU, "sonnet": SONNET}
ABOVE = {**TIERS, "premium": {**TIERS["premium"], "prefer": "mythos"}}
STANDARD = "the standard tier's line"

NAMED = [
    row("B1-auto", {}, {}, SONNET, STANDARD),
    row("B1-haiku", {}, {"model": "haiku"}, HAIKU, "asked for"),
    row("B1-sonnet", {}, {"model": "sonnet"}, SONNET, "asked for"),
    row("B1-opus", {}, {"model": "opus"}, OPUS, "asked for"),
    row("B1-fable", {}, {"model": "fable"}, FABLE, "asked for"),
    row("B1-mythos", {}, {"model": "mythos"}, MYTHOS, "asked for"),
    row("B1-model-id", {}, {"model": "claude-sonnet-4-6"}, "claude-sonnet-4-6", "asked for"),
    row("B1-model-id-above", {}, {"model": "claude-fable-5"}, "claude-fable-5", "asked for"),
    row("B1-line-not-there", {"lines": TWO, "tiers": {}}, {"model": "mythos"}, SONNET, "asked for: mythos"),
    row("B1-default-line", {"default": "opus"}, {}, OPUS, "the policy's default"),
    row("B1-default-model", {"default": FABLE}, {}, FABLE, "the policy's default"),
    row("B1-premium", {}, {"tier": "premium"}, OPUS, "the premium tier's line (asked for)"),
    row("B1-premium-mythos", {"tiers": ABOVE}, {"tier": "premium"}, MYTHOS, "the premium tier's line"),
    row("B1-economy", {}, {"tier": "economy"}, HAIKU, "the economy tier's line (asked for)"),
    row("B1-named-in-economy", {}, {"tier": "economy", "model": "opus"}, OPUS, "asked for"),
]


@pytest.mark.parametrize(("routing", "request_", "model", "why"), NAMED)
@on_sqlite
def test_a_request_names_a_line_a_model_or_auto(stage, routing, request_, model, why):
    """The model that is sent is the one that request, policy or tier means; the reason says so."""
    caller = stage.governor(team(routing={"lines": FIVE, **routing}))
    message = caller.call(**request_)
    record = journalled(stage, message)
    assert stage.sent()[-1]["model"] == model
    assert message.receipt.decision.reason.startswith(f"{model}: {why}")
    assert record["asked"] == request_.get("model", "auto")


@pytest.mark.parametrize("line", ["auto", "haiku", "mythos"])
def test_every_store_routes_alike(stage, line):
    """On Redis as on SQLite, blocking or async: the line that is asked for serves."""
    caller = stage.governor(team(routing={"lines": FIVE}))
    record = journalled(stage, caller.call(model=line))
    assert record["candidates"][0]["model"] == stage.sent()[-1]["model"] == {**FIVE, "auto": SONNET}[line]


SCORES = [
    row("B2-lowest", 0, HAIKU),
    row("B2-below-3", 2.9, HAIKU),
    row("B2-3", 3, SONNET),
    row("B2-5", 5.5, SONNET),
    row("B2-7", 7, SONNET),
    row("B2-above-7", 7.1, OPUS),
    row("B2-highest", 10, OPUS),
]


@pytest.mark.parametrize(("score", "model"), SCORES)
@on_sqlite
def test_complexity_chooses_the_line(stage, score, model):
    """Below 3 haiku serves, from 3 to 7 sonnet, above it opus; the journal has the complexity."""
    asked = []

    def judge(body, who):
        asked.append((body["messages"], who.user))
        return score

    caller = stage.governor(team(routing={"complexity": BANDS}), scorer=judge)
    message = caller.call()
    record = journalled(stage, message)
    assert (stage.sent()[-1]["model"], record["complexity"], asked) == (model, score, [(HELLO, "u")])
    assert message.receipt.decision.complexity == f"{score} (scorer {score})"
    assert f"complexity {score} (scorer {score}) is " in message.receipt.decision.reason


@pytest.mark.parametrize("stage", [pytest.param((True, "sqlite"), id="async-sqlite")], indirect=True)
def test_an_async_scorer_is_awaited(stage):
    """An async governor takes an async callable in place of the scorer."""

    async def judge(_body, _who):
        return 9

    caller = stage.governor(team(routing={"complexity": BANDS}), scorer=judge)
    assert journalled(stage, caller.call())["complexity"] == 9
    assert stage.sent()[-1]["model"] == OPUS


BY_BAND = {"low": HAIKU, "middle": SONNET, "high": OPUS}
SCORED = [
    row(f"B2-local-{one['name'].replace(' ', '-')}", one)
    for one in labelled()
    if one["name"] in ("greeting", "small talk in German", "a fact") or one["label"] != "low"
]


@pytest.mark.parametrize("one", SCORED[:3] + SCORED[3::12])
@on_sqlite
def test_the_local_scorer_chooses_the_line(stage, one):
    """Without a scorer of the application's, the governor's own reads the request; it is journalled."""
    caller = stage.governor(team(routing={"complexity": BANDS, "tiers": {"standard": {"prefer": "sonnet"}}}))
    message = caller.call(**{"max_tokens": 20_000, **body_of(one)})
    record = journalled(stage, message)
    assert record["complexity"] == one["score"]
    assert stage.sent()[-1]["model"] == BY_BAND[band(one["score"])]


GOES_BY_IT = [
    row("B2-premium-user", {}, {"user": "ada"}, 1, OPUS, "a premium user's line"),
    row("B2-premium-tier", {}, {"tier": "premium"}, 1, OPUS, "the premium tier's line (asked for)"),
    row("B2-economy-tier", {}, {"tier": "economy"}, 9, HAIKU, "the economy tier's line (asked for)"),
    row("B2-premium-user-in-economy", {}, {"user": "ada", "tier": "economy"}, 9, HAIKU, "the economy tier's"),
    row("B2-named", {}, {"model": "haiku"}, None, HAIKU, "asked for"),
    row(
        "B2-feature", {"features": {"sort": {"lines": ["haiku"]}}}, {"feature": "sort"}, None, HAIKU, "the f"
    ),
]


@pytest.mark.parametrize(("more", "request_", "score", "model", "why"), GOES_BY_IT)
@on_sqlite
def test_what_goes_before_and_after_complexity(stage, more, request_, score, model, why):
    """A name and a feature's lines go before it, tier and premium users raise it, economy lowers it."""
    users = {"ada": {"user_tier": "premium"}, "*": {"user_tier": "basic"}}
    policy = team(routing={"complexity": BANDS}, users=users, **more)
    caller = stage.governor(policy, scorer=lambda _body, _who: score)
    message = caller.call(**request_)
    assert journalled(stage, message)["complexity"] == score
    assert stage.sent()[-1]["model"] == model
    assert message.receipt.decision.reason.startswith(f"{model}: {why}")


FLOORS = [
    row("B2-201-left", 201, OPUS),
    row("B2-200-left", 200, SONNET),
    row("B2-51-left", 51, SONNET),
    row("B2-50-left", 50, HAIKU),
    row("B2-11-left", 11, HAIKU),
    row("B2-9-left", 9, HAIKU),
]


@pytest.mark.parametrize(("left", "model"), FLOORS)
@on_sqlite
def test_a_line_is_used_while_the_user_has_more_left_than_its_floor(stage, left, model):
    """Opus leaves the user $200, sonnet $50, whatever the complexity asks for; haiku may spend the rest."""
    budget = {"per": "user", "usd": 1000, "window": "life"}
    routing = {"complexity": BANDS, "floors": {"sonnet": 50, "opus": 200}}
    caller = stage.governor(team(budget, routing=routing), scorer=lambda _body, _who: 9)
    stage.spend(USER_USD, LIMIT - left * DOLLAR, LIMIT)
    message = caller.call()
    record = journalled(stage, message)
    assert (stage.sent()[-1]["model"], record["preferred"]) == (model, OPUS)
    assert message.receipt.decision.downgraded == (model != OPUS)
    if model != OPUS:
        assert "opus may fill it to all but $200.00" in message.receipt.decision.reason


@once
def test_a_floor_under_the_cheapest_line_is_refused_at_load(stage):
    """B2's $10 under haiku would leave the user nothing to fall back to; the file is told so."""
    with pytest.raises(PolicyError, match="a floor under 'haiku', the cheapest line"):
        stage.governor(team(BUDGET, routing={"floors": {"haiku": 10, "sonnet": 50, "opus": 200}}))


@pytest.mark.parametrize(
    ("tier", "sent"),
    [row("B3-premium", "premium", 4), row("B3-standard", "standard", 3), row("B3-economy", "economy", 2)],
)
@on_sqlite
def test_a_tiers_retries(stage, tier, sent):
    """What fails is sent again three, two or one times; then the API's error is raised, nothing charged."""
    stage.api.inject(*[status_error(500)] * 6)
    caller = stage.governor(team())
    pauses(caller)
    with pytest.raises(anthropic.InternalServerError):
        caller.call(tier=tier)
    assert [body["model"] for body in stage.sent()] == [LINES[TIERS[tier]["prefer"]]] * sent
    assert stage.posted() == 0


SHORT = {
    name: {**terms, "timeout": timeout}
    for (name, terms), timeout in zip(TIERS.items(), (20, 20, 0.8), strict=True)
}


@on_sqlite
def test_a_tiers_time_out_is_of_silence(stage):
    """An API that says nothing for the tier's time is given up; the hold is charged, for it was sent."""
    stage.api.inject(hang_before_head())
    caller = stage.governor(team(routing={"tiers": SHORT}))
    with pytest.raises(anthropic.APITimeoutError):
        caller.call(tier="economy")
    assert len(stage.sent()) == 1
    assert stage.last_ending()["ended"] == "silent"
    assert stage.holds() == ()


@on_sqlite
def test_a_slow_answer_that_keeps_coming_is_served(stage):
    """It takes longer than the tier's time-out in all, and is never silent for that long."""
    stage.api.next(Reply(output_tokens=100, event_delay_ms=100))
    caller = stage.governor(team(routing={"tiers": SHORT}))
    message = caller.call(tier="economy")
    assert journalled(stage, message)["tier"] == "economy"
    assert (message.usage.output_tokens, message.stop_reason) == (100, "end_turn")
    assert message.receipt.latency_ms > 800


SMALL = {
    name: {**terms, "context": context}
    for (name, terms), context in zip(TIERS.items(), (2000, 1000, 500), strict=True)
}
ROOMY = [
    row("B3-economy-fits", "economy", 400, "economy", HAIKU, "asked for"),
    row("B3-economy-too-long", "economy", 600, "standard", SONNET, "are above the economy tier's context"),
    row("B3-economy-far-too-long", "economy", 1500, "premium", OPUS, "are above the economy tier's context"),
    row("B3-standard-too-long", None, 1500, "premium", OPUS, "are above the standard tier's context"),
    row("B3-no-tier-holds-it", None, 3000, "premium", OPUS, "are above the standard tier's context"),
    row("B3-premium-too-long", "premium", 3000, "premium", OPUS, "asked for"),
]


@pytest.mark.parametrize(("asked", "tokens", "tier", "model", "why"), ROOMY)
@on_sqlite
def test_a_prompt_above_a_tiers_context_goes_to_the_next_tier(stage, asked, tokens, tier, model, why):
    """A tier's context never refuses: the next tier that holds the prompt serves, and says why."""
    caller = stage.governor(team(routing={"tiers": SMALL}))
    message = caller.call(tier=asked, messages=prompt(tokens))
    record = journalled(stage, message)
    assert (record["tier"], stage.sent()[-1]["model"]) == (tier, model)
    assert record["tier_why"].endswith(why)


@on_sqlite
def test_an_unknown_tier_is_refused_with_those_there_are(stage):
    """Nothing is sent; the nearest name is told, or what the policy has."""
    caller = stage.governor(team(routing={"tiers": {"standard": TIERS["standard"]}}))
    with pytest.raises(PolicyViolation, match=r"unknown tier 'standrad'.*did you mean 'standard'"):
        caller.call(tier="standrad")
    with pytest.raises(PolicyViolation, match=r"unknown tier 'premium'.*known: standard"):
        caller.call(tier="premium")
    assert stage.sent() == []
