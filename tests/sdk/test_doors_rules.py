"""The middleware's rules, one by one: what it sends and refuses, who retries, what others in the chain do."""

from __future__ import annotations

import json

import anthropic
import httpx2
import pytest
from support.doors import BY_NAME, Doorway, Visit, blocking, entered, got, read
from support.governed import HAIKU, HELLO, LADDER, OPUS, SONNET, department
from support.stages import on_sqlite

from governor import BudgetExceeded, LedgerUnavailable, PolicyViolation, UnknownModel
from governor.testing import overloaded, rate_limited, spend_limit_reached, status_error

USD = "department=team/usd/life"
LIFE = {"per": "department", "usd": 10, "window": "life"}
LIMIT = 10_000_000_000
TEAM = department(LIFE)
ONE_LINE = department(LIFE, routing={"lines": {"sonnet": SONNET}})
CREATE, STREAM, POST = BY_NAME["create"], BY_NAME["raw-stream"], BY_NAME["post"]
EITHER = pytest.mark.parametrize("way", [CREATE, STREAM], ids=["create", "stream"])
SOON = 0.01


def doorway(stage, team=TEAM, **options):
    """A client with the middleware of a governor."""
    return Doorway(stage, stage.governor(team), **options)


def using(**params):
    """A visit with these parameters."""
    return Visit(params=params)


def records(stage, kind):
    """The records of one kind, oldest first, with their ids."""
    return [{"id": entry.id, **json.loads(entry.record)} for entry in stage.journal(kind)]


def models(stage):
    """The models that were sent, in order."""
    return [body["model"] for body in stage.sent()]


async def read_stream(manager):
    """What a stream of the governor's own has for events."""
    async with entered(manager) as stream:
        return await read(stream)


def nothing_happened(stage):
    """Nothing was sent, held or posted."""
    assert stage.sent() == []
    assert stage.holds() == ()
    assert not any(balance.posted for balance in stage.balances().values())


def as_billed(stage):
    """Nothing is held, and what was posted is the API's bill."""
    stage.api.wait_idle()
    assert stage.holds() == ()
    assert stage.posted() == stage.api.billed_nanos > 0


def between(stage, before=None, after=None):
    """A middleware that makes something of the request, and of what comes back."""

    def waiting(request, call_next):
        answer = call_next(before(request) if before else request)
        return after(answer) if after else answer

    async def tasked(request, call_next):
        answer = await call_next(before(request) if before else request)
        return after(answer) if after else answer

    return tasked if stage.is_async else waiting


# Who retries


@on_sqlite
@EITHER
def test_each_attempt_of_the_sdk_is_a_leg_of_the_first(stage, way):
    """Held and ended by itself, under an id of its own; each has its receipt, and only the last costs."""
    door = doorway(stage, ONE_LINE, max_retries=2)
    stage.clock.run()
    stage.api.inject(rate_limited(SOON), status_error(500, retry_after=SOON))
    seen = stage.watch()
    assert door.go(way)
    reserves = records(stage, "reserve")
    first = reserves[0]["id"]
    assert [one.get("leg", 1) for one in reserves] == [1, 2, 3]
    assert [one.get("of") for one in reserves] == [None, first, first]
    assert len({one["id"] for one in reserves}) == 3
    ends = records(stage, "release") + records(stage, "settle")
    assert [(one["id"], one["status"]) for one in ends] == [
        (one["id"], status) for one, status in zip(reserves, (429, 500, 200), strict=True)
    ]
    assert [receipt.request_id for receipt in door.receipts] == [first] * 3
    assert [receipt.cost.nanos for receipt in door.receipts] == [0, 0, stage.posted()]
    assert [[hold.id for hold in each.holds] for each in seen] == [[one["id"]] for one in reserves]
    as_billed(stage)


@on_sqlite
@EITHER
def test_an_overloaded_model_is_left_for_the_next_candidate_within_an_attempt(stage, way):
    """The SDK sees one answer; the receipt tells both legs and why another model served."""
    door = doorway(stage, max_retries=0)
    stage.api.inject(overloaded())
    assert door.go(way)
    assert models(stage) == [SONNET, HAIKU]
    (receipt,) = door.receipts
    assert [(leg.model, leg.status) for leg in receipt.legs] == [(SONNET, 529), (HAIKU, 200)]
    assert receipt.decision.downgraded
    assert [one["leg"] for one in records(stage, "settle")] == [2]
    as_billed(stage)


@on_sqlite
def test_with_nowhere_else_to_go_an_overloaded_model_is_the_sdks_to_retry(stage):
    """As often as its `max_retries` says; what it raises in the end is its own error."""
    stage.clock.run()
    door = doorway(stage, ONE_LINE, max_retries=1)
    fault = status_error(529, retry_after=SOON)
    stage.api.inject(fault)
    door.go(CREATE)
    assert [len(receipt.legs) for receipt in door.receipts] == [1, 1]
    stage.api.inject(fault, fault)
    with pytest.raises(anthropic.OverloadedError):
        door.go(CREATE)
    assert len(stage.sent()) == 4
    as_billed(stage)


@on_sqlite
@EITHER
def test_a_spend_cap_is_sent_once(stage, way):
    """The SDK raises its own error for it, without a retry that could not help."""
    door = doorway(stage, max_retries=2)
    stage.api.inject(spend_limit_reached())
    with pytest.raises(anthropic.RateLimitError, match="monthly spend limit"):
        door.go(way)
    assert len(stage.sent()) == 1
    assert [receipt.cost.nanos for receipt in door.receipts] == [0]
    assert stage.holds() == ()
    assert stage.posted() == 0


# What is refused


REFUSED = [
    pytest.param({"max_tokens": 20_000}, BudgetExceeded, USD, id="budget"),
    pytest.param({"model": "claude-unheard-of"}, UnknownModel, "claude-unheard-of", id="model"),
    pytest.param(
        {"extra_headers": {"governor-department": "nowhere"}}, PolicyViolation, "nowhere", id="policy"
    ),
]


@on_sqlite
@EITHER
@pytest.mark.parametrize(("params", "error", "says"), REFUSED)
def test_a_refusal_is_raised_as_it_is(stage, way, params, error, says):
    """By the SDK's own method; no request leaves, and the SDK does not try again."""
    tries = []
    count = between(stage, before=lambda request: tries.append(request) or request)
    small = department({"per": "department", "usd": "0.005", "window": "life"})
    door = doorway(stage, small, outside=(count,), max_retries=2)
    with pytest.raises(error, match=says) as refusal:
        door.go(way, using(**params))
    assert type(refusal.value) is error
    assert len(tries) == 1
    nothing_happened(stage)


ODD = [
    pytest.param({"messages": ...}, "messages is missing", id="no-messages"),
    pytest.param({"messages": "Hello"}, "messages is missing", id="messages-text"),
    pytest.param({"model": 5}, "model is 5", id="model"),
    pytest.param({"model": ...}, "model is", id="no-model"),
    pytest.param({"max_tokens": "many"}, "max_tokens is 'many'", id="max_tokens"),
]


@on_sqlite
@pytest.mark.parametrize(("params", "says"), ODD)
def test_an_odd_body_is_refused_clearly(stage, params, says):
    """What cannot be priced is not sent: the text says what to give."""
    body = {"model": SONNET, "max_tokens": 100, "messages": HELLO, **params}
    body = {name: value for name, value in body.items() if value is not ...}
    door = doorway(stage)
    with pytest.raises(PolicyViolation, match=says):
        door.run(lambda client: got(client.post("/v1/messages", body=body, cast_to=dict)))
    nothing_happened(stage)


@on_sqlite
@pytest.mark.parametrize("given", [{}, {"body": [1]}, {"content": b"{}"}], ids=["none", "list", "bytes"])
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/?beta=true", "/v1/messages/batches"])
def test_a_body_that_is_no_object_is_refused(stage, given, path):
    """Whatever `client.post` is given in its place, on any spelling of the path."""
    door = doorway(stage)
    with pytest.raises(PolicyViolation):
        door.run(lambda client: got(client.post(path, cast_to=dict, **given)))
    nothing_happened(stage)
    assert stage.api.requests == []


@on_sqlite
def test_the_legacy_endpoint_is_refused(stage):
    """Its models have no price."""
    body = {"model": "claude-2.1", "max_tokens_to_sample": 10, "prompt": "Human: Hi"}
    door = doorway(stage)
    with pytest.raises(PolicyViolation, match="/v1/complete"):
        door.run(lambda client: got(client.post("/v1/complete", body=body, cast_to=dict)))
    assert stage.api.requests == []


@on_sqlite
def test_counting_is_left_alone(stage):
    """It is free: no record, no hold, and nobody need say whose it is."""
    door = doorway(stage, door={})
    count = door.run(lambda client: got(client.messages.count_tokens(model=SONNET, messages=HELLO)))
    assert count.input_tokens > 0
    assert door.receipts == []
    assert records(stage, "reserve") == []
    assert len(stage.api.requests) == 1


# What is sent


@on_sqlite
@EITHER
def test_past_a_mark_another_model_is_sent(stage, way):
    """The receipt tells it, and the price is of the one that served."""
    door = doorway(stage, department(LIFE, thresholds=LADDER))
    stage.spend(USD, LIMIT * 85 // 100, LIMIT)
    door.go(way, using(model=OPUS))
    assert models(stage) == [SONNET]
    assert (door.receipts[0].model, door.receipts[0].decision.preferred) == (SONNET, OPUS)
    assert stage.posted() - LIMIT * 85 // 100 == stage.api.billed_nanos


@on_sqlite
@EITHER
def test_what_extra_body_puts_over_the_body_is_priced(stage, way):
    """A dearer model and more tokens are held for as they are sent, or refused."""
    seen = stage.watch()
    lines = {"routing": {"lines": {"sonnet": SONNET, "opus": OPUS}}}
    door = doorway(stage, department({"per": "department", "usd": "0.3", "window": "life"}, **lines))
    door.go(way, using(extra_body={"model": OPUS, "max_tokens": 5000}))
    assert [(body["model"], body["max_tokens"]) for body in stage.sent()] == [(OPUS, 5000)]
    assert seen[0].held[USD] == door.receipts[0].ceiling.nanos > 5000 * 15_000
    with pytest.raises(BudgetExceeded):
        door.go(way, using(extra_body={"max_tokens": 50_000}, model=SONNET))
    assert len(stage.sent()) == 1
    as_billed(stage)


@on_sqlite
def test_the_clients_time_outs_stand_and_the_hold_outlives_them(stage):
    """A hold lives a minute longer than the client waits; the SDK's own default is ten minutes."""
    seen = stage.watch()
    team = department(LIFE, timeout=5)
    doorway(stage, team).go(CREATE)
    for timeout in (30.0, httpx2.Timeout(99, read=30.0)):
        doorway(stage, team).go(CREATE, using(timeout=timeout))
    sent = [request for request in stage.api.requests if request.path == "/v1/messages"]
    assert [request.headers["x-stainless-read-timeout"] for request in sent] == ["600", "30.0", "30.0"]
    lives = [each.holds[0].expires_ms - stage.clock() for each in seen]
    assert lives == [660_000, 90_000, 90_000]


# Shadow, and a ledger that is away


@on_sqlite
@EITHER
def test_in_shadow_the_request_is_sent_as_it_was(stage, way):
    """What would have been refused or swapped is told in the receipt, and sent unchanged."""
    door = doorway(stage, department(LIFE, thresholds=LADDER, mode="shadow"))
    stage.spend(USD, LIMIT, LIMIT)
    door.go(way, using(model=OPUS))
    assert [(body["model"], body["max_tokens"]) for body in stage.sent()] == [(OPUS, 1000)]
    assert door.receipts[0].decision.shadow.outcome == "exhausted"
    assert stage.posted() - LIMIT == stage.api.billed_nanos > 0


@on_sqlite
@EITHER
def test_without_its_ledger_the_policy_says_what_becomes_of_a_request(stage, way):
    """`refuse` sends nothing; `allow` sends, and the receipt says that nothing was held."""
    away = {"ledger": "redis://127.0.0.1:1/0", "create_ledger": False, "spool": stage.folder / "spool"}
    refusing = Doorway(stage, stage.governor(TEAM, **away), max_retries=2)
    with pytest.raises(LedgerUnavailable):
        refusing.go(way)
    assert stage.sent() == []
    allowing = Doorway(stage, stage.governor(department(LIFE, if_ledger_is_down="allow"), **away))
    assert allowing.go(way)
    assert allowing.receipts[0].decision.outcome == "allowed"
    assert len(stage.sent()) == 1


# Others in the chain


@on_sqlite
def test_a_middleware_before_ours_decides_what_is_priced_and_one_after_does_not_cost(stage):
    """What the outer makes of a request is what is held for; the inner sees what is sent."""
    sees = []

    def note(request):
        sees.append((request.json["model"], [name for name in request.headers if "governor" in name]))
        return request

    door = doorway(
        stage,
        outside=(between(stage, lambda request: request.copy(body={**request.json, "model": OPUS})),),
        inside=(between(stage, note),),
    )
    door.go(CREATE, using(extra_headers={"governor-run": "r"}))
    assert sees[-1] == (OPUS, [])
    assert door.receipts[0].decision.asked == OPUS
    as_billed(stage)


def fails(_):
    """Raise what nobody expects."""
    raise LookupError("not today")


@on_sqlite
@pytest.mark.parametrize(
    ("place", "before", "charged"),
    [
        ("outside", True, "nothing"),
        ("outside", False, "bill"),
        ("inside", True, "hold"),
        ("inside", False, "hold"),
    ],
)
def test_what_another_middleware_raises_reaches_the_caller_and_the_hold_is_closed(
    stage, place, before, charged
):
    """Inside ours nobody can know whether the request left: its whole hold is charged, marked uncertain."""
    other = between(stage, **{"before" if before else "after": fails})
    door = doorway(stage, max_retries=2, **{place: (other,)})
    with pytest.raises(LookupError, match="not today"):
        door.go(CREATE)
    if charged == "nothing":
        nothing_happened(stage)
        return
    (receipt,) = door.receipts
    assert stage.holds() == ()
    assert receipt.uncertain is (charged == "hold")
    assert stage.posted() == (receipt.ceiling.nanos if charged == "hold" else stage.api.billed_nanos)


@on_sqlite
def test_what_another_middleware_answers_by_itself_is_free(stage):
    """Inside ours, a kept answer is the caller's as it is; what was held for it is given back."""

    async def kept(*_):
        return "kept"

    door = doorway(stage, inside=(kept if stage.is_async else lambda *_: "kept",))
    assert door.go(POST) == "kept"
    assert door.receipts[0].cost.nanos == 0
    nothing_happened(stage)


@on_sqlite
def test_a_client_may_go_around_as_documented(stage):
    """Without the middleware a request is nobody's: not held, not recorded, and billed."""
    door = doorway(stage)
    door.run(lambda client: CREATE.go(client.with_options(middleware=[]), Visit()))
    assert door.receipts == []
    assert records(stage, "reserve") == []
    assert stage.api.billed_nanos > 0


@on_sqlite
def test_a_client_that_carries_the_middleware_is_not_charged_twice(stage):
    """`call()` and `stream()` of a governor on it hold once each."""
    outer = stage.governor(TEAM)
    make = stage.api.async_client if stage.is_async else stage.api.client
    client = make(middleware=[outer.governor.middleware(user="u", department="team")])
    caller = stage.governor(client=client)
    assert caller.call().receipt.settled
    request = {"user": "u", "department": "team", "messages": HELLO, "max_tokens": 50}
    work = read_stream(caller.governor.stream(**request))
    assert caller.on_loop(work).result(15) if stage.is_async else blocking(work)
    if stage.is_async:
        caller.on_loop(client.close()).result()
    assert len(records(stage, "reserve")) == 2
    as_billed(stage)
