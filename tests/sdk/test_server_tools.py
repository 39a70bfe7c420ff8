"""Tools that run at the API: bounded by the policy before the call, billed and settled pass by pass."""

from __future__ import annotations

import pytest
from support.fixed_api import CODE, FETCH, FIND, SEARCH
from support.governed import HAIKU, HELLO, OPUS, SONNET, Clock, department
from support.stages import blocking, on_sqlite, once

from governor import BudgetExceeded, PolicyViolation
from governor.testing import FakeClaude, Reply, cut_mid_stream

TEAM = {"per": "department", "usd": "100", "window": "life"}
MINE = {"name": "mine", "input_schema": {"type": "object"}}
ADVISOR = {"type": "advisor_20260301", "name": "advisor", "model": OPUS, "max_uses": 2}


def team(*budgets, **limits):
    """A policy with these limits of a request."""
    return department(*(budgets or (TEAM,)), limits=limits)


def no_overrun(stage, receipt):
    """The bill is the ledger's and within the hold."""
    assert receipt.cost.nanos == stage.api.bill[-1].nanos <= receipt.ceiling.nanos
    assert not receipt.overrun
    assert stage.posted() == stage.api.billed_nanos


# The bound in the request.


@on_sqlite
@pytest.mark.parametrize(
    ("tool", "sent"),
    [
        (SEARCH, {**SEARCH, "max_uses": 3}),
        ({**SEARCH, "max_uses": 2}, {**SEARCH, "max_uses": 2}),
        ({**FETCH, "max_uses": 9}, {**FETCH, "max_uses": 3}),
        (FIND, FIND),
        (MINE, MINE),
    ],
    ids=["none of its own", "a smaller one", "a larger one", "a tool that takes none", "a tool of one's own"],
)
def test_the_policys_number_of_uses_is_sent(stage, tool, sent):
    """The smaller of the policy's and the request's number goes to the API, where the tool takes one."""
    caller = stage.governor(team(tool_uses=3))
    given = dict(tool)
    no_overrun(stage, caller.call(tools=[MINE, tool]).receipt)
    assert stage.sent()[-1]["tools"] == [MINE, sent]
    assert tool == given


@on_sqlite
@pytest.mark.parametrize("tool", [SEARCH, FETCH, FIND, CODE], ids=lambda tool: tool["name"])
def test_without_a_number_nothing_is_sent(stage, tool):
    """A tool that may run without end is refused before anything is counted, held or sent."""
    caller = stage.governor(team())
    with pytest.raises(PolicyViolation, match=f"{tool['type']}.*tool_uses: 5|billed by the hour"):
        caller.call(tools=[tool])
    assert stage.api.requests == []
    assert stage.balances() == {}


@on_sqlite
def test_the_smaller_of_two_files_numbers_counts(stage):
    """Of both files' uses the smaller number is sent, of their results the larger is held."""
    shared = {"limits": {"tool_uses": 2, "tool_result_tokens": 9_000}}
    caller = stage.governor(team(tool_uses=7, tool_result_tokens=500), shared=shared)
    receipt = caller.call(tools=[SEARCH]).receipt
    assert stage.sent()[-1]["tools"][0]["max_uses"] == 2
    large = receipt.ceiling
    caller = stage.governor(team(tool_uses=2, tool_result_tokens=9_000))
    assert caller.call(tools=[SEARCH]).receipt.ceiling == large


@on_sqlite
def test_a_prompt_is_counted_without_its_server_tools(stage):
    """The API counts no server tool but the advisor: the others are left out of the count, and bounded."""
    caller = stage.governor(team(tool_uses=2))
    plain = caller.call().receipt.decision
    with_tool = caller.call(tools=[FETCH], tool_choice={"type": "auto"}).receipt.decision
    assert (plain.estimate, with_tool.estimate) == ("count_tokens", "count_tokens")
    assert with_tool.input_tokens > plain.input_tokens + 4_096
    assert len(stage.api.counts) == 1  # what is left is the same prompt
    caller.call(tools=[FETCH, ADVISOR], messages=[{"role": "user", "content": "Again"}])
    assert [tool["type"] for tool in stage.api.counts[-1].body["tools"]] == [ADVISOR["type"]]


# The bill.


@blocking
def test_every_search_and_pass_is_settled(stage):
    """The ledger has what the API bills: every pass over the grown prompt, and a fee for every search."""
    caller = stage.governor(team(tool_uses=4))
    for reply in (
        Reply(searches=2),
        Reply(searches=4, fetches=1, tool_result_tokens=25_000),
        Reply(fetches=4, tool_searches=4, tool_result_tokens=25_000),
        Reply(searches=9, fetches=9, tool_result_tokens=25_000),
        Reply(),
    ):
        stage.api.next(reply)
        receipt = caller.call(tools=[SEARCH, FETCH, FIND], max_tokens=1_000).receipt
        no_overrun(stage, receipt)
        searches = receipt.usage["server_tool_use"]["web_search_requests"] if reply.searches else 0
        assert searches == min(reply.searches, 4)
        passes = len(receipt.usage.get("iterations") or ())
        assert passes == len(stage.api.bill[-1].usage.get("iterations") or ())
        assert stage.last_ending()["usage"] == receipt.usage
    assert stage.holds() == ()


@on_sqlite
def test_the_tokens_of_every_pass_count(stage):
    """A tokens budget counts each pass, and never more than was held."""
    caller = stage.governor(team(TEAM, {"per": "department", "tokens": 10**9, "window": "life"}, tool_uses=3))
    stage.api.next(Reply(searches=3))
    usage = caller.call(tools=[SEARCH], max_tokens=1_000).receipt.usage
    assert stage.posted("department=team/tokens/life") == usage["input_tokens"] + usage["output_tokens"]


@on_sqlite
def test_the_step_of_each_pass_is_settled(stage):
    """On Haiku 5.5 the passes above 100,000 tokens cost five times as much, and the hold had room for all."""
    caller = stage.governor(team(tool_uses=2, tool_result_tokens=60_000))
    stage.api.next(Reply(fetches=2, tool_result_tokens=60_000))
    receipt = caller.call(model="haiku", tools=[FETCH]).receipt
    no_overrun(stage, receipt)
    prompts = [one["input_tokens"] for one in receipt.usage["iterations"]]
    assert prompts[1] < 100_000 < prompts[2]


@blocking
def test_what_is_beyond_the_result_is_a_recorded_overrun(stage):
    """A result larger than the policy says is billed, posted whole, and marked in receipt and journal."""
    caller = stage.governor(team(tool_uses=2, tool_result_tokens=1_000))
    stage.api.next(Reply(fetches=2, tool_result_tokens=100_000))
    receipt = caller.call(tools=[FETCH], max_tokens=1_000).receipt
    assert receipt.overrun
    assert receipt.cost > receipt.ceiling
    assert stage.last_ending()["overrun"] == "1"
    assert stage.posted() == stage.api.billed_nanos == receipt.cost.nanos
    stage.api.next(Reply(fetches=2, tool_result_tokens=1_000))
    no_overrun(stage, caller.call(tools=[FETCH], max_tokens=1_000).receipt)


@on_sqlite
@pytest.mark.parametrize("where", ["department", "organization"])
def test_strict_leaves_no_overrun(stage, where):
    """With the whole window held for every pass, no result is too large."""
    strict = {"server_tools": "strict"}
    policy = team(tool_uses=2, tool_result_tokens=1_000) | (strict if where == "department" else {})
    caller = stage.governor(policy, shared=strict if where == "organization" else {})
    stage.api.next(Reply(fetches=2, searches=2, tool_result_tokens=190_000))
    receipt = caller.call(tools=[FETCH, SEARCH], max_tokens=1_000).receipt
    no_overrun(stage, receipt)
    assert receipt.cost.nanos > 10**9
    # Nor is a call without such a tool held for more than it can use.
    assert caller.call().receipt.ceiling.nanos < 3 * 10**6


@on_sqlite
def test_a_loop_that_the_budget_cannot_bear_is_refused(stage):
    """What a loop may cost is held before it is sent: a budget for one pass is not enough."""
    caller = stage.governor(team({**TEAM, "usd": "0.01"}, tool_uses=5))
    assert caller.call(model="sonnet").receipt.model == SONNET
    with pytest.raises(BudgetExceeded):
        caller.call(model="sonnet", tools=[SEARCH])
    assert len(stage.sent()) == 1


@on_sqlite
def test_a_loop_that_breaks_off_is_charged_within_its_hold(stage):
    """A stream cut in the middle of a loop is charged by rule, at most what was held, and marked."""
    caller = stage.governor(team(tool_uses=2))
    stage.api.inject(cut_mid_stream(9, reply=Reply(searches=2)))
    with pytest.raises(Exception, match="broke off"):
        caller.call(tools=[SEARCH], max_tokens=1_000)
    ending = stage.last_ending()
    assert ending["uncertain"]
    assert 0 < ending["cost_nanos"] <= ending["ceiling_nanos"]
    assert stage.api.billed_nanos <= stage.posted() == ending["cost_nanos"]


@on_sqlite
def test_a_step_down_is_bounded_for_its_own_model(stage):
    """Where a loop is too dear on one line, the next is tried with its own prices and the same bound."""
    caller = stage.governor(team({**TEAM, "usd": "0.5"}, tool_uses=3))
    stage.api.next(Reply(searches=3))
    receipt = caller.call(model="opus", tools=[SEARCH]).receipt
    no_overrun(stage, receipt)
    assert receipt.model == HAIKU
    assert stage.sent()[-1]["tools"] == [{**SEARCH, "max_uses": 3}]
    dear = [view.ceiling for view in receipt.decision.candidates]
    assert dear == sorted(dear, reverse=True)


# Where it is served.


@on_sqlite
def test_the_workspaces_region_is_held_and_settled(stage):
    """A workspace in the USA costs a tenth more: held so if the policy says it, and no overrun."""
    with FakeClaude(workspace_geo="us", now_ms=Clock()) as api:
        stage.api = api
        caller = stage.governor(department(TEAM, workspace={"inference_geo": "us"}))
        receipt = caller.call().receipt
        no_overrun(stage, receipt)
        assert receipt.usage["inference_geo"] == "us"
        tokens = receipt.usage["input_tokens"]
        assert receipt.cost.nanos == (tokens * 2_000 + 100 * 10_000) * 11 // 10
        assert receipt.ceiling.nanos == ((tokens + 64) * 2_000 + 100 * 10_000) * 11 // 10
        plain = caller.call(inference_geo="global").receipt
        no_overrun(stage, plain)
        assert plain.cost.nanos == tokens * 2_000 + 100 * 10_000
        no_overrun(stage, caller.call(model="claude-haiku-4-5").receipt)


@on_sqlite
def test_a_region_that_the_policy_does_not_know_is_an_overrun(stage):
    """A workspace in the USA that no policy tells of is billed, posted whole, and marked."""
    with FakeClaude(workspace_geo="us", now_ms=Clock()) as api:
        stage.api = api
        receipt = stage.governor(department(TEAM)).call(max_tokens=3_000).receipt
        assert receipt.cost.nanos == stage.posted() == api.billed_nanos
        stage.api.next(Reply(output_tokens=3_000))
        full = stage.governor(department(TEAM)).call(max_tokens=3_000).receipt
        assert full.overrun
        assert stage.posted() == api.billed_nanos


@on_sqlite
@pytest.mark.parametrize(
    ("name", "percent"),
    [
        ("global.anthropic.claude-sonnet-5-5", 100),
        ("us.anthropic.claude-sonnet-5-5", 110),
        ("anthropic.claude-sonnet-5-5", 110),
        ("us-gov.anthropic.claude-sonnet-5-5", 120),
    ],
)
def test_a_name_of_bedrock_is_held_and_settled_at_its_endpoint(stage, name, percent):
    """The endpoint that the name tells is in the hold, the bill and the ledger alike."""
    receipt = stage.governor(department(TEAM)).call(model=name, pin=True).receipt
    no_overrun(stage, receipt)
    tokens = receipt.usage["input_tokens"]
    assert receipt.model == name
    assert receipt.cost.nanos == (tokens * 2_000 + 100 * 10_000) * percent // 100
    assert receipt.ceiling.nanos == ((tokens + 64) * 2_000 + 100 * 10_000) * percent // 100


@on_sqlite
def test_a_loop_of_a_model_on_bedrock_is_settled_at_its_endpoint(stage):
    """Every pass has the regional price; the fee of a search has none."""
    caller = stage.governor(team(tool_uses=2))
    stage.api.next(Reply(searches=2))
    receipt = caller.call(model="us.anthropic.claude-sonnet-5-5", pin=True, tools=[SEARCH]).receipt
    no_overrun(stage, receipt)
    tokens = receipt.usage["input_tokens"] * 2_000 + receipt.usage["output_tokens"] * 10_000
    assert receipt.cost.nanos == tokens * 11 // 10 + 2 * 10_000_000


@on_sqlite
@pytest.mark.parametrize(("endpoint", "percent"), [("global", 100), ("regional", 110)])
def test_a_name_of_vertex_ai_is_priced_as_the_policy_says(stage, endpoint, percent):
    """The name does not tell; the policy's endpoint is in the hold, and the bill agrees."""
    with FakeClaude(vertex_endpoint=endpoint, now_ms=Clock()) as api:
        stage.api = api
        caller = stage.governor(department(TEAM, workspace={"endpoint": endpoint}))
        receipt = caller.call(model="claude-sonnet-5-5@default", pin=True).receipt
        no_overrun(stage, receipt)
        assert receipt.cost.nanos == (receipt.usage["input_tokens"] * 2_000 + 10**6) * percent // 100


@once
def test_the_bound_is_in_every_candidate_that_a_refusal_names(stage):
    """The largest `max_tokens` that a refusal offers leaves room for the loop."""
    caller = stage.governor(team({**TEAM, "usd": "0.3"}, tool_uses=1, tool_result_tokens=5_000))
    request = {"model": "opus", "pin": True, "messages": HELLO, "tools": [SEARCH]}
    with pytest.raises(BudgetExceeded) as refused:
        caller.call(**request, max_tokens=30_000)
    offered = refused.value.affordable_max_tokens
    assert offered is not None
    assert 0 < offered < 30_000
    assert caller.call(**request, max_tokens=offered).receipt.ceiling.nanos <= 3 * 10**8
