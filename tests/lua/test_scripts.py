"""Each Lua script by itself, on a Redis cluster of one node: keys, flags, replies, clocks, memory."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib.resources import files
from typing import Any

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from support.lua_server import (
    DAY_MS,
    DUE,
    END_MS,
    LATER_MS,
    NOW_MS,
    REVIEW,
    TEAM,
    Server,
    reserve,
    settle,
)
from support.redis_server import HOST, RedisServer

from governor.budgets import Unit
from governor.errors import LedgerUnavailable
from governor.ledger import commands as c
from governor.ledger import detail
from governor.ledger.admission import mark
from governor.ledger.glance import Glance
from governor.ledger.keys import SCHEMA, Keys
from governor.ledger.redis import RedisLedger
from governor.ledger.scripts import script
from governor.ledger.servers import connect
from governor.money import MAX_NANOS

VERBS = sorted(
    path.name.removesuffix(".lua")
    for path in files("governor.ledger").joinpath("lua").iterdir()
    if path.name.endswith(".lua")
)
ASKED = c.BudgetRequest("q1", REVIEW.identity, REVIEW.window, 9, c.Person("a", "a@h"), "", at_ms=NOW_MS)
STORY: list[tuple[int, c.Command[Any]]] = [
    (NOW_MS, c.Create("epoch-1")),
    (NOW_MS, reserve("r1")),
    (NOW_MS, reserve("r2")),
    (NOW_MS, reserve("dead")),
    (NOW_MS, reserve("refused", 2000)),
    (NOW_MS, replace(reserve("r1"), notice=c.Notice("a", "one"))),
    (NOW_MS, c.Extend("r1", 90_000)),
    (NOW_MS, Glance(2)),
    (NOW_MS, settle("r1")),
    (NOW_MS, c.Release("r2", (c.Posting(TEAM, 0), c.Posting(REVIEW, 0)))),
    (NOW_MS, settle("lost", 60)),
    (NOW_MS, replace(settle("lost", 60), notice=c.Notice("b", "two"))),
    (NOW_MS, c.Release("lost2", (c.Posting(TEAM, 0),), notice=c.Notice("a"))),
    (LATER_MS, c.Expire((DUE,))),
    (LATER_MS, settle("dead", 7)),
    (LATER_MS, c.Grant("g", REVIEW.identity, REVIEW.window, 40)),
    (LATER_MS, c.SetLimit("l", REVIEW.identity, 300)),
    (LATER_MS, c.SetLimit("l2", REVIEW.identity, None)),
    (LATER_MS, c.Freeze("f", REVIEW.identity, "audit")),
    (LATER_MS, c.Unfreeze("u", REVIEW.identity)),
    (LATER_MS, c.PushPolicies("p", 0, {"team.yaml": "version: 1"}, "abc")),
    (LATER_MS, c.Read((TEAM, REVIEW))),
    (NOW_MS, c.RequestGrant(ASKED)),
    (NOW_MS, c.RequestGrant(replace(ASKED, id="q2"))),
    (LATER_MS, c.Approve(ASKED, c.Person("b", "b@h"), "", 9)),
    (LATER_MS, c.Deny(replace(ASKED, id="q2"), c.Person("b", "b@h"), "")),
]
"""Every verb at least once, with the clock it is told at."""


# The texts.


@pytest.mark.parametrize("verb", VERBS)
def test_a_script_compiles_and_is_known_by_its_digest(server: Server, verb: str) -> None:
    """Redis accepts the joined text and calls it by the SHA-1 that the ledger will use."""
    assert server.client.script_load(script(verb).text) == script(verb).sha


@pytest.mark.parametrize("verb", VERBS)
def test_a_script_opens_with_its_contract(verb: str) -> None:
    """Flags first, then what it does, its KEYS, its ARGV and its replies."""
    head = files("governor.ledger").joinpath("lua", f"{verb}.lua").read_text("utf-8").split("\nlocal ")[0]
    assert head.startswith("#!lua")
    assert re.search(r"\bKEYS\b.*\bARGV\b.*\b[Rr]eply\b", head, re.DOTALL)


def test_only_verbs_that_free_or_only_read_run_when_memory_is_full() -> None:
    """Whoever would spend more waits for memory; whoever ends a hold does not."""
    flags = {verb: script(verb).text.partition("\n")[0].partition("flags=")[2] for verb in VERBS}
    allowed = {verb for verb, found in flags.items() if "allow-oom" in found}
    ends, looks = {"settle", "release", "expire", "extend"}, {"read", "list", "since", "glance"}
    assert allowed == ends | looks | {"trim", "follow", "followers"}
    assert not any("cross-slot" in found for found in flags.values())


@pytest.mark.parametrize("verb", VERBS)
def test_a_script_assigns_no_global_and_prints_no_number(verb: str) -> None:
    """Every assignment is to a local; `tostring` and `cjson`, which lose digits, are not used."""
    text = re.sub(r"--[^\n]*", "", script(verb).text)
    declared = set(re.findall(r"\blocal function (\w+)", text))
    lists = re.findall(r"\blocal (?!function)([\w, ]+)", text) + re.findall(
        r"\bfor ([\w, ]+?)(?: in|=)", text
    )
    lists += re.findall(r"\bfunction ?\w*\(([\w, ]*)\)", text)
    declared |= {name.strip() for names in lists for name in names.split(",")}
    statements = re.sub(r"\{[^{}]*\}", "{}", text)  # the fields of a table are no variables
    assigned = re.findall(r"^ *(\w+(?:, \w+)*) = ", statements, re.MULTILINE)
    assert {name for names in assigned for name in names.split(", ")} <= declared
    assert not re.search(r"\b(tostring|cjson|cmsgpack)\b", text)


# Keys.


def test_a_script_touches_no_key_but_those_it_was_given(server: Server, org: str) -> None:
    """A user whose rights end at the declared keys can run every verb."""
    name = f"only-{org}"
    for now_ms, command in STORY:
        call = server.call(command, str(now_ms))
        patterns = [f"~{key}" for key in call.keys]
        server.client.execute_command("ACL", "SETUSER", name, "reset", "on", "nopass", "+@all", *patterns)
        with redis.Redis(HOST, server.port, username=name, password="x", decode_responses=True) as narrow:
            assert server.run(command, str(now_ms), narrow)
    server.client.acl_deluser(name)


def test_all_keys_of_an_organisation_share_a_slot(server: Server) -> None:
    """One script may see them all on a cluster, whatever the verb."""
    keys = {key for now_ms, command in STORY for key in server.call(command, str(now_ms)).keys}
    assert len(keys) > 8
    assert len({server.client.execute_command("CLUSTER", "KEYSLOT", key) for key in keys}) == 1


# Replies.


def test_a_create_happens_once(server: Server) -> None:
    """The marker is written by the first create, with schema, epoch and clock, and journalled."""
    assert server.run(c.Create("epoch-1")) == ["ok"]
    assert server.run(c.Create("epoch-2"), "1") == ["ok"]
    made = {"schema": str(SCHEMA), "epoch": "epoch-1", "created_ms": str(NOW_MS)}
    assert server.client.hgetall(server.keys.meta) == made
    assert server.client.xlen(server.keys.journal) == 1


@pytest.mark.parametrize("command", [command for _, command in STORY[1:]], ids=lambda x: type(x).__name__)
def test_a_store_that_is_no_ledger_is_told_apart(server: Server, command: c.Command[Any]) -> None:
    """Without the marker, or with another schema, every verb says so and writes nothing."""
    assert server.run(command) == ["no_ledger"]
    server.client.hset(server.keys.meta, "schema", "99")
    assert server.run(command) == ["other_schema", "99"]
    assert [key for key in server.call(command).keys if server.client.exists(key)] == [server.keys.meta]


def test_the_replies_of_reserve(ledger: Server) -> None:
    """Held, repeated, contended, exhausted, frozen, moved and conflict, field by field."""
    now, expires = str(NOW_MS), str(NOW_MS + 60_000)
    zeros = ["2", "0 0 1000 0 ", "0 0 100 0 "]
    after = ["2", "0 60 1000 0 ", "0 60 100 0 "]
    assert ledger.run(reserve("r1", 60)) == ["held", now, "0", "open", expires, *zeros]
    assert ledger.run(reserve("r1", 60)) == ["held", now, "0", "open", expires, *after]
    assert ledger.run(reserve("r1", 61)) == ["conflict"]
    assert ledger.run(reserve("r2", 60)) == ["contended", now, expires, *after]
    assert ledger.run(reserve("r2", 101)) == ["exhausted", now, expires, *after]
    assert ledger.run(reserve("r2"), str(END_MS)) == ["window_moved", str(END_MS)]
    ledger.run(c.Freeze("f", REVIEW.identity, "a reason"))
    assert ledger.run(reserve("r2")) == ["frozen", now, expires, *after[:-1], "0 60 100 0 a reason"]
    member = f"r1 {TEAM.identity} {TEAM.window} {REVIEW.identity} {REVIEW.window}"
    assert ledger.run(reserve("r2"), expires)[-2:] == ["0 60 100 0 a reason", member]


def test_what_never_comes_back_is_exhausted_while_held(ledger: Server) -> None:
    """The fourth number of an ask tells held requests from held money; its fifth is the expiry's charge."""
    requests = c.BudgetRow("user=ada/requests/life", "life", 0, 0, Unit.REQUESTS, 1)
    ask = c.Ask(1, comes_back=False)
    command = c.Reserve("r1", (requests,), ((ask,),), 60_000, charge_on_expiry=False)
    assert "1 10000 0 0 1 10000;" in ledger.call(command).args
    assert ledger.run(command)[0] == "held"
    second = c.Reserve("r2", (requests,), ((ask,),), 60_000)
    assert ledger.run(second)[:2] == ["exhausted", str(NOW_MS)]
    money = c.Reserve("r2", (requests,), ((c.Ask(1),),), 60_000)
    assert ledger.run(money)[:2] == ["contended", str(NOW_MS)]


def test_a_quiet_contended_refusal_writes_nothing(ledger: Server) -> None:
    """Asked to be quiet, a contended refusal leaves the journal as it is; an exhausted one is in it."""
    ledger.run(reserve("r1", 60))
    before = ledger.client.xlen(ledger.keys.journal)
    quiet = [c.Reserve("r2", (TEAM, REVIEW), ((c.Ask(n), c.Ask(n)),), 60_000, quiet=True) for n in (60, 101)]
    assert [ledger.run(command)[0] for command in quiet] == ["contended", "exhausted"]
    assert ledger.client.xlen(ledger.keys.journal) == before + 1


def test_a_refused_trial_writes_nothing(ledger: Server) -> None:
    """Told `2`, no refusal touches a key; a candidate that fits is held and recorded as any."""
    ledger.run(reserve("r1", 60))
    ledger.run(c.Freeze("f", REVIEW.identity, "audit"))
    before = _contents(ledger)
    frozen = c.Reserve("try", (REVIEW,), ((c.Ask(1),),), 60_000, trial=True)
    refused = [c.Reserve("try", (TEAM,), ((c.Ask(n),),), 60_000, trial=True) for n in (950, 1_001)]
    assert [ledger.call(command).args[8] for command in (frozen, *refused)] == ["2"] * 3
    assert [ledger.run(command)[0] for command in (frozen, *refused)] == ["frozen", "contended", "exhausted"]
    assert _contents(ledger) == before
    fits = c.Reserve("try", (TEAM,), ((c.Ask(940),),), 60_000, trial=True)
    assert [ledger.run(fits)[0] for _ in range(2)] == ["held", "held"]
    assert ledger.client.xlen(ledger.keys.journal) == before[ledger.keys.journal] + 1


def test_a_refusal_with_nothing_held_has_no_expiry(ledger: Server) -> None:
    """Where no hold is open the earliest expiry is empty, not absent."""
    zeros = ["2", "0 0 1000 0 ", "0 0 100 0 "]
    assert ledger.run(reserve("r1", 101)) == ["exhausted", str(NOW_MS), "", *zeros]


def test_the_replies_of_settle_and_release(ledger: Server) -> None:
    """Closed, repeated, late, unknown and conflict, field by field."""
    now = str(NOW_MS)
    for name in ("r1", "r2", "dead"):
        ledger.run(reserve(name, 20))
    balances = ["2", "5 40 1000 0 ", "5 40 100 0 "]
    text = "overrun=0 unknown=0 posted=5,5 crossed="
    assert ledger.run(settle("r1")) == ["closed", now, "settled", text, *balances]
    assert ledger.run(settle("r1")) == ["closed", now, "settled", text, *balances]
    assert ledger.run(settle("r1", 6)) == ["conflict", "settled"]
    assert ledger.run(c.Settle("r2", (c.Posting(TEAM, 5),))) == ["conflict", "open"]
    nothing = c.Release("r2", (c.Posting(TEAM, 0), c.Posting(REVIEW, 0)))
    text = "overrun=0 unknown=0 posted=0,0 crossed="
    balances = ["2", "5 20 1000 0 ", "5 20 100 0 "]
    assert ledger.run(nothing) == ["closed", now, "released", text, *balances]
    ledger.run(c.Expire((DUE,)), str(LATER_MS))
    text = "overrun=1 unknown=0 posted=600,600 crossed=0:5000:605:1000"
    balances = ["2", "605 0 1000 0 ", "605 0 100 0 "]
    assert ledger.run(settle("dead", 600)) == ["closed", now, "settled_late", text, *balances]
    lost = ledger.run(c.Settle("lost", (c.Posting(REVIEW, 1),)))
    text = "overrun=0 unknown=1 posted=1 crossed= refs=feature=review/usd/life;life;0;100;0"
    assert lost == ["closed", now, "settled", text, "1", "606 0 100 0 "]


def test_the_replies_of_extend_and_expire(ledger: Server) -> None:
    """States and expiries; the holds ended, each with its crossings."""
    assert ledger.run(c.Extend("dead", 1)) == ["extended", "unknown", "0"]
    ledger.run(c.Reserve("dead", (TEAM, REVIEW), ((c.Ask(850), c.Ask(0)),), 60_000))
    assert ledger.run(c.Extend("dead", 1)) == ["extended", "open", str(NOW_MS + 1)]
    assert ledger.run(c.Expire((DUE,))) == ["expired", str(NOW_MS)]
    later = str(NOW_MS + 1)
    ended = ["dead", "0:5000:850:1000,0:8000:850:1000"]
    assert ledger.run(c.Expire((DUE, DUE)), later) == ["expired", later, *ended]
    assert ledger.run(c.Extend("dead", 1)) == ["extended", "expired", "0"]


@pytest.mark.parametrize("lost", ["deleted", "ended"])
def test_a_due_hold_that_is_not_there_does_not_stay_due(ledger: Server, lost: str) -> None:
    """A hold deleted from outside, or ended, leaves the expiry set at the first try to reap it."""
    ledger.run(reserve("dead"))
    ledger.run(reserve("open", ttl_ms=90_000))
    if lost == "deleted":
        ledger.client.delete(ledger.keys.hold("dead"))
    else:
        ledger.client.hset(ledger.keys.hold("dead"), "state", "settled")
    later = str(LATER_MS)
    named = ledger.run(c.Reserve("r1", (TEAM,), ((c.Ask(1),),), 60_000), later)[-1]
    assert named.startswith("dead ")
    assert ledger.run(c.Expire((DUE,)), later) == ["expired", later]
    left = {member.partition(" ")[0] for member in ledger.client.zrange(ledger.keys.expiry, 0, -1)}
    assert left == {"open", "r1"}


def test_the_replies_of_administration_and_read(ledger: Server) -> None:
    """Done with the total granted, conflict for an id used otherwise, and balances."""
    now = str(NOW_MS)
    assert ledger.run(c.Grant("g", REVIEW.identity, REVIEW.window, 40)) == ["done", now, "40"]
    assert ledger.run(c.Grant("g", REVIEW.identity, REVIEW.window, 40)) == ["done", now, "40"]
    assert ledger.run(c.Grant("g", REVIEW.identity, REVIEW.window, 41)) == ["conflict"]
    assert ledger.run(c.SetLimit("l", REVIEW.identity, 300)) == ["done", now, "0"]
    assert ledger.run(c.Freeze("f", REVIEW.identity, "audit")) == ["done", now, "0"]
    for used in ("g", "l", "f"):
        assert ledger.run(c.Unfreeze(used, REVIEW.identity)) == ["conflict"]
    read = ledger.run(c.Read((TEAM, REVIEW)))
    assert read == ["read", now, "2", "0 0 1000 0 ", "0 0 340 0 audit"]
    assert ledger.run(c.Unfreeze("u", REVIEW.identity)) == ["done", now, "0"]


# Time and memory.


@pytest.mark.parametrize(
    "command", [reserve("r1"), settle("r1"), c.Read((TEAM,)), c.Expire(())], ids=lambda x: type(x).__name__
)
def test_without_a_given_clock_the_server_s_is_used(ledger: Server, command: c.Command[Any]) -> None:
    """Production sends no time: replies bear the server's own, in milliseconds."""
    before = _server_ms(ledger.client)
    reply = ledger.run(command, "")
    assert before <= int(reply[1]) <= _server_ms(ledger.client)


def test_what_is_remembered_and_for_how_long(ledger: Server) -> None:
    """Open holds and life budgets stay; closed holds go after 7 days, expired ones after 35, balances too."""
    ledger.run(reserve("open"))
    ledger.run(reserve("paid"))
    ledger.run(settle("paid"))
    ledger.run(reserve("dead", 10, 0))
    ledger.run(c.Expire((DUE,)))
    left = {name: ledger.client.pttl(ledger.keys.hold(name)) for name in ("open", "paid", "dead")}
    assert left["open"] == -1
    assert 0 <= c.CLOSED_HOLD_KEPT_MS - left["paid"] < 600_000
    assert 0 <= c.EXPIRED_HOLD_KEPT_MS - left["dead"] < 600_000
    kept_ms = END_MS - NOW_MS + 35 * DAY_MS
    assert 0 <= kept_ms - ledger.client.pttl(ledger.keys.balance(TEAM.identity, TEAM.window)) < 600_000
    assert ledger.client.pttl(ledger.keys.balance(REVIEW.identity, REVIEW.window)) == -1


def test_money_of_a_window_long_over_is_kept_too(ledger: Server) -> None:
    """A settle that comes after its balance was forgotten is posted, and kept 35 days from then."""
    ledger.run(settle("lost"), str(END_MS + 90 * DAY_MS))
    key = ledger.keys.balance(TEAM.identity, TEAM.window)
    assert ledger.client.hget(key, "posted") == "5"
    assert 0 <= 35 * DAY_MS - ledger.client.pttl(key) < 600_000


def test_a_server_that_forgot_the_scripts_is_taught_again(server: Server) -> None:
    """After SCRIPT FLUSH, or a restart, the next command sends the text and succeeds."""
    ledger = RedisLedger(
        connect(f"redis://{HOST}:{server.port}"), server.keys, "Redis", clock=lambda: NOW_MS, create=True
    )
    for name in ("r1", "r2"):
        server.client.script_flush()
        assert isinstance(ledger.execute(reserve(name)), c.Held)
    assert server.client.script_exists(script("reserve").sha) == [True]
    ledger.close()


def test_a_full_server_refuses_holds_and_takes_money(redis_available: None, org: str) -> None:
    """At maxmemory nothing new is held or granted; settle, release, extend and expire go on."""
    with RedisServer() as small, small.client() as client:
        ledger = RedisLedger(connect(small.url), Keys(org), small.url, clock=lambda: NOW_MS, create=True)
        for name in ("paid", "back", "long"):
            ledger.execute(reserve(name))
        ledger.execute(reserve("dead", 10, 0))
        client.config_set("maxmemory", 1)
        for command in (reserve("r1"), c.Grant("g", REVIEW.identity, REVIEW.window, 1)):
            with pytest.raises(LedgerUnavailable, match="is full: raise its maxmemory"):
                ledger.execute(command)
        assert ledger.execute(settle("paid")).state == "settled"
        assert (
            ledger.execute(c.Release("back", (c.Posting(TEAM, 0), c.Posting(REVIEW, 0)))).state == "released"
        )
        assert ledger.execute(c.Extend("long", 9)).state == "open"
        assert ledger.execute(c.Expire((DUE,))).ids == ("dead",)
        balances = ledger.execute(c.Read((TEAM, REVIEW))).balances
        assert [(b.posted, b.held) for b in balances] == [(15, 10), (15, 10)]
        ledger.close()


# Arithmetic.


def test_no_digit_is_lost_in_the_journal(ledger: Server) -> None:
    """Amounts beyond 2**46 and 14 digits come out of the scripts as they went in."""
    odd = MAX_NANOS - 1_234_567
    big = c.BudgetRow("department=eng/usd/month", "2026-11", 0, END_MS, Unit.USD, MAX_NANOS - 1, (5_000,))
    ledger.run(c.Reserve("r1", (big,), ((c.Ask(odd),),), 60_000))
    ledger.run(c.Reserve("r2", (big,), ((c.Ask(1_234_566),),), 60_000))
    ledger.run(c.Settle("r1", (c.Posting(big, odd - 1),)))
    details = [fields["detail"] for _, fields in ledger.client.xrange(ledger.keys.journal)][1:]
    assert detail.read_balances(details[1]) == (0, (c.Balance(0, odd, MAX_NANOS - 1),))
    assert details[2] == (f"overrun=0 unknown=0 posted={odd - 1} crossed=0:5000:{odd - 1}:{MAX_NANOS - 1}")


@given(limit=st.integers(0, MAX_NANOS), bp=st.integers(0, 10_000))
def test_a_mark_is_the_same_in_lua_and_in_python(
    redis_cluster_server: RedisServer, limit: int, bp: int
) -> None:
    """floor(limit x bp / 10000), to the unit, for every limit a policy may have."""
    shared = files("governor.ledger").joinpath("lua", "shared")
    parts = "".join(shared.joinpath(f"{name}.lua").read_text("utf-8") for name in ("prelude", "limits"))
    body = f"#!lua\n{parts}\nreturn text(mark(tonumber(ARGV[1]), tonumber(ARGV[2])))"
    with redis_cluster_server.client() as client:
        assert int(client.eval(body, 0, limit, bp)) == mark(limit, bp) == limit * bp // 10_000


def _contents(server: Server) -> dict[str, Any]:
    """Every key that a reserve of both budgets may touch, as it is now; of the journal, its length."""
    found: dict[str, Any] = {}
    for key in (*server.call(reserve("try")).keys, server.keys.hold("r1")):
        found[key] = server.client.xlen(key) if key == server.keys.journal else server.client.dump(key)
    return found


def _server_ms(client: Any) -> int:
    seconds, micros = client.time()
    return int(seconds) * 1000 + int(micros) // 1000
