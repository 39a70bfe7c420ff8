"""Bad input to routing: scorers, headers, clocks, bodies and words that nobody should have given it."""

from __future__ import annotations

import threading
import traceback
from datetime import UTC, datetime

import anthropic
import pytest
from anthropic.types import TextBlock
from support.gateway import Gateway
from support.governed import HAIKU, HELLO, LINES, SONNET
from support.pauses import pauses
from support.routed import BANDS, BUDGET, CHOOSE, DOLLAR, LIMIT, TIERS, USD, journalled, row, team
from support.stages import blocking, on_sqlite, once

from governor import Deferred, PolicyError, PolicyViolation
from governor.ledger import commands as c
from governor.testing import Reply, overloaded, rate_limited, status_error

UNPRICED = [
    row("a-line", {"lines": {**LINES, "opus": "claude-opus-9"}}),
    row("a-mistyped-line", {"lines": {**LINES, "opus": "claude-opus-5.5"}}),
    row("a-successor", {"successors": {"claude-opus-4-1": "claude-opus-9"}}),
    row("the-default", {"default": "claude-opus-9"}),
]


@pytest.mark.parametrize("routing", UNPRICED)
@once
def test_a_ladder_with_an_unpriced_model_is_refused_at_load(stage, routing):
    """The file, the line and the column are named; nothing is priced at zero."""
    with pytest.raises(PolicyError, match=r"claude-opus-(9|5\.5)") as refused:
        stage.governor(team(routing=routing))
    assert refused.value.line > 0
    assert refused.value.file.endswith("team.yaml")


class Odd:
    """An answer that is nothing a scorer should say, and cannot be shown."""

    def __repr__(self):
        raise ValueError("no")


SAYS = [
    row("nan", float("nan"), "it answered nan, not 0 to 10"),
    row("infinity", float("inf"), "it answered inf, not 0 to 10"),
    row("11", 11, "it answered 11, not 0 to 10"),
    row("below-0", -0.1, "it answered -0.1, not 0 to 10"),
    row("none", None, "it answered a NoneType, not a number"),
    row("str", "7", "it answered a str, not a number"),
    row("bool", *[True], "it answered a bool, not a number"),
    row("odd", Odd(), "it answered a Odd, not a number"),
    row("raises", ZeroDivisionError("secret"), "it raised ZeroDivisionError"),
    row("exits", SystemExit(1), "it raised SystemExit"),
]


@pytest.mark.parametrize(("said", "why"), SAYS)
@on_sqlite
def test_a_scorer_that_says_nothing_usable_is_passed_over(stage, said, why):
    """The governor's own score counts, the decision says why, and the prompt's words are not in it."""

    def judge(_body, _who):
        if isinstance(said, BaseException):
            raise said
        return said

    caller = stage.governor(team(routing={"complexity": BANDS}), scorer=judge)
    message = caller.call()
    record = journalled(stage, message)
    assert record["complexity"] == 0
    assert message.model == HAIKU
    told = message.receipt.decision.complexity
    assert told == f"0 (nothing hard in it; the application's scorer failed: {why})"


@on_sqlite
def test_a_scorer_that_hangs_is_left_alone(stage):
    """One call waits for it, for a second at most; the next ones do not ask it."""
    let_go, asked = threading.Event(), []

    def judge(_body, _who):
        asked.append(1)
        let_go.wait(20)
        return 9

    caller = stage.governor(team(routing={"complexity": BANDS}), scorer=judge)
    try:
        for _ in range(3):
            assert caller.call().model == HAIKU
    finally:
        let_go.set()
    assert asked == [1]


@on_sqlite
def test_a_scorer_that_changes_the_body_changes_no_other_parameter(stage):
    """It is given a dictionary of its own: what it takes out or puts in is not sent."""

    def judge(body, _who):
        body.pop("messages")
        body["system"] = "Do as I say."
        return 5

    caller = stage.governor(team(routing={"complexity": BANDS}), scorer=judge)
    caller.call()
    assert stage.sent()[-1]["messages"] == HELLO
    assert "system" not in stage.sent()[-1]


RESET = datetime(2026, 11, 20, 12, 1, tzinfo=UTC).isoformat()


def told(limit, remaining, reset=RESET, name="requests"):
    """Headers of one limit."""
    values = {"limit": limit, "remaining": remaining, "reset": reset}
    return {f"anthropic-ratelimit-{name}-{part}": value for part, value in values.items()}


LIES = [
    row("words", told("many", "few", "soon")),
    row("nothing", told("", "", "")),
    row("negative", told("-5", "-10")),
    row("no-limit-at-all", told("0", "0")),
    row("more-left-than-there-is", told("10", "1000000")),
    row("floats", told("1e3", "0.0")),
    row("nan", told("nan", "inf")),
    row("huge", told("9" * 400, "9" * 400)),
    row("far-future", told("50", "25", "9999-12-31T23:59:59Z")),
    row("long-ago", told("50", "25", "0001-01-01T00:00:00Z")),
    row("other-digits", told("\u0665\u0660".encode().decode("latin-1"), "1")),
    row("two-values", told("50, 60", "25, 30")),
    row("unknown-name", told("50", "0", name="moonbeams")),
    row("retry-after-on-a-200", {"retry-after": "99999999"}),
]


@pytest.fixture
def gateway():
    """A gateway, until the test ends."""
    with Gateway() as made:
        yield made


@pytest.fixture
def behind(stage, gateway):
    """A governor in front of the gateway."""
    client = gateway.client(is_async=stage.is_async)
    made = stage.governor(team(), client=client)
    yield made
    if stage.is_async:
        made.on_loop(client.close()).result()
    else:
        client.close()


@pytest.mark.parametrize("headers", LIES)
@on_sqlite
def test_headers_that_lie_do_no_harm(behind, gateway, headers):
    """No call is refused, delayed or moved for what cannot be true."""
    gateway.headers = headers
    waited = pauses(behind)
    for _ in range(3):
        assert behind.call().receipt.decision.model == SONNET
    assert waited == []


@on_sqlite
def test_headers_that_always_say_used_up_do_not_stop_a_model(behind, gateway):
    """What says that nothing is left while it answers is waited out a little: the call is served."""
    gateway.headers = told("50", "0")
    waited = pauses(behind)
    for _ in range(10):
        behind.call(model="sonnet", pin=True)
    assert 0 < sum(waited) <= 10 * 60
    gateway.headers = {}
    assert behind.call().receipt.decision.model in (SONNET, HAIKU)


AFTER = [
    row("429-nan", status_error(429, retry_after=float("nan"))),
    row("429-infinite", status_error(429, retry_after=float("inf"))),
    row("429-negative", status_error(429, retry_after=-5)),
    row("529-nan", status_error(529, retry_after=float("nan"))),
    row("500-negative", status_error(500, retry_after=-1)),
]


@pytest.mark.parametrize("fault", AFTER)
@on_sqlite
def test_a_retry_after_that_lies_is_no_wait(stage, fault):
    """It is taken for none, and the call is served after the usual back-off."""
    stage.api.inject(fault)
    caller = stage.governor(team())
    waited = pauses(caller)
    caller.call(model="haiku")
    assert 0 <= sum(waited) <= 60
    assert len(stage.sent()) == 2


HOUR = 3600
SHORT = {name: {**terms, "retries": 0} for name, terms in TIERS.items()}
JUMPS = [row("ahead", [HOUR]), row("back", [-HOUR]), row("to-and-fro", [HOUR, -HOUR, -HOUR, HOUR])]


@pytest.mark.parametrize("jumps", JUMPS)
@on_sqlite
def test_a_clock_that_jumps_between_calls(stage, jumps):
    """Calls go on without a wait; load and breakers are not kept for ever; nothing stays held."""
    caller = stage.governor(team(routing={"choose": CHOOSE, "complexity": BANDS, "tiers": SHORT}))
    waited = pauses(caller)
    stage.api.inject(*[overloaded()] * 5)
    for _ in range(5):
        with pytest.raises(anthropic.InternalServerError):
            caller.call(model="sonnet", pin=True)
    for seconds in jumps:
        stage.clock.forward(seconds)
        assert caller.call(model="haiku", run="agent-1").model == HAIKU
    assert waited == []
    stage.clock.forward(61)
    assert caller.call(model="sonnet").model == SONNET
    assert (sum(waited), stage.holds()) == (0, ())
    assert stage.posted(USD) == stage.api.billed_nanos


@pytest.mark.parametrize("jumps", JUMPS)
@on_sqlite
def test_a_clock_that_jumps_during_a_call(stage, jumps):
    """While the API answers, an hour passes either way: the call is served, and settled at its cost."""
    moves = iter(jumps)

    def reply(_body):
        stage.clock.forward(next(moves, 0))
        return Reply(output_tokens=10)

    caller = stage.governor(team(routing={"choose": CHOOSE}))
    pauses(caller)
    stage.api.replies(reply)
    for _ in range(len(jumps) + 1):
        assert caller.call(user="v").stop_reason == "end_turn"
    assert stage.holds() == ()
    assert stage.posted(USD) == stage.api.billed_nanos


@pytest.mark.parametrize("seconds", [row("ahead", HOUR), row("back", -HOUR)])
@on_sqlite
def test_a_clock_that_jumps_while_a_call_waits(stage, seconds):
    """In the middle of a wait for the API, the call neither waits for an hour nor fails."""
    stage.api.inject(rate_limited(9))
    caller = stage.governor(team())
    jumps = iter([seconds])
    waited = pauses(caller, lambda _: stage.clock.forward(next(jumps, 0)))
    assert caller.call(model="haiku").model == HAIKU
    assert 9 <= sum(waited) <= 90
    assert stage.holds() == ()
    assert stage.posted(USD) == stage.api.billed_nanos


BEGAN = complex(1, 2)
BLOCK = TextBlock(type="text", text="Hello")
BODIES = [
    row("no-messages", {"messages": []}),
    row("a-number", {"messages": [1]}),
    row("none", {"messages": [None]}),
    row("no-content", {"messages": [{"role": "user"}]}),
    row("content-a-number", {"messages": [{"role": "user", "content": 7}]}),
    row("strange-blocks", {"messages": [{"role": "user", "content": [{"type": "moonbeam"}, 3, None, "x"]}]}),
    row("type-a-list", {"messages": [{"role": "user", "content": [{"type": ["text"], "text": 5}]}]}),
    row("tools-a-number", {"tools": [7], "tool_choice": "any"}),
    row("thinking-a-text", {"thinking": "hard"}),
    row("effort-a-list", {"output_config": {"effort": ["high"]}}),
    row("system-a-number", {"system": 9}),
    row("sdk-blocks", {"messages": [{"role": "user", "content": [BLOCK]}]}),
    row("no-json", {"metadata": {"user_id": BEGAN}}),
    row("lone-surrogate", {"messages": [{"role": "user", "content": "\ud800"}]}),
]


@pytest.mark.parametrize("params", BODIES)
@on_sqlite
def test_odd_bodies_with_complexity_on(stage, params):
    """They are the API's to refuse: no crash of the governor's, nothing held, nothing charged unserved."""
    caller = stage.governor(
        team(BUDGET, routing={"complexity": BANDS}, thresholds={"80%": {"downgrade": "haiku"}})
    )
    stage.spend(USD, 85 * LIMIT // 100, LIMIT)
    try:
        caller.call(run="agent-1", **params)
    except (anthropic.APIStatusError, PolicyViolation):
        assert stage.api.billed_nanos == 0
    except (TypeError, UnicodeError) as error:
        files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
        if not any("/anthropic/" in file for file in files):  # else the SDK would raise it by itself, too
            raise
    assert stage.holds() == ()
    assert stage.posted(USD) - 850 * DOLLAR == stage.api.billed_nanos


WORDS = [
    row("tier-unknown", {"tier": "gold"}),
    row("tier-a-number", {"tier": 5}),
    row("tier-a-list", {"tier": ["premium"]}),
    row("tier-a-bool", {"tier": True}),
    row("tier-empty", {"tier": ""}),
    row("model-none", {"model": None}),
    row("model-a-list", {"model": ["opus"]}),
    row("pin-a-text", {"pin": "no"}),
    row("deferrable-a-text", {"deferrable": "no"}),
]


@pytest.mark.parametrize("words", WORDS)
@on_sqlite
def test_a_word_of_the_wrong_kind_is_a_violation(stage, words):
    """It is told what to give instead; nothing is held or sent."""
    caller = stage.governor(team())
    with pytest.raises(PolicyViolation, match=next(iter(words))):
        caller.call(**words)
    assert (stage.sent(), stage.journal("reserve")) == ([], [])


@on_sqlite
def test_what_is_pinned_may_be_deferred(stage):
    """The pin holds in the batch: the item names the pinned model and nothing else."""
    caller = stage.governor(team(routing={"defer": {"when": "budget > 80%"}}))
    stage.spend(USD, 95 * LIMIT // 100, LIMIT)
    with pytest.raises(Deferred) as deferred:
        caller.call(model="claude-opus-4-8", pin=True, deferrable=True, tier="economy")
    assert deferred.value.item["params"]["model"] == "claude-opus-4-8"
    assert stage.sent() == []


@blocking
def test_the_board_full_of_nonsense_does_no_harm(stage):
    """What others put up there is believed only where it can be true."""
    caller = stage.governor(team())
    caller.call()
    lines = [
        "",
        "null",
        "[]",
        '{"claude-sonnet-5-5":{"f":-1,"n":1e99,"l":[0,{"0":[0,0]}],"b":["open",-5,1]}}',
        "{" * 900,
    ]
    for number, text in enumerate(lines):
        identity = f"department=other-{number}/usd/life"
        command = c.Reserve(
            f"other-{number}",
            (stage.row(identity, 10),),
            ((c.Ask(1),),),
            60_000,
            notice=c.Notice(f"p{number}", text),
        )
        stage.ledger.execute(command)
    for _ in range(3):
        stage.clock.forward(1)
        assert caller.call().receipt.model == SONNET
    assert caller.call().receipt.decision.load == 0
