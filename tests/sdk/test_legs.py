"""When the API pushes back: what is waited for, what moves to another model, what is never sent again."""

from __future__ import annotations

import json
from contextlib import suppress

import anthropic
import pytest
from support.between import between
from support.endings import CONCURRENT, REQUESTS, USD, policy
from support.governed import HAIKU, OPUS, SONNET, department
from support.pauses import pauses
from support.stages import blocking, on_sqlite, once

from governor import GovernorError, ModelReplaced
from governor.ledger import commands as c
from governor.story.effects import Ended
from governor.testing import (
    Reply,
    cut_before_head,
    cut_mid_stream,
    error_mid_stream,
    overloaded,
    rate_limited,
    spend_limit_reached,
    status_error,
)

TEXT = Reply(text="It is what it is. " * 20)
USAGE_LIMIT = (
    "You have reached your specified workspace API usage limits. You will regain access on 2026-12-01."
)
BACK_OFF, WHILE = (1, 2), (30, 60)


def team(**more):
    """A policy whose calls are sent four times at most and give up after five seconds of silence."""
    return policy(**{"retries": 3, "timeout": 5, **more})


HEIR = {"routing": {"successors": {OPUS: "claude-opus-5"}}}


def models(stage):
    """The models that were asked, in order."""
    return [body["model"] for body in stage.sent()]


def settled(stage, requests=1):
    """Nothing is open, so many requests are counted, and all that was posted; returns it in nano-dollars."""
    stage.api.wait_idle()
    balances = stage.balances()
    assert stage.holds() == ()
    assert {name: balance.held for name, balance in balances.items()} == dict.fromkeys(balances, 0)
    assert (balances[CONCURRENT].posted, balances[REQUESTS].posted) == (0, requests)
    assert balances[USD].posted >= stage.api.billed_nanos
    return balances[USD].posted


def ends(stage):
    """The records of the holds that ended, in order."""
    kinds = ("settle", "release", "expire")
    return [json.loads(entry.record) for entry in stage.journal() if entry.kind in kinds]


WAITED_FOR = [
    pytest.param(rate_limited(retry_after=7), (7, 7), id="429"),
    pytest.param(rate_limited(retry_after=60), (60, 60), id="429-at-the-cap"),
    pytest.param(rate_limited(retry_after=None), BACK_OFF, id="429-without-a-word"),
    pytest.param(status_error(500), BACK_OFF, id="500"),
    pytest.param(status_error(503), BACK_OFF, id="503"),
    pytest.param(status_error(409), BACK_OFF, id="409"),
]


@pytest.mark.parametrize(("fault", "within"), WAITED_FOR)
@on_sqlite
def test_what_passes_is_waited_for_on_the_same_hold(stage, fault, within):
    """A rate limit and a broken server are sent to again, after a pause, in one leg."""
    stage.api.inject(fault)
    caller = stage.governor(team())
    waited = pauses(caller)
    receipt = caller.call(model="opus").receipt
    assert models(stage) == [OPUS, OPUS]
    assert [within[0] <= seconds <= within[1] for seconds in waited] == [True]
    assert (receipt.attempts, len(receipt.legs), receipt.decision.downgraded) == (2, 1, False)
    assert settled(stage) == receipt.cost.nanos == stage.api.billed_nanos


@once
def test_the_back_off_grows(stage):
    """Each pause may be twice as long as the one before."""
    stage.api.inject(*[status_error(500)] * 3)
    caller = stage.governor(team())
    waited = pauses(caller)
    caller.call()
    assert [seconds <= 2**number for number, seconds in enumerate(waited, 1)] == [True] * 3


NEVER_AGAIN = [
    pytest.param(spend_limit_reached(), id="enforced-spend-limit"),
    pytest.param(spend_limit_reached("contract_spend_limit_reached"), id="contract-spend-limit"),
    pytest.param(status_error(429, error_code="ramp_limit_exceeded", retry_after=1), id="ramp-limit"),
    pytest.param(status_error(400, message=USAGE_LIMIT), id="usage-limit"),
    *(pytest.param(status_error(status, retry_after=1), id=str(status)) for status in (400, 401, 402, 403)),
    pytest.param(status_error(404, message="File not found: file_1"), id="404"),
    pytest.param(status_error(404, message=f"model: {OPUS}"), id="404-model-without-successor"),
    pytest.param(status_error(422), id="422"),
    pytest.param(rate_limited(retry_after=61), id="429-above-the-cap"),
]


@pytest.mark.parametrize("fault", NEVER_AGAIN)
@once
def test_what_no_retry_heals_is_sent_once(stage, fault):
    """Spend caps and faulty requests are raised at once, whatever the policy would send again."""
    stage.api.inject(fault)
    caller = stage.governor(team(retry_uncertain=True, routing={"successors": {SONNET: HAIKU}}))
    waited = pauses(caller)
    with pytest.raises(anthropic.APIStatusError) as raised:
        caller.call(model="opus")
    assert (raised.value.status_code, models(stage), waited) == (fault.status, [OPUS], [])
    assert settled(stage) == 0


def test_an_overloaded_model_is_left_for_the_next_at_once(stage):
    """A 529 ends its leg unbilled; the next candidate is held anew and serves, and the receipt says so."""
    stage.api.inject(overloaded())
    caller = stage.governor(team())
    waited = pauses(caller)
    message = caller.call(model="opus", request_id="one")
    receipt, decision = message.receipt, message.receipt.decision
    assert (waited, models(stage), message.model) == ([], [OPUS, SONNET], SONNET)
    assert (receipt.request_id, decision.request_id, receipt.attempts) == ("one", "one", 2)
    assert decision.reason == f"{OPUS} was overloaded (529): {SONNET} instead"
    assert decision.downgraded
    assert [(view.model, view.verdict) for view in decision.candidates] == [
        (OPUS, "overloaded"),
        (SONNET, "fits"),
        (HAIKU, "not tried"),
    ]
    told = [(leg.model, leg.ended, leg.status, leg.cost.nanos, leg.uncertain) for leg in receipt.legs]
    assert told == [
        (OPUS, "refused", 529, 0, False),
        (SONNET, "answered", 200, receipt.cost.nanos, False),
    ]
    assert settled(stage) == receipt.cost.nanos == stage.api.billed_nanos
    first, second = ends(stage)
    assert (first["next"], second["of"], second["leg"]) == ("one~2", "one", 2)
    assert [entry.id for entry in stage.journal("reserve")] == ["one", "one~2"]


ROUNDS = [
    pytest.param("opus", False, [OPUS, SONNET, HAIKU, OPUS], 4, [WHILE], id="all-candidates"),
    pytest.param("haiku", False, [HAIKU] * 4, 1, [WHILE] * 3, id="last-line"),
    pytest.param("opus", True, [OPUS] * 4, 1, [WHILE] * 3, id="pinned"),
]


@pytest.mark.parametrize(("asked", "pin", "sent", "legs", "within"), ROUNDS)
@on_sqlite
def test_an_overload_everywhere_is_come_back_to(stage, asked, pin, sent, legs, within):
    """With no other candidate left, the first is asked again after thirty to sixty seconds."""
    stage.api.inject(*[overloaded()] * 3)
    caller = stage.governor(team())
    held = []
    waited = pauses(caller, lambda _: held.append(len(stage.holds())))
    receipt = caller.call(model=asked, pin=pin).receipt
    assert models(stage) == sent
    assert [low <= seconds <= high for seconds, (low, high) in zip(waited, within, strict=True)]
    assert held == [int(legs == 1)] * len(within)
    assert (receipt.attempts, len(receipt.legs), receipt.decision.downgraded) == (4, legs, False)
    assert settled(stage) == receipt.cost.nanos == stage.api.billed_nanos


@on_sqlite
def test_a_policy_that_only_watches_never_moves_a_call(stage):
    """In shadow an overloaded model is waited for, and the same one is asked again."""
    stage.api.inject(overloaded())
    caller = stage.governor(team(mode="shadow"))
    waited = pauses(caller)
    receipt = caller.call(model="opus").receipt
    assert (models(stage), len(receipt.legs)) == ([OPUS, OPUS], 1)
    assert 30 <= waited[0] <= 60


@pytest.mark.parametrize("retries", [0, 1, 2])
@on_sqlite
def test_the_tiers_retries_bound_all_legs_together(stage, retries):
    """Moving on counts as sending again; then the API's error is raised and nothing is charged."""
    stage.api.inject(overloaded(), rate_limited(retry_after=1), overloaded(), overloaded())
    caller = stage.governor(team(retries=retries))
    pauses(caller)
    with pytest.raises(anthropic.APIStatusError):
        caller.call(model="opus")
    assert len(stage.sent()) == retries + 1
    assert settled(stage) == 0


@on_sqlite
def test_the_next_candidate_is_asked_of_its_own_budgets(stage):
    """A model whose budget is spent is passed over, as it would have been at first."""
    spent = {"per": "model", "name": SONNET, "usd": "0.000001", "window": "life"}
    stage.api.inject(overloaded())
    caller = stage.governor(department({"per": "department", "usd": 1, "window": "life"}, spent, retries=3))
    receipt = caller.call(model="opus").receipt
    assert models(stage) == [OPUS, HAIKU]
    assert receipt.decision.reason.startswith(f"{OPUS} was overloaded (529): {HAIKU} instead: ")
    assert [view.verdict for view in receipt.decision.candidates] == ["overloaded", "exhausted", "fits"]


@on_sqlite
def test_a_call_that_no_other_budget_bears_comes_back(stage):
    """Where no other candidate can be held, the first is asked again after thirty to sixty seconds."""
    tiny = [{"per": "model", "name": name, "usd": "0.000001", "window": "life"} for name in (SONNET, HAIKU)]
    stage.api.inject(overloaded())
    caller = stage.governor(department({"per": "department", "usd": 1, "window": "life"}, *tiny, retries=3))
    waited = pauses(caller)
    receipt = caller.call(model="opus", request_id="one").receipt
    assert (models(stage), len(receipt.legs)) == ([OPUS, OPUS], 2)
    assert receipt.decision.reason == f"{OPUS} was overloaded (529): {OPUS} again"
    assert 30 <= waited[0] <= 60
    assert stage.holds() == ()
    assert [(entry.id, entry.outcome) for entry in stage.journal("reserve")] == [
        ("one", "held"),
        ("one~2", "exhausted"),
        ("one~3", "held"),
    ]


@on_sqlite
def test_a_call_that_no_budget_bears_any_more_ends_in_the_apis_error(stage):
    """It was sent, so it is no refusal: the API's own error is raised, from the budget's."""
    caller = stage.governor(department({"per": "department", "usd": 1, "window": "life"}, retries=3))
    pauses(caller)
    between(caller).does(
        c.Release, lambda: stage.hold("department=team/usd/life", 999_999_000, 1_000_000_000), after=True
    )
    stage.api.inject(overloaded())
    with pytest.raises(anthropic.InternalServerError) as raised:
        caller.call(model="opus", max_tokens=1000)
    assert isinstance(raised.value.__cause__, GovernorError)
    assert [hold.id for hold in stage.holds()] == ["another-call"]


@on_sqlite
def test_the_deadline_bounds_all_legs(stage):
    """A way back that would go beyond it is not begun."""
    stage.api.inject(*[overloaded()] * 4)
    caller = stage.governor(team(deadline=20))
    waited = pauses(caller)
    with pytest.raises(anthropic.InternalServerError):
        caller.call(model="opus")
    assert (models(stage), waited) == ([OPUS, SONNET, HAIKU], [])
    assert settled(stage) == 0


MID_STREAM = error_mid_stream(reply=TEXT)


@on_sqlite
def test_an_overload_in_mid_answer_is_not_sent_again(stage):
    """It is settled by the rule for a cut stream, and raised: it may have been billed."""
    stage.api.inject(MID_STREAM)
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        stage.governor(team()).call(model="opus", max_tokens=1000)
    (end,) = ends(stage)
    assert (end["ended"], end["uncertain"], models(stage)) == ("cut", True, [OPUS])
    assert 0 < settled(stage) == end["cost_nanos"] < end["ceiling_nanos"]


UNCERTAIN = [
    pytest.param(cut_before_head(billed=True), [OPUS, OPUS], "silent", BACK_OFF, id="no-answer"),
    pytest.param(status_error(504), [OPUS, OPUS], "silent", BACK_OFF, id="504"),
    pytest.param(cut_mid_stream(2, reply=TEXT), [OPUS, OPUS], "cut", BACK_OFF, id="cut-before-any-text"),
    pytest.param(MID_STREAM, [OPUS, SONNET], "cut", None, id="overload-in-mid-answer"),
]


@pytest.mark.parametrize(("fault", "sent", "ended", "within"), UNCERTAIN)
@on_sqlite
def test_what_may_have_been_billed_stays_charged(stage, fault, sent, ended, within):
    """With `retry_uncertain` it is sent again on a hold of its own; the receipt is the sum of both legs."""
    stage.api.inject(fault)
    caller = stage.governor(team(retry_uncertain=True))
    waited = pauses(caller)
    receipt = caller.call(model="opus", max_tokens=1000).receipt
    first, second = receipt.legs
    assert (models(stage), first.ended, first.uncertain, second.uncertain) == (sent, ended, True, False)
    assert [within[0] <= seconds <= within[1] for seconds in waited] == [True] * (within is not None)
    assert receipt.uncertain
    assert receipt.cost.nanos == first.cost.nanos + second.cost.nanos == settled(stage, requests=2)
    assert stage.api.billed_nanos <= receipt.cost.nanos <= receipt.ceiling.nanos
    if ended == "silent":
        assert first.cost.nanos == ends(stage)[0]["ceiling_nanos"]


NOT_REPEATED = [
    pytest.param(False, cut_before_head(), id="not-allowed"),
    pytest.param(True, cut_mid_stream(5, reply=TEXT), id="something-came"),
]


@pytest.mark.parametrize(("allowed", "fault"), NOT_REPEATED)
@on_sqlite
def test_what_is_not_sent_again_after_an_uncertain_end(stage, allowed, fault):
    """Without the policy's word nothing that may have been billed is; with it, no answer that had begun."""
    stage.api.inject(fault)
    with pytest.raises(anthropic.APIConnectionError):
        stage.governor(team(retry_uncertain=allowed)).call(model="opus", max_tokens=1000)
    assert len(stage.sent()) == 1
    settled(stage)


def test_a_retired_model_gives_way_to_its_successor(stage):
    """A 404 that names the model moves to the policy's successor, and a warning event says so."""
    stage.api.inject(status_error(404, message=f"model: {OPUS}"))
    receipt = stage.governor(team(**HEIR)).call(model="opus", request_id="one").receipt
    assert models(stage) == [OPUS, "claude-opus-5"]
    assert stage.events == [ModelReplaced(OPUS, "claude-opus-5", "the API does not know it")]
    assert stage.events[0].warns
    assert receipt.decision.reason == f"{OPUS} is not known to the API (404): claude-opus-5 instead"
    assert receipt.decision.candidates[1].why == f"the successor of {OPUS}"
    assert settled(stage) == receipt.cost.nanos == stage.api.billed_nanos


@on_sqlite
def test_a_successor_that_is_overloaded_gives_way_to_the_next_line(stage):
    """It stands where the retired model stood."""
    stage.api.inject(status_error(404, message=f"model: {OPUS}"), overloaded())
    receipt = stage.governor(team(**HEIR)).call(model="opus").receipt
    assert models(stage) == [OPUS, "claude-opus-5", SONNET]
    assert [view.verdict for view in receipt.decision.candidates] == [
        "not found",
        "overloaded",
        "fits",
        "not tried",
    ]
    assert settled(stage) == receipt.cost.nanos == stage.api.billed_nanos


KEPT = [
    pytest.param({"pin": True}, {}, {OPUS: "claude-opus-5"}, id="pinned"),
    pytest.param({}, {"mode": "shadow"}, {OPUS: "claude-opus-5"}, id="in-shadow"),
    pytest.param({}, {}, {SONNET: "claude-opus-5"}, id="successor-of-another"),
]


@pytest.mark.parametrize(("request_", "more", "successors"), KEPT)
@once
def test_where_no_successor_may_serve_the_404_is_raised(stage, request_, more, successors):
    """A pin is kept, shadow alters nothing, and what has no price is not sent."""
    stage.api.inject(status_error(404, message=f"model: {OPUS}"))
    with pytest.raises(anthropic.NotFoundError):
        stage.governor(team(routing={"successors": successors}, **more)).call(model="opus", **request_)
    assert (models(stage), stage.events) == ([OPUS], [])
    assert stage.holds() == ()


class GivenUp(BaseException):
    """As Ctrl-C."""


@blocking
def test_a_call_given_up_between_two_legs_holds_nothing(stage):
    """Ctrl-C on the way back goes on to the caller; both legs are closed and nothing is charged."""
    stage.api.inject(*[overloaded()] * 3)
    caller = stage.governor(team())

    def give_up(_seconds):
        assert stage.holds() == ()
        raise GivenUp

    pauses(caller, give_up)
    with pytest.raises(GivenUp):
        caller.call(model="opus")
    assert models(stage) == [OPUS, SONNET, HAIKU]
    assert stage.holds() == ()
    assert stage.posted() == 0


@once
def test_a_call_whose_prompt_was_not_counted_moves_on_its_bound(stage):
    """Where next to nothing was at stake, the next leg is held for the bound that the first one was."""
    caller = stage.governor(team(estimate="auto"))
    caller.call(model="opus")
    stage.api.inject(overloaded())
    receipt = caller.call(model="opus").receipt
    assert (models(stage), receipt.decision.estimate) == ([OPUS, OPUS, SONNET], "local bound")
    assert settled(stage, requests=2) == stage.api.billed_nanos


@once
def test_the_longest_id_has_legs_of_its_own(stage):
    """Ids of legs are no longer than a request's may be, and no two calls share one."""
    stage.api.inject(overloaded())
    caller = stage.governor(team())
    caller.call(model="opus", request_id="x" * 128)
    stage.api.inject(overloaded())
    caller.call(model="opus", request_id="x" * 127 + "y")
    ids = {entry.id for entry in stage.journal("reserve")}
    assert len(ids) == 4
    assert max(map(len, ids)) <= 128
    assert settled(stage, requests=2) == stage.api.billed_nanos


def heard(caller):
    """How each sending of *caller* ends from now on."""
    governor, ended = caller.governor, []
    perform = governor._perform

    def note(effect, run):
        reply = perform(effect, run)
        if isinstance(reply, Ended):
            ended.append(reply)
        return reply

    governor._perform = note
    return ended


@once
def test_an_end_tells_of_the_apis_load(stage):
    """The rate-limit headers of every answer, errors too; whether it is overloaded, or limits the caller."""
    caller = stage.governor(team(retries=1))
    pauses(caller)
    ended = heard(caller)
    caller.call()
    for fault in (rate_limited(1), spend_limit_reached(), status_error(529, retry_after=0), MID_STREAM):
        stage.api.inject(fault)
        with suppress(anthropic.APIStatusError):
            caller.call(max_tokens=1000)
    limited = [(one.status, one.limited, one.overloaded) for one in ended if one.error is not None]
    assert limited == [(429, True, False), (429, False, False), (529, False, True), (200, False, True)]
    assert all(name.startswith("anthropic-ratelimit-") for one in ended for name in one.headers)
    assert ended[0].headers["anthropic-ratelimit-requests-limit"] == "1000000"
