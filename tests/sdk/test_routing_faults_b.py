"""What goes wrong while the API pushes back: turns that pass, boards that lie, calls that are given up."""

from __future__ import annotations

import os
import sqlite3

import anthropic
import pytest
import redis
from support.governed import HELLO, SONNET
from support.pauses import pauses
from support.routed import MINUTE, TIERS, loaded, team
from support.stages import on_redis, on_sqlite, once

from governor import Governor
from governor.testing import cut_mid_stream, overloaded, rate_limited

NO_RETRIES = {name: {**terms, "retries": 0} for name, terms in TIERS.items()}


@on_sqlite
def test_a_call_that_is_over_before_its_turn_never_departs(stage):
    """A deadline that passes while a call waits its turn leaves nothing in flight: nothing was sent."""
    caller = stage.governor(team(routing={"tiers": NO_RETRIES}, deadline=2))
    pauses(caller)
    stage.api.inject(rate_limited(retry_after=50))
    with pytest.raises(anthropic.RateLimitError):
        caller.call(model="sonnet", pin=True)
    for _ in range(5):
        with pytest.raises(TimeoutError, match="deadline of 2 s"):
            caller.call(model="sonnet", pin=True)
    assert len(stage.sent()) == 1
    assert caller.governor._house.traffic.view(SONNET).in_flight == 0
    assert stage.holds() == ()


GARBAGE = [
    (b"good1", b"%d \xff\xfe"),
    (b"good2", b"%d \xed\xa0\x80"),
    (b"good3", b"%d \xf4\x90\x80\x80"),
    (b"good4", b"%d \xc3"),
    (b"good5", b"%d {" + b"x" * 100_000),
    (b"good6", b'%d {"m": {"b": ["open", 0, 1e999], "t": -1}}'),
    (b"\xff", b"%d x"),
    (b"good7", b"x y"),
]


@on_redis
def test_a_board_in_redis_that_others_fill_with_garbage_fails_no_call(stage):
    """Bytes that are no notice, from whomever may write there, are passed over; honest lines are told."""
    first, second = stage.governor(team()), stage.governor()
    for name, line in GARBAGE:
        raw = redis.Redis.from_url(stage.url)
        raw.hset(f"gov:2:{{{stage.org}}}:board", name, line.replace(b"%d", str(stage.clock()).encode()))
        raw.close()
        first.call()
        second.call()
        stage.clock.forward(0.5)
    assert second.governor._house.traffic.view(SONNET).state == "closed"
    assert stage.holds() == ()
    assert stage.posted() == stage.api.billed_nanos


ROWS = [
    ("a", "no number", "text"),
    ("b", 0, b"\xff"),
    (b"\xff", 0, "text"),
    (None, 0, "text"),
    ("c", 1e300, "{"),
    ("d", 0, "x" * 100_000),
]


@on_sqlite
def test_a_board_in_sqlite_that_others_fill_with_garbage_fails_no_call(stage):
    """Rows that are no notice, from whatever wrote to the file, are passed over and taken off."""
    caller = stage.governor(team())
    caller.call()
    with sqlite3.connect(stage.url.removeprefix("sqlite:///")) as raw:
        raw.executemany("INSERT INTO board VALUES (?, ?, ?)", ROWS)
        raw.execute("INSERT INTO board VALUES (?, ?, CAST(? AS TEXT))", ("e", stage.clock(), b"\xff"))
    raw.close()
    for _ in range(3):
        caller.call()
        stage.clock.forward(0.5)
    with sqlite3.connect(stage.url.removeprefix("sqlite:///")) as raw:
        assert raw.execute("SELECT count(*) FROM board").fetchone() == (1,)
    raw.close()
    assert stage.posted() == stage.api.billed_nanos


@on_sqlite
def test_a_policy_that_opens_its_breakers_later_is_held_to_that(stage):
    """With `open: 97%` a model of which 93 % is used still serves, however often its load is read."""
    stage.meet(rate_limits=MINUTE)
    routing = {
        "load": {"throttle": "96%", "open": "97%"},
        "choose": [{"when": "load > 99%", "tier": "economy"}, {"tier": "standard"}],
    }
    caller = stage.governor(team(routing=routing))
    loaded(stage, caller, 93)
    assert caller.call().receipt.model == SONNET


@on_sqlite
def test_a_probe_whose_answer_began_closes_the_breaker(stage):
    """Where every answer is broken off before its end, one that was let in shows that the API is back."""
    caller = stage.governor(team(routing={"tiers": NO_RETRIES}))
    pauses(caller)
    stage.api.inject(*[overloaded()] * 5)
    for _ in range(5):
        with pytest.raises(anthropic.InternalServerError):
            caller.call(model="sonnet", pin=True)
    stage.api.inject(cut_mid_stream(5))
    with pytest.raises(anthropic.APIConnectionError):
        caller.call(model="sonnet", pin=True)
    assert caller.governor._house.traffic.view(SONNET).state == "closed"
    assert stage.holds() == ()


@once
def test_a_forked_child_does_not_send_on_its_parents_connections(stage, monkeypatch):
    """A client that the governor made is made anew in a child: else one gets the other's answers."""
    monkeypatch.setenv("ANTHROPIC_BASE_URL", stage.api.url)
    monkeypatch.setenv("ANTHROPIC_API_KEY", stage.api.api_key)
    stage.write(team())
    with Governor.load(stage.policies, ledger=stage.url, clock=stage.clock) as governor:
        governor.call(user="u", department="team", max_tokens=10, messages=HELLO)
        before = governor._client
        child = os.fork()
        if child == 0:
            try:
                governor.call(user="child", department="team", max_tokens=10, messages=HELLO)
                os._exit(0 if governor._client is not before else 3)
            finally:
                os._exit(4)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        governor.call(user="u", department="team", max_tokens=10, messages=HELLO)
        assert governor._client is before
    assert stage.posted() == stage.api.billed_nanos
