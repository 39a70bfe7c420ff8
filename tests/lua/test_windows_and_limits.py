"""The scripts on windows that roll, on limits between instants, and on what may be forgotten when."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.lua_server import DAY_MS, END_MS, NOW_MS, REVIEW, TEAM, reserve, settle

from governor.budgets import Unit
from governor.ledger import commands as c
from governor.ledger.dialogue import converse
from governor.ledger.talk import ScriptCall

if TYPE_CHECKING:
    from support.lua_server import Server

BUCKET_MS = DAY_MS // 48
WEEK = c.BudgetRow("user=ada/usd/rolling-1d", "rolling", 0, 0, Unit.USD, 1000, (), BUCKET_MS)
SLOT = NOW_MS // BUCKET_MS
LEAVES_MS = (SLOT + 49) * BUCKET_MS
RUN = c.BudgetRow("department=eng/run=pr-1/usd/life", "life", 0, 0, Unit.USD, 100)
BUSY = c.BudgetRow("user=ada/concurrent/life", "life", 0, 0, Unit.CONCURRENT, 8)


def spend(ledger: Server, name: str, amount: int, now_ms: int = NOW_MS) -> None:
    """Hold and settle *amount* of the rolling budget."""
    now = str(now_ms)
    ledger.run(c.Reserve(name, (WEEK,), ((c.Ask(amount),),), 60_000), now)
    ledger.run(c.Settle(name, (c.Posting(WEEK, amount),)), now)


def test_a_rolling_balance_is_one_hash_of_buckets(ledger: Server) -> None:
    """A field for each bucket that was posted to, by its number since the epoch; no `posted` beside them."""
    spend(ledger, "s1", 30)
    spend(ledger, "s2", 5, NOW_MS + BUCKET_MS)
    kept = {"held": "0", "limit": "1000", "end": "0", "bucket": str(BUCKET_MS)}
    key = ledger.keys.balance(WEEK.identity, WEEK.window)
    assert ledger.client.hgetall(key) == {**kept, str(SLOT): "30", str(SLOT + 1): "5"}


def test_a_reading_of_a_rolling_balance_says_when_the_first_of_it_frees(ledger: Server) -> None:
    """`posted held limit frees frozen`: the oldest bucket that counts and has something in it."""
    read = c.Read((WEEK,))
    assert ledger.run(read)[3] == "0 0 1000 0 "
    spend(ledger, "s1", 30)
    spend(ledger, "s2", 5, NOW_MS + BUCKET_MS)
    assert ledger.run(read)[3] == f"35 0 1000 {LEAVES_MS} "
    assert ledger.run(read, str(LEAVES_MS - 1))[3] == f"35 0 1000 {LEAVES_MS} "
    assert ledger.run(read, str(LEAVES_MS))[3] == f"5 0 1000 {LEAVES_MS + BUCKET_MS} "


def test_buckets_that_have_left_are_removed_by_the_next_posting(ledger: Server) -> None:
    """However long a budget is used, it has 49 buckets at most."""
    key = ledger.keys.balance(WEEK.identity, WEEK.window)
    for index in range(120):
        spend(ledger, f"s{index}", 1, NOW_MS + index * BUCKET_MS)
    fields = ledger.client.hkeys(key)
    assert len([field for field in fields if field.isdigit()]) == 49
    assert ledger.run(c.Read((WEEK,)), str(NOW_MS + 119 * BUCKET_MS))[3].startswith("49 ")


@pytest.mark.parametrize(
    ("row", "kept_ms"),
    [(WEEK, 49 * BUCKET_MS + 35 * DAY_MS), (RUN, 90 * DAY_MS), (BUSY, 35 * DAY_MS), (REVIEW, -1)],
    ids=lambda value: getattr(value, "identity", None),
)
def test_what_is_nothing_by_then_is_forgotten_after_its_last_use(
    ledger: Server, row: c.BudgetRow, kept_ms: int
) -> None:
    """Rolling, of a run, of calls in flight: each use puts it off; any other life budget stays for good."""
    key = ledger.keys.balance(row.identity, row.window)
    ledger.run(c.Reserve("r1", (row,), ((c.Ask(1),),), 60_000))
    if kept_ms > 0:
        ledger.client.pexpire(key, 1_000_000)
    ledger.run(c.Settle("r1", (c.Posting(row, 1),)))
    left = ledger.client.pttl(key)
    assert left == -1 if kept_ms < 0 else 0 <= kept_ms - left < 600_000


def test_a_list_of_balances_reads_what_the_ledger_keeps(ledger: Server) -> None:
    """End, then the reading under the file's limit of the last time; empty for one that is gone."""
    ledger.run(reserve("r1"))
    ledger.run(settle("r1"))
    spend(ledger, "s1", 7)
    dialogue = converse(c.ListBalances(), ledger.keys, str(NOW_MS))
    next(dialogue)
    call = dialogue.send((0, [ledger.keys.balance(row.identity, row.window) for row in (TEAM, REVIEW, WEEK)]))
    assert isinstance(call, ScriptCall)
    gone = ledger.keys.balance("user=bob/usd/day", "2026-11-21")
    keys = (*call.keys, gone)
    reply = ledger.client.eval(call.script.text, len(keys), *keys, *call.args)
    readings = {name: (reply[2 + 2 * i], reply[3 + 2 * i]) for i, name in enumerate(keys[2:])}
    assert reply[:2] == ["list", str(NOW_MS)]
    assert [readings[ledger.keys.balance(row.identity, row.window)] for row in (TEAM, REVIEW, WEEK)] == [
        (str(END_MS), "5 0 1000 0 "),
        ("0", "5 0 100 0 "),
        ("0", f"7 0 1000 {LEAVES_MS} "),
    ]
    assert readings[gone] == ("", "0 0 0 0 ")


def test_changes_of_a_limit_that_are_over_do_not_pile_up(ledger: Server) -> None:
    """Each new change drops those that have ended; the last one taken away leaves nothing."""
    field = f"l:{TEAM.identity}"
    for index in range(20):
        now_ms = NOW_MS + index * 1000
        limit = c.SetLimit(f"l{index}", TEAM.identity, 1000 + index, now_ms + 1000, from_ms=now_ms)
        grant = c.Grant(f"g{index}", TEAM.identity, "", 5, until_ms=now_ms + 1000)
        for command in (limit, grant):
            ledger.run(command, str(now_ms))
    kept = ledger.client.hget(ledger.keys.admin, field)
    last_ms = NOW_MS + 19_000
    assert kept == f"=1019 {last_ms} {last_ms + 1000};+5 0 {last_ms + 1000};"
    ledger.run(c.SetLimit("file", TEAM.identity, None), str(last_ms + 1000))
    assert ledger.client.hget(ledger.keys.admin, field) is None
