"""What routing once got wrong, each with the smallest policy that shows it."""

from __future__ import annotations

import pytest
from support.governed import HAIKU, HELLO, LADDER, LINES, OPUS, SONNET
from support.pauses import pauses
from support.routed import BANDS, BUDGET, LIMIT, USD, journalled, prompt, team
from support.stages import on_sqlite

from governor import BudgetExceeded, Deferred, PolicyViolation
from governor.routing import Heard, rate_limits
from governor.testing import Reply, overloaded

OLD_HAIKU, OPUS_6 = "claude-haiku-4-5", "claude-opus-4-6"
SHRINK = {"shrink": {"min_tokens": 16}}


@on_sqlite
def test_the_decision_has_the_max_tokens_that_the_swap_sent(stage):
    """Where the model that serves takes less output, that is what the decision says, dry or not."""
    caller = stage.governor(team(thresholds=LADDER, routing={"lines": {**LINES, "haiku": OLD_HAIKU}}))
    stage.spend(USD, 95 * LIMIT // 100, LIMIT)
    told = caller.call(model="opus", max_tokens=100_000).receipt.decision
    assert (told.model, told.max_tokens, stage.sent()[-1]["max_tokens"]) == (OLD_HAIKU, 64_000, 64_000)
    assert caller.decide(model="opus", max_tokens=100_000).max_tokens == 64_000


@on_sqlite
def test_a_request_is_made_smaller_as_its_model_takes_it(stage):
    """Fast mode, which haiku does not have, is no reason to refuse what haiku can serve smaller."""
    caller = stage.governor(team(routing=SHRINK))
    stage.spend(USD, LIMIT - 1_000_000, LIMIT)
    message = caller.call(model="opus", speed="fast", max_tokens=4000)
    journalled(stage, message)
    assert (message.model, message.receipt.decision.changes[0]) == (HAIKU, "speed fast left out")


@on_sqlite
def test_a_dearer_model_is_made_smaller_where_the_cheapest_has_spent_its_own_budget(stage):
    """Nobody is refused while there is money: the next cheapest that the budgets bear serves."""
    own = {"per": "model", "name": HAIKU, "requests": 1, "window": "life"}
    caller = stage.governor(team(BUDGET, own, routing=SHRINK))
    caller.call(model="haiku")
    stage.spend(USD, LIMIT - 9_000_000, LIMIT)
    message = caller.call(model="opus", max_tokens=4000)
    journalled(stage, message)
    assert (message.model, message.receipt.decision.downgraded) == (SONNET, True)
    assert 16 <= stage.sent()[-1]["max_tokens"] < 4000


@on_sqlite
def test_what_is_deferred_is_what_the_batches_api_takes(stage):
    """The SDK's own arguments are left out of the item: the API refuses a batch that has them."""
    caller = stage.governor(team(routing={"defer": {"when": "budget > 80%"}}))
    stage.spend(USD, 90 * LIMIT // 100, LIMIT)
    with pytest.raises(Deferred) as raised:
        caller.call(deferrable=True, extra_headers={"x-team": "ours"})
    assert set(raised.value.item["params"]) == {"model", "max_tokens", "messages"}


def easy(_body, _who):
    """A scorer to which everything is easy."""
    return 1


@on_sqlite
def test_a_conversation_that_outgrows_its_model_goes_on(stage):
    """What no longer fits its window is served by a dearer line, which says so; it is not refused."""
    lines = {**LINES, "haiku": OLD_HAIKU}
    caller = stage.governor(team(routing={"lines": lines, "complexity": BANDS, "tiers": {}}), scorer=easy)
    assert caller.call(run="r").model == OLD_HAIKU
    message = caller.call(run="r", messages=prompt(260_000))
    journalled(stage, message)
    assert message.model == SONNET
    assert "does not fit its context window of 200000" in message.receipt.decision.reason
    assert caller.call(run="r").model == SONNET


@on_sqlite
def test_a_prompt_too_long_for_the_line_of_its_complexity_is_served_above(stage):
    """Without a name, a pin or a feature's lines, a window is no reason to refuse."""
    lines = {**LINES, "haiku": OLD_HAIKU}
    features = {"chat": {}, "sort": {"lines": ["haiku"]}}
    routing = {"lines": lines, "complexity": BANDS, "tiers": {}}
    caller = stage.governor(team(routing=routing, features=features), scorer=easy)
    message = caller.call(feature="chat", messages=prompt(260_000))
    journalled(stage, message)
    assert message.model == SONNET
    for named in ({"model": "haiku"}, {"feature": "sort"}):
        with pytest.raises(PolicyViolation, match="does not fit its context window"):
            caller.call(**{"feature": "chat", **named}, messages=prompt(260_000))


@on_sqlite
def test_a_conversation_that_went_down_is_not_refused_while_there_is_money(stage):
    """It moved for an overload, and its model's own budget is spent: what was asked for serves again."""
    own = {"per": "model", "name": HAIKU, "requests": 2, "window": "life"}
    caller = stage.governor(team(BUDGET, own))
    pauses(caller)
    stage.api.inject(overloaded(), overloaded())
    served = [caller.call(run="r", model="opus") for _ in range(3)]
    assert [message.model for message in served] == [HAIKU, HAIKU, OPUS]
    assert served[-1].receipt.decision.reason.startswith(f"{OPUS} instead: department=team/model={HAIKU}/")
    assert stage.posted(USD) == stage.api.billed_nanos


@on_sqlite
def test_a_conversation_that_does_not_get_what_it_names_is_downgraded(stage):
    """On every turn, and not on the one alone on which it moved."""
    caller = stage.governor(team(thresholds=LADDER))
    stage.spend(USD, 85 * LIMIT // 100, LIMIT)
    for _ in range(3):
        message = caller.call(model="opus", run="r")
        journalled(stage, message)
        decision = message.receipt.decision
        assert (message.model, decision.preferred, decision.downgraded) == (SONNET, OPUS, True)


VALUE = {"value": {"quality": {"haiku": 60, "sonnet": 85, "opus": 95}, "at_least": 10}}


@on_sqlite
def test_what_a_call_is_worth_while_its_model_is_busy(stage):
    """The line that is worth it stays the preferred one, though another serves."""
    caller = stage.governor(team(features={"lead": {"value": 1}}, routing=VALUE))
    full = {"anthropic-ratelimit-requests-limit": "100", "anthropic-ratelimit-requests-remaining": "1"}
    house = caller.governor._in_force.house
    traffic, now_ms = house.traffic, house.clock.now_ms()
    traffic.departing(OPUS)
    traffic.ended(OPUS, Heard(200, latency_ms=10, limits=rate_limits(full, now_ms), answered=True))
    decision = caller.call(feature="lead").receipt.decision
    assert (decision.model, decision.preferred, decision.downgraded) == (SONNET, OPUS, True)


@on_sqlite
def test_a_conversation_by_value_stays_on_its_model(stage):
    """Its turns grow dearer; it does not leave its warm cache for that."""
    stage.api.next(Reply(usage={"input_tokens": 10, "cache_read_input_tokens": 90_000}))
    caller = stage.governor(team(features={"lead": {"value": "0.5"}}, routing=VALUE))
    assert caller.call(feature="lead", run="r").model == OPUS
    assert caller.call(feature="lead", messages=prompt(15_000)).model == SONNET
    assert caller.call(feature="lead", run="r", messages=prompt(15_000)).model == OPUS


@on_sqlite
def test_what_may_be_too_long_for_its_model_is_counted_first(stage):
    """However little is at stake: sent on a bound alone it would be refused by the API."""
    lines = {"haiku": HAIKU, "sonnet": "claude-sonnet-4-6", "opus": "claude-opus-4-5"}
    tiers = {"standard": {"prefer": "opus"}}
    caller = stage.governor(team(routing={"lines": lines, "tiers": tiers}, estimate="auto"))
    caller.call()
    message = caller.call(messages=prompt(260_000))
    journalled(stage, message)
    assert message.model == "claude-sonnet-4-6"


@on_sqlite
def test_an_earlier_answer_is_of_the_same_tier(stage):
    """What economy answered is not given for a request of the premium tier."""
    caller = stage.governor(team(routing={"cached_answers": {"max_age": 600}}))
    caller.call(tier="economy")
    stage.spend(USD, LIMIT - stage.posted(USD), LIMIT)
    assert caller.call(tier="economy").receipt.cached
    with pytest.raises(BudgetExceeded):
        caller.call(tier="premium")


@pytest.mark.parametrize(("above", "deferred"), [(0, False), (1, True)])
@on_sqlite
def test_work_is_deferred_by_the_exact_share(stage, above, deferred):
    """One nano-dollar above the condition's share is above it, as it is for the choice of a tier."""
    caller = stage.governor(team(routing={"defer": {"when": "budget > 80%"}}))
    stage.spend(USD, 80 * LIMIT // 100 + above, LIMIT)
    assert caller.decide(deferrable=True).outcome == ("deferred" if deferred else "held")


@on_sqlite
def test_a_conversation_that_begins_as_another_did_begins_anew(stage):
    """What the earlier one moved for does not count: it may still be moved up where it gets hard."""
    hard = {"role": "user", "content": "hard"}
    turn = [{"role": "assistant", "content": "Well?"}, {"role": "user", "content": "and so on"}]

    def judge(body, _who):
        return 8 if body["messages"][-1] == hard else 1

    caller = stage.governor(team(routing={"complexity": BANDS}), scorer=judge)
    for _ in range(3):
        messages = [HELLO, [*HELLO, *turn], [*HELLO, *turn, turn[0], hard]]
        assert [caller.call(messages=one).model for one in messages] == [HAIKU, HAIKU, OPUS]


@on_sqlite
def test_a_line_that_the_policy_has_nothing_for_is_refused_as_such(stage):
    """It is no unknown model: the lines there are are named."""
    caller = stage.governor(team(routing={"lines": {"opus": OPUS}, "tiers": {}}))
    with pytest.raises(PolicyViolation, match="haiku cannot serve: the policy's lines are opus"):
        caller.call(model="haiku")


@on_sqlite
def test_a_complexity_between_the_bands_is_not_told_to_be_in_one(stage):
    """The line above serves, and the reason says that it is the next."""
    routing = {"complexity": {"haiku": "<3", "opus": ">7"}}
    caller = stage.governor(team(routing=routing), scorer=lambda _body, _who: 5)
    told = caller.call().receipt.decision
    why = "complexity 5 (scorer 5) is in no line's band, the next is opus's (>7)"
    assert (told.model, told.reason) == (OPUS, f"{OPUS}: {why}")


@pytest.mark.parametrize("content", ["\ud83d", [{"type": "text", "text": "a", "extra": object()}]])
@on_sqlite
def test_what_cannot_be_written_costs_nothing(stage, content):
    """A prompt that the SDK fails to write was never sent: its hold is released, not charged."""
    caller = stage.governor(team(estimate="local"))
    with pytest.raises((UnicodeEncodeError, TypeError)):
        caller.call(messages=[{"role": "user", "content": content}])
    assert (stage.posted(USD), stage.holds(), stage.sent()) == (0, (), [])


RETIRED, OPUS_8 = "claude-opus-4-1", "claude-opus-4-8"
GONE = [
    pytest.param({RETIRED: OPUS_8}, [OPUS_8] * 3, f"the successor of {RETIRED}", id="to-a-model"),
    pytest.param({RETIRED: "sonnet"}, [SONNET] * 3, f"the successor of {RETIRED}", id="to-a-line"),
    pytest.param({}, [SONNET] * 3, f"instead of {RETIRED}: it is retired", id="without"),
]


@pytest.mark.parametrize(("successors", "models", "why"), GONE)
@on_sqlite
def test_a_line_whose_model_is_retired_has_its_successor(stage, successors, models, why):
    """By its line, by the policy's default and in a conversation: the retired model is not asked in vain."""
    lines = {**LINES, "opus": RETIRED}
    routing = {"lines": lines, "default": "opus", "successors": successors}
    caller = stage.governor(team(thresholds=LADDER, routing=routing))
    served = [caller.call(model="opus"), caller.call(run="r"), caller.call(run="r")]
    assert [message.model for message in served] == models == [body["model"] for body in stage.sent()]
    assert served[0].receipt.decision.reason == f"{models[0]}: {why}"
    assert not any(message.receipt.decision.downgraded for message in served)
    assert [event.successor for event in stage.events] == list(dict.fromkeys(models)) * bool(successors)


@pytest.mark.filterwarnings("ignore:The model .* is deprecated:DeprecationWarning")
@on_sqlite
def test_a_line_whose_model_soon_retires_is_told(stage):
    """One event names the day, though nobody names the model itself."""
    caller = stage.governor(team(routing={"lines": {**LINES, "sonnet": "claude-sonnet-4-5"}}))
    for _ in range(2):
        assert caller.call().model == "claude-sonnet-4-5"
    assert [(event.model, event.successor) for event in stage.events] == [("claude-sonnet-4-5", None)]


@on_sqlite
def test_all_lines_of_a_feature_are_tried_for_what_it_may_not_use(stage):
    """Named is a line below all of them: the second one serves what the first has no money for."""
    own = {"per": "model", "name": OPUS, "usd": "0.000001", "window": "life"}
    caller = stage.governor(team(BUDGET, own, features={"review": {"lines": ["opus", "sonnet"]}}))
    message = caller.call(feature="review", model="haiku")
    journalled(stage, message)
    assert (message.model, message.receipt.decision.preferred) == (SONNET, OPUS)


@on_sqlite
def test_a_refusal_recommends_no_model_that_cannot_take_the_request(stage):
    """Opus 4.6 has spent its own budget; sonnet, which was passed over, would not take the tool either."""
    own = {"per": "model", "name": OPUS_6, "usd": "0.000001", "window": "life"}
    routing = {"lines": {"sonnet": SONNET, "opus": OPUS_6}, "tiers": {}}
    caller = stage.governor(team(BUDGET, own, routing=routing))
    tool = {"tools": [{"name": "look", "input_schema": {"type": "object"}}], "tool_choice": {"type": "any"}}
    with pytest.raises(BudgetExceeded) as raised:
        caller.call(model="opus", **tool)
    assert raised.value.cheapest_model is None


@on_sqlite
def test_a_smaller_max_tokens_by_the_policy_is_told(stage):
    """What a feature or a limit takes of the caller's bound is among the changes, swapped or not."""
    caller = stage.governor(team(features={"sort": {"max_tokens": 50}}))
    for model in ("haiku", OPUS):
        message = caller.call(feature="sort", model=model, max_tokens=4000)
        journalled(stage, message)
        assert message.receipt.decision.changes == ("max_tokens 4000 → 50: the policy's most",)
    assert caller.call(feature="sort", max_tokens=...).receipt.decision.changes == ()
