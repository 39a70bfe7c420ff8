"""The scripts of the archive and the rebuild by themselves, on a Redis cluster of one node."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import redis
from support.redis_server import HOST, RedisServer

from governor.budgets import Unit
from governor.ledger import commands as c
from governor.ledger import recovery as r
from governor.ledger.dialogue import PlainCall, converse
from governor.ledger.keys import Keys

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW_MS = 1_795_262_430_000
END_MS = NOW_MS + 3_600_000
DAY_MS = 24 * 3600 * 1000
RUN = c.BudgetRow("run=pr-1/usd/life", "life", 0, 0, Unit.USD, 100)
WEEK = c.BudgetRow("user=ada/usd/rolling-1d", "rolling", 0, 0, Unit.USD, 500, (), DAY_MS // 48)
SLOT = NOW_MS // WEEK.bucket_ms
BALANCE = r.RestoredBalance("department=eng/usd/month", "2026-11", END_MS, 1000, 605, (5_000,))
EXPIRED = r.RestoredHold(
    "dead", "expired", ((RUN, 20, 20, 0), (WEEK, 20, 20, SLOT)), "", "overrun=0", NOW_MS - DAY_MS
)
FORGOTTEN = r.RestoredHold("old", "settled", ((RUN, 20, 0, 0),), "digest", "", NOW_MS - 8 * DAY_MS)
ADA = c.Person("Ada", "ada@laptop-7")
ASKED = c.BudgetRequest("q1", RUN.identity, "life", 5, ADA, "why", at_ms=NOW_MS)
CHANGES = r.RestoredChanges(
    limits=((RUN.identity, (c.LimitChange(added=False, amount=300, from_ms=0, until_ms=END_MS),)),),
    grants=((RUN.identity, "life", 40),),
    freezes=((RUN.identity, "a reason", END_MS),),
    operations=(("g", "grant …"),),
    requests=(ASKED, replace(ASKED, id="q2", answer=c.Answer("denied", ADA, "no", 5, NOW_MS))),
)
ROLLING = r.RestoredBalance(
    WEEK.identity, "rolling", 0, 500, 0, (), WEEK.bucket_ms, ((SLOT - 1, 7), (SLOT, 20))
)
LAST = r.Mark("1-1", "settle", "s", NOW_MS)
RESTORE = r.Restore("e/1", (BALANCE, ROLLING), (EXPIRED, FORGOTTEN), CHANGES)


class Server:
    """One organisation on a server, spoken to in scripts."""

    def __init__(self, port: int, org: str, **user: str) -> None:
        self.client = redis.Redis(HOST, port, decode_responses=True, protocol=2, **user)
        self.keys = Keys(org)

    def run(self, command: c.Command[Any]) -> Any:
        """What the command's last script replies."""
        dialogue = converse(command, self.keys, str(NOW_MS))
        call = next(dialogue)
        while isinstance(call, PlainCall):
            call = dialogue.send(self.client.execute_command(*call.words))
        return self.client.eval(call.script.text, len(call.keys), *call.keys, *call.args)


@pytest.fixture
def server(redis_cluster_server: RedisServer, org: str) -> Iterator[Server]:
    """An empty organisation on the cluster of one."""
    made = Server(redis_cluster_server.port, org)
    yield made
    made.client.close()


def test_the_replies_of_a_rebuild(server):
    """Begun, resumed, done, and each way to be refused, field by field."""
    assert server.run(RESTORE) == ["not_rebuilding"]
    assert server.run(r.FinishRestore("e/1", "", "{}")) == ["not_rebuilding"]
    assert server.run(r.BeginRestore("e2", "e/1")) == ["begun", "e2"]
    assert server.run(r.BeginRestore("e3", "e/1")) == ["resumed", "e2"]
    assert server.run(r.BeginRestore("e3", "e/2")) == ["other_source"]
    for command in (c.Read(()), r.ReadSince(), r.TrimJournal("e2", "1-1", LAST), c.Expire(())):
        assert server.run(command) == ["other_schema", "0"]
    for _ in range(2):
        assert server.run(RESTORE) == ["restored"]
    for _ in range(2):
        assert server.run(r.FinishRestore("e/1", "from=e/1", "{}")) == ["finished"]
    assert server.run(r.BeginRestore("e3", "e/1")) == ["done", "e2"]
    assert server.run(r.BeginRestore("e3", "e/2")) == ["in_use"]
    assert server.run(RESTORE) == ["not_rebuilding"]
    server.client.hset(server.keys.meta, "schema", "99")
    assert server.run(r.BeginRestore("e3", "e/1")) == ["other_schema", "99"]


def test_what_a_restore_writes(server):
    """Fields as the other verbs write and read them, each remembered for as long as it had left."""
    server.run(r.BeginRestore("e2", "e/1"))
    server.run(RESTORE)
    key = server.keys.balance(BALANCE.identity, BALANCE.window)
    row = {
        "posted": "605",
        "held": "0",
        "limit": "1000",
        "end": str(END_MS),
        "bucket": "0",
        "crossed": "5000",
    }
    assert server.client.hgetall(key) == row
    rolling = server.client.hgetall(server.keys.balance(WEEK.identity, "rolling"))
    buckets = {str(SLOT - 1): "7", str(SLOT): "20"}
    assert rolling == {"held": "0", "limit": "500", "end": "0", "bucket": str(WEEK.bucket_ms), **buckets}
    assert 0 <= 3_600_000 + 35 * DAY_MS - server.client.pttl(key) < 600_000
    hold = server.client.hgetall(server.keys.hold("dead"))
    assert hold["state"] == "expired"
    week = f"20 20 {SLOT} 0 500 {WEEK.bucket_ms} {WEEK.kept_ms} ;"
    assert hold["rows"] == f"20 20 - 0 100 0 {RUN.kept_ms} ;{week}"
    assert hold["member"] == f"dead {RUN.identity} life {WEEK.identity} rolling"
    assert 0 <= 34 * DAY_MS - server.client.pttl(server.keys.hold("dead")) < 600_000
    assert not server.client.exists(server.keys.hold("old"))
    assert server.client.hgetall(server.keys.admin) == {
        f"l:{RUN.identity}": f"=300 0 {END_MS};",
        f"g:{RUN.identity}:life": "40",
        f"z:{RUN.identity}": f"{END_MS} a reason",
        "op:g": "grant …",
    }
    assert server.client.hgetall(server.keys.requests) == {
        "r:q1": f"{NOW_MS} 0 {ASKED.said}",
        "r:q2": f"{NOW_MS} 0 {ASKED.said}",
        "a:q2": f"{NOW_MS} state=denied amount=5 actor=Ada login=ada@laptop-7 reason=no",
    }


@pytest.mark.parametrize("left", ["admin", "expiry", "requests", "journal", "balance"])
def test_parts_of_a_ledger_without_its_marker_are_not_written_over(server, left):
    """A store that lost only its marker is no empty one."""
    keys = server.keys
    {
        "admin": lambda: server.client.hset(keys.admin, "x", "y"),
        "expiry": lambda: server.client.zadd(keys.expiry, {"x": 1}),
        "requests": lambda: server.client.hset(keys.requests, "x", "y"),
        "journal": lambda: server.client.xadd(keys.journal, {"kind": "create"}),
        "balance": lambda: server.client.hset(keys.balance("b/usd/life", "life"), "posted", "1"),
    }[left]()
    assert server.run(r.BeginRestore("e2", "e/1")) == ["in_use"]


def test_a_used_ledger_whose_journal_was_trimmed_is_in_use(server):
    """No record left is not the same as nothing ever done."""
    server.run(c.Create("e1"))
    server.run(c.Settle("s", (c.Posting(RUN, 1),)))
    newest = server.client.xrevrange(server.keys.journal, count=1)[0][0]
    last = r.Mark(newest, "settle", "s", NOW_MS)
    assert server.run(r.TrimJournal("e1", newest, replace(last, id="t"))) == ["went_back"]
    assert server.run(r.TrimJournal("e1", newest, replace(last, seq=f"{newest}9"))) == ["went_back"]
    assert server.run(r.TrimJournal("e1", newest, replace(last, seq="1-1"))) == ["trimmed", "0"]
    assert server.run(r.TrimJournal("e1", newest, last)) == ["trimmed", "1"]
    assert server.run(r.TrimJournal("e1", newest, last)) == ["trimmed", "0"]
    server.client.xtrim(server.keys.journal, maxlen=0)
    server.client.delete(server.keys.balance(RUN.identity, "life"))
    assert server.run(r.BeginRestore("e2", "e/1")) == ["in_use"]


def test_the_replies_of_since_and_trim(server):
    """Records with their epoch, after a place; another epoch's trim, and no ledger at all."""
    assert server.run(r.ReadSince()) == ["no_ledger"]
    assert server.run(r.TrimJournal("e1", "1-1", LAST)) == ["no_ledger"]
    server.run(c.Create("e1"))
    ((seq, fields),) = server.client.xrange(server.keys.journal)
    (word, epoch, (place, words)) = server.run(r.ReadSince())
    assert (word, epoch, place) == ("since", "e1", seq)
    assert dict(zip(words[::2], words[1::2], strict=True)) == fields
    assert server.run(r.ReadSince(seq)) == ["since", "e1", [place, words]]
    assert server.run(r.TrimJournal("e0", seq, LAST)) == ["other_epoch", "e1"]


def test_scripts_of_a_rebuild_touch_no_key_but_those_they_were_given(server, org, redis_cluster_server):
    """A user whose rights end at the declared keys, and at the commands the docs name, can run them all."""
    name = f"rebuilder-{org}"
    commands = "+eval +hmget +hget +hset +del +exists +xrange +xtrim +xadd +pexpire +pexpireat +scan"
    grant = ("ACL", "SETUSER", name, "reset", "on", "nopass", *commands.split())
    server.client.execute_command(*grant, f"~{server.keys.prefix}:*")
    narrow = Server(redis_cluster_server.port, org, username=name, password="x")
    steps = [r.BeginRestore("e2", "e/1"), RESTORE, r.FinishRestore("e/1", "", "{}"), r.ReadSince()]
    for command in [*steps, r.TrimJournal("e2", "1-1", LAST)]:
        patterns = [f"~{key}" for key in _keys_of(command, server.keys)]
        server.client.execute_command("ACL", "SETUSER", name, "resetkeys", *patterns)
        assert narrow.run(command)
    narrow.client.close()
    server.client.acl_deluser(name)


def _keys_of(command: c.Command[Any], keys: Keys) -> tuple[str, ...]:
    """The keys that the command's script declares."""
    dialogue = converse(command, keys, str(NOW_MS))
    call = next(dialogue)
    while isinstance(call, PlainCall):
        call = dialogue.send(("0", []))
    return call.keys
