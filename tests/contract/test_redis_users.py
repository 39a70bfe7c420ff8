"""What Redis lets a user do: who is refused is told so, never with a password."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from support.redis_server import HOST, RedisServer
from support.refused import RESERVE, ROW, SECRET, refusal

from governor.errors import LedgerUnavailable
from governor.ids import new_id
from governor.ledger import Ledger, open_ledger
from governor.ledger import commands as c
from governor.ledger.keys import Keys

ADA, GRACE = c.Person("Ada", "ada@laptop-7"), c.Person("Grace", "grace@laptop-9")
APPLICATION_KEYS = ("b:*", "h:*", "expiry", "journal", "requests", "board", "e:*")
APPLICATION_COMMANDS = (
    "evalsha eval info time client|setname select hmget hget hgetall hset hincrby zadd zrem zrange"
    " zcard zrangebyscore xadd xlen xrange xrevrange xinfo scan ping cluster command readonly"
)


def test_a_wrong_password_is_refused_and_not_shown(redis_server: RedisServer, org: str) -> None:
    """The server's own refusal is passed on, with where to look."""
    url = f"redis://{org}:{SECRET}@{HOST}:{redis_server.port}/0"
    message = refusal(url)
    assert message.startswith(f"redis://{org}:***@{HOST}:{redis_server.port}/0 refuses this user: ")
    assert message.endswith("check the URL's name and password")


def test_a_missing_password_is_asked_for(redis_available: None) -> None:
    """A server that wants a password is not said to be down."""
    with RedisServer() as server:
        with server.client() as client:
            client.config_set("requirepass", SECRET)
        message = refusal(server.url)
        assert message.startswith(f"{server.url} refuses this user: ")


@pytest.mark.parametrize(
    ("command", "said", "keys", "role"),
    [
        (RESERVE, "reserve", "*", "governor"),
        (c.ListBalances(), "list balances", "*", "governor"),
        (c.Unfreeze("u", ROW.identity), "unfreeze", "admin", "admin"),
        (c.Create("e"), "create", "*", "admin"),
        (c.ReadPolicyHead(), "read policy head", "policies", "governor"),
        (c.PushPolicies("p", 0, {"team.yaml": ""}), "push policies", "policies", "admin"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_user_without_the_rights_is_told_which(
    redis_server: RedisServer, org: str, command: c.Command[object], said: str, keys: str, role: str
) -> None:
    """A user whose ACL forbids the ledger's keys is named, with what it asked, and whose rights do."""
    with redis_server.client() as client:
        client.execute_command("ACL", "SETUSER", org, "on", f">{SECRET}", "+@all", "~other:*")
        try:
            message = refusal(f"redis://{org}:{SECRET}@{HOST}:{redis_server.port}/0", command)
        finally:
            client.acl_deluser(org)
    assert "refuses this user: " in message
    assert f"{org!r} has no right to `{said}` on gov:2:{{acme}}:{keys}: use the URL" in message
    assert f"with the rights of `{role}` in docs/ledger.md" in message


def _asked(ledger: Ledger) -> c.BudgetRequest:
    """A request that Ada made."""
    asked = c.BudgetRequest(new_id(), ROW.identity, ROW.window, 5, ADA, "a launch")
    kept = ledger.execute(c.RequestGrant(asked))
    assert isinstance(kept, c.BudgetRequest)
    return kept


@pytest.mark.parametrize("server_of", ["redis_server", "redis_cluster_server"])
def test_an_application_may_spend_and_not_change_limits(
    request: pytest.FixtureRequest, server_of: str, org: str
) -> None:
    """Its rights let it read what administrators keep; the server refuses every change of theirs."""
    server: RedisServer = request.getfixturevalue(server_of)
    ledger = open_ledger(server.url, org, create=True)
    ledger.execute(c.SetLimit("l", ROW.identity, 20))
    pushed = ledger.execute(c.PushPolicies("p", 0, {"team.yaml": "strict"}, "abc"))
    with server.client() as client:
        prefix = Keys(org).prefix
        forgets = " ".join(f"~{prefix}:{name}" for name in ("b:*", "h:*", "e:*", "requests", "board"))
        rights = [f"(+evalsha +eval ~{prefix}:*)", f"(+hdel +pexpire {forgets})"]
        rights += [f"%R~{prefix}:meta", f"%R~{prefix}:admin", f"%R~{prefix}:policies"]
        rights += [f"%R~gov:1:{{{org}}}:meta", *(f"~{prefix}:{name}" for name in APPLICATION_KEYS)]
        rights += [f"+{name}" for name in APPLICATION_COMMANDS.split()]
        client.execute_command("ACL", "SETUSER", f"app-{org}", "reset", "on", f">{SECRET}", *rights)
    app = open_ledger(server.url.replace("://", f"://app-{org}:{SECRET}@"), org)
    assert isinstance(app.execute(RESERVE), c.Held)
    assert app.execute(replace(RESERVE, notice=c.Notice("a", "one"))).board == ()
    assert [line.text for line in app.execute(replace(RESERVE, notice=c.Notice("b"))).board] == ["one"]
    assert app.execute(replace(RESERVE, notice=c.Notice("a"))).board == ()
    assert app.execute(replace(RESERVE, notice=c.Notice("b"))).board == ()
    assert isinstance(app.execute(c.Reserve("r2", (ROW,), ((c.Ask(11),),), 60_000)), c.Refused)
    assert app.execute(c.Settle("r1", (c.Posting(ROW, 10),))).state == "settled"
    assert app.execute(c.Read((ROW,))).balances == (c.Balance(10, 0, 20),)
    assert app.execute(c.Enter("won", "outcome", "ticket_resolved", "{}"))
    assert not app.execute(c.Enter("won", "outcome", "ticket_resolved", "{}"))
    ordered = c.Order("served", "tighten", (), "economy", 2_000_000_000_000, "late", "ops")
    ledger.execute(c.PlaceOrder(ordered))
    told = app.execute(c.Reserve("r3", (ROW,), ((c.Ask(1),),), 60_000, heard=""))
    assert isinstance(told, c.Reordered)
    assert (
        [one.id for one in told.orders]
        == [one.id for one in app.execute(c.ListOrders()).orders]
        == ["served"]
    )
    assert app.execute(c.ReadPolicyHead()) == c.PolicyHead(1, "p")
    assert app.execute(c.ReadPolicies()) == c.PushedPolicies(pushed, {"team.yaml": "strict"})
    assert app.execute(c.ListPolicyVersions()) == (pushed,)
    for command in (
        c.Grant("g", ROW.identity, "life", 1),
        c.SetLimit("more", ROW.identity, 9000),
        c.Freeze("f", ROW.identity, "mine"),
        c.Unfreeze("u", ROW.identity),
        c.PlaceOrder(c.Order("o", "tighten", (), "economy", 2_000_000_000_000, "mine", "me")),
        c.LiftOrder("served"),
        c.Create("anew"),
        c.PushPolicies("mine", 1, {"team.yaml": "loose"}, "def"),
        c.PushPolicies("nothing", 1, {}),
    ):
        with pytest.raises(LedgerUnavailable, match="refuses this user") as refused:
            app.execute(command)
        assert not re.search("@user_script|[0-9a-f]{40}", str(refused.value))
    mine, others = _asked(app), _asked(ledger)
    for answer in (c.Approve(mine, GRACE, "", 5), c.Deny(others, GRACE, "no")):
        with pytest.raises(LedgerUnavailable, match="with the rights of `admin`"):
            app.execute(answer)
    assert set(app.execute(c.ListRequests())) == {mine, others}
    assert app.execute(c.Deny(mine, ADA, "found some")).answer.state == "withdrawn"
    assert app.execute(c.FindRequest(mine.id)).answer is not None
    assert ledger.execute(c.Read((ROW,))).balances == (c.Balance(10, 0, 20),)
    assert ledger.execute(c.Approve(others, GRACE, "", 5)).answer.state == "approved"
    assert app.execute(c.Read((ROW,))).balances == (c.Balance(10, 0, 25),)
    assert ledger.execute(c.ReadPolicyHead()) == c.PolicyHead(1, "p")
    with server.client() as client:
        client.acl_deluser(f"app-{org}")
    app.close()
    ledger.close()
