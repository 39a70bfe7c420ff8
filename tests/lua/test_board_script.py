"""The notice board in the scripts, on a Redis cluster of one: what is sent, done, kept and answered."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import redis
from support.lua_server import NOW_MS, REVIEW, TEAM, reserve, settle
from support.redis_server import HOST

from governor.ledger import commands as c
from governor.ledger.board import BOARD_KEPT_MS, BOARD_LINES

if TYPE_CHECKING:
    from support.lua_server import Server

RELEASE = c.Release("r1", (c.Posting(TEAM, 0), c.Posting(REVIEW, 0)))
COMMANDS = [reserve("r1"), reserve("big", 2000), settle("r1"), RELEASE]
IDS = ["held", "refused", "settled", "released"]
NOTICE = c.Notice("a", "hello all")


def _board(ledger: Server) -> dict[str, str]:
    found: dict[str, str] = ledger.client.hgetall(ledger.keys.board)
    return found


def _done(ledger: Server, command: c.Command[Any]) -> dict[str, int]:
    """How often each Redis command ran inside the script of *command*."""

    def counts() -> dict[str, int]:
        stats: dict[str, dict[str, int]] = ledger.client.info("commandstats")
        return {name.removeprefix("cmdstat_"): row["calls"] for name, row in stats.items()}

    before = counts()
    ledger.run(command)
    after = counts()
    done = {name: calls - before.get(name, 0) for name, calls in after.items()}
    return {name: calls for name, calls in done.items() if calls and name not in {"info", "eval"}}


def test_without_a_notice_a_script_does_no_more_than_before(ledger: Server) -> None:
    """The calls are those of the release before the board, command by command."""
    ledger.run(reserve("warm"))  # the balances are there
    look = {"hget": 1, "hmget": 4, "zrangebyscore": 1, "xadd": 1}
    assert _done(ledger, reserve("r1")) == look | {"hincrby": 2, "hset": 1, "zadd": 1}
    assert _done(ledger, reserve("big", 2000)) == look | {"zrange": 1}
    ended = look | {"hincrby": 4, "hset": 1, "hdel": 1, "pexpire": 1, "zrem": 1}
    assert _done(ledger, settle("r1")) == ended
    ledger.run(reserve("r2"))
    assert _done(ledger, replace(RELEASE, id="r2")) == ended | {"hincrby": 2}


def test_a_notice_costs_three_calls(ledger: Server) -> None:
    """Read the board, write the line, let the whole go in time; an empty one only reads."""
    ledger.run(reserve("r1"))
    known = _done(ledger, reserve("r1"))
    assert _done(ledger, replace(reserve("r1"), notice=NOTICE)) == known | {
        "hgetall": 1,
        "hset": 1,
        "pexpire": 1,
    }
    assert _done(ledger, replace(reserve("r1"), notice=c.Notice("b"))) == known | {"hgetall": 1}


@pytest.mark.parametrize("command", COMMANDS, ids=IDS)
def test_without_a_notice_one_empty_word_more_is_sent(ledger: Server, command: Any) -> None:
    """The board is no key of such a call, and what is sent for a notice comes last."""
    plain, noticed = ledger.call(command), ledger.call(replace(command, notice=NOTICE))
    head = plain.args.index("", 1)
    assert plain.args.count("") == 1
    assert noticed.keys == (*plain.keys, ledger.keys.board)
    own = f"a {BOARD_KEPT_MS} {BOARD_LINES}"
    assert noticed.args == (*plain.args[:head], own, *plain.args[head + 1 :], "hello all")


@pytest.mark.parametrize("command", COMMANDS, ids=IDS)
def test_a_reply_ends_with_the_lines_and_their_number(ledger: Server, command: Any) -> None:
    """What a script answers without a notice, and then `process at_ms text` of the others and how many."""
    ledger.run(reserve("r0"))
    ledger.run(replace(reserve("r0"), notice=c.Notice("b", "one  two")))
    plain = ledger.run(command)
    told = ledger.run(replace(command, notice=NOTICE))
    if plain[0] == "held":  # a repetition shows the balances as they are now
        plain = ledger.run(command)
    assert told == [*plain, f"b {NOW_MS} one  two", "1"]
    assert ledger.run(replace(command, notice=c.Notice("b")))[-2:] == [f"a {NOW_MS} hello all", "1"]
    assert ledger.run(replace(command, notice=c.Notice("a")))[-1] == "0"


def test_the_board_goes_with_its_last_notice(ledger: Server) -> None:
    """Two minutes after the last one an organisation leaves nothing behind; a look does not prolong it."""
    ledger.run(replace(reserve("r1"), notice=NOTICE))
    assert _board(ledger) == {"a": f"{NOW_MS} hello all"}
    left = ledger.client.pttl(ledger.keys.board)
    assert BOARD_KEPT_MS - 60_000 < left <= BOARD_KEPT_MS
    ledger.client.pexpire(ledger.keys.board, 70_000)
    ledger.run(replace(reserve("r1"), notice=c.Notice("b")))
    assert ledger.client.pttl(ledger.keys.board) <= 70_000
    ledger.run(replace(reserve("r1"), notice=c.Notice("a")))
    assert not ledger.client.exists(ledger.keys.board)


def test_the_board_does_not_grow(ledger: Server) -> None:
    """Whoever posts takes off what is over, what is beyond the newest 64 of others, and what is no line."""
    lines = {f"p{number}": f"{NOW_MS - number} x" for number in range(BOARD_LINES + 5)}
    junk = {"a b": f"{NOW_MS} x", "B": f"{NOW_MS} x", "bare": str(NOW_MS), "odd": "x", "none": f"{NOW_MS} "}
    old = {"old": f"{NOW_MS - BOARD_KEPT_MS - 1} x"}
    ledger.client.hset(ledger.keys.board, mapping={**lines, **junk, **old})
    told = ledger.run(replace(reserve("r1"), notice=NOTICE))
    kept = [f"p{number}" for number in range(BOARD_LINES)]
    assert told[-BOARD_LINES - 1 :] == [*(f"{name} {lines[name]}" for name in kept), str(BOARD_LINES)]
    assert _board(ledger) == {name: lines[name] for name in kept} | {"a": f"{NOW_MS} hello all"}


@pytest.mark.parametrize("command", COMMANDS, ids=IDS)
def test_a_board_that_cannot_be_used_is_empty(ledger: Server, org: str, command: Any) -> None:
    """A user without the right to it, or a key of another kind: the verb does all else, and answers none."""
    ledger.run(reserve("r0"))
    noticed = replace(command, notice=NOTICE)
    ledger.client.hset(ledger.keys.board, "b", f"{NOW_MS} x")
    name = f"old-{org}"
    own = [f"~{key}" for key in ledger.call(command).keys]
    rights = [*own, f"(+eval ~{ledger.keys.prefix}:*)", "+@all", "nopass"]
    ledger.client.execute_command("ACL", "SETUSER", name, "reset", "on", *rights)
    with redis.Redis(HOST, ledger.port, username=name, password="x", decode_responses=True) as narrow:
        told = ledger.run(noticed, client=narrow)
    ledger.client.acl_deluser(name)
    assert (told[0] in {"held", "exhausted", "closed"}, told[-1]) == (True, "0")
    assert _board(ledger) == {"b": f"{NOW_MS} x"}
    ledger.client.delete(ledger.keys.board)
    ledger.client.set(ledger.keys.board, "another kind")
    again = replace(noticed, id=f"again-{command.id}")
    assert ledger.run(again)[-1] == "0"
    assert ledger.client.get(ledger.keys.board) == "another kind"
