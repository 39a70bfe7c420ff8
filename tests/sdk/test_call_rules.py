"""What the policy refuses whatever the balances, how prompts are counted, and that ledger and bill agree."""

from __future__ import annotations

import pytest
from support.governed import HAIKU, HELLO, LINES, OPUS, SONNET, department
from support.stages import blocking, on_sqlite, once

from governor import BudgetExceeded, PolicyViolation, UnknownModel
from governor.testing import Reply, cut_before_head, status_error

TEAM = {"per": "department", "usd": "100", "window": "life"}
TOOL = {
    "name": "weather",
    "description": "The weather of a place.",
    "input_schema": {"type": "object", "properties": {"place": {"type": "string"}}},
}
CACHED = [
    {
        "role": "user",
        "content": [{"type": "text", "text": "x" * 8000, "cache_control": {"type": "ephemeral"}}],
    }
]
LONG = [{"role": "user", "content": "word " * 70_000}]


def refused(stage, caller, error, match, **request):
    """The call is refused with that message, and neither the ledger nor the API has heard of it."""
    with pytest.raises(error, match=match) as raised:
        caller.call(**request)
    assert stage.balances() == {}
    assert stage.journal("reserve") == []
    assert stage.sent() == []
    return raised.value


@on_sqlite
@pytest.mark.parametrize(
    ("request_", "match"),
    [
        ({"department": "taem"}, "unknown department 'taem'.*did you mean 'team'"),
        ({"user": "eve"}, "unknown user 'eve' in the department 'team'.*users"),
        ({"feature": "reviews"}, "unknown feature 'reviews'.*did you mean 'review'"),
        ({"user": ""}, "'' cannot be a user"),
        ({"run": "a\nb"}, "cannot be a run"),
        ({"stream": True}, r"`stream` cannot be given to call\(\): it returns a whole message"),
        ({"max_tokens": -1}, "max_tokens is -1"),
        ({"max_tokens": "many"}, "max_tokens"),
        (
            {"tools": [{"type": "web_search_20260209", "name": "web_search"}]},
            "web_search_20260209.*no `max_uses`: give it",
        ),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_what_the_policy_does_not_know_is_refused(stage, request_, match):
    """A misspelt or unbounded request is refused with the nearest name or the place to change."""
    team = department(TEAM, users={"u": {}}, features={"review": {"max_tokens": 100}})
    refused(stage, stage.governor(team), PolicyViolation, match, **request_)


@on_sqlite
@pytest.mark.parametrize("model", ["claude-haiku-55", "gpt-7", ""])
def test_a_model_without_a_price_is_refused(stage, model):
    """An unknown model is refused, never priced at nothing."""
    told = refused(stage, stage.governor(department(TEAM)), UnknownModel, "has no price", model=model)
    assert repr(model) in str(told)


@on_sqlite
def test_a_missing_max_tokens_is_refused(stage):
    """Without `max_tokens`, and without a feature that bounds it, nothing bounds the cost: refused."""
    match = "max_tokens is missing: give it, or write a `max_tokens` for the feature"
    refused(stage, stage.governor(department(TEAM)), PolicyViolation, match, max_tokens=None)


@on_sqlite
def test_missing_messages_are_refused(stage):
    """A call without a conversation is refused before anything is counted or held."""
    caller = stage.governor(department(TEAM))
    with pytest.raises(PolicyViolation, match="messages is missing"):
        caller.call(messages=...)
    assert stage.api.requests == []


@on_sqlite
def test_a_request_id_must_be_one_a_ledger_can_keep(stage):
    """An id with a space is refused with the characters that are allowed."""
    caller = stage.governor(department(TEAM))
    refused(stage, caller, PolicyViolation, "use 1 to 128 of A-Z", request_id="a b")
    refused(stage, caller, PolicyViolation, "use 1 to 128 of A-Z", request_id=["a"])


@on_sqlite
def test_a_feature_bounds_max_tokens(stage):
    """A feature's `max_tokens` stands in for a missing one and cuts a larger one."""
    team = department(TEAM, features={"review": {"max_tokens": 50, "lines": ["haiku", "sonnet"]}})
    caller = stage.governor(team)
    for asked, sent in ((None, 50), (1000, 50), (20, 20)):
        receipt = caller.call(feature="review", max_tokens=asked).receipt
        assert receipt.model == HAIKU
        assert receipt.decision.max_tokens == stage.sent()[-1]["max_tokens"] == sent


@on_sqlite
def test_too_dear_on_every_model_is_refused(stage):
    """A request that may cost more than `cost_per_request` on its cheapest model is refused."""
    caller = stage.governor(department(TEAM, limits={"cost_per_request": "0.00005"}))
    match = r"may cost \$0\.0000583 even on the cheapest.*\$0\.00005 a request \(limits\.cost_per_request\)"
    refused(stage, caller, PolicyViolation, match)


@on_sqlite
def test_a_model_too_dear_for_one_request_is_skipped(stage):
    """A candidate above `cost_per_request` is passed over, and the decision says why."""
    receipt = (
        stage.governor(department(TEAM, limits={"cost_per_request": "0.0015"})).call(model="opus").receipt
    )
    assert receipt.model == SONNET
    assert receipt.decision.downgraded
    assert receipt.decision.candidates[0].verdict == "skipped"
    assert receipt.decision.reason == (
        f"{SONNET} instead: {OPUS} may cost $0.002332, above the policy's $0.0015 a request"
    )


@on_sqlite
def test_a_prompt_that_is_too_long_is_refused(stage):
    """A prompt above `input_tokens` is refused with its size and the limit."""
    caller = stage.governor(department(TEAM, limits={"input_tokens": 1000}))
    refused(
        stage, caller, PolicyViolation, r"some 2,\d\d\d tokens, limits.input_tokens is 1,000", messages=CACHED
    )


@on_sqlite
def test_the_organisations_limits_hold_too(stage):
    """Of two files' limits of a request, the lower one counts."""
    team = department(TEAM, limits={"input_tokens": 100_000})
    caller = stage.governor(team, shared={"limits": {"input_tokens": 1000}})
    refused(stage, caller, PolicyViolation, "limits.input_tokens is 1,000", messages=CACHED)


@on_sqlite
@pytest.mark.parametrize(
    "fault", [status_error(400), status_error(429), status_error(500), cut_before_head()], ids=str
)
def test_an_api_that_does_not_count_costs_no_call(stage, fault):
    """Where `count_tokens` fails, a proved local bound is held instead, and the call goes on."""
    stage.api.count_fault(fault)
    receipt = stage.governor(department(TEAM)).call().receipt
    assert receipt.decision.estimate == "local bound"
    assert receipt.decision.input_tokens >= receipt.usage["input_tokens"]
    assert receipt.cost.nanos == stage.api.billed_nanos <= receipt.ceiling.nanos


@on_sqlite
def test_what_the_api_cannot_count_is_not_asked(stage):
    """A prompt with a document by URL is bounded without a count: by the whole context window."""
    source = {"type": "url", "url": "https://example.com/a.pdf"}
    body = [{"type": "document", "source": source}, {"type": "text", "text": "Sum it up"}]
    receipt = stage.governor(department(TEAM)).call(messages=[{"role": "user", "content": body}]).receipt
    assert [request.path for request in stage.api.requests] == ["/v1/messages"]
    assert (receipt.decision.estimate, receipt.decision.input_tokens) == ("local bound", 1_000_000)


@once
def test_a_count_that_is_short_stays_within_the_margin(org, tmp_path, stage):
    """The API may bill up to 2 % more input than it counted; the hold has room for that."""
    from support.governed import Clock, Stage

    from governor.testing import FakeClaude

    with FakeClaude(count_drift=0.02, now_ms=Clock()) as api:
        drifting = Stage(api, tmp_path, f"sqlite:///{tmp_path}/drift.db", org)
        caller = drifting.governor(department(TEAM))
        drifted = 0
        for size in range(5000, 60_000, 5000):
            receipt = caller.call(messages=[{"role": "user", "content": "y" * size}]).receipt
            assert not receipt.overrun
            assert receipt.cost.nanos <= receipt.ceiling.nanos
            drifted += receipt.usage["input_tokens"] > receipt.decision.input_tokens
        assert drifted
        assert drifting.posted() == api.billed_nanos
        drifting.close()


MIXED = [
    ("plain", {}, None),
    ("cache read", {"messages": CACHED}, {"input_tokens": 10, "cache_read_input_tokens": 1900}),
    (
        "cache written for an hour",
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "text",
                            "text": "x" * 8000,
                            "cache_control": {"type": "ephemeral", "ttl": "1h"},
                        }
                    ],
                }
            ]
        },
        {"input_tokens": 10, "cache_creation": {"ephemeral_1h_input_tokens": 2000}},
    ),
    ("in the USA", {"inference_geo": "us"}, None),
    ("fast", {"model": "opus", "speed": "fast"}, None),
    ("a long prompt on haiku", {"model": "haiku", "messages": LONG}, None),
    ("tools", {"tools": [TOOL], "max_tokens": 300}, "tool"),
    ("a system prompt", {"system": "Be brief. " * 50}, None),
    ("more than was held", {}, {"cache_read_input_tokens": 100_000}),
]


@blocking
def test_whatever_is_billed_is_posted(stage):
    """After cache use, regions, fast mode, a long prompt, tools and an overrun: ledger = bill."""
    caller = stage.governor(department(TEAM))
    for name, request, usage in MIXED:
        if usage == "tool":
            call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"place": "Ulm"}}
            stage.api.next(Reply(content=[call]))
        else:
            stage.api.next(Reply(usage=usage or {}))
        message = caller.call(**request)
        receipt = message.receipt
        assert receipt.cost.nanos == stage.api.bill[-1].nanos, name
        assert receipt.overrun == (name == "more than was held"), name
        assert (receipt.cost.nanos <= receipt.ceiling.nanos) != receipt.overrun, name
    assert stage.posted() == stage.api.billed_nanos
    assert [line.model for line in stage.api.bill][4:6] == [OPUS, HAIKU]
    assert stage.holds() == ()


@on_sqlite
def test_the_long_prompt_step_is_held_before_it_is_billed(stage):
    """Above 100,000 prompt tokens every token of Haiku costs five times as much, and so does the hold."""
    receipt = stage.governor(department(TEAM)).call(model="haiku", messages=LONG).receipt
    tokens = receipt.usage["input_tokens"]
    assert tokens > 100_000
    assert receipt.cost.nanos == tokens * 500 + 100 * 2500


@on_sqlite
def test_steps_down_that_cannot_serve_fast_go_on_at_standard_speed(stage):
    """Fast mode is asked of Opus; where the budget bears only Haiku, that is sent without it, and told."""
    caller = stage.governor(department({**TEAM, "usd": "0.001"}))
    decision = caller.call(model="opus", speed="fast").receipt.decision
    assert (decision.model, decision.changes) == (HAIKU, ("speed fast left out",))
    assert "speed" not in stage.sent()[-1]
    with pytest.raises(BudgetExceeded) as refused_:
        caller.call(model=OPUS, speed="fast", pin=True)
    assert [view.model for view in refused_.value.decision.candidates] == [OPUS]
    with pytest.raises(UnknownModel, match=r"no price for fast mode.*leave `speed` out"):
        caller.call(model=SONNET, speed="fast")


@on_sqlite
def test_usage_of_an_unknown_kind_charges_the_whole_hold(stage):
    """A billable number this release has no price for is journalled, and at least the ceiling is charged."""
    stage.api.next(Reply(usage={"hologram_tokens": 9}))
    receipt = stage.governor(department(TEAM)).call().receipt
    assert receipt.cost == receipt.ceiling
    assert stage.last_ending()["unpriced"] == ["hologram_tokens"]


@on_sqlite
def test_a_line_missing_from_the_policy_goes_to_the_next(stage):
    """Asking for a line that the policy does not have is served by the nearest below it."""
    team = department(TEAM, routing={"lines": {key: LINES[key] for key in ("haiku", "sonnet")}})
    receipt = stage.governor(team).call(model="opus").receipt
    assert receipt.model == SONNET
    assert receipt.decision.candidates[0].why == "asked for: opus is not among the policy's lines"


@on_sqlite
def test_a_model_by_id_is_a_preference(stage):
    """A model id of no line of the policy serves, with the policy's cheaper lines behind it."""
    receipt = stage.governor(department(TEAM)).call(model="claude-sonnet-4-6").receipt
    assert receipt.model == "claude-sonnet-4-6"
    assert [view.model for view in receipt.decision.candidates] == ["claude-sonnet-4-6", HAIKU]


@on_sqlite
def test_parameters_reach_the_api_unchanged(stage):
    """What the governor does not decide is sent as the caller gave it, and nothing is added."""
    extra = {"system": "Be brief.", "tools": [TOOL], "stop_sequences": ["END"], "metadata": {"user_id": "x"}}
    stage.governor(department(TEAM)).call(**extra)
    (body,) = stage.sent()
    assert body == {"model": SONNET, "max_tokens": 100, "messages": HELLO, "stream": True, **extra}


@on_sqlite
def test_the_application_tells_who_its_users_are(stage):
    """A callable's premium user has the premium budget, one it does not know is refused."""
    asked = []

    def look_up(user, department):
        asked.append((user, department))
        return {"user_tier": "premium"} if user == "ada" else None

    tiered = {"per": "user", "user_tier": "premium", "usd": "1", "window": "life"}
    caller = stage.governor(department(TEAM, tiered, users_from="application"), users=look_up)
    caller.call(user="ada")
    assert "department=team/user=ada/usd/life" in stage.balances()
    assert asked == [("ada", "team")]
    with pytest.raises(PolicyViolation, match="unknown user 'eve'"):
        caller.call(user="eve")
