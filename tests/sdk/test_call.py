"""One governed call from end to end: the message, its receipt, thresholds, and the model that serves."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import anthropic
import pytest
from support.governed import HAIKU, HELLO, LADDER, OPUS, SONNET, department, usd
from support.stages import blocking, on_sqlite, once

from governor import BudgetExceeded, Governor, Money, ReservationConflict
from governor.testing import Reply

TEAM = {"per": "department", "usd": "1", "window": "life"}
TEAM_USD = "department=team/usd/life"
THINKING = {"type": "thinking", "thinking": "Hmm. " * 9, "signature": "abcd"}
TOOL_USE = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"place": "Ulm " * 9}}


@blocking
def test_the_ten_lines(stage):
    """Load, call, read: a message with what it cost and why this model served, and the ledger has it."""
    stage.write(department({"per": "department", "usd": 100, "window": "month"}))
    with Governor.load(
        stage.policies, ledger=stage.url, client=stage.api.client(), create_ledger=True
    ) as gov:
        message = gov.call(
            user="ada@example.com", department="team", model="auto", max_tokens=100, messages=HELLO
        )
    assert message.content[0].text
    assert str(message.receipt.cost) == "$0.001038"
    assert message.receipt.decision.reason == f"{SONNET}: the standard tier's line"
    assert stage.api.billed_nanos == message.receipt.cost.nanos


@pytest.mark.parametrize(
    "reply",
    [
        Reply(output_tokens=20),
        Reply(output_tokens=20, stop_reason="stop_sequence"),
        Reply(
            content=[THINKING, {"type": "text", "text": "It is. " * 9}, TOOL_USE, {**TOOL_USE, "input": {}}]
        ),
    ],
)
def test_the_message_is_the_sdks_own(stage, reply):
    """The message is an `anthropic.types.Message` with the fields that the SDK reads, streamed or not."""
    stage.api.next(reply, reply, reply)
    message = stage.governor(department(TEAM)).call()
    client, body = stage.api.client(), {"model": SONNET, "max_tokens": 100, "messages": HELLO}
    with client.messages.stream(**body) as stream:
        streamed = stream.get_final_message()
    plain = client.messages.create(**body)
    assert isinstance(message, anthropic.types.Message)
    assert {**plain.model_dump(), "id": message.id} == message.model_dump()
    assert {**streamed.model_dump(), "id": message.id} == message.model_dump()
    assert json.loads(message.to_json()) == message.to_dict(mode="json")
    assert message._request_id == message.receipt.api_request_id


@on_sqlite
def test_the_answer_can_be_sent_back(stage):
    """The content of one answer is a turn of the next conversation, as with the SDK alone."""
    caller = stage.governor(department(TEAM))
    first = caller.call()
    caller.call(messages=[*HELLO, {"role": "assistant", "content": first.content}, *HELLO])
    (block,) = stage.sent()[-1]["messages"][1]["content"]
    assert block == {"type": "text", "text": first.content[0].text}


def test_a_receipt_tells_everything(stage):
    """The receipt has the cost, the ceiling, the usage, the times and every number of the decision."""
    message = stage.governor(department(TEAM)).call(request_id="mine-1", run="r")
    receipt, decision = message.receipt, message.receipt.decision
    assert (receipt.request_id, receipt.model, receipt.attempts) == ("mine-1", SONNET, 1)
    assert receipt.cost == Money(stage.api.billed_nanos)
    assert receipt.cost.nanos <= receipt.ceiling.nanos
    assert (receipt.settled, receipt.overrun, receipt.late) == (True, False, False)
    assert receipt.usage["output_tokens"] == message.usage.output_tokens == 100
    assert receipt.latency_ms >= receipt.first_token_ms >= 0
    assert decision.outcome == "held"
    assert [candidate.verdict for candidate in decision.candidates] == ["fits", "not tried"]
    (budget,) = decision.budgets
    assert (budget.identity, budget.posted, budget.held) == (TEAM_USD, 0, 0)
    assert budget.source.endswith("team.yaml:5")
    assert (decision.estimate, decision.input_tokens) == ("count_tokens", message.usage.input_tokens)


def test_thresholds_downgrade_warn_once_and_block(stage):
    """80 % warns once and goes to Sonnet, 90 % to Haiku, 100 % refuses; the limit is never passed."""
    limit = 300_000_000
    caller = stage.governor(department({**TEAM, "usd": usd(limit)}, thresholds=LADDER))
    stage.api.replies(output_tokens=1000)
    served = []

    def spend_all():
        while True:
            receipt = caller.call(model="opus", max_tokens=1000).receipt
            (budget,) = receipt.decision.budgets
            served.append((receipt.model, budget.posted, receipt.ceiling.nanos))

    with pytest.raises(BudgetExceeded) as refused:
        spend_all()
    for model, posted, ceiling in served:
        after = posted + ceiling
        allowed = {OPUS: 80, SONNET: 90, HAIKU: 100}[model]
        assert after * 100 <= limit * allowed
    models = [model for model, _, _ in served]
    assert models == sorted(models, key=[OPUS, SONNET, HAIKU].index)
    assert set(models) == {OPUS, SONNET, HAIKU}
    assert [event.percent for event in stage.events] == [80, 90]
    assert [event.warns for event in stage.events] == [True, False]
    assert stage.posted() == stage.api.billed_nanos <= limit
    assert stage.posted() + served[-1][2] > limit
    assert refused.value.budget.identity == TEAM_USD


def test_a_downgrade_is_said(stage):
    """A request that is served by a cheaper line says so, with the budget that made it."""
    caller = stage.governor(department({**TEAM, "usd": "0.002"}, thresholds=LADDER))
    receipt = caller.call(model="opus").receipt
    assert (receipt.model, receipt.decision.asked, receipt.decision.downgraded) == (SONNET, "opus", True)
    assert receipt.decision.reason.startswith(f"{SONNET} instead: {TEAM_USD}")
    assert [view.binding for view in receipt.decision.candidates] == [TEAM_USD, None, None]


def test_a_refusal_tells_what_would_pass(stage):
    """`BudgetExceeded` carries the budget, its numbers, when it resets, and what would fit now."""
    month = {"per": "department", "usd": "0.002", "window": "month"}
    caller = stage.governor(department(month, routing={"lines": {"sonnet": SONNET, "haiku": HAIKU}}))
    spent = caller.call(model="sonnet", pin=True).receipt.cost.nanos
    with pytest.raises(BudgetExceeded) as refused:
        caller.call(model="sonnet", pin=True)
    error = refused.value
    assert (error.budget.identity, error.budget.limit) == ("department=team/usd/month", 2_000_000)
    assert (error.budget.posted, error.budget.held, error.budget.available) == (spent, 0, 2_000_000 - spent)
    assert error.resets_at.isoformat() == "2026-12-01T00:00:00+00:00"
    assert error.cheapest_model == HAIKU
    assert error.affordable_max_tokens == 79
    assert "it resets at 2026-12-01 00:00 UTC; max_tokens=79 would pass; claude-haiku-5-5 would pass" in str(
        error
    )
    assert len(stage.sent()) == 1
    assert caller.call(model="sonnet", pin=True, max_tokens=79).receipt.model == SONNET


def test_a_pinned_model_is_refused_at_its_mark(stage):
    """`pin` never swaps: above the line's mark it is refused, naming the rule and the model that passes."""
    caller = stage.governor(department({**TEAM, "usd": "0.0025"}, thresholds=LADDER))
    with pytest.raises(BudgetExceeded) as refused:
        caller.call(model="opus", pin=True)
    assert "opus may fill it to 80 %, $0.002" in str(refused.value)
    assert f"{HAIKU} would pass" in str(refused.value)
    assert stage.holds() == ()
    assert stage.sent() == []


def test_the_hold_is_priced_on_the_model_that_serves(stage):
    """What is held while a downgraded request runs is the ceiling of the line it went to."""
    seen = stage.watch()
    caller = stage.governor(department({**TEAM, "usd": "0.002"}, thresholds=LADDER))
    receipt = caller.call(model="opus").receipt
    (sight,) = seen
    assert sight.body["model"] == SONNET
    assert sight.held == {TEAM_USD: receipt.ceiling.nanos}
    assert [hold.id for hold in sight.holds] == [receipt.request_id]
    assert stage.holds() == ()
    assert stage.balances()[TEAM_USD].held == 0


def test_a_request_id_serves_one_call(stage):
    """A second call with an id that is taken is a conflict, and is not sent."""
    caller = stage.governor(department(TEAM))
    caller.call(request_id="order-7")
    with pytest.raises(ReservationConflict, match="order-7"):
        caller.call(request_id="order-7")
    with pytest.raises(ReservationConflict, match="order-7"):
        caller.call(request_id="order-7", model="haiku")
    assert len(stage.sent()) == 1
    assert stage.posted() == stage.api.billed_nanos


def test_a_request_id_in_flight_serves_one_call(stage):
    """Two calls at once with one id: one is served, the other is a conflict, and the bill is posted."""
    caller = stage.governor(department(TEAM))
    stage.api.next(Reply(delay_ms=300))
    calls = [caller.start(request_id="twice") for _ in range(2)]
    errors = [call.exception() for call in calls]
    assert sorted(type(error).__name__ for error in errors) == ["NoneType", "ReservationConflict"]
    assert len(stage.sent()) == 1
    assert stage.posted() == stage.api.billed_nanos


@on_sqlite
def test_a_refused_request_id_may_come_again(stage):
    """An id whose request was refused is not used up."""
    caller = stage.governor(department({**TEAM, "usd": "0.0002"}))
    with pytest.raises(BudgetExceeded):
        caller.call(request_id="again", max_tokens=1000)
    assert caller.call(request_id="again", max_tokens=100).receipt.request_id == "again"


def test_decide_changes_nothing(stage):
    """`decide` names the model and the budgets of a call, and leaves no trace in the ledger or the API."""
    caller = stage.governor(department({**TEAM, "usd": "0.002"}, thresholds=LADDER))
    decision = caller.decide(model="opus")
    assert (decision.model, decision.outcome, decision.downgraded) == (SONNET, "held", True)
    assert stage.balances() == {}
    assert stage.journal("reserve") == []
    assert stage.sent() == []


def test_decide_does_not_raise_for_a_budget(stage):
    """A budget that would refuse is the decision's outcome, not an error."""
    decision = stage.governor(department({**TEAM, "usd": "0.00001"})).decide()
    assert (decision.model, decision.outcome) == (None, "exhausted")
    assert decision.reason.startswith(f"refused: {TEAM_USD}")


@on_sqlite
def test_a_listener_that_fails_harms_nobody(stage, caplog):
    """An error of the `on_event` listener is logged; the caller has the answer."""

    def fail(event):
        raise RuntimeError("no pager")

    caller = stage.governor(department({**TEAM, "usd": "0.002"}, thresholds={"10%": "warn"}), on_event=fail)
    assert caller.call(max_tokens=100).receipt.settled
    assert "the on_event listener failed" in caplog.text


SCRIPT = """
import asyncio, governor
request = dict(user="ada", department="team", max_tokens=50, messages=[{"role": "user", "content": "Hi"}])
print(governor.call(**request).receipt.cost.nanos)
async def main():
    print((await governor.acall(**request)).receipt.cost.nanos)
asyncio.run(main())
"""


@once
def test_the_module_level_calls_are_configured_by_the_environment(stage):
    """`governor.call` and `acall` find policies, ledger, key and address in the environment."""
    stage.write(department(TEAM))
    environment = {
        **os.environ,
        "GOVERNOR_POLICIES": str(stage.policies),
        "GOVERNOR_LEDGER": stage.url,
        "ANTHROPIC_API_KEY": stage.api.api_key,
        "ANTHROPIC_BASE_URL": stage.api.url,
    }
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stderr == ""
    assert sum(int(line) for line in ran.stdout.split()) == stage.api.billed_nanos == stage.posted()
